//! A directory of the operating system.

use std::fs::{DirBuilder, File, OpenOptions, read_dir, remove_file, rename};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, FallocateFlags, FlockOperation, fadvise, fallocate, flock, fstatvfs};
use rustix::io::{Errno, retry_on_intr};

use super::{Disk, DiskFile};

/// The file whose lock keeps a second process out.
const LOCK_NAME: &str = "lock";
/// Records are for the service alone.
const FILE_MODE: u32 = 0o600;
/// The unit in which the system counts the blocks of a file.
const BLOCK_LEN: u64 = 512;
/// See [`FILE_MODE`].
const DIR_MODE: u32 = 0o700;

/// A directory that this process alone has open.
#[derive(Debug)]
pub struct FsDisk {
    dir: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

/// Why a directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum DirLocked {
    /// Another process, or another part of this one, has it.
    #[error("`{dir}` is in use by another process; stop it first", dir = dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// It cannot be made or opened.
    #[error("`{dir}` cannot be opened", dir = dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

struct FsFile {
    file: File,
    /// How far space was allocated.
    allocated: u64,
    /// Bytes of disk that the file held when it was opened, allocations of an earlier process
    /// included.
    held: u64,
}

impl FsDisk {
    /// Takes `dir`, which is made if it does not exist.
    pub fn lock(dir: &Path) -> Result<Self, DirLocked> {
        let failed = |source| DirLocked::Io {
            dir: dir.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(dir)
            .map_err(failed)?;
        let lock = options()
            .create(true)
            .open(dir.join(LOCK_NAME))
            .map_err(failed)?;
        match retry_on_intr(|| flock(&lock, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => {
                forget_unwritten(dir).map_err(failed)?;
                Ok(Self {
                    dir: dir.to_owned(),
                    _lock: lock,
                })
            }
            Err(Errno::WOULDBLOCK) => Err(DirLocked::InUse {
                dir: dir.to_owned(),
            }),
            Err(errno) => Err(failed(errno.into())),
        }
    }
}

impl Disk for FsDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        // A name that is not text is none of ours.
        read_dir(&self.dir)?
            .filter_map(|entry| {
                entry
                    .map(|entry| entry.file_name().into_string().ok())
                    .transpose()
            })
            .collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = options()
            .create(true)
            .truncate(true)
            .open(self.dir.join(name))?;
        Ok(Box::new(FsFile {
            file,
            allocated: 0,
            held: 0,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = options().open(self.dir.join(name))?;
        let metadata = file.metadata()?;
        let held = metadata.blocks().saturating_mul(BLOCK_LEN);
        Ok(Box::new(FsFile {
            file,
            allocated: metadata.len(),
            held,
        }))
    }

    fn read_at(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let file = File::open(self.dir.join(name))?;
        let rest = file.metadata()?.len().saturating_sub(offset);
        let len = usize::try_from(rest.min(len)).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        remove_file(self.dir.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

impl DiskFile for FsFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        (self.allocated, self.held) = (len, 0);
        Ok(())
    }

    fn allocate(&mut self, end: u64) -> io::Result<()> {
        let more = end.saturating_sub(self.allocated);
        if more == 0 {
            return Ok(());
        }
        // A failed allocation may keep what it got; asking first leaves the rest to others.
        let space = fstatvfs(&self.file)?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if self.held < end && free < more {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let from = self.allocated;
        let made = retry_on_intr(|| fallocate(&self.file, FallocateFlags::KEEP_SIZE, from, more));
        match made {
            // Where space cannot be allocated, that it is free has to do.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(Errno::NOSPC | Errno::DQUOT) => return Err(io::ErrorKind::StorageFull.into()),
            Err(errno) => return Err(errno.into()),
        }
        self.allocated = end;
        Ok(())
    }
}

/// A system that failed to write may still remember what never reached the disk, and call it
/// clean. Forgotten, it is read anew, so that nothing is built on it.
fn forget_unwritten(dir: &Path) -> io::Result<()> {
    for entry in read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let file = options().open(entry.path())?;
            file.sync_data()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(FILE_MODE);
    options
}
