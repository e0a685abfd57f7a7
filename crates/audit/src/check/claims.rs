//! What the records so far say, and whether the next one fits.

use std::collections::BTreeMap;
use std::str::FromStr;

use aims_json::{Object, Value};
use aims_model::{EventKind, Record};

use super::Problem;
use super::calls::Calls;
use super::grants::Grants;
use super::keys::Keys;
use crate::kinds::may_write;

/// Everything that later records refer to.
#[derive(Default)]
pub(super) struct Claims {
    pub(super) kinds: BTreeMap<&'static str, u64>,
    pub(super) keys: Keys,
    pub(super) grants: Grants,
    pub(super) calls: Calls,
}

/// The body of a record, whose members have to be there.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    pub(super) kind: EventKind,
    pub(super) members: &'a Object,
}

impl Claims {
    pub(super) fn note(&mut self, record: &Record) -> Result<(), Problem> {
        let kind = record.event.kind;
        if !may_write(record.source, kind) {
            let origin = record.source;
            return Err(Problem::Source { origin, kind });
        }
        *self.kinds.entry(kind.as_str()).or_default() += 1;
        match kind {
            EventKind::KeyEnrolled => self.keys.enrol(Body::of(record)),
            EventKind::KeyRetired => self.keys.retire(Body::of(record)),
            EventKind::PersonEnrolled => self.grants.person_enrolled(Body::of(record)),
            EventKind::PersonRemoved => self.grants.person_removed(Body::of(record)),
            EventKind::TaskStarted => self.grants.started(&self.keys, record),
            EventKind::InstanceAttested => self.calls.attested(record),
            EventKind::TokenIssued => self.calls.token(record),
            EventKind::CallIntent => self.calls.intent(&self.grants, record),
            EventKind::CallOutcome => self.calls.outcome(record),
            _ => Ok(()),
        }
    }
}

impl<'a> Body<'a> {
    pub(super) const fn of(record: &'a Record) -> Self {
        Self {
            kind: record.event.kind,
            members: &record.event.body,
        }
    }

    pub(super) fn missing(self, member: &'static str) -> Problem {
        let kind = self.kind;
        Problem::Member { kind, member }
    }

    pub(super) fn value(self, name: &'static str) -> Result<&'a Value, Problem> {
        self.members.get(name).ok_or_else(|| self.missing(name))
    }

    pub(super) fn text(self, name: &'static str) -> Result<&'a str, Problem> {
        self.value(name)?.as_str().ok_or_else(|| self.missing(name))
    }

    pub(super) fn parsed<T: FromStr>(self, name: &'static str) -> Result<T, Problem> {
        self.text(name)?.parse().map_err(|_| self.missing(name))
    }

    pub(super) fn number(self, name: &'static str) -> Result<u64, Problem> {
        self.value(name)?.as_u64().ok_or_else(|| self.missing(name))
    }

    pub(super) fn part(self, name: &'static str) -> Result<Self, Problem> {
        let members = self.value(name)?.as_object();
        let members = members.ok_or_else(|| self.missing(name))?;
        Ok(Self { members, ..self })
    }
}
