//! Who connected, as the kernel says it: with whose rights the node reads what is to run, and how
//! many launches of one user are under way.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use nix::unistd::{User, getgrouplist};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Most launches of one user that are under way at a time; instances that run do not count.
pub const LAUNCHES_UNDER_WAY_MAX: usize = 64;

/// A local user at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    uid: u32,
    gid: u32,
}

impl Caller {
    /// The user that the kernel says has connected.
    pub(crate) fn of(stream: &tokio::net::UnixStream) -> io::Result<Self> {
        let peer = stream.peer_cred()?;
        let (uid, gid) = (peer.uid(), peer.gid());
        Ok(Self { uid, gid })
    }

    /// Whether this node can read with the rights of this user: as root with anybody's, otherwise
    /// it has only its own to lend.
    pub(crate) fn is_served(self) -> bool {
        let own = geteuid();
        own.is_root() || self.uid == 0 || self.uid == own.as_raw()
    }

    /// Does `work` with the rights of this user and no others, on a thread that ends with it.
    ///
    /// Otherwise whoever may register and start agents could read every file of the host: as part
    /// of their agent, or by its digest in a refusal.
    pub(crate) fn with_rights<T: Send>(self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        if !geteuid().is_root() || self.uid == 0 {
            return Ok(work());
        }
        let lent = || {
            self.take_rights()?;
            Ok(work())
        };
        std::thread::scope(|scope| {
            let ended = scope.spawn(lent).join();
            ended.unwrap_or_else(|_| Err(io::Error::other("the thread that reads broke down")))
        })
    }

    /// Takes the rights for this thread alone. Without effective uid 0 it has no capability.
    fn take_rights(self) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&self.groups()?)?;
        set_thread_res_gid(None, gid, None)?;
        Ok(set_thread_res_uid(None, uid, None)?)
    }

    /// The groups that the user database names; those of the connected process are not known.
    fn groups(self) -> io::Result<Vec<Gid>> {
        let Some(user) = User::from_uid(nix::unistd::Uid::from_raw(self.uid))? else {
            return Ok(Vec::new());
        };
        let name = CString::new(user.name)?;
        let groups = getgrouplist(&name, nix::unistd::Gid::from_raw(self.gid))?;
        Ok(groups
            .into_iter()
            .map(|group| Gid::from_raw(group.as_raw()))
            .collect())
    }
}

/// How many launches of each user are under way.
#[derive(Debug, Default)]
pub(crate) struct Admissions(Mutex<HashMap<u32, usize>>);

/// One launch that is under way.
#[derive(Debug)]
pub(crate) struct Admission {
    of: Arc<Admissions>,
    uid: u32,
}

impl Admissions {
    /// Admits one more launch of `caller`; `None` if there are too many.
    pub(crate) fn admit(self: &Arc<Self>, caller: Caller) -> Option<Admission> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = under_way.entry(caller.uid).or_default();
        if *count == LAUNCHES_UNDER_WAY_MAX {
            return None;
        }
        *count += 1;
        let (of, uid) = (Arc::clone(self), caller.uid);
        Some(Admission { of, uid })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut under_way = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = under_way.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_takes_no_place_of_another() {
        let admissions = Arc::new(Admissions::default());
        let of = |uid| Caller { uid, gid: uid };
        let held: Vec<_> = (0..LAUNCHES_UNDER_WAY_MAX)
            .map(|_| admissions.admit(of(1)).unwrap())
            .collect();
        assert!(admissions.admit(of(1)).is_none());
        assert!(admissions.admit(of(2)).is_some());
        drop(held);
        assert!(admissions.admit(of(1)).is_some());
        assert!(admissions.0.lock().unwrap().is_empty());
    }

    #[test]
    fn work_is_done_with_the_rights_of_the_caller_and_leaves_the_node_its_own() {
        let own = geteuid();
        let caller = Caller {
            uid: if own.is_root() { 65_534 } else { own.as_raw() },
            gid: 65_534,
        };
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "of the node").unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, private).unwrap();
        let read = caller.with_rights(|| std::fs::read(&secret)).unwrap();
        assert_eq!(read.is_err(), own.is_root());
        assert_eq!(geteuid(), own);
        std::fs::read(&secret).unwrap();
    }
}
