//! Killing: one operation for everything that can be killed, complete when it returns.

mod effects;
mod error;
mod party;
mod receipt;
mod target;

use aims_json::Object;
use aims_model::{CutOff, Event, EventKind, Receipt, Subject, Text};
use aims_store::{Error, Txn};
use aims_types::{Cx, Id, Revision, Task};

pub(crate) use effects::{KILLED, is_kill};
pub use error::KillError;
pub use target::{KillTarget, KillTargetError};

use crate::publish::outlive;
use crate::recording::{Attempt, event};
use crate::{ControlPlane, approvals};

/// Something that is to be killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// What.
    pub target: KillTarget,
    /// Why, in words.
    pub reason: String,
}

/// A kill that is durable, before every point has it in force.
struct Killed {
    subject: Subject,
    task: Option<Id<Task>>,
    revision: Revision,
    /// Whether what is under way may go through doors of instances that go on.
    doors: bool,
}

impl ControlPlane {
    /// Kills something. When it returns, nothing under the subject starts, continues or sends
    /// anything at any point: each has acknowledged, or its lease has certainly ended.
    ///
    /// Operators kill anything; a task, an instance and a delegation also whoever started the task
    /// or owns the agent. To kill again what is dead gives a new receipt and changes nothing else.
    pub async fn kill(&self, cx: &Cx, kill: Kill) -> Result<Receipt, KillError> {
        let cx = cx.clone();
        self.to_the_end(move |plane| async move {
            let started = plane.parts().clock.boot();
            let attempt = Attempt::new("kill", &kill.target.to_string());
            let done = commit(&plane, &cx, &kill).await;
            let killed = plane.recorded(&cx, attempt, done).await?;
            Ok(receipt::complete(&plane, &cx, killed, started).await?)
        })
        .await
    }
}

async fn commit(plane: &ControlPlane, cx: &Cx, kill: &Kill) -> Result<Killed, KillError> {
    let reason: Text = kill.reason.parse()?;
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let rights = party::Rights::admit(cx, txn.as_mut()).await?;
    let subject = target::found(txn.as_mut(), &rights, &kill.target).await?;
    let task = party::may_kill(txn.as_mut(), &rights, &subject).await?;
    let doors = outlive(txn.as_mut(), &subject).await?;
    let effects = effects::of(txn.as_mut(), cx, (plane, &subject), revision).await?;
    cut_off(txn.as_mut(), subject.clone(), revision).await?;
    let mut events = vec![killed_event(cx, (&subject, task), revision, &reason)];
    events.extend(effects);
    events.extend(approvals::withdrawn(txn.as_mut(), cx).await?);
    txn.commit(events).await?;
    Ok(Killed {
        subject,
        task,
        revision,
        doors,
    })
}

fn killed_event(
    cx: &Cx,
    (subject, task): (&Subject, Option<Id<Task>>),
    revision: Revision,
    reason: &Text,
) -> Event {
    let body = Object::new()
        .with("subject", subject_body(subject))
        .with("revision", revision.number())
        .with("reason", reason.as_str());
    let mut event = event(cx, EventKind::Killed, body);
    event.task = task;
    event
}

/// A subject as records show it.
fn subject_body(subject: &Subject) -> Object {
    let (kind, id) = target::parts(subject);
    Object::new().with("kind", kind).with("id", id)
}

/// Cuts off a subject in this transaction, once.
pub(crate) async fn cut_off(
    txn: &mut dyn Txn,
    subject: Subject,
    at_or_before: Revision,
) -> Result<(), Error> {
    let cutoff = CutOff {
        subject,
        at_or_before,
    };
    match txn.cutoff_insert(&cutoff).await {
        // The same was said before in this transaction.
        Err(Error::Duplicate { .. }) => Ok(()),
        done => done,
    }
}
