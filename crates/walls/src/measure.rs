//! Measuring files and trees: what a digest says is what will be seen inside.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use aims_crypto::Hasher;
use aims_types::Digest;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

mod elf;
mod search;

pub use elf::{libraries, tree_libraries};

/// Most entries of a tree.
pub const TREE_ENTRIES_MAX: u64 = 500_000;
/// Most bytes of a tree, and of one file.
pub const TREE_BYTES_MAX: u64 = 16 << 30;
/// Deepest nesting of a tree.
pub const TREE_DEPTH_MAX: usize = 64;
/// Longest chain of symbolic links, as the kernel has it.
pub const LINKS_MAX: usize = 40;
/// First bytes of what the digest of a tree is computed over.
const TREE_FORMAT: &[u8] = b"aims-tree-1\n";
const ELF_MAGIC: &[u8] = b"\x7fELF";
const BUFFER: usize = 64 << 10;

/// A measured tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// Over relative paths in order, each with its type, exec bit, and content or target.
    pub digest: Digest,
    /// How many regular files it has.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// Whether it holds code that the kernel runs or maps: a program or a shared library.
    pub executable: bool,
}

/// A symbolic link met on the way to a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Where it lies; no component before the last is a link.
    pub at: PathBuf,
    /// What it says.
    pub target: PathBuf,
}

