//! Whether a log still is what an earlier checkpoint promised.

use aims_tlog::{
    Checkpoint, CheckpointError, ProofError, ProveError, SignedNote, TileError, TileHashes,
    TileReader, VerifierKey, prove_consistency, verify_consistency,
};

/// Why a log does not extend an earlier checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum ExtendsError<E: std::error::Error + 'static> {
    /// One of the checkpoints is not signed by the log, or is of another log.
    #[error("a checkpoint is not believed: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The log is shorter than it was.
    #[error("the log has {newer} entries, but had {older}: its tail was cut off")]
    Shorter {
        /// How many it has.
        newer: u64,
        /// How many it had.
        older: u64,
    },
    /// The tiles can't be read.
    #[error("the tiles don't show how the log grew: {0}")]
    Tiles(#[from] ProveError<TileError<E>>),
    /// The entries that the earlier checkpoint promised are not there any more.
    #[error("the log is not a continuation of what it was: {0}")]
    Rewritten(#[from] ProofError),
}

/// Checks that the log of `newer` has every entry that `older` promised, at the same place: nothing
/// was cut off, and nothing was rewritten. Both are signed by `log`.
pub fn check_extends<R: TileReader>(
    reader: &R,
    older: &SignedNote,
    newer: &SignedNote,
    log: &VerifierKey,
) -> Result<(), ExtendsError<R::Error>>
where
    R::Error: std::error::Error + 'static,
{
    let (older, newer) = (
        Checkpoint::verify(older, log, &[])?,
        Checkpoint::verify(newer, log, &[])?,
    );
    let (older, newer) = (older.checkpoint(), newer.checkpoint());
    if newer.size < older.size {
        return Err(ExtendsError::Shorter {
            newer: newer.size,
            older: older.size,
        });
    }
    // What the tiles say is not believed: the proof made from them has to lead to both roots.
    let hashes = TileHashes::new(reader, newer.size);
    let proof = prove_consistency(&hashes, older.size, newer.size)?;
    verify_consistency((older.size, &older.root), (newer.size, &newer.root), &proof)?;
    Ok(())
}
