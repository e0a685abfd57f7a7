//! Launches: a person asks for one, a node takes it up once.

mod redeem;
mod refused;
mod request;

pub(crate) use redeem::redeem;
pub(crate) use refused::{RefusedLaunch, bounded, bounded_gaps, refused};
pub use request::{RequestRun, RequestRunError, RunTicket, TICKET_PREFIX, TICKET_TTL_SECS};

/// Longest time from taking up a launch to its attestation, in seconds: measuring large trees takes
/// a while.
pub const LAUNCH_SECS_MAX: u64 = 5 * 60;
