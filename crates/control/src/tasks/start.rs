//! Starting a task: the person's consent becomes the root delegation.

use aims_authority::{Authority, Detail};
use aims_json::Object;
use aims_model::grant::{Delegator, grant_digest};
use aims_model::task::Stage;
use aims_model::{
    Agent, Event, EventKind, Grant, Person, PolicyVersion, Task, ToolServer, Upstream, agent,
};
use aims_store::{ReplayKind, StoredGrant, Txn};
use aims_types::{self as types, Cx, Id, Name, Revision};

use super::consent::{ConsentError, Consented};
use crate::access::{AccessError, Principal};
use crate::chain::sign_grant;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::liveness::{NotLive, policy_lives};
use crate::policies::policy_body;
use crate::recording::{Attempt, event};
use crate::rules::{self, Hop};
use crate::{Committed, ControlPlane, Fault};

/// A task that was started, with its root delegation.
#[derive(Debug, Clone)]
pub struct StartedTask {
    /// The task.
    pub task: Task,
    /// The signed root grant.
    pub grant: StoredGrant,
}

/// Why a task was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartTaskError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The consent does not count.
    #[error(transparent)]
    Consent(#[from] ConsentError),
    /// The consent was used before.
    #[error("the consent was used before; sign a new one for each task")]
    ConsentReplayed,
    /// There is no such agent.
    #[error("there is no agent `{0}`; register it first")]
    UnknownAgent(Name),
    /// The agent may not run.
    #[error("agent `{name}` is {stage}; an operator can activate it unless it is retired")]
    AgentNotActive {
        /// The agent.
        name: Name,
        /// Where it stands.
        stage: &'static str,
    },
    /// Nobody answers for the agent.
    #[error("the owner of agent `{0}` was removed; register another agent")]
    NoOwner(Name),
    /// The policy in force was killed.
    #[error(transparent)]
    NotLive(#[from] NotLive),
    /// The authority allows nothing.
    #[error("the authority allows nothing; name at least one tool or host")]
    EmptyAuthority,
    /// The authority names a server that does not exist.
    #[error("the authority names the server `{0}`, which is not registered")]
    UnknownServer(Name),
    /// The authority names an upstream that is not registered, or is retired.
    #[error("there is no upstream `{0}`; register it or change the authority")]
    UnknownUpstream(Name),
    /// The authority names a tool that the server does not have.
    #[error("the authority names the tool `{tool}`, which server `{server}` does not have")]
    UnknownTool {
        /// The server.
        server: Name,
        /// The tool.
        tool: String,
    },
    /// The organisation's policies do not permit this delegation.
    #[error("the policy in force does not permit `{resource}` to {principal}: {reason}")]
    Policy {
        /// For whom.
        principal: String,
        /// Which tool or host.
        resource: String,
        /// Why.
        reason: String,
    },
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(StartTaskError);

impl Refused for StartTaskError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Consent(error) => error.code(),
            Self::ConsentReplayed => "consent_replayed",
            Self::UnknownAgent(_) => "unknown_agent",
            Self::AgentNotActive { .. } => "agent_not_active",
            Self::NoOwner(_) => "no_owner",
            Self::NotLive(error) => error.code(),
            Self::EmptyAuthority => "empty_authority",
            Self::UnknownServer(_) => "unknown_server",
            Self::UnknownUpstream(_) => "unknown_upstream",
            Self::UnknownTool { .. } => "unknown_tool",
            Self::Policy { .. } => "policy_denied",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Starts a task by the signed consent of the person who asks: operators for any agent,
    /// members for agents that they own.
    pub async fn task_start(
        &self,
        cx: &Cx,
        consent_jws: &str,
    ) -> Result<Committed<StartedTask>, StartTaskError> {
        let (cx, jws) = (cx.clone(), consent_jws.to_owned());
        self.to_the_end(|plane| async move {
            let attempt = Attempt::new("task_start", &grant_digest(&jws).to_string());
            let done = start(&plane, &cx, jws).await;
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }
}

async fn start(
    plane: &ControlPlane,
    cx: &Cx,
    jws: String,
) -> Result<Committed<StartedTask>, StartTaskError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let principal = Principal::admit(cx, txn.as_mut()).await?;
    let check = (plane.trust_domain(), cx.now);
    let given = Consented::check(txn.as_mut(), jws, principal.person(), check).await?;
    let unknown = || StartTaskError::UnknownAgent(given.consent.agent.clone());
    let agent = txn
        .agent_by_name(&given.consent.agent)
        .await?
        .ok_or_else(unknown)?;
    let principal = principal.owning(&agent)?;
    let id = cx.id()?;
    let hop = Hopped {
        principal: &principal,
        agent: &agent,
        given: &given,
        task: id,
    };
    let policy = authorise(txn.as_mut(), &hop).await?;
    let used = (given.replay_value(), given.replayable_until());
    let consent = (ReplayKind::Consent, &used.0);
    if !plane
        .use_once(txn.as_mut(), consent, (cx.now, used.1))
        .await?
    {
        return Err(StartTaskError::ConsentReplayed);
    }
    let (grant, stored) = issue(plane, cx, &hop, revision)?;
    let task = Task {
        id,
        purpose: grant.purpose.clone(),
        agent: agent.id,
        initiator: principal.person().id,
        root: grant.id,
        deadline: grant.expires_at,
        stage: Stage::Open { since: cx.now },
    };
    txn.task_insert(&task).await?;
    txn.grant_insert(&stored).await?;
    let started = started_event(
        cx,
        &task,
        &agent,
        (principal.person(), &stored, &policy),
        revision,
    );
    txn.commit(vec![started]).await?;
    Ok(plane
        .published(
            StartedTask {
                task,
                grant: stored,
            },
            revision,
        )
        .await)
}

/// One hop to be authorised: who gives what to which agent.
struct Hopped<'a> {
    principal: &'a Principal,
    agent: &'a Agent,
    given: &'a Consented,
    task: Id<types::Task>,
}

/// Checks agent, authority and policy; gives the policy that authorised the hop.
async fn authorise(txn: &mut dyn Txn, hop: &Hopped<'_>) -> Result<PolicyVersion, StartTaskError> {
    let (agent, consent) = (hop.agent, &hop.given.consent);
    if !matches!(agent.stage, agent::Stage::Active { .. }) {
        let (name, stage) = (agent.name.clone(), agent.stage.as_str());
        return Err(StartTaskError::AgentNotActive { name, stage });
    }
    let owner = txn
        .person(agent.owner)
        .await?
        .filter(|owner| owner.removed_at.is_none());
    let owner = owner.ok_or_else(|| StartTaskError::NoOwner(agent.name.clone()))?;
    let cutoffs = txn.cutoffs().await?;
    policy_lives(txn, &cutoffs).await?;
    let servers = txn.servers().await?;
    check_names(&consent.authority, &servers, &txn.upstreams().await?)?;
    let policy = txn.policy_current().await?;
    let policy = policy.ok_or_else(|| Fault::Inconsistent("no policy is in force".to_owned()))?;
    let compiled = rules::compile(&policy.text, &servers)
        .map_err(|error| Fault::Inconsistent(error.to_string()))?;
    let hop = Hop {
        person: hop.principal.person(),
        above: &[],
        agent,
        owner: &owner,
        task: hop.task,
        purpose: consent.purpose.as_str(),
        authority: &consent.authority,
    };
    match rules::objection(&compiled, &hop) {
        None => Ok(policy),
        Some(rules::Objection {
            principal,
            resource,
            reason,
        }) => Err(StartTaskError::Policy {
            principal,
            resource,
            reason,
        }),
    }
}

/// Refuses an authority that names what does not exist.
fn check_names(
    authority: &Authority,
    servers: &[ToolServer],
    upstreams: &[Upstream],
) -> Result<(), StartTaskError> {
    if authority.details().is_empty() {
        return Err(StartTaskError::EmptyAuthority);
    }
    for detail in authority.details() {
        let tools = match detail {
            Detail::Tools(tools) => tools,
            Detail::Http(http) => {
                let named = |one: &Upstream| one.name == *http.upstream() && one.is_active();
                if upstreams.iter().any(named) {
                    continue;
                }
                return Err(StartTaskError::UnknownUpstream(http.upstream().clone()));
            }
            Detail::Egress(_) => continue,
        };
        let named = servers.iter().find(|server| server.name == *tools.server());
        let Some(server) = named else {
            return Err(StartTaskError::UnknownServer(tools.server().clone()));
        };
        let pinned = |tool: &str| server.tools.iter().any(|pin| pin.name == tool);
        if let Some(tool) = tools.actions().iter().find(|tool| !pinned(tool.as_str())) {
            let (server, tool) = (server.name.clone(), tool.to_string());
            return Err(StartTaskError::UnknownTool { server, tool });
        }
    }
    Ok(())
}

/// Signs the root grant: exactly what the person consented to.
fn issue(
    plane: &ControlPlane,
    cx: &Cx,
    hop: &Hopped<'_>,
    revision: Revision,
) -> Result<(Grant, StoredGrant), Fault> {
    let (person, consent) = (hop.principal.person(), &hop.given.consent);
    let grant = Grant {
        id: cx.id()?,
        issuer: plane.trust_domain().clone(),
        task: hop.task,
        purpose: consent.purpose.clone(),
        delegator: Delegator::Person {
            id: person.id,
            name: person.name.clone(),
            consent: hop.given.jws.clone(),
        },
        delegate: hop.agent.id,
        delegate_spiffe_id: hop.agent.spiffe_id.clone(),
        ancestors: Vec::new(),
        parent: None,
        authority: consent.authority.clone(),
        revision,
        issued_at: cx.now,
        expires_at: consent.deadline,
    };
    let stored = sign_grant(plane, &grant)?;
    Ok((grant, stored))
}

fn started_event(
    cx: &Cx,
    task: &Task,
    agent: &Agent,
    (person, stored, policy): (&Person, &StoredGrant, &PolicyVersion),
    revision: Revision,
) -> Event {
    let initiator = Object::new()
        .with("id", person.id.to_string())
        .with("name", person.name.as_str());
    let body = Object::new()
        .with("task", task.id.to_string())
        .with("purpose", task.purpose.as_str())
        .with("agent", agent.spiffe_id.as_str())
        .with("initiator", initiator)
        .with("deadline", task.deadline.unix_millis())
        .with("delegation", stored.id.to_string())
        .with("grant", stored.jws.as_str())
        .with("grant_digest", stored.digest.to_string())
        .with("policy", policy_body(policy))
        .with("revision", revision.number());
    event(cx, EventKind::TaskStarted, body).of_task(task.id)
}
