//! Instances: attested runs of agents.

use std::str::FromStr;

use aims_types::{Id, Node, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Evidence, InvalidTransition};

/// How strongly the evidence binds the program to the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assurance {
    /// Nothing was seen of the program: whoever asked holds a key that an operator enrolled.
    KeyHeld,
    /// Started by others and seen from outside: who connected, as the kernel says it, and the
    /// digest of the executable. What else runs in the process is not known.
    Observed,
    /// Started by AIMS inside walls it built; digests taken of what runs there.
    Confined,
}

impl Assurance {
    /// The level as records and policies write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyHeld => "key_held",
            Self::Observed => "observed",
            Self::Confined => "confined",
        }
    }
}

/// There is no assurance level of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the assurance levels are `key_held`, `observed` and `confined`")]
pub struct UnknownAssurance;

impl FromStr for Assurance {
    type Err = UnknownAssurance;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::KeyHeld, Self::Observed, Self::Confined]
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or(UnknownAssurance)
    }
}

/// The evidence-backed state of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posture {
    /// What was seen when the walls were built.
    pub evidence: Evidence,
    /// How strongly it binds.
    pub assurance: Assurance,
    /// The host uid the program runs under; never 0.
    pub host_uid: u32,
    /// The host name of the node, as the node says it.
    pub host: String,
}

/// One attested run of an agent, serving exactly one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Identity.
    pub id: Id<aims_types::Instance>,
    /// What it is a run of.
    pub agent: Id<aims_types::Agent>,
    /// The one task it serves.
    pub task: Id<aims_types::Task>,
    /// The launch that a person asked for.
    pub run: Id<aims_types::Run>,
    /// The node that vouches for it; absent for one that runs elsewhere and proves its key itself.
    #[serde(default)]
    pub node: Option<Id<Node>>,
    /// What the node saw; absent where nothing was seen.
    #[serde(default)]
    pub posture: Option<Posture>,
    /// The attested process of a service as which it proved itself, if it did: it ends with that.
    #[serde(default)]
    pub process: Option<Id<aims_types::Instance>>,
    /// RFC 7638 thumbprint of the key that is held for it, by the node or by itself.
    pub jkt: String,
    /// That key's public half, as canonical JWK text (RFC 7517).
    pub jwk: String,
    /// Where it stands in its life.
    pub stage: Stage,
}

impl Instance {
    /// How strongly its evidence binds it to its identity.
    pub fn assurance(&self) -> Assurance {
        match (&self.posture, self.process) {
            (Some(posture), _) => posture.assurance,
            (None, Some(_)) => Assurance::Observed,
            (None, None) => Assurance::KeyHeld,
        }
    }
}

/// The life of an instance: `live → ended`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stage")]
pub enum Stage {
    /// Its first process runs.
    Live {
        /// Since when.
        since: Timestamp,
    },
    /// Its first process is gone, and with it every credential.
    Ended {
        /// When it started.
        since: Timestamp,
        /// When it ended.
        at: Timestamp,
        /// How: `exited 0`, `killed by signal 9`, `node stopped`.
        how: String,
    },
}

impl Stage {
    /// Ends a live instance.
    pub fn end(self, at: Timestamp, how: &str) -> Result<Self, InvalidTransition> {
        match self {
            Self::Live { since } => {
                let how = how.chars().take(128).collect();
                Ok(Self::Ended { since, at, how })
            }
            Self::Ended { .. } => Err(InvalidTransition {
                from: "ended",
                to: "ended",
            }),
        }
    }

    /// Whether it still runs.
    pub const fn is_live(&self) -> bool {
        matches!(self, Self::Live { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_ends_once() {
        let (since, at) = (Timestamp::from_unix_secs(1), Timestamp::from_unix_secs(2));
        let ended = Stage::Live { since }.end(at, "exited 0").unwrap();
        assert!(!ended.is_live());
        assert_eq!(
            ended.end(at, "again"),
            Err(InvalidTransition {
                from: "ended",
                to: "ended"
            })
        );
    }
}
