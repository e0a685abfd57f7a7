//! Whether something may still be issued for a task: every fact that has to hold, looked at anew.

use aims_jose::{Jws, JwsLimits};
use aims_model::grant::Delegator;
use aims_model::{Agent, CutOff, Grant, Instance, Person, Subject, Task, agent, task};
use aims_store::{Reader, StoredGrant};
use aims_types::{self as types, Delegation, Id, Revision, Timestamp};

use crate::chain::read_grant;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::{Fault, services};

/// Why nothing may be issued.
#[derive(Debug, thiserror::Error)]
pub enum NotLive {
    /// There is no such task.
    #[error("there is no such task")]
    UnknownTask,
    /// The task was ended or its deadline passed.
    #[error("the task has ended; start another one")]
    TaskEnded,
    /// The task is frozen.
    #[error("the task is frozen; resume it first")]
    TaskFrozen,
    /// A delegation of the chain is past its end.
    #[error("the delegation has ended; ask for a new one")]
    DelegationEnded,
    /// An instance that delegated has ended, and with it everything that it delegated.
    #[error("instance `{0}`, which delegated, has ended; start another one")]
    DelegatorEnded(Id<types::Instance>),
    /// The agent is not active.
    #[error("agent `{name}` is {stage}; an operator can activate it unless it is retired")]
    AgentNotActive {
        /// The agent.
        name: String,
        /// Where it stands.
        stage: &'static str,
    },
    /// The person on whose behalf, or at whose wish, was removed.
    #[error("the person on whose behalf the task runs, or who asked for it, was removed")]
    PersonRemoved,
    /// Something that it rests on was cut off.
    #[error("{what} was cut off at revision {at}; start another task")]
    CutOff {
        /// What was cut off.
        what: String,
        /// When.
        at: Revision,
    },
    /// There is no such instance.
    #[error("there is no such instance")]
    UnknownInstance,
    /// The instance ended.
    #[error("the instance has ended; start another one")]
    InstanceEnded,
    /// The process of a service that the instance is has ended.
    #[error("the process of the service, which the instance is, has ended or was cut off")]
    ProcessEnded,
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(NotLive);

impl Refused for NotLive {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownTask => "unknown_task",
            Self::TaskEnded => "task_ended",
            Self::TaskFrozen => "task_frozen",
            Self::DelegationEnded => "delegation_ended",
            Self::DelegatorEnded(_) => "delegator_ended",
            Self::AgentNotActive { .. } => "agent_not_active",
            Self::PersonRemoved => "person_removed",
            Self::CutOff { .. } => "cut_off",
            Self::UnknownInstance => "unknown_instance",
            Self::InstanceEnded => "instance_ended",
            Self::ProcessEnded => "process_ended",
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// One hop of a live chain.
#[derive(Debug, Clone)]
pub(crate) struct LiveHop {
    pub(crate) stored: StoredGrant,
    pub(crate) grant: Grant,
    /// The delegate.
    pub(crate) agent: Agent,
}

/// A chain of delegations under which things may be issued at this instant, with everything that
/// it rests on.
#[derive(Debug, Clone)]
pub(crate) struct LiveChain {
    pub(crate) task: Task,
    pub(crate) person: Person,
    /// The hops above the leaf, root first.
    pub(crate) above: Vec<LiveHop>,
    /// The hop that somebody acts under.
    pub(crate) leaf: LiveHop,
}

/// A live instance and the live chain that it acts under.
#[derive(Debug, Clone)]
pub(crate) struct LiveInstance {
    pub(crate) instance: Instance,
    pub(crate) of: LiveChain,
}

impl LiveChain {
    /// The chain of a task's root alone: what a person's launch acts under.
    pub(crate) async fn root(
        reader: &mut dyn Reader,
        id: Id<types::Task>,
        now: Timestamp,
    ) -> Result<Self, NotLive> {
        let task = reader.task(id).await?.ok_or(NotLive::UnknownTask)?;
        let root = task.root;
        Self::of(reader, task, root, now).await
    }

    /// The chain that ends in a delegation of a task.
    pub(crate) async fn find(
        reader: &mut dyn Reader,
        (id, leaf): (Id<types::Task>, Id<Delegation>),
        now: Timestamp,
    ) -> Result<Self, NotLive> {
        let task = reader.task(id).await?.ok_or(NotLive::UnknownTask)?;
        Self::of(reader, task, leaf, now).await
    }

