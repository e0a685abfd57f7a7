//! A request as it arrives, read once into what is decided on and what goes out.

use aims_authority::{HttpMethod, is_http_path};
use aims_crypto::sha256;
use aims_json::{Limits, Object, Value};
use aims_types::{Digest, Name};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Uri};

/// Where upstreams are.
const PREFIX: &str = "/http/";
/// Longest path, in bytes.
const PATH_LEN_MAX: usize = 1024;
/// Longest query, in bytes.
const QUERY_LEN_MAX: usize = 4096;
/// Longest value of a header that goes on.
const HEADER_LEN_MAX: usize = 256;

/// Which upstream, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) upstream: Name,
    pub(super) path: String,
    pub(super) query: Option<String>,
}

/// A request that may be decided on.
pub(super) struct Asked {
    pub(super) target: Target,
    pub(super) method: HttpMethod,
    pub(super) accept: Option<HeaderValue>,
    pub(super) content_type: Option<HeaderValue>,
    /// Exactly what arrived.
    pub(super) body: Bytes,
    /// The body as one JSON object; empty without a body, `None` if it is something else.
    pub(super) members: Option<Object>,
}

/// Why a request can't be decided on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// The method is none that goes on.
    #[error("only DELETE, GET, HEAD, PATCH, POST and PUT go on")]
    Method,
    /// A header that goes on comes twice, or can't be one.
    #[error("the header `{0}` comes twice, is too long, or is not text")]
    Header(&'static str),
    /// A body where none belongs.
    #[error("a {0} request has no body")]
    Body(HttpMethod),
    /// The body is over the limit.
    #[error("the body has more than {0} bytes")]
    TooLong(u64),
    /// The body says that it is JSON and is not, or has two readings.
    #[error("the body is not acceptable JSON: {0}")]
    Json(String),
}

/// Whether a request is one to an upstream, well formed or not.
pub(crate) fn is_meant(uri: &Uri) -> bool {
    uri.path().starts_with(PREFIX)
}

impl Target {
    /// Reads the target, if it is spelled in the one way that everybody reads alike. `resource` is
    /// the only other origin that a request may name (RFC 9112 §3.2.2).
    pub(super) fn of(uri: &Uri, resource: &str) -> Option<Self> {
        if let Some(authority) = uri.authority() {
            let origin = format!("{}://{authority}", uri.scheme_str()?);
            if origin != resource {
                return None;
            }
        }
        let rest = uri.path().strip_prefix(PREFIX)?;
        let (name, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let query = uri.query();
        let good = path.len() <= PATH_LEN_MAX
            && is_http_path(path)
            && query.is_none_or(|query| {
                query.len() <= QUERY_LEN_MAX && query.bytes().all(|b| b.is_ascii_graphic())
            });
        good.then_some(Self {
            upstream: name.parse().ok()?,
            path: path.to_owned(),
            query: query.map(str::to_owned),
        })
    }

    /// Path and query as they go out, byte for byte.
    pub(super) fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The path of the gateway's own resource, without the query: what the proof names.
    pub(super) fn resource(&self, base: &str) -> String {
        let path = if self.path == "/" { "" } else { &self.path };
        format!("{base}{PREFIX}{}{path}", self.upstream)
    }
}

impl Asked {
    /// Reads a request whose body may have so many bytes.
    pub(super) fn read(
        target: Target,
        request: Request<Bytes>,
        bytes_max: u64,
    ) -> Result<Self, Malformed> {
        let (head, body) = request.into_parts();
        let method: HttpMethod = head
            .method
            .as_str()
            .parse()
            .map_err(|_| Malformed::Method)?;
        if u64::try_from(body.len()).unwrap_or(u64::MAX) > bytes_max {
            return Err(Malformed::TooLong(bytes_max));
        }
        // RFC 9110 §9.3.1: it has no meaning, and some servers take it for the next request.
        if !body.is_empty() && matches!(method, HttpMethod::Get | HttpMethod::Head) {
            return Err(Malformed::Body(method));
        }
        let content_type = single(&head.headers, &CONTENT_TYPE, "content-type")?;
        let members = members(content_type.as_ref(), &body)?;
        Ok(Self {
            target,
            method,
            accept: single(&head.headers, &ACCEPT, "accept")?,
            content_type,
            body,
            members,
        })
    }

