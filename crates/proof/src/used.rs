//! What a decision used, in the one form that records commit to.

use aims_json::{CanonicalError, Object, Value, to_canonical};
use aims_model::Assurance;
use aims_types::{Agent, Decision, Digest, Id, Name, Revision, SpiffeId, Timestamp};

/// Version of the form.
const VERSION: u64 = 2;
/// How many members it has.
const MEMBERS: usize = 15;

/// Everything that a decision was made on, but keys and cut-offs: the record of a permit commits to
/// its canonical bytes under a salt.
#[derive(Debug, Clone, PartialEq)]
pub struct Used {
    /// The decision.
    pub decision: Id<Decision>,
    /// The instant that it was made at.
    pub at: Timestamp,
    /// What the action is done to, as its record says it.
    pub resource: Value,
    /// `tools/call` or `CONNECT`.
    pub action: String,
    /// The exact bytes of the arguments; none for a connection.
    pub arguments: Option<String>,
    /// The signed grants, root first.
    pub chain: Vec<String>,
    /// The delegates of the grants, in their order.
    pub agents: Vec<AgentUsed>,
    /// The person at the root.
    pub person: Name,
    /// How many calls the instance had been permitted.
    pub calls: u32,
    /// The assurance level at which it ran.
    pub assurance: Assurance,
    /// Digest of the policies' text.
    pub policy: Digest,
    /// Digest of the tools that the policies were compiled against ([`crate::Tools`]).
    pub tools: Digest,
    /// The revision at which the token was minted.
    pub minted: Revision,
    /// The revision of the state that it was decided on.
    pub revision: Revision,
}

/// What policies were told of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentUsed {
    /// The agent.
    pub id: Id<Agent>,
    /// Its name.
    pub name: Name,
    /// Its identifier.
    pub spiffe_id: SpiffeId,
    /// Its owner's name.
    pub owner: Name,
    /// Where it runs.
    pub environment: Name,
}

impl Used {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        to_canonical(&self.to_value())
    }

    fn to_value(&self) -> Value {
        let chain: Vec<Value> = self
            .chain
            .iter()
            .map(|jws| Value::from(jws.as_str()))
            .collect();
        let agents: Vec<Value> = self.agents.iter().map(AgentUsed::to_value).collect();
        let arguments = self.arguments.as_deref();
        Value::from(
            Object::new()
                .with("v", VERSION)
                .with("decision_id", self.decision.to_string())
                .with("at", self.at.unix_millis())
                .with("resource", self.resource.clone())
                .with("action", self.action.as_str())
                .with("arguments", arguments.map_or(Value::Null, Value::from))
                .with("chain", chain)
                .with("agents", agents)
                .with("person", self.person.as_str())
                .with("calls", u64::from(self.calls))
                .with("assurance", self.assurance.as_str())
                .with("policy", self.policy.to_string())
                .with("tools", self.tools.to_string())
                .with("minted", self.minted.number())
                .with("revision", self.revision.number()),
        )
    }

    /// Reads the form; `None` unless it is exactly that.
    pub fn from_value(value: &Value) -> Option<Self> {
        let object = value.as_object().filter(|object| object.len() == MEMBERS)?;
        let text = |name: &str| object.get(name)?.as_str();
        let number = |name: &str| object.get(name)?.as_u64();
        let texts = |name: &str| object.get(name)?.as_array();
        let arguments = match object.get("arguments")? {
            Value::Null => None,
            other => Some(other.as_str()?.to_owned()),
        };
        let jws = |value: &Value| Some(value.as_str()?.to_owned());
        let assurance = Assurance::Confined;
        let used = Self {
            decision: text("decision_id")?.parse().ok()?,
            at: Timestamp::from_unix_millis(number("at")?),
            resource: object.get("resource")?.clone(),
            action: text("action")?.to_owned(),
            arguments,
            chain: texts("chain")?.iter().map(jws).collect::<Option<_>>()?,
            agents: texts("agents")?
                .iter()
                .map(AgentUsed::from_value)
                .collect::<Option<_>>()?,
            person: text("person")?.parse().ok()?,
            calls: number("calls")?.try_into().ok()?,
            assurance: (text("assurance")? == assurance.as_str()).then_some(assurance)?,
            policy: text("policy")?.parse().ok()?,
            tools: text("tools")?.parse().ok()?,
            minted: Revision::new(number("minted")?),
            revision: Revision::new(number("revision")?),
        };
        // Every spelling but ours is refused, of ids too.
        (used.to_value() == *value).then_some(used)
    }
}

impl AgentUsed {
    fn to_value(&self) -> Value {
        Value::from(
            Object::new()
                .with("id", self.id.to_string())
                .with("name", self.name.as_str())
                .with("spiffe_id", self.spiffe_id.as_str())
                .with("owner", self.owner.as_str())
                .with("environment", self.environment.as_str()),
        )
    }

    fn from_value(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name)?.as_str();
        Some(Self {
            id: text("id")?.parse().ok()?,
            name: text("name")?.parse().ok()?,
            spiffe_id: text("spiffe_id")?.parse().ok()?,
            owner: text("owner")?.parse().ok()?,
            environment: text("environment")?.parse().ok()?,
        })
    }
}
