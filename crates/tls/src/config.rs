//! Configurations of both sides.

use std::fmt;
use std::sync::Arc;

use aims_types::Clock;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::clock::ClockTime;
use crate::verifier::{Clients, Servers};
use crate::{Expected, Identity, Pin, Trust};

/// What all configurations of a process share.
#[derive(Clone)]
pub struct Settings {
    /// The clock that says which certificates are valid.
    pub clock: Arc<dyn Clock>,
    /// The protocols to be spoken inside, the preferred one first (RFC 7301); none if it is not to
    /// be negotiated.
    pub alpn: Vec<Vec<u8>>,
}

/// Whether clients must show who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// No handshake without a certificate of the trust domain.
    Required,
    /// A client may show no certificate; if it shows one, it must be of the trust domain.
    Optional,
}

/// The configuration could not be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the configuration of TLS could not be made: {0}")]
pub struct ConfigError(#[from] rustls::Error);

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("alpn", &self.alpn)
            .finish_non_exhaustive()
    }
}

/// The configuration of a server that shows `identity`, and whose clients `trust` vouches for.
pub fn server_config(
    settings: &Settings,
    identity: Arc<Identity>,
    trust: Arc<Trust>,
    auth: ClientAuth,
) -> Result<Arc<ServerConfig>, ConfigError> {
    let time = Arc::new(ClockTime(Arc::clone(&settings.clock)));
    let mut config = ServerConfig::builder_with_details(provider(), time)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Clients { trust, auth }))
        .with_cert_resolver(identity);
    config.alpn_protocols.clone_from(&settings.alpn);
    // A resumed session would not show a certificate again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// The configuration of a client that shows `identity`, if it has one yet, to a server that is
/// `expected` and that `trust` vouches for.
pub fn client_config(
    settings: &Settings,
    identity: Option<Arc<Identity>>,
    trust: Arc<Trust>,
    expected: Expected,
) -> Result<Arc<ClientConfig>, ConfigError> {
    let time = Arc::new(ClockTime(Arc::clone(&settings.clock)));
    let builder = ClientConfig::builder_with_details(provider(), time)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Servers::Expected { trust, expected }));
    let config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    };
    Ok(finish(config, settings))
}

/// The configuration of a client that joins: it shows no certificate, and knows of the server but
/// its `pin`.
pub fn pinned_client_config(
    settings: &Settings,
    pin: Pin,
) -> Result<Arc<ClientConfig>, ConfigError> {
    let time = Arc::new(ClockTime(Arc::clone(&settings.clock)));
    let config = ClientConfig::builder_with_details(provider(), time)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Servers::Pinned(pin)))
        .with_no_client_auth();
    Ok(finish(config, settings))
}

fn finish(mut config: ClientConfig, settings: &Settings) -> Arc<ClientConfig> {
    config.alpn_protocols.clone_from(&settings.alpn);
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // Peers are known by SPIFFE IDs: there is no host name to show.
    config.enable_sni = false;
    Arc::new(config)
}

/// TLS 1.3 with key exchange that is safe from quantum computers preferred
/// (draft-ietf-tls-ecdhe-mlkem). It is passed to each configuration, never installed.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![
            kx_group::X25519MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
        ],
        ..default_provider()
    })
}
