//! Listing upstreams.

use aims_model::Upstream;
use aims_types::Cx;

use crate::access::{AccessError, Enrolled};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::{ControlPlane, Fault};

/// Why upstreams are not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListUpstreamsError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ListUpstreamsError);

impl Refused for ListUpstreamsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// All upstreams, oldest first, retired ones too. Every enrolled person may read them: who
    /// writes a task's authority has to know what there is.
    pub async fn upstreams(&self, cx: &Cx) -> Result<Vec<Upstream>, ListUpstreamsError> {
        let mut reader = self.store().read().await?;
        Enrolled::admit(cx, reader.as_mut()).await?;
        Ok(reader.upstreams().await?)
    }
}
