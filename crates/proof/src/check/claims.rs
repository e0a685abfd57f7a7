//! What the records so far say, and whether the next one fits.

use std::collections::BTreeMap;
use std::str::FromStr;

use aims_crypto::PublicKey;
use aims_json::{Object, Value};
use aims_model::{EventKind, Record, Source};

use super::approvals::{self, Approvals};
use super::budgets::Budgets;
use super::calls::Calls;
use super::cuts::CutOffs;
use super::grants::{Before, Grants};
use super::keys::Keys;
use super::people::People;
use super::trees::Trees;
use super::{Claimed, Problem};
use crate::kinds::may_write;

/// Everything that later records refer to: feed it the records in the order of the log.
#[derive(Default)]
pub struct Claims {
    pub(super) kinds: BTreeMap<&'static str, u64>,
    pub(super) keys: Keys,
    pub(super) people: People,
    pub(super) grants: Grants,
    pub(super) calls: Calls,
    pub(super) cuts: CutOffs,
    pub(super) approvals: Approvals,
    pub(super) budgets: Budgets,
    pub(super) trees: Trees,
    domain: String,
}

/// The body of a record, whose members have to be there.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a> {
    pub(crate) kind: EventKind,
    pub(crate) members: &'a Object,
}

impl Claims {
    /// Takes the next record into account, if it fits those before it; `records` says how many of a
    /// source are in the log before it.
    pub fn note(
        &mut self,
        record: &Record,
        records: impl Fn(Source) -> u64,
    ) -> Result<(), Problem> {
        let kind = record.event.kind;
        if !may_write(record.source, kind) {
            let origin = record.source;
            return Err(Problem::Source { origin, kind });
        }
        *self.kinds.entry(kind.as_str()).or_default() += 1;
        let body = Body::of(record);
        match kind {
            EventKind::DomainCreated => self.created(body),
            EventKind::KeyEnrolled => self.keys.enrol(&self.domain, body),
            EventKind::KeyRetired => self.keys.retire(body),
            EventKind::PersonEnrolled => self.people.enrolled(body),
            EventKind::PersonRemoved => {
                self.people.removed(body)?;
                self.cuts.person_removed(body)
            }
            EventKind::AgentStageChanged => self.cuts.agent_changed(body),
            EventKind::SvidIssued => self.trees.certified(body),
            EventKind::JoinAllowed => self.trees.allowed(body),
            EventKind::TaskStarted => self.grants.started(&self.keys, &self.people, record),
            EventKind::TaskEnded => self.cuts.task_ended(record),
            EventKind::TaskFrozen => self.cuts.frozen(body),
            EventKind::TaskErased => self.cuts.erased(record),
            EventKind::DelegationGranted => {
                let (keys, calls, cuts) = (&self.keys, &self.calls, &self.cuts);
                self.grants.delegated(&Before { keys, calls, cuts }, record)
            }
            EventKind::ApprovalAsked | EventKind::ApprovalAnswered | EventKind::ApprovalEnded => {
                self.approval(record)
            }
            EventKind::Killed => self.cuts.killed(body),
            EventKind::KillCompleted => self.cuts.completed(body),
            EventKind::TreeOwned => self.owned(body),
            EventKind::TreeAccounted => self.trees.accounted(body, records),
            EventKind::InstanceAttested => self.calls.attested(record),
            EventKind::InstanceEnded => self.cuts.instance_ended(body),
            EventKind::TokenIssued => self.calls.token(record),
            EventKind::CallIntent => self.intent(record),
            EventKind::CallOutcome => self.calls.outcome(record),
            EventKind::EffectLate => self.calls.late(record),
            _ => Ok(()),
        }
    }

    /// Whether the key is the log's own, enrolled and not retired.
    pub fn is_log_key(&self, key: &PublicKey) -> bool {
        self.keys.is_log_key(key)
    }

    /// What all of them hold together.
    pub fn claimed(self) -> Claimed {
        Claimed {
            kinds: self.kinds,
            keys: self.keys.in_force(),
            grants_verified: self.grants.verified(),
            permits_verified: self.calls.verified(),
            open_intents: self.calls.open(),
            answers_verified: self.approvals.verified(),
            open_kills: self.cuts.open(),
        }
    }

    fn created(&mut self, body: Body<'_>) -> Result<(), Problem> {
        body.text("trust_domain")?.clone_into(&mut self.domain);
        Ok(())
    }

    /// A tree is not taken over where a call may have used any amount, nor with approvals that may
    /// have been used.
    fn owned(&mut self, body: Body<'_>) -> Result<(), Problem> {
        match self.trees.owned(body)? {
            Some((task, _)) if self.grants.limits_sums(task) => {
                Err(Problem::Tree(task.to_string()))
            }
            Some((task, epoch)) => self.approvals.taken_over(task, epoch),
            None => Ok(()),
        }
    }

    fn approval(&mut self, record: &Record) -> Result<(), Problem> {
        let body = Body::of(record);
        match record.event.kind {
            EventKind::ApprovalAsked => self.approvals.asked(record),
            EventKind::ApprovalAnswered => {
                let known = approvals::Known {
                    keys: &self.keys,
                    people: &self.people,
                    grants: &self.grants,
                    domain: &self.domain,
                };
                self.approvals.answered(&known, body)
            }
            _ => self.approvals.ended(body),
        }
    }
}

impl<'a> Body<'a> {
    pub(crate) const fn of(record: &'a Record) -> Self {
        Self {
            kind: record.event.kind,
            members: &record.event.body,
        }
    }

    pub(crate) fn missing(self, member: &'static str) -> Problem {
        let kind = self.kind;
        Problem::Member { kind, member }
    }

    pub(crate) fn value(self, name: &'static str) -> Result<&'a Value, Problem> {
        self.members.get(name).ok_or_else(|| self.missing(name))
    }

    pub(crate) fn text(self, name: &'static str) -> Result<&'a str, Problem> {
        self.value(name)?.as_str().ok_or_else(|| self.missing(name))
    }

    pub(crate) fn parsed<T: FromStr>(self, name: &'static str) -> Result<T, Problem> {
        self.text(name)?.parse().map_err(|_| self.missing(name))
    }

    pub(crate) fn number(self, name: &'static str) -> Result<u64, Problem> {
        self.value(name)?.as_u64().ok_or_else(|| self.missing(name))
    }

    pub(crate) fn flag(self, name: &'static str) -> Result<bool, Problem> {
        self.value(name)?
            .as_bool()
            .ok_or_else(|| self.missing(name))
    }

    /// A member that may be left out, but not malformed.
    pub(crate) fn optional<T: FromStr>(self, name: &'static str) -> Result<Option<T>, Problem> {
        if self.members.get(name).is_none_or(Value::is_null) {
            return Ok(None);
        }
        self.parsed(name).map(Some)
    }

    pub(crate) fn part(self, name: &'static str) -> Result<Self, Problem> {
        let members = self.value(name)?.as_object();
        let members = members.ok_or_else(|| self.missing(name))?;
        Ok(Self { members, ..self })
    }
}
