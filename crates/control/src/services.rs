//! Services: programs that others start and that get their keys in the open, over the SPIFFE
//! Workload API.
//!
//! What they get is worth less than what an agent gets, and says so: it is seen from outside only
//! (`observed`), and each key that is handed out is a record (`key.exported`). No gateway knows a
//! service, no delegation names one.

mod attest;
mod bundle;
mod end;
mod issue;
mod link;
mod list;
mod register;
mod retire;

use std::time::Duration;

pub use attest::PROCESSES_OF_SERVICE_MAX;
pub(crate) use attest::may_have;
pub use bundle::{BUNDLE_REFRESH, bundle_document, bundle_pem, trust_bundle};
pub(crate) use end::{all_ended, ended_by_kill};
pub use issue::{AUDIENCE_LEN_MAX, AUDIENCES_MAX};
pub use list::ListServicesError;
pub use register::{RegisterService, RegisterServiceError};
pub use retire::RetireServiceError;

/// How long the X.509-SVID of a service is valid, unless it is configured.
pub const SERVICE_X509_LIFE: Duration = Duration::from_mins(5);
/// How long a JWT-SVID is valid, unless it is configured.
pub const SERVICE_JWT_LIFE: Duration = Duration::from_mins(5);
/// The longest that either may be configured to be.
pub const SERVICE_LIFE_MAX: Duration = Duration::from_hours(1);
/// The shortest: half of it has to be enough to renew.
pub const SERVICE_LIFE_MIN: Duration = Duration::from_secs(10);

/// How long what is issued to services lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceTerms {
    x509: Duration,
    jwt: Duration,
}

/// A life is too short to be renewed, or too long to be given to what is only seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an SVID of a service lives from {} to {} seconds",
    SERVICE_LIFE_MIN.as_secs(), SERVICE_LIFE_MAX.as_secs()
)]
pub struct ServiceTermsError;

impl ServiceTerms {
    /// These lives, each between [`SERVICE_LIFE_MIN`] and [`SERVICE_LIFE_MAX`].
    pub fn new(x509: Duration, jwt: Duration) -> Result<Self, ServiceTermsError> {
        let good = |life: Duration| (SERVICE_LIFE_MIN..=SERVICE_LIFE_MAX).contains(&life);
        if good(x509) && good(jwt) {
            return Ok(Self { x509, jwt });
        }
        Err(ServiceTermsError)
    }

    /// The life of an X.509-SVID.
    pub const fn x509(self) -> Duration {
        self.x509
    }

    /// The life of a JWT-SVID.
    pub const fn jwt(self) -> Duration {
        self.jwt
    }

    /// The longer one.
    pub(crate) fn longest(self) -> Duration {
        self.x509.max(self.jwt)
    }
}

impl Default for ServiceTerms {
    fn default() -> Self {
        Self {
            x509: SERVICE_X509_LIFE,
            jwt: SERVICE_JWT_LIFE,
        }
    }
}
