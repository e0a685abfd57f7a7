//! How much of a log its proofs read.

use std::cell::Cell;
use std::collections::BTreeMap;

use aims_tlog::{
    Entry, Kind, TileMissing, TilePath, TileReader, Tree, leaf_hash, verify_consistency,
    verify_inclusion,
};
use aims_types::Digest;

use super::{Wanted, prove};

/// Tiles, and how often one was asked for.
struct Counted {
    files: BTreeMap<TilePath, Vec<u8>>,
    reads: Cell<usize>,
}

impl TileReader for Counted {
    type Error = TileMissing;

    fn read(&self, path: &TilePath) -> Result<Vec<u8>, TileMissing> {
        assert_ne!(path.kind(), Kind::Entries, "no entry is read for a path");
        self.reads.set(self.reads.get() + 1);
        self.files.read(path)
    }
}

fn bytes(index: u64) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

fn entries(size: u64) -> impl Iterator<Item = Entry> {
    (0..size).map(|index| Entry::new(bytes(index)).unwrap())
}

fn root(size: u64) -> Digest {
    Tree::empty().append(entries(size)).unwrap().tree.root()
}

#[test]
fn a_proof_reads_few_tiles_each_once_however_long_the_log_is() {
    for size in [
        1_u64, 255, 256, 257, 700, 6_400, 65_535, 65_536, 65_537, 70_000,
    ] {
        let growth = Tree::empty().append(entries(size)).unwrap();
        let tiles = Counted {
            files: growth.files.into_iter().collect(),
            reads: Cell::new(0),
        };
        // As a permit's: registrations at the beginning, the rest in one place of the log.
        let late = size - size / 3;
        let indices: Vec<u64> = (0..12)
            .chain(late..late + 8)
            .filter(|n| *n < size)
            .collect();
        let since = Some(size / 2 + 1);
        let wanted = Wanted {
            size,
            indices,
            since,
        };
        let proven = prove(&tiles, &wanted).unwrap();
        for (index, path) in wanted.indices.iter().zip(&proven.paths) {
            let leaf = leaf_hash(&bytes(*index));
            verify_inclusion(&leaf, *index, size, &growth.tree.root(), path).unwrap();
        }
        let older = size / 2 + 1;
        let since = proven.since.unwrap();
        verify_consistency((older, &root(older)), (size, &growth.tree.root()), &since).unwrap();
        // The beginning, the permit's place, the older edge and the newer one, at every level.
        let levels = (0..8).filter(|level| size >> (8 * level) > 0).count();
        let (reads, most) = (tiles.reads.get(), 4 * levels + 1);
        assert!(reads <= most, "{size}: {reads} tiles read, {most} at most");
    }
}

#[test]
fn a_tile_that_is_missing_or_short_is_an_error_and_no_path() {
    let growth = Tree::empty().append(entries(700)).unwrap();
    let full: BTreeMap<_, _> = growth.files.into_iter().collect();
    let wanted = Wanted {
        size: 700,
        indices: vec![3, 600],
        since: Some(300),
    };
    for path in full.keys().filter(|path| path.kind() != Kind::Entries) {
        for left in [None, Some(31), Some(64)] {
            let mut files = full.clone();
            let bytes = files.remove(path).unwrap();
            files.extend(left.map(|len| (*path, bytes[..len].to_vec())));
            let proven = prove(&files, &wanted);
            let whole = left.is_some_and(|len| len >= bytes.len());
            assert_eq!(proven.is_ok(), whole, "{path}: {left:?}");
        }
    }
}
