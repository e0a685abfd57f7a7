//! What AIMS knows: people, agents, tool servers, upstreams, tasks, delegations, instances, and the
//! records of what happened to them.
//!
//! # In scope
//! - entities and their life cycles: each transition takes `self` and an instant, and refuses what
//!   the table does not allow;
//! - the expected and the seen evidence, and their comparison;
//! - the canonical record of the log, by what it is found there, and the claims of a grant;
//! - what a decision used, sealed under a key of its task.
//!
//! # Out of scope
//! - storage (`aims-store`), signatures (`aims-jose`), decisions (`aims-decision`).

pub mod agent;
pub mod approval;
pub mod cutoff;
pub mod evidence;
pub mod grant;
pub mod instance;
pub mod key;
pub mod lifecycle;
pub mod material;
pub mod person;
pub mod point;
pub mod policy;
pub mod receipt;
pub mod record;
pub mod record_name;
pub mod server;
pub mod service;
pub mod task;
pub mod text;
pub mod upstream;

pub use agent::Agent;
pub use approval::Approval;
pub use cutoff::{CutOff, Subject};
pub use evidence::{Evidence, EvidenceGap, Expected};
pub use grant::{DelegationRequest, Grant, GrantError};
pub use instance::{Assurance, Instance, Posture, UnknownAssurance};
pub use key::{EnrolledKey, KeyOwner, KeyPurpose};
pub use lifecycle::InvalidTransition;
pub use material::{Material, MaterialKey};
pub use person::{Person, Role};
pub use point::{JoinToken, LeaseRow, Point, PointKind, TreeOwner, Unaccounted};
pub use policy::PolicyVersion;
pub use receipt::Receipt;
pub use record::{Event, EventKind, Record, RecordError, Source};
pub use record_name::RecordName;
pub use server::{ServerSpec, ToolPin, ToolServer};
pub use service::{CertifiedKey, ProcessSeen, Service, ServiceInstance};
pub use task::{Run, Task};
pub use text::{Text, TextError};
pub use upstream::{RawUpstreamSpec, Upstream, UpstreamSpec};
