//! What was found on the way to a decision, as records write it.

use aims_authority::Refusal;
use aims_json::{Object, Value};
use aims_policy::{Decision as PolicyDecision, DenyReason, EvaluationError, Requirement};
use aims_types::Name;

use crate::decide::{Findings, HopFinding, PrincipalFinding, PrincipalName};

/// Most characters of one text that comes from outside.
const TEXT_LEN_MAX: usize = 256;

impl Findings {
    /// What each stage found: `principals`, `authority` and `requirements` of a decision's record.
    pub fn describe(&self, body: Object) -> Object {
        let principals: Vec<Value> = self.principals.iter().map(principal).collect();
        body.with("principals", principals)
            .with("authority", authority(self))
            .with("requirements", requirements(self))
    }

    /// The reasons of a permit: the policies that permit it, for each principal.
    pub fn reasons(&self) -> Vec<Value> {
        let reason = |finding: &PrincipalFinding| {
            let by = match &finding.verdict.decision {
                PolicyDecision::Permit { determining } => quoted(determining),
                PolicyDecision::Deny { .. } => String::new(),
            };
            let who = &finding.principal;
            Value::from(format!("policy for {who}: permitted by {by}"))
        };
        self.principals.iter().map(reason).collect()
    }
}

/// A principal as records write it: `person:alice`, `agent:notes`.
impl std::fmt::Display for PrincipalName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Person(name) => write!(f, "person:{name}"),
            Self::Agent(name) => write!(f, "agent:{name}"),
        }
    }
}

/// The parts of a refusal, for records and for the agent.
pub fn describe_refusal(object: Object, refusal: &Refusal) -> Object {
    let text = |text: Option<&str>| text.map_or(Value::Null, |text| Value::from(short(text)));
    object
        .with("refused", refusal.rule().code())
        .with("argument", text(refusal.argument()))
        .with("would_allow", text(refusal.allowed()))
}

/// At most so much of a text from outside, with nothing in it that looks like something else.
pub fn short(text: &str) -> String {
    text.chars()
        .take(TEXT_LEN_MAX)
        .flat_map(|c| {
            let escape = aims_model::text::misleads(c);
            let plain = (!escape).then_some(c);
            plain.into_iter().chain(escape.then_some('\u{fffd}'))
        })
        .collect()
}

/// Names in words: `` `a`, `b` ``.
pub fn quoted(names: &[Name]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
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
            .with("principal", finding.principal.to_string())
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
    let hop = |finding: &HopFinding| {
        let object = Object::new().with("delegation", finding.delegation.to_string());
        Value::from(match &finding.result {
            Ok(detail) => object.with("detail", u64::try_from(*detail).unwrap_or(u64::MAX)),
            Err(refusal) => describe_refusal(object, refusal),
        })
    };
    findings.hops.iter().map(hop).collect()
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
