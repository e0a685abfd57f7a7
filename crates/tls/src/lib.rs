//! Mutual TLS between the processes of AIMS: peers are known by their SPIFFE IDs.
//!
//! # In scope
//! - [`Identity`]: an X.509-SVID and what signs for it, renewed while connections go on;
//!   [`Trust`]: the bundle, replaced likewise;
//! - [`Acceptor`] and [`Connector`]: handshakes that end with a verified [`PeerId`];
//! - [`WebAcceptor`]: HTTPS for clients that prove themselves inside of it;
//! - [`PinnedConnector`]: the first connection of a joining process, which knows nothing but the
//!   digest of the authority's certificate.
//!
//! # Out of scope
//! - certificates themselves (`aims-x509`); whether a peer's key is still enrolled (the server
//!   looks at every connection and call); what is spoken inside (`aims-grpc-api`).
//!
//! # Specifications
//! - RFC 8446 (TLS 1.3), SPIFFE X.509-SVID 1.0, RFC 7301 (ALPN), draft-ietf-tls-ecdhe-mlkem
//!   (X25519MLKEM768), draft-ietf-wimse-mutual-tls-03.
//!
//! # Stricter than the specifications have to be
//! - TLS 1.3 only; peers sign with ES256; nothing is resumed and no data is early: each
//!   connection proves both keys anew, so a renewed, expired or withdrawn identity counts at the
//!   next one;
//! - where protocols are named, one of them must be agreed on.
//!
//! # Limits
//! - [`HANDSHAKE_TIMEOUT`]; chains and certificates as in `aims-x509`.

mod clock;
mod config;
mod connect;
mod handshake;
mod identity;
mod peer;
mod pin;
mod signer;
#[cfg(test)]
mod tests;
mod trust;
mod verifier;
mod web;

pub use aims_x509::PeerId;
pub use clock::time_provider;
pub use config::{
    ClientAuth, ConfigError, Settings, client_config, pinned_client_config, server_config,
};
pub use connect::{Acceptor, Connector, PinnedConnector};
pub use handshake::{HANDSHAKE_TIMEOUT, HandshakeError};
pub use identity::{Identity, IdentityError};
pub use peer::{Expected, PeerError, peer};
pub use pin::{Joined, Pin, PinError, SERVER_PATH, pinned_peer};
pub use trust::Trust;
pub use web::{WebAcceptor, WebError, WebStream};
