//! Who this process is.

use std::sync::Arc;

use aims_crypto::Signer;
use aims_types::SpiffeId;
use aims_x509::{CaCertificate, Svid};
use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::signer::HandshakeKey;

/// An X.509-SVID and the key behind it. It may be renewed while the process runs: the next
/// handshake of each configuration that holds it shows the new certificate.
#[derive(Debug)]
pub struct Identity {
    spiffe_id: SpiffeId,
    current: ArcSwap<Current>,
}

/// Why a certificate and a key are no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The key is not the certificate's.
    #[error("the key is not the key of the certificate")]
    Key,
    /// The authority is of another trust domain than the certificate.
    #[error("the authority is of another trust domain than the certificate")]
    TrustDomain,
    /// A renewal must not make somebody else of this process.
    #[error("the renewed certificate names `{renewed}`, not `{present}`")]
    OtherId {
        /// Whom the present certificate names.
        present: SpiffeId,
        /// Whom the new certificate names.
        renewed: SpiffeId,
    },
}

#[derive(Debug)]
struct Current {
    svid: Svid,
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// The identity that `svid`, signed by `authority`, gives to the holder of its key.
    pub fn new(
        svid: Svid,
        authority: &CaCertificate,
        signer: Arc<dyn Signer>,
    ) -> Result<Self, IdentityError> {
        Ok(Self {
            spiffe_id: svid.spiffe_id().clone(),
            current: ArcSwap::from_pointee(Current::new(svid, authority, signer)?),
        })
    }

    /// Shows this certificate from the next handshake on.
    pub fn renew(
        &self,
        svid: Svid,
        authority: &CaCertificate,
        signer: Arc<dyn Signer>,
    ) -> Result<(), IdentityError> {
        if *svid.spiffe_id() != self.spiffe_id {
            return Err(IdentityError::OtherId {
                present: self.spiffe_id.clone(),
                renewed: svid.spiffe_id().clone(),
            });
        }
        let renewed = Current::new(svid, authority, signer)?;
        self.current.store(Arc::new(renewed));
        Ok(())
    }

    /// Who this process is.
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The certificate at present.
    pub fn svid(&self) -> Svid {
        self.current.load().svid.clone()
    }

    fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.load().certified)
    }
}

impl Current {
    fn new(
        svid: Svid,
        authority: &CaCertificate,
        signer: Arc<dyn Signer>,
    ) -> Result<Self, IdentityError> {
        if signer.public() != svid.public() {
            return Err(IdentityError::Key);
        }
        if svid.spiffe_id().trust_domain() != *authority.trust_domain() {
            return Err(IdentityError::TrustDomain);
        }
        // The authority's certificate goes along for those who know but its digest.
        let chain = [svid.der(), authority.der()];
        let chain = chain.map(|der| CertificateDer::from(der.to_vec())).to_vec();
        let certified = CertifiedKey::new(chain, Arc::new(HandshakeKey(signer)));
        Ok(Self {
            svid,
            certified: Arc::new(certified),
        })
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let signs = schemes.contains(&crate::signer::SCHEME);
        signs.then(|| self.certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
