//! HTTPS for clients of any kind: they prove themselves inside, or, where they are asked for it, by
//! a certificate of the trust domain.

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

use crate::clock::ClockTime;
use crate::config::{ConfigError, Settings, provider};
use crate::handshake::{HandshakeError, check_alpn, run};
use crate::verifier::Clients;
use crate::{ClientAuth, Identity, PeerId, Trust, peer};

/// A connection whose handshake is complete.
pub type WebStream<IO> = server::TlsStream<IO>;

/// The end that ordinary clients of HTTPS dial.
#[derive(Clone)]
pub struct WebAcceptor {
    config: Arc<ServerConfig>,
    shown: Arc<dyn ResolvesServerCert>,
    settings: Settings,
    /// Who vouches for clients, if they are asked for a certificate.
    trust: Option<Arc<Trust>>,
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
        Self::new(settings, provider(), (identity, None))
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
        Ok(Self::new(settings, provider, (shown, None))?)
    }

    /// Asks clients for a certificate as well. One that has none is served all the same; one that
    /// shows a certificate which `trust` does not vouch for, or whose key it does not hold, is not.
    pub fn asking(&self, trust: Arc<Trust>) -> Result<Self, ConfigError> {
        let shown = Arc::clone(&self.shown);
        Self::new(&self.settings, provider(), (shown, Some(trust)))
    }

    fn new(
        settings: &Settings,
        provider: Arc<CryptoProvider>,
        (shown, trust): (Arc<dyn ResolvesServerCert>, Option<Arc<Trust>>),
    ) -> Result<Self, ConfigError> {
        let time = Arc::new(ClockTime(Arc::clone(&settings.clock)));
        let builder =
            ServerConfig::builder_with_details(provider, time).with_protocol_versions(&[&TLS13])?;
        let builder = match &trust {
            None => builder.with_no_client_auth(),
            Some(trust) => builder.with_client_cert_verifier(Arc::new(Clients {
                trust: Arc::clone(trust),
                auth: ClientAuth::Optional,
            })),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&shown));
        config.alpn_protocols.clone_from(&settings.alpn);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Self {
            config: Arc::new(config),
            shown,
            settings: settings.clone(),
            trust,
        })
    }

    /// Completes the handshake that `io` begins, and says who it is from, if the client was asked
    /// and showed a certificate. A client that names no protocol is served the one there is.
    pub async fn accept<IO>(
        &self,
        io: IO,
    ) -> Result<(WebStream<IO>, Option<PeerId>), HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let stream = run(acceptor.accept(io)).await?;
        let (_, connection) = stream.get_ref();
        if connection.alpn_protocol().is_some() {
            check_alpn(&self.config.alpn_protocols, connection)?;
        }
        let known = match &self.trust {
            None => None,
            Some(trust) => peer(connection, &trust.bundle(), self.settings.clock.now())?,
        };
        Ok((stream, known))
    }
}
