//! Who is at the other end.

use aims_crypto::PublicKey;
use aims_jose::Thumbprint;
use aims_types::{SpiffeId, Timestamp};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::aws_lc_rs::ECDSA_P256_SHA256;
use webpki::{EndEntityCert, KeyUsage};

use crate::{Bundle, CaCertificate, ParseSvidError, Svid};

/// Most certificates of a chain: a leaf, and authorities that came along.
pub const CHAIN_LEN_MAX: usize = 4;

/// A peer whose certificate an authority of its trust domain signed, and which was valid when it
/// was looked at. That it holds the key, the handshake proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerId {
    spiffe_id: SpiffeId,
    public: PublicKey,
    not_after: Timestamp,
}

/// Why a chain authenticates nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifySvidError {
    /// There is no certificate, or more than [`CHAIN_LEN_MAX`].
    #[error("a chain has 1 to {CHAIN_LEN_MAX} certificates")]
    Length,
    /// The first certificate is not an X.509-SVID of a workload.
    #[error(transparent)]
    Leaf(#[from] ParseSvidError),
    /// The leaf is of another trust domain than the bundle (SPIFFE X.509-SVID §5.1).
    #[error("the peer is of another trust domain")]
    TrustDomain,
    /// A further certificate is none of the bundle's: there are no intermediate authorities.
    #[error("a further certificate of the chain is not an authority of the trust domain")]
    ForeignCertificate,
    /// RFC 5280 §6.1.3.
    #[error("the certificate is not valid yet; check both clocks")]
    NotYetValid,
    /// RFC 5280 §6.1.3.
    #[error("the certificate has expired; its holder must renew it")]
    Expired,
    /// None of the authorities is valid now.
    #[error("no authority of the trust domain is valid now")]
    AuthorityNotValid,
    /// No authority of the bundle that is valid now signed the leaf (RFC 5280 §6.1).
    #[error("the certificate is not signed by an authority of the trust domain")]
    Issuer,
}

impl PeerId {
    /// Who it is.
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The key it is known by.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The thumbprint of that key (RFC 7638), the `kid` under which it is enrolled.
    pub fn kid(&self) -> Thumbprint {
        Thumbprint::of(&self.public)
    }

    /// The last second in which its certificate is valid.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// Verifies a chain, leaf first, at `now` (SPIFFE X.509-SVID §5.2, RFC 5280 §6): the leaf is an
/// SVID of the bundle's trust domain, signed directly by one of its authorities, both are valid.
pub fn verify_svid<C: AsRef<[u8]>>(
    chain: &[C],
    bundle: &Bundle,
    now: Timestamp,
) -> Result<PeerId, VerifySvidError> {
    let Some((leaf, others)) = chain.split_first().filter(|_| chain.len() <= CHAIN_LEN_MAX) else {
        return Err(VerifySvidError::Length);
    };
    let svid = Svid::from_der(leaf.as_ref())?;
    if svid.spiffe_id().trust_domain() != *bundle.trust_domain() {
        return Err(VerifySvidError::TrustDomain);
    }
    verify_path(&svid, bundle, now)?;
    let of_bundle = |other: &C| {
        bundle
            .authorities()
            .iter()
            .any(|ca| ca.der() == other.as_ref())
    };
    if !others.iter().all(of_bundle) {
        return Err(VerifySvidError::ForeignCertificate);
    }
    Ok(PeerId {
        spiffe_id: svid.spiffe_id().clone(),
        public: *svid.public(),
        not_after: svid.validity().not_after(),
    })
}

fn verify_path(svid: &Svid, bundle: &Bundle, now: Timestamp) -> Result<(), VerifySvidError> {
    // RFC 5280 §6.1.1 leaves the validity of trust anchors open; here an authority that is not
    // valid vouches for nobody.
    let valid = bundle
        .authorities()
        .iter()
        .filter(|ca| ca.validity().contains(now));
    let anchors: Vec<_> = valid.map(CaCertificate::anchor).cloned().collect();
    if anchors.is_empty() {
        return Err(VerifySvidError::AuthorityNotValid);
    }
    let der = CertificateDer::from(svid.der());
    let leaf = EndEntityCert::try_from(&der).map_err(|_| VerifySvidError::Issuer)?;
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.unix_secs()));
    // No intermediates are offered to the search for a path: an SVID is signed by an authority.
    let path = leaf.verify_for_usage(
        &[ECDSA_P256_SHA256],
        &anchors,
        &[],
        time,
        KeyUsage::client_auth(),
        None,
        None,
    );
    path.map(drop).map_err(|error| match error {
        webpki::Error::CertExpired { .. } => VerifySvidError::Expired,
        webpki::Error::CertNotValidYet { .. } => VerifySvidError::NotYetValid,
        _ => VerifySvidError::Issuer,
    })
}

#[cfg(test)]
mod tests;
