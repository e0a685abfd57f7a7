//! Upstreams: HTTPS servers elsewhere that agents ask through a gateway, which adds a credential
//! that no agent ever has.

mod spec;

use aims_crypto::sha256;
use aims_types::{Digest, Id, Name, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Text;

pub use spec::{
    ANSWER_BYTES_MAX, Bounds, CA_LEN_MAX, CredentialUse, ENDPOINTS_MAX, Endpoint, HEADERS_MAX,
    Origin, REQUEST_BYTES_MAX, RawBounds, RawCredentialUse, RawEndpoint, RawUpstreamSpec,
    SECONDS_MAX, SpecError, UpstreamSpec,
};

/// Shortest credential: shorter ones are guessed, and would be found by chance in answers.
pub const CREDENTIAL_LEN_MIN: usize = 12;
/// Longest credential, in bytes.
pub const CREDENTIAL_LEN_MAX: usize = 4096;

/// A registered upstream. Its credential lies elsewhere, sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Identity.
    pub id: Id<aims_types::Upstream>,
    /// Name, unique for ever; the path segment after `/http/`.
    pub name: Name,
    /// What it is for, in words.
    pub purpose: Text,
    /// Where it is and what may be asked of it.
    pub spec: UpstreamSpec,
    /// The version of its credential: 1, 2, 3, …
    pub version: u32,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When its credential was replaced last.
    pub rotated_at: Option<Timestamp>,
    /// When it was retired; nothing is asked of it any more.
    pub retired_at: Option<Timestamp>,
}

/// A text can't be a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a credential has {CREDENTIAL_LEN_MIN} to {CREDENTIAL_LEN_MAX} visible ASCII characters and no \
     spaces"
)]
pub struct CredentialError;

impl Upstream {
    /// The digest of its configuration, which is never secret.
    pub fn digest(&self) -> Digest {
        let spec = aims_json::to_value(&self.spec).ok();
        let bytes = spec.and_then(|spec| aims_json::to_canonical(&spec).ok());
        sha256(&bytes.unwrap_or_default())
    }

    /// What its credential is sealed for: the upstream, the version, the host and the header in
    /// which it goes out. A credential does not open for anything else.
    pub fn binding(&self) -> String {
        let Self {
            id, version, spec, ..
        } = self;
        let (origin, credential) = (spec.origin(), spec.credential());
        format!(
            "aims-upstream/1\nid: {id}\nversion: {version}\norigin: {origin}\nheader: {}\nscheme: {}\n",
            credential.header(),
            credential.scheme().unwrap_or_default(),
        )
    }

    /// Whether anything may be asked of it.
    pub const fn is_active(&self) -> bool {
        self.retired_at.is_none()
    }
}

/// Refuses what can't be a credential. It says nothing of the text.
pub fn check_credential(text: &[u8]) -> Result<(), CredentialError> {
    let good = (CREDENTIAL_LEN_MIN..=CREDENTIAL_LEN_MAX).contains(&text.len())
        && text.iter().all(u8::is_ascii_graphic);
    if good { Ok(()) } else { Err(CredentialError) }
}

#[cfg(test)]
mod tests;
