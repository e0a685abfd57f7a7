//! Verifying a proof file with nothing but keys.

use aims_crypto::sha256;
use aims_model::EventKind;
use aims_tlog::{
    Checkpoint, CheckpointError, KeyName, ProofError, SignedNote, VerifiedCheckpoint, VerifierKey,
    leaf_hash, verify_consistency, verify_inclusion,
};
use aims_types::Timestamp;

use crate::check::{Claims, Problem};
use crate::facts::{FactError, Facts};
use crate::file::{FILE_LEN_MAX, FormatError, ProofFile};
use crate::report::{Rerun, Verified};
use crate::rerun::{RerunError, chain, committed, rerun};
use crate::select::{SelectError, Selected};

/// Whom the auditor believes.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The log's key.
    pub log: &'a VerifierKey,
    /// The keys of witnesses, each of which has to have seen the checkpoint.
    pub witnesses: &'a [VerifierKey],
    /// A checkpoint of the log that the auditor kept.
    pub kept: Option<&'a SignedNote>,
}

/// Why a proof is not believed. Each arm says what failed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Longer than any proof.
    #[error("the file has more than {FILE_LEN_MAX} bytes")]
    TooLong,
    /// Not a proof file.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The checkpoint is not believed.
    #[error("the {which} is not believed: {why}")]
    Checkpoint {
        /// `checkpoint`, `earlier checkpoint` or `kept checkpoint`.
        which: &'static str,
        /// Why not.
        why: CheckpointError,
    },
    /// A signature line can't be checked, so that it could say anything.
    #[error(
        "the {which} has a signature line that no given key verifies; give the key of each witness"
    )]
    UnknownSignature {
        /// Which checkpoint.
        which: &'static str,
    },
    /// A witness has not seen the checkpoint.
    #[error("the witness `{0}` has not signed the checkpoint")]
    NotWitnessed(KeyName),
    /// The log has another tree than the one that was promised.
    #[error(
        "there are two trees of {size} records: the log signed one root for the checkpoint that \
         was kept, and another one in the file"
    )]
    TwoTrees {
        /// Of which size.
        size: u64,
    },
    /// The kept checkpoint is of a longer log.
    #[error(
        "the kept checkpoint has {kept} records, the file's only {size}: export the proof again; if \
         the log has no checkpoint of {kept} records any more, its tail was cut off"
    )]
    KeptIsNewer {
        /// What the kept one has.
        kept: u64,
        /// What the file's has.
        size: u64,
    },
    /// The file does not show how the log grew from the kept checkpoint.
    #[error(
        "the file does not show that the log continues the kept checkpoint of {kept} records; \
         export it with `--since` and that checkpoint"
    )]
    NotSinceKept {
        /// What the kept one has.
        kept: u64,
    },
    /// The log does not continue the earlier checkpoint.
    #[error("the log does not continue the earlier checkpoint: {0}")]
    Rewritten(ProofError),
    /// Records are not in the order of the log.
    #[error("the record at {0} is not in the order of the log")]
    Order(u64),
    /// A record is not in the log.
    #[error("the record at {index} is not in the log: {why}")]
    Inclusion {
        /// Where it says it is.
        index: u64,
        /// Why not.
        why: ProofError,
    },
    /// A record is missing, or there is one too many.
    #[error("the proof is not complete: {0}")]
    Select(#[from] SelectError),
    /// A record's claim does not hold.
    #[error("the record at {index}: {problem}")]
    Claim {
        /// Its place.
        index: u64,
        /// What is wrong.
        problem: Problem,
    },
    /// The log does not enrol the key that signs it.
    #[error("the log does not enrol the key that signs it, or is of another trust domain")]
    ForeignKey,
    /// Records contradict each other.
    #[error(transparent)]
    Fact(#[from] FactError),
    /// The policy's text is not the one in force.
    #[error("the policy in the file is not the one that was in force")]
    Policy,
    /// The decision does not come out again.
    #[error(transparent)]
    Rerun(#[from] RerunError),
}

/// Verifies a proof: its one encoding, the checkpoint's signatures, the place of each record in the
/// log, that exactly the records are there which the claim rests on, what each of them claims and
/// what they say of each other; and makes the decision again if the file has what it used.
pub fn verify(bytes: &[u8], trust: &Trust<'_>) -> Result<Verified, VerifyError> {
    if bytes.len() > FILE_LEN_MAX {
        return Err(VerifyError::TooLong);
    }
    let file = ProofFile::parse(bytes)?;
    let head = believed(&file.checkpoint, "checkpoint", (trust.log, trust.witnesses))?;
    for witness in trust.witnesses {
        let mut seen = head.cosignatures().iter();
        if !seen.any(|one| (&one.witness, one.key_id) == (witness.name(), witness.id())) {
            return Err(VerifyError::NotWitnessed(witness.name().clone()));
        }
    }
    let since = since(&file, head.checkpoint(), trust)?;
    included(&file, head.checkpoint())?;
    let selected = Selected::of(&file.records, file.decision, trust.log)?;
    if let Some(place) = (0..file.records.len()).find(|place| !selected.all().contains(place)) {
        return Err(SelectError::NotNeeded(place).into());
    }
    let facts = Facts {
        records: &file.records,
        selected: &selected,
    };
    // What is cheap to compare comes before signatures.
    let used = file.used.as_ref();
    let in_force = facts.intent()?.part("policy")?.text("digest")?;
    if sha256(file.policy.as_bytes()).to_string() != in_force {
        return Err(VerifyError::Policy);
    }
    if let Some(materials) = used {
        committed(&facts, materials)?;
    }
    claimed(&facts, trust.log)?;
    let at: Timestamp = match used {
        Some(materials) => materials.used.at,
        None => facts.record(selected.intent)?.record.event.at,
    };
    facts.check(at)?;
    let chain = chain(&facts, at)?;
    let again = match used {
        Some(materials) => {
            rerun(&facts, (materials, &file.policy), &chain)?;
            Rerun::Same
        }
        None => Rerun::NotRerunnable,
    };
    Ok(Verified::of(
        &facts,
        (&head, since, trust.kept.is_some()),
        again,
    )?)
}

/// The checkpoint, if every signature line of it was checked.
fn believed(
    note: &SignedNote,
    which: &'static str,
    (log, witnesses): (&VerifierKey, &[VerifierKey]),
) -> Result<VerifiedCheckpoint, VerifyError> {
    let verified = Checkpoint::verify(note, log, witnesses)
        .map_err(|why| VerifyError::Checkpoint { which, why })?;
    // A line that nobody checks could be changed without anybody's notice.
    let checked = verified.cosignatures().len().saturating_add(1);
    if note.signatures().len() == checked {
        Ok(verified)
    } else {
        Err(VerifyError::UnknownSignature { which })
    }
}

/// The size of the earlier checkpoint, if the file has one; it is the kept one, if that is shorter.
fn since(
    file: &ProofFile,
    head: &Checkpoint,
    trust: &Trust<'_>,
) -> Result<Option<u64>, VerifyError> {
    let older = match &file.since {
        Some(since) => {
            let older = believed(&since.checkpoint, "earlier checkpoint", (trust.log, &[]))?;
            let older = older.checkpoint().clone();
            verify_consistency(
                (older.size, &older.root),
                (head.size, &head.root),
                &since.path,
            )
            .map_err(VerifyError::Rewritten)?;
            Some(older)
        }
        None => None,
    };
    let Some(kept) = trust.kept else {
        return Ok(older.map(|older| older.size));
    };
    // The auditor's own copy may have signatures that do not concern the log.
    let which = "kept checkpoint";
    let kept = Checkpoint::verify(kept, trust.log, &[])
        .map_err(|why| VerifyError::Checkpoint { which, why })?;
    let kept = kept.checkpoint();
    for known in older.iter().chain([head]) {
        if known.size == kept.size {
            return if known.root == kept.root {
                Ok(older.as_ref().map(|older| older.size))
            } else {
                Err(VerifyError::TwoTrees { size: kept.size })
            };
        }
    }
    let (kept, size) = (kept.size, head.size);
    Err(if kept > size {
        VerifyError::KeptIsNewer { kept, size }
    } else {
        VerifyError::NotSinceKept { kept }
    })
}

/// Every record is at its place in the log, in the log's order.
fn included(file: &ProofFile, head: &Checkpoint) -> Result<(), VerifyError> {
    let mut next = 0;
    for one in &file.records {
        let index = one.index;
        if index < next {
            return Err(VerifyError::Order(index));
        }
        next = index.saturating_add(1);
        let leaf = leaf_hash(&one.bytes);
        verify_inclusion(&leaf, index, head.size, &head.root, &one.path)
            .map_err(|why| VerifyError::Inclusion { index, why })?;
    }
    Ok(())
}

/// What each record claims, given those before it; and that the log is the one of this key.
fn claimed(facts: &Facts<'_>, log: &VerifierKey) -> Result<(), VerifyError> {
    let mut claims = Claims::default();
    for one in facts.records {
        // Of a tree's owners the file has one, which is checked with the permit.
        if one.record.event.kind != EventKind::TreeOwned {
            let index = one.index;
            let wrong = |problem| VerifyError::Claim { index, problem };
            claims.note(&one.record, |_| 0).map_err(wrong)?;
        }
    }
    let origin = format!("{}/log", facts.domain()?);
    if claims.is_log_key(log.public()) && log.name().as_str() == origin {
        Ok(())
    } else {
        Err(VerifyError::ForeignKey)
    }
}
