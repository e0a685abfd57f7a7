//! Checkpoints: signed tree heads (c2sp.org/tlog-checkpoint).

use std::fmt;
use std::str::FromStr;

use aims_types::Digest;

use crate::note::{
    KeyKind, KeyName, NoteSignError, NoteSigner, NoteVerifyError, SignedNote, VerifierKey,
};
use crate::text::{hash_to_base64, parse_decimal, parse_hash};

/// The head of a log's tree.
///
/// Stricter than the specification in two ways: the origin has the form of a key name, and there
/// are no extension lines, which nobody could audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log: also the name of the key that signs.
    pub origin: KeyName,
    /// The number of entries.
    pub size: u64,
    /// The root of their tree.
    pub root: Digest,
}

/// A checkpoint whose log has signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    cosignatures: Vec<Cosignature>,
}

/// The word of a witness that it saw a checkpoint which extends all it saw before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// The witness.
    pub witness: KeyName,
    /// The id of its key: a name can have several.
    pub key_id: [u8; 4],
    /// When, in seconds since 1970.
    pub at: u64,
}

/// The text is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a checkpoint is three lines: origin, size and the base64 of the root")]
pub struct CheckpointParseError;

/// Why a checkpoint was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointSignError {
    /// The key belongs to another log, or to a witness.
    #[error("the key `{name}` is not the key of that log")]
    OtherKey {
        /// The key's name.
        name: KeyName,
    },
    /// The note could not be signed.
    #[error(transparent)]
    Note(#[from] NoteSignError),
}

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// A signature is wrong, or there is none by a trusted key.
    #[error(transparent)]
    Note(#[from] NoteVerifyError),
    /// Only witnesses have signed.
    #[error("the checkpoint is not signed by its log")]
    NotSignedByLog,
    /// The text is no checkpoint.
    #[error(transparent)]
    Parse(#[from] CheckpointParseError),
    /// It is a checkpoint of another log.
    #[error("the checkpoint is of the log `{origin}`, not of the one expected")]
    OtherLog {
        /// Its log.
        origin: KeyName,
    },
}

impl Checkpoint {
    /// Signs as the log. Sign only what extends everything signed before.
    pub fn sign(&self, signer: &NoteSigner) -> Result<SignedNote, CheckpointSignError> {
        let key = signer.verifier_key();
        if *key.name() != self.origin || key.kind() != KeyKind::Note {
            return Err(CheckpointSignError::OtherKey {
                name: key.name().clone(),
            });
        }
        Ok(signer.sign(&self.to_string(), 0)?)
    }

    /// Checks that `note` is a checkpoint signed by `log`, and which of the `witnesses` saw it.
    pub fn verify(
        note: &SignedNote,
        log: &VerifierKey,
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedCheckpoint, CheckpointError> {
        let keys: Vec<_> = witnesses.iter().chain([log]).collect();
        let verified = note.verify(&keys)?;
        if !verified.iter().any(|signature| signature.key == log) {
            return Err(CheckpointError::NotSignedByLog);
        }
        let checkpoint: Self = note.text().parse()?;
        if checkpoint.origin != *log.name() {
            return Err(CheckpointError::OtherLog {
                origin: checkpoint.origin,
            });
        }
        let cosignatures = verified
            .iter()
            .filter_map(|one| {
                Some(Cosignature {
                    witness: one.key.name().clone(),
                    key_id: one.key.id(),
                    at: one.at?,
                })
            })
            .collect();
        Ok(VerifiedCheckpoint {
            checkpoint,
            cosignatures,
        })
    }
}

impl VerifiedCheckpoint {
    /// What was signed.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The trusted witnesses that saw it.
    pub fn cosignatures(&self) -> &[Cosignature] {
        &self.cosignatures
    }
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}\n{}\n{}",
            self.origin,
            self.size,
            hash_to_base64(&self.root)
        )
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut lines = text.strip_suffix('\n')?.split('\n');
            let origin = lines.next()?.parse().ok()?;
            let size = parse_decimal(lines.next()?)?;
            let root = parse_hash(lines.next()?)?;
            lines
                .next()
                .is_none()
                .then_some(Self { origin, size, root })
        };
        parse().ok_or(CheckpointParseError)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aims_crypto::SigningKey;
    use aims_types::Secret;

    use super::*;

    const EXAMPLE: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn key(seed: u8) -> Arc<SigningKey> {
        Arc::new(SigningKey::ed25519_from_seed(&Secret::new([seed; 32])).unwrap())
    }

    fn log(seed: u8, name: &str) -> NoteSigner {
        NoteSigner::new(name.parse().unwrap(), key(seed)).unwrap()
    }

    #[test]
    fn the_example_of_the_specification_has_one_spelling() {
        let checkpoint: Checkpoint = EXAMPLE.parse().unwrap();
        assert_eq!(checkpoint.size, 20_852_163);
        assert_eq!(checkpoint.to_string(), EXAMPLE);
        for bad in [
            String::new(),
            EXAMPLE.trim_end().to_owned(),
            format!("{EXAMPLE}extension\n"),
            format!("{EXAMPLE}\n"),
            format!("\n{EXAMPLE}"),
            EXAMPLE.replace("2085", "02085"),
            EXAMPLE.replace("2085", "+2085"),
            EXAMPLE.replace("20852163", "18446744073709551616"),
            EXAMPLE.replace("I=", "J="),
            EXAMPLE.replace("I=", "I"),
            EXAMPLE.replace("Cs", ""),
            EXAMPLE.replace("the-sofa", "the sofa"),
            EXAMPLE.replace('\n', "\r\n"),
        ] {
            assert_eq!(
                bad.parse::<Checkpoint>(),
                Err(CheckpointParseError),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn only_its_own_log_vouches_for_a_checkpoint() {
        let (ours, other) = (
            log(1, "example.com/behind-the-sofa"),
            log(1, "example.com/other"),
        );
        let witness = NoteSigner::witness("w.example".parse().unwrap(), key(2)).unwrap();
        let checkpoint: Checkpoint = EXAMPLE.parse().unwrap();
        let note = checkpoint.sign(&ours).unwrap();
        let cosigned = witness.sign(note.text(), 5).unwrap();
        let witnesses = [witness.verifier_key().clone()];
        let check = |note: &SignedNote, signer: &NoteSigner| {
            Checkpoint::verify(note, signer.verifier_key(), &witnesses)
        };

        let both = note
            .clone()
            .with_signatures(cosigned.signatures().to_vec())
            .unwrap();
        let verified = check(&both, &ours).unwrap();
        assert_eq!(verified.checkpoint(), &checkpoint);
        let seen = Cosignature {
            witness: "w.example".parse().unwrap(),
            key_id: witnesses[0].id(),
            at: 5,
        };
        assert_eq!(verified.cosignatures(), [seen]);
        assert_eq!(check(&note, &ours).unwrap().cosignatures(), []);

        assert_eq!(
            check(&cosigned, &ours),
            Err(CheckpointError::NotSignedByLog)
        );
        let unknown = CheckpointError::Note(NoteVerifyError::NoKnownKey);
        assert_eq!(check(&note, &other), Err(unknown));
        let forged = other.sign(EXAMPLE, 0).unwrap();
        let origin = checkpoint.origin.clone();
        assert_eq!(
            check(&forged, &other),
            Err(CheckpointError::OtherLog { origin })
        );
        let noise = ours.sign("noise\n", 0).unwrap();
        assert_eq!(
            check(&noise, &ours),
            Err(CheckpointError::Parse(CheckpointParseError))
        );
        for wrong in [&other, &witness] {
            let name = wrong.verifier_key().name().clone();
            let found = checkpoint.sign(wrong);
            assert_eq!(found, Err(CheckpointSignError::OtherKey { name }));
        }
    }
}
