//! Checking a person's signed consent.

use std::time::Duration;

use aims_crypto::sha256;
use aims_jose::{Jws, JwsLimits, ParseJwsError, VerifyError};
use aims_model::grant::{CONSENT_TYP, Consent, GRANT_TTL_SECS_MAX};
use aims_model::{GrantError, Person};
use aims_store::Reader;
use aims_types::{Digest, Timestamp, TrustDomain};

use crate::chain::payload;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::keyring::{BadKey, parse_jwk};
use crate::{Fault, people};

/// Longest consent. The grant that holds it, and the authority a second time, has to stay within
/// what every party reads as a token (16 KiB).
pub const CONSENT_LEN_MAX: usize = 6 << 10;
/// Oldest consent that a task may be started with, in seconds.
pub const CONSENT_AGE_SECS_MAX: u64 = 5 * 60;
/// How far the person's clock may be ahead of the server's.
const CLOCK_SKEW_MAX: Duration = Duration::from_mins(1);
/// Longest `jti` of a consent.
const JTI_LEN_MAX: usize = 128;
const CONSENT_LIMITS: JwsLimits = JwsLimits {
    text: CONSENT_LEN_MAX,
    ..JwsLimits::TOKEN
};

/// Why a consent does not count.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// Not a signed token at all.
    #[error("the consent is not readable: {0}")]
    Form(#[from] ParseJwsError),
    /// The key that signed it is not an enrolled key of the one who asks.
    #[error("the consent is not signed by an enrolled key of the person who asks")]
    ForeignKey,
    /// The signature does not verify.
    #[error("the consent: {0}")]
    Signature(#[from] VerifyError),
    /// The claims are not a consent.
    #[error("the consent: {0}")]
    Claims(#[from] GrantError),
    /// It names somebody else.
    #[error("the consent is somebody else's")]
    ForeignPerson,
    /// It is for another trust domain.
    #[error("the consent is for another trust domain than `{0}`")]
    Audience(TrustDomain),
    /// Its `jti` is empty or too long.
    #[error("the consent's `jti` has 1 to {JTI_LEN_MAX} visible ASCII characters")]
    Jti,
    /// Given too long ago.
    #[error("the consent is older than {CONSENT_AGE_SECS_MAX} seconds; sign a new one")]
    TooOld,
    /// Given in the future.
    #[error("the consent is from the future; check the clocks")]
    FromFuture,
    /// The deadline is past or too far.
    #[error("the deadline has to lie ahead, at most {GRANT_TTL_SECS_MAX} seconds")]
    Deadline,
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ConsentError);

impl From<BadKey> for ConsentError {
    fn from(error: BadKey) -> Self {
        Self::Internal(Fault::Inconsistent(error.to_string()))
    }
}

impl Refused for ConsentError {
    fn code(&self) -> &'static str {
        match self {
            Self::Form(_) | Self::Claims(_) | Self::Jti => "bad_consent",
            Self::ForeignKey => "consent_foreign_key",
            Self::Signature(_) => "consent_signature",
            Self::ForeignPerson => "consent_foreign_person",
            Self::Audience(_) => "consent_audience",
            Self::TooOld => "consent_too_old",
            Self::FromFuture => "consent_from_future",
            Self::Deadline => "bad_deadline",
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// A consent whose signature, person, audience and times were checked.
#[derive(Debug)]
pub(crate) struct Consented {
    pub(crate) consent: Consent,
    pub(crate) jws: String,
}

impl Consented {
    /// Checks a consent that `person` presents at `now`.
    pub(crate) async fn check(
        reader: &mut dyn Reader,
        jws: String,
        person: &Person,
        (audience, now): (&TrustDomain, Timestamp),
    ) -> Result<Self, ConsentError> {
        let parsed = Jws::parse(&jws, &CONSENT_LIMITS)?;
        let kid = parsed
            .unverified_header()
            .kid
            .as_deref()
            .ok_or(ConsentError::ForeignKey)?;
        let key = people::key_of(reader, kid, person).await?;
        let key = parse_jwk(&key.ok_or(ConsentError::ForeignKey)?.jwk)?;
        parsed.verify(&key, CONSENT_TYP)?;
        let claims = payload(&jws).ok_or(ConsentError::ForeignKey)?;
        let consent = Consent::from_claims(&claims)?;
        if consent.person != person.id {
            return Err(ConsentError::ForeignPerson);
        }
        if consent.audience != *audience {
            return Err(ConsentError::Audience(audience.clone()));
        }
        let visible = consent.jti.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible || !(1..=JTI_LEN_MAX).contains(&consent.jti.len()) {
            return Err(ConsentError::Jti);
        }
        check_times(&consent, now)?;
        Ok(Self { consent, jws })
    }

    /// What names this consent among all that were ever used.
    pub(crate) fn replay_value(&self) -> Digest {
        sha256(format!("{} {}", self.consent.person, self.consent.jti).as_bytes())
    }

    /// From when on it would be refused as too old anyway.
    pub(crate) fn replayable_until(&self) -> Timestamp {
        let age = Duration::from_secs(CONSENT_AGE_SECS_MAX);
        self.consent.issued_at.plus(age).plus(CLOCK_SKEW_MAX)
    }
}

fn check_times(consent: &Consent, now: Timestamp) -> Result<(), ConsentError> {
    if consent.issued_at > now.plus(CLOCK_SKEW_MAX) {
        return Err(ConsentError::FromFuture);
    }
    if now.since(consent.issued_at) > Duration::from_secs(CONSENT_AGE_SECS_MAX) {
        return Err(ConsentError::TooOld);
    }
    let latest = now.plus(Duration::from_secs(GRANT_TTL_SECS_MAX));
    if consent.deadline <= now || consent.deadline > latest {
        return Err(ConsentError::Deadline);
    }
    Ok(())
}
