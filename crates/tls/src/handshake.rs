//! Handshakes that end: in time, or not at all.

use std::future::Future;
use std::io;
use std::time::Duration;

use aims_x509::VerifySvidError;
use rustls::{CertificateError, CommonState, OtherError};

use crate::{PeerError, PinError};

/// How long a handshake may take. It bounds what a silent or slow peer costs.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer did not answer in time.
    #[error("the peer did not complete the handshake within {} seconds", HANDSHAKE_TIMEOUT.as_secs())]
    Timeout,
    /// The connection broke.
    #[error("the connection broke during the handshake: {0}")]
    Io(#[source] io::Error),
    /// The peer refused this side, does not hold the key of its certificate, or does not speak
    /// TLS 1.3.
    #[error("the handshake failed: {0}")]
    Tls(#[source] rustls::Error),
    /// The peer speaks none of the protocols (RFC 7301 §3.2).
    #[error("the peer did not agree on a protocol to be spoken inside")]
    Alpn,
    /// The peer is not who it must be.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The server does not meet the pin.
    #[error(transparent)]
    Pin(#[from] PinError),
}

impl From<VerifySvidError> for HandshakeError {
    fn from(error: VerifySvidError) -> Self {
        Self::Peer(error.into())
    }
}

/// Also for what a client reads first: there it learns that the server refused it.
impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner.cloned() {
            Some(error) => from_tls(error),
            None => Self::Io(error),
        }
    }
}

/// What this side found wrong with a certificate, in our words again.
fn from_tls(error: rustls::Error) -> HandshakeError {
    let rustls::Error::InvalidCertificate(certificate) = &error else {
        return HandshakeError::Tls(error);
    };
    match certificate {
        CertificateError::Expired => VerifySvidError::Expired.into(),
        CertificateError::NotValidYet => VerifySvidError::NotYetValid.into(),
        CertificateError::UnknownIssuer => VerifySvidError::Issuer.into(),
        CertificateError::Other(OtherError(why)) => {
            if let Some(why) = why.downcast_ref::<VerifySvidError>() {
                HandshakeError::from(*why)
            } else if let Some(why) = why.downcast_ref::<PeerError>() {
                HandshakeError::Peer(why.clone())
            } else if let Some(why) = why.downcast_ref::<PinError>() {
                HandshakeError::Pin(why.clone())
            } else {
                HandshakeError::Tls(error)
            }
        }
        _ => HandshakeError::Tls(error),
    }
}

/// Runs a handshake to its end or to [`HANDSHAKE_TIMEOUT`].
pub(crate) async fn run<T>(
    handshake: impl Future<Output = io::Result<T>>,
) -> Result<T, HandshakeError> {
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(HandshakeError::Timeout),
    }
}

/// Where protocols are named, one of them was agreed on: bytes for one protocol must not be taken
/// for another's.
pub(crate) fn check_alpn(offered: &[Vec<u8>], state: &CommonState) -> Result<(), HandshakeError> {
    let agreed = state.alpn_protocol();
    let is_offered = |agreed: &[u8]| offered.iter().any(|protocol| protocol == agreed);
    if offered.is_empty() || agreed.is_some_and(is_offered) {
        Ok(())
    } else {
        Err(HandshakeError::Alpn)
    }
}
