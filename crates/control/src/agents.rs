//! Agents: registration and life cycle.

mod list;
mod proof;
mod register;
mod stage;

use aims_json::Object;
use aims_model::agent::Stage;
use aims_model::{Agent, Event, EventKind, Subject};
use aims_store::Txn;
use aims_types::{Cx, Revision};

pub use list::ListAgentsError;
pub use register::{AGENT_KEYS_MAX, EVIDENCE_LEN_MAX, Proof, RegisterAgent, RegisterAgentError};
pub use stage::ChangeStageError;

use crate::kill;
use crate::recording::event;

/// Writes an agent's new stage, with the cut-off that goes with it.
pub(crate) async fn staged(
    txn: &mut dyn Txn,
    agent: &Agent,
    cut_off: Option<Revision>,
) -> Result<(), aims_store::Error> {
    txn.agent_update(agent).await?;
    match cut_off {
        Some(revision) => kill::cut_off(txn, Subject::Agent(agent.id), revision).await,
        None => Ok(()),
    }
}

/// The record of a change of stage.
pub(crate) fn stage_event(
    cx: &Cx,
    agent: &Agent,
    from: Stage,
    (cut_off, more): (Option<Revision>, Object),
) -> Event {
    let mut body = more
        .with("agent", agent.id.to_string())
        .with("name", agent.name.as_str())
        .with("from", from.as_str())
        .with("to", agent.stage.as_str());
    if let Some(revision) = cut_off {
        body = body.with("cut_off", revision.number());
    }
    event(cx, EventKind::AgentStageChanged, body)
}
