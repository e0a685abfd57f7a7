//! The control plane's use cases: registry, tasks, launches, attestation, credentials, cut-offs.
//!
//! [`initialise`] brings a trust domain into being, [`ControlPlane`] runs it. Every operation takes
//! a [`aims_types::Cx`] first, checks the right of who asks into a value that the rest demands,
//! changes state in one transaction together with its audit events, and pushes the new state to
//! every gateway before it returns.
//!
//! # In scope
//! - operations of people: people, agents, tool servers, policies, tasks, launches, the trace,
//!   proofs, answers to requests for approval, kills with their receipts, erasures;
//! - operations of nodes and gateways: [`aims_links::Control`], [`aims_links::Services`];
//! - the token endpoint: tokens of instances and of people; on the network, tokens of agents that
//!   run elsewhere, their introspection and revocation;
//! - ordered publishing of [`aims_links::ControlState`] to gateways.
//!
//! # Out of scope
//! - HTTP and its status codes (`aims-http-api`), SQL (`aims-store-sqlite`);
//! - the Merkle log (`aims-audit`), deciding calls (`aims-decision`, `aims-gateway`).
//!
//! # Specifications
//! - RFC 6749 §5.2 (errors), RFC 8693 (token exchange), RFC 7523 (assertions), RFC 9449 (DPoP),
//!   RFC 9068 (access tokens), SPIFFE JWT-SVID, SPIFFE Trust Domain and Bundle,
//!   draft-ietf-wimse-workload-creds (workload identity tokens),
//!   by `aims-oauth`.
//!
//! # Limits
//! [`CONSENT_LEN_MAX`], [`CONSENT_AGE_SECS_MAX`], [`TICKET_TTL_SECS`], [`LAUNCH_SECS_MAX`],
//! [`WIT_TTL_SECS`], [`AGENT_KEYS_MAX`],
//! [`REMOTE_INSTANCES_MAX`], [`ACCESS_TOKEN_TTL_SECS`], [`EVIDENCE_LEN_MAX`], [`TASKS_LISTED_MAX`],
//! [`UNLEASED_PATIENCE`], [`STRANGERS_RECORDED_MAX`], [`SVID_LIFE`], [`AUTHORITY_LIFE`],
//! [`TASK_RECORDS_MAX`], [`DELEGATION_LEN_MAX`], [`DELEGATION_AGE_SECS_MAX`],
//! [`ANSWER_LEN_MAX`], [`ANSWER_AGE_SECS_MAX`], [`APPROVALS_OPEN_MAX`], [`REQUIREMENTS_MAX`],
//! [`APPROVALS_LISTED_MAX`], [`SERVICE_X509_LIFE`], [`SERVICE_JWT_LIFE`], [`AUDIENCES_MAX`],
//! [`PROCESSES_OF_SERVICE_MAX`].

mod access;
mod admit;
mod agents;
mod approvals;
mod authenticate;
mod chain;
mod delegations;
mod fault;
mod identity;
mod init;
mod instances;
mod joins;
mod keyring;
mod kill;
mod leases;
mod link;
mod liveness;
mod oauth;
mod parts;
mod people;
mod plane;
mod points;
mod policies;
mod proof;
mod publish;
mod recording;
mod replay;
mod rules;
mod runs;
mod servers;
mod services;
mod sink;
mod strangers;
mod svids;
mod tasks;
mod tokens;
mod trace;
mod trees;
mod upstreams;

pub use access::AccessError;
pub use agents::{
    AGENT_KEYS_MAX, ChangeStageError, EVIDENCE_LEN_MAX, ListAgentsError, Proof, RegisterAgent,
    RegisterAgentError,
};
pub use approvals::{
    ANSWER_AGE_SECS_MAX, ANSWER_LEN_MAX, APPROVALS_LISTED_MAX, APPROVALS_OPEN_MAX,
    AnswerApprovalError, ApprovalError, ListApprovalsError, REQUIREMENTS_MAX,
};
pub use authenticate::AuthnError;
pub use delegations::{DELEGATION_AGE_SECS_MAX, DELEGATION_LEN_MAX};
pub use fault::{Fault, Refused};
pub use identity::{IdentityError, SHARED_NAMES};
pub use init::{AUTHORITY_LIFE, Init, InitError, Initialised, initialise};
pub use instances::WIT_TTL_SECS;
pub use joins::{AllowJoinError, AllowedJoin, JoinGatewayError, JoinNodeError};
pub use keyring::{BadKey, KeyringError, log_key};
pub use kill::{Kill, KillError, KillTarget, KillTargetError};
pub use liveness::NotLive;
pub use parts::{Config, NoLog, Parts, RecordSink, RecordSinkError};
pub use people::{EnrolPerson, EnrolPersonError, ListPeopleError, RemovePersonError};
pub use plane::{ControlPlane, OpenError};
pub use points::{ListPointsError, PointView};
pub use policies::{ActivatePolicyError, PolicyError};
pub use proof::ProofError;
pub use publish::{Committed, Lapse, UNLEASED_PATIENCE};
pub use rules::RulesError;
pub use runs::{
    LAUNCH_SECS_MAX, RequestRun, RequestRunError, RunTicket, TICKET_PREFIX, TICKET_TTL_SECS,
};
pub use servers::{ListServersError, RegisterServer, RegisterServerError};
pub use services::{
    AUDIENCE_LEN_MAX, AUDIENCES_MAX, BUNDLE_REFRESH, ListServicesError, PROCESSES_OF_SERVICE_MAX,
    RegisterService, RegisterServiceError, RetireServiceError, SERVICE_JWT_LIFE, SERVICE_LIFE_MAX,
    SERVICE_LIFE_MIN, SERVICE_X509_LIFE, ServiceTerms, ServiceTermsError, bundle_document,
    bundle_pem, trust_bundle,
};
pub use strangers::STRANGERS_RECORDED_MAX;
pub use svids::{SVID_LIFE, SvidError};
pub use tasks::{
    CONSENT_AGE_SECS_MAX, CONSENT_LEN_MAX, ChangeTaskError, ConsentError, EraseTaskError,
    ExpireError, ListTasksError, StartTaskError, StartedTask, TASKS_LISTED_MAX, TaskError,
    TaskView,
};
pub use tokens::{ACCESS_TOKEN_TTL_SECS, ADMIN_SCOPE, REMOTE_INSTANCES_MAX};
pub use trace::{TRACE_PAGE_LEN, TraceError, TracePage};
pub use trees::TASK_RECORDS_MAX;
pub use upstreams::{AddUpstream, AddUpstreamError, ChangeUpstreamError, ListUpstreamsError};

#[cfg(test)]
mod tests;
