//! The SPIFFE Workload API: identities for services that others start, from evidence that the
//! kernel gives.
//!
//! # In scope
//! - the five calls of the X.509-SVID and JWT-SVID profiles over a Unix socket, each stream with
//!   the whole state ([`WorkloadApi`]);
//! - who calls: the peer's pidfd, the start of the process, its user, its cgroup, and the digest of
//!   the file that it runs, seen again at every call and every rotation;
//! - rotation before half of an SVID's life, withdrawal when the process ends, changes what it
//!   runs, is cut off, or when the node loses its lease.
//!
//! # Out of scope
//! - which process may have which identity, and every signature: the server's work
//!   ([`aims_links::Services`]); agents, which never get a key (`aims-node`);
//! - the WIT-SVID profile, TCP, server reflection, federated bundles, SDS.
//!
//! # Specifications
//! - SPIFFE Workload Endpoint and Workload API, X.509-SVID, JWT-SVID.
//!
//! # Stricter than the specifications have to be
//! - bundles and validation too are for callers with an identity only.
//!
//! # Limits
//! - [`CONNECTIONS_OF_USER_MAX`], [`CONNECTIONS_MAX`], [`STREAMS_MAX`], [`CALLS_OF_USER_MAX`],
//!   [`MESSAGE_LEN_MAX`], [`EXECUTABLE_LEN_MAX`], [`AUDIENCES_MAX`], [`AUDIENCE_LEN_MAX`].

mod api;
mod authority;
mod bundle;
mod calls;
mod connections;
mod digests;
mod jwt;
mod peer;
mod places;
mod process;
mod proto;
mod streams;
#[cfg(test)]
mod tests;

pub use api::{ServeError, WorkloadApi, WorkloadConfig};
pub use digests::EXECUTABLE_LEN_MAX;

/// The metadata that every request carries with the value `true`, so that nobody is made to send
/// one who can only choose an address (SPIFFE Workload Endpoint §5.1).
pub const SECURITY_HEADER: &str = "workload.spiffe.io";
/// Most connections of one user.
pub const CONNECTIONS_OF_USER_MAX: usize = 64;
/// Most connections of everybody.
pub const CONNECTIONS_MAX: usize = 1024;
/// Most calls and streams under way on one connection.
pub const STREAMS_MAX: u32 = 32;
/// Most calls and streams under way of one user.
pub const CALLS_OF_USER_MAX: usize = 256;
/// Longest request, in bytes: a JWT-SVID to be validated, or eight audiences.
pub const MESSAGE_LEN_MAX: usize = 64 << 10;
/// Most audiences of one JWT-SVID.
pub const AUDIENCES_MAX: usize = 8;
/// Longest audience, in bytes.
pub const AUDIENCE_LEN_MAX: usize = 512;
