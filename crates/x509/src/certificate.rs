//! What authorities and leaves have in common, read strictly.

use aims_crypto::{Alg, PublicKey};
use aims_types::{SpiffeId, SpiffeIdError};
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ECDSA_WITH_SHA256,
};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Version};

use crate::{Serial, Validity};

/// Largest certificate that is read. Ours have about 600 octets; a SPIFFE ID may have 2048.
pub const CERTIFICATE_LEN_MAX: usize = 8 * 1024;

/// Why octets are not a certificate that can be an X.509-SVID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Longer than [`CERTIFICATE_LEN_MAX`].
    #[error("the certificate is longer than {CERTIFICATE_LEN_MAX} octets")]
    Length,
    /// Not the DER form of a certificate, or something follows it.
    #[error("the octets are not the DER form of one certificate")]
    Der,
    /// RFC 5280 §4.1.2.1: extensions need version 3.
    #[error("the certificate is not of version 3")]
    Version,
    /// RFC 5280 §4.1.2.2.
    #[error("the serial number is not a positive integer of at most 20 octets")]
    Serial,
    /// RFC 5280 §4.1.1.2; the algorithm has no parameters (RFC 5758 §3.2).
    #[error("the certificate is not signed with ECDSA and SHA-256")]
    SignatureAlgorithm,
    /// The key is not on P-256, or is no point of it.
    #[error("the key is not an ECDSA key on P-256")]
    Key,
    /// RFC 5280 §4.1.2.5.
    #[error("the validity ends before it starts, or starts before 1970")]
    Validity,
    /// RFC 5280 §4.2: an extension is malformed or there twice.
    #[error("an extension is malformed or there twice")]
    Extension,
    /// SPIFFE X.509-SVID §2.
    #[error("the certificate has {0} URI names; an SVID has exactly one")]
    UriNames(usize),
    /// RFC 5280 §4.1.2.6: the name must be critical where there is no subject.
    #[error("the subject is empty, but its alternative name is not critical")]
    NameNotCritical,
    /// SPIFFE-ID §2.
    #[error("the URI name is no SPIFFE ID: {0}")]
    SpiffeId(#[from] SpiffeIdError),
    /// SPIFFE X.509-SVID §4.3: the use of the key is stated and critical.
    #[error("the certificate has no critical key usage")]
    KeyUsage,
}

/// The fields of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) spiffe_id: SpiffeId,
    pub(crate) public: PublicKey,
    pub(crate) validity: Validity,
    pub(crate) serial: Serial,
    pub(crate) uses: Uses,
}

/// What the extensions say of the key's use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Basic constraints (RFC 5280 §4.2.1.9).
    pub(crate) basic: Basic,
    /// Key usage (RFC 5280 §4.2.1.3).
    pub(crate) key: KeyUses,
    /// Extended key usage (RFC 5280 §4.2.1.12): both TLS roles, or not stated.
    pub(crate) tls_roles: bool,
}

/// The bits of `KeyUsage` (RFC 5280 §4.2.1.3), the first one lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyUses(u16);

/// Basic constraints (RFC 5280 §4.2.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basic {
    Leaf,
    Ca {
        critical: bool,
        path_len: Option<u32>,
    },
}

impl KeyUses {
    pub(crate) const DIGITAL_SIGNATURE: Self = Self(1);
    pub(crate) const CERT_SIGN: Self = Self(1 << 5);
    pub(crate) const CRL_SIGN: Self = Self(1 << 6);

    /// Whether one of `others` is among them.
    pub(crate) const fn has(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// These and `others`.
    pub(crate) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether all of them are among `others`.
    pub(crate) const fn are_within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }
}

