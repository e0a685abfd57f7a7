//! Agents: durable, named, owned.

use aims_types::{Id, Name, Person, SpiffeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::evidence::Expected;
use crate::{Assurance, InvalidTransition, Text};

/// A durable, named non-human principal (R1, R5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Identity within AIMS.
    pub id: Id<aims_types::Agent>,
    /// Name; never used again, not even after the agent is retired.
    pub name: Name,
    /// The WIMSE identifier: `spiffe://<trust domain>/agent/<name>` (AIMS-ID-3).
    pub spiffe_id: SpiffeId,
    /// The person who answers for it.
    pub owner: Id<Person>,
    /// What it is for, in words.
    pub purpose: Text,
    /// Where it runs: `production`, `staging`, …
    pub environment: Name,
    /// What must be seen before anything is issued to it; absent for one that runs elsewhere and
    /// holds a key of its own ([`Assurance::KeyHeld`]) or is a service ([`Assurance::Observed`]).
    #[serde(default)]
    pub evidence: Option<Expected>,
    /// The service whose attested processes, and they alone, act as this agent.
    #[serde(default)]
    pub service: Option<Id<aims_types::Service>>,
    /// The weakest assurance at which anything is issued to it.
    pub assurance: Assurance,
    /// Where it stands in its life.
    pub stage: Stage,
    /// When it was registered.
    pub registered_at: Timestamp,
}

/// The life of an agent: `draft → active ⇄ suspended → retired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stage")]
pub enum Stage {
    /// Registered, not yet allowed to run.
    Draft,
    /// May run.
    Active {
        /// Since when.
        since: Timestamp,
    },
    /// May not run until resumed.
    Suspended {
        /// Since when.
        since: Timestamp,
    },
    /// Gone for ever; the name stays taken.
    Retired {
        /// Since when.
        since: Timestamp,
    },
}

impl Stage {
    /// The stage's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active { .. } => "active",
            Self::Suspended { .. } => "suspended",
            Self::Retired { .. } => "retired",
        }
    }

    /// Lets a draft or suspended agent run.
    pub fn activate(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Draft | Self::Suspended { .. } => Ok(Self::Active { since: at }),
            from => Err(from.cannot("active")),
        }
    }

    /// Stops an active agent until it is activated again.
    pub fn suspend(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Active { .. } => Ok(Self::Suspended { since: at }),
            from => Err(from.cannot("suspended")),
        }
    }

    /// Ends the agent for ever.
    pub fn retire(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Retired { .. } => Err(self.cannot("retired")),
            _ => Ok(Self::Retired { since: at }),
        }
    }

    const fn cannot(self, to: &'static str) -> InvalidTransition {
        InvalidTransition {
            from: self.as_str(),
            to,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arrow_is_allowed_or_refused_as_the_table_says() {
        let at = Timestamp::from_unix_secs(9);
        let since = Timestamp::from_unix_secs(1);
        let (draft, active) = (Stage::Draft, Stage::Active { since });
        let (suspended, retired) = (Stage::Suspended { since }, Stage::Retired { since });
        // (from, activate, suspend, retire)
        for (from, activate, suspend, retire) in [
            (draft, true, false, true),
            (active, false, true, true),
            (suspended, true, false, true),
            (retired, false, false, false),
        ] {
            assert_eq!(from.activate(at).is_ok(), activate, "{from:?} activate");
            assert_eq!(from.suspend(at).is_ok(), suspend, "{from:?} suspend");
            assert_eq!(from.retire(at).is_ok(), retire, "{from:?} retire");
        }
        assert_eq!(draft.activate(at), Ok(Stage::Active { since: at }));
    }
}
