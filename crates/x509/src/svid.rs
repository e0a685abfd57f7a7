//! Leaf certificates of workloads.

use aims_crypto::{PublicKey, Signer};
use aims_jose::Thumbprint;
use aims_types::SpiffeId;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose};

use crate::certificate::{Basic, Fields, KeyUses};
use crate::issue::{HOSTS_MAX, authority_name, certificate_params, host_name};
use crate::signer::{Es256, Subject};
use crate::{Bundle, CaCertificate, CertificateError, IssueError, Serial, Validity, verify_svid};

/// A leaf certificate in the form of an X.509-SVID. Who signed it, only
/// [`verify_svid`] can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Svid {
    der: Vec<u8>,
    fields: Fields,
}

/// What a leaf certificate will say.
#[derive(Debug, Clone, Copy)]
pub struct SvidTemplate<'a> {
    /// The key, whose possession was proven (see [`crate::VerifiedRequest`]).
    pub public: &'a PublicKey,
    /// Who holds it.
    pub spiffe_id: &'a SpiffeId,
    /// DNS names and IP addresses by which ordinary clients of HTTPS know a server.
    pub hosts: &'a [String],
    /// When it is valid.
    pub validity: Validity,
    /// Its serial number.
    pub serial: &'a Serial,
}

/// Why octets are not a leaf in the form of an X.509-SVID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseSvidError {
    /// They are no certificate with a SPIFFE ID.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// SPIFFE X.509-SVID §4.1, §5.2: signing certificates authenticate nobody.
    #[error("the certificate is an authority's, which authenticates nobody")]
    Authority,
    /// SPIFFE X.509-SVID §4.3, §5.2: `keyCertSign` and `cRLSign` must not be set.
    #[error("the key of a leaf must not sign certificates or revocation lists")]
    SigningUsage,
    /// SPIFFE X.509-SVID §4.3: `digitalSignature` must be set.
    #[error("the key of a leaf must be for digital signatures")]
    NoDigitalSignature,
    /// SPIFFE X.509-SVID §4.4: both roles of TLS, if any are stated.
    #[error("the extended key usage of a leaf has both `serverAuth` and `clientAuth`")]
    ExtendedKeyUsage,
    /// SPIFFE X.509-SVID §2, §5.2: a leaf names a workload.
    #[error("the SPIFFE ID of a leaf has a path")]
    NoPath,
}

impl Svid {
    /// Issues a leaf: one URI name, not an authority, `digitalSignature` (critical), both roles of
    /// TLS, no subject, and a name that is critical therefore (SPIFFE X.509-SVID §2 and §4,
    /// RFC 5280 §4.1.2.6).
    pub fn issue(
        ca: &CaCertificate,
        ca_signer: &dyn Signer,
        template: &SvidTemplate<'_>,
    ) -> Result<Self, IssueError> {
        if ca_signer.public() != ca.public() {
            return Err(IssueError::WrongSigner);
        }
        let signer = Es256::new(ca_signer).ok_or(IssueError::Algorithm)?;
        let subject = Subject::new(template.public).ok_or(IssueError::Algorithm)?;
        let params = leaf_params(ca, template)?;
        let mut authority = CertificateParams::default();
        authority.distinguished_name = authority_name(ca.spiffe_id());
        let issuer = Issuer::from_params(&authority, signer);
        let certificate = params.signed_by(&subject, &issuer)?;
        let svid = Self::from_der(certificate.der()).map_err(|_| IssueError::InternalRules)?;
        // The authority must vouch for it as everybody else will see it, or nobody gets it.
        let bundle = Bundle::new(vec![ca.clone()]).map_err(|_| IssueError::InternalRules)?;
        verify_svid(&[svid.der()], &bundle, template.validity.not_before())
            .map_err(|_| IssueError::InternalRules)?;
        Ok(svid)
    }

    /// Reads a leaf.
    pub fn from_der(der: &[u8]) -> Result<Self, ParseSvidError> {
        let (_, fields) = Fields::read(der)?;
        let uses = fields.uses;
        if uses.basic != Basic::Leaf {
            return Err(ParseSvidError::Authority);
        }
        if uses.key.has(KeyUses::CERT_SIGN.and(KeyUses::CRL_SIGN)) {
            return Err(ParseSvidError::SigningUsage);
        }
        if !uses.key.has(KeyUses::DIGITAL_SIGNATURE) {
            return Err(ParseSvidError::NoDigitalSignature);
        }
        if !uses.tls_roles {
            return Err(ParseSvidError::ExtendedKeyUsage);
        }
        if fields.spiffe_id.path().is_empty() {
            return Err(ParseSvidError::NoPath);
        }
        let der = der.to_vec();
        Ok(Self { der, fields })
    }

    /// The certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Who holds the key, if the certificate is to be believed.
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.fields.spiffe_id
    }

    /// The key.
    pub const fn public(&self) -> &PublicKey {
        &self.fields.public
    }

    /// The thumbprint of the key (RFC 7638).
    pub fn kid(&self) -> Thumbprint {
        Thumbprint::of(&self.fields.public)
    }

    /// When it is valid.
    pub const fn validity(&self) -> Validity {
        self.fields.validity
    }

    /// Its serial number.
    pub const fn serial(&self) -> &Serial {
        &self.fields.serial
    }
}

fn leaf_params(
    ca: &CaCertificate,
    template: &SvidTemplate<'_>,
) -> Result<CertificateParams, IssueError> {
    let spiffe_id = template.spiffe_id;
    if spiffe_id.trust_domain() != *ca.trust_domain() {
        return Err(IssueError::TrustDomain(spiffe_id.clone()));
    }
    if spiffe_id.path().is_empty() {
        return Err(IssueError::NoPath);
    }
    if !template.validity.is_within(ca.validity()) {
        return Err(IssueError::OutsideAuthority);
    }
    if template.hosts.len() > HOSTS_MAX {
        return Err(IssueError::TooManyHosts);
    }
    let mut params = certificate_params(spiffe_id, template.validity, template.serial)?;
    for host in template.hosts {
        params.subject_alt_names.push(host_name(host)?);
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

#[cfg(test)]
mod tests;
