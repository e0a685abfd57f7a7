//! Listing agents.

use aims_model::Agent;
use aims_types::Cx;

use crate::access::{AccessError, Enrolled};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::{ControlPlane, Fault};

/// Why agents are not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListAgentsError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ListAgentsError);

impl Refused for ListAgentsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// The agents that the person may see, retired ones too, oldest first: all of them for
    /// operators and auditors, their own for members.
    pub async fn agents(&self, cx: &Cx) -> Result<Vec<Agent>, ListAgentsError> {
        let mut reader = self.store().read().await?;
        let person = Enrolled::admit(cx, reader.as_mut()).await?;
        let mut agents = reader.agents().await?;
        agents.retain(|agent| person.sees_agent(agent));
        Ok(agents)
    }
}
