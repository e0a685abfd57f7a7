//! Requests for approval: asked, answered by a person who may, used once for exactly what was
//! asked.

use std::collections::HashMap;

use aims_crypto::sha256;
use aims_jose::{Jws, JwsLimits};
use aims_json::{Object, Value};
use aims_model::approval::{APPROVAL_TYP, Answer};
use aims_model::{KeyPurpose, Record};
use aims_types::{Approval, Decision, Digest, Id, Person, Task};

use super::claims::Body;
use super::grants::{Grants, Recorded, payload};
use super::keys::Keys;
use super::people::People;
use super::permit::Wrong;
use super::{ApprovalProblem, PermitProblem, Problem};

/// The kind of a requirement that an approval meets.
const APPROVAL: &str = "approval";

/// Every request that was recorded.
#[derive(Default)]
pub(super) struct Approvals {
    asked: HashMap<Id<Approval>, Question>,
    verified: u64,
}

/// What was asked, and what came of it.
struct Question {
    digest: Digest,
    task: Id<Task>,
    server: String,
    tool: String,
    agent: String,
    requirements: Vec<Value>,
    answer: Option<Answered>,
    ended: bool,
    used: Option<Id<Decision>>,
    /// Since which epoch of the task's tree an answer is void: the tree was taken over after it.
    void_from: Option<u64>,
}

#[derive(Clone, Copy)]
struct Answered {
    by: Id<Person>,
    approve: bool,
}

/// What answers are checked against.
pub(super) struct Known<'a> {
    pub(super) keys: &'a Keys,
    pub(super) people: &'a People,
    pub(super) grants: &'a Grants,
    /// The trust domain's name.
    pub(super) domain: &'a str,
}

impl Approvals {
    pub(super) fn asked(&mut self, record: &Record) -> Result<(), Problem> {
        let body = Body::of(record);
        let id: Id<Approval> = body.parsed("approval")?;
        let requirements = body.value("requirements")?.as_array();
        let question = Question {
            digest: body.parsed("digest")?,
            task: record.event.task.ok_or_else(|| body.missing("task"))?,
            server: body.text("server")?.to_owned(),
            tool: body.text("tool")?.to_owned(),
            agent: body.text("agent")?.to_owned(),
            requirements: requirements
                .ok_or_else(|| body.missing("requirements"))?
                .to_vec(),
            answer: None,
            ended: false,
            used: None,
            void_from: None,
        };
        match self.asked.insert(id, question) {
            None => Ok(()),
            Some(_) => Err(wrong(id, ApprovalProblem::Twice)),
        }
    }

    pub(super) fn answered(&mut self, known: &Known<'_>, body: Body<'_>) -> Result<(), Problem> {
        let id: Id<Approval> = body.parsed("approval")?;
        let question = self.asked.get_mut(&id);
        let question = question.ok_or_else(|| wrong(id, ApprovalProblem::Unknown))?;
        if question.answer.is_some() || question.ended {
            return Err(wrong(id, ApprovalProblem::Over));
        }
        let by: Id<Person> = body.parsed("by")?;
        let answer =
            read(known.keys, by, body.text("jws")?).map_err(|problem| wrong(id, problem))?;
        let same = [
            ("by", answer.person == by),
            ("audience", answer.audience.as_str() == known.domain),
            ("approval", answer.approval == id),
            ("digest", answer.digest == question.digest),
            ("digest", body.parsed("digest") == Ok(question.digest)),
            ("answer", body.text("answer")? == word(answer.approve)),
            ("reason", body.text("reason")? == answer.reason),
        ];
        if let Some((member, _)) = same.iter().find(|(_, same)| !same) {
            return Err(wrong(id, ApprovalProblem::Differs(member)));
        }
        if !known.people.may_approve(by) {
            return Err(wrong(id, ApprovalProblem::Person(by.to_string())));
        }
        if known
            .grants
            .initiator(question.task)
            .is_none_or(|initiator| initiator == by)
        {
            return Err(wrong(id, ApprovalProblem::Initiator));
        }
        let approve = answer.approve;
        question.answer = Some(Answered { by, approve });
        self.verified = self.verified.saturating_add(1);
        Ok(())
    }

    /// A request ended without an answer, or its approval was used.
    pub(super) fn ended(&mut self, body: Body<'_>) -> Result<(), Problem> {
        let id: Id<Approval> = body.parsed("approval")?;
        let question = self.asked.get_mut(&id);
        let question = question.ok_or_else(|| wrong(id, ApprovalProblem::Unknown))?;
        if question.ended {
            return Err(wrong(id, ApprovalProblem::Over));
        }
        question.ended = true;
        if body.text("how")? != "used" {
            return Ok(());
        }
        if question.answer.is_none_or(|answer| !answer.approve) {
            return Err(wrong(id, ApprovalProblem::NotApproved));
        }
        // The server may have recorded it before or after the permit came to be in the log.
        let decision = body.parsed("decision")?;
        match question.used.replace(decision) {
            Some(other) if other != decision => Err(wrong(id, ApprovalProblem::UsedTwice)),
            _ => Ok(()),
        }
    }

