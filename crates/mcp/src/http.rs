//! What the HTTP side of the streamable transport has to check (MCP 2025-11-25, Transports,
//! "Streamable HTTP").

use std::fmt;

use crate::limits::SESSION_ID_LEN_MAX;
use crate::version::ProtocolVersion;

/// The media type of one message.
pub const JSON: &str = "application/json";
/// The media type of a stream of messages.
pub const EVENT_STREAM: &str = "text/event-stream";
/// Header of the session.
pub const SESSION_ID_HEADER: &str = "mcp-session-id";
/// Header of the protocol version.
pub const PROTOCOL_VERSION_HEADER: &str = "mcp-protocol-version";
/// Header of the last event that a client saw.
pub const LAST_EVENT_ID_HEADER: &str = "last-event-id";

/// The methods of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// Sends a message.
    Post,
    /// Opens the stream of messages from the server.
    Get,
    /// Ends the session.
    Delete,
}

/// The checked head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The session, if one is named.
    pub session: Option<SessionId>,
    /// The version header.
    pub version: VersionHeader,
    /// The last event seen, if one is named. Only checked to be visible ASCII.
    pub last_event_id: Option<String>,
}

/// The `Mcp-Session-Id`: visible ASCII (0x21 to 0x7E), bounded.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(String);

/// What the `MCP-Protocol-Version` header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionHeader {
    /// Nothing: [`ProtocolVersion::ASSUMED`], unless the session says otherwise.
    Absent,
    /// A revision spoken here.
    Known(ProtocolVersion),
    /// Another: to be answered with status 400 and [`crate::modern::unsupported_version`].
    Unknown(String),
}

/// Of which kind the body of a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// One message.
    Json,
    /// A stream of messages.
    EventStream,
}

/// A head that is refused before the body is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// A page of another origin is speaking (DNS rebinding).
    #[error("the origin `{origin}` is not allowed")]
    Origin {
        /// The origin, shortened.
        origin: String,
    },
    /// `Accept` does not list what the answer may be.
    #[error("`Accept` must list `{JSON}` (to send) and `{EVENT_STREAM}`")]
    NotAcceptable,
    /// The body is of another media type, or of none.
    #[error("`Content-Type` must be `{JSON}`")]
    MediaType,
    /// The body is compressed: what is decided upon would not be what was sent.
    #[error("`Content-Encoding` is not accepted: send the body as it is")]
    ContentEncoding,
    /// A header stands twice, so that two readers may read two values.
    #[error("the header `{name}` is given twice")]
    Twice {
        /// Which.
        name: &'static str,
    },
    /// A header holds what it cannot hold.
    #[error("the header `{name}` is malformed")]
    Malformed {
        /// Which.
        name: &'static str,
    },
}

impl HeadError {
    /// The status of the answer.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Origin { .. } => 403,
            Self::NotAcceptable => 406,
            Self::MediaType | Self::ContentEncoding => 415,
            Self::Twice { .. } | Self::Malformed { .. } => 400,
        }
    }
}

impl Head {
    /// Checks a head. `values` gives all values of a header, in their order, by its name in lower
    /// case; `origins` are the origins of pages that may speak to this endpoint, as browsers
    /// write them. A request without `Origin` comes from no page.
    pub fn read<'h>(
        method: HttpMethod,
        values: impl Fn(&'static str) -> Vec<&'h [u8]>,
        origins: &[String],
    ) -> Result<Self, HeadError> {
        let one = |name| only(name, &values(name));
        check_origin(one("origin")?, origins)?;
        if method != HttpMethod::Delete {
            check_accept(method, &values("accept"))?;
        }
        if method == HttpMethod::Post {
            let media_type = one("content-type")?.ok_or(HeadError::MediaType)?;
            if body_kind(media_type) != Some(BodyKind::Json) {
                return Err(HeadError::MediaType);
            }
            let encoding = one("content-encoding")?;
            if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
                return Err(HeadError::ContentEncoding);
            }
        }
        let malformed = HeadError::Malformed {
            name: SESSION_ID_HEADER,
        };
        let session = one(SESSION_ID_HEADER)?.map(|id| SessionId::new(id).ok_or(malformed));
        Ok(Self {
            session: session.transpose()?,
            version: VersionHeader::read(one(PROTOCOL_VERSION_HEADER)?),
            last_event_id: one(LAST_EVENT_ID_HEADER)?.map(str::to_owned),
        })
    }
}

