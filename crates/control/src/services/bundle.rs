//! The trust bundle: what others verify SVIDs of the trust domain with.

use std::time::Duration;

use aims_jose::Jwk;
use aims_json::{Limits, Object, Value};
use aims_links::TrustBundle;
use aims_model::{EnrolledKey, KeyOwner, KeyPurpose};
use aims_store::Reader;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Fault;

/// How often others should look at the bundle (`spiffe_refresh_hint`).
pub const BUNDLE_REFRESH: Duration = Duration::from_mins(1);
/// Characters of a line in PEM form (RFC 7468 §2).
const PEM_LINE_LEN: usize = 64;

/// The bundle as the store has it.
///
/// Keys are enrolled and retired and never forgotten, so the number of both together grows with
/// every change: that is the sequence (SPIFFE Trust Domain and Bundle §4.1.1).
pub async fn trust_bundle(reader: &mut dyn Reader) -> Result<TrustBundle, Fault> {
    let domain = reader.domain().await?;
    let domain = domain.ok_or_else(|| Fault::Inconsistent("there is no trust domain".into()))?;
    let (cas, ca_changes) = ours(reader, KeyPurpose::Ca).await?;
    let (jwts, jwt_changes) = ours(reader, KeyPurpose::JwtSvid).await?;
    let authorities = cas.iter().map(|key| {
        let text = key.certificate.as_deref().unwrap_or_default();
        let der = STANDARD.decode(text);
        der.map_err(|error| Fault::Inconsistent(error.to_string()))
    });
    let keys = jwts.iter().map(|key| {
        let jwk = jwk(key)?.with_kid(key.kid.as_str()).with_alg();
        Ok::<_, Fault>(jwk.to_value().to_string())
    });
    Ok(TrustBundle {
        trust_domain: domain.trust_domain,
        authorities: authorities.collect::<Result<_, _>>()?,
        jwt_keys: keys.collect::<Result<_, _>>()?,
        sequence: ca_changes + jwt_changes,
        refresh: BUNDLE_REFRESH,
    })
}

/// The bundle in the form of the standard: a JWK Set with two more members (SPIFFE Trust Domain
/// and Bundle §4.1), its X.509 keys each with one certificate and no `kid` (X.509-SVID §6), its
/// JWT keys each with a `kid` (JWT-SVID §5).
pub async fn bundle_document(reader: &mut dyn Reader) -> Result<Value, Fault> {
    let bundle = trust_bundle(reader).await?;
    let mut keys: Vec<Value> = Vec::new();
    for (key, der) in ours(reader, KeyPurpose::Ca)
        .await?
        .0
        .iter()
        .zip(&bundle.authorities)
    {
        let chain: Vec<Value> = vec![STANDARD.encode(der).into()];
        let object = object(jwk(key)?.to_value())?;
        keys.push(object.with("use", "x509-svid").with("x5c", chain).into());
    }
    for text in &bundle.jwt_keys {
        let value = aims_json::parse(text.as_bytes(), &Limits::TOKEN);
        let value = value.map_err(|error| Fault::Inconsistent(error.to_string()))?;
        keys.push(object(value)?.with("use", "jwt-svid").into());
    }
    let document = Object::new()
        .with("keys", keys)
        .with("spiffe_sequence", bundle.sequence)
        .with("spiffe_refresh_hint", bundle.refresh.as_secs());
    Ok(document.into())
}

/// The certificates of the authority in PEM form (RFC 7468 §5.1), for programs that know nothing of
/// SPIFFE.
pub async fn bundle_pem(reader: &mut dyn Reader) -> Result<String, Fault> {
    let mut text = String::new();
    for der in trust_bundle(reader).await?.authorities {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in STANDARD.encode(der).as_bytes().chunks(PEM_LINE_LEN) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    Ok(text)
}

/// The server's keys of a purpose that are not retired, and how often any were enrolled or retired.
async fn ours(
    reader: &mut dyn Reader,
    purpose: KeyPurpose,
) -> Result<(Vec<EnrolledKey>, u64), Fault> {
    let mut keys = reader.keys(purpose).await?;
    keys.retain(|key| key.owner == KeyOwner::Server);
    let enrolled = keys.len();
    keys.retain(|key| key.retired_at.is_none());
    let changes = enrolled + (enrolled - keys.len());
    Ok((keys, u64::try_from(changes).unwrap_or(u64::MAX)))
}

fn jwk(key: &EnrolledKey) -> Result<Jwk, Fault> {
    let key = crate::keyring::parse_jwk(&key.jwk);
    let key = key.map_err(|error| Fault::Inconsistent(error.to_string()))?;
    Ok(Jwk::new(key))
}

fn object(value: Value) -> Result<Object, Fault> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(Fault::Inconsistent("a key is no object".to_owned())),
    }
}
