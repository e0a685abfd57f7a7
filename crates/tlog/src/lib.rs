//! The transparency log's formats and arithmetic: signed notes, checkpoints, Merkle proofs, tiles.
//!
//! Pure: what is read comes through [`TileReader`] or [`HashReader`], what is to be written is
//! returned as `(path, bytes)` pairs.
//!
//! # In scope
//! - Merkle tree hashing, inclusion and consistency proofs, made and verified;
//! - tiles and entry bundles: paths, bytes, which of them change when the tree grows;
//! - signed notes and witness cosignatures (Ed25519), checkpoints, `.tlog-proof` files;
//! - recomputing a whole tree from its entries.
//!
//! # Out of scope
//! - storing tiles and choosing when to sign (`aims-audit`), what an entry says (`aims-audit`),
//!   fetching over the network.
//!
//! # Specifications
//! - RFC 6962 §2.1 (hashes, proofs), RFC 9162 §2.1.3.2 and §2.1.4.2 (verification);
//! - c2sp.org/signed-note v1, c2sp.org/tlog-checkpoint v1, c2sp.org/tlog-tiles v1,
//!   c2sp.org/tlog-proof v1, c2sp.org/tlog-cosignature v1 (type 0x04).
//!
//! # Limits
//! - an entry has at most [`ENTRY_LEN_MAX`] bytes; a note [`NOTE_LEN_MAX`] bytes and
//!   [`SIGNATURES_MAX`] signatures; a proof [`PROOF_LEN_MAX`] hashes.

mod bundle;
mod checkpoint;
mod hash;
mod note;
mod proof;
mod proof_file;
mod text;
mod tile;
mod tree;
mod verify_tree;

pub use bundle::{BundleError, ENTRY_LEN_MAX, Entry, EntryTooLong, decode_bundle, encode_bundle};
pub use checkpoint::{
    Checkpoint, CheckpointError, CheckpointParseError, CheckpointSignError, Cosignature,
    VerifiedCheckpoint,
};
pub use hash::{Node, empty_root, leaf_hash, merkle_root, node_hash};
pub use note::{
    KEY_NAME_LEN_MAX, KeyKind, KeyName, KeyNameError, NOTE_LEN_MAX, NoteParseError, NoteSignError,
    NoteSignature, NoteSigner, NoteVerifyError, SIGNATURES_MAX, SignedNote, VerifiedSignature,
    VerifierKey, VerifierKeyError,
};
pub use proof::{
    HashReader, PROOF_LEN_MAX, ProofError, ProveError, consistency_nodes, inclusion_nodes,
    prove_consistency, prove_inclusion, verify_consistency, verify_inclusion,
};
pub use proof_file::{
    EXTRA_LEN_MAX, TLOG_PROOF_LEN_MAX, TlogProof, TlogProofError, TlogProofParseError,
};
pub use tile::{
    Kind, TILE_WIDTH, TileError, TileHashes, TileMissing, TilePath, TilePathError, TileReader,
    changed_tiles, right_edge_tiles,
};
pub use tree::{Growth, LoadError, Tree, TreeTooLarge};
pub use verify_tree::{VerifyTreeError, verify_tree};
