//! Signed notes (c2sp.org/signed-note) and witness cosignatures (c2sp.org/tlog-cosignature).

use std::fmt;
use std::str::FromStr;

use crate::text::{parse_base64, to_base64};

mod key;
mod sign;

pub use key::{KEY_NAME_LEN_MAX, KeyKind, KeyName, KeyNameError, VerifierKey, VerifierKeyError};
pub use sign::{NoteSignError, NoteSigner};

/// Longest note read, in bytes: room for [`SIGNATURES_MAX`] post-quantum signatures.
pub const NOTE_LEN_MAX: usize = 256 * 1024;
/// Most signatures on a note; the specification asks for at least 16.
pub const SIGNATURES_MAX: usize = 32;
/// What a signature line begins with: an em dash and a space.
const LINE_START: &str = "— ";

/// A text and the signatures below it, none of them checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// A signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    key_id: [u8; 4],
    bytes: Vec<u8>,
}

/// A signature that was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedSignature<'a> {
    /// The key that made it.
    pub key: &'a VerifierKey,
    /// When a witness made it, in seconds since 1970.
    pub at: Option<u64>,
}

/// Why a text is no signed note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteParseError {
    /// It has more than [`NOTE_LEN_MAX`] bytes.
    #[error("the note is longer than {NOTE_LEN_MAX} bytes")]
    TooLong,
    /// It has an ASCII control character other than newline.
    #[error("the note contains a control character")]
    Control,
    /// There is no text, empty line, and signature, each ending in a newline.
    #[error("a note is a text, an empty line and signature lines")]
    Form,
    /// A line below the text is not a signature.
    #[error("line {line} of the signatures is malformed")]
    Signature {
        /// Which one, from 1.
        line: usize,
    },
    /// It has more than [`SIGNATURES_MAX`] signatures.
    #[error("the note has more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
}

/// Why a note is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteVerifyError {
    /// A line carries the name and id of a known key but not its signature.
    #[error("the signature of `{name}` is not valid")]
    BadSignature {
        /// The key's name.
        name: KeyName,
    },
    /// No line is by a known key.
    #[error("the note is not signed by any key that is trusted here")]
    NoKnownKey,
}

impl SignedNote {
    /// The signed text, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The same note with the lines that claim to be by `key` and no others; none if there is no
    /// such line.
    pub fn only_by(&self, key: &VerifierKey) -> Option<Self> {
        let by = |line: &&NoteSignature| line.name == *key.name() && line.key_id == key.id();
        let signatures: Vec<NoteSignature> = self.signatures.iter().filter(by).cloned().collect();
        (!signatures.is_empty()).then(|| Self {
            text: self.text.clone(),
            signatures,
        })
    }

    /// Adds signature lines, for example those a witness answered with.
    pub fn with_signatures(
        mut self,
        more: impl IntoIterator<Item = NoteSignature>,
    ) -> Result<Self, NoteParseError> {
        self.signatures.extend(more);
        if self.signatures.len() > SIGNATURES_MAX {
            return Err(NoteParseError::TooManySignatures);
        }
        Ok(self)
    }

    /// Checks every signature that claims to be by one of `keys`; at least one must be there.
    ///
    /// Signatures by unknown keys are ignored, a wrong one by a known key rejects the note
    /// (signed-note, "Signatures").
    pub fn verify<'a>(
        &self,
        keys: &[&'a VerifierKey],
    ) -> Result<Vec<VerifiedSignature<'a>>, NoteVerifyError> {
        let mut verified: Vec<VerifiedSignature<'a>> = Vec::new();
        for line in &self.signatures {
            let known = |key: &&VerifierKey| key.name() == &line.name && key.id() == line.key_id;
            let Some(key) = keys.iter().copied().find(known) else {
                continue;
            };
            let signature = key.verify(&self.text, &line.bytes).ok_or_else(|| {
                NoteVerifyError::BadSignature {
                    name: line.name.clone(),
                }
            })?;
            if !verified.iter().any(|seen| seen.key == key) {
                verified.push(signature);
            }
        }
        if verified.is_empty() {
            Err(NoteVerifyError::NoKnownKey)
        } else {
            Ok(verified)
        }
    }

    /// A note of a text that is known to be well formed.
    fn new(text: String, signature: NoteSignature) -> Self {
        Self {
            text,
            signatures: vec![signature],
        }
    }
}

impl NoteSignature {
    /// The name of the key that is said to have signed.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl FromStr for SignedNote {
    type Err = NoteParseError;

    fn from_str(note: &str) -> Result<Self, Self::Err> {
        if note.len() > NOTE_LEN_MAX {
            return Err(NoteParseError::TooLong);
        }
        check_text(note)?;
        // The last empty line divides; the text keeps its own final newline.
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteParseError::Form)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteParseError::Form)?;
        let mut signatures = Vec::new();
        for (line, text) in (1..).zip(lines.split('\n')) {
            if line > SIGNATURES_MAX {
                return Err(NoteParseError::TooManySignatures);
            }
            let signature = text
                .parse()
                .map_err(|_| NoteParseError::Signature { line })?;
            signatures.push(signature);
        }
        Ok(Self {
            text: format!("{text}\n"),
            signatures,
        })
    }
}

/// The line without its newline.
impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [&self.key_id, self.bytes.as_slice()].concat();
        write!(f, "{LINE_START}{} {}", self.name, to_base64(&blob))
    }
}

/// Reads one line, without its newline.
impl FromStr for NoteSignature {
    type Err = NoteParseError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (name, blob) = line.strip_prefix(LINE_START)?.split_once(' ')?;
            let blob = parse_base64(blob)?;
            let (key_id, bytes) = blob.split_first_chunk::<4>()?;
            if bytes.is_empty() {
                return None;
            }
            Some(Self {
                name: name.parse().ok()?,
                key_id: *key_id,
                bytes: bytes.to_vec(),
            })
        };
        parse().ok_or(NoteParseError::Signature { line: 1 })
    }
}

/// Refuses control characters (signed-note, "Format").
fn check_text(text: &str) -> Result<(), NoteParseError> {
    if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(NoteParseError::Control);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
