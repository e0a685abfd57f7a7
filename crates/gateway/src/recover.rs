//! What an earlier run left in the log: uses that stay taken, and calls whose end is unknown.

use std::collections::HashMap;

use aims_authority::LedgerError;
use aims_decision::{Budgets, Reserved, ReservedError};
use aims_json::Value;
use aims_links::TreeGrant;
use aims_model::{Event, EventKind, Record};
use aims_types::{self as types, Id, Timestamp};
use aims_wal::Recovered;

use crate::journal::unpack;
use crate::trees::Tree;

/// What the log says of the time before.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// Approvals that were used, and when.
    pub(crate) approvals: Vec<(Id<types::Approval>, Timestamp)>,
    /// Permitted actions without an outcome.
    pub(crate) unfinished: Vec<Unfinished>,
}

/// What the intents of one task used; each counts once.
#[derive(Debug, Default)]
pub(crate) struct Past(HashMap<Id<types::Decision>, Used>);

#[derive(Debug)]
struct Used {
    instance: Option<Id<types::Instance>>,
    reserved: Option<Reserved>,
    approval: Option<(Id<types::Approval>, Timestamp)>,
}

/// A permitted action of an earlier run that may have happened or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// Its decision.
    pub(crate) decision: Id<types::Decision>,
    /// Its task.
    pub(crate) task: Option<Id<types::Task>>,
}

/// Reads the whole log once.
pub(crate) fn read(recovered: &Recovered) -> anyhow::Result<Before> {
    let mut before = Before::default();
    let mut open: HashMap<Id<types::Decision>, (u64, Unfinished)> = HashMap::new();
    for found in recovered.records() {
        let (seq, payload) = found?;
        let record = Record::decode(&unpack(seq, &payload)?.record)?;
        let event = record.event;
        let text = |name: &str| event.body.get(name).and_then(Value::as_str);
        let decision = text("decision_id").and_then(|id| id.parse().ok());
        match (event.kind, decision) {
            (EventKind::CallIntent, Some(decision)) => {
                before.approvals.extend(used_approval(&event));
                open.insert(
                    decision,
                    (
                        seq,
                        Unfinished {
                            decision,
                            task: event.task,
                        },
                    ),
                );
            }
            (EventKind::CallOutcome, Some(decision)) => {
                open.remove(&decision);
            }
            _ => {}
        }
    }
    let mut unfinished: Vec<_> = open.into_values().collect();
    unfinished.sort_by_key(|(seq, _)| *seq);
    before.unfinished = unfinished.into_iter().map(|(_, call)| call).collect();
    Ok(before)
}

impl Past {
    /// Adds what a record of the task says; only intents say something.
    pub(crate) fn add(&mut self, event: &Event) -> Result<(), ReservedError> {
        let text = |name: &str| event.body.get(name).and_then(Value::as_str);
        let decision = text("decision_id").and_then(|id| id.parse().ok());
        let (EventKind::CallIntent, Some(decision)) = (event.kind, decision) else {
            return Ok(());
        };
        let reserved = event.body.get("reserved");
        let used = Used {
            instance: text("instance").and_then(|id| id.parse().ok()),
            reserved: reserved.map(Reserved::from_value).transpose()?,
            approval: used_approval(event),
        };
        self.0.insert(decision, used);
        Ok(())
    }

    /// The approvals that were used, and when.
    pub(crate) fn approvals(&self) -> impl Iterator<Item = (Id<types::Approval>, Timestamp)> {
        self.0.values().filter_map(|used| used.approval)
    }

    /// The state of the tree that was granted.
    pub(crate) fn into_tree(self, grant: &TreeGrant, now: Timestamp) -> Result<Tree, LedgerError> {
        let mut uses: HashMap<Id<types::Instance>, u32> = HashMap::new();
        for instance in self.0.values().filter_map(|used| used.instance) {
            let count = uses.entry(instance).or_default();
            *count = count.saturating_add(1);
        }
        let mut budgets = Budgets::new();
        budgets.restore(self.0.into_values().filter_map(|used| used.reserved))?;
        Ok(Tree::new(grant, budgets, uses, now))
    }
}

/// The approval that an intent used, and when.
pub(crate) fn used_approval(intent: &Event) -> Option<(Id<types::Approval>, Timestamp)> {
    let approval = intent.body.get("approval")?;
    let id = approval.get("id")?.as_str()?.parse().ok()?;
    Some((id, intent.at))
}