    /// Digest of the whole request: method, path and query, and body.
    pub(super) fn digest(&self) -> Digest {
        let line = format!("{} {}\n", self.method, self.target.path_and_query());
        sha256(&[line.as_bytes(), &self.body].concat())
    }
}

/// The one value of a header, if there is one.
fn single(
    headers: &HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<HeaderValue>, Malformed> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let good = values.next().is_none() && value.len() <= HEADER_LEN_MAX && value.to_str().is_ok();
    if good {
        Ok(Some(value.clone()))
    } else {
        Err(Malformed::Header(shown))
    }
}

/// The body as constraints see it. What says that it is JSON has to be, in one reading.
fn members(content_type: Option<&HeaderValue>, body: &[u8]) -> Result<Option<Object>, Malformed> {
    if body.is_empty() {
        return Ok(Some(Object::new()));
    }
    if !content_type.is_some_and(is_json) {
        return Ok(None);
    }
    match aims_json::parse(body, &Limits::MESSAGE) {
        Ok(Value::Object(members)) => Ok(Some(members)),
        Ok(_) => Ok(None),
        Err(error) => Err(Malformed::Json(error.to_string())),
    }
}

/// `application/json`, at most with `charset=utf-8` (RFC 8259 §8.1).
fn is_json(value: &HeaderValue) -> bool {
    let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let (media_type, rest) = text.split_once(';').unwrap_or((&text, ""));
    let rest = rest.trim();
    media_type.trim() == "application/json"
        && (rest.is_empty() || rest == "charset=utf-8" || rest == "charset=\"utf-8\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://gateway.aims.test";

    fn target(uri: &str) -> Option<(String, String, Option<String>)> {
        let target = Target::of(&uri.parse().ok()?, BASE)?;
        Some((target.upstream.to_string(), target.path, target.query))
    }

    #[test]
    fn a_target_has_one_spelling() {
        let all = |path: &str, query: Option<&str>| {
            Some((
                "model".to_owned(),
                path.to_owned(),
                query.map(str::to_owned),
            ))
        };
        assert_eq!(target("/http/model/v1/chat"), all("/v1/chat", None));
        assert_eq!(target("/http/model"), all("/", None));
        assert_eq!(
            target("/http/model/v1?a=%2e&b"),
            all("/v1", Some("a=%2e&b"))
        );
        assert_eq!(
            target("https://gateway.aims.test/http/model/v1"),
            all("/v1", None)
        );
        for bad in [
            "/http/",
            "/http//v1",
            "/http/Model/v1",
            "/http/model/v1/",
            "/http/model//v1",
            "/http/model/../v1",
            "/http/model/v1/..",
            "/http/model/%2e%2e/v1",
            "/http/model/v1%2fx",
            "/http/model/v1;x",
            "/http/../model/v1",
            "https://evil.example/http/model/v1",
            "http://gateway.aims.test/http/model/v1",
            "https://gateway.aims.test:1/http/model/v1",
            "https://u@gateway.aims.test/http/model/v1",
            "/mcp/model/v1",
        ] {
            assert_eq!(target(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_one_json_object_has_members() {
        let read = |kind: &str, body: &str| {
            let kind = HeaderValue::from_str(kind).unwrap();
            members(Some(&kind), body.as_bytes())
        };
        for kind in ["application/json", "Application/JSON; charset=UTF-8"] {
            assert_eq!(read(kind, r#"{"a":1}"#).unwrap().unwrap().len(), 1);
        }
        assert_eq!(read("text/plain", "").unwrap(), Some(Object::new()));
        for (kind, body) in [
            ("text/plain", r#"{"a":1}"#),
            ("application/json; charset=utf-16", "{}"),
            ("application/jsonl", "{}"),
            ("application/json", "[]"),
        ] {
            assert_eq!(read(kind, body).unwrap(), None, "{kind} {body}");
        }
        for bad in [r#"{"a":1,"a":2}"#, "{", "{}{}", "{\"a\":1}\0"] {
            assert!(read("application/json", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_that_go_on_come_once_and_bodies_where_they_belong() {
        let target = || Target::of(&"/http/model/v1".parse().unwrap(), BASE).unwrap();
        let read = |build: http::request::Builder, body: &'static str| {
            Asked::read(target(), build.body(Bytes::from(body)).unwrap(), 8)
        };
        assert!(read(Request::post("/"), "x").is_ok());
        let twice = Request::post("/")
            .header("content-type", "a/b")
            .header("content-type", "a/c");
        assert_eq!(
            read(twice, "x").err(),
            Some(Malformed::Header("content-type"))
        );
        assert_eq!(
            read(Request::get("/"), "x").err(),
            Some(Malformed::Body(HttpMethod::Get))
        );
        assert_eq!(
            read(Request::post("/"), "123456789").err(),
            Some(Malformed::TooLong(8))
        );
        assert_eq!(
            read(Request::connect("/"), "").err(),
            Some(Malformed::Method)
        );
    }
}
