//! The words every other crate speaks: ids, names, SPIFFE IDs, time, digests, secrets, and the
//! context of an operation.
//!
//! # In scope
//! - values that cannot be wrong once they exist; their text forms;
//! - the only door to the system's clock and entropy: [`ambient`].
//!
//! # Out of scope
//! - cryptography (`aims-crypto`), wire formats (the crates of layer 1), storage.
//!
//! # Specifications
//! - SPIFFE-ID 1.0 (names of trust domains and workloads), RFC 3339 (text form of instants).

pub mod ambient;
mod cx;
mod digest;
mod id;
mod name;
mod revision;
mod secret;
mod serde_text;
mod spiffe;
mod time;

pub use cx::{Actor, Clock, Cx, Entropy, EntropyError};
pub use digest::{Digest, DigestParseError};
pub use id::{
    Agent, Approval, Decision, Delegation, Gateway, Id, IdParseError, Instance, Key, Kind, Node,
    Person, Policy, Record, Request, Run, Server, Service, Session, Task, Token, Upstream,
};
pub use name::{AGENT_NAME_LEN_MAX, Name, NameError};
pub use revision::Revision;
pub use secret::Secret;
pub use spiffe::{SPIFFE_ID_LEN_MAX, SpiffeId, SpiffeIdError, TRUST_DOMAIN_LEN_MAX, TrustDomain};
pub use time::{BootTime, Timestamp};
