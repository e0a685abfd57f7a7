//! Merkle tree hashes (RFC 6962 §2.1).

use aims_crypto::{Hasher, sha256};
use aims_types::Digest;

/// Prefix that keeps leaves and inner nodes apart (RFC 6962 §2.1).
const LEAF_PREFIX: u8 = 0x00;
/// See [`LEAF_PREFIX`].
const NODE_PREFIX: u8 = 0x01;

/// A complete subtree: the `index`-th one of 2^`level` leaves, counted from the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Height above the leaves, at most 63.
    pub level: u8,
    /// Position among the nodes of its level.
    pub index: u64,
}

/// The hash of an entry: `SHA-256(0x00 ‖ entry)`.
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(&[LEAF_PREFIX]);
    hasher.update(entry);
    hasher.finish()
}

/// The hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(&[NODE_PREFIX]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    hasher.finish()
}

/// The root of the tree without leaves: `SHA-256("")`.
pub fn empty_root() -> Digest {
    sha256(&[])
}

/// The root over `hashes`, taken as leaf hashes or as the roots of complete subtrees of one size.
///
/// The last one may also be an incomplete subtree; the shape is the same.
pub fn merkle_root(hashes: impl IntoIterator<Item = Digest>) -> Digest {
    let mut stack: Vec<Digest> = Vec::with_capacity(64);
    for (count, hash) in (0_u64..).zip(hashes) {
        let mut carry = hash;
        // As many complete pairs end here as the count so far has trailing ones.
        for _ in 0..count.trailing_ones() {
            if let Some(left) = stack.pop() {
                carry = node_hash(&left, &carry);
            }
        }
        stack.push(carry);
    }
    fold_right(stack).unwrap_or_else(empty_root)
}

/// Joins subtrees of falling size, given from left to right; `None` if there are none.
pub(crate) fn fold_right(subtrees: Vec<Digest>) -> Option<Digest> {
    subtrees
        .into_iter()
        .rev()
        .reduce(|right, left| node_hash(&left, &right))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The eight leaves and nine roots used throughout the Certificate Transparency code bases.
    const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn known_roots_of_certificate_transparency_are_met() {
        for (size, root) in ROOTS.iter().enumerate() {
            let leaves = LEAVES.iter().take(size).map(|leaf| leaf_hash(leaf));
            assert_eq!(merkle_root(leaves).to_hex(), *root, "size {size}");
        }
    }
}
