//! The links between server, nodes and gateways on different hosts: gRPC over mutual TLS.
//!
//! # In scope
//! - [`serve()`]: the server's side, which dispatches to `aims_links::{Control, Admit, Services}`;
//! - [`Links`]: the side of a node or gateway, which is `aims_links::Control` over the network, and
//!   keeps the session over which the server asks it ([`Links::keep_gateway`],
//!   [`Links::keep_node`]);
//! - [`join`]: the first words of a process on another host.
//!
//! # Out of scope
//! - what is asked for (`aims-control`), certificates (`aims-x509`), handshakes (`aims-tls`), and
//!   the requests of agents, which nodes hand to gateways as HTTP (`aims-edge`).
//!
//! # Who is heard
//! - A call is made in the name of the certificate's SPIFFE ID, `…/node/<id>` or `…/gateway/<id>`,
//!   and each method is open to one of the two. At every call it is looked up whether the key is
//!   still enrolled.
//!
//! # Specifications
//! - gRPC over HTTP/2; `proto/links.proto`.
//!
//! # Limits
//! - of messages: [`MESSAGE_LEN_MAX`], [`HEARD_LEN_MAX`], [`ASK_LEN_MAX`], [`JOIN_LEN_MAX`],
//!   [`STATE_LEN_MAX`];
//! - of peers: [`HANDSHAKES_MAX`], [`HANDSHAKES_OF_HOST_MAX`], [`CONNECTIONS_MAX`],
//!   [`STRANGERS_MAX`], [`STREAMS_MAX`], [`WINDOW_LEN`], [`SHIPMENTS_MAX`], [`READS_MAX`],
//!   [`CHAINS_MAX`], [`JOINS_MAX`], one session of each point;
//! - of memory: [`POINT_BYTES_MAX`] and [`ALL_BYTES_MAX`] for what calls hold;
//! - of time: [`CALL_TIMEOUT`], [`ANSWER_TIMEOUT`], [`ASKS_WAITING_MAX`] asks at a time.

mod answer;
mod budget;
mod client;
mod dial;
mod fault;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod message;
mod peer;
mod places;
mod proto;
mod serve;
mod server;
mod services;
mod session;
mod state;
#[cfg(test)]
mod tests;

pub use client::{CALL_TIMEOUT, JoinError, Links, join};
pub use message::MessageError;
pub use serve::{ServeError, serve};
pub use session::{ANSWER_TIMEOUT, ASKS_WAITING_MAX};

/// Longest message of the server, in bytes: what gateways recorded about a task.
pub const MESSAGE_LEN_MAX: usize = 64 << 20;
/// Longest part of a state, in bytes.
pub const STATE_PART_LEN: usize = 1 << 20;
/// Longest state, in bytes: with some millions of cut-offs. A gateway takes no longer one, and
/// denies everything.
pub const STATE_LEN_MAX: usize = 1 << 30;
/// Longest message that the server hears, in bytes: what a tool server's tools are, or a part of a
/// gateway's log.
pub const HEARD_LEN_MAX: usize = 16 << 20;
/// Longest message of any other call, in bytes: the evidence of a program with long arguments.
pub const ASK_LEN_MAX: usize = 4 << 20;
/// Longest message of a process that joins, in bytes.
pub const JOIN_LEN_MAX: usize = 64 << 10;
/// Most handshakes at a time; further connections wait to be accepted.
pub const HANDSHAKES_MAX: usize = 64;
/// Most handshakes of one host at a time; further connections of it are closed.
pub const HANDSHAKES_OF_HOST_MAX: usize = 16;
/// Most connections that show the certificate of one node or gateway.
pub const CONNECTIONS_MAX: usize = 4;
/// Most connections that show no certificate.
pub const STRANGERS_MAX: usize = 32;
/// Most calls under way on a connection.
pub const STREAMS_MAX: u32 = 128;
/// Most bytes of a connection that have come and were not read, of one call or of all of them.
pub const WINDOW_LEN: u32 = 1 << 20;
/// Most calls under way in which one gateway ships its log.
pub const SHIPMENTS_MAX: usize = 2;
/// Most calls under way in which one gateway reads what was recorded about a task.
pub const READS_MAX: usize = 4;
/// Most calls under way in which one gateway asks for a chain.
pub const CHAINS_MAX: usize = 64;
/// Most joins under way.
pub const JOINS_MAX: usize = 64;
/// How much of each call counts for none of the limits below, in bytes: whatever others send, a
/// lease can be renewed.
pub const UNCOUNTED_LEN: usize = 16 << 10;
/// Most bytes that the calls of one node or gateway hold at a time.
pub const POINT_BYTES_MAX: usize = 32 << 20;
/// Most bytes that all calls hold at a time.
pub const ALL_BYTES_MAX: usize = 256 << 20;
