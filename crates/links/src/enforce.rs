//! What a gateway does for nodes and the server.

use std::sync::Arc;

use aims_model::receipt::Ended;
use aims_model::{ServerSpec, ToolPin};
use aims_types::{Name, Revision};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{ControlState, LinkError};

/// A streamed response body. An error ends the stream in the middle.
pub type Body = UnsyncBoxBody<Bytes, LinkError>;

/// A two-way byte stream to a host outside.
pub trait Tunnel: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Tunnel for T {}

/// The answer to a CONNECT request (RFC 9110 §9.3.6).
pub struct ConnectReply {
    /// Status, headers and, for a refusal, what to tell the agent.
    pub response: http::Response<Bytes>,
    /// The other end's bytes, if the status is 2xx: whoever holds it relays.
    pub tunnel: Option<Box<dyn Tunnel>>,
}

/// Why a state was not taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnforceError {
    /// The gateway did not answer.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The gateway can't use the state; it denies everything until it gets one that it can use.
    #[error("the gateway can't use revision {revision}: {reason}")]
    Unusable {
        /// The state's revision.
        revision: Revision,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a tool server could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// The gateway did not answer.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The server did not start, or what it runs is not what was registered.
    #[error("the tool server did not start: {0}")]
    Start(String),
    /// It started and does not speak the protocol.
    #[error("the tool server does not speak MCP: {0}")]
    Protocol(String),
}

/// A state that a gateway took over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The revision in force: that of the state, or a newer one.
    pub revision: Revision,
    /// What it ended because of it.
    pub ended: Ended,
    /// What it ended on the way there, oldest first: an answer that said so may have been lost.
    pub earlier: Vec<Step>,
}

/// What a gateway ended when it went from one revision to a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was in force before.
    pub after: Revision,
    /// What was in force then.
    pub to: Revision,
    /// What it ended because of all between.
    pub ended: Ended,
}

/// A gateway, as nodes see it.
#[async_trait]
pub trait Endpoint: Send + Sync {
    /// One HTTP request of an agent, with its access token (`Authorization: DPoP …`) and proof
    /// (`DPoP: …`). Everything about it is checked here; the node is not believed.
    async fn http(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, LinkError>;

    /// One CONNECT request of an agent, authenticated in the same way.
    async fn connect(&self, request: http::Request<()>) -> Result<ConnectReply, LinkError>;
}

/// A gateway, as the server sees it.
#[async_trait]
pub trait Enforce: Send + Sync {
    /// Starts a tool server that is to be registered, asks it for its tools, and ends it.
    async fn inspect(&self, name: Name, spec: ServerSpec) -> Result<Vec<ToolPin>, InspectError>;

    /// Takes over a newer state. When it returns, nothing that the state cuts off starts or goes
    /// on here. An older state than the one in force is ignored; the revision in force is returned.
    async fn apply(&self, state: Arc<ControlState>) -> Result<Applied, EnforceError>;
}
