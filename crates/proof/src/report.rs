//! What a verified proof shows.

use aims_model::grant::Delegator;
use aims_model::{Posture, Source};
use aims_tlog::VerifiedCheckpoint;
use aims_types::{
    Decision, Delegation, Digest, Gateway, Id, Instance, Name, Person, Policy, SpiffeId, Task,
    Timestamp, Token,
};
use serde::Serialize;

use crate::facts::{FactError, Facts};
use crate::part::Part;

/// What one file can't show, whoever wrote it.
pub const LIMITS: [&str; 4] = [
    "that nothing the permit rests on was cut off, or that no key was retired, before the decision: \
     check the whole log for that",
    "how much of a budget was used by other calls, and how many calls there were before",
    "that what a tool did is what it was asked to do: the outcome is what the gateway saw",
    "that the log shows the same to everybody: a kept checkpoint or a witness does",
];

/// What was verified.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    /// The decision.
    pub decision: Id<Decision>,
    /// When its record was written, by the gateway's clock.
    pub at: Timestamp,
    /// The gateway that decided.
    pub gateway: Id<Gateway>,
    /// `tools/call` or `CONNECT`.
    pub action: String,
    /// The tool or host.
    pub resource: String,
    /// Digest of the exact arguments.
    pub arguments: Option<Digest>,
    /// What became of it, if that is in the file.
    pub outcome: Option<String>,
    /// The person on whose behalf.
    pub person: Id<Person>,
    /// Their name.
    pub person_name: Name,
    /// The task.
    pub task: Id<Task>,
    /// What the person said it is for.
    pub purpose: String,
    /// The chain, root first.
    pub chain: Vec<Hop>,
    /// The instance that acted.
    pub instance: Id<Instance>,
    /// The token that it acted with.
    pub token: Id<Token>,
    /// What was seen of the instance.
    pub posture: Posture,
    /// The policy version.
    pub policy: Id<Policy>,
    /// The digest of its text.
    pub policy_digest: Digest,
    /// The policies that permit, for each principal.
    pub reasons: Vec<String>,
    /// The approval that it used.
    pub approval: Option<Approval>,
    /// The revision of the state that it was decided on.
    pub revision: u64,
    /// Whether the decision was made again.
    pub rerun: Rerun,
    /// The log.
    pub log: Log,
    /// What the file does not show.
    pub limits: Vec<&'static str>,
}

/// One hop of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// The delegation.
    pub delegation: Id<Delegation>,
    /// Who received it.
    pub agent: SpiffeId,
    /// The instance that handed it on; none at the root.
    pub from: Option<Id<Instance>>,
    /// Until when it was valid.
    pub expires_at: Timestamp,
}

/// A person's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// The request.
    pub id: Id<aims_types::Approval>,
    /// Who answered.
    pub by: Id<Person>,
    /// When it was recorded.
    pub at: Timestamp,
    /// Their words.
    pub reason: String,
}

/// Whether the decision was made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rerun {
    /// It came out the same, on the same grounds.
    Same,
    /// What it used is not in the file: it was erased or left out.
    NotRerunnable,
}

/// The log that it is recorded in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Log {
    /// Its name.
    pub origin: String,
    /// How many records the checkpoint has.
    pub size: u64,
    /// Their root.
    pub root: Digest,
    /// How many of them are in the file.
    pub records: usize,
    /// The witnesses that saw the checkpoint, and when, in seconds.
    pub witnesses: Vec<(String, u64)>,
    /// The size of the earlier checkpoint that the file shows it to continue.
    pub since: Option<u64>,
    /// Whether that, or it itself, is the one that the auditor kept.
    pub kept: bool,
}

impl Verified {
    pub(crate) fn of(
        facts: &Facts<'_>,
        (head, since, kept): (&VerifiedCheckpoint, Option<u64>, bool),
        rerun: Rerun,
    ) -> Result<Self, FactError> {
        let intent = facts.intent()?;
        let record = &facts.record(facts.selected.intent)?.record;
        let (Source::Gateway(gateway), Some(task)) = (record.source, record.event.task) else {
            return Err(FactError::Permit("no gateway or no task"));
        };
        let subject = intent.part("subject")?;
        let (hops, purpose) = chain(facts)?;
        let digest = |name| intent.has(name).then(|| intent.parsed(name)).transpose();
        let reasons = intent.array("reasons")?.iter();
        Ok(Self {
            decision: intent.parsed("decision_id")?,
            at: record.event.at,
            gateway,
            action: intent.text("action")?.to_owned(),
            resource: resource(intent.part("resource")?)?,
            arguments: digest("arguments")?,
            outcome: outcome(facts)?,
            person: subject.parsed("id")?,
            person_name: subject.parsed("name")?,
            task,
            purpose,
            chain: hops,
            instance: intent.parsed("instance")?,
            token: intent.part("token")?.parsed("jti")?,
            posture: facts.part(facts.selected.acting)?.read("posture")?,
            policy: intent.part("policy")?.parsed("id")?,
            policy_digest: intent.part("policy")?.parsed("digest")?,
            reasons: reasons
                .filter_map(|one| one.as_str().map(str::to_owned))
                .collect(),
            approval: approval(facts)?,
            revision: intent.number("revision")?,
            rerun,
            log: log(facts, head, (since, kept)),
            limits: LIMITS.to_vec(),
        })
    }
}

fn chain(facts: &Facts<'_>) -> Result<(Vec<Hop>, String), FactError> {
    let hop = |grant: &aims_model::Grant| Hop {
        delegation: grant.id,
        agent: grant.delegate_spiffe_id.clone(),
        from: match &grant.delegator {
            Delegator::Person { .. } => None,
            Delegator::Agent { instance, .. } => Some(*instance),
        },
        expires_at: grant.expires_at,
    };
    let root = facts.hops().next();
    let root = root.ok_or(FactError::Permit("it has no chain"))?;
    Ok((facts.hops().map(hop).collect(), root.purpose.to_string()))
}

fn resource(resource: Part<'_>) -> Result<String, FactError> {
    if resource.has("host") {
        let (host, port) = (resource.text("host")?, resource.number("port")?);
        return Ok(format!("{host}:{port}"));
    }
    let (server, tool) = (resource.text("server")?, resource.text("tool")?);
    Ok(format!("{server}/{tool}"))
}

fn outcome(facts: &Facts<'_>) -> Result<Option<String>, FactError> {
    let outcome = facts.selected.outcome.map(|place| facts.part(place));
    let outcome = outcome.transpose()?;
    let said = outcome.map(|part| part.text("outcome").map(str::to_owned));
    said.transpose()
}

fn approval(facts: &Facts<'_>) -> Result<Option<Approval>, FactError> {
    let Some((_, answered)) = facts.selected.approval else {
        return Ok(None);
    };
    let (answer, named) = (facts.part(answered)?, facts.intent()?.part("approval")?);
    Ok(Some(Approval {
        id: named.parsed("id")?,
        by: named.parsed("by")?,
        at: facts.record(answered)?.record.event.at,
        reason: answer.text("reason")?.to_owned(),
    }))
}

fn log(facts: &Facts<'_>, head: &VerifiedCheckpoint, grown: (Option<u64>, bool)) -> Log {
    let checkpoint = head.checkpoint();
    let seen = head.cosignatures().iter();
    Log {
        origin: checkpoint.origin.to_string(),
        size: checkpoint.size,
        root: checkpoint.root,
        records: facts.records.len(),
        witnesses: seen.map(|one| (one.witness.to_string(), one.at)).collect(),
        since: grown.0,
        kept: grown.1,
    }
}
