//! Events of the control plane, and refusals as records.

use aims_json::{Object, Value};
use aims_model::text::misleads;
use aims_model::{Event, EventKind, RecordError};
use aims_store::Error;
use aims_types::{Actor, Cx, Id, Task};
use serde::Serialize;

use crate::fault::Refused;
use crate::{ControlPlane, Fault};

/// Longest text of a caller that a record of a refusal repeats, in characters.
const SHOWN_LEN_MAX: usize = 128;
/// Longest reason of a refusal that is recorded, in characters.
const REASON_LEN_MAX: usize = 1024;

/// An event with the request that caused it and the one who asked (`by`).
pub(crate) fn event(cx: &Cx, kind: EventKind, body: Object) -> Event {
    Event::new(kind, cx.now, body.with("by", actor(cx.actor))).caused_by(cx.request)
}

/// The actor as records write it.
pub(crate) fn actor(actor: Actor) -> String {
    match actor {
        Actor::Person(id) => id.to_string(),
        Actor::Node(id) => id.to_string(),
        Actor::Gateway(id) => id.to_string(),
        Actor::Agent(id) => id.to_string(),
        Actor::Server => "server".to_owned(),
    }
}

/// A caller's text, made safe and short enough to be recorded.
pub(crate) fn shown(text: &str) -> String {
    plain(text, SHOWN_LEN_MAX)
}

/// At most so many characters of a text that may come from a caller, without what would make a
/// record, a line of the log or a terminal show something else than it says.
pub(crate) fn plain(text: &str, len_max: usize) -> String {
    let plain = |c: char| if misleads(c) { '\u{fffd}' } else { c };
    text.chars().take(len_max).map(plain).collect()
}

/// The JSON of one of our own values.
pub(crate) fn value<T: Serialize + ?Sized>(of: &T) -> Result<Value, Error> {
    let encoded = aims_json::to_value(of);
    encoded.map_err(|error| Error::Record(RecordError::Encoding(error.to_string())))
}

/// A request that may be refused: what it wanted, and with what.
pub(crate) struct Attempt {
    pub(crate) operation: &'static str,
    pub(crate) subject: String,
    pub(crate) task: Option<Id<Task>>,
    /// Refusals before this one that were counted only.
    pub(crate) left_out: u64,
}

impl Attempt {
    pub(crate) fn new(operation: &'static str, subject: &str) -> Self {
        Self {
            operation,
            subject: shown(subject),
            task: None,
            left_out: 0,
        }
    }

    pub(crate) const fn of_task(mut self, task: Id<Task>) -> Self {
        self.task = Some(task);
        self
    }
}

impl ControlPlane {
    /// Records the refusal, if it is one, and passes the result on. A refusal that can't be
    /// recorded is a fault.
    pub(crate) async fn recorded<T, E>(
        &self,
        cx: &Cx,
        attempt: Attempt,
        done: Result<T, E>,
    ) -> Result<T, E>
    where
        E: Refused + From<Fault>,
    {
        let refusal = match done {
            Err(refusal) if !refusal.is_internal() => refusal,
            other => return other,
        };
        let reason = plain(&refusal.to_string(), REASON_LEN_MAX);
        tracing::info!(
            operation = attempt.operation, code = refusal.code(), %reason, "request refused"
        );
        let mut body = Object::new()
            .with("operation", attempt.operation)
            .with("subject", attempt.subject)
            .with("code", refusal.code())
            .with("reason", reason);
        if attempt.left_out > 0 {
            body = body.with("left_out", attempt.left_out);
        }
        let mut event = event(cx, EventKind::RequestRefused, body);
        event.task = attempt.task;
        self.commit_alone(event).await?;
        Err(refusal)
    }

    /// Makes one event durable that changes no state.
    pub(crate) async fn commit_alone(&self, event: Event) -> Result<(), Fault> {
        let txn = self.store().begin().await?;
        Ok(txn.commit(vec![event]).await?)
    }
}
