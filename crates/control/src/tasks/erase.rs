//! Erasing what the decisions of a task used.

use aims_audit::VaultError;
use aims_json::Object;
use aims_model::material::Erasure;
use aims_model::task::Stage;
use aims_model::{EventKind, Text, TextError};
use aims_types::{self as types, Cx, Id};

use super::party::{ChangeTaskError, of_party};
use crate::access::{AccessError, Principal};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::recording::{Attempt, event};
use crate::{ControlPlane, Fault};

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseTaskError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no such task, or it is not theirs.
    #[error("there is no task `{0}`")]
    Unknown(Id<types::Task>),
    /// Decisions are still made for it.
    #[error("task `{0}` has not ended; end it first")]
    NotEnded(Id<types::Task>),
    /// The reason can't be recorded.
    #[error("the reason: {0}")]
    Reason(#[from] TextError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(EraseTaskError);

impl From<ChangeTaskError> for EraseTaskError {
    fn from(error: ChangeTaskError) -> Self {
        match error {
            ChangeTaskError::Access(error) => Self::Access(error),
            ChangeTaskError::Unknown(id) => Self::Unknown(id),
            ChangeTaskError::Stage { task, .. } => Self::NotEnded(task),
            ChangeTaskError::Internal(fault) => Self::Internal(fault),
        }
    }
}

impl Refused for EraseTaskError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_task",
            Self::NotEnded(_) => "task_not_ended",
            Self::Reason(_) => "bad_reason",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl From<VaultError> for Fault {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Store(error) => error.into(),
            VaultError::Entropy(error) => error.into(),
            error => Self::Inconsistent(error.to_string()),
        }
    }
}

impl ControlPlane {
    /// Erases what the decisions of an ended task used, and what people were asked about it: the
    /// key first of all, so that copies elsewhere can't be read either. Its records stay. Operators
    /// may, and the owner of its agent.
    ///
    /// To erase again changes nothing and is not recorded; it tries once more to get older versions
    /// of what was erased out of the server's files.
    pub async fn task_erase(
        &self,
        cx: &Cx,
        id: Id<types::Task>,
        reason: &str,
    ) -> Result<Erasure, EraseTaskError> {
        let (cx, reason) = (cx.clone(), reason.to_owned());
        self.to_the_end(move |plane| async move {
            let attempt = Attempt::new("task_erase", &id.to_string()).of_task(id);
            let done = commit(&plane, &cx, id, &reason).await;
            let materials = plane.recorded(&cx, attempt, done).await?;
            let scrubbed = plane.store().scrub().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "older versions of what was erased may still be in a file");
                false
            });
            Ok(Erasure {
                task: id,
                materials,
                scrubbed,
            })
        })
        .await
    }
}

async fn commit(
    plane: &ControlPlane,
    cx: &Cx,
    id: Id<types::Task>,
    reason: &str,
) -> Result<Option<u64>, EraseTaskError> {
    let mut txn = plane.store().begin().await?;
    let (task, agent) = of_party(txn.as_mut(), cx, id).await?;
    Principal::admit(cx, txn.as_mut()).await?.owning(&agent)?;
    let reason: Text = reason.parse()?;
    if !matches!(task.stage, Stage::Ended { .. }) {
        return Err(EraseTaskError::NotEnded(id));
    }
    // Nothing that gateways decide on changes, and an end is for good: it takes no revision.
    let Some(materials) = txn.task_erase(id).await? else {
        return Ok(None);
    };
    let body = Object::new()
        .with("task", id.to_string())
        .with("materials", materials)
        .with("reason", reason.as_str());
    let event = event(cx, EventKind::TaskErased, body).of_task(id);
    txn.commit(vec![event]).await?;
    Ok(Some(materials))
}