impl Fields {
    /// Reads the fields of a certificate, whose octets a strict reader of DER has accepted too.
    pub(crate) fn read(der: &[u8]) -> Result<(X509Certificate<'_>, Self), CertificateError> {
        let certificate = parse(der)?;
        let tbs = &certificate.tbs_certificate;
        if tbs.version() != X509Version::V3 {
            return Err(CertificateError::Version);
        }
        let serial = Serial::from_der(tbs.raw_serial()).ok_or(CertificateError::Serial)?;
        if !is_es256(&certificate.signature_algorithm) || !is_es256(&tbs.signature) {
            return Err(CertificateError::SignatureAlgorithm);
        }
        let validity = tbs.validity();
        let (Ok(from), Ok(to)) = (secs(validity.not_before), secs(validity.not_after)) else {
            return Err(CertificateError::Validity);
        };
        let fields = Self {
            spiffe_id: spiffe_id(&certificate)?,
            public: p256_key(tbs.public_key()).ok_or(CertificateError::Key)?,
            validity: Validity::from_secs(from, to).map_err(|_| CertificateError::Validity)?,
            serial,
            uses: uses(&certificate)?,
        };
        Ok((certificate, fields))
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    if der.len() > CERTIFICATE_LEN_MAX {
        return Err(CertificateError::Length);
    }
    // Two readers must agree: this one refuses what is not DER, critical extensions that nobody
    // here knows, and extensions that are there twice.
    EndEntityCert::try_from(&CertificateDer::from(der)).map_err(|error| match error {
        webpki::Error::UnsupportedCertVersion => CertificateError::Version,
        webpki::Error::InvalidSerialNumber => CertificateError::Serial,
        webpki::Error::ExtensionValueInvalid
        | webpki::Error::MalformedExtensions
        | webpki::Error::UnsupportedCriticalExtension => CertificateError::Extension,
        _ => CertificateError::Der,
    })?;
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::Der),
    }
}

fn secs(time: ASN1Time) -> Result<u64, std::num::TryFromIntError> {
    u64::try_from(time.timestamp())
}

/// `ecdsa-with-SHA256`, whose parameters are absent (RFC 5758 §3.2).
pub(crate) fn is_es256(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    algorithm.algorithm == OID_SIG_ECDSA_WITH_SHA256 && algorithm.parameters.is_none()
}

/// The key, if it is an uncompressed point of the named curve P-256 (RFC 5480 §2).
pub(crate) fn p256_key(info: &SubjectPublicKeyInfo<'_>) -> Option<PublicKey> {
    let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
    let on_p256 = info.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == OID_EC_P256;
    let point = &info.subject_public_key;
    if !on_p256 || point.unused_bits != 0 {
        return None;
    }
    PublicKey::from_bytes(Alg::Es256, &point.data).ok()
}

/// The one URI name (SPIFFE X.509-SVID §2); names of other kinds may stand beside it.
fn spiffe_id(certificate: &X509Certificate<'_>) -> Result<SpiffeId, CertificateError> {
    let extension = certificate.subject_alternative_name();
    let Some(extension) = extension.map_err(|_| CertificateError::Extension)? else {
        return Err(CertificateError::UriNames(0));
    };
    let names = &extension.value.general_names;
    if names
        .iter()
        .any(|name| matches!(name, GeneralName::Invalid(..)))
    {
        return Err(CertificateError::Extension);
    }
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let [uri] = uris.as_slice() else {
        return Err(CertificateError::UriNames(uris.len()));
    };
    if certificate.subject().iter().next().is_none() && !extension.critical {
        return Err(CertificateError::NameNotCritical);
    }
    Ok(uri.parse()?)
}

fn uses(certificate: &X509Certificate<'_>) -> Result<Uses, CertificateError> {
    let basic = certificate.basic_constraints();
    let usage = certificate.key_usage();
    let extended = certificate.extended_key_usage();
    let (Ok(basic), Ok(usage), Ok(extended)) = (basic, usage, extended) else {
        return Err(CertificateError::Extension);
    };
    let Some(usage) = usage.filter(|usage| usage.critical) else {
        return Err(CertificateError::KeyUsage);
    };
    Ok(Uses {
        basic: match basic {
            Some(basic) if basic.value.ca => Basic::Ca {
                critical: basic.critical,
                path_len: basic.value.path_len_constraint,
            },
            _ => Basic::Leaf,
        },
        key: KeyUses(usage.value.flags),
        tls_roles: extended.is_none_or(|extended| has_both_roles(extended.value)),
    })
}

fn has_both_roles(usage: &ExtendedKeyUsage<'_>) -> bool {
    usage.server_auth && usage.client_auth
}
