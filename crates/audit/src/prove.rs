//! Inclusion and consistency, proven from the tiles on their paths, each of which is read once.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;

use aims_tlog::{
    ProveError, TileError, TileHashes, TilePath, TileReader, prove_consistency, prove_inclusion,
};
use aims_types::Digest;

use crate::tiles::TileDirError;

/// What is to be proven of the tree of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The size of the tree.
    pub size: u64,
    /// The entries whose places are to be proven.
    pub indices: Vec<u64>,
    /// The size of an earlier tree that it is to be shown to continue.
    pub since: Option<u64>,
}

/// The proofs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// For each entry, from the leaf's sibling upwards.
    pub paths: Vec<Vec<Digest>>,
    /// That the tree continues the earlier one.
    pub since: Option<Vec<Digest>>,
}

/// The tiles don't give the proofs.
pub type NotProven = ProveError<TileError<TileDirError>>;

/// Tiles that are kept while one proof is made: its paths share the upper ones.
struct Once<'a, R> {
    tiles: &'a R,
    read: RefCell<BTreeMap<TilePath, Vec<u8>>>,
}

impl<R: TileReader> TileReader for Once<'_, R> {
    type Error = R::Error;

    fn read(&self, path: &TilePath) -> Result<Vec<u8>, R::Error> {
        if let Some(bytes) = self.read.borrow().get(path) {
            return Ok(bytes.clone());
        }
        let bytes = self.tiles.read(path)?;
        self.read.borrow_mut().insert(*path, bytes.clone());
        Ok(bytes)
    }
}

/// Proves what is wanted; what the tiles say is not believed by whoever verifies it.
pub(crate) fn prove<R: TileReader>(
    tiles: &R,
    wanted: &Wanted,
) -> Result<Proven, ProveError<TileError<R::Error>>> {
    let read = RefCell::default();
    let tiles = Once { tiles, read };
    let hashes = TileHashes::new(&tiles, wanted.size);
    let paths = wanted.indices.iter();
    let paths = paths.map(|index| prove_inclusion(&hashes, *index, wanted.size));
    let since = wanted
        .since
        .map(|older| prove_consistency(&hashes, older, wanted.size));
    Ok(Proven {
        paths: paths.collect::<Result<_, _>>()?,
        since: since.transpose()?,
    })
}
