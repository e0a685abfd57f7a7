//! HTTP: decode, call one use case, encode.
//!
//! Three routers. [`Admin`] is what people's commands use: every route but the token endpoint needs
//! a DPoP-bound token of a person, and it is served on a Unix socket. [`Public`] is what anybody on
//! the machine may read: health, metrics, and the log's checkpoint and tiles. [`OAuth`] is what
//! agents that run elsewhere reach over HTTPS. [`Health`] alone is what a node or gateway of its
//! own shows of itself.
//!
//! # In scope
//! - the route tables ([`ROUTES`], [`OAUTH_ROUTES`], [`PUBLIC_ROUTES`]), authentication of
//!   callers, problem details, serving.
//! # Out of scope
//! - what operations mean and who may do them (`aims-control`).
//!
//! # Specifications
//! - RFC 9457 (problem details), RFC 9449 §7 and §8 (DPoP-bound requests, nonces), RFC 8414,
//!   RFC 7662, RFC 7009 (OAuth endpoints), C2SP tlog-tiles (reading).
//!
//! # Limits
//! - [`BODY_LEN_MAX`], [`BODY_TIMEOUT`], [`HEADER_TIMEOUT`], [`CONNECTIONS_MAX`].

mod admin;
mod body;
mod caller;
mod health;
mod oauth;
mod problem;
mod public;
mod routes;
mod serve;

pub use admin::Admin;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use admin::fuzzing;
pub use body::{BODY_LEN_MAX, BODY_TIMEOUT};
pub use health::Health;
pub use oauth::OAuth;
pub use public::Public;
pub use routes::{Access, OAUTH_ROUTES, PUBLIC_ROUTES, ROUTES, Route};
pub use serve::{CONNECTIONS_MAX, HEADER_TIMEOUT, serve_tcp, serve_tls, serve_unix};

#[cfg(test)]
mod tests;
