//! Certificate checks during the handshake.

use std::error::Error as StdError;
use std::sync::Arc;

use aims_x509::{VerifySvidError, verify_svid};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, PeerMisbehaved, SignatureScheme,
};

use crate::clock::timestamp;
use crate::peer::{Expected, PeerError};
use crate::pin::{Pin, PinError};
use crate::signer::SCHEME;
use crate::{ClientAuth, Trust};

/// Checks clients: any member of the trust domain; the caller decides what each may do.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) trust: Arc<Trust>,
    pub(crate) auth: ClientAuth,
}

/// Checks servers.
#[derive(Debug)]
pub(crate) enum Servers {
    /// The SPIFFE ID is known beforehand.
    Expected {
        trust: Arc<Trust>,
        expected: Expected,
    },
    /// But the digest of the authority is known.
    Pinned(Pin),
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.auth == ClientAuth::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain = chain(end_entity, intermediates);
        verify_svid(&chain, &self.trust.bundle(), timestamp(now)).map_err(refuse_svid)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SCHEME]
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(&chain(end_entity, intermediates), now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SCHEME]
    }
}

impl Servers {
    fn check(&self, chain: &[&[u8]], now: UnixTime) -> Result<(), Error> {
        match self {
            Self::Expected { trust, expected } => expected
                .check(chain, &trust.bundle(), timestamp(now))
                .map(drop)
                .map_err(|error| match error {
                    PeerError::Svid(error) => refuse_svid(error),
                    error @ PeerError::Unexpected(_) => refuse(error),
                }),
            Self::Pinned(pin) => {
                let joined = pin.check(chain, timestamp(now));
                joined.map(drop).map_err(|error| match error {
                    PinError::Svid(error) => refuse_svid(error),
                    error => refuse(error),
                })
            }
        }
    }
}

fn chain<'a>(leaf: &'a CertificateDer<'_>, others: &'a [CertificateDer<'_>]) -> Vec<&'a [u8]> {
    let others = others.iter().map(AsRef::as_ref);
    std::iter::once(leaf.as_ref()).chain(others).collect()
}

/// The peer holds the key of its certificate (RFC 8446 §4.4.3).
fn verify_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    if dss.scheme != SCHEME {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    verify_tls13_signature(message, cert, dss, &algorithms())
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    aws_lc_rs::default_provider().signature_verification_algorithms
}

fn tls12() -> Error {
    PeerIncompatible::Tls12NotOfferedOrEnabled.into()
}

/// Refuses a chain with the alert that fits (RFC 8446 §6.2).
fn refuse_svid(error: VerifySvidError) -> Error {
    match error {
        VerifySvidError::Expired => CertificateError::Expired.into(),
        VerifySvidError::NotYetValid => CertificateError::NotValidYet.into(),
        VerifySvidError::Issuer => CertificateError::UnknownIssuer.into(),
        error => refuse(error),
    }
}

fn refuse(error: impl StdError + Send + Sync + 'static) -> Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}