impl SessionId {
    /// The session id with this text, if it can be one.
    pub fn new(text: &str) -> Option<Self> {
        let good = (1..=SESSION_ID_LEN_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic());
        good.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A session id lets its holder speak in the session; it is not printed.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

impl VersionHeader {
    /// Reads the header's value.
    pub fn read(value: Option<&str>) -> Self {
        match value {
            None => Self::Absent,
            Some(text) => match ProtocolVersion::known(text) {
                Some(version) => Self::Known(version),
                None => Self::Unknown(text.chars().take(64).collect()),
            },
        }
    }
}

/// The kind of a body by its `Content-Type`: exactly one of the two media types, in UTF-8.
/// `+json` types, lists and other character sets are none.
pub fn body_kind(content_type: &str) -> Option<BodyKind> {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or("");
    let utf8 = |parameter: &str| {
        parameter.split_once('=').is_some_and(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    };
    if !parts.all(utf8) {
        return None;
    }
    [
        (JSON, BodyKind::Json),
        (EVENT_STREAM, BodyKind::EventStream),
    ]
    .into_iter()
    .find_map(|(name, kind)| essence.eq_ignore_ascii_case(name).then_some(kind))
}

/// POST must accept both kinds of answer, GET a stream; ranges with `*` count, `q=0` does not.
fn check_accept(method: HttpMethod, values: &[&[u8]]) -> Result<(), HeadError> {
    let malformed = |_| HeadError::Malformed { name: "accept" };
    let mut json = method == HttpMethod::Get;
    let mut stream = false;
    for value in values {
        for item in std::str::from_utf8(value).map_err(malformed)?.split(',') {
            let mut parts = item.split(';').map(|part| part.trim().to_ascii_lowercase());
            let range = parts.next().unwrap_or_default();
            if parts.any(|part| is_zero_quality(&part)) {
                continue;
            }
            json |= matches!(range.as_str(), JSON | "application/*" | "*/*");
            stream |= matches!(range.as_str(), EVENT_STREAM | "text/*" | "*/*");
        }
    }
    if json && stream {
        Ok(())
    } else {
        Err(HeadError::NotAcceptable)
    }
}

/// `q=0`, `q=0.`, `q=0.000` (RFC 9110 §12.4.2).
fn is_zero_quality(parameter: &str) -> bool {
    let value = parameter
        .split_once('=')
        .filter(|(name, _)| name.trim() == "q");
    value.is_some_and(|(_, value)| {
        let value = value.trim();
        value.starts_with('0') && value.bytes().all(|b| matches!(b, b'0' | b'.'))
    })
}

/// MCP 2025-11-25, Transports, "Security Warning": a foreign `Origin` is answered with 403.
fn check_origin(origin: Option<&str>, allowed: &[String]) -> Result<(), HeadError> {
    match origin {
        None => Ok(()),
        Some(origin) if allowed.iter().any(|one| one == origin) => Ok(()),
        Some(origin) => Err(HeadError::Origin {
            origin: origin.chars().take(128).collect(),
        }),
    }
}

/// The one value of a header, of visible ASCII and spaces.
fn only<'h>(name: &'static str, values: &[&'h [u8]]) -> Result<Option<&'h str>, HeadError> {
    match values {
        [] => Ok(None),
        [value] => {
            let text = std::str::from_utf8(value).map_err(|_| HeadError::Malformed { name })?;
            let printable = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
            printable
                .then_some(Some(text))
                .ok_or(HeadError::Malformed { name })
        }
        _ => Err(HeadError::Twice { name }),
    }
}