    async fn of(
        reader: &mut dyn Reader,
        task: Task,
        leaf: Id<Delegation>,
        now: Timestamp,
    ) -> Result<Self, NotLive> {
        if let task::Stage::Frozen { .. } = task.stage {
            return Err(NotLive::TaskFrozen);
        }
        if !task.is_open(now) || last_second(task.deadline) <= now {
            return Err(NotLive::TaskEnded);
        }
        let mut hops = Vec::new();
        for (stored, grant) in hops_of(reader, leaf).await? {
            if grant.task != task.id {
                return Err(missing("grant"));
            }
            let agent = active(reader, grant.delegate).await?;
            hops.push(LiveHop {
                stored,
                grant,
                agent,
            });
        }
        let person = reader.person(task.initiator).await?;
        let person = person.ok_or_else(|| missing("person"))?;
        if person.removed_at.is_some() {
            return Err(NotLive::PersonRemoved);
        }
        let leaf = hops.pop().ok_or_else(|| missing("grant"))?;
        let live = Self {
            task,
            person,
            above: hops,
            leaf,
        };
        live.check(reader, now).await?;
        Ok(live)
    }

    /// Every hop, root first.
    pub(crate) fn hops(&self) -> impl DoubleEndedIterator<Item = &LiveHop> {
        self.above.iter().chain(std::iter::once(&self.leaf))
    }

    /// When the first of its hops ends, or the task.
    pub(crate) fn deadline(&self) -> Timestamp {
        let ends = self.hops().map(|hop| hop.grant.expires_at);
        ends.fold(self.task.deadline, Timestamp::min)
    }

