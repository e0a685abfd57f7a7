//! MCP messages from both sides, whole and in pieces, and the heads of HTTP requests around them.
#![no_main]

use aims_mcp::http::{Head, HttpMethod, SessionId, VersionHeader, body_kind};
use aims_mcp::initialize::ServerHello;
use aims_mcp::limits::{AGENT_MESSAGE, TOOL_MESSAGE};
use aims_mcp::modern::unspoken_version;
use aims_mcp::stdio::LineSplitter;
use aims_mcp::tools::ToolList;
use aims_mcp::{Message, Raw};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for limits in [&AGENT_MESSAGE, &TOOL_MESSAGE] {
        match Message::parse(bytes, limits) {
            Ok(Message::Request(request)) => {
                let _ = request.method();
                let _ = unspoken_version(&request, &VersionHeader::read(None));
            }
            Ok(Message::Response(response)) => {
                let _ = ServerHello::read(&response);
                let _ = ToolList::new().add_page(&response);
            }
            Ok(Message::Notification(notification)) => {
                let _ = notification.notice();
            }
            _ => {}
        }
    }
    if let Ok(raw) = Raw::parse(bytes, &AGENT_MESSAGE) {
        assert!(serde_json::from_slice::<serde_json::Value>(raw.as_bytes()).is_ok());
    }
    head(bytes);
    // However a stream is cut into pieces, its lines are the same.
    let (mut whole, mut pieces) = (LineSplitter::new(64), LineSplitter::new(64));
    let at_once: Vec<_> = whole.push(bytes).into_iter().map(Result::ok).collect();
    let one_by_one: Vec<_> = bytes
        .iter()
        .flat_map(|byte| pieces.push(&[*byte]))
        .map(Result::ok)
        .collect();
    assert_eq!(at_once, one_by_one);
});

/// Each line of the input is a value of one header.
fn head(bytes: &[u8]) {
    const NAMES: [&str; 7] = [
        "origin",
        "accept",
        "content-type",
        "content-encoding",
        "mcp-session-id",
        "mcp-protocol-version",
        "last-event-id",
    ];
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let values = |name: &'static str| {
        let which = NAMES.iter().position(|known| *known == name).unwrap_or(0);
        lines
            .iter()
            .skip(which)
            .step_by(NAMES.len())
            .copied()
            .collect()
    };
    for method in [HttpMethod::Post, HttpMethod::Get, HttpMethod::Delete] {
        if let Ok(head) = Head::read(method, values, &["https://page.example".to_owned()])
            && let Some(session) = head.session
        {
            assert_eq!(SessionId::new(session.as_str()).as_ref(), Some(&session));
        }
    }
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = body_kind(text);
    }
}
