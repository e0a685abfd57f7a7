//! What the records of decisions say.

pub(crate) use aims_decision::short;
use aims_decision::{Findings, Reason, Reserved, describe, quoted};
use aims_json::{CanonicalError, Object, Value};
use aims_model::grant::Delegator;
use aims_policy::DenyReason;
use aims_proof::{AgentUsed, Used};
use aims_types::{self as types, Digest, Id, Name, Timestamp};

use crate::authn::Caller;
use crate::state::State;

/// What an action is done to.
#[derive(Debug, Clone)]
pub(crate) enum Resource {
    /// A tool, as pinned.
    Tool {
        /// The server.
        server: Name,
        /// The tool.
        tool: String,
        /// The digest of its definition, if it is pinned.
        pin: Option<Digest>,
    },
    /// A host.
    Host {
        /// Its name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A request to an upstream.
    Request {
        /// The upstream.
        upstream: Name,
        /// The version of its credential.
        version: u32,
        /// The method.
        method: &'static str,
        /// The path.
        path: String,
        /// Whether there is a query, which the digest of the message covers.
        query: bool,
    },
}

/// One action, by its digests.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    /// The decision about it.
    pub(crate) decision: Id<types::Decision>,
    /// What it is done to.
    pub(crate) resource: Resource,
    /// Digest of the exact arguments.
    pub(crate) arguments: Option<Digest>,
    /// Digest of the whole message.
    pub(crate) message: Option<Digest>,
}

impl Resource {
    const fn action(&self) -> &'static str {
        match self {
            Self::Tool { .. } => "tools/call",
            Self::Host { .. } => "CONNECT",
            Self::Request { .. } => "http/request",
        }
    }

    fn to_value(&self) -> Value {
        Value::from(match self {
            Self::Tool { server, tool, pin } => Object::new()
                .with("server", server.as_str())
                .with("tool", short(tool))
                .with("pin", digest(*pin)),
            Self::Host { host, port } => Object::new()
                .with("host", short(host))
                .with("port", u64::from(*port)),
            Self::Request {
                upstream,
                version,
                method,
                path,
                query,
            } => Object::new()
                .with("upstream", upstream.as_str())
                .with("version", u64::from(*version))
                .with("method", *method)
                .with("path", path.as_str())
                .with("query", *query),
        })
    }
}

/// What every record of a decision has: who, on whose behalf, with what, on which state.
pub(crate) fn decision(
    caller: &Caller,
    state: &State,
    action: &Action,
    decision: &'static str,
    findings: &Findings,
) -> Object {
    let chain = caller
        .chain
        .verified
        .hops()
        .iter()
        .map(|hop| Value::from(hop.digest().to_string()));
    let leaf = caller.chain.verified.leaf().map(aims_decision::Hop::grant);
    let agents = caller.chain.verified.hops().iter().map(agent);
    let subject = Object::new()
        .with("id", caller.person.to_string())
        .with("name", caller.chain.verified.person_name().as_str());
    let token = Object::new()
        .with("jti", caller.token.common.token.to_string())
        .with("sha256", caller.token_digest.to_string());
    let policy = Object::new()
        .with("id", state.policy.id.to_string())
        .with("digest", state.policy.digest.to_string());
    let body = Object::new()
        .with(
            "agent",
            leaf.map_or("", |grant| grant.delegate_spiffe_id.as_str()),
        )
        .with("instance", caller.token.instance.to_string())
        .with("subject", subject)
        .with("resource", action.resource.to_value())
        .with("action", action.resource.action())
        .with("decision", decision)
        .with("decision_id", action.decision.to_string())
        .with("policy", policy)
        .with("revision", state.revision.number())
        .with("minted", caller.token.revision.number())
        .with("chain", chain.collect::<Vec<_>>())
        .with("agents", agents.collect::<Vec<_>>())
        .with(
            "posture",
            Object::new().with("assurance", caller.assurance.as_str()),
        )
        .with("token", token)
        .with("arguments", digest(action.arguments))
        .with("message", digest(action.message));
    findings.describe(body)
}

