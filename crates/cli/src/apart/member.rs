//! Membership of a trust domain: joining it, and the certificate that proves it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aims_crypto::{Alg, Signer, SigningKey, base64url};
use aims_grpc_api::Links;
use aims_keys::{KeyStore, MasterKey, Purpose};
use aims_links::{JoinAsk, Joined, Svid as IssuedSvid};
use aims_model::{Point, PointKind};
use aims_tls::{Connector, Expected, Identity, Pin, PinnedConnector, Settings, Trust};
use aims_types::ambient::{SystemClock, SystemEntropy};
use aims_types::{Clock, Digest, Id, Key, Secret, Timestamp, TrustDomain};
use aims_x509::{Bundle, CaCertificate, Svid, SvidRequest};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::config::PointConfig;
use crate::output::Output;
use crate::up::host_name;

/// The protocol inside TLS (RFC 9113 §3.2).
const H2: &[u8] = b"h2";
/// How often it is looked whether the certificate is past half of its life.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// The file that remembers the membership.
const FILE: &str = "membership.json";

/// What is remembered of joining. Nothing of it is secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Membership {
    point: Point,
    trust_domain: TrustDomain,
    issuer: String,
    resource: String,
    key: Id<Key>,
    /// The certificate, as base64url of its DER form.
    certificate: String,
    /// The certificates of the trust domain's authorities.
    bundle: Vec<String>,
    expires_at: Timestamp,
}

/// A process that is a member.
pub(super) struct Member {
    membership: Membership,
    path: PathBuf,
    server: String,
    key: Arc<SigningKey>,
    identity: Arc<Identity>,
    trust: Arc<Trust>,
}

