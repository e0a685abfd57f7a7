//! The control socket between the parent, the launcher and PID 1.
//!
//! A stream of frames: four bytes of length, then JSON. Descriptors follow their frame as single
//! bytes that carry them, so that a plain read never swallows one.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use aims_types::Digest;

use crate::fault::Fault;
use crate::plan::Plan;
use crate::spawn::Exit;

/// Longest frame.
const FRAME_LEN_MAX: usize = 8 << 20;
/// Descriptors per message; the kernel allows 253.
const FDS_PER_MESSAGE: usize = 32;

/// From the parent to PID 1.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Build this; three descriptors of standard I/O and one per copy follow.
    Build(Box<Plan>),
    /// Start the program.
    Go,
}

/// From the launcher or PID 1 to the parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// PID 1 exists; its pidfd follows.
    Spawned,
    /// The walls stand; the two listeners follow if there is a door.
    Ready { copied: Vec<Digest> },
    /// The program runs.
    Started,
    /// The program ended.
    Exited(Exit),
    /// Something failed; nothing follows.
    Failed(Fault),
}

pub(crate) fn send(mut socket: &UnixStream, value: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(value)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= FRAME_LEN_MAX);
    let length = length.ok_or_else(|| io::Error::other("the plan is too long"))?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&body);
    socket.write_all(&frame)
}

/// The next frame, or `None` when the other side has ended.
pub(crate) fn receive<T: DeserializeOwned>(mut socket: &UnixStream) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if ended(&error) => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_LEN_MAX {
        return Err(io::Error::other("a control frame is too long"));
    }
    let mut body = vec![0; length];
    match socket.read_exact(&mut body) {
        Ok(()) => Ok(Some(serde_json::from_slice(&body)?)),
        Err(error) if ended(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn ended(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    )
}

pub(crate) fn send_fds(socket: &UnixStream, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    for group in fds.chunks(FDS_PER_MESSAGE) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_MESSAGE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(group)) {
            return Err(io::Error::other("descriptors do not fit a control message"));
        }
        rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(
                socket,
                &[IoSlice::new(&[0])],
                &mut control,
                SendFlags::NOSIGNAL,
            )
        })?;
    }
    Ok(())
}

/// Exactly `count` descriptors, each closed on exec.
pub(crate) fn receive_fds(socket: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut fds = Vec::with_capacity(count);
    while fds.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_MESSAGE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let received = rustix::io::retry_on_intr(|| {
            let mut slices = [IoSliceMut::new(&mut byte)];
            rustix::net::recvmsg(
                socket.as_fd(),
                &mut slices,
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?;
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = fds.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if fds.len() == before {
            return Err(io::Error::other("a control message carries no descriptor"));
        }
    }
    if fds.len() == count {
        Ok(fds)
    } else {
        Err(io::Error::other("too many descriptors"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn frames_and_descriptors_arrive_in_order() {
        let (one, other) = UnixStream::pair().unwrap();
        let files: Vec<File> = (0..70).map(|_| File::open("/dev/null").unwrap()).collect();
        let fds: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        send(&one, &Report::Started).unwrap();
        send_fds(&one, &fds).unwrap();
        send(&one, &Report::Exited(Exit::Code(3))).unwrap();
        drop(one);
        assert!(matches!(receive(&other), Ok(Some(Report::Started))));
        assert_eq!(receive_fds(&other, 70).unwrap().len(), 70);
        assert!(matches!(
            receive(&other),
            Ok(Some(Report::Exited(Exit::Code(3))))
        ));
        assert!(matches!(receive::<Report>(&other), Ok(None)));
    }

    #[test]
    fn a_torn_an_overlong_and_a_strange_frame_are_refused() {
        let cases: [(&[u8], bool); 4] = [
            (b"\x05\0\0\0\"St", true),
            (b"\x05\0", true),
            (b"\xff\xff\xff\xff", false),
            (b"\x02\0\0\0{}", false),
        ];
        for (bytes, ended) in cases {
            let (mut one, other) = UnixStream::pair().unwrap();
            one.write_all(bytes).unwrap();
            drop(one);
            let received = receive::<Report>(&other);
            assert_eq!(
                received.is_ok_and(|report| report.is_none()),
                ended,
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_missing_descriptor_is_noticed() {
        let (one, other) = UnixStream::pair().unwrap();
        (&one).write_all(b"x").unwrap();
        assert!(receive_fds(&other, 1).is_err());
        drop(one);
        assert!(receive_fds(&other, 1).is_err());
    }
}
