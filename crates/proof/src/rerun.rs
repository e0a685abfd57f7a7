//! Making the decision again from what it used.

use aims_authority::Call;
use aims_crypto::{Hasher, sha256};
use aims_decision::{
    Approved, Case, ChainError, CutOffs, Decision, Permit, Presented, Question, VerifiedChain,
    decide, verify_approval, verify_chain,
};
use aims_json::{CanonicalError, Limits, Object, Value};
use aims_model::Approval;
use aims_model::approval::{Asked, Stage};
use aims_model::grant::grant_digest;
use aims_oauth::Chain;
use aims_policy::AgentFacts;
use aims_types::{Digest, Name, Revision, Timestamp, TrustDomain};

use crate::facts::{FactError, Facts};
use crate::file::Materials;
use crate::tools::CompileError;
use crate::used::{AgentUsed, Used};

/// The text of a call without arguments.
const NO_ARGUMENTS: &str = "{}";

/// Why the decision does not come out as it was recorded.
#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    /// The material is not what the record commits to.
    #[error("the material is not what the record of the permit commits to")]
    Commitment,
    /// The material, or what goes with it, does not fit the records.
    #[error("what the decision used is not what was recorded: `{0}` differs")]
    Differs(&'static str),
    /// The records don't have what is needed.
    #[error(transparent)]
    Fact(#[from] FactError),
    /// The policies can't be compiled.
    #[error("the policies can't be compiled: {0}")]
    Policies(#[from] CompileError),
    /// The arguments are not an object.
    #[error("the arguments are not a JSON object")]
    Arguments,
    /// The chain does not hold.
    #[error("the delegation chain does not hold: {0}")]
    Chain(#[from] ChainError),
    /// The approval does not hold.
    #[error("the approval does not hold: {0}")]
    Approval(#[from] aims_decision::ApprovalError),
    /// There is no canonical form of it.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The decision is another one now.
    #[error("the decision made again is no permit: {0}")]
    NotPermitted(String),
    /// The decision has other grounds now.
    #[error("the decision made again has another `{0}` than was recorded")]
    OtherGrounds(&'static str),
}

/// The chain of the permit, proven anew from the signed grants in the records.
pub(crate) fn chain(facts: &Facts<'_>, at: Timestamp) -> Result<VerifiedChain, RerunError> {
    let mut grants = Vec::new();
    for (place, _) in &facts.selected.hops {
        grants.push(facts.part(*place)?.text("grant")?.to_owned());
    }
    let claimed: Vec<Digest> = grants.iter().map(|jws| grant_digest(jws)).collect();
    let named = Chain::new(claimed.clone()).map_err(|_| ChainError::Hash)?;
    let trust_domain: TrustDomain = facts
        .domain()?
        .parse()
        .map_err(|_| RerunError::Differs("trust_domain"))?;
    let task = facts.record(facts.selected.intent)?.record.event.task;
    let presented = Presented {
        grants: &grants,
        claimed: &claimed,
        claimed_hash: named.commitment(),
        task: task.ok_or(RerunError::Differs("task"))?,
        person: facts.intent()?.part("subject")?.parsed("id")?,
        trust_domain: &trust_domain,
    };
    Ok(verify_chain(&presented, &facts.keys(), at)?)
}

/// Decides again on what was used, and compares the decision and all its grounds with the record.
pub(crate) fn rerun(
    facts: &Facts<'_>,
    (materials, policy): (&Materials, &str),
    chain: &VerifiedChain,
) -> Result<(), RerunError> {
    let used = &materials.used;
    same(facts, used, chain)?;
    let policies = materials.tools.compile(policy)?;
    let arguments = arguments(used)?;
    let resource = facts.intent()?.part("resource")?;
    let server: Name;
    let call = if facts.selected.server.is_some() {
        server = resource.parsed("server")?;
        Call::Tool {
            server: &server,
            tool: resource.text("tool")?,
            arguments: &arguments,
        }
    } else {
        let port = u16::try_from(resource.number("port")?);
        Call::Egress {
            host: resource.text("host")?,
            port: port.map_err(|_| RerunError::Differs("port"))?,
        }
    };
    let agents: Vec<AgentFacts<'_>> = used.agents.iter().map(|agent| told(agent, used)).collect();
    let approval = approval(facts, used)?;
    // A file can't show what was not cut off: that is in the log as a whole.
    let cutoffs = CutOffs::default();
    let decided = decide(&Case {
        chain,
        call,
        policies: &policies,
        agents: &agents,
        calls: used.calls,
        assurance: used.assurance,
        subjects: &[],
        minted: used.minted,
        cutoffs: &cutoffs,
        approval: approval.as_ref(),
        now: used.at,
    });
    compare(facts, decided)
}

fn told<'a>(agent: &'a AgentUsed, used: &'a Used) -> AgentFacts<'a> {
    AgentFacts {
        name: &agent.name,
        owner: &agent.owner,
        environment: agent.environment.as_str(),
        assurance: used.assurance.as_str(),
    }
}

/// The material is the one that the record commits to, and the tools are those that it names.
pub(crate) fn committed(facts: &Facts<'_>, materials: &Materials) -> Result<(), RerunError> {
    let mut hasher = Hasher::new();
    hasher.update(&materials.salt);
    hasher.update(&materials.used.to_bytes()?);
    if facts.intent()?.parsed::<Digest>("materials")? != hasher.finish() {
        return Err(RerunError::Commitment);
    }
    if materials.tools.digest()? != materials.used.tools {
        return Err(RerunError::Differs("tools"));
    }
    Ok(())
}

/// What the material says is what the records say.
fn same(facts: &Facts<'_>, used: &Used, chain: &VerifiedChain) -> Result<(), RerunError> {
    let intent = facts.intent()?;
    let digest = match &used.arguments {
        Some(text) => Value::from(sha256(text.as_bytes()).to_string()),
        None => Value::Null,
    };
    let grants = chain.hops().iter().map(aims_decision::Hop::jws);
    let minted = intent.number("minted").map(Revision::new)?;
    let revision = intent.number("revision").map(Revision::new)?;
    let checks = [
        (
            intent.parsed("decision_id") == Ok(used.decision),
            "decision_id",
        ),
        (*intent.value("resource")? == used.resource, "resource"),
        (intent.text("action")? == used.action, "action"),
        (*intent.value("arguments")? == digest, "arguments"),
        (grants.eq(used.chain.iter().map(String::as_str)), "chain"),
        (*chain.person_name() == used.person, "person"),
        (agents(facts, used)?, "agents"),
        (
            intent.part("policy")?.parsed("digest") == Ok(used.policy),
            "policy",
        ),
        (
            intent.part("posture")?.text("assurance")? == used.assurance.as_str(),
            "assurance",
        ),
        (minted == used.minted, "minted"),
        (revision == used.revision, "revision"),
    ];
    match checks.iter().find(|(same, _)| !same) {
        Some((_, member)) => Err(RerunError::Differs(member)),
        None => Ok(()),
    }
}

/// What policies were told of each agent is what it is registered with.
fn agents(facts: &Facts<'_>, used: &Used) -> Result<bool, FactError> {
    if used.agents.len() != facts.selected.agents.len() {
        return Ok(false);
    }
    for (agent, place) in used.agents.iter().zip(&facts.selected.agents) {
        let registered = facts.part(*place)?;
        let same = registered.parsed("agent") == Ok(agent.id)
            && registered.text("name")? == agent.name.as_str()
            && registered.text("spiffe_id")? == agent.spiffe_id.as_str()
            && registered.part("owner")?.text("name")? == agent.owner.as_str()
            && registered.text("environment")? == agent.environment.as_str()
            && registered.text("assurance")? == used.assurance.as_str();
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn arguments(used: &Used) -> Result<Object, RerunError> {
    let text = used.arguments.as_deref().unwrap_or(NO_ARGUMENTS);
    match aims_json::parse(text.as_bytes(), &Limits::MESSAGE) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        _ => Err(RerunError::Arguments),
    }
}

/// The approval that the permit used, verified for exactly this call.
fn approval(facts: &Facts<'_>, used: &Used) -> Result<Option<Approved>, RerunError> {
    let Some((asked, answered)) = facts.selected.approval else {
        return Ok(None);
    };
    let (question, answer) = (facts.part(asked)?, facts.part(answered)?);
    let intent = facts.intent()?;
    let (resource, named) = (intent.part("resource")?, intent.part("approval")?);
    let leaf = facts.selected.hops.last().map(|(_, grant)| grant);
    let leaf = leaf.ok_or(RerunError::Differs("chain"))?;
    let digest = intent.array("chain")?.last().and_then(Value::as_str);
    let digest = digest.and_then(|text| text.parse().ok());
    let requirements = question.array("requirements")?.iter();
    let requirements = requirements.map(|name| name.as_str()?.parse().ok());
    let asked_about = Asked {
        task: leaf.task,
        initiator: intent.part("subject")?.parsed("id")?,
        agent: intent.parsed("agent")?,
        instance: question.parsed("instance")?,
        delegation: leaf.id,
        leaf: digest.ok_or(RerunError::Differs("chain"))?,
        server: resource.parsed("server")?,
        tool: resource.text("tool")?.to_owned(),
        pin: resource.parsed("pin")?,
        arguments: used
            .arguments
            .clone()
            .unwrap_or_else(|| NO_ARGUMENTS.to_owned()),
        policy: intent.part("policy")?.parsed("id")?,
        requirements: requirements
            .collect::<Option<_>>()
            .ok_or(RerunError::Differs("requirements"))?,
    };
    let approval = Approval {
        id: question.parsed("approval")?,
        digest: question.parsed("digest")?,
        asked: asked_about.clone(),
        asked_at: facts.record(asked)?.record.event.at,
        deadline: Timestamp::from_unix_millis(question.number("deadline")?),
        stage: Stage::Approved {
            at: facts.record(answered)?.record.event.at,
            by: named.parsed("by")?,
            answer: answer.text("jws")?.to_owned(),
        },
    };
    let trust_domain = facts.domain()?.parse();
    let question = Question {
        asked: &asked_about,
        trust_domain: &trust_domain.map_err(|_| RerunError::Differs("trust_domain"))?,
    };
    let approved = verify_approval(&approval, &question, &facts.keys(), used.at)?;
    Ok(Some(approved))
}

/// The decision is a permit, and its grounds are the recorded ones.
fn compare(facts: &Facts<'_>, decided: Decision<'_>) -> Result<(), RerunError> {
    let permit: Permit<'_> = match decided {
        Decision::Permit(permit) => permit,
        Decision::Deny(denied) => {
            return Err(RerunError::NotPermitted(format!("{:?}", denied.reasons)));
        }
        Decision::StepUp(needed) => {
            let names = needed.requirements.iter();
            let names: Vec<String> = names.map(|one| one.policy.to_string()).collect();
            return Err(RerunError::NotPermitted(names.join(", ")));
        }
    };
    let intent = facts.intent()?;
    let found = permit.findings().describe(Object::new());
    for name in ["principals", "authority", "requirements"] {
        if found.get(name) != Some(intent.value(name)?) {
            return Err(RerunError::OtherGrounds(name));
        }
    }
    if permit.findings().reasons().as_slice() != intent.array("reasons")? {
        return Err(RerunError::OtherGrounds("reasons"));
    }
    Ok(())
}
