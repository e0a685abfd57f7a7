use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use tlog_tiles::{
    Hash, check_record, check_tree, prove_record, prove_tree, stored_hashes, tree_hash,
};

use super::*;
use crate::bundle::Entry;
use crate::hash::{leaf_hash, merkle_root};
use crate::tile::{TileHashes, TilePath};
use crate::tree::Tree;

const SIZE_MAX: u64 = 2000;

/// The hashes of the other implementation, in its own order.
struct Oracle(Vec<Hash>);

impl tlog_tiles::HashReader for Oracle {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        Ok(indexes
            .iter()
            .map(|index| self.0[usize::try_from(*index).unwrap()])
            .collect())
    }
}

static ORACLE: LazyLock<Oracle> = LazyLock::new(|| {
    let mut oracle = Oracle(Vec::new());
    for index in 0..SIZE_MAX {
        let hashes = stored_hashes(index, &data(index), &oracle).unwrap();
        oracle.0.extend(hashes);
    }
    oracle
});

fn data(index: u64) -> Vec<u8> {
    index.to_be_bytes().repeat(3)
}

fn leaf(index: u64) -> Digest {
    leaf_hash(&data(index))
}

fn root(size: u64) -> Digest {
    merkle_root((0..size).map(leaf))
}

fn files(size: u64) -> BTreeMap<TilePath, Vec<u8>> {
    let entries = (0..size).map(|index| Entry::new(data(index)).unwrap());
    Tree::empty()
        .append(entries)
        .unwrap()
        .files
        .into_iter()
        .collect()
}

