//! Ordinary services: programs that others start, known by exactly one executable.
//!
//! What is said of a process is seen from outside of it. It says who connected, from which file,
//! and nothing of what an interpreter loaded or of what another process of the same user did to
//! it: so the assurance is [`Assurance::Observed`](crate::Assurance::Observed), never more.

use std::fmt;

use aims_types::{Id, Instance, Name, Node, Person, SpiffeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::evidence::Measured;
use crate::instance::Stage as Life;
use crate::{EvidenceGap, InvalidTransition, Text};

/// Longest path of a cgroup, in bytes.
pub const CGROUP_LEN_MAX: usize = 4096;
/// Most keys of certificates that count for one process at a time: one, the one before it, and
/// those of further streams. Of more the latest count.
pub const KEYS_OF_PROCESS_MAX: usize = 16;

/// A service that gets its keys in the open, over the SPIFFE Workload API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Identity within AIMS.
    pub id: Id<aims_types::Service>,
    /// Name; never used again, and never an agent's.
    pub name: Name,
    /// `spiffe://<trust domain>/service/<name>`.
    pub spiffe_id: SpiffeId,
    /// The person who answers for it.
    pub owner: Id<Person>,
    /// What it is for, in words.
    pub purpose: Text,
    /// The node on whose host it runs.
    pub node: Id<Node>,
    /// The one file that its processes run.
    pub executable: Measured,
    /// The user on the host that they run as.
    pub host_uid: u32,
    /// The cgroup that they are in, if that is part of the evidence.
    pub cgroup: Option<String>,
    /// Where it stands in its life.
    pub stage: Stage,
    /// When it was registered.
    pub registered_at: Timestamp,
}

/// The life of a service: `active → retired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stage")]
pub enum Stage {
    /// Its processes get credentials.
    Active {
        /// Since when.
        since: Timestamp,
    },
    /// Gone for ever; the name stays taken.
    Retired {
        /// Since when.
        since: Timestamp,
    },
}

/// What a node saw of a process, from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessSeen {
    /// Which boot of its host it belongs to.
    pub boot: String,
    /// Its number.
    pub pid: u32,
    /// When it started, in ticks since the host booted: with the number, which process it is.
    pub started: u64,
    /// The file that it runs: its path as the kernel says it, and the digest of what is there.
    pub executable: Measured,
    /// The user that it runs as.
    pub host_uid: u32,
    /// The cgroup that it is in (version 2), or nothing.
    pub cgroup: String,
}

/// One attested process of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceInstance {
    /// Identity; kills and cut-offs name it as they name an agent's instance.
    pub id: Id<Instance>,
    /// What it is a process of.
    pub service: Id<aims_types::Service>,
    /// The node that vouches for it.
    pub node: Id<Node>,
    /// What was seen.
    pub seen: ProcessSeen,
    /// The keys of the certificates that were issued to it and are valid, oldest first.
    #[serde(default)]
    pub keys: Vec<CertifiedKey>,
    /// Where it stands in its life.
    pub stage: Life,
}

/// A key that was certified for a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifiedKey {
    /// Its RFC 7638 thumbprint.
    pub kid: String,
    /// The last second of its certificate.
    pub not_after: Timestamp,
}

impl Stage {
    /// The stage's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active { .. } => "active",
            Self::Retired { .. } => "retired",
        }
    }

    /// Whether processes get credentials.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Active { .. })
    }

    /// Ends the service for ever.
    pub const fn retire(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Active { .. } => Ok(Self::Retired { since: at }),
            Self::Retired { .. } => Err(InvalidTransition {
                from: "retired",
                to: "retired",
            }),
        }
    }
}

impl ProcessSeen {
    /// Which process of a node it is, whatever it runs.
    pub fn process(&self, node: Id<Node>) -> String {
        format!("{node}/{}/{}/{}", self.boot, self.pid, self.started)
    }
}

