//! Retiring a service: nothing is issued to its processes any more, and their keys are withdrawn.

use aims_json::Object;
use aims_model::{EventKind, InvalidTransition, Service};
use aims_types::{Cx, Name};

use super::all_ended;
use crate::access::{AccessError, Operator};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::recording::{Attempt, event};
use crate::{Committed, ControlPlane, Fault};

/// Why a service was not retired.
#[derive(Debug, thiserror::Error)]
pub enum RetireServiceError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no such service.
    #[error("there is no service `{0}`")]
    Unknown(Name),
    /// It is retired.
    #[error("service `{name}`: {why}")]
    Stage {
        /// The service.
        name: Name,
        /// From where to where.
        why: InvalidTransition,
    },
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(RetireServiceError);

impl Refused for RetireServiceError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_service",
            Self::Stage { .. } => "invalid_transition",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Ends a service for ever: when it returns, its node has withdrawn what its processes hold,
    /// or has no lease. What was handed out ends by itself, soon. Operators only.
    pub async fn service_retire(
        &self,
        cx: &Cx,
        name: &Name,
    ) -> Result<Committed<Service>, RetireServiceError> {
        let (cx, name) = (cx.clone(), name.clone());
        self.to_the_end(move |plane| async move {
            let done = retire(&plane, &cx, &name).await;
            let attempt = Attempt::new("service_retire", name.as_str());
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }
}

async fn retire(
    plane: &ControlPlane,
    cx: &Cx,
    name: &Name,
) -> Result<Committed<Service>, RetireServiceError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    Operator::admit(cx, txn.as_mut()).await?;
    let unknown = || RetireServiceError::Unknown(name.clone());
    let mut service = txn.service_by_name(name).await?.ok_or_else(unknown)?;
    let not_so = |why| RetireServiceError::Stage {
        name: name.clone(),
        why,
    };
    service.stage = service.stage.retire(cx.now).map_err(not_so)?;
    txn.service_update(&service).await?;
    let mut live = txn.service_instances_live().await?;
    live.retain(|instance| instance.service == service.id);
    let body = Object::new()
        .with("service", service.id.to_string())
        .with("name", service.name.as_str())
        .with("revision", revision.number());
    let mut events = vec![event(cx, EventKind::ServiceRetired, body)];
    let how = (revision, "its service was retired");
    events.extend(all_ended(txn.as_mut(), cx, live, how).await?);
    txn.commit(events).await?;
    Ok(plane.published(service, revision).await)
}
