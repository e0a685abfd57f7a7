//! Signing notes.

use std::fmt;
use std::sync::Arc;

use aims_crypto::{SignError, Signer};

use super::key::cosigned_text;
use super::{
    KeyKind, KeyName, NOTE_LEN_MAX, NoteParseError, NoteSignature, SignedNote, VerifierKey,
    VerifierKeyError, check_text,
};

/// A private key and the name it signs notes under.
#[derive(Clone)]
pub struct NoteSigner {
    key: VerifierKey,
    signer: Arc<dyn Signer>,
}

/// Why a note could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteSignError {
    /// The text is no text of a note: it must end in a newline and have no control characters.
    #[error("the text cannot be that of a note")]
    Text,
    /// The key did not sign.
    #[error(transparent)]
    Key(#[from] SignError),
}

impl NoteSigner {
    /// Signs as `name` with `signer`, which must hold an Ed25519 key; signatures are over the text
    /// of a note.
    pub fn new(name: KeyName, signer: Arc<dyn Signer>) -> Result<Self, VerifierKeyError> {
        let key = VerifierKey::new(name, KeyKind::Note, *signer.public())?;
        Ok(Self { key, signer })
    }

    /// Signs as the witness `name`: signatures are over the text and the time.
    pub fn witness(name: KeyName, signer: Arc<dyn Signer>) -> Result<Self, VerifierKeyError> {
        let key = VerifierKey::new(name, KeyKind::Cosignature, *signer.public())?;
        Ok(Self { key, signer })
    }

    /// The public half.
    pub const fn verifier_key(&self) -> &VerifierKey {
        &self.key
    }

    /// Signs `text`, which ends in a newline. `at`, in seconds since 1970, is the time a witness
    /// vouches for; a key of [`KeyKind::Note`] leaves it out.
    pub fn sign(&self, text: &str, at: u64) -> Result<SignedNote, NoteSignError> {
        if !text.ends_with('\n') || text.len() > NOTE_LEN_MAX / 2 {
            return Err(NoteSignError::Text);
        }
        check_text(text).map_err(|_: NoteParseError| NoteSignError::Text)?;
        let bytes = match self.key.kind() {
            KeyKind::Note => self.signer.sign(text.as_bytes())?.as_bytes().to_vec(),
            KeyKind::Cosignature => {
                let signature = self.signer.sign(cosigned_text(text, at).as_bytes())?;
                [at.to_be_bytes().as_slice(), signature.as_bytes()].concat()
            }
        };
        let name = self.key.name().clone();
        let signature = NoteSignature {
            name,
            key_id: self.key.id(),
            bytes,
        };
        Ok(SignedNote::new(text.to_owned(), signature))
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSigner({})", self.key)
    }
}
