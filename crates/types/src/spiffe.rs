//! SPIFFE IDs (SPIFFE-ID 1.0), the WIMSE identifiers of everything that acts.

use std::fmt;
use std::str::FromStr;

/// Longest trust domain name (SPIFFE-ID §2.3).
pub const TRUST_DOMAIN_LEN_MAX: usize = 255;
/// Longest SPIFFE ID in bytes (SPIFFE-ID §2.3).
pub const SPIFFE_ID_LEN_MAX: usize = 2048;

/// The name of a trust domain, for example `aims.local`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

/// The identifier of a workload: `spiffe://<trust domain>/<path>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: String,
    /// Length of the trust domain's name within `text`.
    domain_len: usize,
}

/// Why a text is not a SPIFFE ID or trust domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// SPIFFE-ID §2: the scheme is `spiffe`.
    #[error("a SPIFFE ID starts with `spiffe://`")]
    Scheme,
    /// SPIFFE-ID §2.1: letters a-z, digits, `.`, `-`, `_`; 1 to 255 of them.
    #[error("a trust domain has 1 to 255 characters of a-z, 0-9, `.`, `-`, `_`")]
    TrustDomain,
    /// SPIFFE-ID §2.2: non-empty segments of letters, digits, `.`, `-`, `_`, none `.` or `..`.
    #[error("a path has non-empty segments of a-z, A-Z, 0-9, `.`, `-`, `_`, none `.` or `..`")]
    Path,
    /// SPIFFE-ID §2.3: at most 2048 bytes.
    #[error("a SPIFFE ID has at most 2048 bytes")]
    Length,
}

const SCHEME: &str = "spiffe://";

impl TrustDomain {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identifier with this path below the trust domain; `path` has no leading slash.
    pub fn id(&self, path: &str) -> Result<SpiffeId, SpiffeIdError> {
        format!("{SCHEME}{}/{path}", self.0).parse()
    }
}

impl SpiffeId {
    /// The whole identifier.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> TrustDomain {
        let name = self.text.get(SCHEME.len()..SCHEME.len() + self.domain_len);
        TrustDomain(name.unwrap_or_default().to_owned())
    }

    /// The path without its leading slash; empty for the trust domain itself.
    pub fn path(&self) -> &str {
        let from = SCHEME.len() + self.domain_len + 1;
        self.text.get(from..).unwrap_or_default()
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
        if text.is_empty() || text.len() > TRUST_DOMAIN_LEN_MAX || !text.bytes().all(allowed) {
            return Err(SpiffeIdError::TrustDomain);
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > SPIFFE_ID_LEN_MAX {
            return Err(SpiffeIdError::Length);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (domain, path) = match rest.split_once('/') {
            Some((domain, path)) => (domain, Some(path)),
            None => (rest, None),
        };
        let domain: TrustDomain = domain.parse()?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        let segment_is_good =
            |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(allowed);
        if path.is_some_and(|path| !path.split('/').all(segment_is_good)) {
            return Err(SpiffeIdError::Path);
        }
        Ok(Self {
            text: text.to_owned(),
            domain_len: domain.0.len(),
        })
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_written() {
        let id: SpiffeId = "spiffe://aims.local/agent/release-notes".parse().unwrap();
        assert_eq!(id.trust_domain().as_str(), "aims.local");
        assert_eq!(id.path(), "agent/release-notes");
        let bare: SpiffeId = "spiffe://aims.local".parse().unwrap();
        assert_eq!(bare.path(), "");
    }

    #[test]
    fn texts_outside_the_grammar_are_refused() {
        use SpiffeIdError::{Length, Path, Scheme, TrustDomain};
        let long = format!("spiffe://a/{}", "b".repeat(2048));
        for (text, why) in [
            ("https://a/b", Scheme),
            ("SPIFFE://a/b", Scheme),
            ("spiffe:///b", TrustDomain),
            ("spiffe://A/b", TrustDomain),
            ("spiffe://a:1/b", TrustDomain),
            ("spiffe://u@a/b", TrustDomain),
            ("spiffe://a/", Path),
            ("spiffe://a/b/", Path),
            ("spiffe://a//b", Path),
            ("spiffe://a/../b", Path),
            ("spiffe://a/b%2fc", Path),
            ("spiffe://a/b?c", Path),
            (long.as_str(), Length),
        ] {
            assert_eq!(text.parse::<SpiffeId>(), Err(why), "{text}");
        }
    }
}
