//! The proof file: one canonical encoding of what it consists of.

use aims_crypto::base64url;
use aims_json::{Limits, Object, ParseCanonicalError, Value, parse_canonical, to_canonical};
use aims_model::record::RECORD_LEN_MAX;
use aims_model::{Record, RecordError};
use aims_tlog::{NoteParseError, PROOF_LEN_MAX, SignedNote};
use aims_types::{Decision, Digest, Id};

use crate::tools::Tools;
use crate::used::Used;

/// What the file says it is, with the version of its form.
pub const FORMAT: &str = "aims-proof/1";
/// Longest file, in bytes.
pub const FILE_LEN_MAX: usize = Limits::DOCUMENT.bytes;
/// Most records in one file: two for each hop and key, and what one permit rests on besides.
pub const RECORDS_MAX: usize = 128;
/// Bytes of a salt.
pub const SALT_LEN: usize = 16;

/// A proof as it is written, of which nothing is believed yet.
#[derive(Debug, Clone, PartialEq)]
pub struct ProofFile {
    /// The permitted action.
    pub decision: Id<Decision>,
    /// The head of the log under which everything is included.
    pub checkpoint: SignedNote,
    /// What the claim rests on, in the order of the log.
    pub records: Vec<Included>,
    /// The text of the policy version that was in force.
    pub policy: String,
    /// What the decision used; without it the decision can't be made again.
    pub used: Option<Materials>,
    /// How the log grew from an earlier checkpoint that somebody kept.
    pub since: Option<Since>,
}

/// A record with the proof of its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Included {
    /// Its place.
    pub index: u64,
    /// The record.
    pub record: Record,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// From the leaf's sibling upwards.
    pub path: Vec<Digest>,
}

/// What the record of a permit commits to, and what that commits to in turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Materials {
    /// The salt of the commitment.
    pub salt: [u8; SALT_LEN],
    /// What the decision used.
    pub used: Used,
    /// The tools against which the policies were compiled.
    pub tools: Tools,
}

/// An earlier checkpoint, and the proof that the later one continues it.
#[derive(Debug, Clone, PartialEq)]
pub struct Since {
    /// The earlier one.
    pub checkpoint: SignedNote,
    /// The proof.
    pub path: Vec<Digest>,
}

/// Why bytes are no proof file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not canonical JSON.
    #[error("the file is not in the canonical form: {0}")]
    Encoding(#[from] ParseCanonicalError),
    /// A member is missing, unknown, malformed or in another spelling than its own.
    #[error("`{0}` in the file is missing, unknown or malformed")]
    Member(&'static str),
    /// A checkpoint is no signed note.
    #[error("`{member}` in the file is no checkpoint: {why}")]
    Note {
        /// Which.
        member: &'static str,
        /// What is wrong.
        why: NoteParseError,
    },
    /// A record can't be read.
    #[error("the record at {index} can't be read: {why}")]
    Record {
        /// Its place.
        index: u64,
        /// What is wrong.
        why: RecordError,
    },
}

impl Included {
    /// A record by its bytes.
    pub fn new(index: u64, bytes: Vec<u8>, path: Vec<Digest>) -> Result<Self, FormatError> {
        let record = Record::decode(&bytes).map_err(|why| FormatError::Record { index, why })?;
        Ok(Self {
            index,
            record,
            bytes,
            path,
        })
    }
}

impl ProofFile {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        let records: Result<Vec<Value>, FormatError> =
            self.records.iter().map(Included::to_value).collect();
        let used = self
            .used
            .as_ref()
            .map_or(Ok(Value::Null), Materials::to_value)?;
        let since = self.since.as_ref().map_or(Value::Null, Since::to_value);
        let file = Object::new()
            .with("format", FORMAT)
            .with("decision", self.decision.to_string())
            .with("checkpoint", self.checkpoint.to_string())
            .with("records", records?)
            .with("policy", self.policy.as_str())
            .with("used", used)
            .with("since", since);
        canonical(&Value::from(file), "file")
    }

    /// Reads a file. Any other encoding of the same content is refused, and so is what is not in
    /// the format.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut file = Members::of(parse_canonical(bytes, &Limits::DOCUMENT)?, "file")?;
        if file.text("format")? != FORMAT {
            return Err(FormatError::Member("format"));
        }
        let parsed = Self {
            decision: file.spelled("decision")?,
            checkpoint: note(&file.text("checkpoint")?, "checkpoint")?,
            records: file
                .array("records", RECORDS_MAX)?
                .into_iter()
                .map(Included::from_value)
                .collect::<Result<_, _>>()?,
            policy: file.text("policy")?,
            used: file
                .optional("used")?
                .map(Materials::from_value)
                .transpose()?,
            since: file.optional("since")?.map(Since::from_value).transpose()?,
        };
        file.end("file")?;
        Ok(parsed)
    }
}

impl Included {
    fn to_value(&self) -> Result<Value, FormatError> {
        let record = parse_canonical(&self.bytes, &Limits::MESSAGE)?;
        Ok(Value::from(
            Object::new()
                .with("index", self.index)
                .with("path", digests(&self.path))
                .with("record", record),
        ))
    }

