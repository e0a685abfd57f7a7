//! Tiles: the files a log is made of (c2sp.org/tlog-tiles).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use aims_types::Digest;

use crate::hash::{Node, merkle_root};
use crate::proof::HashReader;
use crate::text::parse_decimal;

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Levels of the tree a tile spans.
const TILE_HEIGHT: u8 = 8;
/// Highest level of tiles in a tree whose size fits 64 bits.
const LEVEL_MAX: u8 = 7;
/// Longest path: `tile/entries/`, a 17-digit index in six elements, `.p/255`.
const PATH_LEN_MAX: usize = 48;
/// Bytes of a hash.
pub(crate) const HASH_LEN: usize = 32;

/// What a file of the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Hashes; at level `l` each is the root of 256^`l` entries.
    Hashes {
        /// The tile's level, at most 7.
        level: u8,
    },
    /// Entries.
    Entries,
}

/// The name of a tile or entry bundle: `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: Kind,
    index: u64,
    width: u16,
}

/// The text is no path of a tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tile path is `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`")]
pub struct TilePathError;

/// Where tiles and entry bundles come from.
pub trait TileReader {
    /// What can go wrong with a read.
    type Error;

    /// The bytes of the file `path`.
    ///
    /// A log may delete a partial tile once the full one exists; a reader may then answer with the
    /// full one: what is beyond the width asked for is ignored.
    fn read(&self, path: &TilePath) -> Result<Vec<u8>, Self::Error>;
}

/// Why a hash could not be taken from a tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError<E> {
    /// The node is not complete in a tree of that size.
    #[error("a tree of {size} entries has no complete node {index} at level {level}")]
    NodeOutside {
        /// The size of the tree.
        size: u64,
        /// The node's level.
        level: u8,
        /// The node's index.
        index: u64,
    },
    /// The file is too short or not a sequence of hashes.
    #[error("`{path}` is not a tile of that width")]
    Malformed {
        /// The file.
        path: TilePath,
    },
    /// The file could not be read.
    #[error("`{path}` cannot be read")]
    Read {
        /// The file.
        path: TilePath,
        /// What the reader said.
        #[source]
        source: E,
    },
}

/// Hashes of a tree of a certain size, taken from its tiles.
///
/// The tiles are believed: verify a proof made from them against a signed root.
#[derive(Debug)]
pub struct TileHashes<'a, R> {
    reader: &'a R,
    size: u64,
}

impl TilePath {
    /// The file `index` of `kind` in a tree of `size` entries, as wide as it is there; `None` if
    /// it is not there.
    pub fn in_tree(kind: Kind, index: u64, size: u64) -> Option<Self> {
        let level = match kind {
            Kind::Hashes { level } if level > LEVEL_MAX => return None,
            Kind::Hashes { level } => level,
            Kind::Entries => 0,
        };
        let hashes = size >> (TILE_HEIGHT * level);
        let before = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = hashes.checked_sub(before)?.min(u64::from(TILE_WIDTH));
        let width = u16::try_from(width).ok().filter(|width| *width > 0)?;
        Some(Self { kind, index, width })
    }

    /// The tile that holds the hash of `node`, or the hashes it is made of, in a tree of `size`.
    pub fn of_node(node: Node, size: u64) -> Option<Self> {
        let level = node.level / TILE_HEIGHT;
        let below = node.level % TILE_HEIGHT;
        let path = Self::in_tree(
            Kind::Hashes { level },
            node.index >> (TILE_HEIGHT - below),
            size,
        )?;
        let (start, count) = span(node);
        (start + count <= usize::from(path.width)).then_some(path)
    }

    /// What the file holds.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The position among the files of its kind and level.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The hashes or entries in it: 1 to 256.
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether it will never change any more.
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// A file of the log from its parts, checked; for the parser.
    fn new(kind: Kind, index: u64, width: u16) -> Option<Self> {
        // A tile is possible if it is in the largest tree.
        let widest = Self::in_tree(kind, index, u64::MAX)?;
        (1..=widest.width)
            .contains(&width)
            .then_some(Self { kind, index, width })
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Hashes { level } => write!(f, "tile/{level}/")?,
            Kind::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for (place, group) in groups.iter().enumerate().rev() {
            let (mark, end) = if place > 0 { ("x", "/") } else { ("", "") };
            write!(f, "{mark}{group:03}{end}")?;
        }
        if self.is_full() {
            Ok(())
        } else {
            write!(f, ".p/{}", self.width)
        }
    }
}

