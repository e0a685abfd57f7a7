//! Instances, tokens, permits and outcomes.

use std::collections::{BTreeSet, HashMap};

use aims_model::{Record, Source};
use aims_types::{Decision, Delegation, Digest, Id, Instance, Revision, Task, Token};

use super::claims::Body;
use super::grants::Recorded;
use super::permit::Wrong;
use super::{PermitProblem, Problem};

/// What can be late: a piece that went to a tool or a host, or one that went to the agent.
const LATE: [&str; 2] = ["sent", "delivered"];

/// What permits refer to, and every permit.
#[derive(Default)]
pub(super) struct Calls {
    instances: HashMap<Id<Instance>, Attested>,
    tokens: HashMap<Id<Token>, Issued>,
    permits: HashMap<Id<Decision>, Permit>,
}

/// An instance as it was first attested.
pub(super) struct Attested {
    pub(super) task: Id<Task>,
    /// The thumbprint of its key.
    pub(super) jkt: Option<String>,
    /// When it was made.
    pub(super) revision: Option<Revision>,
    agent: Option<String>,
    delegation: Option<Id<Delegation>>,
}

#[derive(PartialEq, Eq)]
struct Issued {
    instance: Id<Instance>,
    sha256: Digest,
}

struct Permit {
    source: Source,
    task: Option<Id<Task>>,
    concluded: bool,
}

impl Calls {
    pub(super) fn attested(&mut self, record: &Record) -> Result<(), Problem> {
        let body = Body::of(record);
        let instance: Id<Instance> = body.parsed("instance")?;
        let task = record.event.task.ok_or_else(|| body.missing("task"))?;
        // A renewal says a part of the same again.
        if let Some(before) = self.instances.get(&instance) {
            let same = before.task == task;
            return if same {
                Ok(())
            } else {
                Err(Problem::InstanceTwice(instance.to_string()))
            };
        }
        let attested = Attested {
            task,
            jkt: body.text("jkt").ok().map(str::to_owned),
            revision: body.number("revision").ok().map(Revision::new),
            agent: body.text("agent").ok().map(str::to_owned),
            delegation: body.optional("delegation")?,
        };
        self.instances.insert(instance, attested);
        Ok(())
    }

    pub(super) fn token(&mut self, record: &Record) -> Result<(), Problem> {
        let body = Body::of(record);
        if !body.members.contains("instance") {
            // A person's own token permits no action.
            return Ok(());
        }
        let token: Id<Token> = body.parsed("jti")?;
        let issued = Issued {
            instance: body.parsed("instance")?,
            sha256: body.parsed("sha256")?,
        };
        match self.tokens.insert(token, issued) {
            None => Ok(()),
            Some(_) => Err(Problem::TokenTwice(token.to_string())),
        }
    }

    /// Takes note of a permit; each is made once.
    pub(super) fn permitted(
        &mut self,
        decision: Id<Decision>,
        record: &Record,
    ) -> Result<(), Wrong> {
        let permit = Permit {
            source: record.source,
            task: record.event.task,
            concluded: false,
        };
        match self.permits.insert(decision, permit) {
            None => Ok(()),
            Some(_) => Err(PermitProblem::Twice.into()),
        }
    }

    pub(super) fn outcome(&mut self, record: &Record) -> Result<(), Problem> {
        let decision: Id<Decision> = Body::of(record).parsed("decision_id")?;
        let open = self.permits.get_mut(&decision).filter(|permit| {
            !permit.concluded && permit.source == record.source && permit.task == record.event.task
        });
        match open {
            Some(permit) => {
                permit.concluded = true;
                Ok(())
            }
            None => Err(Problem::OutcomeWithoutIntent {
                decision: decision.to_string(),
            }),
        }
    }

    /// A late effect of a permit, before or after its outcome, or of an answer that rests on none.
    pub(super) fn late(&self, record: &Record) -> Result<(), Problem> {
        let body = Body::of(record);
        body.number("late_millis")?;
        body.number("lease_ended_at")?;
        if !LATE.contains(&body.text("what")?) {
            return Err(body.missing("what"));
        }
        let Some(decision) = body.optional::<Id<Decision>>("decision_id")? else {
            return Ok(());
        };
        let permit = self.permits.get(&decision);
        let is_its =
            |permit: &Permit| permit.source == record.source && permit.task == record.event.task;
        if permit.is_some_and(is_its) {
            return Ok(());
        }
        Err(Problem::LateWithoutIntent {
            decision: decision.to_string(),
        })
    }

    /// The instance, if it was attested.
    pub(super) fn attestation(&self, instance: Id<Instance>) -> Option<&Attested> {
        self.instances.get(&instance)
    }

    /// Whether the token was issued to the instance.
    pub(super) fn is_issued(
        &self,
        token: Id<Token>,
        (instance, sha256): (Id<Instance>, Digest),
    ) -> bool {
        self.tokens.get(&token) == Some(&Issued { instance, sha256 })
    }

    /// Decision ids of the permits without an outcome.
    pub(super) fn open(&self) -> BTreeSet<String> {
        let open = self.permits.iter().filter(|(_, permit)| !permit.concluded);
        open.map(|(decision, _)| decision.to_string()).collect()
    }

    pub(super) fn verified(&self) -> u64 {
        u64::try_from(self.permits.len()).unwrap_or(u64::MAX)
    }
}

impl Attested {
    /// Whether it is an instance of the agent, as far as its record says.
    pub(super) fn is_of(&self, agent: &str) -> bool {
        self.agent.as_deref().is_none_or(|its| its == agent)
    }

    /// Whether it acts under the hop: the one that its record names, or the root of its task.
    pub(super) fn acts_under(&self, hop: &Recorded) -> bool {
        match self.delegation {
            Some(delegation) => delegation == hop.id,
            None => hop.parent.is_none(),
        }
    }
}
