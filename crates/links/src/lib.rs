//! The links between server, node and gateway: plain owned messages, asynchronous and fallible as a
//! network is.
//!
//! `aims up` wires them within one process; the same traits are what a network transport carries.
//! No message holds a reference into the other side, and every call may fail with [`LinkError`].
//!
//! # In scope
//! - [`Control`]: what the server does for nodes and gateways;
//! - [`Endpoint`]: what a gateway does for nodes; [`Enforce`]: what it does for the server;
//! - [`ConnectTarget`]: what both name in the proof of a CONNECT request;
//! - [`Services`]: what the server does for nodes on behalf of services that others start;
//! - [`Vouch`]: what a node does for the server;
//! - [`Admit`]: how nodes and gateways come to be linked with the server.
//!
//! # Out of scope
//! - transports, authentication of the two ends (the transport's work).

mod admit;
mod connect;
mod control;
mod enforce;
mod services;
mod vouch;

pub use admit::{Admit, JoinAsk, Joined, Svid};
pub use connect::ConnectTarget;
pub use control::{
    Attestation, Chain, ChainHop, Control, ControlState, CredentialAsk, CredentialLease,
    DelegateCall, EndedInstance, InstanceGrant, LaunchOrder, LeaseAsk, LeaseGrant, OwnedTree,
    PrincipalFacts, Refusal, RequestedRun, ShippedRecord, Telling, TokenCall, TokenReply,
    TreeClaim, TreeGrant,
};
pub use enforce::{
    Applied, Body, ConnectReply, Endpoint, Enforce, EnforceError, InspectError, Step, Tunnel,
};
pub use services::{JwtSvid, ServiceAttestation, ServiceCall, ServiceGrant, Services, TrustBundle};
pub use vouch::{Cut, Vouch};

/// The other side did not answer. Whether it acted is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {peer} did not answer: {reason}")]
pub struct LinkError {
    /// Which side was asked: `server`, `gateway`.
    pub peer: &'static str,
    /// What happened to the call.
    pub reason: String,
}
