//! Reading the description of an upstream.

use std::collections::BTreeSet;

use aims_authority::HttpMethod;

use super::{
    ANSWER_BYTES_MAX, Bounds, CA_LEN_MAX, CredentialUse, ENDPOINTS_MAX, Endpoint, HEADERS_MAX,
    REQUEST_BYTES_MAX, RawBounds, RawCredentialUse, RawEndpoint, RawUpstreamSpec, SECONDS_MAX,
    SpecError, UpstreamSpec,
};

/// Longest name or value of a header.
const HEADER_LEN_MAX: usize = 256;
const ANSWER_BYTES_USUAL: u64 = 16 << 20;
const SECONDS_USUAL: u32 = 300;
const AUTHORIZATION: &str = "authorization";
const BEARER: &str = "Bearer";
const CERTIFICATE_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const CERTIFICATE_END: &str = "-----END CERTIFICATE-----";
/// Headers that the gateway states itself, or that belong to one connection (RFC 9110 §7.6.1):
/// neither the credential nor a fixed header may take their place.
const RESERVED: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl TryFrom<RawUpstreamSpec> for UpstreamSpec {
    type Error = SpecError;

    fn try_from(raw: RawUpstreamSpec) -> Result<Self, SpecError> {
        let credential = credential(raw.credential)?;
        if raw.ca.as_deref().is_some_and(|pem| !is_certificates(pem)) {
            return Err(SpecError::Ca);
        }
        if raw.headers.len() > HEADERS_MAX {
            return Err(SpecError::Headers);
        }
        for (name, value) in &raw.headers {
            let printable = |b: u8| b == b' ' || b.is_ascii_graphic();
            let good = is_free_header(name)
                && *name != credential.header
                && !["authorization", "cookie"].contains(&name.as_str())
                && (1..=HEADER_LEN_MAX).contains(&value.len())
                && value.bytes().all(printable);
            if !good {
                return Err(SpecError::Header(plain(name)));
            }
        }
        if !(1..=ENDPOINTS_MAX).contains(&raw.endpoints.len()) {
            return Err(SpecError::Endpoints);
        }
        let endpoints = raw.endpoints.iter().map(endpoint);
        Ok(Self {
            origin: raw.url.parse()?,
            ca: raw.ca,
            private: raw.private,
            credential,
            headers: raw.headers,
            endpoints: endpoints.collect::<Result<_, _>>()?,
            bounds: bounds(raw.limits)?,
        })
    }
}

impl From<UpstreamSpec> for RawUpstreamSpec {
    fn from(spec: UpstreamSpec) -> Self {
        let endpoint = |one: Endpoint| RawEndpoint {
            methods: one.methods.iter().map(ToString::to_string).collect(),
            path: one.path.to_string(),
        };
        Self {
            url: spec.origin.to_string(),
            ca: spec.ca,
            private: spec.private,
            credential: RawCredentialUse {
                header: Some(spec.credential.header),
                scheme: spec.credential.scheme,
            },
            headers: spec.headers,
            endpoints: spec.endpoints.into_iter().map(endpoint).collect(),
            limits: RawBounds {
                request_bytes: Some(spec.bounds.request_bytes),
                answer_bytes: Some(spec.bounds.answer_bytes),
                seconds: Some(spec.bounds.seconds),
            },
        }
    }
}

/// By default `authorization: Bearer …`; another header has no scheme unless it is named.
fn credential(raw: RawCredentialUse) -> Result<CredentialUse, SpecError> {
    let usual = raw.header.is_none() && raw.scheme.is_none();
    let header = raw.header.unwrap_or_else(|| AUTHORIZATION.to_owned());
    if !is_free_header(&header) || header == "accept" {
        return Err(SpecError::CredentialHeader(plain(&header)));
    }
    let scheme = if usual {
        Some(BEARER.to_owned())
    } else {
        raw.scheme
    };
    if scheme.as_deref().is_some_and(|word| !is_token(word)) {
        return Err(SpecError::Scheme);
    }
    Ok(CredentialUse { header, scheme })
}

fn endpoint(raw: &RawEndpoint) -> Result<Endpoint, SpecError> {
    let wrong = |problem| SpecError::Endpoint {
        path: plain(&raw.path),
        problem,
    };
    let methods = raw.methods.iter().map(|method| method.parse());
    let methods: BTreeSet<HttpMethod> = methods.collect::<Result<_, _>>().map_err(wrong)?;
    if methods.is_empty() {
        return Err(SpecError::Endpoints);
    }
    let path = raw.path.parse().map_err(wrong)?;
    Ok(Endpoint { methods, path })
}

fn bounds(raw: RawBounds) -> Result<Bounds, SpecError> {
    fn within(name: &'static str, value: u64, max: u64) -> Result<u64, SpecError> {
        if (1..=max).contains(&value) {
            Ok(value)
        } else {
            Err(SpecError::Bound { name, max })
        }
    }
    let request = raw.request_bytes.unwrap_or(REQUEST_BYTES_MAX);
    let answer = raw.answer_bytes.unwrap_or(ANSWER_BYTES_USUAL);
    let seconds = raw.seconds.unwrap_or(SECONDS_USUAL);
    within("seconds", seconds.into(), SECONDS_MAX.into())?;
    Ok(Bounds {
        request_bytes: within("request_bytes", request, REQUEST_BYTES_MAX)?,
        answer_bytes: within("answer_bytes", answer, ANSWER_BYTES_MAX)?,
        seconds,
    })
}

/// A header's name in lower case that is not spoken for.
fn is_free_header(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=HEADER_LEN_MAX).contains(&name.len())
        && name.bytes().all(good)
        && !name.starts_with("proxy-")
        && !RESERVED.contains(&name)
}

/// A word of RFC 9110 §5.6.2, as far as schemes need it.
fn is_token(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(good)
}

/// Whether a text has the form of certificates in PEM (RFC 7468), and of nothing else: a private
/// key does not belong here. Whether they can be used is seen by who trusts in them.
fn is_certificates(pem: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"+/=\r\n".contains(&b);
    let mut rest = pem.trim();
    if rest.is_empty() || pem.len() > CA_LEN_MAX {
        return false;
    }
    while !rest.is_empty() {
        let block = rest.strip_prefix(CERTIFICATE_BEGIN);
        let Some((body, after)) = block.and_then(|block| block.split_once(CERTIFICATE_END)) else {
            return false;
        };
        if body.trim().is_empty() || !body.bytes().all(inside) {
            return false;
        }
        rest = after.trim_start();
    }
    true
}

/// A text of a caller, short enough to be repeated.
fn plain(text: &str) -> String {
    let plain = |c: char| {
        if crate::text::misleads(c) {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().take(64).map(plain).collect()
}
