//! HTTPS for clients that are no members of the trust domain: they show no certificate and prove
//! themselves inside.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server};

use crate::Identity;
use crate::clock::ClockTime;
use crate::config::{ConfigError, Settings, provider};
use crate::handshake::{HandshakeError, check_alpn, run};

/// A connection whose handshake is complete.
pub type WebStream<IO> = server::TlsStream<IO>;

/// The end that ordinary clients of HTTPS dial.
#[derive(Clone)]
pub struct WebAcceptor {
    config: Arc<ServerConfig>,
}

/// Why a certificate and a key from files are not shown to anybody.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The text is no certificate, or no key.
    #[error("there is no {0} in PEM form")]
    Pem(&'static str),
    /// The key is of a kind that is not used, or not the certificate's.
    #[error("the key does not fit the certificate: {0}")]
    Key(rustls::Error),
    /// The configuration could not be made.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl WebAcceptor {
    /// Shows the certificate of `identity`, which has to name the hosts that clients ask for.
    pub fn of_identity(settings: &Settings, identity: Arc<Identity>) -> Result<Self, ConfigError> {
        Self::new(settings, provider(), identity)
    }

    /// Shows a certificate that an operator got elsewhere: the chain, leaf first, and the key of
    /// the leaf, both in PEM form.
    pub fn from_pem(settings: &Settings, chain: &[u8], key: &[u8]) -> Result<Self, WebError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|_| WebError::Pem("certificate"))?;
        if chain.is_empty() {
            return Err(WebError::Pem("certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| WebError::Pem("private key"))?;
        let provider = provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(WebError::Key)?;
        let shown = Arc::new(SingleCertAndKey::from(certified));
        Ok(Self::new(settings, provider, shown)?)
    }

    fn new(
        settings: &Settings,
        provider: Arc<CryptoProvider>,
        shown: Arc<dyn ResolvesServerCert>,
    ) -> Result<Self, ConfigError> {
        let time = Arc::new(ClockTime(Arc::clone(&settings.clock)));
        let mut config = ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(shown);
        config.alpn_protocols.clone_from(&settings.alpn);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// Completes the handshake that `io` begins. A client that names no protocol is served the one
    /// there is.
    pub async fn accept<IO>(&self, io: IO) -> Result<WebStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let stream = run(acceptor.accept(io)).await?;
        let (_, connection) = stream.get_ref();
        if connection.alpn_protocol().is_some() {
            check_alpn(&self.config.alpn_protocols, connection)?;
        }
        Ok(stream)
    }
}
