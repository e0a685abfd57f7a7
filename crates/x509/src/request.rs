//! Requests for certificates (PKCS#10).

use aims_crypto::{PublicKey, Signer};
use aims_types::{SpiffeId, SpiffeIdError};
use webpki::aws_lc_rs::ECDSA_P256_SHA256;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use crate::certificate::{is_es256, p256_key};
use crate::der::signed_with_es256;
use crate::issue::params_for;
use crate::signer::Es256;

/// Largest request that is read.
pub const REQUEST_LEN_MAX: usize = 4 * 1024;

/// A request for a certificate (RFC 2986): a key and the proof that the requester holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SvidRequest {
    der: Vec<u8>,
}

/// A request whose signature its own key verifies: whoever made it held that key.
///
/// Nothing else in it is believed. It proves nothing of when it was made or for whom: it must come
/// over a channel that authenticates its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRequest {
    public: PublicKey,
    spiffe_id: Option<SpiffeId>,
}

/// Why a request could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateRequestError {
    /// The key is not of ES256.
    #[error("a request is for an ES256 key")]
    Algorithm,
    /// The key could not sign.
    #[error("the key could not sign")]
    InternalSign,
    /// The request could not be written.
    #[error("the request could not be written: {0}")]
    InternalWrite(rcgen::Error),
}

/// Why octets are not a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseRequestError {
    /// Longer than [`REQUEST_LEN_MAX`].
    #[error("the request is longer than {REQUEST_LEN_MAX} octets")]
    Length,
    /// Not the DER form of a request (RFC 2986 §4), or something follows it.
    #[error("the octets are not the DER form of one PKCS#10 request")]
    Der,
    /// The key is not on P-256, or is no point of it.
    #[error("the key of the request is not an ECDSA key on P-256")]
    Key,
    /// The signature is of another kind (RFC 5758 §3.2).
    #[error("the request is not signed with ECDSA and SHA-256")]
    SignatureAlgorithm,
    /// The requester has not shown that it holds the key.
    #[error("the request is not signed by its own key")]
    NoPossession,
    /// It asks for more than one URI name, or for names in more than one place.
    #[error("a request has at most one URI name")]
    UriNames,
    /// The URI name that it asks for is none that could be given.
    #[error("the URI name is no SPIFFE ID: {0}")]
    SpiffeId(#[from] SpiffeIdError),
}

/// The request asks for another SPIFFE ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request is not for `{0}`")]
pub struct IdMismatch(SpiffeId);

impl From<rcgen::Error> for CreateRequestError {
    fn from(error: rcgen::Error) -> Self {
        match error {
            rcgen::Error::RemoteKeyError => Self::InternalSign,
            error => Self::InternalWrite(error),
        }
    }
}

impl SvidRequest {
    /// Makes a request for the key of `signer`; whoever knows its SPIFFE ID already names it.
    pub fn create(
        signer: &dyn Signer,
        spiffe_id: Option<&SpiffeId>,
    ) -> Result<Self, CreateRequestError> {
        let key = Es256::new(signer).ok_or(CreateRequestError::Algorithm)?;
        let request = params_for(spiffe_id)?.serialize_request(&key)?;
        Ok(Self {
            der: request.der().to_vec(),
        })
    }

    /// Reads a request and verifies that its own key signed it.
    pub fn parse(der: &[u8]) -> Result<VerifiedRequest, ParseRequestError> {
        if der.len() > REQUEST_LEN_MAX {
            return Err(ParseRequestError::Length);
        }
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(ParseRequestError::Der);
        };
        let info = &request.certification_request_info;
        if info.version != X509Version::V1 {
            return Err(ParseRequestError::Der);
        }
        let public = p256_key(&info.subject_pki).ok_or(ParseRequestError::Key)?;
        if !is_es256(&request.signature_algorithm) {
            return Err(ParseRequestError::SignatureAlgorithm);
        }
        // The reader takes other spellings than DER of what the signature does not cover.
        let signature = &request.signature_value.data;
        if signed_with_es256(info.raw, signature) != der {
            return Err(ParseRequestError::Der);
        }
        ECDSA_P256_SHA256
            .verify_signature(public.as_bytes(), info.raw, signature)
            .map_err(|_| ParseRequestError::NoPossession)?;
        let spiffe_id = asked_id(&request)?;
        Ok(VerifiedRequest { public, spiffe_id })
    }

    /// The request.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The request, as octets of one's own.
    pub fn into_der(self) -> Vec<u8> {
        self.der
    }
}

impl VerifiedRequest {
    /// The key whose possession is proven.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The SPIFFE ID that is asked for, if any.
    pub const fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.spiffe_id.as_ref()
    }

    /// Checks that the request is for `expected`, or leaves the choice to us.
    pub fn expect_id(&self, expected: &SpiffeId) -> Result<(), IdMismatch> {
        match &self.spiffe_id {
            Some(asked) if asked != expected => Err(IdMismatch(expected.clone())),
            _ => Ok(()),
        }
    }
}

/// The one URI name among the extensions that are asked for (RFC 2985 §5.4.2).
fn asked_id(request: &X509CertificationRequest<'_>) -> Result<Option<SpiffeId>, ParseRequestError> {
    let extensions = request.requested_extensions().into_iter().flatten();
    let names: Vec<_> = extensions
        .filter_map(|extension| match extension {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        })
        .flatten()
        .collect();
    let uris: Vec<&str> = names
        .into_iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris.as_slice() {
        [] => Ok(None),
        [uri] => Ok(Some(uri.parse()?)),
        _ => Err(ParseRequestError::UriNames),
    }
}

#[cfg(test)]
mod tests;
