//! What of an answer goes back.

use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
};
use http::{HeaderMap, Response, StatusCode};

use super::scrub::Scrubber;

/// Headers of an answer that go on; everything else stays behind.
const PASSED: [HeaderName; 6] = [
    CONTENT_TYPE,
    HeaderName::from_static("content-language"),
    HeaderName::from_static("etag"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("retry-after"),
    HeaderName::from_static("x-request-id"),
];

/// Why an answer does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// It leads elsewhere; a credential is for one host.
    #[error("the upstream answered {0}, which leads elsewhere; redirects are not followed")]
    Redirect(u16),
    /// It is no final answer.
    #[error("the upstream answered {0}, which is no answer")]
    Status(u16),
    /// It can't be looked through.
    #[error("the upstream's answer is encoded, though that was not accepted")]
    Encoded,
    /// It is over the limit.
    #[error("the upstream's answer has more than {0} bytes")]
    TooLong(u64),
    /// The credential is in it.
    #[error("the upstream's answer held its credential, and so it was withheld")]
    Leaked,
}

/// Status and headers as they go on.
pub(super) fn head<B>(
    answer: &Response<B>,
    bytes_max: u64,
    scrubber: &Scrubber,
) -> Result<(StatusCode, HeaderMap), Unfit> {
    let status = answer.status();
    if status.is_informational() {
        return Err(Unfit::Status(status.as_u16()));
    }
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        return Err(Unfit::Redirect(status.as_u16()));
    }
    let from = answer.headers();
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !from.get_all(CONTENT_ENCODING).iter().all(identity) {
        return Err(Unfit::Encoded);
    }
    let length = from
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let length = length.and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| length > bytes_max) {
        return Err(Unfit::TooLong(bytes_max));
    }
    let mut headers = HeaderMap::new();
    for name in PASSED {
        if let Some(value) = from.get(&name) {
            if scrubber.is_in(value.as_bytes()) {
                return Err(Unfit::Leaked);
            }
            headers.insert(name, value.clone());
        }
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Keeps proxies on the way from holding events back.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    headers.insert(unbuffered, HeaderValue::from_static("no"));
    Ok((status, headers))
}
