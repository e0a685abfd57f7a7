//! A content-addressed store of measured files and trees.
//!
//! An instance runs under a reserved uid that can't read private homes, and what was measured must
//! not change before it runs. So files are copied while they are digested, to a place named by
//! their digest, where nobody but the owner of the store can change them.
//!
//! What is staged may come from a private home: nobody but the owner can walk into the store. A
//! launcher is started inside it, so that the walls find what their plan names and nothing else
//! does.
//!
//! Layout: `<store>/kept/<digest in hexadecimal>/tree`, `…/file` or `…/program`.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aims_types::Digest;

use crate::measure::{self, Content, MeasureError, Tree, Visit};

/// Below the private directory: what is complete and has the digest that names it.
const KEPT: &str = "kept";
/// Write permission of the group.
const GROUP_WRITE: u32 = 0o020;
/// Write permission of everybody.
const OTHER_WRITE: u32 = 0o002;
/// Only owners rename and remove what lies in the directory.
const STICKY: u32 = 0o1000;

/// The store.
#[derive(Debug, Clone)]
pub struct Stage {
    dir: PathBuf,
}

/// Something that lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Where.
    pub path: PathBuf,
    /// What it is.
    pub digest: Digest,
}

/// Why something was not staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The source could not be measured.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// The store could not be written.
    #[error("could not write `{path}`: {source}")]
    Io {
        /// What was written.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The source is not what was registered.
    #[error("`{path}` was expected to be {expected} but is {found}")]
    Changed {
        /// The source.
        path: PathBuf,
        /// What was registered.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// Somebody else could put other files in place of measured ones.
    #[error(
        "`{0}` can be changed by another user; give the store a place that only its owner can change"
    )]
    Shared(PathBuf),
    /// What lies in the store is not what its name says.
    #[error("`{0}` in the store was changed; remove it")]
    Corrupt(PathBuf),
}

/// Distinguishes temporary names within one process.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Stage {
    /// Opens the store at `dir`, creating it. Refuses a place that another user can change.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StageError> {
        let dir = dir.into();
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder.create(&dir).map_err(error(&dir))?;
        let dir = dir.canonicalize().map_err(error(&dir))?;
        only_ours(&dir)?;
        for above in dir.ancestors().skip(1) {
            let found = fs::symlink_metadata(above).map_err(error(above))?;
            let ours = found.uid() == 0 || found.uid() == rustix::process::geteuid().as_raw();
            if !ours || (open_to_others(&found) && found.mode() & STICKY == 0) {
                return Err(StageError::Shared(above.to_path_buf()));
            }
        }
        mode(&dir, 0o700)?;
        let kept = dir.join(KEPT);
        builder.create(&kept).map_err(error(&kept))?;
        only_ours(&kept)?;
        mode(&kept, 0o755)?;
        Ok(Self { dir })
    }

    /// Where launchers are started, so that they need not be able to walk there.
    pub(crate) fn kept(&self) -> PathBuf {
        self.dir.join(KEPT)
    }

    /// Stages the tree at `root`, which must have the digest `expected`.
    pub fn put_tree(&self, root: &Path, expected: &Digest) -> Result<Staged, StageError> {
        let place = self.place(expected, "tree");
        if place.exists() {
            let found = measure::measure_tree(&place)?;
            return Self::reuse(place, *expected, found.digest);
        }
        let temporary = Temporary::new(&self.dir);
        let tree = Self::copy_tree(root, &temporary.0)?;
        if tree.digest != *expected {
            let (path, expected) = (root.to_path_buf(), *expected);
            return Err(StageError::Changed {
                path,
                expected,
                found: tree.digest,
            });
        }
        // Moving a directory needs the right to write it; nobody else has that either way.
        self.publish(&temporary, &place)?;
        mode(&place, 0o555)?;
        Ok(Staged {
            path: place,
            digest: tree.digest,
        })
    }

    /// Stages the regular file `path`, which must have the digest `expected`.
    pub fn put_file(&self, path: &Path, expected: &Digest) -> Result<Staged, StageError> {
        let temporary = Temporary::new(&self.dir);
        let content = copy_file(path, &temporary.0)?;
        if content.digest != *expected {
            let (path, expected) = (path.to_path_buf(), *expected);
            return Err(StageError::Changed {
                path,
                expected,
                found: content.digest,
            });
        }
        let name = if content.executable {
            "program"
        } else {
            "file"
        };
        let place = self.place(&content.digest, name);
        if place.exists() {
            let (found, _) = measure::measure_file(&place)?;
            return Self::reuse(place, content.digest, found);
        }
        self.publish(&temporary, &place)?;
        Ok(Staged {
            path: place,
            digest: content.digest,
        })
    }

    fn place(&self, digest: &Digest, name: &str) -> PathBuf {
        self.kept().join(digest.to_hex()).join(name)
    }

    fn reuse(path: PathBuf, digest: Digest, found: Digest) -> Result<Staged, StageError> {
        if found == digest {
            Ok(Staged { path, digest })
        } else {
            Err(StageError::Corrupt(path))
        }
    }

    fn publish(&self, temporary: &Temporary, place: &Path) -> Result<(), StageError> {
        let parent = place.parent().unwrap_or(&self.dir);
        fs::create_dir_all(parent).map_err(error(parent))?;
        mode(parent, 0o755)?;
        match fs::rename(&temporary.0, place) {
            Ok(()) => Ok(()),
            // Somebody else staged the same content meanwhile.
            Err(_) if place.exists() => Ok(()),
            Err(source) => Err(error(place)(source)),
        }
    }

    fn copy_tree(root: &Path, to: &Path) -> Result<Tree, StageError> {
        let mut copying = Copying {
            to,
            directories: Vec::new(),
            failed: None,
        };
        let walked = measure::walk(root, &mut copying);
        if let Some(failed) = copying.failed {
            return Err(failed);
        }
        let tree = walked?;
        // The outermost stays writable until it is in place.
        for directory in copying.directories.iter().skip(1) {
            mode(directory, 0o555)?;
        }
        mode(to, 0o755)?;
        Ok(tree)
    }
}

