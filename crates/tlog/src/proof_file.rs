//! Self-contained proofs of inclusion: `.tlog-proof` files (c2sp.org/tlog-proof).

use std::fmt;
use std::str::FromStr;

use aims_types::Digest;

use crate::checkpoint::{Checkpoint, CheckpointError, VerifiedCheckpoint};
use crate::hash::leaf_hash;
use crate::note::{NOTE_LEN_MAX, NoteParseError, SignedNote, VerifierKey};
use crate::proof::{PROOF_LEN_MAX, ProofError, verify_inclusion};
use crate::text::{hash_to_base64, parse_base64, parse_decimal, parse_hash, to_base64};

/// Most bytes of extra data.
pub const EXTRA_LEN_MAX: usize = 1024 * 1024;
/// Longest file read, in bytes: extra data as base64, hashes, a note.
pub const TLOG_PROOF_LEN_MAX: usize = EXTRA_LEN_MAX / 3 * 4 + 8 * 1024 + NOTE_LEN_MAX;
/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The claim that an entry is in a log, not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    extra: Option<Vec<u8>>,
    index: u64,
    hashes: Vec<Digest>,
    checkpoint: SignedNote,
}

/// Why a text is no proof, or parts cannot make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofParseError {
    /// It is longer than any proof.
    #[error("the proof is longer than {TLOG_PROOF_LEN_MAX} bytes")]
    TooLong,
    /// The first line is another one.
    #[error("a proof begins with the line `{HEADER}`")]
    Header,
    /// The extra data are not base64 or too long.
    #[error("the extra data of the proof are not base64 of at most {EXTRA_LEN_MAX} bytes")]
    Extra,
    /// The index line is missing or malformed.
    #[error("the proof has no index")]
    Index,
    /// A line is no hash.
    #[error("hash {line} of the proof is malformed")]
    Hash {
        /// Which one, from 1.
        line: usize,
    },
    /// There are more hashes than any tree calls for.
    #[error("the proof has more than {PROOF_LEN_MAX} hashes")]
    TooManyHashes,
    /// There is no empty line and checkpoint below the hashes.
    #[error("the proof has no checkpoint")]
    NoCheckpoint,
    /// The checkpoint is no signed note.
    #[error("the checkpoint of the proof is malformed")]
    Checkpoint(#[source] NoteParseError),
}

/// Why a proof does not convince.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// The checkpoint is not that of the trusted log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The entry is not in the tree of the checkpoint.
    #[error(transparent)]
    Inclusion(#[from] ProofError),
}

impl TlogProof {
    /// The proof that entry `index` is in the tree of `checkpoint`.
    pub fn new(
        index: u64,
        hashes: Vec<Digest>,
        checkpoint: SignedNote,
    ) -> Result<Self, TlogProofParseError> {
        if hashes.len() > PROOF_LEN_MAX {
            return Err(TlogProofParseError::TooManyHashes);
        }
        Ok(Self {
            extra: None,
            index,
            hashes,
            checkpoint,
        })
    }

    /// Adds data of the application. They are not authenticated by the proof.
    pub fn with_extra(mut self, extra: Vec<u8>) -> Result<Self, TlogProofParseError> {
        if extra.len() > EXTRA_LEN_MAX {
            return Err(TlogProofParseError::Extra);
        }
        self.extra = Some(extra);
        Ok(self)
    }

    /// The application's data, which nothing vouches for.
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// The entry's position in the log, as claimed.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The checkpoint, as claimed.
    pub const fn checkpoint(&self) -> &SignedNote {
        &self.checkpoint
    }

    /// Checks that `entry` is in the log whose key is `log`, at [`Self::index`]; says in which tree
    /// and which of the `witnesses` saw it.
    pub fn verify(
        &self,
        entry: &[u8],
        log: &VerifierKey,
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedCheckpoint, TlogProofError> {
        let verified = Checkpoint::verify(&self.checkpoint, log, witnesses)?;
        let Checkpoint { size, root, .. } = verified.checkpoint();
        verify_inclusion(&leaf_hash(entry), self.index, *size, root, &self.hashes)?;
        Ok(verified)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", to_base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", hash_to_base64(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = TlogProofParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > TLOG_PROOF_LEN_MAX {
            return Err(TlogProofParseError::TooLong);
        }
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or(TlogProofParseError::NoCheckpoint)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(TlogProofParseError::Header);
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let extra = extra.map(parse_extra).transpose()?;
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index
            .and_then(parse_decimal)
            .ok_or(TlogProofParseError::Index)?;
        let mut hashes = Vec::new();
        for (line, hash) in (1..).zip(lines) {
            if line > PROOF_LEN_MAX {
                return Err(TlogProofParseError::TooManyHashes);
            }
            hashes.push(parse_hash(hash).ok_or(TlogProofParseError::Hash { line })?);
        }
        let checkpoint = checkpoint
            .parse()
            .map_err(TlogProofParseError::Checkpoint)?;
        Ok(Self {
            extra,
            index,
            hashes,
            checkpoint,
        })
    }
}

fn parse_extra(line: &str) -> Result<Vec<u8>, TlogProofParseError> {
    line.strip_prefix("extra ")
        .and_then(parse_base64)
        .filter(|extra| extra.len() <= EXTRA_LEN_MAX)
        .ok_or(TlogProofParseError::Extra)
}

#[cfg(test)]
mod tests;
