//! Messages written around pieces that stay as they are.

use std::fmt::Write;
use std::ops::Range;

use aims_json::{Object, Value, write_string};

use crate::id::{ProgressToken, RequestId};
use crate::message::{Notification, Response};
use crate::raw::Raw;

/// A call of a tool, as the enforcement point sends it on.
#[derive(Debug, Clone)]
pub struct OutgoingToolCall<'a> {
    /// The enforcement point's own id of the request.
    pub id: RequestId,
    /// The tool's name.
    pub name: &'a str,
    /// The exact text of the arguments that were decided upon.
    pub arguments: Option<Raw<'a>>,
    /// The enforcement point's own token, if the agent wants to hear of progress.
    pub progress_token: Option<ProgressToken>,
    /// Further members of `_meta`, in this order. A `progressToken` among them is left out.
    pub meta: Vec<(&'a str, Raw<'a>)>,
}

/// An error to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// One of [`crate::code`].
    pub code: i64,
    /// What happened, in words.
    pub message: String,
    /// More, for programs.
    pub data: Option<Value>,
}

/// A request.
pub fn request(id: &RequestId, method: &str, params: Option<&Raw<'_>>) -> Vec<u8> {
    let mut text = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":");
    quote(&mut text, method);
    finish(text, params)
}

/// A notification.
pub fn notification(method: &str, params: Option<&Raw<'_>>) -> Vec<u8> {
    let mut text = "{\"jsonrpc\":\"2.0\",\"method\":".to_owned();
    quote(&mut text, method);
    finish(text, params)
}

/// `tools/call` toward a tool: our id and token, the agent's arguments byte for byte.
pub fn tools_call(call: &OutgoingToolCall<'_>) -> Vec<u8> {
    let mut params = "{\"name\":".to_owned();
    quote(&mut params, call.name);
    let mut params = params.into_bytes();
    if let Some(arguments) = &call.arguments {
        params.extend_from_slice(b",\"arguments\":");
        params.extend_from_slice(arguments.as_bytes());
    }
    let meta = meta_members(call);
    if !meta.is_empty() {
        params.extend_from_slice(b",\"_meta\":{");
        params.extend_from_slice(&meta);
        params.push(b'}');
    }
    params.push(b'}');
    request(&call.id, "tools/call", Some(&Raw::trusted(params.into())))
}

/// A response with a result.
pub fn result(id: &RequestId, result: &Raw<'_>) -> Vec<u8> {
    let mut bytes = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":").into_bytes();
    bytes.extend_from_slice(result.as_bytes());
    bytes.push(b'}');
    bytes
}

/// The result of `tools/call` with one text for the model. With `is_error` the model sees that
/// its call failed and may try otherwise (MCP 2025-11-25, Tools, "Error Handling").
pub fn tool_text(text: &str, is_error: bool, meta: Option<Object>) -> Raw<'static> {
    let item = Object::new().with("type", "text").with("text", text);
    let result = Object::new()
        .with("content", vec![item.into()])
        .with("isError", is_error);
    let result = match meta {
        Some(meta) => result.with("_meta", meta),
        None => result,
    };
    Raw::from(&Value::from(result))
}

/// A response with an error; `null` is the id where that of the request could not be read
/// (JSON-RPC 2.0 §5).
pub fn error(id: Option<&RequestId>, error: &ErrorAnswer) -> Vec<u8> {
    let members = Object::new()
        .with("code", error.code)
        .with("message", error.message.as_str());
    let members = match &error.data {
        Some(data) => members.with("data", data.clone()),
        None => members,
    };
    let answer = Object::new()
        .with("jsonrpc", "2.0")
        .with("id", id.map_or(Value::Null, RequestId::to_value))
        .with("error", members);
    answer.to_string().into_bytes()
}

/// The same response under another id; no other byte changes. An error without id gets one as
/// its first member.
pub fn with_id(response: &Response<'_>, id: &RequestId) -> Vec<u8> {
    if let Some(span) = response.id_span() {
        return splice(response.bytes(), &span, &id.to_string());
    }
    let bytes = response.bytes().trim_ascii_start();
    splice(bytes, &(1..1), &format!("\"id\":{id},"))
}

/// The same progress notification under another token; no other byte changes. `None` if it
/// carries no token.
pub fn with_progress_token(
    notification: &Notification<'_>,
    token: &ProgressToken,
) -> Option<Vec<u8>> {
    let span = notification.document.span(&["params", "progressToken"])?;
    Some(splice(notification.bytes(), &span, &token.to_string()))
}

/// `notifications/cancelled`, by the id under which the receiver knows the request.
pub fn cancelled(request_id: &RequestId, reason: Option<&str>) -> Vec<u8> {
    let params = Object::new().with("requestId", request_id.to_value());
    let params = match reason {
        Some(reason) => params.with("reason", reason),
        None => params,
    };
    notification(
        "notifications/cancelled",
        Some(&Raw::from(&Value::from(params))),
    )
}

/// `notifications/tools/list_changed`.
pub fn tools_list_changed() -> Vec<u8> {
    notification("notifications/tools/list_changed", None)
}

/// `notifications/initialized`.
pub fn initialized() -> Vec<u8> {
    notification("notifications/initialized", None)
}

/// `ping`, and with [`pong`] the answer to one.
pub fn ping(id: &RequestId) -> Vec<u8> {
    request(id, "ping", None)
}

/// The answer to `ping`: an empty result.
pub fn pong(id: &RequestId) -> Vec<u8> {
    result(id, &Raw::from(&Value::from(Object::new())))
}

/// `tools/list`, from the start or from a cursor on.
pub fn tools_list(id: &RequestId, cursor: Option<&str>) -> Vec<u8> {
    let params = cursor.map(|cursor| Value::from(Object::new().with("cursor", cursor)));
    request(id, "tools/list", params.as_ref().map(Raw::from).as_ref())
}

fn meta_members(call: &OutgoingToolCall<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(token) = &call.progress_token {
        out.extend_from_slice(format!("\"progressToken\":{token}").as_bytes());
    }
    for (name, raw) in call
        .meta
        .iter()
        .filter(|(name, _)| *name != "progressToken")
    {
        let mut key = if out.is_empty() {
            String::new()
        } else {
            ",".to_owned()
        };
        quote(&mut key, name);
        key.push(':');
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(raw.as_bytes());
    }
    out
}

fn finish(text: String, params: Option<&Raw<'_>>) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    if let Some(params) = params {
        bytes.extend_from_slice(b",\"params\":");
        bytes.extend_from_slice(params.as_bytes());
    }
    bytes.push(b'}');
    bytes
}

/// `bytes` with `range`, which lies within it, replaced.
fn splice(bytes: &[u8], range: &Range<usize>, replacement: &str) -> Vec<u8> {
    let (before, after) = (bytes.get(..range.start), bytes.get(range.end..));
    [
        before.unwrap_or_default(),
        replacement.as_bytes(),
        after.unwrap_or_default(),
    ]
    .concat()
}

fn quote(out: &mut impl Write, text: &str) {
    // INVARIANT: writing to a `String` cannot fail.
    let _ = write_string(out, text);
}
