//! Suspending an agent: it may not run, and everything it has is cut off.

use aims_json::Object;
use aims_model::{Agent, InvalidTransition};
use aims_types::{Cx, Name};

use crate::access::{AccessError, Operator};
use crate::agents::{stage_event, staged};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::recording::Attempt;
use crate::{Committed, ControlPlane, Fault};

/// Why an agent was not suspended.
#[derive(Debug, thiserror::Error)]
pub enum SuspendAgentError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no such agent.
    #[error("there is no agent `{0}`; register it first")]
    Unknown(Name),
    /// Its stage does not allow it.
    #[error("agent `{name}`: {why}")]
    Stage {
        /// The agent.
        name: Name,
        /// From where to where.
        why: InvalidTransition,
    },
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(SuspendAgentError);

impl Refused for SuspendAgentError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_agent",
            Self::Stage { .. } => "invalid_transition",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Stops an active agent until it is activated again, and cuts off everything of it. What was
    /// cut off never comes back: it needs new tasks. Operators only.
    pub async fn agent_suspend(
        &self,
        cx: &Cx,
        name: &Name,
    ) -> Result<Committed<Agent>, SuspendAgentError> {
        let (cx, name) = (cx.clone(), name.clone());
        self.to_the_end(|plane| async move {
            let done = suspend(&plane, &cx, &name).await;
            plane
                .recorded(&cx, Attempt::new("agent_suspend", name.as_str()), done)
                .await
        })
        .await
    }
}

async fn suspend(
    plane: &ControlPlane,
    cx: &Cx,
    name: &Name,
) -> Result<Committed<Agent>, SuspendAgentError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    Operator::admit(cx, txn.as_mut()).await?;
    let unknown = || SuspendAgentError::Unknown(name.clone());
    let mut agent = txn.agent_by_name(name).await?.ok_or_else(unknown)?;
    let from = agent.stage;
    let not_so = |why| SuspendAgentError::Stage {
        name: name.clone(),
        why,
    };
    agent.stage = from.suspend(cx.now).map_err(not_so)?;
    let cut_off = Some(revision);
    staged(txn.as_mut(), &agent, cut_off).await?;
    txn.commit(vec![stage_event(
        cx,
        &agent,
        from,
        (cut_off, Object::new()),
    )])
    .await?;
    Ok(plane.published(agent, revision).await)
}
