//! Tiles as files in a directory.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aims_tlog::{TilePath, TileReader};

/// What a file is called while it is written; no tile has such a name.
const UNFINISHED: &str = "new";

/// A directory that holds the log's tiles under their standard paths.
#[derive(Debug, Clone)]
pub struct TileDir(PathBuf);

/// A tile could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("`{path}`: {source}")]
pub struct TileDirError {
    path: String,
    #[source]
    source: io::Error,
    /// Whether it was a sync that failed.
    lost: bool,
}

impl TileDirError {
    /// Whether a sync failed: what reached the disk is then known only to a process that reads it
    /// anew, and this one must stop.
    pub const fn is_lost(&self) -> bool {
        self.lost
    }
}

impl TileDir {
    /// The tiles in `dir`, which is created when something is written.
    pub const fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// Writes files so that each is whole after a crash, and all are durable when this returns:
    /// their bytes first, then their names, then the directories up to and above the tiles'.
    pub fn write_all(&self, files: &[(TilePath, Vec<u8>)]) -> Result<(), TileDirError> {
        let mut dirs: BTreeSet<PathBuf> = BTreeSet::new();
        for (path, bytes) in files {
            let target = self.file(path);
            self.prepare(&target, &mut dirs).map_err(failed(&target))?;
            let file = write_beside(&target, bytes).map_err(failed(&target))?;
            file.sync_all().map_err(lost(&target))?;
        }
        for (path, _) in files {
            let target = self.file(path);
            fs::rename(beside(&target), &target).map_err(failed(&target))?;
        }
        // Deepest first: a name never becomes durable before what it names.
        for dir in dirs.iter().rev() {
            sync_dir(dir).map_err(lost(dir))?;
        }
        Ok(())
    }

    fn file(&self, path: &TilePath) -> PathBuf {
        self.0.join(path.to_string())
    }

    /// Makes the directory of `target`, and notes which directories have to be synced for its name
    /// to last: all within ours, since an earlier run may have ended before it synced them, and
    /// the parents of all that are made now.
    fn prepare(&self, target: &Path, dirs: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let mut missing = false;
        for dir in target.ancestors().skip(1) {
            missing = missing || !dir.is_dir();
            let (within, exists) = (dir.starts_with(&self.0), dir.is_dir());
            dirs.insert(or_here(dir).to_owned());
            if !within && exists {
                break;
            }
        }
        match target.parent().filter(|_| missing) {
            Some(dir) => fs::create_dir_all(dir),
            None => Ok(()),
        }
    }
}

impl TileReader for TileDir {
    type Error = TileDirError;

    fn read(&self, path: &TilePath) -> Result<Vec<u8>, TileDirError> {
        let file = self.file(path);
        fs::read(&file).map_err(failed(&file))
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> TileDirError {
    let path = path.display().to_string();
    |source| TileDirError {
        path,
        source,
        lost: false,
    }
}

fn lost(path: &Path) -> impl FnOnce(io::Error) -> TileDirError {
    let error = failed(path);
    |source| TileDirError {
        lost: true,
        ..error(source)
    }
}

fn beside(target: &Path) -> PathBuf {
    target.with_added_extension(UNFINISHED)
}

fn write_beside(target: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::create(beside(target))?;
    file.write_all(bytes)?;
    Ok(file)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The parent of a relative name is where we are.
fn or_here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    }
}

#[cfg(test)]
mod tests {
    use aims_tlog::{Entry, Tree};

    use super::*;

    fn growth(entries: usize) -> Vec<(TilePath, Vec<u8>)> {
        let entries = (0..entries).map(|n| Entry::new(n.to_string().into_bytes()).unwrap());
        Tree::empty().append(entries).unwrap().files
    }

    #[test]
    fn what_was_written_is_read_back_and_nothing_unfinished_stays() {
        let temp = tempfile::tempdir().unwrap();
        let tiles = TileDir::new(temp.path().join("a/b"));
        let files = growth(300);
        assert!(files.len() >= 4);
        tiles.write_all(&files).unwrap();
        tiles.write_all(&files).unwrap();
        for (path, bytes) in &files {
            assert_eq!(tiles.read(path).unwrap(), *bytes, "{path}");
        }
        assert!(!unfinished(temp.path()));
    }

    #[test]
    fn a_file_left_unfinished_by_a_crash_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let tiles = TileDir::new(temp.path().to_owned());
        let files = growth(3);
        for (path, _) in &files {
            let target = tiles.file(path);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(beside(&target), b"half").unwrap();
        }
        tiles.write_all(&files).unwrap();
        assert!(
            files
                .iter()
                .all(|(path, bytes)| tiles.read(path).unwrap() == *bytes)
        );
        assert!(!unfinished(temp.path()));
    }

    #[test]
    fn a_directory_that_can_not_be_made_is_an_error_that_names_the_file() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("tile"), b"in the way").unwrap();
        let error = TileDir::new(temp.path().to_owned())
            .write_all(&growth(1))
            .unwrap_err();
        assert!(error.to_string().contains("tile"), "{error}");
    }

    #[test]
    fn every_directory_that_holds_a_new_name_is_synced() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("a/log");
        let tiles = TileDir::new(root.clone());
        let mut dirs = BTreeSet::new();
        tiles
            .prepare(&root.join("tile/0/000.p/5"), &mut dirs)
            .unwrap();
        let expected = [
            "",
            "a",
            "a/log",
            "a/log/tile",
            "a/log/tile/0",
            "a/log/tile/0/000.p",
        ];
        let expected: BTreeSet<_> = expected.iter().map(|dir| temp.path().join(dir)).collect();
        assert_eq!(
            dirs.iter().map(|dir| dir.join("")).collect::<Vec<_>>(),
            expected.iter().map(|dir| dir.join("")).collect::<Vec<_>>()
        );
    }

    fn unfinished(dir: &Path) -> bool {
        fs::read_dir(dir).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            path.extension().is_some_and(|name| name == UNFINISHED)
                || (path.is_dir() && unfinished(&path))
        })
    }
}
