//! Tiles as files in a directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aims_tlog::{TilePath, TileReader};

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
}

impl TileDir {
    /// The tiles in `dir`, which is created when something is written.
    pub const fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// Writes files so that each is whole after a crash, and all are durable when this returns.
    pub fn write_all(&self, files: &[(TilePath, Vec<u8>)]) -> Result<(), TileDirError> {
        for (path, bytes) in files {
            let target = self.0.join(path.to_string());
            replace(&target, bytes).map_err(|source| TileDirError {
                path: path.to_string(),
                source,
            })?;
        }
        Ok(())
    }
}

impl TileReader for TileDir {
    type Error = TileDirError;

    fn read(&self, path: &TilePath) -> Result<Vec<u8>, TileDirError> {
        fs::read(self.0.join(path.to_string())).map_err(|source| TileDirError {
            path: path.to_string(),
            source,
        })
    }
}

/// Writes beside the target, syncs, renames, syncs the directory.
fn replace(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let beside = target.with_added_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, target)?;
    File::open(dir)?.sync_all()
}
