//! Who is at the other end of a connection, as the kernel says it.
//!
//! The pidfd of the connection (`SO_PEERPIDFD`, Linux 6.5) names the process that connected, and
//! not whichever has its number later. What is read under `/proc` by that number is believed only
//! if the process still lives after it was read.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use aims_model::ProcessSeen;
use aims_model::evidence::Measured;
use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::UnixStream;

use crate::digests::{Digests, FileState};

/// How the kernel marks the path of a file that is no longer there.
const DELETED: &str = " (deleted)";
/// Which field of `stat` says when the process started, counted after the command's name.
const STARTED_FIELD: usize = 19;
/// What a line of `status` with the four user ids starts with.
const UID_LINE: &str = "Uid:";
/// What the line of `cgroup` for version 2 starts with.
const CGROUP_LINE: &str = "0::";

/// The process that connected.
#[derive(Debug)]
pub(crate) struct Peer {
    pidfd: OwnedFd,
    pid: u32,
    uid: u32,
}

/// What tells cheaply whether a process is still what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glance {
    pub(crate) started: u64,
    pub(crate) uid: u32,
    pub(crate) cgroup: String,
    pub(crate) path: String,
    pub(crate) file: FileState,
}

/// Why it is not known what a process is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unseen {
    #[error("the process that connected is gone")]
    Gone,
    #[error("the process runs with the rights of several users")]
    SeveralUsers,
    #[error("the file that the process runs was replaced or has no path; start it again")]
    NoPath,
    #[error("what the process is can't be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl Peer {
    /// The process that connected, with the user that it was then.
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
        let pid = pid.filter(|pid| *pid != 0);
        let pid = pid.ok_or_else(|| io::Error::other("the process is not of this host"))?;
        Ok(Self {
            pidfd: getsockopt(stream, PeerPidfd)?,
            pid,
            uid: credentials.uid(),
        })
    }

    /// The user that connected.
    pub(crate) const fn uid(&self) -> u32 {
        self.uid
    }

    /// Whether the process has ended.
    pub(crate) fn is_gone(&self) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // What can't be asked is as if it were gone.
        !matches!(poll(&mut fds, Some(&now)), Ok(0))
    }

    /// What the process is now, but for the digest of what it runs.
    pub(crate) fn glance(&self) -> Result<Glance, Unseen> {
        self.read().map(|(glance, _)| glance)
    }

    /// What the process is now. Reads the whole file: not for a thread of the runtime.
    pub(crate) fn look(
        &self,
        boot: &str,
        digests: &Digests,
    ) -> Result<(ProcessSeen, Glance), Unseen> {
        let (glance, file) = self.read()?;
        let (state, digest) = digests.of(file)?;
        // It runs something else by now, or was written to while it was read.
        if self.glance()? != glance || state != glance.file {
            return Err(Unseen::NoPath);
        }
        let seen = ProcessSeen {
            boot: boot.to_owned(),
            pid: self.pid,
            started: glance.started,
            executable: Measured {
                path: glance.path.clone(),
                digest,
            },
            host_uid: glance.uid,
            cgroup: glance.cgroup.clone(),
        };
        Ok((seen, glance))
    }

    fn read(&self) -> Result<(Glance, File), Unseen> {
        let read = self.read_by_number();
        // Only now is it certain that the number was this process's.
        if self.is_gone() {
            return Err(Unseen::Gone);
        }
        read
    }

    fn read_by_number(&self) -> Result<(Glance, File), Unseen> {
        let of = |name: &str| PathBuf::from(format!("/proc/{}/{name}", self.pid));
        let malformed = || io::Error::other("an entry of /proc is malformed");
        let started = started(&fs::read_to_string(of("stat"))?).ok_or_else(malformed)?;
        let uids = uids(&fs::read_to_string(of("status"))?).ok_or_else(malformed)?;
        if uids.iter().any(|uid| *uid != self.uid) {
            return Err(Unseen::SeveralUsers);
        }
        let cgroup = cgroup(&fs::read_to_string(of("cgroup"))?);
        let path = fs::read_link(of("exe"))?;
        let path = path.to_str().filter(|path| !path.ends_with(DELETED));
        let path = path.ok_or(Unseen::NoPath)?.to_owned();
        let file = File::open(of("exe"))?;
        let glance = Glance {
            started,
            uid: self.uid,
            cgroup,
            path,
            file: FileState::of(&rustix::fs::fstat(&file).map_err(io::Error::from)?),
        };
        Ok((glance, file))
    }
}

/// When a process started. The command's name may hold anything, also brackets and spaces.
fn started(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace()
        .nth(STARTED_FIELD)?
        .parse()
        .ok()
}

/// The real, effective, saved and file system's user.
fn uids(status: &str) -> Option<[u32; 4]> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(UID_LINE))?;
    let uids: Option<Vec<u32>> = line
        .split_ascii_whitespace()
        .map(|uid| uid.parse().ok())
        .collect();
    uids?.try_into().ok()
}

fn cgroup(text: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(CGROUP_LINE));
    line.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_can_not_choose_when_it_started() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        for name in ["sh", "a b", "x) S 1 1 1 1", ")", ""] {
            let stat = format!("77 ({name}) {rest}\n");
            assert_eq!(started(&stat), Some(4242), "{name}");
        }
        assert_eq!(started("77 (sh S 1 2"), None);
        assert_eq!(started("77 (sh) S 1 2"), None);
    }

    #[test]
    fn all_four_users_are_read() {
        let status = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t5\n";
        assert_eq!(uids(status), Some([1, 2, 3, 4]));
        assert_eq!(uids("Uid:\t1\t2\t3\n"), None);
        assert_eq!(uids("Name:\tUid:\n"), None);
    }

    #[test]
    fn the_cgroup_is_that_of_version_2() {
        assert_eq!(cgroup("1:cpu:/a\n0::/system.slice/x\n"), "/system.slice/x");
        assert_eq!(cgroup("1:cpu:/a\n"), "");
    }
}
