//! Exporting the proof of one permitted action: one file that is verified without us.

mod gather;

use aims_proof::verify;
use aims_proof::{FormatError, Included, ProofFile, SelectError, Since, Trust, VerifyError};
use aims_store::Reader;
use aims_tlog::{Checkpoint, CheckpointError, NoteParseError, SignedNote, VerifierKey};
use aims_types::{Cx, Decision, Id, Task};

use self::gather::{Gathered, Permit};
use crate::access::{AccessError, Enrolled};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::parts::RecordSinkError;
use crate::tasks::{TaskError, visible};
use crate::{ControlPlane, Fault};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no such permit in the log, or it is not for this person to see.
    #[error(
        "there is no permitted action `{0}` in the log that you may see; if it was permitted a \
         moment ago, try again"
    )]
    Unknown(Id<Decision>),
    /// The earlier checkpoint is none, or not of this log.
    #[error("the earlier checkpoint can't be used: {0}")]
    Since(String),
    /// The log can't prove anything now.
    #[error(transparent)]
    Log(#[from] RecordSinkError),
    /// The log does not have what the permit rests on.
    #[error("the log does not have what `{decision}` rests on: {why}")]
    Incomplete {
        /// The permit.
        decision: Id<Decision>,
        /// What is missing.
        why: SelectError,
    },
    /// The proof does not hold: the auditor would be told the same.
    #[error("the proof of `{decision}` does not hold: {why}")]
    DoesNotHold {
        /// The permit.
        decision: Id<Decision>,
        /// Why not.
        why: Box<VerifyError>,
    },
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ProofError);

impl Refused for ProofError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_decision",
            Self::Since(_) => "bad_checkpoint",
            Self::Log(_) => "no_log",
            Self::Incomplete { .. } => "proof_incomplete",
            Self::DoesNotHold { .. } => "proof_does_not_hold",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// The proof of a permitted action under the newest checkpoint, for who may see its task; with
    /// the consistency proof since an earlier checkpoint, if one is given. What does not verify is
    /// not handed out.
    pub async fn proof(
        &self,
        cx: &Cx,
        decision: Id<Decision>,
        since: Option<&str>,
    ) -> Result<Vec<u8>, ProofError> {
        let log = &self.parts().records;
        let mut reader = self.store().read().await?;
        Enrolled::admit(cx, reader.as_mut()).await?;
        let unknown = ProofError::Unknown(decision);
        let (Some(key), Some(head)) = (log.verifier_key(), reader.log_head().await?) else {
            return Err(unknown);
        };
        let permit = Permit::find(reader.as_mut(), decision).await?;
        let permit = permit.ok_or(unknown)?;
        admit(reader.as_mut(), cx, permit.task, decision).await?;
        let gathered = Gathered::of(reader.as_mut(), permit, (decision, key)).await?;
        let since = since.map(|text| earlier(text, key)).transpose()?;
        let checkpoint: SignedNote = head
            .checkpoint
            .parse()
            .map_err(|error: NoteParseError| Fault::Inconsistent(error.to_string()))?;
        let wanted = aims_audit::Wanted {
            size: head.size,
            indices: gathered.records.iter().map(|one| one.index).collect(),
            since: since.as_ref().map(|(size, _)| *size),
        };
        if wanted.since.is_some_and(|older| older > head.size) {
            let why = "it is of a longer log than there is now";
            return Err(ProofError::Since(why.to_owned()));
        }
        let proven = log.prove(wanted).await?;
        let included = gathered.records.into_iter().zip(proven.paths);
        let file = ProofFile {
            decision,
            checkpoint,
            records: included
                .map(|(one, path)| Included { path, ..one })
                .collect(),
            policy: gather::policy(reader.as_mut(), &gathered.intent).await?,
            used: gather::used(&self.vault(), reader.as_mut(), &gathered.intent).await?,
            since: since
                .zip(proven.since)
                .map(|((_, checkpoint), path)| Since { checkpoint, path }),
        };
        let bytes = file.to_bytes().map_err(|error| malformed(&error))?;
        let trust = Trust {
            log: key,
            witnesses: &[],
            kept: None,
        };
        match verify(&bytes, &trust) {
            Ok(_) => Ok(bytes),
            Err(why) => Err(ProofError::DoesNotHold {
                decision,
                why: Box::new(why),
            }),
        }
    }
}

/// A decision of a task that they may not see is not told from one that does not exist.
async fn admit(
    reader: &mut dyn Reader,
    cx: &Cx,
    task: Id<Task>,
    decision: Id<Decision>,
) -> Result<(), ProofError> {
    match visible(reader, cx, task).await {
        Ok(_) => Ok(()),
        Err(TaskError::Access(error)) => Err(error.into()),
        Err(TaskError::Unknown(_)) => Err(ProofError::Unknown(decision)),
        Err(TaskError::Internal(fault)) => Err(fault.into()),
    }
}

/// An earlier checkpoint of this log with its size. Only the log's own signature goes into the
/// file, so that it can be verified with the log's key alone.
fn earlier(text: &str, key: &VerifierKey) -> Result<(u64, SignedNote), ProofError> {
    let note: SignedNote = text
        .parse()
        .map_err(|error: NoteParseError| ProofError::Since(error.to_string()))?;
    let verified = Checkpoint::verify(&note, key, &[])
        .map_err(|error: CheckpointError| ProofError::Since(error.to_string()))?;
    let own = note.only_by(key);
    let own = own.ok_or_else(|| ProofError::Since("it is not signed by the log".to_owned()))?;
    Ok((verified.checkpoint().size, own))
}

fn malformed(error: &FormatError) -> Fault {
    Fault::Inconsistent(error.to_string())
}
