//! Versions of the organisation's policies.

use aims_types::{Digest, Id, Person, Policy, Timestamp};
use serde::{Deserialize, Serialize};

/// One validated version of the policy set. The newest is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyVersion {
    /// Identity of this version.
    pub id: Id<Policy>,
    /// The Cedar text.
    pub text: String,
    /// SHA-256 of the text.
    pub digest: Digest,
    /// Who wrote it; absent for the one that initialisation wrote.
    pub author: Option<Id<Person>>,
    /// Since when.
    pub activated_at: Timestamp,
}
