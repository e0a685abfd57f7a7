//! Registering an agent: a name of its own, an owner, a purpose, an environment, evidence.

use aims_crypto::PublicKey;
use aims_json::Object;
use aims_model::agent::Stage;
use aims_model::{Agent, EventKind, Expected, KeyOwner, KeyPurpose, Person, TextError};
use aims_store::{Error, Txn};
use aims_types::{Cx, NameError};

use super::proof::{Admitted, admitted};
use crate::access::{AccessError, Operator};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::identity::{self, IdentityError, Kind, given};
use crate::init::key_body;
use crate::keyring::{BadKey, enrolled};
use crate::recording::{Attempt, event, value};
use crate::{Committed, ControlPlane, Fault};

/// Longest canonical form of registered evidence, in bytes: it has to fit into a record.
pub const EVIDENCE_LEN_MAX: usize = 32 << 10;

/// Most keys of an agent that holds its own: the present one, and those that follow it.
pub const AGENT_KEYS_MAX: usize = 4;

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
    /// What it proves itself with.
    pub evidence: Proof,
    /// Whether it has to be activated before it may run.
    pub draft: bool,
}

/// What an agent proves itself with before anything is issued to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Its program, which a node sees when it starts it.
    Program(Expected),
    /// Keys that it holds itself, wherever it runs: nothing of its program is seen.
    Keys {
        /// The assurance level of that, by name: `key_held`. Whoever registers says so aloud.
        assurance: String,
        /// The public keys, each as the text of a JWK.
        jwks: Vec<String>,
    },
    /// That it is a process of a service, which a node attests, wherever it acts: it is seen from
    /// outside only.
    Service {
        /// The assurance level of that, by name: `observed`. Whoever registers says so aloud.
        assurance: String,
        /// The service's name.
        service: String,
    },
}

/// Why an agent was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterAgentError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The name is not its own, or nobody answers for it, or something is not said.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The purpose is not a line of words.
    #[error("the purpose: {0}")]
    Purpose(#[from] TextError),
    /// The environment is not a name.
    #[error("the environment: {0}")]
    Environment(NameError),
    /// The evidence can't be what is seen of a program.
    #[error("the evidence can't be used: {0}")]
    Evidence(String),
    /// What the agent proves itself with comes without the name of what that is worth.
    #[error(
        "`{0}` is not the assurance of what the agent proves itself with: say `key_held` for keys \
         of its own, `observed` for a service"
    )]
    Assurance(String),
    /// The service can't be this agent.
    #[error("service `{service}` can't be the agent: {why}; see `aims service list`")]
    Service {
        /// Which was named.
        service: String,
        /// Why not.
        why: &'static str,
    },
    /// There are no keys, or too many.
    #[error("an agent that holds its own key has 1 to {AGENT_KEYS_MAX} keys")]
    KeyCount,
    /// A key can't be used.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// A key is somebody's already.
    #[error("the key `{0}` is enrolled already; make one that is the agent's alone")]
    KeyTaken(String),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(RegisterAgentError);

impl Refused for RegisterAgentError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Identity(error) => error.code(),
            Self::Purpose(_) => "bad_purpose",
            Self::Environment(_) => "bad_environment",
            Self::Evidence(_) => "bad_evidence",
            Self::Assurance(_) => "bad_assurance",
            Self::Service { .. } => "bad_service",
            Self::KeyCount => "key_count",
            Self::Key(_) => "bad_key",
            Self::KeyTaken(_) => "key_taken",
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
    let name = identity::own_name(txn.as_mut(), Kind::Agent, &request.name).await?;
    let owner = identity::owner(txn.as_mut(), request.owner).await?;
    let purpose = given("purpose", request.purpose, "what it is for")?.parse()?;
    let environment = given("environment", request.environment, "where it runs")?;
    let Admitted {
        evidence,
        assurance,
        keys,
        service,
    } = admitted(txn.as_mut(), request.evidence).await?;
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
        evidence,
        service,
        assurance,
        stage: if request.draft {
            Stage::Draft
        } else {
            Stage::Active { since }
        },
        registered_at: cx.now,
    };
    insert(txn, cx, (&agent, &owner), &keys).await?;
    Ok(plane.published(agent, revision).await)
}

async fn insert(
    mut txn: Box<dyn Txn>,
    cx: &Cx,
    (agent, owner): (&Agent, &Person),
    keys: &[PublicKey],
) -> Result<(), RegisterAgentError> {
    txn.agent_insert(agent).await?;
    let enrolled = keys.iter().map(|key| {
        let owner = KeyOwner::Agent(agent.id);
        enrolled(key, KeyPurpose::Agent, owner, cx.now)
    });
    let mut events = Vec::new();
    for key in enrolled {
        match txn.key_insert(&key).await {
            Err(Error::Duplicate { .. }) => return Err(RegisterAgentError::KeyTaken(key.kid)),
            done => done?,
        }
        events.push(event(cx, EventKind::KeyEnrolled, key_body(&key)));
    }
    let owner = Object::new()
        .with("id", owner.id.to_string())
        .with("name", owner.name.as_str());
    let mut body = Object::new()
        .with("agent", agent.id.to_string())
        .with("name", agent.name.as_str())
        .with("spiffe_id", agent.spiffe_id.as_str())
        .with("owner", owner)
        .with("purpose", agent.purpose.as_str())
        .with("environment", agent.environment.as_str())
        .with("assurance", agent.assurance.as_str())
        .with("stage", agent.stage.as_str())
        .with("evidence", value(&agent.evidence)?);
    if let Some(service) = agent.service {
        body = body.with("service", service.to_string());
    }
    events.insert(0, event(cx, EventKind::AgentRegistered, body));
    Ok(txn.commit(events).await?)
}
