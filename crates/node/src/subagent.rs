//! Sub-agents: an instance hands a narrower piece of its authority to another agent through its
//! door, and the node starts that agent as an instance of its own.

use std::io::pipe;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use aims_links::{Body, DelegateCall, LinkError};
use aims_types::{Delegation, Id};
use aims_walls::Stdio3;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::{mpsc, oneshot};

use crate::delegation::{Ask, OUTPUT_LEN_MAX, Output, Told};
use crate::door::{Door, Problem};
use crate::node::{Node, busy};
use crate::starting::{Launch, LaunchError, Live, internal};

/// Events that wait for a reader; a sub-agent whose output nobody reads waits too.
const EVENTS_WAITING_MAX: usize = 16;

/// Our ends of a sub-agent's standard streams.
struct Streams {
    stdin: Sender,
    stdout: Receiver,
    stderr: Receiver,
}

impl Door {
    /// Delegates, starts the sub-agent, and answers with what becomes of it, line by line. It ends
    /// when nobody reads the answer any more, and with the instance that asked.
    ///
    /// In a task of its own: the connection ends with the instance that asked, and what was being
    /// started then is still entered among what runs, ended, and reported.
    pub(crate) async fn delegate(self: &Arc<Self>, body: &[u8]) -> Result<Response<Body>, Problem> {
        let ask = Ask::parse(body).map_err(|error| Problem::Delegation(error.to_string()))?;
        let place = Arc::clone(&self.subagents)
            .try_acquire_owned()
            .map_err(|_| Problem::Refused(busy("sub-agents of this instance run already")))?;
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let (begun, begins) = oneshot::channel();
        let door = Arc::clone(self);
        self.tasks.spawn(async move {
            let _place = place;
            match door.subagent(ask).await {
                Ok((live, streams, delegation)) => {
                    drop(begun.send(Ok(())));
                    tell(&door.node, live, streams, (sender, delegation)).await;
                }
                Err(problem) => drop(begun.send(Err(problem))),
            }
        });
        begins.await.unwrap_or(Err(Problem::Broken))?;
        let lines = unfold(receiver, |mut receiver| async move {
            let event: Bytes = receiver.recv().await?;
            Some((Ok::<_, LinkError>(Frame::data(event)), receiver))
        });
        let mut response = Response::new(StreamBody::new(lines).boxed_unsync());
        *response.status_mut() = StatusCode::CREATED;
        let kind = HeaderValue::from_static("application/x-ndjson");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        Ok(response)
    }

    async fn subagent(
        &self,
        ask: Ask,
    ) -> Result<(Live, (Streams, String), Id<Delegation>), Problem> {
        let node = &self.node;
        node.lease.check().map_err(LaunchError::from)?;
        let admission = node.admissions.admit(self.caller);
        let _admission =
            admission.ok_or_else(|| Problem::Refused(busy("launches are under way")))?;
        let (request, wit) = self.credentials.delegation(&ask).await?;
        let call = DelegateCall {
            node: node.config.id,
            instance: self.credentials.instance(),
            request,
            wit,
        };
        let order = node.control.delegate(call).await?;
        let order = order.map_err(LaunchError::from)?;
        let delegation = order.delegation;
        let (stdio, streams) = streams().map_err(internal)?;
        let launch = Launch {
            argv: ask.command,
            cwd: "/".to_owned(),
            stdio,
            caller: self.caller,
            parent: self.ended.clone(),
        };
        let live = node.start(order, launch).await?;
        Ok((live, (streams, ask.stdin), delegation))
    }
}

/// Passes on what the sub-agent writes until it ends, and says how it ended.
async fn tell(
    node: &Node,
    live: Live,
    (streams, stdin): (Streams, String),
    (sender, delegation): (mpsc::Sender<Bytes>, Id<Delegation>),
) {
    let started = Told::Started(live.instance(), delegation);
    // Whether anybody listens is looked at below.
    drop(sender.send(started.to_line()).await);
    let Streams {
        stdin: input,
        stdout,
        stderr,
    } = streams;
    let feed = async move {
        let mut input = input;
        // A program need not read what it is given.
        drop(input.write_all(stdin.as_bytes()).await);
    };
    let passed = async {
        tokio::join!(
            feed,
            pass(stdout, Output::Stdout, &sender),
            pass(stderr, Output::Stderr, &sender)
        );
    };
    let (code, ()) = tokio::join!(node.watch(live, sender.closed()), passed);
    drop(sender.send(Told::Exited(code).to_line()).await);
}

async fn pass(mut from: impl AsyncRead + Unpin, output: Output, sender: &mpsc::Sender<Bytes>) {
    let mut buffer = vec![0; OUTPUT_LEN_MAX];
    let mut kept = 0;
    while let Some(room) = buffer.get_mut(kept..) {
        let Ok(read) = from.read(room).await else {
            return;
        };
        let whole = buffer.get(..kept + read).unwrap_or_default();
        // A character that is cut in two waits for its rest, unless there is none.
        let cut = if read == 0 { 0 } else { incomplete(whole) };
        let (text, rest) = whole
            .split_at_checked(whole.len() - cut)
            .unwrap_or((whole, &[]));
        let (line, rest) = (Told::Output(output, text.to_vec()).to_line(), rest.to_vec());
        if !text.is_empty() && sender.send(line).await.is_err() {
            return;
        }
        if read == 0 {
            return;
        }
        kept = rest.len();
        if let Some(front) = buffer.get_mut(..kept) {
            front.copy_from_slice(&rest);
        }
    }
}

/// How many bytes at the end are the beginning of a character.
fn incomplete(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        // What is broken in the middle is shown as such; the end of it is looked at alone.
        Err(error) => {
            let after = error.valid_up_to() + error.error_len().unwrap_or(1);
            bytes.get(after..).map_or(0, incomplete)
        }
        Ok(_) => 0,
    }
}

fn streams() -> std::io::Result<(Stdio3, Streams)> {
    let ((stdin, input), (output, stdout), (errors, stderr)) = (pipe()?, pipe()?, pipe()?);
    let ours = Streams {
        stdin: Sender::from_owned_fd(OwnedFd::from(input))?,
        stdout: Receiver::from_owned_fd(OwnedFd::from(output))?,
        stderr: Receiver::from_owned_fd(OwnedFd::from(errors))?,
    };
    let theirs = Stdio3 {
        stdin: stdin.into(),
        stdout: stdout.into(),
        stderr: stderr.into(),
    };
    Ok((theirs, ours))
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test]
    async fn a_character_that_is_read_in_two_pieces_stays_whole() {
        let (sender, mut receiver) = mpsc::channel(8);
        let (mut from, to) = tokio::io::duplex(64);
        let passing = TaskTracker::new();
        let passing = passing.spawn(async move { pass(to, Output::Stdout, &sender).await });
        for piece in [&b"a\xc3"[..], b"\xa4\xff", b"\xe2\x82"] {
            from.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(from);
        passing.await.unwrap();
        let mut said = String::new();
        while let Some(line) = receiver.recv().await {
            let value = aims_json::parse(&line, &aims_json::Limits::MESSAGE).unwrap();
            said.push_str(value.get("text").and_then(|text| text.as_str()).unwrap());
        }
        assert_eq!(said, "aä\u{fffd}\u{fffd}");
    }
}
