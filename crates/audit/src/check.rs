//! Checking everything that was recorded, with nothing but the tiles, the checkpoint and the log's
//! public key.

use std::collections::{BTreeMap, BTreeSet};

use aims_crypto::sha256;
use aims_model::{EventKind, Record, RecordError, Source};
use aims_tlog::{
    BundleError, Checkpoint, CheckpointError, Kind, SignedNote, TILE_WIDTH, TilePath, TileReader,
    VerifierKey, VerifyTreeError, decode_bundle, verify_tree,
};
use aims_types::{Digest, Timestamp};

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
    /// How many records of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Keys enrolled and not retired: thumbprint and purpose.
    pub keys: BTreeMap<String, String>,
    /// Permitted actions whose outcome is not recorded (yet): decision ids.
    pub open_intents: BTreeSet<String>,
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
    /// An entry is not a record.
    #[error("entry {index} is not a record: {source}")]
    Record {
        /// Its index in the tree.
        index: u64,
        /// What is wrong.
        #[source]
        source: RecordError,
    },
    /// A source's records have a gap, or do not chain.
    #[error(
        "entry {index}: record {seq} of {origin} does not follow its record {last}; a record was \
         lost, reordered or rewritten"
    )]
    Chain {
        /// Its index in the tree.
        index: u64,
        /// Whose chain.
        origin: Source,
        /// The record's number.
        seq: u64,
        /// The number before it in the tree.
        last: u64,
    },
    /// The log's own key was not enrolled by the log's first records.
    #[error("the log does not enrol the key that signs it; it is not the log of this key")]
    ForeignKey,
    /// An outcome belongs to no permitted action.
    #[error("entry {index}: an outcome of `{decision}`, which was never permitted")]
    OutcomeWithoutIntent {
        /// Its index in the tree.
        index: u64,
        /// The decision it names.
        decision: String,
    },
}

/// Checks the signature of `checkpoint` by `log`, every tile and entry under it, the gapless hash
/// chain of each source, and that every outcome has its intent.
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
    let mut report = LogReport {
        origin: head.origin.to_string(),
        size: head.size,
        root: head.root,
        sources: BTreeMap::new(),
        kinds: BTreeMap::new(),
        keys: BTreeMap::new(),
        open_intents: BTreeSet::new(),
    };
    let mut index = 0;
    for bundle in 0..head.size.div_ceil(u64::from(TILE_WIDTH)) {
        for bytes in entries(reader, bundle, head.size)? {
            let record =
                Record::decode(&bytes).map_err(|source| CheckError::Record { index, source })?;
            report.chain(index, &record, sha256(&bytes))?;
            report.count(index, &record)?;
            index += 1;
        }
    }
    Ok(report)
}

impl LogReport {
    fn chain<E: std::error::Error>(
        &mut self,
        index: u64,
        record: &Record,
        digest: Digest,
    ) -> Result<(), CheckError<E>> {
        let before = self.sources.get(&record.source);
        let (last, prev) = before.map_or((0, aims_model::record::FIRST_PREV), |source| {
            (source.records, source.head)
        });
        if record.seq != last + 1 || record.prev != prev {
            return Err(CheckError::Chain {
                index,
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
        self.sources.insert(record.source, after);
        Ok(())
    }

    fn count<E: std::error::Error>(
        &mut self,
        index: u64,
        record: &Record,
    ) -> Result<(), CheckError<E>> {
        *self.kinds.entry(record.event.kind.as_str()).or_default() += 1;
        let text = |name: &str| {
            let value = record.event.body.get(name).and_then(|value| value.as_str());
            value.unwrap_or_default().to_owned()
        };
        match record.event.kind {
            EventKind::KeyEnrolled => {
                self.keys.insert(text("kid"), text("purpose"));
            }
            EventKind::KeyRetired => {
                self.keys.remove(&text("kid"));
            }
            EventKind::CallIntent => {
                self.open_intents.insert(text("decision_id"));
            }
            EventKind::CallOutcome => {
                let decision = text("decision_id");
                if !self.open_intents.remove(&decision) {
                    return Err(CheckError::OutcomeWithoutIntent { index, decision });
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn entries<R: TileReader>(
    reader: &R,
    bundle: u64,
    size: u64,
) -> Result<Vec<Vec<u8>>, CheckError<R::Error>>
where
    R::Error: std::error::Error + 'static,
{
    let missing = || CheckError::Bundle(format!("bundle {bundle} is not in the tree"));
    let path = TilePath::in_tree(Kind::Entries, bundle, size).ok_or_else(missing)?;
    let bytes = reader
        .read(&path)
        .map_err(|error| CheckError::Bundle(error.to_string()))?;
    let decoded: Result<_, BundleError> = decode_bundle(&bytes);
    let entries = decoded.map_err(|error| CheckError::Bundle(error.to_string()))?;
    let width = usize::from(path.width());
    Ok(entries
        .into_iter()
        .take(width)
        .map(aims_tlog::Entry::into_bytes)
        .collect())
}
