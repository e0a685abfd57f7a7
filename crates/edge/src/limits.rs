//! Every bound that has a number.

use std::time::Duration;

/// Longest body of a request, in bytes, and of the refusal of a connection.
pub const BODY_LEN_MAX: usize = 1 << 20;
/// Longest head of a message, in bytes.
pub const HEAD_LEN_MAX: usize = 64 << 10;
/// Most headers of a message.
pub const HEADERS_MAX: usize = 100;
/// Most connections, tunnels among them.
pub const CONNECTIONS_MAX: usize = 4096;
/// Most connections of one peer, so that none crowds the others out.
pub const CONNECTIONS_PER_PEER_MAX: usize = 1024;
/// Most connections from one address of agents that run elsewhere.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 256;
/// Most handshakes under way: whoever has not shown a certificate yet takes no place of the others.
pub const HANDSHAKES_MAX: usize = 256;
/// How long the head of a request may take, and then its body. A connection that is idle for this
/// long is closed.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take to be made, before the handshake.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a gateway may take to begin its answer: it starts a tool server meanwhile, or waits for
/// a person's approval.
pub const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);
/// Pause after a connection that could not be accepted, for want of descriptors for example.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection may go on when everything ends.
pub const FAREWELL: Duration = Duration::from_secs(5);
/// How long a reader has for the end of an answer once nothing more is written to it.
pub const LAST_READ: Duration = Duration::from_secs(30);
/// How long a connection is used again: certificates are renewed from half of their life, so each
/// connection is followed by one that shows the renewed certificate long before the first one ends.
pub const REUSE_MAX: Duration = Duration::from_hours(1);
/// How often a connection looks whether its peer's certificate has ended.
pub const LOOK_EVERY: Duration = Duration::from_secs(30);
