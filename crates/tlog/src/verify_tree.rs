//! Recomputing a whole tree from its entries.

use aims_types::Digest;

use crate::bundle::{BundleError, decode_bundle};
use crate::tile::{Kind, TILE_WIDTH, TileError, TilePath, TileReader};
use crate::tree::Tree;

/// Why the files of a log are not the tree that was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyTreeError<E> {
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] TileError<E>),
    /// An entry bundle is malformed.
    #[error("`{path}` is no entry bundle")]
    Bundle {
        /// The file.
        path: TilePath,
        /// What is wrong with it.
        #[source]
        source: BundleError,
    },
    /// An entry bundle has fewer entries than the tree.
    #[error("`{path}` has {found} entries; entries are missing")]
    EntriesMissing {
        /// The file.
        path: TilePath,
        /// How many it has.
        found: usize,
    },
    /// A tile is not what the entries hash to.
    #[error("`{path}` is not what the entries hash to; an entry or the tile was changed")]
    TileDiffers {
        /// The file.
        path: TilePath,
    },
    /// The entries are not those under the root.
    #[error("the entries hash to another root; an entry was changed, added or removed")]
    RootDiffers,
}

/// Recomputes the tree of `size` entries from its entry bundles and compares every tile and the
/// root; reads each file once.
///
/// A bundle or tile that is wider than asked for is compared as far as the tree goes.
pub fn verify_tree<R: TileReader>(
    reader: &R,
    size: u64,
    root: &Digest,
) -> Result<(), VerifyTreeError<R::Error>> {
    let mut tree = Tree::empty();
    for index in 0..size.div_ceil(u64::from(TILE_WIDTH)) {
        let Some(path) = TilePath::in_tree(Kind::Entries, index, size) else {
            break;
        };
        let bytes = read(reader, path)?;
        let mut entries =
            decode_bundle(&bytes).map_err(|source| VerifyTreeError::Bundle { path, source })?;
        if entries.len() < usize::from(path.width()) {
            return Err(VerifyTreeError::EntriesMissing {
                path,
                found: entries.len(),
            });
        }
        entries.truncate(usize::from(path.width()));
        let Ok(growth) = tree.append(entries) else {
            return Err(VerifyTreeError::RootDiffers);
        };
        tree = growth.tree;
        let hashes = growth.files.into_iter().filter(|(path, _)| {
            // Partial tiles on the way to `size` need not exist.
            path.kind() != Kind::Entries
                && TilePath::in_tree(path.kind(), path.index(), size) == Some(*path)
        });
        for (path, expected) in hashes {
            let found = read(reader, path)?;
            // A full tile may stand in for a partial one; nothing may stand behind a full one.
            let found = if path.is_full() {
                Some(&*found)
            } else {
                found.get(..expected.len())
            };
            if found != Some(expected.as_slice()) {
                return Err(VerifyTreeError::TileDiffers { path });
            }
        }
    }
    if tree.size() == size && tree.root() == *root {
        Ok(())
    } else {
        Err(VerifyTreeError::RootDiffers)
    }
}

fn read<R: TileReader>(reader: &R, path: TilePath) -> Result<Vec<u8>, TileError<R::Error>> {
    reader
        .read(&path)
        .map_err(|source| TileError::Read { path, source })
}
