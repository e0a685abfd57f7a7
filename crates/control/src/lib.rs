//! The control plane's use cases: registry, tasks, launches, attestation, credentials, cut-offs.
//!
//! [`initialise`] brings a trust domain into being, [`ControlPlane`] runs it. Every operation takes
//! a [`aims_types::Cx`] first, checks the right of who asks into a value that the rest demands,
//! changes state in one transaction together with its audit events, and pushes the new state to
//! every gateway before it returns.
//!
//! # In scope
//! - operations of people: people, agents, tool servers, policies, tasks, launches, the trace;
//! - operations of nodes and gateways: [`aims_links::Control`];
//! - the token endpoint: tokens of instances and of people;
//! - ordered publishing of [`aims_links::ControlState`] to gateways.
//!
//! # Out of scope
//! - HTTP and its status codes (`aims-http-api`), SQL (`aims-store-sqlite`);
//! - the Merkle log (`aims-audit`), deciding calls (`aims-decision`, `aims-gateway`).
//!
//! # Specifications
//! - RFC 6749 §5.2 (errors), RFC 8693 (token exchange), RFC 7523 (assertions), RFC 9449 (DPoP),
//!   RFC 9068 (access tokens), draft-ietf-wimse-workload-creds (workload identity tokens),
//!   by `aims-oauth`.
//!
//! # Limits
//! [`CONSENT_LEN_MAX`], [`CONSENT_AGE_SECS_MAX`], [`TICKET_TTL_SECS`], [`LAUNCH_SECS_MAX`],
//! [`WIT_TTL_SECS`], [`ACCESS_TOKEN_TTL_SECS`], [`EVIDENCE_LEN_MAX`], [`TASKS_LISTED_MAX`],
//! [`APPLY_TIMEOUT`], [`STRANGERS_RECORDED_MAX`].

mod access;
mod agents;
mod authenticate;
mod chain;
mod fault;
mod init;
mod instances;
mod joins;
mod keyring;
mod link;
mod liveness;
mod parts;
mod people;
mod plane;
mod policies;
mod publish;
mod recording;
mod replay;
mod rules;
mod runs;
mod servers;
mod sink;
mod strangers;
mod tasks;
mod tokens;
mod trace;

pub use access::AccessError;
pub use agents::{
    ChangeStageError, EVIDENCE_LEN_MAX, ListAgentsError, RegisterAgent, RegisterAgentError,
    SHARED_NAMES,
};
pub use authenticate::AuthnError;
pub use fault::{Fault, Refused};
pub use init::{Init, InitError, Initialised, initialise};
pub use instances::WIT_TTL_SECS;
pub use joins::{JoinGatewayError, JoinNodeError};
pub use keyring::{BadKey, KeyringError, log_key};
pub use liveness::NotLive;
pub use parts::{Config, NoLog, Parts, RecordSink, RecordSinkError};
pub use people::{EnrolPerson, EnrolPersonError, ListPeopleError, RemovePersonError};
pub use plane::{ControlPlane, OpenError};
pub use policies::{ActivatePolicyError, PolicyError};
pub use publish::{APPLY_TIMEOUT, Committed, Lapse};
pub use rules::RulesError;
pub use runs::{
    LAUNCH_SECS_MAX, RequestRun, RequestRunError, RunTicket, TICKET_PREFIX, TICKET_TTL_SECS,
};
pub use servers::{ListServersError, RegisterServer, RegisterServerError};
pub use strangers::STRANGERS_RECORDED_MAX;
pub use tasks::{
    CONSENT_AGE_SECS_MAX, CONSENT_LEN_MAX, ConsentError, EndTaskError, ExpireError, ListTasksError,
    StartTaskError, StartedTask, TASKS_LISTED_MAX, TaskError, TaskView,
};
pub use tokens::{ACCESS_TOKEN_TTL_SECS, ADMIN_SCOPE};
pub use trace::TraceError;

#[cfg(test)]
mod tests;
