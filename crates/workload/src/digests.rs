//! Digests of executables, taken anew unless nobody but root could have changed the file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use aims_crypto::Hasher;
use aims_types::Digest;
use rustix::fs::Stat;

/// Longest executable, in bytes.
pub const EXECUTABLE_LEN_MAX: u64 = 1 << 30;
/// Most digests that are remembered.
const REMEMBERED_MAX: usize = 1024;
const BUFFER: usize = 64 << 10;
/// Others and the group may write.
const WRITABLE: u32 = 0o022;

/// Which file it is, and in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileState {
    device: u64,
    inode: u64,
    len: u64,
    changed: (i64, u64),
    modified: (i64, u64),
}

/// Digests of files that only root can change.
#[derive(Debug, Default)]
pub(crate) struct Digests(Mutex<HashMap<FileState, Digest>>);

impl FileState {
    #[expect(
        clippy::useless_conversion,
        reason = "the types of these members differ between platforms"
    )]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev.into(),
            inode: stat.st_ino.into(),
            len: u64::try_from(stat.st_size).unwrap_or(u64::MAX),
            changed: (stat.st_ctime.into(), stat.st_ctime_nsec.into()),
            modified: (stat.st_mtime.into(), stat.st_mtime_nsec.into()),
        }
    }
}

impl Digests {
    /// The digest of an open file.
    pub(crate) fn of(&self, file: File) -> io::Result<(FileState, Digest)> {
        let stat = rustix::fs::fstat(&file)?;
        let state = FileState::of(&stat);
        let is_roots = stat.st_uid == 0 && stat.st_mode & WRITABLE == 0;
        let remembered = || {
            let digests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            digests.get(&state).copied()
        };
        if is_roots && let Some(digest) = remembered() {
            return Ok((state, digest));
        }
        let digest = measure(file)?;
        if is_roots {
            let mut digests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if digests.len() >= REMEMBERED_MAX {
                digests.clear();
            }
            digests.insert(state, digest);
        }
        Ok((state, digest))
    }
}

fn measure(file: File) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; BUFFER];
    let mut left = file.take(EXECUTABLE_LEN_MAX + 1);
    loop {
        match left.read(&mut buffer)? {
            0 if left.limit() == 0 => return Err(io::Error::other("the executable is too long")),
            0 => return Ok(hasher.finish()),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}
