//! Registering an agent: a name of its own, an owner, a purpose, an environment, evidence.

use std::collections::BTreeSet;

use aims_json::{Object, to_canonical};
use aims_model::agent::Stage;
use aims_model::evidence::{ARGUMENT_LEN_MAX, ARGUMENTS_MAX, Arguments, EVIDENCE_ITEMS_MAX};
use aims_model::{Agent, Assurance, EventKind, Expected, Person, Role, TextError};
use aims_store::{Reader, Txn};
use aims_types::{Cx, Name, NameError};

use crate::access::{AccessError, Operator};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::recording::{Attempt, event, shown, value};
use crate::{Committed, ControlPlane, Fault};

/// Longest canonical form of registered evidence, in bytes: it has to fit into a record.
pub const EVIDENCE_LEN_MAX: usize = 32 << 10;

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

/// An agent to be registered. What is missing is refused with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterAgent {
    /// Its name; never used again.
    pub name: String,
    /// The name or id of the person who answers for it.
    pub owner: Option<String>,
    /// What it is for, in words.
    pub purpose: Option<String>,
    /// Where it runs: `production`, `staging`, …
    pub environment: Option<String>,
    /// The program that must be seen.
    pub evidence: Expected,
    /// Whether it has to be activated before it may run.
    pub draft: bool,
}

