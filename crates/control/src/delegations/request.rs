//! Checking what an instance signed when it delegates.

use std::time::Duration;

use aims_crypto::{PublicKey, sha256};
use aims_jose::{Jws, JwsLimits};
use aims_model::DelegationRequest;
use aims_model::KeyPurpose;
use aims_model::grant::DELEGATION_TYP;
use aims_oauth::{WorkloadIdentity, WorkloadIdentityExpect};
use aims_store::Reader;
use aims_types::{Digest, Timestamp, TrustDomain};

use super::error::DelegateError;
use crate::chain::payload;
use crate::keyring::parse_jwk;
use crate::liveness::LiveInstance;
use crate::tokens::TrustedKeys;

/// Longest request. The grant that holds it, with the authority a second time and the instance's
/// identity, has to stay within what every party reads as a token (16 KiB).
pub const DELEGATION_LEN_MAX: usize = 5 << 10;
/// Oldest request that counts, in seconds.
pub const DELEGATION_AGE_SECS_MAX: u64 = 60;
/// How far the node's clock may be ahead of the server's.
const CLOCK_SKEW_MAX: Duration = Duration::from_mins(1);
/// Longest `jti` of a request.
pub(super) const JTI_LEN_MAX: usize = 128;
const REQUEST_LIMITS: JwsLimits = JwsLimits {
    text: DELEGATION_LEN_MAX,
    ..JwsLimits::TOKEN
};

/// A request that the instance signed, here and now, with the key that its identity binds.
#[derive(Debug)]
pub(super) struct Requested {
    pub(super) request: DelegationRequest,
    pub(super) jws: String,
    pub(super) wit: String,
}

impl Requested {
    /// Checks signature, instance, audience, age and identity.
    pub(super) async fn check(
        reader: &mut dyn Reader,
        (jws, wit): (&str, &str),
        live: &LiveInstance,
        (here, now): (&TrustDomain, Timestamp),
    ) -> Result<Self, DelegateError> {
        let parsed = Jws::parse(jws, &REQUEST_LIMITS)?;
        let key = parse_jwk(&live.instance.jwk)?;
        parsed.verify(&key, DELEGATION_TYP)?;
        let claims = payload(jws).ok_or(DelegateError::ForeignInstance)?;
        let request = DelegationRequest::from_claims(&claims)?;
        if request.instance != live.instance.id {
            return Err(DelegateError::ForeignInstance);
        }
        if request.audience != *here {
            return Err(DelegateError::Audience(here.clone()));
        }
        let visible = request.jti.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible || !(1..=JTI_LEN_MAX).contains(&request.jti.len()) {
            return Err(DelegateError::Jti);
        }
        if request.issued_at > now.plus(CLOCK_SKEW_MAX) {
            return Err(DelegateError::FromFuture);
        }
        if now.since(request.issued_at) > Duration::from_secs(DELEGATION_AGE_SECS_MAX) {
            return Err(DelegateError::TooOld);
        }
        check_identity(reader, wit, (live, &key), (here, now)).await?;
        Ok(Self {
            request,
            jws: jws.to_owned(),
            wit: wit.to_owned(),
        })
    }

    /// What names this request among all that were ever used.
    pub(super) fn replay_value(&self) -> Digest {
        sha256(format!("{} {}", self.request.instance, self.request.jti).as_bytes())
    }

    /// From when on it would be refused as too old anyway.
    pub(super) fn replayable_until(&self) -> Timestamp {
        let age = Duration::from_secs(DELEGATION_AGE_SECS_MAX);
        self.request.issued_at.plus(age).plus(CLOCK_SKEW_MAX)
    }
}

/// The workload identity token is ours, valid now, and binds the instance's key to it: whoever
/// verifies the grant later sees by it whose signature the request has.
async fn check_identity(
    reader: &mut dyn Reader,
    wit: &str,
    (live, key): (&LiveInstance, &PublicKey),
    (trust_domain, now): (&TrustDomain, Timestamp),
) -> Result<(), DelegateError> {
    let keys = TrustedKeys::load(reader, KeyPurpose::Token, now).await?;
    let expect = WorkloadIdentityExpect { trust_domain, now };
    let verified = WorkloadIdentity::verify(wit, &keys, &expect)?;
    let claims = verified.claims();
    let same = [
        ("instance", claims.instance == live.instance.id),
        ("key", claims.key == *key),
        ("subject", claims.subject == live.of.leaf.agent.spiffe_id),
    ];
    match same.iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((what, _)) => Err(DelegateError::IdentityDiffers(what)),
    }
}
