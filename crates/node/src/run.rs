//! The local protocol between `aims run` and the node: one launch per connection.
//!
//! The command sends one request (length, JSON) together with three pipe ends as the program's
//! standard input, output and error; the node answers with JSON lines. When the command goes away,
//! the instance is ended.

use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use aims_types::{Id, Instance, Secret};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, Interest};

/// Longest request, in bytes.
pub const REQUEST_LEN_MAX: usize = 1 << 20;
/// Longest event line, in bytes.
const EVENT_LEN_MAX: u64 = 1 << 20;

/// What `aims run` asks for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The single-use ticket that the server gave to the person.
    ticket: String,
    /// The program and its arguments as the person wrote them.
    pub argv: Vec<String>,
    /// The directory that relative paths start from.
    pub cwd: String,
}

/// What the node says of a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event", deny_unknown_fields)]
pub enum RunEvent {
    /// The program runs as this instance.
    Started {
        /// The instance.
        instance: Id<Instance>,
    },
    /// Nothing was issued and nothing runs.
    Refused {
        /// Stable code.
        code: String,
        /// What happened, why, what next.
        reason: String,
        /// What was expected and what was seen.
        gaps: Vec<aims_model::EvidenceGap>,
    },
    /// The program ended, and its credentials with it.
    Ended {
        /// The exit code as a shell would say it: 128 + n for signal n.
        code: i32,
    },
}

impl RunRequest {
    /// A launch of `argv` with this ticket.
    pub fn new(ticket: &Secret<String>, argv: Vec<String>, cwd: String) -> Self {
        Self {
            ticket: ticket.expose().clone(),
            argv,
            cwd,
        }
    }

    /// The ticket, taken into custody.
    pub(crate) fn ticket(&self) -> Secret<String> {
        Secret::new(self.ticket.clone())
    }
}

/// The command's side: sends the request with the program's standard streams.
pub fn send(
    stream: &UnixStream,
    request: &RunRequest,
    stdio: [BorrowedFd<'_>; 3],
) -> io::Result<()> {
    let body = serde_json::to_vec(request)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= REQUEST_LEN_MAX)
        .ok_or_else(|| io::Error::other("the arguments are too long"))?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&stdio)) {
        return Err(io::Error::other("three descriptors do not fit a message"));
    }
    // The descriptors travel with the length; a stream may then be written in any pieces.
    let head = length.to_be_bytes();
    let sent = sendmsg(
        stream,
        &[IoSlice::new(&head)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    if sent != head.len() {
        return Err(io::Error::other("the request was cut short"));
    }
    io::Write::write_all(&mut &*stream, &body)
}

/// The command's side: the node's events, one at a time, until it closes the connection.
pub fn events(stream: UnixStream) -> impl Iterator<Item = io::Result<RunEvent>> {
    let mut reader = BufReader::new(stream.take(u64::MAX));
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        match (&mut reader)
            .take(EVENT_LEN_MAX)
            .read_until(b'\n', &mut line)
        {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_slice(&line).map_err(io::Error::from)),
            Err(error) => Some(Err(error)),
        }
    })
}

/// The node's side: the request and the three pipe ends that came with it. The caller bounds how
/// long it may take.
pub(crate) async fn receive(
    stream: &mut tokio::net::UnixStream,
) -> io::Result<(RunRequest, [OwnedFd; 3])> {
    let (head, fds) = stream
        .async_io(Interest::READABLE, || receive_head(stream.as_fd()))
        .await?;
    for fd in &fds {
        expect_pipe(fd.as_fd())?;
    }
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > REQUEST_LEN_MAX {
        return Err(io::Error::other("the request is too long"));
    }
    let mut body = Vec::new();
    let read = stream
        .take(u64::try_from(length).unwrap_or_default())
        .read_to_end(&mut body)
        .await?;
    if read != length {
        return Err(io::Error::other("the request was cut short"));
    }
    Ok((serde_json::from_slice(&body)?, fds))
}

/// The length and the descriptors, which one message carries.
fn receive_head(stream: BorrowedFd<'_>) -> io::Result<([u8; 4], [OwnedFd; 3])> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut head = [0_u8; 4];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut head)],
        &mut control,
        flags,
    )?;
    if message.bytes != head.len() {
        return Err(io::Error::other("the request was cut short"));
    }
    let fds: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    let fds = fds
        .try_into()
        .map_err(|_| io::Error::other("a launch comes with exactly three descriptors"))?;
    Ok((head, fds))
}

/// Only pipes go into the walls: a terminal, a socket or a file of the host would be a way out.
fn expect_pipe(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mode = rustix::fs::fstat(fd)?.st_mode;
    if rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::Fifo {
        return Ok(());
    }
    Err(io::Error::other(
        "standard streams of an instance are pipes",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RunRequest {
        let ticket = Secret::new("aims_rt_x".to_owned());
        RunRequest::new(&ticket, vec!["/bin/true".to_owned()], "/".to_owned())
    }

    fn taken(stream: UnixStream) -> tokio::net::UnixStream {
        stream.set_nonblocking(true).unwrap();
        tokio::net::UnixStream::from_std(stream).unwrap()
    }

    #[tokio::test]
    async fn a_request_arrives_with_its_three_pipes() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(
            &ours,
            &request(),
            [read.as_fd(), write.as_fd(), write.as_fd()],
        )
        .unwrap();
        let (got, fds) = receive(&mut taken(theirs)).await.unwrap();
        assert_eq!(got.argv, ["/bin/true"]);
        assert_eq!(got.ticket().expose(), "aims_rt_x");
        assert_eq!(fds.len(), 3);
    }

    #[tokio::test]
    async fn a_descriptor_that_is_no_pipe_is_refused() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(
            &ours,
            &request(),
            [read.as_fd(), write.as_fd(), ours.as_fd()],
        )
        .unwrap();
        assert!(receive(&mut taken(theirs)).await.is_err());
    }

    #[tokio::test]
    async fn a_request_without_descriptors_is_refused() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        io::Write::write_all(&mut &ours, &[0, 0, 0, 2, b'{', b'}']).unwrap();
        assert!(receive(&mut taken(theirs)).await.is_err());
    }

    #[tokio::test]
    async fn an_announced_length_that_never_comes_is_refused() {
        for (length, sent) in [(u32::MAX, ""), (1 << 21, ""), (100, "{"), (2, "{}")] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (read, write) = rustix::pipe::pipe().unwrap();
            let stdio = [read.as_fd(), write.as_fd(), write.as_fd()];
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&stdio)));
            let head = length.to_be_bytes();
            sendmsg(
                &ours,
                &[IoSlice::new(&head)],
                &mut control,
                SendFlags::empty(),
            )
            .unwrap();
            io::Write::write_all(&mut &ours, sent.as_bytes()).unwrap();
            drop(ours);
            let received = receive(&mut taken(theirs)).await;
            assert!(received.is_err(), "{length}");
        }
    }
}
