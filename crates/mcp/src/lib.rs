//! The wire form of the Model Context Protocol, as an enforcement point needs it.
//!
//! An enforcement point reads a message once and strictly, decides on what it read, and sends on
//! exactly those bytes: [`Message::parse`] refuses what has more than one reading, and
//! [`build`] writes new messages around pieces of text ([`Raw`]) that stay as they are.
//!
//! # In scope
//! - [`message`]: requests, notifications, responses; [`method`]: what they ask;
//! - [`build`]: messages with our id or token and the other side's text;
//! - [`initialize`]: the handshake on both sides; [`modern`]: making newer clients fall back to it;
//! - [`pending`]: one answer per request, none after its cancellation;
//! - [`tools`]: lists of tools, pins, filtered lists;
//! - [`http`], [`sse`], [`stdio`]: what the transports have to check and how they frame.
//!
//! # Out of scope
//! - sockets and processes, sessions, decisions, JSON Schema, digests: this crate is pure.
//! - the stateless revision 2026-07-28, but for the answer that makes its clients fall back.
//! - batches (2025-03-26): refused in every revision.
//!
//! # Specifications
//! - MCP 2025-11-25, and 2025-06-18 and 2025-03-26 where a peer asks for them; JSON-RPC 2.0;
//!   server-sent events as in the HTML standard.
//!
//! # Limits
//! - see [`limits`]. Names of tools are printable ASCII without spaces.
//!
//! ```
//! use aims_mcp::{Message, Method, build, limits};
//!
//! let bytes = br#"{"jsonrpc":"2.0","id":"a","method":"tools/call",
//!     "params":{"name":"echo","arguments":{ "n" : 1.0 }}}"#;
//! let Message::Request(request) = Message::parse(bytes, &limits::AGENT_MESSAGE)? else {
//!     return Err("no request".into());
//! };
//! let Method::ToolsCall(call) = request.method()? else { return Err("no call".into()) };
//! let onward = build::tools_call(&build::OutgoingToolCall {
//!     id: 7.into(),
//!     name: call.name,
//!     arguments: call.arguments,
//!     progress_token: None,
//!     meta: Vec::new(),
//! });
//! assert_eq!(
//!     String::from_utf8(onward)?,
//!     "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\
//!      \"params\":{\"name\":\"echo\",\"arguments\":{ \"n\" : 1.0 }}}",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod build;
pub mod code;
pub mod http;
mod id;
pub mod initialize;
pub mod limits;
pub mod message;
pub mod method;
pub mod modern;
pub mod pending;
mod raw;
pub mod sse;
pub mod stdio;
pub mod tools;
mod version;

pub use id::{ProgressToken, RequestId};
pub use message::{Message, MessageError, Notification, PeerError, Refused, Request, Response};
pub use method::{Method, Notice, ParamsError, Progress, ToolCall};
pub use raw::Raw;
pub use version::ProtocolVersion;

#[cfg(test)]
mod tests;
