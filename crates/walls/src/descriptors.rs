//! Which descriptors a re-executed process has: standard input is the control socket, and there is
//! nothing else.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// The control socket: a copy of standard input that is closed on exec.
pub(crate) fn control() -> io::Result<UnixStream> {
    let stdin = io::stdin();
    let copy: OwnedFd = stdin.as_fd().try_clone_to_owned()?;
    Ok(UnixStream::from(copy))
}

/// Closes whatever this process inherited beyond standard I/O and `control`.
pub(crate) fn close_others(control: &UnixStream) -> io::Result<()> {
    let kept = control.as_raw_fd();
    let open: Vec<RawFd> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open.into_iter().filter(|fd| *fd > 2 && *fd != kept) {
        // The descriptor that listed the directory is in the list and already closed.
        match nix::unistd::close(fd) {
            Ok(()) | Err(nix::Error::EBADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Makes standard input `/dev/null`, so that the control socket is held by nobody else.
pub(crate) fn let_go_of_stdin() -> io::Result<()> {
    let null = File::open("/dev/null")?;
    Ok(nix::unistd::dup2_stdin(null)?)
}
