//! How events become records, and how entries continue the log. Pure; every engine uses it.

use std::collections::BTreeMap;

use aims_crypto::sha256;
use aims_model::record::FIRST_PREV;
use aims_model::{Event, Record, RecordName, Source};
use aims_types::Digest;

use crate::{Error, LogEntry, LogHead, SourceHead};

/// A record with its place in the server's own sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its number: 1, 2, 3, …
    pub seq: u64,
    /// Its canonical bytes.
    pub record: Vec<u8>,
    /// SHA-256 of the bytes: what the next record says in `prev`.
    pub digest: Digest,
}

/// The records that `events` become after the record `seq` with digest `digest`.
pub fn place(seq: u64, digest: Digest, events: &[Event]) -> Result<Vec<Placed>, Error> {
    let (mut seq, mut prev) = (seq, digest);
    let mut placed = Vec::with_capacity(events.len());
    for event in events {
        seq = seq.saturating_add(1);
        let record = event.encode(Source::Server, seq, prev)?;
        prev = sha256(&record);
        placed.push(Placed {
            seq,
            record,
            digest: prev,
        });
    }
    Ok(placed)
}

/// What entries that continue the log change besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extended {
    /// The new heads of the sources that moved.
    pub sources: Vec<SourceHead>,
    /// By what each entry is found, with its index.
    pub names: Vec<(RecordName, u64)>,
}

/// Checks that `entries` lead from `expected` to `head` and continue each source from where
/// `sources` says the log is.
///
/// An entry fits if its index is the next one, its record is canonical and says the same source,
/// number and task, the number is the next of its source, and `prev` is the digest of the record
/// before it.
pub fn extend(
    expected: Option<&LogHead>,
    sources: &[SourceHead],
    entries: &[LogEntry],
    head: &LogHead,
) -> Result<Extended, Error> {
    let mut index = expected.map_or(0, |head| head.size);
    let heads: BTreeMap<Source, SourceHead> = sources.iter().map(|s| (s.source, *s)).collect();
    let mut moved: BTreeMap<Source, SourceHead> = BTreeMap::new();
    let mut names = Vec::new();
    for entry in entries {
        let last = moved
            .get(&entry.source)
            .or_else(|| heads.get(&entry.source));
        let (next, record) =
            follow(index, last, entry).map_err(|reason| Error::Broken { index, reason })?;
        moved.insert(entry.source, next);
        let own = RecordName::all_of(&record.event).into_iter();
        names.extend(own.map(|name| (name, index)));
        index = index.saturating_add(1);
    }
    if head.size != index {
        let reason = format!("the new checkpoint has size {}, not {index}", head.size);
        return Err(Error::Broken { index, reason });
    }
    if entries.is_empty() && expected.is_some_and(|old| old.root != head.root) {
        let reason = "the root changed although nothing was added".to_owned();
        return Err(Error::Broken { index, reason });
    }
    let sources = moved.into_values().collect();
    Ok(Extended { sources, names })
}

fn follow(
    index: u64,
    last: Option<&SourceHead>,
    entry: &LogEntry,
) -> Result<(SourceHead, Record), String> {
    if entry.index != index {
        return Err(format!("it says index {}", entry.index));
    }
    let record = Record::decode(&entry.record).map_err(|error| error.to_string())?;
    if (record.source, record.seq, record.event.task) != (entry.source, entry.seq, entry.task) {
        return Err("its record says another source, number or task".to_owned());
    }
    let (seq, digest) = last.map_or((0, FIRST_PREV), |head| (head.seq, head.digest));
    if entry.seq != seq.saturating_add(1) {
        return Err(format!(
            "record {} of `{}` follows {seq}",
            entry.seq, entry.source
        ));
    }
    if record.prev != digest {
        return Err(format!(
            "record {seq} of `{}` is not the one it follows",
            entry.source
        ));
    }
    let head = SourceHead {
        source: entry.source,
        seq: entry.seq,
        digest: sha256(&entry.record),
    };
    Ok((head, record))
}
