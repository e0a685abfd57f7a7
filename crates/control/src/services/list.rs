//! Listing services.

use aims_model::Service;
use aims_types::Cx;

use crate::access::{AccessError, Enrolled};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::{ControlPlane, Fault};

/// Why services are not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListServicesError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ListServicesError);

impl Refused for ListServicesError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// The services that the person may see, retired ones too, oldest first: all of them for
    /// operators and auditors, their own for members.
    pub async fn services(&self, cx: &Cx) -> Result<Vec<Service>, ListServicesError> {
        let mut reader = self.store().read().await?;
        let person = Enrolled::admit(cx, reader.as_mut()).await?;
        let mut services = reader.services().await?;
        services.retain(|service| person.sees_of(service.owner));
        Ok(services)
    }
}
