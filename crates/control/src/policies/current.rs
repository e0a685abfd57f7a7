//! The policy in force.

use aims_model::PolicyVersion;
use aims_types::Cx;

use crate::access::{AccessError, Enrolled};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::{ControlPlane, Fault};

/// Why the policy is not shown.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(PolicyError);

impl Refused for PolicyError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// The policy version in force. Every enrolled person may read it.
    pub async fn policy(&self, cx: &Cx) -> Result<PolicyVersion, PolicyError> {
        let mut reader = self.store().read().await?;
        Enrolled::admit(cx, reader.as_mut()).await?;
        let policy = reader.policy_current().await?;
        Ok(policy.ok_or_else(|| Fault::Inconsistent("no policy is in force".to_owned()))?)
    }
}
