//! Server-sent events that carry messages.

/// An event with a message.
///
/// The event's name is written out, as some clients drop events without one. A message that
/// stands on several lines becomes several `data` lines, which the receiver joins again (HTML,
/// "Server-sent events", "Interpreting an event stream"); in JSON that passed the strict parser a
/// line break is white space between tokens. `id` is left out if it holds a line break or NUL.
pub fn event(id: Option<&str>, message: &[u8]) -> Vec<u8> {
    let mut out = b"event: message\n".to_vec();
    id_line(&mut out, id);
    for line in message.split(|b| matches!(b, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
    out
}

/// The first event of a stream that can be taken up again: an id and empty data (MCP 2025-11-25,
/// Transports, "Sending Messages to the Server"). Clients before 2025-11-25 may choke on it.
pub fn priming(id: &str, retry_millis: Option<u32>) -> Vec<u8> {
    let mut out = Vec::new();
    id_line(&mut out, Some(id));
    if let Some(millis) = retry_millis {
        out.extend_from_slice(format!("retry: {millis}\n").as_bytes());
    }
    out.extend_from_slice(b"data: \n\n");
    out
}

/// A comment, which keeps the connection from being taken for idle.
pub const fn keep_alive() -> &'static [u8] {
    b": keep-alive\n\n"
}

fn id_line(out: &mut Vec<u8>, id: Option<&str>) {
    if let Some(id) = id.filter(|id| !id.contains(['\n', '\r', '\0'])) {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
}
