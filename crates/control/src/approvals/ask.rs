//! Parking an action until a person answers.

use std::time::Duration;

use aims_json::{Limits, Object, Value};
use aims_model::approval::{APPROVAL_ARGUMENTS_MAX, APPROVAL_LIFE_SECS, AnswerError, Asked, Stage};
use aims_model::{Approval, Event, EventKind};
use aims_store::Txn;
use aims_types::{Cx, Digest, Name};

use super::over::{is_over, time_out};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::liveness::{LiveInstance, NotLive};
use crate::recording::event;
use crate::{ControlPlane, Fault};

/// Most requests of one instance that are open at a time.
pub const APPROVALS_OPEN_MAX: usize = 16;
/// Most requirements that one request names.
pub const REQUIREMENTS_MAX: usize = 16;

/// Why nobody is asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nothing may be done under the chain any more.
    #[error(transparent)]
    NotLive(#[from] NotLive),
    /// What the gateway says is not what the server knows.
    #[error("the {0} asked about is not the one that the server knows")]
    Differs(&'static str),
    /// The tool is not there, or not as pinned.
    #[error("the tool `{tool}` of server `{server}` is not registered as it was asked about")]
    Tool {
        /// The server.
        server: Name,
        /// The tool.
        tool: String,
    },
    /// Another policy is in force.
    #[error("another policy version came into force; ask again under it")]
    PolicyChanged,
    /// Nobody can read so much.
    #[error(
        "the arguments have {0} bytes; what a person approves has at most {APPROVAL_ARGUMENTS_MAX}"
    )]
    TooLong(usize),
    /// The arguments are no JSON object.
    #[error("the arguments are not a JSON object that can be read: {0}")]
    Arguments(String),
    /// No requirement is named, or too many.
    #[error("a request names 1 to {REQUIREMENTS_MAX} requirements")]
    Requirements,
    /// Too many requests wait.
    #[error("{APPROVALS_OPEN_MAX} requests of this instance wait for an answer already")]
    TooMany,
    /// The request has no canonical form.
    #[error(transparent)]
    Digest(#[from] AnswerError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(AskError);

impl Refused for AskError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotLive(error) => error.code(),
            Self::Differs(_) => "approval_differs",
            Self::Tool { .. } => "approval_tool",
            Self::PolicyChanged => "policy_changed",
            Self::TooLong(_) => "arguments_too_long",
            Self::Arguments(_) => "bad_arguments",
            Self::Requirements => "bad_requirements",
            Self::TooMany => "too_many_approvals",
            Self::Digest(_) => "bad_request",
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// Asks, or gives the request that is open for exactly this action.
///
/// Nothing that gateways decide on changes, so it takes no revision. A cut-off that commits
/// meanwhile leaves at most a request that nothing can come of, until housekeeping ends it.
pub(crate) async fn ask(plane: &ControlPlane, cx: &Cx, asked: Asked) -> Result<Approval, AskError> {
    let mut txn = plane.store().begin().await?;
    check_form(&asked)?;
    let live = LiveInstance::find(txn.as_mut(), asked.instance, cx.now).await?;
    check_facts(&asked, &live)?;
    check_tool(txn.as_mut(), &asked).await?;
    let digest = asked.digest()?;
    let mut events = Vec::new();
    if let Some(open) = open_one(txn.as_mut(), &asked, &digest).await? {
        if !is_over(&open, cx.now) {
            return Ok(open);
        }
        events.push(time_out(txn.as_mut(), cx, open).await?);
    }
    let latest = cx.now.plus(Duration::from_secs(APPROVAL_LIFE_SECS));
    let approval = Approval {
        id: cx.id()?,
        digest,
        asked,
        asked_at: cx.now,
        deadline: latest.min(live.of.deadline()),
        stage: Stage::Pending {},
    };
    txn.approval_insert(&approval).await?;
    events.push(asked_event(cx, &approval));
    txn.commit(events).await?;
    Ok(approval)
}

fn check_form(asked: &Asked) -> Result<(), AskError> {
    if asked.arguments.len() > APPROVAL_ARGUMENTS_MAX {
        return Err(AskError::TooLong(asked.arguments.len()));
    }
    let read = aims_json::parse(asked.arguments.as_bytes(), &Limits::MESSAGE);
    match read {
        Ok(Value::Object(_)) => {}
        Ok(_) => return Err(AskError::Arguments("not an object".to_owned())),
        Err(error) => return Err(AskError::Arguments(error.to_string())),
    }
    if (1..=REQUIREMENTS_MAX).contains(&asked.requirements.len()) {
        Ok(())
    } else {
        Err(AskError::Requirements)
    }
}

/// What a gateway says of the caller has to be what the server knows: people rely on it.
fn check_facts(asked: &Asked, live: &LiveInstance) -> Result<(), AskError> {
    let (task, leaf) = (&live.of.task, &live.of.leaf);
    let facts = [
        ("task", asked.task == task.id),
        ("initiator", asked.initiator == task.initiator),
        ("agent", asked.agent == leaf.agent.spiffe_id),
        ("delegation", asked.delegation == leaf.grant.id),
        ("chain", asked.leaf == leaf.stored.digest),
    ];
    match facts.iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((what, _)) => Err(AskError::Differs(what)),
    }
}

async fn check_tool(txn: &mut dyn Txn, asked: &Asked) -> Result<(), AskError> {
    let policy = txn.policy_current().await?;
    if policy.is_none_or(|policy| policy.id != asked.policy) {
        return Err(AskError::PolicyChanged);
    }
    let server = txn.server_by_name(&asked.server).await?;
    let pins = server.map(|server| server.tools).unwrap_or_default();
    let mut pins = pins.iter();
    if pins.any(|pin| pin.name == asked.tool && pin.digest == asked.pin) {
        return Ok(());
    }
    let (server, tool) = (asked.server.clone(), asked.tool.clone());
    Err(AskError::Tool { server, tool })
}

/// The open request for exactly this, whichever instance asked; refuses one too many of this one.
async fn open_one(
    txn: &mut dyn Txn,
    asked: &Asked,
    digest: &Digest,
) -> Result<Option<Approval>, AskError> {
    let open = txn.approvals_open().await?;
    let own = |one: &&Approval| one.asked.instance == asked.instance;
    let count = open.iter().filter(own).count();
    match open.into_iter().find(|one| one.digest == *digest) {
        Some(same) => Ok(Some(same)),
        None if count >= APPROVALS_OPEN_MAX => Err(AskError::TooMany),
        None => Ok(None),
    }
}

fn asked_event(cx: &Cx, approval: &Approval) -> Event {
    let asked = &approval.asked;
    let requirements = asked.requirements.iter();
    let requirements: Vec<Value> = requirements.map(|name| name.as_str().into()).collect();
    let body = Object::new()
        .with("approval", approval.id.to_string())
        .with("digest", approval.digest.to_string())
        .with("server", asked.server.as_str())
        .with("tool", asked.tool.as_str())
        .with("agent", asked.agent.as_str())
        .with("instance", asked.instance.to_string())
        .with("requirements", requirements)
        .with("deadline", approval.deadline.unix_millis());
    event(cx, EventKind::ApprovalAsked, body).of_task(asked.task)
}
