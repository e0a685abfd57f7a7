//! Where the file lives, and who can reach it.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aims_types::ambient::{SystemClock, SystemEntropy};
use aims_types::{Clock, Id, Request};
use rustix::fs::{Advice, OFlags, fadvise};

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
const COMPANIONS: [&str; 3] = [JOURNAL, "-shm", "-journal"];
/// The write-ahead journal.
const JOURNAL: &str = "-wal";

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
        Some(parent) => or_here(parent),
        None => return Err(OpenError::refused(path, "it has no directory")),
    };
    let missing = directory
        .ancestors()
        .take_while(|dir| !or_here(dir).exists());
    let missing = missing.count();
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
    let journal = beside(path, JOURNAL);
    if journal.symlink_metadata().is_ok() {
        guard_file(&journal)?;
    }
    companions(path).try_for_each(|companion| match companion.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => private(&companion, &metadata),
        Ok(_) => Err(OpenError::refused(&companion, "it is not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::io(&companion, error)),
    })?;
    // The directory's own name must last too; an earlier run may have made it and not lived to
    // sync it.
    for dir in directory.ancestors().take(missing.max(1) + 1) {
        sync_directory(or_here(dir))?;
    }
    Ok(())
}

/// Waits until the names of the files last as surely as what is committed under them. SQLite does
/// it when it makes its journal, but does not say whether it went well.
pub(crate) fn sync_names(path: &Path) -> Result<(), OpenError> {
    sync_directory(or_here(path.parent().unwrap_or(path)))
}

fn sync_directory(directory: &Path) -> Result<(), OpenError> {
    let synced = match File::open(directory) {
        Ok(directory) => directory.sync_all(),
        // It was there before this user came, who may not look into it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    };
    synced.map_err(|error| OpenError::io(directory, error))
}

/// The parent of a relative name is where we are.
fn or_here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    }
}

/// Makes the file if it is missing, and checks it.
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
    private(path, &metadata)?;
    // A system that failed to write may still remember what never reached the disk. Forgotten, it
    // is read anew, so that nothing is built on it.
    let forgotten = file
        .sync_data()
        .and_then(|()| Ok(fadvise(&file, 0, None, Advice::DontNeed)?));
    forgotten.map_err(|error| OpenError::io(path, error))
}

fn companions(path: &Path) -> impl Iterator<Item = PathBuf> {
    COMPANIONS.iter().map(|suffix| beside(path, suffix))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
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
