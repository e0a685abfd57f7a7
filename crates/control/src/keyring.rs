//! The server's own signing keys: enrolled in the store, private halves in custody.

use aims_crypto::{Alg, PublicKey, Signer, SigningKey};
use aims_jose::{Jwk, Thumbprint};
use aims_json::Limits;
use aims_keys::{CreateKeyError, KeyInfo, LoadKeyError, Purpose};
use aims_model::{EnrolledKey, KeyOwner, KeyPurpose};
use aims_store::{Reader, Store};
use aims_types::{Actor, Cx, EntropyError, Timestamp};
use aims_x509::CaCertificate;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Parts;
use crate::init::key_enrolled;

/// Why the server has no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// No key of this purpose is enrolled.
    #[error("no {0} key is enrolled; initialise the server first")]
    NotEnrolled(&'static str),
    /// The store is older than certificates.
    #[error(
        "the store has no certificate authority, because an earlier version initialised it; \
         initialise the server anew with an empty data directory"
    )]
    NoAuthority,
    /// The authority's certificate can't be used.
    #[error("the certificate of the ca key `{kid}` can't be used: {why}; restore the store")]
    Certificate {
        /// The key's thumbprint.
        kid: String,
        /// What is wrong with it.
        why: String,
    },
    /// The private half of an enrolled key is not in custody.
    #[error("the private half of the {purpose} key `{kid}` is not in the key store; restore it")]
    NotInCustody {
        /// What it signs.
        purpose: &'static str,
        /// Its thumbprint.
        kid: String,
    },
    /// Custody can't be read.
    #[error(transparent)]
    Custody(#[from] LoadKeyError),
    /// A key can't be made.
    #[error(transparent)]
    Create(#[from] CreateKeyError),
    /// There was no randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] aims_store::Error),
}

/// A key of the server that signs under the name of its thumbprint.
pub(crate) struct ServerKey {
    pub(crate) kid: String,
    pub(crate) signer: SigningKey,
}

/// The certificate authority of the trust domain.
pub(crate) struct Authority {
    /// Signs certificates.
    pub(crate) key: ServerKey,
    /// Its own certificate, in which others trust.
    pub(crate) certificate: CaCertificate,
}

/// What the server signs with.
pub(crate) struct Keyring {
    /// Signs certificates of nodes and gateways.
    pub(crate) ca: Authority,
    /// Signs JWT-SVIDs.
    pub(crate) jwt: ServerKey,
    /// Signs access tokens and workload identity tokens.
    pub(crate) token: ServerKey,
    /// Signs grants.
    pub(crate) grant: ServerKey,
}

impl Keyring {
    pub(crate) async fn load(parts: &Parts) -> Result<Self, KeyringError> {
        let mut reader = parts.store.read().await?;
        let ca = authority(parts, reader.as_mut()).await?;
        let jwt = match load(
            parts,
            reader.as_mut(),
            KeyPurpose::JwtSvid,
            Purpose::JwtSvid,
        )
        .await
        {
            Err(KeyringError::NotEnrolled(_)) => {
                drop(reader);
                let jwt = first_jwt_key(parts).await?;
                reader = parts.store.read().await?;
                jwt
            }
            jwt => jwt?,
        };
        Ok(Self {
            ca,
            jwt,
            token: load(parts, reader.as_mut(), KeyPurpose::Token, Purpose::Token).await?,
            grant: load(parts, reader.as_mut(), KeyPurpose::Grant, Purpose::Grant).await?,
        })
    }
}

/// Makes the key that signs JWT-SVIDs: a store that was just initialised has none yet, as one of
/// an earlier version.
async fn first_jwt_key(parts: &Parts) -> Result<ServerKey, KeyringError> {
    let cx = Cx::new(Actor::Server, parts.clock.now(), parts.entropy.clone())?;
    let id = cx.id()?;
    let entropy = cx.entropy.as_ref();
    let public = parts
        .keys
        .create(id, Purpose::JwtSvid, Alg::Es256, entropy)?;
    let key = enrolled(&public, KeyPurpose::JwtSvid, KeyOwner::Server, cx.now);
    let mut txn = parts.store.begin().await?;
    txn.key_insert(&key).await?;
    txn.commit(vec![key_enrolled(&cx, &key)]).await?;
    let signer = parts.keys.load(id)?.key;
    Ok(ServerKey {
        kid: key.kid,
        signer,
    })
}

/// The private key that signs the log's checkpoints, as enrolled by [`crate::initialise`].
pub async fn log_key(
    store: &dyn Store,
    keys: &aims_keys::KeyStore,
) -> Result<SigningKey, KeyringError> {
    let mut reader = store.read().await?;
    let key = newest(keys, reader.as_mut(), KeyPurpose::Log, Purpose::Log).await?;
    Ok(key.signer)
}

async fn authority(parts: &Parts, reader: &mut dyn Reader) -> Result<Authority, KeyringError> {
    let key = match load(parts, reader, KeyPurpose::Ca, Purpose::Ca).await {
        Err(KeyringError::NotEnrolled(_)) => return Err(KeyringError::NoAuthority),
        key => key?,
    };
    let unusable = |why: String| KeyringError::Certificate {
        kid: key.kid.clone(),
        why,
    };
    let stored = reader.key(&key.kid).await?;
    let text = stored.and_then(|key| key.certificate).unwrap_or_default();
    let der = STANDARD
        .decode(text)
        .map_err(|error| unusable(error.to_string()))?;
    let certificate = CaCertificate::from_der(&der).map_err(|error| unusable(error.to_string()))?;
    if certificate.public() != key.signer.public() {
        return Err(unusable("it is of another key".to_owned()));
    }
    Ok(Authority { key, certificate })
}

async fn load(
    parts: &Parts,
    reader: &mut dyn Reader,
    purpose: KeyPurpose,
    custody: Purpose,
) -> Result<ServerKey, KeyringError> {
    newest(&parts.keys, reader, purpose, custody).await
}

/// The newest enrolled key of a purpose that is not retired, with its private half.
async fn newest(
    keys: &aims_keys::KeyStore,
    reader: &mut dyn Reader,
    purpose: KeyPurpose,
    custody: Purpose,
) -> Result<ServerKey, KeyringError> {
    let enrolled = reader.keys(purpose).await?;
    let ours = |key: &&EnrolledKey| key.owner == KeyOwner::Server && key.retired_at.is_none();
    let Some(key) = enrolled.iter().rfind(ours) else {
        return Err(KeyringError::NotEnrolled(purpose.as_str()));
    };
    let is_it = |info: &KeyInfo| {
        info.purpose == custody && Thumbprint::of(&info.public).to_string() == key.kid
    };
    let Some(info) = keys.list()?.into_iter().find(is_it) else {
        let (purpose, kid) = (purpose.as_str(), key.kid.clone());
        return Err(KeyringError::NotInCustody { purpose, kid });
    };
    let signer = keys.load(info.id)?.key;
    Ok(ServerKey {
        kid: Thumbprint::of(signer.public()).to_string(),
        signer,
    })
}

/// A public key as it is enrolled: named by its thumbprint, in the canonical text of its JWK.
pub(crate) fn enrolled(
    key: &PublicKey,
    purpose: KeyPurpose,
    owner: KeyOwner,
    at: Timestamp,
) -> EnrolledKey {
    let jwk = Jwk::new(*key);
    EnrolledKey {
        kid: jwk.thumbprint().to_string(),
        jwk: canonical_jwk(&jwk),
        purpose,
        owner,
        enrolled_at: at,
        retired_at: None,
        certificate: None,
    }
}

/// The text of a key that a caller hands over is not a public key that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key is not a public JWK for ES256 or Ed25519: {0}")]
pub struct BadKey(String);

/// Reads the JWK text of a public key.
pub(crate) fn parse_jwk(text: &str) -> Result<PublicKey, BadKey> {
    let value = aims_json::parse(text.as_bytes(), &Limits::TOKEN);
    let value = value.map_err(|error| BadKey(error.to_string()))?;
    let jwk = Jwk::parse(&value).map_err(|error| BadKey(error.to_string()))?;
    Ok(*jwk.key())
}

/// The canonical text: members in order, nothing but the key.
pub(crate) fn canonical_jwk(jwk: &Jwk) -> String {
    // INVARIANT: a JWK is an object of strings, which always has a canonical form.
    let bytes = aims_json::to_canonical(&jwk.to_value()).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}