    /// The tree of a task was taken over from an owner that may have used what was approved: of
    /// that nothing is left, except for what this owner recorded itself.
    pub(super) fn taken_over(&mut self, task: Id<Task>, epoch: u64) -> Result<(), Problem> {
        let asked = self.asked.iter_mut();
        for (id, question) in asked.filter(|(_, question)| question.task == task) {
            let Some(answer) = question.answer else {
                continue;
            };
            if answer.approve && !question.ended && question.used.is_none() {
                return Err(wrong(*id, ApprovalProblem::Kept));
            }
            question.void_from.get_or_insert(epoch);
        }
        Ok(())
    }

    /// A permit for which an approval is required names one that was given for exactly it by a
    /// person who may, and that no other permit used.
    pub(super) fn used(
        &mut self,
        (decision, task): (Id<Decision>, Id<Task>),
        body: Body<'_>,
        (person, leaf): (Id<Person>, (Digest, &Recorded)),
    ) -> Result<(), Wrong> {
        let Some(Value::Object(_)) = body.members.get("approval") else {
            let missing = Err(PermitProblem::ApprovalMissing.into());
            return if is_required(body) { missing } else { Ok(()) };
        };
        let part = body.part("approval")?;
        let id: Id<Approval> = part.parsed("id")?;
        let named = id.to_string();
        let by: Id<Person> = part.parsed("by")?;
        let question = self.asked.get_mut(&id);
        let given = question.filter(|question| {
            let approved = question.answer.filter(|answer| answer.approve);
            approved.is_some_and(|answer| answer.by == by)
        });
        let question = given.ok_or_else(|| PermitProblem::NotApproved(named.clone()))?;
        let resource = body.part("resource")?;
        let same = [
            ("digest", part.parsed("digest") == Ok(question.digest)),
            ("task", question.task == task),
            ("agent", question.agent == body.text("agent")?),
            ("server", question.server == resource.text("server")?),
            ("tool", question.tool == resource.text("tool")?),
            ("arguments", question.is_exactly(body, (person, leaf))?),
        ];
        if let Some((member, _)) = same.iter().find(|(_, same)| !same) {
            let approval = named;
            return Err(PermitProblem::OtherQuestion { approval, member }.into());
        }
        let epoch = body.members.get("epoch").and_then(Value::as_u64);
        if question
            .void_from
            .is_some_and(|from| epoch.is_none_or(|epoch| epoch >= from))
        {
            return Err(PermitProblem::ApprovalVoid(named).into());
        }
        match question.used.replace(decision) {
            Some(other) if other != decision => Err(PermitProblem::ApprovalTwice(named).into()),
            _ => Ok(()),
        }
    }

    pub(super) const fn verified(&self) -> u64 {
        self.verified
    }
}

impl Question {
    /// Whether the permit is for exactly what was asked: its digest, put together again from what
    /// the permit says, whichever instance under the same delegation makes it
    /// ([`aims_model::approval::Asked::digest`]).
    fn is_exactly(
        &self,
        body: Body<'_>,
        (person, (digest, leaf)): (Id<Person>, (Digest, &Recorded)),
    ) -> Result<bool, Problem> {
        let resource = body.part("resource")?;
        let claims = Object::new()
            .with("task", self.task.to_string())
            .with("initiator", person.to_string())
            .with("agent", self.agent.as_str())
            .with("delegation", leaf.id.to_string())
            .with("leaf", digest.to_string())
            .with("server", self.server.as_str())
            .with("tool", self.tool.as_str())
            .with("pin", resource.text("pin")?)
            .with("policy", body.part("policy")?.text("id")?)
            .with("requirements", self.requirements.clone());
        let digest = |arguments: &str| {
            let claims = claims.clone().with("arguments", arguments);
            let bytes = aims_json::to_canonical(&Value::from(claims));
            bytes.is_ok_and(|bytes| sha256(&bytes) == self.digest)
        };
        Ok(match body.value("arguments")?.as_str() {
            Some(arguments) => digest(arguments),
            // A call without arguments.
            None => ["", "{}"]
                .iter()
                .any(|text| digest(&sha256(text.as_bytes()).to_string())),
        })
    }
}

fn wrong(id: Id<Approval>, problem: ApprovalProblem) -> Problem {
    let approval = id.to_string();
    Problem::Approval { approval, problem }
}

const fn word(approve: bool) -> &'static str {
    if approve { "approve" } else { "deny" }
}

/// Whether the permit itself says that an approval is required.
fn is_required(body: Body<'_>) -> bool {
    let requirements = body.members.get("requirements").and_then(Value::as_array);
    let kind = |item: &Value| item.get("kind").and_then(Value::as_str) == Some(APPROVAL);
    requirements.unwrap_or_default().iter().any(kind)
}

/// The answer that the person signed with a key that is theirs now.
fn read(keys: &Keys, by: Id<Person>, text: &str) -> Result<Answer, ApprovalProblem> {
    let jws = Jws::parse(text, &JwsLimits::TOKEN).map_err(ApprovalProblem::Unreadable)?;
    let kid = jws.unverified_header().kid.clone().unwrap_or_default();
    let key = keys.find(&kid, KeyPurpose::Person, &by.to_string());
    let key = key.ok_or(ApprovalProblem::ForeignKey(kid))?;
    jws.verify(key, APPROVAL_TYP)
        .map_err(ApprovalProblem::Signature)?;
    Answer::from_claims(&payload(text)).map_err(ApprovalProblem::Claims)
}
