//! Listing people.

use aims_model::Person;
use aims_types::Cx;

use crate::access::{AccessError, Observer};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::{ControlPlane, Fault};

/// Why people are not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListPeopleError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ListPeopleError);

impl Refused for ListPeopleError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Everybody, removed people too, oldest first. Operators and auditors only.
    pub async fn people(&self, cx: &Cx) -> Result<Vec<Person>, ListPeopleError> {
        let mut reader = self.store().read().await?;
        Observer::admit(cx, reader.as_mut()).await?;
        Ok(reader.people().await?)
    }
}
