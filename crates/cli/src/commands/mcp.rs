//! `aims mcp connect`: the stdio bridge, for MCP clients that start a command.
//!
//! Runs inside the walls and holds nothing: it carries lines to the door's Unix socket and answers
//! back. It needs no environment variable.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{HeaderName, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use crate::args::McpCommand;

/// Longest line from the client, in bytes.
const LINE_LEN_MAX: u64 = 1 << 20;
/// Longest event from the tool server, in bytes.
const EVENT_LEN_MAX: usize = 16 << 20;
/// Most characters of what the door says about a refusal.
const WHY_LEN_MAX: usize = 500;
static SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
static VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// One client's connection to one tool server.
struct Bridge {
    path: String,
    state: Mutex<State>,
    out: Mutex<tokio::io::Stdout>,
}

#[derive(Default)]
struct State {
    session: Option<String>,
    version: Option<String>,
}

pub(super) async fn run(command: McpCommand) -> Result<()> {
    let McpCommand::Connect { server } = command;
    let server: aims_types::Name = server.parse()?;
    let bridge = Arc::new(Bridge {
        path: format!("/mcp/{server}"),
        state: Mutex::default(),
        out: Mutex::new(tokio::io::stdout()),
    });
    let calls = TaskTracker::new();
    let mut lines = BufReader::new(tokio::io::stdin());
    loop {
        let mut line = Vec::new();
        let read = (&mut lines)
            .take(LINE_LEN_MAX + 1)
            .read_until(b'\n', &mut line)
            .await?;
        if read == 0 {
            break;
        }
        if u64::try_from(line.len()).unwrap_or(u64::MAX) > LINE_LEN_MAX {
            bail!("a message is longer than {LINE_LEN_MAX} bytes");
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let bridge = Arc::clone(&bridge);
        calls.spawn(async move { bridge.carry(line).await });
    }
    calls.close();
    calls.wait().await;
    bridge.end().await
}

impl Bridge {
    /// Carries one message to the door and its answers back; a failure is answered in its place.
    async fn carry(&self, line: Vec<u8>) {
        let message = Bytes::from(line);
        if let Err(error) = self.try_carry(message.clone()).await {
            let asked: Option<serde_json::Value> = serde_json::from_slice(&message).ok();
            let id = asked.and_then(|asked| asked.get("id").cloned());
            let Some(id) = id else { return };
            let answer = serde_json::json!({
                "jsonrpc": "2.0",
                "id": id,
                "error": {"code": -32_603, "message": format!("{error:#}")},
            });
            // Standard output is gone: so is whoever would read of it.
            drop(self.print(answer.to_string().as_bytes()).await);
        }
    }

    async fn try_carry(&self, message: Bytes) -> Result<()> {
        let response = self.send(Method::POST, message).await?;
        if let Some(session) = response.headers().get(&SESSION) {
            self.state.lock().await.session = Some(session.to_str()?.to_owned());
        }
        let kind = response
            .headers()
            .get(CONTENT_TYPE)
            .map(|kind| kind.as_bytes().to_vec());
        let status = response.status();
        let body = response.into_body();
        match kind.as_deref() {
            Some(b"text/event-stream") => self.events(body).await,
            Some(kind) if kind.starts_with(b"application/json") => {
                self.message(&whole(body).await?).await
            }
            _ if status.is_success() => Ok(()),
            _ => bail!("the door answered {status} {}", why(&whole(body).await?)),
        }
    }

    /// Prints each event's data as a line (HTML Living Standard, "server-sent events").
    async fn events(&self, mut body: Incoming) -> Result<()> {
        let (mut pending, mut data) = (Vec::new(), Vec::new());
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame?.into_data() else {
                continue;
            };
            for byte in bytes {
                if byte != b'\n' {
                    pending.push(byte);
                    anyhow::ensure!(pending.len() + data.len() <= EVENT_LEN_MAX, "too long");
                    continue;
                }
                let line = std::mem::take(&mut pending);
                let line = line.strip_suffix(b"\r").unwrap_or(&line);
                if line.is_empty() {
                    let event = std::mem::take(&mut data);
                    if !event.is_empty() {
                        self.message(&event).await?;
                    }
                } else if let Some(rest) = line.strip_prefix(b"data:") {
                    data.extend_from_slice(rest.strip_prefix(b" ").unwrap_or(rest));
                }
            }
        }
        Ok(())
    }

    async fn message(&self, message: &[u8]) -> Result<()> {
        let read: Option<serde_json::Value> = serde_json::from_slice(message).ok();
        let version = read
            .as_ref()
            .and_then(|read| read.pointer("/result/protocolVersion"))
            .and_then(serde_json::Value::as_str);
        if let Some(version) = version {
            self.state.lock().await.version = Some(version.to_owned());
        }
        self.print(message).await
    }

    async fn print(&self, message: &[u8]) -> Result<()> {
        let mut out = self.out.lock().await;
        out.write_all(message).await?;
        out.write_all(b"\n").await?;
        Ok(out.flush().await?)
    }

    async fn send(&self, method: Method, body: Bytes) -> Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(&self.path)
            .header(HOST, "door")
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        let state = self.state.lock().await;
        if let Some(session) = &state.session {
            request = request.header(&SESSION, session);
        }
        if let Some(version) = &state.version {
            request = request.header(&VERSION, version);
        }
        drop(state);
        let stream = UnixStream::connect(aims_node::DOOR_SOCKET)
            .await
            .context("there is no door here; the bridge works inside `aims run`")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connections = TaskTracker::new();
        connections.spawn(connection);
        Ok(sender.send_request(request.body(Full::new(body))?).await?)
    }

    async fn end(&self) -> Result<()> {
        if self.state.lock().await.session.is_some() {
            self.send(Method::DELETE, Bytes::new()).await?;
        }
        Ok(())
    }
}

/// A body that is one answer.
async fn whole(body: Incoming) -> Result<Bytes> {
    let body = Limited::new(body, EVENT_LEN_MAX).collect().await;
    Ok(body.map_err(|error| anyhow!(error))?.to_bytes())
}

/// Why the door refused: the detail of a problem (RFC 9457 §3.1.4), or the first line of a text.
fn why(body: &[u8]) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let detail = problem
        .as_ref()
        .and_then(|problem| problem.get("detail"))
        .and_then(serde_json::Value::as_str);
    let text = String::from_utf8_lossy(body);
    let words = detail.unwrap_or_else(|| text.lines().next().unwrap_or_default());
    words.chars().take(WHY_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_in_a_line() {
        for (body, said) in [
            (
                r#"{"code":"task_ended","detail":"the task has ended"}"#,
                "the task has ended",
            ),
            (
                "the gateway did not answer; try again\nmore",
                "the gateway did not answer; try again",
            ),
            ("[1]", "[1]"),
            ("", ""),
        ] {
            assert_eq!(why(body.as_bytes()), said);
        }
        assert_eq!(why(&[b'a'; 9_000]).len(), WHY_LEN_MAX);
    }
}
