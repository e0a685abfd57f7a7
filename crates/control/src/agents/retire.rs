//! Retiring an agent: it is gone for ever, and its name stays taken.

use aims_json::Object;
use aims_model::{Agent, InvalidTransition};
use aims_types::{Cx, Name};

use crate::access::{AccessError, Operator};
use crate::agents::{stage_event, staged};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::recording::Attempt;
use crate::{Committed, ControlPlane, Fault};

/// Why an agent was not retired.
#[derive(Debug, thiserror::Error)]
pub enum RetireAgentError {
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

internal_arm!(RetireAgentError);

impl Refused for RetireAgentError {
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
    /// Ends an agent for ever and cuts off everything of it. Its name stays as a tombstone.
    /// Operators only.
    pub async fn agent_retire(
        &self,
        cx: &Cx,
        name: &Name,
    ) -> Result<Committed<Agent>, RetireAgentError> {
        let (cx, name) = (cx.clone(), name.clone());
        self.to_the_end(|plane| async move {
            let done = retire(&plane, &cx, &name).await;
            plane
                .recorded(&cx, Attempt::new("agent_retire", name.as_str()), done)
                .await
        })
        .await
    }
}

async fn retire(
    plane: &ControlPlane,
    cx: &Cx,
    name: &Name,
) -> Result<Committed<Agent>, RetireAgentError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    Operator::admit(cx, txn.as_mut()).await?;
    let unknown = || RetireAgentError::Unknown(name.clone());
    let mut agent = txn.agent_by_name(name).await?.ok_or_else(unknown)?;
    let from = agent.stage;
    let not_so = |why| RetireAgentError::Stage {
        name: name.clone(),
        why,
    };
    agent.stage = from.retire(cx.now).map_err(not_so)?;
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