/// Where a path really leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Every link on the way, in the order met.
    pub links: Vec<Link>,
    /// The path without any link.
    pub real: PathBuf,
}

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The system refused.
    #[error("could not read `{path}`: {source}")]
    Io {
        /// What was read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A device, socket, pipe, or a link where a file was declared.
    #[error("`{0}` is not a regular file, directory or symbolic link")]
    Special(PathBuf),
    /// A relative path, or one with `..`.
    #[error("`{0}` is not an absolute path without `..`")]
    Path(PathBuf),
    /// A chain of links that is too long.
    #[error("`{0}` leads through too many symbolic links")]
    Links(PathBuf),
    /// A tree beyond a limit.
    #[error("the tree `{path}` has more than {max} {what}; declare a smaller one")]
    TooLarge {
        /// Which tree.
        path: PathBuf,
        /// Of what it has too much.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// A program needs a library that this host does not have.
    #[error("`{program}` needs the library `{library}`, which is not found; install it")]
    MissingLibrary {
        /// Which program or library needs it.
        program: PathBuf,
        /// Its name.
        library: String,
    },
    /// An ELF file that contradicts itself.
    #[error("`{path}` is not a well-formed ELF file: {reason}")]
    Elf {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl MeasureError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

/// One measured file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
    pub(crate) executable: bool,
    pub(crate) elf: bool,
}

/// The digest and size of the regular file `path`, which is not a symbolic link itself.
pub fn measure_file(path: &Path) -> Result<(Digest, u64), MeasureError> {
    content(path).map(|content| (content.digest, content.bytes))
}

/// Opens the regular file that `path` leads to. Never waits, as opening a pipe would, and opens no
/// device.
pub fn open_file(path: &Path) -> Result<File, MeasureError> {
    open(&resolve(path)?.real)
}

/// Measures the tree at `root`, a directory.
pub fn measure_tree(root: &Path) -> Result<Tree, MeasureError> {
    walk(root, &mut Measuring)
}

/// Follows `path` link by link, as the kernel would.
pub fn resolve(path: &Path) -> Result<Resolved, MeasureError> {
    let mut links = Vec::new();
    let mut real = PathBuf::from("/");
    let mut rest = parts(path)?;
    rest.reverse();
    while let Some(part) = rest.pop() {
        if part == ".." {
            real.pop();
            continue;
        }
        let next = real.join(&part);
        let found = fs::symlink_metadata(&next).map_err(MeasureError::io(&next))?;
        if !found.is_symlink() {
            real = next;
            continue;
        }
        if links.len() == LINKS_MAX {
            return Err(MeasureError::Links(path.to_path_buf()));
        }
        let target = fs::read_link(&next).map_err(MeasureError::io(&next))?;
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        rest.extend(names(&target).into_iter().rev());
        links.push(Link { at: next, target });
    }
    Ok(Resolved { links, real })
}

fn parts(path: &Path) -> Result<Vec<std::ffi::OsString>, MeasureError> {
    if path.is_absolute() && !path.components().any(|part| part == Component::ParentDir) {
        Ok(names(path))
    } else {
        Err(MeasureError::Path(path.to_path_buf()))
    }
}

fn names(path: &Path) -> Vec<std::ffi::OsString> {
    let named = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components()
        .filter(named)
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

/// What a walk does with each entry; the walk itself computes the digest of the tree.
pub(crate) trait Visit {
    /// A directory, before what it holds.
    fn enter(&mut self, relative: &Path) -> Result<(), MeasureError>;
    /// A file; the digest is that of what the visitor kept.
    fn file(&mut self, from: &Path, relative: &Path) -> Result<Content, MeasureError>;
    /// A symbolic link.
    fn link(&mut self, relative: &Path, target: &Path) -> Result<(), MeasureError>;
}

struct Measuring;

impl Visit for Measuring {
    fn enter(&mut self, _: &Path) -> Result<(), MeasureError> {
        Ok(())
    }

    fn file(&mut self, from: &Path, _: &Path) -> Result<Content, MeasureError> {
        content(from)
    }

    fn link(&mut self, _: &Path, _: &Path) -> Result<(), MeasureError> {
        Ok(())
    }
}

struct Walk<'a> {
    root: &'a Path,
    visit: &'a mut dyn Visit,
    hasher: Hasher,
    entries: u64,
    tree: Tree,
}

/// Walks the tree at `root` in the order of its paths.
pub(crate) fn walk(root: &Path, visit: &mut dyn Visit) -> Result<Tree, MeasureError> {
    let found = fs::symlink_metadata(root).map_err(MeasureError::io(root))?;
    if !found.is_dir() {
        return Err(MeasureError::Special(root.to_path_buf()));
    }
    let digest = Digest::from_bytes([0; 32]);
    let tree = Tree {
        digest,
        files: 0,
        bytes: 0,
        executable: false,
    };
    let mut walk = Walk {
        root,
        visit,
        hasher: Hasher::new(),
        entries: 0,
        tree,
    };
    walk.hasher.update(TREE_FORMAT);
    walk.directory(Path::new(""), 0)?;
    walk.tree.digest = walk.hasher.finish();
    Ok(walk.tree)
}

impl Walk<'_> {
    fn directory(&mut self, relative: &Path, depth: usize) -> Result<(), MeasureError> {
        if depth == TREE_DEPTH_MAX {
            return Err(self.too_large("levels", TREE_DEPTH_MAX as u64));
        }
        self.visit.enter(relative)?;
        let path = self.root.join(relative);
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(MeasureError::io(&path))? {
            names.push(entry.map_err(MeasureError::io(&path))?.file_name());
            self.entries += 1;
            if self.entries > TREE_ENTRIES_MAX {
                return Err(self.too_large("entries", TREE_ENTRIES_MAX));
            }
        }
        names.sort_unstable();
        names
            .iter()
            .try_for_each(|name| self.entry(&relative.join(name), depth))
    }

    fn entry(&mut self, relative: &Path, depth: usize) -> Result<(), MeasureError> {
        let from = self.root.join(relative);
        let found = fs::symlink_metadata(&from).map_err(MeasureError::io(&from))?;
        if found.is_dir() {
            self.record(b'd', relative, &[]);
            self.directory(relative, depth + 1)
        } else if found.is_symlink() {
            let target = fs::read_link(&from).map_err(MeasureError::io(&from))?;
            self.record(b'l', relative, target.as_os_str().as_bytes());
            self.visit.link(relative, &target)
        } else if found.is_file() {
            self.file(&from, relative)
        } else {
            Err(MeasureError::Special(from))
        }
    }

    fn file(&mut self, from: &Path, relative: &Path) -> Result<(), MeasureError> {
        let content = self.visit.file(from, relative)?;
        let kind = if content.executable { b'x' } else { b'f' };
        self.record(kind, relative, content.digest.as_bytes());
        self.tree.files += 1;
        self.tree.bytes = self.tree.bytes.saturating_add(content.bytes);
        self.tree.executable |= content.executable || content.elf;
        if self.tree.bytes > TREE_BYTES_MAX {
            return Err(self.too_large("bytes", TREE_BYTES_MAX));
        }
        Ok(())
    }

    /// Lengths go first, so that no two trees are written alike.
    fn record(&mut self, kind: u8, relative: &Path, rest: &[u8]) {
        self.hasher.update(&[kind]);
        for bytes in [relative.as_os_str().as_bytes(), rest] {
            self.hasher.update(&(bytes.len() as u64).to_be_bytes());
            self.hasher.update(bytes);
        }
    }

    fn too_large(&self, what: &'static str, max: u64) -> MeasureError {
        MeasureError::TooLarge {
            path: self.root.to_path_buf(),
            what,
            max,
        }
    }
}

/// Opens a regular file, whatever may have taken its place since it was listed.
pub(crate) fn open(path: &Path) -> Result<File, MeasureError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
            MeasureError::Special(path.to_path_buf())
        }
        _ => MeasureError::io(path)(error),
    })?;
    if file.metadata().map_err(MeasureError::io(path))?.is_file() {
        Ok(file)
    } else {
        Err(MeasureError::Special(path.to_path_buf()))
    }
}

pub(crate) fn content(path: &Path) -> Result<Content, MeasureError> {
    digest(&open(path)?, &mut io::sink()).map_err(MeasureError::io(path))
}

/// Digests `file` while writing it to `copy`.
pub(crate) fn digest(mut file: &File, copy: &mut dyn Write) -> io::Result<Content> {
    let found = file.metadata()?;
    let executable = found.permissions().mode() & 0o111 != 0;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; BUFFER];
    let (mut bytes, mut elf) = (0_u64, false);
    loop {
        // A file with a hole may claim any size; one that grows may have any.
        if found.len().max(bytes) > TREE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = buffer.get(..count).unwrap_or_default();
        elf |= bytes == 0 && read.starts_with(ELF_MAGIC);
        hasher.update(read);
        copy.write_all(read)?;
        bytes += count as u64;
    }
    Ok(Content {
        digest: hasher.finish(),
        bytes,
        executable,
        elf,
    })
}

#[cfg(test)]
mod tests;
