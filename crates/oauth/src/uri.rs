//! The target URI of a request, in one spelling.

use std::fmt;

use url::Url;

/// Longest URI.
const URI_LEN_MAX: usize = 2048;

/// An `http` or `https` URI without query and fragment, normalised as RFC 3986 §6.2.2 and §6.2.3
/// say: case of scheme, host and percent escapes, unreserved characters, dot segments, default
/// port, empty path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpUri(String);

/// Why a text is not the target URI of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpUriError {
    /// Not an absolute URI, or with characters that a URI cannot have.
    #[error("not an absolute URI")]
    Malformed,
    /// Neither `http` nor `https`.
    #[error("the scheme is neither `http` nor `https`")]
    Scheme,
    /// A user name or password: credentials do not belong into a URI.
    #[error("the URI has a user name or password")]
    UserInfo,
    /// A query or fragment where none may be.
    #[error("the URI has a query or fragment")]
    QueryOrFragment,
}

impl HttpUri {
    /// Reads the URI of a request, leaving out query and fragment (RFC 9449 §4.2).
    pub fn of_request(text: &str) -> Result<Self, HttpUriError> {
        // The parser below follows browsers, who forgive what a URI must not contain.
        let forgiven = |b: u8| !b.is_ascii_graphic() || b"\\\"<>^`{|}".contains(&b);
        if text.len() > URI_LEN_MAX || text.bytes().any(forgiven) {
            return Err(HttpUriError::Malformed);
        }
        let url = Url::parse(text).map_err(|_| HttpUriError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(HttpUriError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
            return Err(HttpUriError::UserInfo);
        }
        // A browser reads `https:host` and `https:///host` as well; a URI has an authority.
        let (_, rest) = text.split_once(':').ok_or(HttpUriError::Malformed)?;
        let authority = rest.strip_prefix("//").ok_or(HttpUriError::Malformed)?;
        if authority.is_empty() || authority.starts_with('/') {
            return Err(HttpUriError::Malformed);
        }
        let path = normal_path(url.path()).ok_or(HttpUriError::Malformed)?;
        Ok(Self(format!(
            "{}{path}",
            url.origin().ascii_serialization()
        )))
    }

    /// Reads a URI that must not have a query or fragment.
    pub fn parse(text: &str) -> Result<Self, HttpUriError> {
        if text.contains(['?', '#']) {
            return Err(HttpUriError::QueryOrFragment);
        }
        Self::of_request(text)
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HttpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Percent escapes in upper case, and none for unreserved characters (RFC 3986 §6.2.2).
/// `None` if an escape is not two hexadecimal digits.
fn normal_path(path: &str) -> Option<String> {
    let mut normal = String::with_capacity(path.len());
    let mut parts = path.split('%');
    normal.push_str(parts.next()?);
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        match u8::from_str_radix(digits, 16).ok()? {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                normal.push(char::from(byte));
            }
            _ => {
                normal.push('%');
                normal.push_str(&digits.to_ascii_uppercase());
            }
        }
        normal.push_str(rest);
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_uri_are_equal() {
        for (text, normal) in [
            ("https://a.example/token", "https://a.example/token"),
            ("HTTPS://A.EXAMPLE:443/token", "https://a.example/token"),
            ("https://a.example", "https://a.example/"),
            (
                "https://a.example/%7euser/%2f",
                "https://a.example/~user/%2F",
            ),
            ("https://a.example/x/../token", "https://a.example/token"),
            (
                "https://a.example/x/%2e%2E/token",
                "https://a.example/token",
            ),
            (
                "http://127.0.0.1:8700/token?a=b#c",
                "http://127.0.0.1:8700/token",
            ),
            ("https://[::1]:8700/token", "https://[::1]:8700/token"),
        ] {
            assert_eq!(
                HttpUri::of_request(text).unwrap().as_str(),
                normal,
                "{text}"
            );
        }
    }

    #[test]
    fn different_uris_stay_different() {
        let uri = |text: &str| HttpUri::parse(text).unwrap();
        for (a, b) in [
            ("https://a/token", "http://a/token"),
            ("https://a/token", "https://a/token/"),
            ("https://a/token", "https://a/Token"),
            ("https://a/token", "https://a:444/token"),
            ("https://a/a/b", "https://a/a%2Fb"),
        ] {
            assert_ne!(uri(a), uri(b));
        }
    }

    #[test]
    fn texts_that_are_no_target_are_refused() {
        use HttpUriError::{Malformed, QueryOrFragment, Scheme, UserInfo};
        for (text, why) in [
            ("", Malformed),
            ("/token", Malformed),
            ("https:a.example/token", Malformed),
            ("https:///a.example/token", Malformed),
            ("https:\\\\a.example\\token", Malformed),
            ("https://a.example/to ken", Malformed),
            ("https://a.example/tok\ten", Malformed),
            ("https://a.example/%zz", Malformed),
            ("https://a.example/%2", Malformed),
            ("https://ä.example/", Malformed),
            ("ftp://a.example/", Scheme),
            ("file:///etc/passwd", Scheme),
            ("https://u:p@a.example/", UserInfo),
            ("https://@a.example/", UserInfo),
            ("https://a.example/?", QueryOrFragment),
            ("https://a.example/#x", QueryOrFragment),
        ] {
            assert_eq!(HttpUri::parse(text), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn normalising_is_done_once(text in "https?://[a-z0-9.:@%/?#~A-F]{0,30}") {
            if let Ok(uri) = HttpUri::of_request(&text) {
                prop_assert_eq!(HttpUri::parse(uri.as_str()), Ok(uri));
            }
        }

        #[test]
        fn reading_never_panics(text: String) {
            let _ = HttpUri::of_request(&text);
        }
    }
}
