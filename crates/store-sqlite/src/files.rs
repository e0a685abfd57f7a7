//! Where the file lives, and who can reach it.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aims_types::ambient::{SystemClock, SystemEntropy};
use aims_types::{Clock, Id, Request};
use rustix::fs::OFlags;

use crate::OpenError;

/// Mode of the store's file; SQLite gives it to the journal too.
const FILE_MODE: u32 = 0o600;
/// Mode of the store's directory.
const DIRECTORY_MODE: u32 = 0o700;
/// The bits of a file's mode that let others in.
const OTHERS: u32 = 0o077;
/// The bits of a directory's mode that let others put another file in place of ours.
const OTHERS_WRITE: u32 = 0o022;
/// What SQLite puts beside the file.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A directory that is removed with everything in it.
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    /// A new directory with an unpredictable name.
    pub(crate) fn new() -> Result<Self, OpenError> {
        let parent = std::env::temp_dir();
        let name = Id::<Request>::new(SystemClock.now(), &SystemEntropy)
            .map_err(|error| OpenError::io(&parent, io::Error::other(error)))?;
        let path = parent.join(format!("aims-store-{name}"));
        let made = DirBuilder::new().mode(DIRECTORY_MODE).create(&path);
        made.map_err(|error| OpenError::io(&path, error))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Best effort: what stays is in a directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes the directory and the file if they are missing, and checks that only this process's user
/// can read the file or replace it. A directory that was there may let others look at the names.
pub(crate) fn guard(path: &Path) -> Result<(), OpenError> {
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(OpenError::refused(path, "it has no directory")),
    };
    let made = DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(directory);
    made.map_err(|error| OpenError::io(directory, error))?;
    let metadata = directory
        .metadata()
        .map_err(|error| OpenError::io(directory, error))?;
    closed(directory, &metadata)?;
    guard_file(path)?;
    companions(path).try_for_each(|companion| match companion.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => private(&companion, &metadata),
        Ok(_) => Err(OpenError::refused(&companion, "it is not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::io(&companion, error)),
    })?;
    // The name must survive a crash of the machine as surely as what is committed under it.
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| OpenError::io(directory, error))
}

/// SQLite makes its files with the mode of the first one, so making that one is enough.
fn guard_file(path: &Path) -> Result<(), OpenError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = opened.map_err(|error| OpenError::io(path, error))?;
    let metadata = file
        .metadata()
        .map_err(|error| OpenError::io(path, error))?;
    if !metadata.is_file() {
        return Err(OpenError::refused(path, "it is not a regular file"));
    }
    private(path, &metadata)
}

fn companions(path: &Path) -> impl Iterator<Item = PathBuf> {
    COMPANIONS.iter().map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

fn private(path: &Path, metadata: &Metadata) -> Result<(), OpenError> {
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(OpenError::refused(path, "someone else owns it; `chown` it"));
    }
    if metadata.mode() & OTHERS != 0 {
        return Err(OpenError::refused(
            path,
            "its mode lets others in; `chmod go=` it",
        ));
    }
    Ok(())
}

fn closed(directory: &Path, metadata: &Metadata) -> Result<(), OpenError> {
    if ![0, rustix::process::geteuid().as_raw()].contains(&metadata.uid()) {
        return Err(OpenError::refused(
            directory,
            "someone else owns it; `chown` it",
        ));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(OpenError::refused(
            directory,
            "others can write to it; `chmod go-w` it",
        ));
    }
    Ok(())
}
