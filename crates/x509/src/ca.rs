//! The signing certificate of a trust domain.

use aims_crypto::{PublicKey, Signer, sha256};
use aims_types::{Digest, SpiffeId, TrustDomain};
use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose};
use rustls_pki_types::{CertificateDer, TrustAnchor};
use webpki::aws_lc_rs::ECDSA_P256_SHA256;
use x509_parser::certificate::X509Certificate;

use crate::certificate::{Basic, Fields, KeyUses};
use crate::issue::{authority_name, certificate_params};
use crate::signer::Es256;
use crate::{CertificateError, IssueError, Serial, Validity};

/// The self-signed certificate of the one authority of a trust domain
/// (SPIFFE X.509-SVID §3, §4): `spiffe://<trust domain>` without a path, may sign leaves only.
#[derive(Debug, Clone)]
pub struct CaCertificate {
    der: Vec<u8>,
    trust_domain: TrustDomain,
    fields: Fields,
    anchor: TrustAnchor<'static>,
}

/// Why octets are not the signing certificate of a trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseCaError {
    /// They are no certificate with a SPIFFE ID.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// SPIFFE X.509-SVID §3: the authority names the trust domain itself.
    #[error("the SPIFFE ID of a signing certificate has no path")]
    HasPath,
    /// SPIFFE X.509-SVID §4.1: `cA` is true; ours has the path length zero; both are critical.
    #[error("a signing certificate has critical basic constraints: an authority of leaves")]
    NotAuthority,
    /// SPIFFE X.509-SVID §4.3: `keyCertSign` must be set; nothing but `cRLSign` may be beside it.
    #[error("a signing certificate signs certificates and revocation lists only")]
    KeyUsage,
    /// It is not signed by its own key.
    #[error("the certificate is not signed by its own key")]
    NotSelfSigned,
}

impl CaCertificate {
    /// Issues the certificate of the authority of `trust_domain`, signed by its own key.
    pub fn issue(
        signer: &dyn Signer,
        trust_domain: &TrustDomain,
        validity: Validity,
        serial: &Serial,
    ) -> Result<Self, IssueError> {
        let key = Es256::new(signer).ok_or(IssueError::Algorithm)?;
        let spiffe_id = domain_id(trust_domain).ok_or(IssueError::InternalRules)?;
        let mut params = certificate_params(&spiffe_id, validity, serial)?;
        params.distinguished_name = authority_name(&spiffe_id);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.self_signed(&key)?;
        Self::from_der(certificate.der()).map_err(|_| IssueError::InternalRules)
    }

    /// Reads a certificate of an authority as strictly as it would have been issued here.
    pub fn from_der(der: &[u8]) -> Result<Self, ParseCaError> {
        let (certificate, fields) = Fields::read(der)?;
        let uses = fields.uses;
        if !fields.spiffe_id.path().is_empty() {
            return Err(ParseCaError::HasPath);
        }
        let authority_of_leaves = Basic::Ca {
            critical: true,
            path_len: Some(0),
        };
        if uses.basic != authority_of_leaves {
            return Err(ParseCaError::NotAuthority);
        }
        let signing = KeyUses::CERT_SIGN.and(KeyUses::CRL_SIGN);
        if !uses.key.has(KeyUses::CERT_SIGN) || !uses.key.are_within(signing) {
            return Err(ParseCaError::KeyUsage);
        }
        if !is_self_signed(&certificate, &fields.public) {
            return Err(ParseCaError::NotSelfSigned);
        }
        Ok(Self {
            der: der.to_vec(),
            trust_domain: fields.spiffe_id.trust_domain(),
            anchor: anchor(der)?,
            fields,
        })
    }

    /// The certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The SHA-256 digest of the certificate: what a joining process pins.
    pub fn digest(&self) -> Digest {
        sha256(&self.der)
    }

    /// The key that verifies what the authority signs.
    pub const fn public(&self) -> &PublicKey {
        &self.fields.public
    }

    /// The trust domain.
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// When it is valid.
    pub const fn validity(&self) -> Validity {
        self.fields.validity
    }

    /// Its serial number.
    pub const fn serial(&self) -> &Serial {
        &self.fields.serial
    }

    pub(crate) const fn spiffe_id(&self) -> &SpiffeId {
        &self.fields.spiffe_id
    }

    pub(crate) const fn anchor(&self) -> &TrustAnchor<'static> {
        &self.anchor
    }
}

/// Two are equal if they are the same octets.
impl PartialEq for CaCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for CaCertificate {}

/// The SPIFFE ID of the trust domain itself (SPIFFE-ID §2).
fn domain_id(trust_domain: &TrustDomain) -> Option<SpiffeId> {
    format!("spiffe://{trust_domain}").parse().ok()
}

fn is_self_signed(certificate: &X509Certificate<'_>, key: &PublicKey) -> bool {
    let tbs = &certificate.tbs_certificate;
    let signature = &certificate.signature_value;
    tbs.issuer().as_raw() == tbs.subject().as_raw()
        && signature.unused_bits == 0
        && ECDSA_P256_SHA256
            .verify_signature(key.as_bytes(), tbs.as_ref(), &signature.data)
            .is_ok()
}

fn anchor(der: &[u8]) -> Result<TrustAnchor<'static>, CertificateError> {
    webpki::anchor_from_trusted_cert(&CertificateDer::from(der))
        .map(|anchor| anchor.to_owned())
        .map_err(|_| CertificateError::Der)
}

#[cfg(test)]
mod tests;