/// A name in the store that is removed unless it was moved away.
struct Temporary(PathBuf);

impl Temporary {
    fn new(dir: &Path) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(dir.join(format!(".new-{}-{number}", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.0).is_ok_and(|found| found.is_dir()) {
            unlock(&self.0);
            drop(fs::remove_dir_all(&self.0));
        } else {
            drop(fs::remove_file(&self.0));
        }
    }
}

/// Makes the directories below `dir` writable so that they can be removed.
fn unlock(dir: &Path) {
    drop(fs::set_permissions(dir, Permissions::from_mode(0o755)));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            unlock(&entry.path());
        }
    }
}

struct Copying<'a> {
    to: &'a Path,
    directories: Vec<PathBuf>,
    failed: Option<StageError>,
}

impl Copying<'_> {
    /// Keeps the error of the store, and stops the walk with one of its own.
    fn keep<T>(&mut self, path: &Path, result: Result<T, StageError>) -> Result<T, MeasureError> {
        result.map_err(|failed| {
            self.failed = Some(failed);
            MeasureError::Special(path.to_path_buf())
        })
    }
}

impl Visit for Copying<'_> {
    fn enter(&mut self, relative: &Path) -> Result<(), MeasureError> {
        let place = self.to.join(relative);
        let made = fs::create_dir(&place).map_err(error(&place));
        self.keep(&place, made)?;
        self.directories.push(place);
        Ok(())
    }

    fn file(&mut self, from: &Path, relative: &Path) -> Result<Content, MeasureError> {
        let copied = copy_file(from, &self.to.join(relative));
        self.keep(from, copied)
    }

    fn link(&mut self, relative: &Path, target: &Path) -> Result<(), MeasureError> {
        let place = self.to.join(relative);
        // Kept as it is, whatever it says: nothing here follows it, and inside the walls it is
        // resolved at the declared place of its tree.
        let made = symlink(target, &place).map_err(error(&place));
        self.keep(&place, made)
    }
}

fn copy_file(from: &Path, to: &Path) -> Result<Content, StageError> {
    let source = measure::open(from)?;
    let mut target: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(error(to))?;
    let content = measure::digest(&source, &mut target).map_err(error(to))?;
    let bits = if content.executable { 0o555 } else { 0o444 };
    target
        .set_permissions(Permissions::from_mode(bits))
        .map_err(error(to))?;
    Ok(content)
}

/// A directory of our own that nobody else writes.
fn only_ours(dir: &Path) -> Result<(), StageError> {
    let found = fs::symlink_metadata(dir).map_err(error(dir))?;
    let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if ours && !open_to_others(&found) {
        Ok(())
    } else {
        Err(StageError::Shared(dir.to_path_buf()))
    }
}

/// Whether everybody, or a group that is neither root's nor our own, may write.
fn open_to_others(found: &fs::Metadata) -> bool {
    let known = [0, rustix::process::getegid().as_raw()].contains(&found.gid());
    found.mode() & OTHER_WRITE != 0 || (found.mode() & GROUP_WRITE != 0 && !known)
}

fn mode(path: &Path, bits: u32) -> Result<(), StageError> {
    fs::set_permissions(path, Permissions::from_mode(bits)).map_err(error(path))
}

fn error(path: impl AsRef<OsStr>) -> impl FnOnce(io::Error) -> StageError {
    let path = PathBuf::from(path.as_ref());
    move |source| StageError::Io { path, source }
}

#[cfg(test)]
mod tests;