/// One agent of the chain: what it received, and from which instance if an agent handed it on.
fn agent(hop: &aims_decision::Hop) -> Value {
    let grant = hop.grant();
    let from = match &grant.delegator {
        Delegator::Person { .. } => Value::Null,
        Delegator::Agent { instance, .. } => Value::from(instance.to_string()),
    };
    let agent = Object::new()
        .with("delegation", grant.id.to_string())
        .with("agent", grant.delegate_spiffe_id.as_str())
        .with("from", from);
    Value::from(agent)
}

/// The reservation of an intent, on every hop.
pub(crate) fn reserved(body: Object, reserved: &Reserved) -> Object {
    body.with("reserved", reserved.to_value())
}

/// The reasons of a denial.
pub(crate) fn reasons(body: Object, reasons: &[Reason]) -> Object {
    body.with(
        "reasons",
        reasons
            .iter()
            .map(|reason| Value::from(words(reason)))
            .collect::<Vec<_>>(),
    )
}

/// The outcome of an intent.
pub(crate) fn outcome(
    decision: Id<types::Decision>,
    outcome: &'static str,
    result: Option<Digest>,
    bytes: u64,
    millis: u64,
) -> Object {
    Object::new()
        .with("decision_id", decision.to_string())
        .with("outcome", outcome)
        .with("result", digest(result))
        .with("bytes", bytes)
        .with("millis", millis)
}

/// What else the outcome of an action says that has no whole answer: what had gone out may have had
/// an effect that nobody can know or undo.
pub(crate) fn cut(outcome: Object, sent: bool) -> Object {
    let effect = if sent { "unknown" } else { "none" };
    outcome.with("sent", sent).with("effect", effect)
}

/// What a decision used, so that it can be made again: everything but the keys and the log.
pub(crate) fn material(
    caller: &Caller,
    state: &State,
    action: &Action,
    arguments: Option<&[u8]>,
    made: Made,
) -> Result<Vec<u8>, CanonicalError> {
    let chain = &caller.chain;
    let agents = chain.agents.iter().map(|agent| AgentUsed {
        id: agent.id,
        name: agent.name.clone(),
        spiffe_id: agent.spiffe_id.clone(),
        owner: agent.owner.clone(),
        environment: agent.environment.clone(),
    });
    // They were read as JSON, so they are UTF-8.
    let arguments = arguments.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let used = Used {
        decision: action.decision,
        at: made.at,
        resource: action.resource.to_value(),
        action: action.resource.action().to_owned(),
        arguments,
        chain: chain
            .verified
            .hops()
            .iter()
            .map(|hop| hop.jws().to_owned())
            .collect(),
        agents: agents.collect(),
        person: chain.verified.person_name().clone(),
        calls: made.calls,
        assurance: caller.assurance,
        policy: state.policy.digest,
        tools: state.tools,
        minted: caller.token.revision,
        revision: state.revision,
    };
    used.to_bytes()
}

/// When a decision was made, and how many calls the instance had been permitted before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    pub(crate) at: Timestamp,
    pub(crate) calls: u32,
}

/// A reason in words.
pub(crate) fn words(reason: &Reason) -> String {
    match reason {
        Reason::CutOff(subject) => format!("cut_off: {}", describe(subject)),
        Reason::Chain(error) => format!("chain: {error}"),
        Reason::Authority {
            delegation,
            refusal,
        } => {
            format!("authority {delegation}: {}: {refusal}", refusal.rule())
        }
        Reason::Principals => "chain: the facts about its agents are not complete".to_owned(),
        Reason::Policy { principal, reason } => {
            format!("policy for {}: {}", principal, policy_words(reason))
        }
    }
}

/// Why the policies deny, in words.
pub(crate) fn policy_words(reason: &DenyReason) -> String {
    match reason {
        DenyReason::NoPermit => "no policy permits it".to_owned(),
        DenyReason::ForbiddenBy(names) => format!("forbidden by {}", quoted(names)),
        DenyReason::Error(errors) => {
            let names: Vec<Name> = errors
                .iter()
                .filter_map(|error| error.policy.clone())
                .collect();
            if names.is_empty() {
                "the action has no form that policies can see".to_owned()
            } else {
                format!("could not be evaluated: {}", quoted(&names))
            }
        }
    }
}

fn digest(digest: Option<Digest>) -> Value {
    digest.map_or(Value::Null, |digest| Value::from(digest.to_string()))
}
