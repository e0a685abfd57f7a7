//! Checking everything that was recorded, with nothing but the tiles, the checkpoint and the log's
//! public key.

mod extends;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use aims_crypto::sha256;
use aims_model::record::FIRST_PREV;
use aims_model::{Record, Source};
use aims_proof::{Claimed, Claims, Problem};
use aims_tlog::{
    Checkpoint, CheckpointError, Entry, Kind, SignedNote, TILE_WIDTH, TilePath, TileReader, Tree,
    VerifierKey, VerifyTreeError, decode_bundle, verify_tree,
};
use aims_types::{Digest, Timestamp};

pub use extends::{ExtendsError, check_extends};

/// What a good log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// The log's name.
    pub origin: String,
    /// Number of records.
    pub size: u64,
    /// Merkle root over them.
    pub root: Digest,
    /// Each source's gapless chain.
    pub sources: BTreeMap<Source, SourceReport>,
    /// What the records claim.
    pub claimed: Claimed,
}

/// One source's chain of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReport {
    /// Number of records, which is also the last number.
    pub records: u64,
    /// Digest of the last record.
    pub head: Digest,
    /// When the first was written, by the source's clock.
    pub first_at: Timestamp,
    /// When the last was written.
    pub last_at: Timestamp,
}

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum CheckError<E: std::error::Error + 'static> {
    /// The checkpoint is not signed by the log, or is of another log.
    #[error("the checkpoint is not believed: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The tiles or entries are not those of the checkpoint.
    #[error("the tree is not the one that was signed: {0}")]
    Tree(#[from] VerifyTreeError<E>),
    /// An entry bundle is not there or malformed.
    #[error("an entry bundle can't be read: {0}")]
    Bundle(String),
    /// The entries changed while they were read.
    #[error("the entries changed while they were read; copy the log and check the copy")]
    Unstable,
    /// Something is wrong with an entry.
    #[error("entry {index}: {problem}")]
    Entry {
        /// Its index in the tree.
        index: u64,
        /// What is wrong.
        #[source]
        problem: Problem,
    },
    /// The log's own key was not enrolled by the log's records, or was retired.
    #[error("the log does not enrol the key that signs it; it is not the log of this key")]
    ForeignKey,
}

/// Checks the signature of `checkpoint` by `log`, every tile and entry under it, and what the
/// records claim, as far as the log alone can show it:
///
/// - each source's records are a gapless hash chain, and of kinds that the source may write;
/// - each key is enrolled once, under its RFC 7638 thumbprint, for an owner who may have such a
///   key; `log` is among them; the authority's key comes with its certificate;
/// - each grant is signed by an enrolled grant key; at the root it rests on a consent that the
///   person signed with an enrolled key, for the same authority, used once;
/// - below the root it lies within a recorded parent and rests on a request that an instance of the
///   parent's agent signed, used once, while nothing of that was cut off;
/// - each answer to a request for approval is signed by an enrolled person who may answer and for
///   whom the task does not run;
/// - each permitted action names recorded grants of its task, linked from the root, that name its
///   tool or host, an attested instance that acts under the last of them, and a token that was
///   issued to it; it is permitted once, within the uses and sums of every hop over all gateways,
///   on an approval for exactly it where one is needed, used once, and under nothing that its
///   gateway knew to be cut off; each outcome has its permit;
/// - each receipt is of a kill, and trees have one owner after the other: by being given back, or
///   taken over where no sum is limited, with what the lost owner may have used written down until
///   its records are here, and with none of the approvals that it may have used.
pub fn check_log<R: TileReader>(
    reader: &R,
    checkpoint: &SignedNote,
    log: &VerifierKey,
) -> Result<LogReport, CheckError<R::Error>>
where
    R::Error: std::error::Error + 'static,
{
    let verified = Checkpoint::verify(checkpoint, log, &[])?;
    let head = verified.checkpoint();
    verify_tree(reader, head.size, &head.root)?;
    let mut claims = Claims::default();
    let mut sources = Sources::default();
    // The bundles are read a second time: what is read is bound to the root once more.
    let mut tree = Tree::empty();
    for bundle in 0..head.size.div_ceil(u64::from(TILE_WIDTH)) {
        let entries = entries(reader, bundle, head.size)?;
        for (index, entry) in (tree.size()..).zip(&entries) {
            let wrong = |problem| CheckError::Entry { index, problem };
            let bytes = entry.as_bytes();
            let record = Record::decode(bytes).map_err(|error| wrong(Problem::Record(error)))?;
            sources.follow(&record, sha256(bytes)).map_err(wrong)?;
            claims
                .note(&record, |source| sources.len(source))
                .map_err(wrong)?;
        }
        tree = tree.append(entries).map_err(|_| CheckError::Unstable)?.tree;
    }
    if (tree.size(), tree.root()) != (head.size, head.root) {
        return Err(CheckError::Unstable);
    }
    if !claims.is_log_key(log.public()) {
        return Err(CheckError::ForeignKey);
    }
    Ok(LogReport {
        origin: head.origin.to_string(),
        size: head.size,
        root: head.root,
        sources: sources.chains,
        claimed: claims.claimed(),
    })
}

/// The chains of all sources so far.
#[derive(Default)]
struct Sources {
    chains: BTreeMap<Source, SourceReport>,
}

impl Sources {
    /// How many records of a source there are.
    fn len(&self, source: Source) -> u64 {
        self.chains.get(&source).map_or(0, |chain| chain.records)
    }

    fn follow(&mut self, record: &Record, digest: Digest) -> Result<(), Problem> {
        let before = self.chains.get(&record.source);
        let (last, prev) = before.map_or((0, FIRST_PREV), |source| (source.records, source.head));
        if last.checked_add(1) != Some(record.seq) || record.prev != prev {
            return Err(Problem::Chain {
                origin: record.source,
                seq: record.seq,
                last,
            });
        }
        let first_at = before.map_or(record.event.at, |source| source.first_at);
        let after = SourceReport {
            records: record.seq,
            head: digest,
            first_at,
            last_at: record.event.at,
        };
        self.chains.insert(record.source, after);
        Ok(())
    }
}

fn entries<R: TileReader>(
    reader: &R,
    bundle: u64,
    size: u64,
) -> Result<Vec<Entry>, CheckError<R::Error>>
where
    R::Error: std::error::Error + 'static,
{
    let missing = || CheckError::Bundle(format!("bundle {bundle} is not in the tree"));
    let path = TilePath::in_tree(Kind::Entries, bundle, size).ok_or_else(missing)?;
    let bytes = reader
        .read(&path)
        .map_err(|error| CheckError::Bundle(error.to_string()))?;
    let mut entries =
        decode_bundle(&bytes).map_err(|error| CheckError::Bundle(format!("`{path}`: {error}")))?;
    entries.truncate(usize::from(path.width()));
    Ok(entries)
}
