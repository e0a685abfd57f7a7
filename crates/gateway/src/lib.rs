//! The enforcement point: every call of an agent passes here, is decided, recorded, and only then
//! sent on.
//!
//! A gateway believes nobody: not the node that carries the request, not the agent, not the tool.
//! Token and proof are checked as a stranger's, the chain behind them by its signatures, the
//! message by a strict parser, once; the tool server runs in walls of its own.
//!
//! # In scope
//! - [`Gateway`]: MCP sessions over streamable HTTP with tool servers over stdio; requests to
//!   upstreams, to which it adds their credentials; CONNECT tunnels; inspection of tool servers
//!   that are to be registered;
//! - [`Agents`]: the same for agents that run elsewhere, with nonces and metadata;
//! - calls that wait for a person's approval, which is used once;
//! - the durable log of intents, outcomes and denials, and handing it over to the server;
//! - taking over states, and ending what they cut off before they are acknowledged;
//! - the lease, without which nothing is permitted and nothing goes on; one owner of each
//!   delegation tree, to which requests are passed on.
//!
//! # Out of scope
//! - the decision itself (`aims-decision`), the log's file (`aims-wal`), walls (`aims-walls`), the
//!   arithmetic of leases (`aims-lease`), the way between hosts (`aims-edge`);
//! - listening sockets and transports (the program's); resources, prompts, sampling, elicitation
//!   and roots of MCP: they are not offered in either direction.
//!
//! # Specifications
//! - MCP 2025-11-25, 2025-06-18 and 2025-03-26 without batches; RFC 9449 (DPoP), RFC 9068,
//!   RFC 9728, RFC 9110 §9.3.6 (CONNECT), RFC 6066 §3 (server name).
//!
//! # Limits
//! - [`GatewayLimits`]; a tunnel's content is opaque: what is checked is the host that it asks for.

mod agents;
mod approvals;
mod authn;
mod config;
mod core;
mod denials;
mod egress;
mod forward;
mod gateway;
mod inspect;
mod journal;
mod lease;
mod live;
mod mcp;
mod points;
mod records;
mod recover;
mod respond;
mod ship;
mod state;
mod stream;
mod tool;
mod trees;
mod unserved;
mod upstream;

pub use agents::Agents;
pub use config::{EdgeConfig, EgressConfig, GatewayConfig, GatewayLimits};
pub use gateway::Gateway;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
