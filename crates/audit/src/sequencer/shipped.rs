//! Records that a gateway ships: read and checked before any of them is taken.

use aims_crypto::sha256;
use aims_model::{EventKind, Record, RecordError, Source};
use aims_store::{LogEntry, SealedMaterial, SourceHead};
use aims_types::Digest;

use super::FoldError;
use aims_proof::may_write;

/// One record of a gateway, with what it keeps apart from the log.
#[derive(Debug, Clone)]
pub struct Shipped {
    /// Its number within the gateway.
    pub seq: u64,
    /// The canonical record.
    pub record: Vec<u8>,
    /// What a decision used, sealed under the key of the record's task.
    pub material: Option<Vec<u8>>,
}

/// Why shipped records were not taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// They could not be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// A record is not in the one encoding.
    #[error("record {seq} can't be read: {reason}")]
    Malformed {
        /// Which.
        seq: u64,
        /// What is wrong.
        #[source]
        reason: RecordError,
    },
    /// A record names another source than the one that ships it, or another number.
    #[error("record {seq} says it is another gateway's or has another number")]
    Foreign {
        /// Which.
        seq: u64,
    },
    /// A record says what only the server may say.
    #[error("record {seq} is a `{kind}`, which a gateway may not write")]
    Kind {
        /// Which.
        seq: u64,
        /// What it says it is.
        kind: EventKind,
    },
    /// The records do not continue what is there: something was lost or rewritten.
    #[error("record {seq} does not continue the gateway's chain; a record was lost or rewritten")]
    Broken {
        /// Which.
        seq: u64,
    },
    /// What a record keeps apart is not what it commits to.
    #[error("the material of record {seq} is not what the record commits to")]
    Material {
        /// Which.
        seq: u64,
    },
}

/// A record on its way into the tree.
pub(super) struct Taken {
    /// The entry, without its place in the tree.
    pub(super) entry: LogEntry,
    /// Not opened yet: whether it is what the record commits to, the key will tell.
    pub(super) material: Option<SealedMaterial>,
    prev: Digest,
    digest: Digest,
}

/// Records of one source that follow each other.
pub(super) struct Batch {
    source: Source,
    records: Vec<Taken>,
}

impl Batch {
    /// Reads records and checks everything about them that does not depend on what the log has.
    pub(super) fn check(
        source: Source,
        shipped: impl Iterator<Item = Shipped>,
    ) -> Result<Self, TakeError> {
        let mut records: Vec<Taken> = Vec::new();
        for one in shipped {
            let taken = Taken::check(source, one)?;
            let follows = records.last().is_none_or(|last| taken.follows(last));
            if !follows {
                let seq = taken.entry.seq;
                return Err(TakeError::Broken { seq });
            }
            records.push(taken);
        }
        Ok(Self { source, records })
    }

    pub(super) const fn source(&self) -> Source {
        self.source
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Those that the log does not have yet, if they continue what it has.
    ///
    /// Where the batch overlaps the log, the last record of the overlap must be the one that the
    /// log has; by the chain all before it are then the same, too.
    pub(super) fn after(&self, head: &SourceHead) -> Result<&[Taken], TakeError> {
        let known = self
            .records
            .partition_point(|one| one.entry.seq <= head.seq);
        let (old, new) = self.records.split_at_checked(known).unwrap_or_default();
        if let Some(last) = old.last()
            && last.entry.seq == head.seq
            && last.digest != head.digest
        {
            let seq = last.entry.seq;
            return Err(TakeError::Broken { seq });
        }
        match new.first() {
            Some(first)
                if Some(first.entry.seq) != head.seq.checked_add(1)
                    || first.prev != head.digest =>
            {
                let seq = first.entry.seq;
                Err(TakeError::Broken { seq })
            }
            _ => Ok(new),
        }
    }
}

impl Taken {
    fn check(source: Source, one: Shipped) -> Result<Self, TakeError> {
        let seq = one.seq;
        let record =
            Record::decode(&one.record).map_err(|reason| TakeError::Malformed { seq, reason })?;
        if record.source != source || record.seq != seq {
            return Err(TakeError::Foreign { seq });
        }
        let kind = record.event.kind;
        if !may_write(source, kind) {
            return Err(TakeError::Kind { seq, kind });
        }
        let material = match one.material {
            Some(sealed) => Some(material(&record, sealed).ok_or(TakeError::Material { seq })?),
            None => None,
        };
        Ok(Self {
            material,
            prev: record.prev,
            digest: sha256(&one.record),
            entry: LogEntry {
                index: 0,
                source,
                seq,
                task: record.event.task,
                record: one.record,
            },
        })
    }

    /// What it ships is not what its record commits to.
    pub(super) const fn wrong_material(&self) -> TakeError {
        TakeError::Material {
            seq: self.entry.seq,
        }
    }

    fn follows(&self, last: &Self) -> bool {
        last.entry.seq.checked_add(1) == Some(self.entry.seq) && self.prev == last.digest
    }
}

/// The material of a record of a task whose body commits to it as `materials`.
fn material(record: &Record, sealed: Vec<u8>) -> Option<SealedMaterial> {
    Some(SealedMaterial {
        task: record.event.task?,
        commitment: record.event.body.get("materials")?.as_str()?.parse().ok()?,
        sealed,
    })
}
