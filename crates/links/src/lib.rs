//! The links between server, node and gateway: plain owned messages, asynchronous and fallible as a
//! network is.
//!
//! `aims up` wires them within one process; the same traits are what a network transport carries.
//! No message holds a reference into the other side, and every call may fail with [`LinkError`].
//!
//! # In scope
//! - [`Control`]: what the server does for nodes and gateways;
//! - [`Enforce`]: what a gateway does for nodes and the server.
//!
//! # Out of scope
//! - transports, authentication of the two ends (the transport's work).

mod control;
mod enforce;

pub use control::{
    Attestation, Chain, ChainHop, Control, ControlState, EndedInstance, InstanceGrant, LaunchOrder,
    PrincipalFacts, Refusal, RequestedRun, ShippedRecord, TokenCall, TokenReply,
};
pub use enforce::{Body, ConnectReply, Enforce, EnforceError, InspectError, Tunnel};

/// The other side did not answer. Whether it acted is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {peer} did not answer: {reason}")]
pub struct LinkError {
    /// Which side was asked: `server`, `gateway`.
    pub peer: &'static str,
    /// What happened to the call.
    pub reason: String,
}