    /// Looks at every hop: its end, who delegated it, and every cut-off about it.
    async fn check(&self, reader: &mut dyn Reader, now: Timestamp) -> Result<(), NotLive> {
        if last_second(self.deadline()) <= now {
            return Err(NotLive::DelegationEnded);
        }
        let cutoffs = reader.cutoffs().await?;
        policy_lives(reader, &cutoffs).await?;
        let mut above = None;
        for hop in self.hops() {
            let mut subjects = vec![
                Subject::Person(self.person.id),
                Subject::Task(self.task.id),
                Subject::Agent(hop.agent.id),
                Subject::Delegation(hop.grant.id),
            ];
            subjects.extend(signers(&hop.stored, &hop.grant).map(Subject::Key));
            uncut(&subjects, hop.grant.revision, &cutoffs)?;
            if let Delegator::Agent { instance, .. } = &hop.grant.delegator {
                let instance = reader.instance(*instance).await?;
                let instance = instance.ok_or_else(|| missing("delegating instance"))?;
                if !instance.stage.is_live() {
                    return Err(NotLive::DelegatorEnded(instance.id));
                }
                let subjects = subjects_of(&instance);
                // An instance is younger than the grant that it acts under.
                uncut(&subjects, above.unwrap_or(hop.grant.revision), &cutoffs)?;
            }
            above = Some(hop.grant.revision);
        }
        Ok(())
    }
}

impl LiveInstance {
    /// Looks at the instance and at everything under the chain that it acts under.
    pub(crate) async fn find(
        reader: &mut dyn Reader,
        id: Id<types::Instance>,
        now: Timestamp,
    ) -> Result<Self, NotLive> {
        let instance = reader.instance(id).await?.ok_or(NotLive::UnknownInstance)?;
        if !instance.stage.is_live() {
            return Err(NotLive::InstanceEnded);
        }
        if let Some(process) = instance.process {
            let process = reader.service_instance(process).await?;
            let process = process.ok_or_else(|| missing("process"))?;
            let service = reader.service(process.service).await?;
            let service = service.ok_or_else(|| missing("service"))?;
            if !process.stage.is_live() || !services::may_have(reader, &service).await? {
                return Err(NotLive::ProcessEnded);
            }
        }
        let run = reader.run(instance.run).await?;
        let run = run.ok_or_else(|| missing("launch"))?;
        let of = LiveChain::find(reader, (instance.task, run.delegation), now).await?;
        // An instance is younger than its grant; what is cut off about it is cut off for ever.
        let cutoffs = reader.cutoffs().await?;
        uncut(&subjects_of(&instance), of.leaf.grant.revision, &cutoffs)?;
        Ok(Self { instance, of })
    }
}

/// The grants from the root to the one with this id.
///
/// A chain has at most [`aims_model::grant::CHAIN_LEN_MAX`] hops, and a task as many grants as a
/// swarm takes: so they are looked up one by one.
pub(crate) async fn hops_of(
    reader: &mut dyn Reader,
    leaf: Id<Delegation>,
) -> Result<Vec<(StoredGrant, Grant)>, Fault> {
    let last = stored_hop(reader, leaf).await?;
    let mut hops = Vec::with_capacity(last.1.ancestors.len() + 1);
    for id in &last.1.ancestors {
        hops.push(stored_hop(reader, *id).await?);
    }
    hops.push(last);
    let mut parent = None;
    for (stored, grant) in &hops {
        if grant.parent != parent {
            let what = format!("delegation `{}` is not below its parent", grant.id);
            return Err(Fault::Inconsistent(what));
        }
        parent = Some(stored.digest);
    }
    Ok(hops)
}

async fn stored_hop(
    reader: &mut dyn Reader,
    id: Id<Delegation>,
) -> Result<(StoredGrant, Grant), Fault> {
    let missing = || Fault::Inconsistent(format!("delegation `{id}` is not stored"));
    let stored = reader.grant_by_id(id).await?.ok_or_else(missing)?;
    let grant = read_grant(&stored.jws)?;
    Ok((stored, grant))
}

async fn active(reader: &mut dyn Reader, id: Id<types::Agent>) -> Result<Agent, NotLive> {
    let agent = reader.agent(id).await?.ok_or_else(|| missing("agent"))?;
    if matches!(agent.stage, agent::Stage::Active { .. }) {
        return Ok(agent);
    }
    let (name, stage) = (agent.name.to_string(), agent.stage.as_str());
    Err(NotLive::AgentNotActive { name, stage })
}

/// The keys that signed a hop, by their names: the server's, and the person's under the consent or
/// the server's under the identity of the instance that delegated.
pub(crate) fn signers(stored: &StoredGrant, grant: &Grant) -> impl Iterator<Item = String> {
    let below = match &grant.delegator {
        Delegator::Person { consent, .. } => consent,
        Delegator::Agent { wit, .. } => wit,
    };
    let kid = |jws: &str| {
        let parsed = Jws::parse(jws, &JwsLimits::TOKEN).ok()?;
        parsed.unverified_header().kid.clone()
    };
    [kid(&stored.jws), kid(below)].into_iter().flatten()
}

fn subjects_of(instance: &Instance) -> [Subject; 2] {
    [
        Subject::Instance(instance.id),
        Subject::Key(instance.jkt.clone()),
    ]
}

/// Credentials count whole seconds: in the last part of one nothing can be issued.
const fn last_second(deadline: Timestamp) -> Timestamp {
    Timestamp::from_unix_secs(deadline.unix_secs())
}

/// Refuses everything while the policy in force was killed: nothing may be decided under it until
/// another version is activated.
pub(crate) async fn policy_lives(
    reader: &mut dyn Reader,
    cutoffs: &[CutOff],
) -> Result<(), NotLive> {
    let policy = reader.policy_current().await?;
    let subject = policy.map(|policy| Subject::Policy(policy.id));
    // A version comes into force once; what is cut off about it is cut off for ever.
    uncut(subject.as_slice(), Revision::ZERO, cutoffs)
}

/// Refuses what was minted at `minted` if a cut-off about one of `subjects` covers it.
fn uncut(subjects: &[Subject], minted: Revision, cutoffs: &[CutOff]) -> Result<(), NotLive> {
    let covers = |cut: &&CutOff| subjects.iter().any(|subject| cut.covers(subject, minted));
    match cutoffs.iter().find(covers) {
        None => Ok(()),
        Some(cut) => Err(NotLive::CutOff {
            what: describe(&cut.subject),
            at: cut.at_or_before,
        }),
    }
}

/// The subject of a cut-off in words.
pub(crate) fn describe(subject: &Subject) -> String {
    match subject {
        Subject::Person(id) => format!("person {id}"),
        Subject::Agent(id) => format!("agent {id}"),
        Subject::Instance(id) => format!("instance {id}"),
        Subject::Task(id) => format!("task {id}"),
        Subject::Delegation(id) => format!("delegation {id}"),
        Subject::Key(kid) => format!("key {kid}"),
        Subject::Policy(id) => format!("policy {id}"),
    }
}

fn missing(what: &str) -> NotLive {
    NotLive::Internal(Fault::Inconsistent(format!(
        "a task's {what} is not stored"
    )))
}
