//! The request as it goes out: made anew, with nothing of the agent's that is not named here.

use aims_model::UpstreamSpec;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    InvalidHeaderName, InvalidHeaderValue, USER_AGENT,
};
use http::{HeaderMap, Request, Version};
use http_body_util::Full;
use zeroize::Zeroizing;

use super::credentials::Credential;
use super::request::Asked;

/// Who asks.
const AGENT: &str = concat!("aims-gateway/", env!("CARGO_PKG_VERSION"));

/// Why no request could be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum MakeFault {
    #[error("a header of the registration has no name")]
    Name(#[from] InvalidHeaderName),
    #[error("a header of the registration has no value")]
    Value(#[from] InvalidHeaderValue),
    #[error("the request could not be made")]
    Request(#[from] http::Error),
}

/// Makes the request: method, path, query and body as they were decided on; whom it is for, two
/// headers of the agent, what the registration adds; the credential last.
pub(super) fn outgoing(
    asked: &Asked,
    spec: &UpstreamSpec,
    credential: &Credential,
) -> Result<Request<Full<bytes::Bytes>>, MakeFault> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_str(&spec.origin().authority())?);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    // What is encoded can't be looked through.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let any = || HeaderValue::from_static("*/*");
    headers.insert(ACCEPT, asked.accept.clone().unwrap_or_else(any));
    if let Some(kind) = &asked.content_type
        && !asked.body.is_empty()
    {
        headers.insert(CONTENT_TYPE, kind.clone());
    }
    for (name, value) in spec.headers() {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        headers.insert(name, HeaderValue::from_str(value)?);
    }
    let (name, value) = injected(spec, credential)?;
    headers.insert(name, value);
    let mut request = Request::builder()
        .version(Version::HTTP_11)
        .method(asked.method.as_str())
        .uri(asked.target.path_and_query())
        .body(Full::new(asked.body.clone()))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The header with the credential.
fn injected(
    spec: &UpstreamSpec,
    credential: &Credential,
) -> Result<(HeaderName, HeaderValue), MakeFault> {
    let into = spec.credential();
    let name = HeaderName::from_bytes(into.header().as_bytes())?;
    let scheme = into.scheme().map(|scheme| format!("{scheme} "));
    let text = [scheme.unwrap_or_default().as_bytes(), credential.expose()].concat();
    let mut value = HeaderValue::from_bytes(&Zeroizing::new(text))?;
    value.set_sensitive(true);
    Ok((name, value))
}