    fn from_value(value: Value) -> Result<Self, FormatError> {
        let mut members = Members::of(value, "records")?;
        let index = members.number("index")?;
        let path = members.digests("path")?;
        // A canonical text within a canonical text: its bytes are the ones that were recorded.
        let record = members.take("record")?;
        let bytes = canonical(&record, "record")?;
        members.end("records")?;
        let wrong = |why| FormatError::Record { index, why };
        if bytes.len() > RECORD_LEN_MAX {
            return Err(wrong(RecordError::TooLong(bytes.len())));
        }
        let record = Record::from_value(record).map_err(wrong)?;
        Ok(Self {
            index,
            record,
            bytes,
            path,
        })
    }
}

impl Materials {
    fn to_value(&self) -> Result<Value, FormatError> {
        let used = self.used.to_bytes();
        let used = used.map_err(|_| FormatError::Member("material"))?;
        Ok(Value::from(
            Object::new()
                .with("salt", base64url::encode(&self.salt))
                .with("material", parse_canonical(&used, &Limits::DOCUMENT)?)
                .with("tools", self.tools.to_value()),
        ))
    }

    fn from_value(value: Value) -> Result<Self, FormatError> {
        let mut members = Members::of(value, "used")?;
        let salt = base64url::decode_array(&members.text("salt")?);
        let read = Self {
            salt: salt.map_err(|_| FormatError::Member("salt"))?,
            used: Used::from_value(&members.take("material")?)
                .ok_or(FormatError::Member("material"))?,
            tools: Tools::from_value(&members.take("tools")?)
                .ok_or(FormatError::Member("tools"))?,
        };
        members.end("used")?;
        Ok(read)
    }
}

impl Since {
    fn to_value(&self) -> Value {
        Value::from(
            Object::new()
                .with("checkpoint", self.checkpoint.to_string())
                .with("path", digests(&self.path)),
        )
    }

    fn from_value(value: Value) -> Result<Self, FormatError> {
        let mut members = Members::of(value, "since")?;
        let read = Self {
            checkpoint: note(&members.text("checkpoint")?, "since")?,
            path: members.digests("path")?,
        };
        members.end("since")?;
        Ok(read)
    }
}

/// The members of an object, each taken once.
struct Members(Object);

impl Members {
    fn of(value: Value, what: &'static str) -> Result<Self, FormatError> {
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(FormatError::Member(what)),
        }
    }

    fn take(&mut self, name: &'static str) -> Result<Value, FormatError> {
        self.0.remove(name).ok_or(FormatError::Member(name))
    }

    fn text(&mut self, name: &'static str) -> Result<String, FormatError> {
        match self.take(name)? {
            Value::String(text) => Ok(text),
            _ => Err(FormatError::Member(name)),
        }
    }

    /// Something that is parsed from a text, in the one spelling that we write.
    fn spelled<T: std::str::FromStr + ToString>(
        &mut self,
        name: &'static str,
    ) -> Result<T, FormatError> {
        let text = self.text(name)?;
        let parsed = text.parse::<T>().ok();
        let parsed = parsed.filter(|parsed| parsed.to_string() == text);
        parsed.ok_or(FormatError::Member(name))
    }

    fn number(&mut self, name: &'static str) -> Result<u64, FormatError> {
        self.take(name)?.as_u64().ok_or(FormatError::Member(name))
    }

    fn optional(&mut self, name: &'static str) -> Result<Option<Value>, FormatError> {
        Ok(Some(self.take(name)?).filter(|value| !value.is_null()))
    }

    fn array(&mut self, name: &'static str, max: usize) -> Result<Vec<Value>, FormatError> {
        match self.take(name)? {
            Value::Array(items) if items.len() <= max => Ok(items),
            _ => Err(FormatError::Member(name)),
        }
    }

    fn digests(&mut self, name: &'static str) -> Result<Vec<Digest>, FormatError> {
        let items = self.array(name, PROOF_LEN_MAX)?;
        let digest = |item: &Value| item.as_str()?.parse().ok();
        let digests: Option<Vec<Digest>> = items.iter().map(digest).collect();
        digests.ok_or(FormatError::Member(name))
    }

    fn end(self, what: &'static str) -> Result<(), FormatError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(FormatError::Member(what))
        }
    }
}

fn note(text: &str, member: &'static str) -> Result<SignedNote, FormatError> {
    let note: SignedNote = text
        .parse()
        .map_err(|why| FormatError::Note { member, why })?;
    if note.to_string() == text {
        Ok(note)
    } else {
        Err(FormatError::Member(member))
    }
}

fn digests(digests: &[Digest]) -> Vec<Value> {
    let text = |digest: &Digest| Value::from(digest.to_string());
    digests.iter().map(text).collect()
}

fn canonical(value: &Value, what: &'static str) -> Result<Vec<u8>, FormatError> {
    to_canonical(value).map_err(|_| FormatError::Member(what))
}
