//! Other processes: what is seen of them when they end, or run something else.
//!
//! This test program starts itself again as one of them: as the test of the name below alone, with
//! a socket to connect to as its standard input's first line.

use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use tokio::net::{UnixListener, UnixStream};

use crate::digests::Digests;
use crate::peer::{Peer, Unseen};

/// The test that is the other process when something is told to it.
const SELF: &str = "tests::others::connects_and_then_becomes_what_it_is_told";

struct Other {
    child: Child,
    /// Keeps the connection open on this side.
    _stream: UnixStream,
    peer: Peer,
    _directory: tempfile::TempDir,
}

impl Other {
    /// Another process of this program that has connected.
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("o.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([SELF, "--exact", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.as_mut().unwrap();
        writeln!(stdin, "{}", path.display()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let peer = Peer::of(&stream).unwrap();
        Self {
            child,
            _stream: stream,
            peer,
            _directory: directory,
        }
    }

    fn becomes(&mut self, program: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{program}").unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// As a test of its own it does nothing, because nothing is told to it.
#[test]
fn connects_and_then_becomes_what_it_is_told() {
    let mut lines = std::io::stdin().lock().lines();
    let Some(Ok(path)) = lines.next() else { return };
    let Ok(stream) = std::os::unix::net::UnixStream::connect(path) else {
        return;
    };
    let program = lines.next().unwrap().unwrap();
    // The connection goes along as standard input, so that its other end stays.
    let error = Command::new(program)
        .arg("60")
        .stdin(std::os::fd::OwnedFd::from(stream))
        .exec();
    panic!("{error}");
}

#[tokio::test]
async fn a_caller_that_runs_another_program_is_no_longer_what_it_was() {
    let mut other = Other::start().await;
    let (seen, glance) = other.peer.look("boot-1", &Digests::default()).unwrap();
    assert_eq!(seen.pid, other.child.id());
    assert_eq!(other.peer.glance().unwrap(), glance);
    other.becomes("/usr/bin/sleep");
    // While one of its threads becomes another program, a process is nothing that can be read.
    let later = loop {
        match other.peer.glance() {
            Ok(later) if later != glance => break later,
            _ => assert!(other.child.try_wait().unwrap().is_none(), "it ended"),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((later.started, later.uid), (glance.started, glance.uid));
    assert_ne!(later.file, glance.file);
    let (changed, _) = other.peer.look("boot-1", &Digests::default()).unwrap();
    assert_ne!(changed.executable, seen.executable);
}

#[tokio::test]
async fn a_number_that_is_given_again_is_not_taken_for_the_caller() {
    let mut other = Other::start().await;
    other.peer.glance().unwrap();
    other.child.kill().unwrap();
    other.child.wait().unwrap();
    // The connection is still open here, and its process is gone: whoever has its number now would
    // be read under /proc, and is not believed.
    assert!(other.peer.is_gone());
    assert!(matches!(other.peer.glance(), Err(Unseen::Gone)));
    let looked = other.peer.look("boot-1", &Digests::default());
    assert!(matches!(looked, Err(Unseen::Gone)));
}
