use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::tile::{TileMissing, changed_tiles, right_edge_tiles};
use crate::{TileHashes, VerifyTreeError, prove_inclusion, verify_inclusion, verify_tree};

type Files = BTreeMap<TilePath, Vec<u8>>;

fn entry(index: u64) -> Entry {
    Entry::new(format!("entry {index}").into_bytes()).unwrap()
}

fn grow(tree: &Tree, files: &mut Files, count: u64) -> Tree {
    let growth = tree
        .append((tree.size()..tree.size() + count).map(entry))
        .unwrap();
    let mut written: Vec<_> = growth.files.iter().map(|(path, _)| *path).collect();
    written.sort();
    let mut expected = changed_tiles(tree.size(), growth.tree.size());
    expected.sort();
    assert_eq!(written, expected);
    files.extend(growth.files);
    growth.tree
}

fn root_of(size: u64) -> Digest {
    merkle_root((0..size).map(|index| leaf_hash(entry(index).as_bytes())))
}

#[test]
fn the_specification_s_example_of_70_000_entries_has_the_tiles_it_names() {
    let mut files = Files::new();
    let tree = grow(&Tree::empty(), &mut files, 70_000);
    let hashes = files
        .keys()
        .filter(|path| matches!(path.kind(), Kind::Hashes { .. }));
    let mut partial = Vec::new();
    let mut full = [0; 3];
    for path in hashes {
        match path.kind() {
            Kind::Hashes { level } if path.is_full() => full[usize::from(level)] += 1,
            _ => partial.push(path.to_string()),
        }
    }
    assert_eq!(full, [273, 1, 0]);
    assert_eq!(
        partial,
        ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    );
    assert_eq!(tree.root(), root_of(70_000));
    assert_eq!(verify_tree(&files, 70_000, &tree.root()), Ok(()));
    assert_eq!(Tree::load(&files, 70_000, &tree.root()), Ok(tree));
}

#[test]
fn a_failed_write_costs_nothing() {
    let tree = Tree::empty().append([entry(0)]).unwrap().tree;
    let before = tree.clone();
    let _lost = tree.append((1..300).map(entry)).unwrap();
    assert_eq!(tree, before);
}

#[test]
fn loading_refuses_tiles_of_another_tree() {
    let mut files = Files::new();
    let tree = grow(&Tree::empty(), &mut files, 300);
    assert_eq!(
        Tree::load(&files, 300, &root_of(299)),
        Err(LoadError::RootDiffers)
    );
    for path in right_edge_tiles(300) {
        let mut bad = files.clone();
        let bytes = bad.get_mut(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        assert!(Tree::load(&bad, 300, &tree.root()).is_err(), "{path}");
        bad.remove(&path);
        let missing = TileError::Read {
            path,
            source: TileMissing,
        };
        assert_eq!(
            Tree::load(&bad, 300, &tree.root()),
            Err(LoadError::Tile(missing))
        );
    }
}

#[test]
fn verification_finds_any_changed_file() {
    let mut files = Files::new();
    let tree = grow(&Tree::empty(), &mut files, 600);
    for path in files.keys() {
        let mut bad = files.clone();
        *bad.get_mut(path).unwrap().last_mut().unwrap() ^= 1;
        let expected = match path.kind() {
            Kind::Hashes { .. } => *path,
            Kind::Entries => {
                TilePath::in_tree(Kind::Hashes { level: 0 }, path.index(), 600).unwrap()
            }
        };
        let found = verify_tree(&bad, 600, &tree.root());
        assert_eq!(
            found,
            Err(VerifyTreeError::TileDiffers { path: expected }),
            "{path}"
        );
    }
    assert_eq!(
        verify_tree(&files, 600, &root_of(599)),
        Err(VerifyTreeError::RootDiffers)
    );
}

#[test]
fn full_tiles_stand_in_for_deleted_partial_ones() {
    struct OnlyFull(Files);
    impl TileReader for OnlyFull {
        type Error = TileMissing;
        fn read(&self, path: &TilePath) -> Result<Vec<u8>, TileMissing> {
            let full = TilePath::in_tree(path.kind(), path.index(), 512).unwrap();
            self.0.read(&full)
        }
    }
    let mut files = Files::new();
    let small = grow(&Tree::empty(), &mut files, 300);
    grow(&small, &mut files, 212);
    let reader = OnlyFull(files);
    assert_eq!(Tree::load(&reader, 300, &small.root()), Ok(small.clone()));
    assert_eq!(verify_tree(&reader, 300, &small.root()), Ok(()));
    let proof = prove_inclusion(&TileHashes::new(&reader, 300), 299, 300).unwrap();
    let leaf = leaf_hash(entry(299).as_bytes());
    assert_eq!(
        verify_inclusion(&leaf, 299, 300, &small.root(), &proof),
        Ok(())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn growth_in_any_steps_ends_in_the_same_tree(steps in prop::collection::vec(0_u64..400, 1..6)) {
        let mut files = Files::new();
        let mut tree = Tree::empty();
        for step in steps {
            tree = grow(&tree, &mut files, step);
            prop_assert_eq!(tree.root(), root_of(tree.size()));
            prop_assert_eq!(Tree::load(&files, tree.size(), &tree.root()), Ok(tree.clone()));
        }
        prop_assert_eq!(verify_tree(&files, tree.size(), &tree.root()), Ok(()));
    }
}
