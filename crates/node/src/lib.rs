//! The node: one per host. It builds walls, says what it saw, holds the keys, and keeps the door.
//!
//! # In scope
//! - taking up launches (`aims run`), measuring what runs, building walls ([`Node`]);
//! - the instance's key, its workload identity token and access tokens; none enters the walls;
//! - sub-agents that an instance asks for through its door;
//! - the lease: what the node vouches for ends when the server does not answer any more;
//! - the SPIFFE Workload API for services that others start ([`Node::serve_workloads`]);
//! - the door: the one way out of the walls, where each request gets its token and proof.
//!
//! # Out of scope
//! - decisions (the gateway), issuance (the server): the node is believed by neither.
//!
//! # Limits
//! - [`door::BODY_LEN_MAX`], [`door::CONNECTIONS_MAX`], [`door::SUBAGENTS_MAX`],
//!   [`delegation::STDIN_LEN_MAX`], [`delegation::OUTPUT_LEN_MAX`], [`run::REQUEST_LEN_MAX`],
//!   [`LAUNCHES_UNDER_WAY_MAX`].

mod callers;
mod credentials;
pub mod delegation;
pub mod door;
mod doors;
pub mod evidence;
mod launch;
mod lease;
mod lives;
mod node;
pub mod run;
mod starting;
mod subagent;
mod target;
mod uids;
mod workloads;

pub use callers::LAUNCHES_UNDER_WAY_MAX;
pub use launch::{DOOR_PORT, DOOR_SOCKET};
pub use node::{Node, NodeConfig};
