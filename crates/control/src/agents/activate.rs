//! Activating a draft or suspended agent.

use aims_json::Object;
use aims_model::{Agent, InvalidTransition};
use aims_types::{Cx, Name};

use crate::access::{AccessError, Operator};
use crate::agents::{stage_event, staged};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::recording::Attempt;
use crate::{Committed, ControlPlane, Fault};

/// Why an agent was not activated.
#[derive(Debug, thiserror::Error)]
pub enum ActivateAgentError {
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
    /// Nobody answers for it.
    #[error("the owner of agent `{0}` was removed; retire it and register another one")]
    NoOwner(Name),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ActivateAgentError);

impl Refused for ActivateAgentError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_agent",
            Self::Stage { .. } => "invalid_transition",
            Self::NoOwner(_) => "no_owner",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Lets a draft or suspended agent run. Operators only.
    pub async fn agent_activate(
        &self,
        cx: &Cx,
        name: &Name,
    ) -> Result<Committed<Agent>, ActivateAgentError> {
        let (cx, name) = (cx.clone(), name.clone());
        self.to_the_end(|plane| async move {
            let done = activate(&plane, &cx, &name).await;
            plane
                .recorded(&cx, Attempt::new("agent_activate", name.as_str()), done)
                .await
        })
        .await
    }
}

async fn activate(
    plane: &ControlPlane,
    cx: &Cx,
    name: &Name,
) -> Result<Committed<Agent>, ActivateAgentError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    Operator::admit(cx, txn.as_mut()).await?;
    let unknown = || ActivateAgentError::Unknown(name.clone());
    let mut agent = txn.agent_by_name(name).await?.ok_or_else(unknown)?;
    let owner = txn.person(agent.owner).await?;
    if owner.is_none_or(|owner| owner.removed_at.is_some()) {
        return Err(ActivateAgentError::NoOwner(name.clone()));
    }
    let from = agent.stage;
    let not_so = |why| ActivateAgentError::Stage {
        name: name.clone(),
        why,
    };
    agent.stage = from.activate(cx.now).map_err(not_so)?;
    let cut_off = None;
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
