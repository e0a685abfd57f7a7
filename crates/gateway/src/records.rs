//! What the records of decisions say.

use aims_authority::Refusal;
use aims_crypto::sha256;
use aims_decision::{Findings, PrincipalFinding, PrincipalName, Reason, Reserved, describe};
use aims_json::{Object, Value};
use aims_model::Assurance;
use aims_model::grant::Delegator;
use aims_policy::{Decision as PolicyDecision, DenyReason, EvaluationError, Requirement};
use aims_types::{self as types, Digest, Id, Name};

use crate::authn::Caller;
use crate::state::State;

/// Most characters of one text that comes from outside.
const TEXT_LEN_MAX: usize = 256;

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
    Object::new()
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
            Object::new().with("assurance", Assurance::Confined.as_str()),
        )
        .with("token", token)
        .with("arguments", digest(action.arguments))
        .with("message", digest(action.message))
        .with(
            "principals",
            findings
                .principals
                .iter()
                .map(principal)
                .collect::<Vec<_>>(),
        )
        .with("authority", authority(findings))
        .with("requirements", requirements(findings))
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

/// The reasons of a permit: the policies that permit it, for each principal.
pub(crate) fn permitted(body: Object, findings: &Findings) -> Object {
    let reason = |finding: &PrincipalFinding| {
        let by = match &finding.verdict.decision {
            PolicyDecision::Permit { determining } => quoted(determining),
            PolicyDecision::Deny { .. } => String::new(),
        };
        Value::from(format!(
            "policy for {}: permitted by {by}",
            name(&finding.principal)
        ))
    };
    body.with(
        "reasons",
        findings.principals.iter().map(reason).collect::<Vec<_>>(),
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

/// What else the outcome of a cut action says: what had gone out may have had an effect that nobody
/// can know or undo.
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
    calls: u32,
) -> Option<Vec<u8>> {
    let chain = &caller.chain;
    let grants = chain
        .verified
        .hops()
        .iter()
        .map(|hop| Value::from(hop.jws()));
    let agents = chain.agents.iter().map(|agent| {
        Value::from(
            Object::new()
                .with("id", agent.id.to_string())
                .with("name", agent.name.as_str())
                .with("spiffe_id", agent.spiffe_id.as_str())
                .with("owner", agent.owner.as_str())
                .with("environment", agent.environment.as_str()),
        )
    });
    let arguments = arguments.map_or(Value::Null, |bytes| {
        Value::from(String::from_utf8_lossy(bytes).into_owned())
    });
    let object = Object::new()
        .with("v", 1_u64)
        .with("decision_id", action.decision.to_string())
        .with("resource", action.resource.to_value())
        .with("action", action.resource.action())
        .with("arguments", arguments)
        .with("chain", grants.collect::<Vec<_>>())
        .with("agents", agents.collect::<Vec<_>>())
        .with("person", chain.verified.person_name().as_str())
        .with("calls", u64::from(calls))
        .with("assurance", Assurance::Confined.as_str())
        .with("policy", state.policy.digest.to_string())
        .with(
            "schema",
            sha256(state.policies.schema().text().as_bytes()).to_string(),
        )
        .with("minted", caller.token.revision.number())
        .with("revision", state.revision.number());
    aims_json::to_canonical(&Value::from(object)).ok()
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
            format!("policy for {}: {}", name(principal), policy_words(reason))
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

fn quoted(names: &[Name]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A principal as records write it: `person:alice`, `agent:notes`.
pub(crate) fn name(principal: &PrincipalName) -> String {
    match principal {
        PrincipalName::Person(name) => format!("person:{name}"),
        PrincipalName::Agent(name) => format!("agent:{name}"),
    }
}

/// At most so much of a text from outside, with nothing in it that looks like something else.
pub(crate) fn short(text: &str) -> String {
    text.chars()
        .take(TEXT_LEN_MAX)
        .flat_map(|c| {
            let escape = aims_model::text::misleads(c);
            let plain = (!escape).then_some(c);
            plain.into_iter().chain(escape.then_some('\u{fffd}'))
        })
        .collect()
}

fn principal(finding: &PrincipalFinding) -> Value {
    let (decision, policies) = match &finding.verdict.decision {
        PolicyDecision::Permit { determining } => ("permit", names(determining)),
        PolicyDecision::Deny {
            reason: DenyReason::ForbiddenBy(by),
        } => ("deny", names(by)),
        PolicyDecision::Deny {
            reason: DenyReason::Error(errors),
        } => ("deny", failed(errors)),
        PolicyDecision::Deny {
            reason: DenyReason::NoPermit,
        } => ("deny", Vec::new()),
    };
    Value::from(
        Object::new()
            .with("principal", name(&finding.principal))
            .with("decision", decision)
            .with("policies", policies)
            .with("errors", failed(&finding.verdict.errors)),
    )
}

fn names(names: &[Name]) -> Vec<Value> {
    names
        .iter()
        .map(|name| Value::from(name.as_str()))
        .collect()
}

fn failed(errors: &[EvaluationError]) -> Vec<Value> {
    let name = |error: &EvaluationError| error.policy.as_ref().map(|name| name.as_str().to_owned());
    errors
        .iter()
        .map(|error| Value::from(name(error).unwrap_or_default()))
        .collect()
}

fn authority(findings: &Findings) -> Vec<Value> {
    let hop = |finding: &aims_decision::HopFinding| {
        let object = Object::new().with("delegation", finding.delegation.to_string());
        Value::from(match &finding.result {
            Ok(detail) => object.with("detail", u64::try_from(*detail).unwrap_or(u64::MAX)),
            Err(refusal) => refused(object, refusal),
        })
    };
    findings.hops.iter().map(hop).collect()
}

/// The parts of a refusal, for records and for the agent.
pub(crate) fn refused(object: Object, refusal: &Refusal) -> Object {
    let text = |text: Option<&str>| text.map_or(Value::Null, |text| Value::from(short(text)));
    object
        .with("refused", refusal.rule().code())
        .with("argument", text(refusal.argument()))
        .with("would_allow", text(refusal.allowed()))
}

fn requirements(findings: &Findings) -> Vec<Value> {
    let requirement = |(requirement, met): &(Requirement, bool)| {
        let object = Object::new()
            .with("policy", requirement.policy.as_str())
            .with("kind", requirement.kind.to_string())
            .with("met", *met);
        Value::from(object)
    };
    findings.requirements.iter().map(requirement).collect()
}

fn digest(digest: Option<Digest>) -> Value {
    digest.map_or(Value::Null, |digest| Value::from(digest.to_string()))
}