/// Why an agent was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterAgentError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The name is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name is or was an agent's.
    #[error("`{name}` is the name of an agent that is {stage}; names are never used again")]
    NameTaken {
        /// The name.
        name: Name,
        /// Where that agent stands.
        stage: &'static str,
    },
    /// The identity is somebody else's, or shared (R3).
    #[error("`{name}` is {of}; an agent needs an identity of its own: choose another name")]
    BorrowedIdentity {
        /// The name.
        name: Name,
        /// Whose it is.
        of: &'static str,
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
    #[error("`{owner}` can't own an agent: {why}; name an operator or member")]
    Owner {
        /// Who was named.
        owner: String,
        /// Why not.
        why: &'static str,
    },
    /// The purpose is not a line of words.
    #[error("the purpose: {0}")]
    Purpose(#[from] TextError),
    /// The environment is not a name.
    #[error("the environment: {0}")]
    Environment(NameError),
    /// The evidence can't be what is seen of a program.
    #[error("the evidence can't be used: {0}")]
    Evidence(String),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(RegisterAgentError);

impl Refused for RegisterAgentError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Name(_) => "bad_name",
            Self::NameTaken { .. } => "name_taken",
            Self::BorrowedIdentity { .. } => "borrowed_identity",
            Self::Missing { field, .. } => match *field {
                "owner" => "missing_owner",
                "purpose" => "missing_purpose",
                "environment" => "missing_environment",
                _ => "missing_evidence",
            },
            Self::Owner { .. } => "bad_owner",
            Self::Purpose(_) => "bad_purpose",
            Self::Environment(_) => "bad_environment",
            Self::Evidence(_) => "bad_evidence",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Registers an agent with an identity of its own. Operators only.
    pub async fn agent_register(
        &self,
        cx: &Cx,
        request: RegisterAgent,
    ) -> Result<Committed<Agent>, RegisterAgentError> {
        let (cx, attempt) = (cx.clone(), Attempt::new("agent_register", &request.name));
        self.to_the_end(|plane| async move {
            let done = register(&plane, &cx, request).await;
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }
}

async fn register(
    plane: &ControlPlane,
    cx: &Cx,
    request: RegisterAgent,
) -> Result<Committed<Agent>, RegisterAgentError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    Operator::admit(cx, txn.as_mut()).await?;
    let name: Name = request.name.parse()?;
    refuse_used_name(txn.as_mut(), &name).await?;
    refuse_borrowed_identity(txn.as_mut(), &name).await?;
    let owner = given("owner", request.owner, "who answers for it")?;
    let owner = owner_of(txn.as_mut(), &owner).await?;
    let purpose = given("purpose", request.purpose, "what it is for")?.parse()?;
    let environment = given("environment", request.environment, "where it runs")?;
    check_evidence(&request.evidence)?;
    let spiffe_id = plane.trust_domain().id(&format!("agent/{name}"));
    let since = cx.now;
    let agent = Agent {
        id: cx.id()?,
        spiffe_id: spiffe_id.map_err(|error| Fault::Inconsistent(error.to_string()))?,
        name,
        owner: owner.id,
        purpose,
        environment: environment
            .parse()
            .map_err(RegisterAgentError::Environment)?,
        evidence: request.evidence,
        assurance: Assurance::Confined,
        stage: if request.draft {
            Stage::Draft
        } else {
            Stage::Active { since }
        },
        registered_at: cx.now,
    };
    insert(txn, cx, &agent, &owner).await?;
    Ok(plane.published(agent, revision).await)
}

async fn insert(
    mut txn: Box<dyn Txn>,
    cx: &Cx,
    agent: &Agent,
    owner: &Person,
) -> Result<(), RegisterAgentError> {
    txn.agent_insert(agent).await?;
    let owner = Object::new()
        .with("id", owner.id.to_string())
        .with("name", owner.name.as_str());
    let body = Object::new()
        .with("agent", agent.id.to_string())
        .with("name", agent.name.as_str())
        .with("spiffe_id", agent.spiffe_id.as_str())
        .with("owner", owner)
        .with("purpose", agent.purpose.as_str())
        .with("environment", agent.environment.as_str())
        .with("assurance", agent.assurance.as_str())
        .with("stage", agent.stage.as_str())
        .with("evidence", value(&agent.evidence)?);
    Ok(txn
        .commit(vec![event(cx, EventKind::AgentRegistered, body)])
        .await?)
}

async fn refuse_used_name(reader: &mut dyn Reader, name: &Name) -> Result<(), RegisterAgentError> {
    match reader.agent_by_name(name).await? {
        None => Ok(()),
        Some(agent) => Err(RegisterAgentError::NameTaken {
            name: name.clone(),
            stage: agent.stage.as_str(),
        }),
    }
}

/// Refuses the identity of a person or a tool server, and identities that many share (R3).
async fn refuse_borrowed_identity(
    reader: &mut dyn Reader,
    name: &Name,
) -> Result<(), RegisterAgentError> {
    let borrowed = |of| RegisterAgentError::BorrowedIdentity {
        name: name.clone(),
        of,
    };
    if SHARED_NAMES.contains(&name.as_str()) {
        return Err(borrowed("an account that many share"));
    }
    if reader.person_by_name(name).await?.is_some() {
        return Err(borrowed("the name of a person"));
    }
    if reader.server_by_name(name).await?.is_some() {
        return Err(borrowed("the name of a tool server"));
    }
    if reader.upstream_by_name(name).await?.is_some() {
        return Err(borrowed("the name of an upstream"));
    }
    Ok(())
}

fn given(
    field: &'static str,
    text: Option<String>,
    hint: &'static str,
) -> Result<String, RegisterAgentError> {
    let given = text.filter(|text| !text.trim().is_empty());
    given.ok_or(RegisterAgentError::Missing { field, hint })
}

async fn owner_of(reader: &mut dyn Reader, text: &str) -> Result<Person, RegisterAgentError> {
    let refused = |why| RegisterAgentError::Owner {
        owner: shown(text),
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

fn check_evidence(evidence: &Expected) -> Result<(), RegisterAgentError> {
    let hint = "which program must be seen, by path and digest";
    if evidence.program.path.is_empty() {
        return Err(RegisterAgentError::Missing {
            field: "evidence",
            hint,
        });
    }
    let refused = |why: String| Err(RegisterAgentError::Evidence(why));
    if evidence.files.len() > EVIDENCE_ITEMS_MAX || evidence.trees.len() > EVIDENCE_ITEMS_MAX {
        return refused(format!("more than {EVIDENCE_ITEMS_MAX} files or trees"));
    }
    let program = std::iter::once(&evidence.program);
    let bound: Vec<_> = program
        .chain(&evidence.files)
        .chain(&evidence.trees)
        .collect();
    let mut paths = BTreeSet::new();
    for item in evidence.interpreter.iter().chain(bound.iter().copied()) {
        let path = item.path.as_str();
        if !path.starts_with('/') || path.len() > ARGUMENT_LEN_MAX || has_control(path) {
            return refused(format!("`{}` is not an absolute path", shown(path)));
        }
    }
    for item in bound {
        // The interpreter comes from one of the trees, which may be it alone.
        if !paths.insert(item.path.as_str()) {
            return refused(format!("`{}` is named twice", shown(&item.path)));
        }
    }
    if let Arguments::Exactly(arguments) = &evidence.arguments
        && (arguments.len() > ARGUMENTS_MAX || arguments.iter().any(|a| a.len() > ARGUMENT_LEN_MAX))
    {
        return refused(format!(
            "more than {ARGUMENTS_MAX} arguments, or one that is too long"
        ));
    }
    let canonical = to_canonical(&value(evidence)?).map_err(|error| error.to_string());
    match canonical {
        Ok(bytes) if bytes.len() <= EVIDENCE_LEN_MAX => Ok(()),
        Ok(_) => refused(format!("it takes more than {EVIDENCE_LEN_MAX} bytes")),
        Err(why) => refused(why),
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}
