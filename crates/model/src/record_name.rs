//! By what a record is found in a log without reading the log.
//!
//! A name only finds: whoever finds a record by it checks that the record is the one.

use std::borrow::Cow;
use std::fmt;

use aims_json::Value;
use aims_types::{Decision, Id};

use crate::record::{Event, EventKind};

/// Longest text of a name, in bytes. What is longer is none of ours, and has no name.
pub const RECORD_NAME_LEN_MAX: usize = 256;

/// A kind of record, and the text of one of its members; an earlier and a later record may have
/// the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordName {
    kind: EventKind,
    member: &'static str,
    text: String,
}

impl RecordName {
    /// The name of the records of a kind whose `member` is `text`. Records are found by the members
    /// of one table only: [`RecordName::all_of`].
    pub fn new(kind: EventKind, member: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, member, text }
    }

    /// The name of the record that the trust domain came into being with: there is one.
    pub fn domain() -> Self {
        Self::new(EventKind::DomainCreated, "", "")
    }

    /// The name of what says who owns the delegation tree of a task in an epoch.
    pub fn epoch(task: &str, epoch: u64) -> Self {
        Self::new(EventKind::TreeOwned, "epoch", format!("{task}/{epoch}"))
    }

    /// The name of a permit.
    pub fn permit(decision: Id<Decision>) -> Self {
        Self::new(EventKind::CallIntent, "decision_id", decision.to_string())
    }

    /// The name of the outcome of a permit.
    pub fn outcome(decision: Id<Decision>) -> Self {
        Self::new(EventKind::CallOutcome, "decision_id", decision.to_string())
    }

    /// Every name of a record of this event.
    pub fn all_of(event: &Event) -> Vec<Self> {
        let name = |member: &&'static str| {
            let text = text(event, member)?.into_owned();
            (text.len() <= RECORD_NAME_LEN_MAX).then(|| Self::new(event.kind, member, text))
        };
        Self::members(event.kind).iter().filter_map(name).collect()
    }

    /// Whether a record of this event has the name.
    pub fn is_of(&self, event: &Event) -> bool {
        self.kind == event.kind && text(event, self.member).as_deref() == Some(self.text.as_str())
    }

    /// By which members of its body a record of this kind is found: all that the proof of a permit
    /// rests on. Of a tree's owner `epoch` is meant together with `task`; of the trust domain, of
    /// which there is one, no member.
    pub const fn members(kind: EventKind) -> &'static [&'static str] {
        match kind {
            EventKind::DomainCreated => &[""],
            EventKind::KeyEnrolled => &["kid", "owner"],
            EventKind::PersonEnrolled => &["person"],
            EventKind::AgentRegistered => &["agent"],
            EventKind::ServerRegistered => &["name"],
            EventKind::PolicyActivated => &["policy"],
            EventKind::TaskStarted | EventKind::DelegationGranted => &["grant_digest"],
            EventKind::InstanceAttested => &["instance"],
            EventKind::TokenIssued => &["jti"],
            EventKind::ApprovalAsked | EventKind::ApprovalAnswered => &["approval"],
            EventKind::TreeOwned => &["epoch"],
            EventKind::CallIntent | EventKind::CallOutcome => &["decision_id"],
            _ => &[],
        }
    }

    /// The kind of the records.
    pub const fn kind(&self) -> EventKind {
        self.kind
    }
}

/// The name as an engine keeps it: no two names have the same text.
impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, member, text } = self;
        write!(f, "{kind} {member} {text}")
    }
}

fn text<'a>(event: &'a Event, member: &str) -> Option<Cow<'a, str>> {
    let value = |name: &str| event.body.get(name);
    match event.kind {
        EventKind::DomainCreated => Some(Cow::Borrowed("")),
        EventKind::TreeOwned => {
            let (task, epoch) = (value("task")?.as_str()?, value("epoch")?.as_u64()?);
            Some(Cow::Owned(RecordName::epoch(task, epoch).text))
        }
        _ => value(member).and_then(Value::as_str).map(Cow::Borrowed),
    }
}

#[cfg(test)]
mod tests {
    use aims_json::Object;
    use aims_types::Timestamp;

    use super::*;

    fn event(kind: EventKind, body: Object) -> Event {
        Event::new(kind, Timestamp::from_unix_secs(1), body)
    }

    #[test]
    fn every_record_is_found_by_each_of_its_names_and_by_no_other() {
        let body = |n: u64| {
            let texts = EventKind::ALL
                .iter()
                .flat_map(|kind| RecordName::members(*kind));
            let texts = texts.filter(|name| **name != "epoch").chain(&["task"]);
            texts.fold(Object::new().with("epoch", n), |body, name| {
                body.with(*name, format!("{name} {n}"))
            })
        };
        let mut seen = std::collections::BTreeSet::new();
        for kind in EventKind::ALL {
            let (one, other) = (event(*kind, body(1)), event(*kind, body(2)));
            let names = RecordName::all_of(&one);
            assert_eq!(names.len(), RecordName::members(*kind).len(), "{kind}");
            for name in names {
                assert!(name.is_of(&one) && name.kind() == *kind, "{name}");
                assert_eq!(
                    name.is_of(&other),
                    *kind == EventKind::DomainCreated,
                    "{name}"
                );
                assert!(seen.insert(name.to_string()), "{name}");
            }
        }
    }

    #[test]
    fn what_is_no_text_or_too_long_has_no_name() {
        let named = |value: Value| {
            let body = Object::new().with("decision_id", value);
            RecordName::all_of(&event(EventKind::CallIntent, body)).len()
        };
        for (value, names) in [
            (Value::from("a"), 1),
            (Value::from(""), 1),
            (Value::from(7_u64), 0),
            (Value::Null, 0),
            (Value::from("a".repeat(RECORD_NAME_LEN_MAX)), 1),
            (Value::from("a".repeat(RECORD_NAME_LEN_MAX + 1)), 0),
        ] {
            assert_eq!(named(value.clone()), names, "{value:?}");
        }
        assert!(RecordName::all_of(&event(EventKind::CallIntent, Object::new())).is_empty());
    }
}