impl FromStr for TilePath {
    type Err = TilePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = parse_path(text).ok_or(TilePathError)?;
        // The printed form is the one spelling: this refuses, for example, leading `x000`.
        if path.to_string() == text {
            Ok(path)
        } else {
            Err(TilePathError)
        }
    }
}

impl<'a, R: TileReader> TileHashes<'a, R> {
    /// Hashes of the tree of `size` entries in `reader`.
    pub const fn new(reader: &'a R, size: u64) -> Self {
        Self { reader, size }
    }
}

impl<R: TileReader> HashReader for TileHashes<'_, R> {
    type Error = TileError<R::Error>;

    fn hash(&self, node: Node) -> Result<Digest, Self::Error> {
        let path = TilePath::of_node(node, self.size).ok_or(TileError::NodeOutside {
            size: self.size,
            level: node.level,
            index: node.index,
        })?;
        let hashes = read_hashes(self.reader, path)?;
        let (start, count) = span(node);
        Ok(merkle_root(hashes.into_iter().skip(start).take(count)))
    }
}

impl TileReader for BTreeMap<TilePath, Vec<u8>> {
    type Error = TileMissing;

    fn read(&self, path: &TilePath) -> Result<Vec<u8>, Self::Error> {
        self.get(path).cloned().ok_or(TileMissing)
    }
}

/// The map does not hold the tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tile is missing")]
pub struct TileMissing;

/// The files that appear or change when a tree grows from `old` to `new` entries, each once and in
/// its final form.
pub fn changed_tiles(old: u64, new: u64) -> Vec<TilePath> {
    let levels = (0..=LEVEL_MAX).map(|level| (Kind::Hashes { level }, TILE_HEIGHT * level));
    std::iter::once((Kind::Entries, 0))
        .chain(levels)
        .filter(|(_, shift)| old >> shift < new >> shift)
        .flat_map(|(kind, shift)| {
            let first = (old >> shift) / u64::from(TILE_WIDTH);
            let last = ((new >> shift) - 1) / u64::from(TILE_WIDTH);
            (first..=last).filter_map(move |index| TilePath::in_tree(kind, index, new))
        })
        .collect()
}

/// The partial files at the right edge of a tree of `size` entries: what appending needs.
pub fn right_edge_tiles(size: u64) -> Vec<TilePath> {
    let width = u64::from(TILE_WIDTH);
    let levels = (0..=LEVEL_MAX).map(|level| (Kind::Hashes { level }, TILE_HEIGHT * level));
    std::iter::once((Kind::Entries, 0))
        .chain(levels)
        .filter_map(|(kind, shift)| TilePath::in_tree(kind, (size >> shift) / width, size))
        .collect()
}

/// The hashes of tile `path`, exactly as many as it is wide.
pub(crate) fn read_hashes<R: TileReader>(
    reader: &R,
    path: TilePath,
) -> Result<Vec<Digest>, TileError<R::Error>> {
    let bytes = reader
        .read(&path)
        .map_err(|source| TileError::Read { path, source })?;
    let (chunks, []) = bytes.as_chunks::<HASH_LEN>() else {
        return Err(TileError::Malformed { path });
    };
    let hashes = chunks
        .get(..usize::from(path.width))
        .ok_or(TileError::Malformed { path })?;
    Ok(hashes
        .iter()
        .map(|hash| Digest::from_bytes(*hash))
        .collect())
}

/// Where the hashes that make up `node` start in its tile, and how many there are.
fn span(node: Node) -> (usize, usize) {
    let below = node.level % TILE_HEIGHT;
    let in_tile = node.index & ((1 << (TILE_HEIGHT - below)) - 1);
    (usize::try_from(in_tile).unwrap_or(0) << below, 1 << below)
}

fn parse_path(text: &str) -> Option<TilePath> {
    if text.len() > PATH_LEN_MAX {
        return None;
    }
    let (level, rest) = text.strip_prefix("tile/")?.split_once('/')?;
    let kind = match level {
        "entries" => Kind::Entries,
        level => Kind::Hashes {
            level: u8::try_from(parse_decimal(level)?).ok()?,
        },
    };
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => (index, u16::try_from(parse_decimal(width)?).ok()?),
        None => (rest, TILE_WIDTH),
    };
    let mut number: u64 = 0;
    for element in index.split('/') {
        let digits = element.strip_prefix('x').unwrap_or(element);
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        number = number
            .checked_mul(1000)?
            .checked_add(digits.parse().ok()?)?;
    }
    TilePath::new(kind, number, width)
}

#[cfg(test)]
mod tests;
