//! Asking for a launch: the person gets a ticket that works once, for a minute.

use std::time::Duration;

use aims_crypto::{base64url, sha256};
use aims_json::Object;
use aims_model::{EventKind, Run};
use aims_types::{self as types, Cx, Entropy, EntropyError, Id, Name, Secret, Timestamp};

use crate::access::{AccessError, Principal};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::liveness::{LiveChain, NotLive};
use crate::recording::{Attempt, event};
use crate::{ControlPlane, Fault};

/// What a ticket starts with, so that scanners for secrets recognise it.
pub const TICKET_PREFIX: &str = "aims_rt_";
/// How long a ticket works, in seconds.
pub const TICKET_TTL_SECS: u64 = 60;
/// Longest part of a wrong name that is shown.
const SHOWN_LEN_MAX: usize = 64;
/// Random bytes in a ticket.
const TICKET_LEN: usize = 32;

/// A launch that a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRun {
    /// The task that it serves.
    pub task: Id<types::Task>,
    /// The name of the agent that is meant; it must be the task's.
    pub agent: String,
}

/// A launch that was asked for. The ticket is shown once and kept nowhere.
#[derive(Debug)]
pub struct RunTicket {
    /// The launch.
    pub run: Id<types::Run>,
    /// The ticket that a node redeems.
    pub ticket: Secret<String>,
    /// After this the ticket is worthless.
    pub expires_at: Timestamp,
}

/// Why there is no launch.
#[derive(Debug, thiserror::Error)]
pub enum RequestRunError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Nothing may be started for the task.
    #[error(transparent)]
    NotLive(#[from] NotLive),
    /// Another agent was named than the task's: expected and seen.
    #[error("the task is for the agent `{expected}`, not for `{seen}`; name the agent of the task")]
    OtherAgent {
        /// The task's agent.
        expected: Name,
        /// Who was named.
        seen: String,
    },
    /// The agent is not started here.
    #[error("agent `{0}` runs elsewhere with a key of its own; hand it the task's id instead")]
    RunsElsewhere(Name),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(RequestRunError);

impl Refused for RequestRunError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::NotLive(error) => error.code(),
            Self::OtherAgent { .. } => "other_agent",
            Self::RunsElsewhere(_) => "runs_elsewhere",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Asks for a launch of a task's agent: operators for any, members for agents that they own.
    pub async fn run_request(
        &self,
        cx: &Cx,
        asked: RequestRun,
    ) -> Result<RunTicket, RequestRunError> {
        let (cx, task) = (cx.clone(), asked.task);
        self.to_the_end(move |plane| async move {
            let attempt = Attempt::new("run_request", &task.to_string());
            let known = plane.store().read().await?.task(task).await?.is_some();
            let attempt = if known {
                attempt.of_task(task)
            } else {
                attempt
            };
            let done = request(&plane, &cx, asked).await;
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }
}

async fn request(
    plane: &ControlPlane,
    cx: &Cx,
    RequestRun { task, agent: named }: RequestRun,
) -> Result<RunTicket, RequestRunError> {
    let mut txn = plane.store().begin().await?;
    let principal = Principal::admit(cx, txn.as_mut()).await?;
    let unknown = || RequestRunError::NotLive(NotLive::UnknownTask);
    let of = txn.task(task).await?.ok_or_else(unknown)?;
    let agent = txn.agent(of.agent).await?.ok_or_else(unknown)?;
    // Whose agent it is is asked first: others learn nothing of the task, not even that it is
    // there. Who started it sees it anyway.
    let initiated = of.initiator == principal.person().id;
    let principal = principal.owning(&agent).map_err(|error| match error {
        AccessError::NotOwner { .. } if !initiated => unknown(),
        error => error.into(),
    })?;
    if agent.name.as_str() != named {
        let seen = named.chars().take(SHOWN_LEN_MAX).collect();
        return Err(RequestRunError::OtherAgent {
            expected: agent.name,
            seen,
        });
    }
    if agent.evidence.is_none() {
        return Err(RequestRunError::RunsElsewhere(agent.name));
    }
    let live = LiveChain::root(txn.as_mut(), task, cx.now).await?;
    let ticket = new_ticket(cx.entropy.as_ref())?;
    let run = Run {
        id: cx.id()?,
        task,
        agent: live.leaf.agent.id,
        delegation: live.leaf.grant.id,
        requested_by: principal.person().id,
        parent: None,
        ticket: sha256(ticket.expose().as_bytes()),
        expires_at: cx.now.plus(Duration::from_secs(TICKET_TTL_SECS)),
        redeemed_at: None,
        redeemed_by: None,
    };
    txn.run_insert(&run).await?;
    let body = Object::new()
        .with("run", run.id.to_string())
        .with("agent", live.leaf.agent.spiffe_id.as_str())
        .with("expires_at", run.expires_at.unix_millis());
    txn.commit(vec![event(cx, EventKind::RunRequested, body).of_task(task)])
        .await?;
    Ok(RunTicket {
        run: run.id,
        ticket,
        expires_at: run.expires_at,
    })
}

fn new_ticket(entropy: &dyn Entropy) -> Result<Secret<String>, EntropyError> {
    let mut random = [0_u8; TICKET_LEN];
    entropy.fill(&mut random)?;
    Ok(Secret::new(format!(
        "{TICKET_PREFIX}{}",
        base64url::encode(&random)
    )))
}