impl ServiceInstance {
    /// Takes note of a key that is certified at `now`; forgets those whose certificates ended, and
    /// the oldest beyond [`KEYS_OF_PROCESS_MAX`].
    pub fn certify(&mut self, key: CertifiedKey, now: Timestamp) {
        self.keys.retain(|one| now <= one.not_after);
        self.keys.push(key);
        let over = self.keys.len().saturating_sub(KEYS_OF_PROCESS_MAX);
        self.keys.drain(..over);
    }

    /// Whether a certificate for this key was issued to it, and is valid at `now`.
    pub fn holds(&self, kid: &str, now: Timestamp) -> bool {
        let is_it = |one: &CertifiedKey| one.kid == kid && now <= one.not_after;
        self.keys.iter().any(is_it)
    }
}

impl Service {
    /// Everything in `seen` that is not as registered; empty when the evidence holds.
    pub fn gaps(&self, seen: &ProcessSeen) -> Vec<EvidenceGap> {
        let mut gaps = Vec::new();
        let mut compare = |part: &str, expected: &dyn fmt::Display, seen: &dyn fmt::Display| {
            let (expected, seen) = (expected.to_string(), seen.to_string());
            if expected != seen {
                let part = part.to_owned();
                gaps.push(EvidenceGap {
                    part,
                    expected,
                    seen,
                });
            }
        };
        let (want, have) = (&self.executable, &seen.executable);
        compare("executable", &want.path, &have.path);
        compare("digest", &want.digest, &have.digest);
        compare("host_uid", &self.host_uid, &seen.host_uid);
        if let Some(cgroup) = &self.cgroup {
            compare("cgroup", cgroup, &seen.cgroup);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use aims_types::Digest;

    use super::*;

    /// Which part differs after which change.
    type Change = (&'static str, fn(&mut ProcessSeen));

    fn service() -> Service {
        Service {
            id: Id::from_u128(1),
            name: "billing".parse().unwrap(),
            spiffe_id: "spiffe://aims.local/service/billing".parse().unwrap(),
            owner: Id::from_u128(1),
            purpose: "sends invoices".parse().unwrap(),
            node: Id::from_u128(1),
            executable: Measured {
                path: "/usr/bin/billing".to_owned(),
                digest: Digest::from_bytes([1; 32]),
            },
            host_uid: 1001,
            cgroup: Some("/system.slice/billing.service".to_owned()),
            stage: Stage::Active {
                since: Timestamp::from_unix_secs(1),
            },
            registered_at: Timestamp::from_unix_secs(1),
        }
    }

    fn seen(service: &Service) -> ProcessSeen {
        ProcessSeen {
            boot: "boot-1".to_owned(),
            pid: 7,
            started: 9,
            executable: service.executable.clone(),
            host_uid: service.host_uid,
            cgroup: service.cgroup.clone().unwrap(),
        }
    }

    #[test]
    fn each_part_of_the_evidence_counts_on_its_own() {
        let service = service();
        assert_eq!(service.gaps(&seen(&service)), []);
        let changes: [Change; 4] = [
            ("executable", |seen| seen.executable.path.push('2')),
            ("digest", |seen| {
                seen.executable.digest = Digest::from_bytes([2; 32]);
            }),
            ("host_uid", |seen| seen.host_uid = 0),
            ("cgroup", |seen| seen.cgroup.push_str("/inner")),
        ];
        for (part, change) in changes {
            let mut seen = seen(&service);
            change(&mut seen);
            let gaps = service.gaps(&seen);
            assert!(gaps.len() == 1 && gaps[0].part == part, "{part}: {gaps:?}");
        }
    }

    #[test]
    fn a_cgroup_counts_only_if_it_is_registered() {
        let mut service = service();
        let mut seen = seen(&service);
        seen.cgroup = "/elsewhere".to_owned();
        service.cgroup = None;
        assert_eq!(service.gaps(&seen), []);
    }

    #[test]
    fn a_service_is_retired_once() {
        let at = Timestamp::from_unix_secs(5);
        let retired = service().stage.retire(at).unwrap();
        assert!(!retired.is_active());
        assert!(retired.retire(at).is_err());
    }
}
