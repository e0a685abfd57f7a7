//! Kills with their receipts, freezing, and who owned the delegation tree.

use aims_types::Timestamp;
use serde::Serialize;

use super::Place;

/// A kill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kill {
    /// Where it is recorded.
    pub place: Place,
    /// What was killed: `instance ins_…`.
    pub subject: String,
    /// The revision of the cut-off.
    pub revision: Option<u64>,
    /// Who did it.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Its receipt; `None` while it is not complete.
    pub receipt: Option<KillReceipt>,
}

/// What a kill did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KillReceipt {
    /// Where it is recorded.
    pub place: Place,
    /// How long until it was complete.
    pub millis: Option<u64>,
    /// How long a lease is at most.
    pub lease_millis: Option<u64>,
    /// Every node and gateway that held a lease.
    pub points: Vec<KilledPoint>,
    /// How many more there were than the record lists.
    pub points_more: u64,
    /// Until when others may still accept a credential that was issued under the subject.
    pub foreign_until: Option<Timestamp>,
}

/// What one node or gateway did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KilledPoint {
    /// Which.
    pub point: String,
    /// `acknowledged` or `lapsed`.
    pub how: String,
    /// How long until that was known.
    pub millis: Option<u64>,
    /// Calls that were under way.
    pub calls: u64,
    /// Tool servers.
    pub servers: u64,
    /// Connections to hosts outside.
    pub tunnels: u64,
    /// Instances.
    pub instances: u64,
    /// Actions whose effect upstream is unknown.
    pub unknown: Vec<UnknownEffect>,
    /// How many more of these there were.
    pub unknown_more: u64,
    /// It acknowledged and did not tell what it ended.
    pub untold: bool,
}

/// An action that had been handed on when it was cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnknownEffect {
    /// The decision that had permitted it.
    pub decision: String,
    /// What it was.
    pub what: String,
}

/// The task was frozen, or opened again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Freeze {
    /// Where it is recorded.
    pub place: Place,
    /// Whether it was frozen; opened again otherwise.
    pub frozen: bool,
    /// Who did it.
    pub by: Option<String>,
    /// At which revision.
    pub revision: Option<u64>,
}

/// What decisions used was erased: they can be verified, and not run again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Erasure {
    /// Where it is recorded.
    pub place: Place,
    /// Who did it.
    pub by: Option<String>,
    /// Of how many decisions.
    pub materials: Option<u64>,
    /// Why.
    pub reason: Option<String>,
}

/// A gateway became the owner of the delegation tree, or gave it back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Owner {
    /// Where it is recorded.
    pub place: Place,
    /// The gateway.
    pub gateway: Option<String>,
    /// How often the tree had had a new owner.
    pub epoch: Option<u64>,
    /// Whether it gave the tree back.
    pub released: bool,
}
