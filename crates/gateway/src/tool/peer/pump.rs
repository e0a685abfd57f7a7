//! Carrying lines between the conversation and the child's standard streams.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use aims_mcp::limits;
use aims_mcp::stdio::LineSplitter;
use aims_types::Clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Line, PeerFault, Shared};

/// Bytes read at once.
const READ_LEN: usize = 64 << 10;
/// Most bytes of a tool's log that are kept in ours, for one line.
const LOG_LINE_LEN_MAX: usize = 1024;

/// Shortest value of the environment that is hidden.
const HIDDEN_LEN_MIN: usize = 6;

pub(super) async fn read(
    shared: Arc<Shared>,
    mut stdout: Box<dyn AsyncRead + Send + Unpin>,
    clock: Arc<dyn Clock>,
) {
    let mut splitter = LineSplitter::new(limits::TOOL_MESSAGE.bytes);
    let mut buffer = vec![0; READ_LEN];
    let fault = 'conversation: loop {
        let read = tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            read = stdout.read(&mut buffer) => read,
        };
        let Ok(count @ 1..) = read else {
            break PeerFault::Ended;
        };
        for line in splitter.push(buffer.get(..count).unwrap_or_default()) {
            let taken = match line {
                Ok(line) => shared.take(&line, clock.as_ref()),
                Err(_) => Err(PeerFault::Flood("bytes in one line")),
            };
            if let Err(fault) = taken {
                break 'conversation fault;
            }
        }
    };
    shared.fail(fault);
}

pub(super) async fn write(
    shared: Arc<Shared>,
    mut stdin: Box<dyn AsyncWrite + Send + Unpin>,
    mut lines: mpsc::Receiver<Line>,
) {
    loop {
        let line = tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            line = lines.recv() => line,
        };
        let Some(Line { bytes, leave }) = line else {
            return;
        };
        let went = match leave.map(|(id, leave)| leave.ask().ok_or(id)).transpose() {
            Ok(went) => went,
            Err(id) => {
                shared.withhold(id);
                continue;
            }
        };
        let written = tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            written = write_line(&mut stdin, &bytes, went.as_deref()) => written,
        };
        if written.is_err() {
            shared.fail(PeerFault::Deaf);
            return;
        }
    }
}

/// Writes a line, and calls `went` in the same breath as each piece of it was written.
async fn write_line(
    stdin: &mut (dyn AsyncWrite + Send + Unpin),
    mut bytes: &[u8],
    went: Option<&(dyn Fn() + Send + Sync)>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| {
            let written = Pin::new(&mut *stdin).poll_write(cx, bytes);
            if let (Poll::Ready(Ok(1..)), Some(went)) = (&written, went) {
                went();
            }
            written
        });
        let count = written.await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(count..).unwrap_or_default();
    }
    stdin.flush().await
}

/// A tool's log goes to ours at the level `debug`, shortened, without the values of the tool's
/// environment, and never to an agent.
pub(super) async fn log(
    stopped: CancellationToken,
    mut stderr: Box<dyn AsyncRead + Send + Unpin>,
    hidden: Vec<String>,
) {
    let mut splitter = LineSplitter::new(LOG_LINE_LEN_MAX);
    let mut buffer = vec![0; READ_LEN];
    loop {
        let read = tokio::select! {
            biased;
            () = stopped.cancelled() => return,
            read = stderr.read(&mut buffer) => read,
        };
        let Ok(count @ 1..) = read else { return };
        for line in splitter
            .push(buffer.get(..count).unwrap_or_default())
            .into_iter()
            .flatten()
        {
            tracing::debug!(tool_log = %printable(&line, &hidden));
        }
    }
}

/// A line of a tool's log, without what is hidden and what could move a terminal's cursor.
fn printable(line: &[u8], hidden: &[String]) -> String {
    let mut text = String::from_utf8_lossy(line).into_owned();
    // Short values are words like `1` or `en`; hiding them would hide everything.
    for value in hidden.iter().filter(|value| value.len() >= HIDDEN_LEN_MIN) {
        text = text.replace(value.as_str(), "[redacted]");
    }
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_environment_do_not_reach_our_log() {
        let hidden = ["hunter2hunter2".to_owned(), "1".to_owned()];
        let line = b"token=hunter2hunter2 \x1b[2J 1";
        assert_eq!(printable(line, &hidden), "token=[redacted] \\u{1b}[2J 1");
    }
}