/// Joins with a single-use token and the pinned digest of the trust bundle.
pub(crate) async fn join(config: &Path, token: &Path, bundle: &str, output: Output) -> Result<()> {
    let config = PointConfig::load(config)?;
    let digest: Digest = bundle.parse().context("the digest of the bundle")?;
    let path = config.data_dir.join(FILE);
    ensure!(
        !path.exists(),
        "`{}` is a member already; one that can't renew its certificate joins anew with an empty \
         data directory",
        config.data_dir.display()
    );
    let token = fs::read_to_string(token).with_context(|| token.display().to_string())?;
    aims_server::private_dir(&config.data_dir)?;
    if !config.master_key_file.exists() {
        if let Some(dir) = config.master_key_file.parent() {
            fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
        MasterKey::create(&config.master_key_file, &SystemEntropy)?;
    }
    let id: Id<Key> = Id::new(SystemClock.now(), &SystemEntropy)?;
    let (keys, purpose) = (key_store(&config)?, purpose_of(config.kind()));
    keys.create(id, purpose, Alg::Es256, &SystemEntropy)?;
    let key = keys.load(id)?.key;
    let ask = JoinAsk {
        kind: config.kind(),
        token: Secret::new(token.trim().to_owned()),
        csr: SvidRequest::create(&key, None)?.into_der(),
        host: host_name(),
    };
    let pin = Pin {
        digest,
        trust_domain: None,
    };
    let connector = PinnedConnector::new(&settings(), pin)?;
    let joined = aims_grpc_api::join(&config.server, connector, ask).await;
    let joined = match joined {
        Ok(joined) => joined,
        Err(error) => {
            // The key is nobody's.
            keys.destroy(id)?;
            return Err(error.into());
        }
    };
    let membership = Membership::new(joined, id)?;
    membership.check(&key, &digest)?;
    membership.save(&path)?;
    output.show(&membership, |membership| {
        let kind = membership.point.kind().as_str();
        let Membership {
            point,
            trust_domain,
            ..
        } = membership;
        format!("{point} is a {kind} of {trust_domain} now; start it with `aims {kind}`")
    })
}

impl Membership {
    fn new(joined: Joined, key: Id<Key>) -> Result<Self> {
        let Joined {
            point,
            trust_domain,
            issuer,
            resource,
            svid,
        } = joined;
        let (certificate, bundle) = encoded(&svid)?;
        Ok(Self {
            point,
            trust_domain,
            issuer,
            resource,
            key,
            certificate,
            bundle,
            expires_at: svid.expires_at,
        })
    }

    /// Whether it is what was asked for: our key, the pinned authority.
    fn check(&self, key: &SigningKey, digest: &Digest) -> Result<()> {
        let (svid, bundle) = self.read()?;
        ensure!(
            bundle.authority(digest).is_some(),
            "the server's bundle does not hold the pinned authority; nothing was kept"
        );
        ensure!(
            svid.public() == key.public(),
            "the certificate is for another key; nothing was kept"
        );
        Ok(())
    }

    fn read(&self) -> Result<(Svid, Bundle)> {
        let svid = Svid::from_der(&base64url::decode(&self.certificate)?)?;
        let authorities = self.bundle.iter().map(|text| {
            let der = base64url::decode(text)?;
            anyhow::Ok(CaCertificate::from_der(&der)?)
        });
        let bundle = Bundle::new(authorities.collect::<Result<_>>()?)?;
        let id = self
            .trust_domain
            .id(&format!("{}/{}", self.point.kind().as_str(), self.point))?;
        ensure!(
            *svid.spiffe_id() == id && bundle.trust_domain() == &self.trust_domain,
            "the certificate is not that of `{id}`"
        );
        Ok((svid, bundle))
    }

    /// Writes it so that there is always a whole one, which lasts.
    fn save(&self, path: &Path) -> Result<()> {
        crate::durable::write(path, &serde_json::to_vec(self)?)
    }
}

impl Member {
    /// The member that `config` describes.
    pub(super) fn open(config: &PointConfig, kind: PointKind) -> Result<Self> {
        let path = config.data_dir.join(FILE);
        let text = fs::read(&path).with_context(|| {
            let dir = config.data_dir.display();
            format!("`{dir}` is no member of a trust domain yet; run `aims join` first")
        })?;
        let membership: Membership =
            serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        if membership.point.kind() != kind {
            bail!(
                "`{}` is a {}",
                membership.point,
                membership.point.kind().as_str()
            );
        }
        let now = SystemClock.now();
        ensure!(
            now < membership.expires_at,
            "the certificate ended at {}; ask an operator for a token and join anew with an empty \
             data directory",
            membership.expires_at
        );
        let key = Arc::new(key_store(config)?.load(membership.key)?.key);
        let (svid, bundle) = membership.read()?;
        let authority = bundle
            .authorities()
            .first()
            .context("the bundle is empty")?;
        let signer = Arc::clone(&key) as Arc<dyn Signer>;
        let identity = Arc::new(Identity::new(svid, authority, signer)?);
        Ok(Self {
            membership,
            path,
            server: config.server.clone(),
            key,
            identity,
            trust: Arc::new(Trust::new(bundle)),
        })
    }

    pub(super) const fn point(&self) -> Point {
        self.membership.point
    }

    pub(super) const fn trust_domain(&self) -> &TrustDomain {
        &self.membership.trust_domain
    }

    pub(super) fn issuer(&self) -> &str {
        &self.membership.issuer
    }

    pub(super) fn resource(&self) -> &str {
        &self.membership.resource
    }

    pub(super) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }

    pub(super) fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.trust)
    }

    pub(super) fn signer(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.key) as Arc<dyn Signer>
    }

    /// The server, over the network.
    pub(super) fn links(&self) -> Result<Links> {
        let server = self.membership.trust_domain.id(aims_tls::SERVER_PATH)?;
        let connector = Connector::new(
            &settings(),
            Some(self.identity()),
            self.trust(),
            Expected::from(server),
        )?;
        Ok(Links::new(&self.server, connector))
    }

    /// Renews the certificate from half of its life, until `stopping`.
    pub(super) async fn keep_renewed(mut self, links: Links, stopping: CancellationToken) {
        let renewing = async {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if SystemClock.now() < self.identity.svid().validity().half_life() {
                    continue;
                }
                if let Err(error) = self.renew(&links).await {
                    tracing::warn!(%error, "the certificate was not renewed");
                }
            }
        };
        stopping.run_until_cancelled(renewing).await;
    }

    async fn renew(&mut self, links: &Links) -> Result<()> {
        let id = self.identity.spiffe_id();
        let csr = SvidRequest::create(self.key.as_ref(), Some(id))?.into_der();
        let issued = links.renew_svid(csr).await??;
        let mut renewed = self.membership.clone();
        (renewed.certificate, renewed.bundle) = encoded(&issued)?;
        renewed.expires_at = issued.expires_at;
        let (svid, bundle) = renewed.read()?;
        let authority = bundle
            .authorities()
            .first()
            .context("the bundle is empty")?;
        renewed.save(&self.path)?;
        self.identity.renew(svid, authority, self.signer())?;
        self.trust.replace(bundle);
        self.membership = renewed;
        // The server ends each connection with the certificate that it began with.
        links.redial();
        Ok(())
    }
}

fn encoded(svid: &IssuedSvid) -> Result<(String, Vec<String>)> {
    let leaf = svid.chain.first().context("no certificate was issued")?;
    let bundle = svid.bundle.iter().map(|der| base64url::encode(der));
    Ok((base64url::encode(leaf), bundle.collect()))
}

fn settings() -> Settings {
    Settings {
        clock: Arc::new(SystemClock),
        alpn: vec![H2.to_vec()],
    }
}

fn key_store(config: &PointConfig) -> Result<KeyStore> {
    let master = MasterKey::load(&config.master_key_file)?;
    let dir = config.data_dir.join("keys");
    Ok(KeyStore::open(&dir, master, &SystemEntropy)?)
}

const fn purpose_of(kind: PointKind) -> Purpose {
    match kind {
        PointKind::Node => Purpose::Node,
        PointKind::Gateway => Purpose::Gateway,
    }
}
