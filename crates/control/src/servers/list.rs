//! Listing tool servers.

use aims_model::ToolServer;
use aims_types::Cx;

use crate::access::{AccessError, Enrolled};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::{ControlPlane, Fault};

/// Why tool servers are not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListServersError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ListServersError);

impl Refused for ListServersError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// All tool servers with their pinned tools, oldest first. Every enrolled person may read them:
    /// who writes a task's authority has to know what there is. The environment that a server is
    /// started with may be secret; only operators get it.
    pub async fn servers(&self, cx: &Cx) -> Result<Vec<ToolServer>, ListServersError> {
        let mut reader = self.store().read().await?;
        let person = Enrolled::admit(cx, reader.as_mut()).await?;
        let mut servers = reader.servers().await?;
        if !person.administers() {
            for server in &mut servers {
                server.spec.env.clear();
            }
        }
        Ok(servers)
    }
}
