//! Inclusion and consistency proofs.
//!
//! Made as in RFC 6962 §2.1.1 and §2.1.2, verified as in RFC 9162 §2.1.3.2 and §2.1.4.2.

use std::ops::Range;

use aims_types::Digest;

use crate::hash::{Node, empty_root, fold_right, node_hash};

/// Most hashes a proof can have in a tree whose size fits 64 bits; a consistency proof needs one
/// more than the tree is high.
pub const PROOF_LEN_MAX: usize = 65;

/// Where hashes of complete subtrees come from.
pub trait HashReader {
    /// What can go wrong with a read.
    type Error;

    /// The hash of `node`.
    fn hash(&self, node: Node) -> Result<Digest, Self::Error>;
}

/// Why a proof could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// The entry is not in a tree of that size.
    #[error("entry {index} is outside a tree of {size} entries")]
    IndexOutside {
        /// The entry asked for.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The older tree is larger than the newer one.
    #[error("a tree of {old} entries is no prefix of a tree of {new}")]
    SizesReversed {
        /// The size of the older tree.
        old: u64,
        /// The size of the newer tree.
        new: u64,
    },
    /// A hash could not be read.
    #[error("a hash of the tree cannot be read")]
    Read(#[source] E),
}

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The entry is not in a tree of that size, or the older tree is larger.
    #[error("the numbers of the proof fit no tree")]
    Sizes,
    /// The proof has more or fewer hashes than the sizes call for.
    #[error("the proof has a wrong number of hashes")]
    Length,
    /// The hashes do not lead to the root.
    #[error("the proof leads to another root; the entry or the tree was changed")]
    Root,
}

/// The subtrees whose hashes an inclusion proof of entry `index` in a tree of `size` is made of.
///
/// Reading them first (their tiles: [`crate::TilePath::of_node`]) lets proofs be made over
/// asynchronous storage.
pub fn inclusion_nodes(index: u64, size: u64) -> Vec<Node> {
    inclusion_ranges(index, size)
        .into_iter()
        .flat_map(cover)
        .collect()
}

/// The subtrees whose hashes a consistency proof between the two sizes is made of.
pub fn consistency_nodes(old: u64, new: u64) -> Vec<Node> {
    consistency_ranges(old, new)
        .into_iter()
        .flat_map(cover)
        .collect()
}

/// Proves that entry `index` is in the tree of `size` entries; from the leaf's sibling upwards.
pub fn prove_inclusion<R: HashReader>(
    reader: &R,
    index: u64,
    size: u64,
) -> Result<Vec<Digest>, ProveError<R::Error>> {
    if index >= size {
        return Err(ProveError::IndexOutside { index, size });
    }
    range_hashes(reader, inclusion_ranges(index, size))
}

/// Proves that the tree of `old` entries is a prefix of the tree of `new` entries.
///
/// The proof is empty when `old` is zero or the sizes are the same.
pub fn prove_consistency<R: HashReader>(
    reader: &R,
    old: u64,
    new: u64,
) -> Result<Vec<Digest>, ProveError<R::Error>> {
    if old > new {
        return Err(ProveError::SizesReversed { old, new });
    }
    range_hashes(reader, consistency_ranges(old, new))
}

/// Checks that the entry with `leaf` as its hash is the `index`-th of the tree with `root`
/// (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Sizes);
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match (last == 0, hash == *root) {
        (false, _) => Err(ProofError::Length),
        (true, false) => Err(ProofError::Root),
        (true, true) => Ok(()),
    }
}

/// Checks that the tree (`old`, `old_root`) is a prefix of the tree (`new`, `new_root`)
/// (RFC 9162 §2.1.4.2).
///
/// A tree without entries is a prefix of every tree and its root is [`empty_root`].
pub fn verify_consistency(
    (old, old_root): (u64, &Digest),
    (new, new_root): (u64, &Digest),
    proof: &[Digest],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Sizes);
    }
    if old == new || old == 0 {
        let expected = if old == new { *new_root } else { empty_root() };
        let new_is_sound = new != 0 || *new_root == empty_root();
        return match (proof.is_empty(), *old_root == expected && new_is_sound) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    walk_consistency((old, old_root), (new, new_root), proof)
}

/// The loop of RFC 9162 §2.1.4.2 for `0 < old < new`.
fn walk_consistency(
    (old, old_root): (u64, &Digest),
    (new, new_root): (u64, &Digest),
    proof: &[Digest],
) -> Result<(), ProofError> {
    let (first, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::Length)?
    };
    let shared = (old - 1).trailing_ones();
    // A shift by 64 cannot occur: `old` is below `u64::MAX`, so its predecessor has a zero bit.
    let (mut at, mut last) = ((old - 1) >> shared, (new - 1) >> shared);
    let (mut from, mut to) = (*first, *first);
    for hash in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            from = node_hash(hash, &from);
            to = node_hash(hash, &to);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            to = node_hash(&to, hash);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match (last == 0, from == *old_root && to == *new_root) {
        (false, _) => Err(ProofError::Length),
        (true, false) => Err(ProofError::Root),
        (true, true) => Ok(()),
    }
}

/// The ranges of leaves of `PATH(index, D[size])` (RFC 6962 §2.1.1), innermost first.
fn inclusion_ranges(index: u64, size: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let (mut low, mut high) = (0, size);
    while index < size && high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            ranges.push(middle..high);
            high = middle;
        } else {
            ranges.push(low..middle);
            low = middle;
        }
    }
    ranges.reverse();
    ranges
}

/// The ranges of leaves of `PROOF(old, D[new])` (RFC 6962 §2.1.2), innermost first.
fn consistency_ranges(old: u64, new: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    if old == 0 || old >= new {
        return ranges;
    }
    let (mut low, mut high) = (0, new);
    while high != old {
        let middle = low + split(high - low);
        if old <= middle {
            ranges.push(middle..high);
            high = middle;
        } else {
            ranges.push(low..middle);
            low = middle;
        }
    }
    // The verifier knows the hash of the innermost subtree only if it is the whole older tree.
    if low != 0 {
        ranges.push(low..high);
    }
    ranges.reverse();
    ranges
}

/// The largest power of two below `count`, which is at least 2 (RFC 6962 §2.1).
fn split(count: u64) -> u64 {
    1 << (count.max(2) - 1).ilog2()
}

/// The complete subtrees that make up `range`, from left to right.
///
/// INVARIANT: `range` comes from splitting a tree, so each subtree starts at a multiple of its
/// size.
pub(crate) fn cover(range: Range<u64>) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut low = range.start;
    while low < range.end {
        let level = (range.end - low).ilog2();
        nodes.push(Node {
            level: u8::try_from(level).unwrap_or(63),
            index: low >> level,
        });
        low += 1 << level;
    }
    nodes
}

fn range_hashes<R: HashReader>(
    reader: &R,
    ranges: Vec<Range<u64>>,
) -> Result<Vec<Digest>, ProveError<R::Error>> {
    ranges
        .into_iter()
        .map(|range| {
            let hashes = cover(range).into_iter().map(|node| reader.hash(node));
            let hashes = hashes.collect::<Result<_, _>>().map_err(ProveError::Read)?;
            Ok(fold_right(hashes).unwrap_or_else(empty_root))
        })
        .collect()
}

#[cfg(test)]
mod tests;
