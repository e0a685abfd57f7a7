//! What writing certificates and requests has in common.

use std::net::IpAddr;

use aims_types::SpiffeId;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DistinguishedName, DnType, SanType, SerialNumber};
use rustls_pki_types::DnsName;

use crate::{Serial, Validity};

/// Most names of hosts beside the SPIFFE ID of a leaf.
pub const HOSTS_MAX: usize = 16;
/// Most characters of an organisation's name (RFC 5280 Appendix A, `ub-organization-name`).
const ORGANIZATION_LEN_MAX: usize = 64;

/// Why a certificate was not issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// A key is not of ES256.
    #[error("certificates are for ES256 keys, signed by ES256 keys")]
    Algorithm,
    /// The signing key is not the one of the authority's certificate.
    #[error("the signing key is not the key of the authority's certificate")]
    WrongSigner,
    /// The SPIFFE ID is of another trust domain than the authority's.
    #[error("the SPIFFE ID `{0}` is not of the authority's trust domain")]
    TrustDomain(SpiffeId),
    /// SPIFFE X.509-SVID §2: a leaf names a workload, not the trust domain.
    #[error("the SPIFFE ID of a leaf has a path")]
    NoPath,
    /// A leaf must not be valid where its authority is not.
    #[error("the certificate would be valid when its authority is not")]
    OutsideAuthority,
    /// A host is neither a DNS name nor an IP address.
    #[error("the host `{0}` is neither a DNS name nor an IP address")]
    Host(String),
    /// More hosts than [`HOSTS_MAX`].
    #[error("a certificate names at most {HOSTS_MAX} hosts")]
    TooManyHosts,
    /// The signing key could not sign.
    #[error("the authority's key could not sign")]
    InternalSign,
    /// The certificate could not be written.
    #[error("the certificate could not be written: {0}")]
    InternalWrite(rcgen::Error),
    /// What was written is not what must be issued.
    #[error("the certificate that was written breaks the rules of SVIDs")]
    InternalRules,
}

impl From<rcgen::Error> for IssueError {
    fn from(error: rcgen::Error) -> Self {
        match error {
            rcgen::Error::RemoteKeyError => Self::InternalSign,
            error => Self::InternalWrite(error),
        }
    }
}

/// Parameters that name `spiffe_id`, if there is one, and nothing else.
pub(crate) fn params_for(spiffe_id: Option<&SpiffeId>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(spiffe_id) = spiffe_id {
        let uri = Ia5String::try_from(spiffe_id.as_str())?;
        params.subject_alt_names = vec![SanType::URI(uri)];
    }
    Ok(params)
}

/// Parameters of a certificate.
pub(crate) fn certificate_params(
    spiffe_id: &SpiffeId,
    validity: Validity,
    serial: &Serial,
) -> Result<CertificateParams, IssueError> {
    let mut params = params_for(Some(spiffe_id))?;
    let times = validity.to_asn1();
    let (not_before, not_after) = times.ok_or(rcgen::Error::Time)?;
    params.not_before = not_before.to_datetime();
    params.not_after = not_after.to_datetime();
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    Ok(params)
}

/// The name of the authority of a trust domain: as much of its name as an organisation's has room
/// for. Which authority it is, key identifiers and the SPIFFE ID say.
pub(crate) fn authority_name(spiffe_id: &SpiffeId) -> DistinguishedName {
    let domain = spiffe_id.trust_domain();
    let text: String = domain.as_str().chars().take(ORGANIZATION_LEN_MAX).collect();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, text);
    name
}

/// The alternative name of a host that ordinary clients of HTTPS know it by.
pub(crate) fn host_name(host: &str) -> Result<SanType, IssueError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let bad = || IssueError::Host(host.to_owned());
    DnsName::try_from(host).map_err(|_| bad())?;
    let name = Ia5String::try_from(host).map_err(|_| bad())?;
    Ok(SanType::DnsName(name))
}
