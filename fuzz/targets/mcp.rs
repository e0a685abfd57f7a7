//! MCP messages from both sides, whole and in pieces.
#![no_main]

use aims_mcp::{AGENT_MESSAGE, LineSplitter, Message, TOOL_MESSAGE};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for limits in [&AGENT_MESSAGE, &TOOL_MESSAGE] {
        match Message::parse(bytes, limits) {
            Ok(Message::Request(request)) => {
                let _ = request.method();
            }
            Ok(Message::Notification(notification)) => {
                let _ = notification.notice();
            }
            _ => {}
        }
    }
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
