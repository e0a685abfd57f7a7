//! Receipts of kills: which point answered how, and what can't be known or undone.

use aims_types::{Decision, Id, Revision, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Point, Subject};

/// Most effects that one receipt lists one by one; the rest is counted.
pub const UNKNOWN_EFFECTS_MAX: usize = 256;

/// What a kill did, written when it is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// What was killed.
    pub subject: Subject,
    /// The revision of the cut-off: nothing under the subject minted at it or before is valid.
    pub revision: Revision,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// How long until it was complete, in milliseconds.
    pub millis: u64,
    /// How long a lease is at most, in milliseconds: what a lapsed point is bounded by.
    pub lease_millis: u64,
    /// Every node and gateway that held a lease.
    pub points: Vec<PointReceipt>,
    /// Until when verifiers outside AIMS may still accept a credential that was issued under the
    /// subject; absent if none was.
    pub foreign_until: Option<Timestamp>,
}

/// What one point did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointReceipt {
    /// Which.
    pub point: Point,
    /// How it is known that nothing goes on there.
    pub how: How,
    /// How long until that was known, in milliseconds.
    pub millis: u64,
    /// What it ended, as far as it said.
    pub ended: Ended,
    /// It acknowledged, and did not say what it ended until its lease ended: there may be effects
    /// that are not listed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untold: bool,
}

/// How it is known that nothing goes on at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It said so.
    Acknowledged,
    /// It did not answer, and its lease has certainly run out.
    Lapsed,
}

/// What a point ended when it took over a cut-off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Calls that were under way.
    pub calls: u32,
    /// Tool servers that were killed, with everything that they had started.
    pub servers: u32,
    /// Connections to hosts outside that were reset.
    pub tunnels: u32,
    /// Instances whose walls were ended.
    pub instances: u32,
    /// Calls whose bytes had gone out already: their effect upstream is unknown.
    pub unknown: Vec<UnknownEffect>,
    /// How many more of these there were than are listed.
    pub unknown_more: u32,
}

/// An action that had been handed on when it was cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnknownEffect {
    /// The decision that had permitted it.
    pub decision: Id<Decision>,
    /// What it was: `git/git_commit`, `files.example:443`.
    pub what: String,
}

impl Ended {
    /// Adds what else was ended, within [`UNKNOWN_EFFECTS_MAX`].
    pub fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.servers = self.servers.saturating_add(other.servers);
        self.tunnels = self.tunnels.saturating_add(other.tunnels);
        self.instances = self.instances.saturating_add(other.instances);
        let room = UNKNOWN_EFFECTS_MAX.saturating_sub(self.unknown.len());
        let left = u32::try_from(other.unknown.len().saturating_sub(room)).unwrap_or(u32::MAX);
        self.unknown.extend(other.unknown.into_iter().take(room));
        let more = other.unknown_more.saturating_add(left);
        self.unknown_more = self.unknown_more.saturating_add(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_receipt_cannot_list_it_counts() {
        let effect = UnknownEffect {
            decision: Id::from_u128(1),
            what: "git/git_commit".to_owned(),
        };
        let many = Ended {
            calls: 200,
            unknown: vec![effect; 200],
            ..Ended::default()
        };
        let mut sum = many.clone();
        sum.add(many);
        assert_eq!((sum.calls, sum.unknown.len()), (400, UNKNOWN_EFFECTS_MAX));
        assert_eq!(sum.unknown_more, 400 - 256);
    }
}
