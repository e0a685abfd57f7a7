//! Files that only their owner can read, written whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// Mode of every file that we write.
const FILE_MODE: u32 = 0o600;
/// Mode of every directory that we make.
const DIRECTORY_MODE: u32 = 0o700;
/// The bits of a mode that say who may do what.
const PERMISSION_BITS: u32 = 0o7777;
/// Prefix of files that are being written.
pub(crate) const TEMPORARY_PREFIX: &str = ".new-";

/// Why a file or directory is not safe to take secrets from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnsafeFile {
    /// A symbolic link could point anywhere.
    #[error("it is a symbolic link; name the file itself")]
    SymbolicLink,
    /// A device, socket, pipe or directory.
    #[error("it is not a regular file")]
    NotRegular,
    /// Not a directory.
    #[error("it is not a directory")]
    NotDirectory,
    /// Someone else owns it.
    #[error("user {owner} owns it; `chown` it to user {wanted}")]
    Owner {
        /// The owner found.
        owner: u32,
        /// The user this process runs as.
        wanted: u32,
    },
    /// Someone else may read or change it.
    #[error("its mode is {mode:04o}, which lets others in; `chmod go= ` it")]
    Mode {
        /// The mode found.
        mode: u32,
    },
    /// Longer than anything we would have written.
    #[error("it is longer than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
}

/// Why a file could not be read, written or removed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("`{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is not safe to use.
    #[error("`{path}` is not safe: {why}")]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// Why.
        why: UnsafeFile,
    },
}

/// Who may own a file of secrets, and with which modes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Custody {
    /// This process's user, mode 0600 or 0400.
    Own,
    /// A credential of the service manager: as above, or of root, where an access list for the
    /// service's user shows as read for the group.
    Credential,
}

impl FileError {
    pub(crate) fn io(path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io {
            path: path.to_owned(),
            source: source.into(),
        }
    }

    fn unsafe_file(path: &Path, why: UnsafeFile) -> Self {
        Self::Unsafe {
            path: path.to_owned(),
            why,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. } | Self::Unsafe { path, .. } => path,
        }
    }

    /// Whether the file was not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the file was there already.
    pub fn is_already_there(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists)
    }
}

/// Reads a file of at most `max` bytes, after checking the opened file itself, so that nothing
/// can be swapped in between.
pub(crate) fn read_private(
    path: &Path,
    custody: Custody,
    max: usize,
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let refuse = |why| FileError::unsafe_file(path, why);
    // NONBLOCK: opening a pipe must not wait for its writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(code) if code == Errno::LOOP.raw_os_error() => refuse(UnsafeFile::SymbolicLink),
            _ => FileError::io(path, error),
        })?;
    let metadata = file
        .metadata()
        .map_err(|error| FileError::io(path, error))?;
    if !metadata.is_file() {
        return Err(refuse(UnsafeFile::NotRegular));
    }
    custody.check(&metadata).map_err(refuse)?;
    // Room for one byte more than allowed: a growing buffer would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(max + 1));
    let limit = u64::try_from(max + 1).unwrap_or(u64::MAX);
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| FileError::io(path, error))?;
    if bytes.len() > max {
        return Err(refuse(UnsafeFile::TooLong { max }));
    }
    Ok(bytes)
}

/// Makes `directory` if it is missing, and checks that only this process's user can enter it.
pub(crate) fn private_directory(directory: &Path) -> Result<(), FileError> {
    let refuse = |why| FileError::unsafe_file(directory, why);
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(FileError::io(directory, error));
        }
        _ => {}
    }
    let metadata = directory
        .symlink_metadata()
        .map_err(|error| FileError::io(directory, error))?;
    if metadata.is_symlink() {
        return Err(refuse(UnsafeFile::SymbolicLink));
    }
    if !metadata.is_dir() {
        return Err(refuse(UnsafeFile::NotDirectory));
    }
    check_owner(&metadata).map_err(refuse)?;
    let mode = metadata.mode() & PERMISSION_BITS;
    if mode & 0o077 != 0 {
        return Err(refuse(UnsafeFile::Mode { mode }));
    }
    Ok(())
}

/// Writes `directory/name`, which must not exist yet: all of it, durably, or nothing.
pub(crate) fn write_new(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), FileError> {
    let target = directory.join(name);
    let temporary = directory.join(format!("{TEMPORARY_PREFIX}{name}"));
    let written = create_private(&temporary, bytes).and_then(|()| {
        rustix::fs::renameat_with(CWD, &temporary, CWD, &target, RenameFlags::NOREPLACE)
            .map_err(|errno| FileError::io(&target, errno))
    });
    if let Err(error) = written {
        // Best effort: `open` of the store sweeps what is left. A file that was there before is
        // someone else's.
        if !(error.is_already_there() && error.path() == temporary) {
            let _ = std::fs::remove_file(&temporary);
        }
        return Err(error);
    }
    sync_directory(directory)
}

/// Creates a file with mode 0600 that was not there, with `bytes`, and waits for the disk.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let io = |error| FileError::io(path, error);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .custom_flags(flags(OFlags::NOFOLLOW))
        .open(path)
        .map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.sync_all().map_err(io)
}

/// Waits until the names in `directory` are on the disk.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), FileError> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|error| FileError::io(directory, error))
}

impl Custody {
    fn check(self, metadata: &std::fs::Metadata) -> Result<(), UnsafeFile> {
        let mode = metadata.mode() & PERMISSION_BITS;
        match self {
            Self::Own => {
                check_owner(metadata)?;
                if !matches!(mode, 0o600 | 0o400) {
                    return Err(UnsafeFile::Mode { mode });
                }
            }
            Self::Credential => {
                if metadata.uid() != 0 {
                    return Self::Own.check(metadata);
                }
                if !matches!(mode, 0o600 | 0o400 | 0o440) {
                    return Err(UnsafeFile::Mode { mode });
                }
            }
        }
        Ok(())
    }
}

fn check_owner(metadata: &std::fs::Metadata) -> Result<(), UnsafeFile> {
    let (owner, wanted) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == wanted {
        Ok(())
    } else {
        Err(UnsafeFile::Owner { owner, wanted })
    }
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}
