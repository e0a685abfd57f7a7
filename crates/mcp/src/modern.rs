//! The answer to clients of 2026-07-28, so that they fall back to `initialize`.
//!
//! That revision has no handshake: each request carries its version in `_meta`, and a client that
//! speaks several revisions first sends `server/discover`. An endpoint that does not speak the
//! version answers -32022 with the versions it does speak, over HTTP with status 400.
//!
//! What the common clients make of that answer:
//!
//! - Python `mcp` 2.3 (default mode `auto`; `client/_probe.py`): every JSON-RPC error falls back
//!   to `initialize`, but -32022 whose `data.supported` is non-empty and names only versions
//!   after the handshake. Over HTTP it reads the error from the body of any status from 400 on if
//!   the content type is `application/json`, whatever its `id` says; without such a body, the
//!   status itself becomes an error and it falls back too. A 202 and a redirect also become
//!   errors. Only a failing connection does not. Over stdio the same, after at most 10 seconds.
//! - TypeScript `@modelcontextprotocol/client` 2.4 (mode `auto`; the default is the handshake):
//!   falls back on every JSON-RPC error, but -32022 that names a modern version, and on every
//!   status from 400 on, but 401, 403 and 5xx, which end the connection attempt.

use aims_json::{Object, Value};

use crate::build::{ErrorAnswer, error};
use crate::code;
use crate::http::VersionHeader;
use crate::id::RequestId;
use crate::message::Request;
use crate::version::ProtocolVersion;

/// The first revision without handshake.
pub const MODERN_VERSION: &str = "2026-07-28";

/// Where a request of that revision carries its version, in `_meta`.
pub const META_PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// The status that goes with [`unsupported_version`] over HTTP.
pub const UNSUPPORTED_VERSION_STATUS: u16 = 400;

/// The version that a request asks for, if it is not spoken here; then [`unsupported_version`]
/// is the answer. `header` is [`VersionHeader::Absent`] over stdio.
///
/// `initialize` is never refused so: its version is negotiated.
pub fn unspoken_version(request: &Request<'_>, header: &VersionHeader) -> Option<String> {
    if request.method_name() == "initialize" {
        return None;
    }
    let meta = request.params().and_then(|params| params.get("_meta"));
    let claimed = meta
        .and_then(|meta| meta.get(META_PROTOCOL_VERSION))
        .map(|version| {
            version
                .as_str()
                .unwrap_or("(not a string)")
                .chars()
                .take(64)
                .collect::<String>()
        });
    let claimed = claimed.filter(|version| ProtocolVersion::known(version).is_none());
    match header {
        VersionHeader::Unknown(version) => Some(claimed.unwrap_or_else(|| version.clone())),
        _ if request.method_name() == "server/discover" => {
            Some(claimed.unwrap_or_else(|| MODERN_VERSION.to_owned()))
        }
        _ => claimed,
    }
}

/// The body of the answer: JSON-RPC error -32022 with `data.supported` and `data.requested`
/// (MCP 2026-07-28, `UnsupportedProtocolVersionError`).
pub fn unsupported_version(id: &RequestId, requested: &str) -> Vec<u8> {
    let supported = ProtocolVersion::ALL
        .iter()
        .map(|version| Value::from(version.as_str()));
    let data = Object::new()
        .with("supported", supported.collect::<Vec<Value>>())
        .with("requested", requested);
    let answer = ErrorAnswer {
        code: code::UNSUPPORTED_PROTOCOL_VERSION,
        message: "unsupported protocol version: start with `initialize`".to_owned(),
        data: Some(data.into()),
    };
    error(Some(id), &answer)
}
