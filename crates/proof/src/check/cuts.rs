//! What was cut off and frozen, and which kills were completed.

use std::collections::{BTreeSet, HashMap, HashSet};

use aims_model::{Record, Subject};
use aims_types::{Id, Instance, Person, Revision, Task};

use super::Problem;
use super::claims::Body;

/// Every cut-off that was recorded.
#[derive(Default)]
pub(super) struct CutOffs {
    cut: HashMap<Subject, BTreeSet<Revision>>,
    frozen: HashMap<Id<Task>, BTreeSet<Revision>>,
    erased: HashSet<Id<Task>>,
    /// Each kill, and whether its receipt is recorded.
    kills: HashMap<(Subject, Revision), bool>,
}

/// What a credential stands under, and since when.
pub(super) type Held = (Subject, Revision);

impl CutOffs {
    pub(super) fn person_removed(&mut self, body: Body<'_>) -> Result<(), Problem> {
        let id: Id<Person> = body.parsed("person")?;
        self.cut_off(body, Subject::Person(id))
    }

    pub(super) fn agent_changed(&mut self, body: Body<'_>) -> Result<(), Problem> {
        let id: Id<aims_types::Agent> = body.parsed("agent")?;
        self.cut_off(body, Subject::Agent(id))
    }

    pub(super) fn instance_ended(&mut self, body: Body<'_>) -> Result<(), Problem> {
        let id: Id<Instance> = body.parsed("instance")?;
        self.cut_off(body, Subject::Instance(id))
    }

    pub(super) fn task_ended(&mut self, record: &Record) -> Result<(), Problem> {
        let body = Body::of(record);
        let id = record.event.task.ok_or_else(|| body.missing("task"))?;
        self.cut_off(body, Subject::Task(id))
    }

    /// Everything issued to the task's instances so far is dead; the task goes on.
    pub(super) fn frozen(&mut self, body: Body<'_>) -> Result<(), Problem> {
        let revision = Revision::new(body.number("revision")?);
        let task = body.parsed("task")?;
        self.frozen.entry(task).or_default().insert(revision);
        Ok(())
    }

    /// What decisions of a task used is erased once, after its end: before it, somebody would take
    /// the evidence from under decisions that are still made.
    pub(super) fn erased(&mut self, record: &Record) -> Result<(), Problem> {
        let body = Body::of(record);
        body.text("by")?;
        body.number("materials")?;
        let task = body.parsed("task")?;
        if record.event.task != Some(task) {
            return Err(body.missing("task"));
        }
        if !self.cut.contains_key(&Subject::Task(task)) {
            return Err(Problem::ErasedBeforeEnd);
        }
        if self.erased.insert(task) {
            Ok(())
        } else {
            Err(Problem::ErasedTwice)
        }
    }

    pub(super) fn killed(&mut self, body: Body<'_>) -> Result<(), Problem> {
        let subject = subject(body)?;
        let revision = Revision::new(body.number("revision")?);
        self.insert(subject.clone(), revision);
        match self.kills.insert((subject, revision), false) {
            None => Ok(()),
            Some(_) => Err(Problem::KillTwice),
        }
    }

    /// A receipt is of a kill that was recorded, and each kill has one.
    pub(super) fn completed(&mut self, body: Body<'_>) -> Result<(), Problem> {
        let kill = (subject(body)?, Revision::new(body.number("revision")?));
        match self.kills.get_mut(&kill).filter(|done| !**done) {
            Some(done) => {
                *done = true;
                Ok(())
            }
            None => Err(Problem::ReceiptWithoutKill),
        }
    }

    /// The first of `held` that was cut off at a revision up to `seen`.
    pub(super) fn dead(&self, held: &[Held], seen: Revision) -> Option<(Subject, Revision)> {
        held.iter().find_map(|(subject, minted)| {
            let cut = self.cut.get(subject)?;
            Some((subject.clone(), first(cut, *minted, seen)?))
        })
    }

    /// Whether what was minted at `minted` for an instance of the task was dead by `seen`.
    pub(super) fn froze(
        &self,
        task: Id<Task>,
        minted: Revision,
        seen: Revision,
    ) -> Option<Revision> {
        first(self.frozen.get(&task)?, minted, seen)
    }

    /// The subjects of kills without a receipt.
    pub(super) fn open(&self) -> BTreeSet<String> {
        let open = self.kills.iter().filter(|(_, done)| !**done);
        open.map(|((subject, _), _)| describe(subject)).collect()
    }

    /// A cut-off that belongs to something else that happened; there may be none.
    fn cut_off(&mut self, body: Body<'_>, subject: Subject) -> Result<(), Problem> {
        if body.members.contains("cut_off") {
            self.insert(subject, Revision::new(body.number("cut_off")?));
        }
        Ok(())
    }

    fn insert(&mut self, subject: Subject, at: Revision) {
        self.cut.entry(subject).or_default().insert(at);
    }
}

/// What is minted at `minted` is dead by the first cut-off at it or later.
fn first(cut: &BTreeSet<Revision>, minted: Revision, seen: Revision) -> Option<Revision> {
    (minted <= seen).then(|| cut.range(minted..=seen).next().copied())?
}

/// The subject as a kill (`{"kind", "id"}`) or a receipt (`{kind: id}`) writes it.
fn subject(body: Body<'_>) -> Result<Subject, Problem> {
    let missing = || body.missing("subject");
    let part = body.part("subject")?;
    let (kind, id) = if let (Ok(kind), Ok(id)) = (part.text("kind"), part.text("id")) {
        (kind, id)
    } else {
        let only = part.members.iter().next();
        let only = only.filter(|_| part.members.len() == 1);
        let (kind, id) = only.ok_or_else(missing)?;
        (kind, id.as_str().ok_or_else(missing)?)
    };
    let subject = match kind {
        "person" => id.parse().ok().map(Subject::Person),
        "agent" => id.parse().ok().map(Subject::Agent),
        "instance" => id.parse().ok().map(Subject::Instance),
        "task" => id.parse().ok().map(Subject::Task),
        "delegation" => id.parse().ok().map(Subject::Delegation),
        "key" => Some(Subject::Key(id.to_owned())),
        "policy" => id.parse().ok().map(Subject::Policy),
        _ => None,
    };
    subject.ok_or_else(missing)
}

/// The subject in words: `instance ins_…`.
pub(super) fn describe(subject: &Subject) -> String {
    match subject {
        Subject::Person(id) => format!("person {id}"),
        Subject::Agent(id) => format!("agent {id}"),
        Subject::Instance(id) => format!("instance {id}"),
        Subject::Task(id) => format!("task {id}"),
        Subject::Delegation(id) => format!("delegation {id}"),
        Subject::Key(kid) => format!("key {kid}"),
        Subject::Policy(id) => format!("policy {id}"),
    }
}
