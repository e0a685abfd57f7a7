//! Growing a tree.

use aims_types::Digest;

use crate::bundle::{BundleError, Entry, decode_bundle, encode_bundle};
use crate::hash::{empty_root, leaf_hash, merkle_root};
use crate::tile::{HASH_LEN, Kind, TILE_WIDTH, TileError, TilePath, TileReader, read_hashes};

/// What is needed of a tree to append to it: its size and its partial tiles.
///
/// Small (at most 8 × 255 hashes and 255 entries) and independent of the tree's size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    size: u64,
    /// The hashes of the partial tile of each level; the last level is never empty.
    edge: Vec<Vec<Digest>>,
    /// The entries of the partial bundle, as they are stored.
    bundle: Vec<u8>,
}

/// A tree after entries were appended, and the files to write before its root is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the files must be written before the new root is published"]
pub struct Growth {
    /// The larger tree.
    pub tree: Tree,
    /// The new and changed files in their final form.
    pub files: Vec<(TilePath, Vec<u8>)>,
}

/// The tree would have more than 2^64 − 1 entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tree cannot take that many entries")]
pub struct TreeTooLarge;

/// Why a tree could not be loaded from its files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError<E> {
    /// A tile could not be read or is malformed.
    #[error(transparent)]
    Tile(#[from] TileError<E>),
    /// The partial entry bundle is malformed.
    #[error("`{path}` is no entry bundle")]
    Bundle {
        /// The file.
        path: TilePath,
        /// What is wrong with it.
        #[source]
        source: BundleError,
    },
    /// The entries do not hash to the tile beside them.
    #[error("the entries of `{path}` are not those of the tree")]
    EntriesDiffer {
        /// The file.
        path: TilePath,
    },
    /// The tiles are not those of the signed root.
    #[error("the tiles lead to another root than the one expected; the log was changed or is old")]
    RootDiffers,
}

impl Tree {
    /// The tree without entries.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The tree of `size` entries whose root is `root`, from its right-edge tiles
    /// ([`crate::right_edge_tiles`]).
    pub fn load<R: TileReader>(
        reader: &R,
        size: u64,
        root: &Digest,
    ) -> Result<Self, LoadError<R::Error>> {
        let mut tree = Self {
            size,
            ..Self::default()
        };
        for level in (0..).take_while(|level| *level < 8 && size >> (8 * *level) > 0) {
            let kind = Kind::Hashes { level };
            let index = (size >> (8 * level)) / u64::from(TILE_WIDTH);
            tree.edge.push(match TilePath::in_tree(kind, index, size) {
                Some(path) => read_hashes(reader, path)?,
                None => Vec::new(),
            });
        }
        if tree.root() != *root {
            return Err(LoadError::RootDiffers);
        }
        tree.bundle = tree.load_bundle(reader)?;
        Ok(tree)
    }

    /// Appends `entries` and says which files to write; `self` stays as it was, so that a failed
    /// write costs nothing.
    pub fn append(&self, entries: impl IntoIterator<Item = Entry>) -> Result<Growth, TreeTooLarge> {
        let mut tree = self.clone();
        let mut files = Vec::new();
        for entry in entries {
            tree.size = tree.size.checked_add(1).ok_or(TreeTooLarge)?;
            entry.write_to(&mut tree.bundle);
            tree.push(0, leaf_hash(entry.as_bytes()), &mut files);
        }
        tree.partial_files(self.size, &mut files);
        Ok(Growth { tree, files })
    }

    /// The number of entries.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root hash.
    pub fn root(&self) -> Digest {
        // Each level's hashes are followed, to the right, by the incomplete subtree below them.
        let subtree = self
            .edge
            .iter()
            .fold(None, |below: Option<Digest>, hashes| {
                if hashes.is_empty() {
                    return below;
                }
                Some(merkle_root(hashes.iter().copied().chain(below)))
            });
        subtree.unwrap_or_else(empty_root)
    }

    /// Adds a hash at `level`; a tile that becomes full is emitted and hashed into the next level.
    fn push(&mut self, level: u8, hash: Digest, files: &mut Vec<(TilePath, Vec<u8>)>) {
        let mut carry = Some(hash);
        for at in level.. {
            let Some(hash) = carry.take() else { return };
            let place = usize::from(at);
            if self.edge.len() <= place {
                self.edge.resize(place + 1, Vec::new());
            }
            let Some(hashes) = self.edge.get_mut(place) else {
                return;
            };
            hashes.push(hash);
            if hashes.len() < usize::from(TILE_WIDTH) {
                return;
            }
            let full = std::mem::take(hashes);
            carry = Some(merkle_root(full.iter().copied()));
            let index = (self.size >> (8 * at)) / u64::from(TILE_WIDTH) - 1;
            if at == 0 {
                let bundle = std::mem::take(&mut self.bundle);
                emit(files, Kind::Entries, index, self.size, bundle);
            }
            emit(
                files,
                Kind::Hashes { level: at },
                index,
                self.size,
                tile_bytes(&full),
            );
        }
    }

    /// Emits the partial files that differ from those of the tree of `old` entries.
    fn partial_files(&self, old: u64, files: &mut Vec<(TilePath, Vec<u8>)>) {
        for (level, hashes) in (0_u8..).zip(&self.edge) {
            let count = self.size >> (8 * level);
            if hashes.is_empty() || count == old >> (8 * level) {
                continue;
            }
            let index = count / u64::from(TILE_WIDTH);
            if level == 0 {
                emit(files, Kind::Entries, index, self.size, self.bundle.clone());
            }
            emit(
                files,
                Kind::Hashes { level },
                index,
                self.size,
                tile_bytes(hashes),
            );
        }
    }

    fn load_bundle<R: TileReader>(&self, reader: &R) -> Result<Vec<u8>, LoadError<R::Error>> {
        let index = self.size / u64::from(TILE_WIDTH);
        let Some(path) = TilePath::in_tree(Kind::Entries, index, self.size) else {
            return Ok(Vec::new());
        };
        let bytes = reader
            .read(&path)
            .map_err(|source| TileError::Read { path, source })?;
        let mut entries =
            decode_bundle(&bytes).map_err(|source| LoadError::Bundle { path, source })?;
        entries.truncate(usize::from(path.width()));
        let hashes: Vec<_> = entries
            .iter()
            .map(|entry| leaf_hash(entry.as_bytes()))
            .collect();
        if self.edge.first() != Some(&hashes) {
            return Err(LoadError::EntriesDiffer { path });
        }
        Ok(encode_bundle(&entries))
    }
}

fn emit(files: &mut Vec<(TilePath, Vec<u8>)>, kind: Kind, index: u64, size: u64, bytes: Vec<u8>) {
    files.extend(TilePath::in_tree(kind, index, size).map(|path| (path, bytes)));
}

fn tile_bytes(hashes: &[Digest]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(hashes.len() * HASH_LEN);
    for hash in hashes {
        bytes.extend_from_slice(hash.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests;
