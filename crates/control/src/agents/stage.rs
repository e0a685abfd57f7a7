//! Changing an agent's stage: activating, suspending, retiring.

use aims_json::Object;
use aims_model::agent::Stage;
use aims_model::{Agent, InvalidTransition};
use aims_types::{Cx, Name, Timestamp};

use crate::access::{AccessError, Operator};
use crate::agents::{stage_event, staged};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::recording::Attempt;
use crate::{Committed, ControlPlane, Fault, approvals};

/// Why an agent's stage was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeStageError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no such agent.
    #[error("there is no agent `{0}`; register it first")]
    Unknown(Name),
    /// Nobody would answer for it.
    #[error("the owner of agent `{0}` was removed; retire it and register another one")]
    NoOwner(Name),
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

internal_arm!(ChangeStageError);

impl Refused for ChangeStageError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_agent",
            Self::NoOwner(_) => "no_owner",
            Self::Stage { .. } => "invalid_transition",
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// What is to become of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Active,
    Suspended,
    Retired,
}

impl To {
    /// The operation's name in records of refusals.
    const fn operation(self) -> &'static str {
        match self {
            Self::Active => "agent_activate",
            Self::Suspended => "agent_suspend",
            Self::Retired => "agent_retire",
        }
    }

    fn from(self, stage: Stage, at: Timestamp) -> Result<Stage, InvalidTransition> {
        match self {
            Self::Active => stage.activate(at),
            Self::Suspended => stage.suspend(at),
            Self::Retired => stage.retire(at),
        }
    }
}

impl ControlPlane {
    /// Lets a draft or suspended agent run. Operators only.
    pub async fn agent_activate(
        &self,
        cx: &Cx,
        name: &Name,
    ) -> Result<Committed<Agent>, ChangeStageError> {
        self.agent_stage(cx, name, To::Active).await
    }

    /// Stops an active agent until it is activated again, and cuts off everything of it. What was
    /// cut off never comes back: it needs new tasks. Operators only.
    pub async fn agent_suspend(
        &self,
        cx: &Cx,
        name: &Name,
    ) -> Result<Committed<Agent>, ChangeStageError> {
        self.agent_stage(cx, name, To::Suspended).await
    }

    /// Ends an agent for ever and cuts off everything of it. Its name stays as a tombstone.
    /// Operators only.
    pub async fn agent_retire(
        &self,
        cx: &Cx,
        name: &Name,
    ) -> Result<Committed<Agent>, ChangeStageError> {
        self.agent_stage(cx, name, To::Retired).await
    }

    async fn agent_stage(
        &self,
        cx: &Cx,
        name: &Name,
        to: To,
    ) -> Result<Committed<Agent>, ChangeStageError> {
        let (cx, name) = (cx.clone(), name.clone());
        self.to_the_end(move |plane| async move {
            let done = change(&plane, &cx, &name, to).await;
            plane
                .recorded(&cx, Attempt::new(to.operation(), name.as_str()), done)
                .await
        })
        .await
    }
}

async fn change(
    plane: &ControlPlane,
    cx: &Cx,
    name: &Name,
    to: To,
) -> Result<Committed<Agent>, ChangeStageError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    Operator::admit(cx, txn.as_mut()).await?;
    let unknown = || ChangeStageError::Unknown(name.clone());
    let mut agent = txn.agent_by_name(name).await?.ok_or_else(unknown)?;
    let owner = txn.person(agent.owner).await?;
    if to == To::Active && owner.is_none_or(|owner| owner.removed_at.is_some()) {
        return Err(ChangeStageError::NoOwner(name.clone()));
    }
    let from = agent.stage;
    let not_so = |why| ChangeStageError::Stage {
        name: name.clone(),
        why,
    };
    agent.stage = to.from(from, cx.now).map_err(not_so)?;
    let cut_off = (to != To::Active).then_some(revision);
    staged(txn.as_mut(), &agent, cut_off).await?;
    let mut events = vec![stage_event(cx, &agent, from, (cut_off, Object::new()))];
    events.extend(approvals::withdrawn(txn.as_mut(), cx).await?);
    txn.commit(events).await?;
    Ok(plane.published(agent, revision).await)
}
