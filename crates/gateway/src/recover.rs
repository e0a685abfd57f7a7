//! What an earlier run left in the log: uses that stay taken, and calls whose end is unknown.

use std::collections::HashMap;

use aims_decision::{Budgets, Reserved};
use aims_json::Value;
use aims_model::{EventKind, Record};
use aims_types::{self as types, Id};
use aims_wal::Recovered;

use crate::journal::unpack;

/// What the log says of the time before.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// Every use that was ever reserved and made durable.
    pub(crate) budgets: Budgets,
    /// How many calls each instance was permitted.
    pub(crate) uses: HashMap<Id<types::Instance>, u32>,
    /// Permitted actions without an outcome.
    pub(crate) unfinished: Vec<Unfinished>,
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
    let mut reserved = Vec::new();
    for found in recovered.records() {
        let (seq, payload) = found?;
        let record = Record::decode(&unpack(seq, &payload)?.record)?;
        let event = record.event;
        let text = |name: &str| event.body.get(name).and_then(Value::as_str);
        let decision = text("decision_id").and_then(|id| id.parse().ok());
        match (event.kind, decision) {
            (EventKind::CallIntent, Some(decision)) => {
                if let Some(value) = event.body.get("reserved") {
                    reserved.push(Reserved::from_value(value)?);
                }
                if let Some(instance) = text("instance").and_then(|id| id.parse().ok()) {
                    let uses: &mut u32 = before.uses.entry(instance).or_default();
                    *uses = uses.saturating_add(1);
                }
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
    before.budgets.restore(reserved)?;
    let mut unfinished: Vec<_> = open.into_values().collect();
    unfinished.sort_by_key(|(seq, _)| *seq);
    before.unfinished = unfinished.into_iter().map(|(_, call)| call).collect();
    Ok(before)
}
