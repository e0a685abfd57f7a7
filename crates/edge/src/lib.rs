//! The way from one host's node or gateway to another host's gateway: HTTP/1.1 over mutual TLS.
//!
//! Both ends of [`aims_links::Endpoint`]: [`serve`] offers one to the nodes and gateways of the
//! trust domain, [`RemoteEndpoint`] is one that is elsewhere. What passes is an agent's request
//! with its token and proof; whoever carries it is not believed, so the certificate of the carrier
//! opens the door and nothing else. [`serve_agents`] offers one to agents that run elsewhere, which
//! show no certificate at all.
//!
//! # In scope
//! - requests and streamed answers, CONNECT and what it opens, limits on all of it;
//! - the reset of a connection over which something was cut off, so that what waits to be sent is
//!   not sent;
//! - what answers to agents elsewhere rest on, until none of their bytes waits ([`Carrier`]);
//! - the end of each connection with the key or the certificate of its peer ([`Enrolled`]).
//!
//! # Out of scope
//! - certificates (`aims-x509`), handshakes (`aims-tls`), what a request means (`aims-gateway`).
//!
//! # Specifications
//! - RFC 9112 (HTTP/1.1), RFC 9110 §9.3.6 (CONNECT), RFC 7301 (ALPN), SPIFFE X.509-SVID 1.0.
//!
//! # Limits
//! - those of [`limits`].

mod carrier;
mod enrolled;
mod headers;
pub mod limits;
mod remote;
mod serve;
mod tunnel;
mod wire;

use std::sync::Arc;

use aims_tls::{Acceptor, ClientAuth, ConfigError, Connector, Expected, Identity, Settings, Trust};
use aims_types::{Clock, SpiffeId};

pub use carrier::Carrier;
pub use enrolled::Enrolled;
pub use remote::RemoteEndpoint;
pub use serve::{Served, serve, serve_agents};
pub use wire::{Reader, Wire};

/// The protocol that is spoken inside TLS.
pub const ALPN: &[u8] = b"http/1.1";
/// The path of a gateway's SPIFFE ID, before its id.
pub const GATEWAY_PATH: &str = "gateway/";
/// The path of a node's SPIFFE ID, before its id.
pub const NODE_PATH: &str = "node/";

/// What accepts connections of nodes and gateways, and of nobody without a certificate.
pub fn acceptor(
    clock: Arc<dyn Clock>,
    identity: Arc<Identity>,
    trust: Arc<Trust>,
) -> Result<Acceptor, ConfigError> {
    Acceptor::new(&settings(clock), identity, trust, ClientAuth::Required)
}

/// What dials a gateway: `expected` says which.
pub fn connector(
    clock: Arc<dyn Clock>,
    identity: Arc<Identity>,
    trust: Arc<Trust>,
    expected: Expected,
) -> Result<Connector, ConfigError> {
    Connector::new(&settings(clock), Some(identity), trust, expected)
}

/// Any gateway of the trust domain.
pub fn any_gateway() -> Expected {
    Expected::Matching(Arc::new(|id: &SpiffeId| {
        id.path().starts_with(GATEWAY_PATH)
    }))
}

fn settings(clock: Arc<dyn Clock>) -> Settings {
    let alpn = vec![ALPN.to_vec()];
    Settings { clock, alpn }
}

#[cfg(test)]
mod tests;
