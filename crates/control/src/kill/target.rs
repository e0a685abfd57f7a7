//! What is meant by a kind and an id or name.

use std::fmt;

use aims_model::Subject;
use aims_store::Reader;
use aims_types::Name;

use super::error::KillError;
use super::party::Rights;

/// Longest name of a key that is looked for: a thumbprint has 43 characters.
const KID_LEN_MAX: usize = 64;

/// What somebody wants to kill. Agents and people may be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KillTarget {
    /// By id, or a key by its thumbprint.
    Subject(Subject),
    /// An agent by name.
    Agent(Name),
    /// A person by name.
    Person(Name),
}

/// The kind or the id can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KillTargetError {
    /// There is no such kind.
    #[error("the kind is `task`, `agent`, `instance`, `delegation`, `key`, `policy` or `person`")]
    Kind,
    /// The id is none of this kind.
    #[error("this is no id of the kind `{0}`")]
    Id(&'static str),
}

impl KillTarget {
    /// Reads a kind and an id; for agents and people a name does as well.
    pub fn parse(kind: &str, id: &str) -> Result<Self, KillTargetError> {
        let wrong = |kind| move |_| KillTargetError::Id(kind);
        let subject = match kind {
            "task" => Subject::Task(id.parse().map_err(wrong("task"))?),
            "instance" => Subject::Instance(id.parse().map_err(wrong("instance"))?),
            "delegation" => Subject::Delegation(id.parse().map_err(wrong("delegation"))?),
            "policy" => Subject::Policy(id.parse().map_err(wrong("policy"))?),
            "agent" => {
                let Ok(agent) = id.parse() else {
                    let name = id.parse().map_err(|_| KillTargetError::Id("agent"))?;
                    return Ok(Self::Agent(name));
                };
                Subject::Agent(agent)
            }
            "person" => {
                let Ok(person) = id.parse() else {
                    let name = id.parse().map_err(|_| KillTargetError::Id("person"))?;
                    return Ok(Self::Person(name));
                };
                Subject::Person(person)
            }
            "key" if is_thumbprint(id) => Subject::Key(id.to_owned()),
            "key" => return Err(KillTargetError::Id("key")),
            _ => return Err(KillTargetError::Kind),
        };
        Ok(Self::Subject(subject))
    }
}

fn is_thumbprint(text: &str) -> bool {
    let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=KID_LEN_MAX).contains(&text.len()) && text.bytes().all(base64url)
}

impl fmt::Display for KillTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(subject) => {
                let (kind, id) = parts(subject);
                write!(f, "{kind} {id}")
            }
            Self::Agent(name) => write!(f, "agent {name}"),
            Self::Person(name) => write!(f, "person {name}"),
        }
    }
}

/// The kind and the id of a subject.
pub(super) fn parts(subject: &Subject) -> (&'static str, String) {
    match subject {
        Subject::Person(id) => ("person", id.to_string()),
        Subject::Agent(id) => ("agent", id.to_string()),
        Subject::Instance(id) => ("instance", id.to_string()),
        Subject::Task(id) => ("task", id.to_string()),
        Subject::Delegation(id) => ("delegation", id.to_string()),
        Subject::Key(kid) => ("key", kid.clone()),
        Subject::Policy(id) => ("policy", id.to_string()),
    }
}

/// The subject that is meant. Who may kill no agent and no person learns no name either.
pub(super) async fn found(
    reader: &mut dyn Reader,
    rights: &Rights,
    target: &KillTarget,
) -> Result<Subject, KillError> {
    match target {
        KillTarget::Subject(subject) => Ok(subject.clone()),
        KillTarget::Agent(name) => {
            rights.administers()?;
            let agent = reader.agent_by_name(name).await?;
            let unknown = || KillError::UnknownAgent(name.to_string());
            Ok(Subject::Agent(agent.ok_or_else(unknown)?.id))
        }
        KillTarget::Person(name) => {
            rights.administers()?;
            let person = reader.person_by_name(name).await?;
            let unknown = || KillError::UnknownPerson(name.to_string());
            Ok(Subject::Person(person.ok_or_else(unknown)?.id))
        }
    }
}
