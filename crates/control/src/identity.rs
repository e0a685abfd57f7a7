//! What is registered needs a name of its own, and a person who answers for it.

use aims_model::{Person, Role};
use aims_store::{Error, Reader};
use aims_types::{Name, NameError};

use crate::Fault;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::recording::shown;

/// Names that say nothing about whose identity it is: accounts that many share.
pub const SHARED_NAMES: [&str; 14] = [
    "admin",
    "administrator",
    "agent",
    "aims",
    "bot",
    "default",
    "guest",
    "nobody",
    "robot",
    "root",
    "service",
    "shared",
    "system",
    "user",
];

/// What has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Agent,
    Person,
    Server,
    Service,
    Upstream,
}

/// Why somebody or something can't be registered as who it is said to be.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The name is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name is or was another one's of the same kind.
    #[error("`{name}` is the name of {of}; names are never used again")]
    NameTaken {
        /// The name.
        name: Name,
        /// Whose it is.
        of: String,
    },
    /// The identity is that of another kind, or shared (R3).
    #[error("`{name}` is {of}; each needs an identity of its own: choose another name")]
    Borrowed {
        /// The name.
        name: Name,
        /// Whose it is.
        of: String,
    },
    /// A mandatory field is missing (R5).
    #[error("the {field} is missing: say {hint}")]
    Missing {
        /// `owner`, `purpose`, `environment` or `evidence`.
        field: &'static str,
        /// What to say.
        hint: &'static str,
    },
    /// The owner is not an enrolled person who can answer for it.
    #[error("`{owner}` can't own it: {why}; name an operator or member")]
    Owner {
        /// Who was named.
        owner: String,
        /// Why not.
        why: &'static str,
    },
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(IdentityError);

impl Refused for IdentityError {
    fn code(&self) -> &'static str {
        match self {
            Self::Name(_) => "bad_name",
            Self::NameTaken { .. } => "name_taken",
            Self::Borrowed { .. } => "borrowed_identity",
            Self::Missing { field, .. } => match *field {
                "owner" => "missing_owner",
                "purpose" => "missing_purpose",
                "environment" => "missing_environment",
                _ => "missing_evidence",
            },
            Self::Owner { .. } => "bad_owner",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Agent,
        Self::Person,
        Self::Server,
        Self::Service,
        Self::Upstream,
    ];

    /// Whether it acts by itself, so that its name has to tell whose identity it is.
    const fn acts(self) -> bool {
        matches!(self, Self::Agent | Self::Service)
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Agent => "an agent",
            Self::Person => "a person",
            Self::Server => "a tool server",
            Self::Service => "a service",
            Self::Upstream => "an upstream",
        }
    }

    /// Who of this kind has or had the name.
    async fn holder(self, reader: &mut dyn Reader, name: &Name) -> Result<Option<String>, Error> {
        let stage = match self {
            Self::Agent => {
                let agent = reader.agent_by_name(name).await?;
                agent.map(|one| Some(one.stage.as_str()))
            }
            Self::Service => {
                let service = reader.service_by_name(name).await?;
                service.map(|one| Some(one.stage.as_str()))
            }
            Self::Person => reader.person_by_name(name).await?.map(|_| None),
            Self::Server => reader.server_by_name(name).await?.map(|_| None),
            Self::Upstream => reader.upstream_by_name(name).await?.map(|_| None),
        };
        Ok(stage.map(|stage| match stage {
            Some(stage) => format!("{} that is {stage}", self.words()),
            None => self.words().to_owned(),
        }))
    }
}

/// The name of a new one of this kind, if it is and was nobody's: who reads a name must not have to
/// ask of what.
pub(crate) async fn own_name(
    reader: &mut dyn Reader,
    kind: Kind,
    text: &str,
) -> Result<Name, IdentityError> {
    let name: Name = text.parse()?;
    if kind.acts() && SHARED_NAMES.contains(&name.as_str()) {
        let of = "an account that many share".to_owned();
        return Err(IdentityError::Borrowed { name, of });
    }
    for other in Kind::ALL {
        match other.holder(reader, &name).await? {
            None => {}
            Some(of) if other == kind => return Err(IdentityError::NameTaken { name, of }),
            Some(of) => {
                let of = format!("the name of {of}");
                return Err(IdentityError::Borrowed { name, of });
            }
        }
    }
    Ok(name)
}

/// What was said for a mandatory field.
pub(crate) fn given(
    field: &'static str,
    text: Option<String>,
    hint: &'static str,
) -> Result<String, IdentityError> {
    let given = text.filter(|text| !text.trim().is_empty());
    given.ok_or(IdentityError::Missing { field, hint })
}

/// The person, by name or id, who answers for what is registered.
pub(crate) async fn owner(
    reader: &mut dyn Reader,
    text: Option<String>,
) -> Result<Person, IdentityError> {
    let text = given("owner", text, "who answers for it")?;
    let refused = |why| IdentityError::Owner {
        owner: shown(&text),
        why,
    };
    let person = match (text.parse(), text.parse::<Name>()) {
        (Ok(id), _) => reader.person(id).await?,
        (Err(_), Ok(name)) => reader.person_by_name(&name).await?,
        (Err(_), Err(_)) => None,
    };
    match person {
        None => Err(refused("nobody with this name or id is enrolled")),
        Some(person) if person.removed_at.is_some() => Err(refused("the person was removed")),
        Some(person) if person.role == Role::Auditor => Err(refused("an auditor changes nothing")),
        Some(person) => Ok(person),
    }
}