fn theirs(proof: &[Digest]) -> Vec<Hash> {
    proof.iter().map(|hash| Hash(*hash.as_bytes())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn roots_and_proofs_are_those_of_the_oracle(
        (size, index, old) in (1..=SIZE_MAX).prop_flat_map(|size| (Just(size), 0..size, 1..=size)),
    ) {
        let files = files(size);
        let reader = TileHashes::new(&files, size);
        let (new_root, old_root) = (root(size), root(old));
        prop_assert_eq!(tree_hash(size, &*ORACLE).unwrap(), Hash(*new_root.as_bytes()));

        let inclusion = prove_inclusion(&reader, index, size).unwrap();
        prop_assert_eq!(prove_record(size, index, &*ORACLE).unwrap(), theirs(&inclusion));
        prop_assert_eq!(verify_inclusion(&leaf(index), index, size, &new_root, &inclusion), Ok(()));

        let consistency = prove_consistency(&reader, old, size).unwrap();
        prop_assert_eq!(prove_tree(size, old, &*ORACLE).unwrap(), theirs(&consistency));
        let verdict = verify_consistency((old, &old_root), (size, &new_root), &consistency);
        prop_assert_eq!(verdict, Ok(()));
    }

    #[test]
    fn mutated_proofs_fail_here_as_with_the_oracle(
        (size, index, old) in (2..=300_u64).prop_flat_map(|size| (Just(size), 0..size, 1..=size)),
        (other_size, other_index, other_old) in (1..=310_u64, 0..310_u64, 1..=310_u64),
        place in any::<prop::sample::Index>(),
        change in 0..5,
    ) {
        let files = files(size);
        let reader = TileHashes::new(&files, size);
        let mutate = |mut proof: Vec<Digest>| {
            match change {
                0 => {}
                1 => proof.push(leaf(0)),
                2 => { proof.pop(); }
                _ if proof.is_empty() => {}
                3 => { let at = place.index(proof.len()); proof[at] = leaf(1); }
                _ => proof.reverse(),
            }
            proof
        };
        let at = |n: u64| Hash(*root(n).as_bytes());

        let proof = mutate(prove_inclusion(&reader, index, size).unwrap());
        for (size, index) in [(size, index), (other_size, index), (size, other_index)] {
            let ours = verify_inclusion(&leaf(index), index, size, &root(size), &proof).is_ok();
            let leaf = Hash(*leaf(index).as_bytes());
            let oracle = check_record(&theirs(&proof), size, at(size), index, leaf).is_ok();
            prop_assert_eq!(ours, oracle);
        }
        let proof = mutate(prove_consistency(&reader, old, size).unwrap());
        for (old, new) in [(old, size), (other_old, size), (old, other_size)] {
            let ours = verify_consistency((old, &root(old)), (new, &root(new)), &proof).is_ok();
            let oracle = check_tree(&theirs(&proof), new, at(new), old, at(old)).is_ok();
            prop_assert_eq!(ours, oracle);
        }
    }

    #[test]
    fn proofs_of_huge_trees_stay_short(
        size in 1..=u64::MAX,
        pick in any::<u64>(),
    ) {
        let index = pick % size;
        prop_assert!(inclusion_ranges(index, size).len() < PROOF_LEN_MAX);
        prop_assert!(consistency_ranges(index, size).len() <= PROOF_LEN_MAX);
        let nodes = inclusion_nodes(index, size).into_iter().chain(consistency_nodes(index, size));
        for node in nodes {
            prop_assert!(TilePath::of_node(node, size).is_some(), "{node:?}");
        }
    }
}

#[test]
fn the_example_of_rfc_6962_has_the_paths_it_names() {
    // RFC 6962 §2.1.3: seven leaves a..f, j; nodes by (level, index).
    let range = |nodes: Vec<Node>| nodes.iter().map(|n| (n.level, n.index)).collect::<Vec<_>>();
    assert_eq!(
        range(inclusion_nodes(0, 7)),
        [(0, 1), (1, 1), (1, 2), (0, 6)]
    );
    assert_eq!(
        range(inclusion_nodes(3, 7)),
        [(0, 2), (1, 0), (1, 2), (0, 6)]
    );
    assert_eq!(range(inclusion_nodes(4, 7)), [(0, 5), (0, 6), (2, 0)]);
    assert_eq!(range(inclusion_nodes(6, 7)), [(1, 2), (2, 0)]);
    assert_eq!(
        range(consistency_nodes(3, 7)),
        [(0, 2), (0, 3), (1, 0), (1, 2), (0, 6)]
    );
    assert_eq!(range(consistency_nodes(4, 7)), [(1, 2), (0, 6)]);
    assert_eq!(range(consistency_nodes(6, 7)), [(1, 2), (0, 6), (2, 0)]);
}

#[test]
fn every_tree_extends_the_empty_one_and_itself() {
    let (three, empty, wrong) = (root(3), empty_root(), leaf(9));
    assert_eq!(verify_consistency((0, &empty), (3, &three), &[]), Ok(()));
    assert_eq!(verify_consistency((0, &empty), (0, &empty), &[]), Ok(()));
    assert_eq!(verify_consistency((3, &three), (3, &three), &[]), Ok(()));
    for (old, new, proof, error) in [
        ((0, &wrong), (3, &three), vec![], ProofError::Root),
        ((0, &wrong), (0, &wrong), vec![], ProofError::Root),
        ((3, &wrong), (3, &three), vec![], ProofError::Root),
        ((0, &empty), (3, &three), vec![wrong], ProofError::Length),
        ((3, &three), (3, &three), vec![wrong], ProofError::Length),
        ((4, &three), (3, &three), vec![], ProofError::Sizes),
        ((2, &three), (3, &three), vec![], ProofError::Length),
    ] {
        assert_eq!(verify_consistency(old, new, &proof), Err(error));
    }
}

#[test]
fn proofs_outside_the_tree_are_refused() {
    let files = files(3);
    let reader = TileHashes::new(&files, 3);
    let outside = ProveError::IndexOutside { index: 3, size: 3 };
    assert_eq!(prove_inclusion(&reader, 3, 3), Err(outside));
    let reversed = ProveError::SizesReversed { old: 4, new: 3 };
    assert_eq!(prove_consistency(&reader, 4, 3), Err(reversed));
    assert_eq!(
        verify_inclusion(&leaf(0), 3, 3, &root(3), &[]),
        Err(ProofError::Sizes)
    );
    assert!(inclusion_nodes(3, 3).is_empty());
}
