//! A call that waits for a person's approval.
//!
//! The request is registered with the server under the digest of exactly this call. While the
//! agent waits it hears that its call is alive; when an approval comes, everything is decided
//! again, and the call goes on within the same request. After a while it is answered that the
//! identical call can be made again: it joins the same request.

mod news;
mod standing;

use std::time::Duration;

use aims_json::Object;
use aims_links::LinkError;
use aims_mcp::build;
use aims_model::Approval;
use aims_model::approval::Stage;
use aims_types::BootTime;
use http::StatusCode;
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

use super::call::{Needs, Reply, Replying, Setting, Stop, Wanted, failed, unrecorded_bytes};
use super::flight::{Flight, deliver};
use super::session::CallEntry;
use crate::core::Admitted;
use crate::journal::JournalError;
use crate::live::Live;
use crate::records;
use crate::stream::{Writer, channel};
use crate::trees::{Owner, own};
use aims_decision::short;
use news::News;
use standing::{Standing, is_refused};

/// First and longest pause between two questions to the server about where a request stands.
const POLL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// What is told when another gateway became the owner of the task meanwhile.
const MOVED: &str = "the task has moved to another gateway meanwhile; make the call again";
/// How long is waited until the server has the record of a use.
const HANDED_OVER_MAX: Duration = Duration::from_secs(2);
/// Where the result says in a form for programs how the request stands.
const META: &str = "aims/approval";

/// A call that needs an approval.
pub(super) struct Parked {
    pub(super) setting: Setting,
    pub(super) wanted: Wanted,
    pub(super) needs: Needs,
    pub(super) entry: CallEntry,
    pub(super) started: BootTime,
}

/// How waiting ended.
enum Waited {
    /// It is refused; this is the answer.
    Refused(Vec<u8>),
    /// There is an answer in the state in force: everything is decided again.
    Answered,
    /// The agent is told how it stands.
    Told(Standing),
    /// The agent went away or took its call back.
    Gone,
    /// Cut off.
    Cut,
    /// The session ended.
    Session,
}

/// What was decided when an approval was there.
enum Decided {
    Admitted(Box<Admitted>),
    Not(Waited),
}

impl Parked {
    /// Asks a person, waits a while, and goes on or answers.
    pub(super) async fn park(mut self, mut live: Live, (reply, gone): Replying) {
        let asked = tokio::select! {
            biased;
            () = live.cut().cancelled() => {
                let body = failed(&self.wanted.id, "the call was cut off");
                let _ = reply.send(Reply::Message(StatusCode::OK, body));
                return;
            }
            () = self.setting.core.stopping.cancelled() => return,
            asked = self.ask() => asked,
        };
        let approval = match asked {
            Ok(approval) => approval,
            Err(standing) => {
                let body = self.told(&standing).await;
                let _ = reply.send(Reply::Message(StatusCode::OK, body));
                return;
            }
        };
        if self.note_parked(&approval).await.is_err() {
            let (status, body) = unrecorded_bytes(&self.wanted.id);
            let _ = reply.send(Reply::Message(status, body));
            return;
        }
        let (writer, stream) = channel(gone.clone(), self.setting.gate(&self.wanted));
        // An agent that is gone is noticed below.
        let _ = reply.send(Reply::Events(stream));
        let mut waited = self.wait(&approval, (&live, &gone), &writer).await;
        if matches!(waited, Waited::Answered) {
            let Ok(decision) = self.setting.core.id() else {
                return;
            };
            // Another decision, so another entry; the one that waited ends when this one is there.
            self.wanted.action.decision = decision;
            live = self.setting.enter(&self.wanted);
            let decided = tokio::select! {
                biased;
                () = live.cut().cancelled() => Decided::Not(Waited::Cut),
                decided = self.decide_again(&approval) => decided,
            };
            waited = match decided {
                // Nothing that was set aside is dropped unseen: from here on it is concluded.
                Decided::Admitted(admitted) => {
                    return self.set_off(*admitted, live, gone, writer).await;
                }
                Decided::Not(waited) => waited,
            };
        }
        let last = match waited {
            Waited::Told(standing) => Some(self.told(&standing).await),
            Waited::Refused(body) => Some(body),
            Waited::Session => Some(failed(&self.wanted.id, "the session has ended")),
            Waited::Gone | Waited::Answered => None,
            Waited::Cut => return writer.gate().close(),
        };
        drop(self);
        deliver(writer, last, &live, &gone).await;
    }

    /// The request under which this waits: the one that it waits under already, or a new one.
    async fn ask(&self) -> Result<Approval, Standing> {
        if let Some((id, why)) = &self.needs.invalid {
            return Err(Standing::Invalid(*id, why.to_string()));
        }
        let (core, asking) = (&self.setting.core, &self.needs.asking);
        if let Some(id) = core.approvals.parked_as(&asking.digest) {
            let before = core.control.approval(id).await;
            let before = before.map_err(|error| unreachable(&error))?;
            match before.filter(|before| before.digest == asking.digest) {
                Some(open) if matches!(open.stage, Stage::Pending {}) => return Ok(open),
                // Whoever asked did not hear of it: they are told before somebody is asked again.
                Some(ended) if is_refused(&ended.stage) => {
                    core.approvals.unpark(&asking.digest);
                    return Err(Standing::Ended(Box::new(ended)));
                }
                _ => core.approvals.unpark(&asking.digest),
            }
        }
        let mut approval = self.asked().await?;
        if core.approvals.is_used(approval.id) {
            // The server has not got the record of the use yet: this is a question of its own.
            core.handed_over(HANDED_OVER_MAX).await;
            approval = self.asked().await?;
        }
        if core.approvals.is_used(approval.id) {
            return Err(Standing::Used(approval.id));
        }
        core.approvals.park(&approval, core.now());
        Ok(approval)
    }

    /// The request at the server: an open one to this very question, or a new one.
    async fn asked(&self) -> Result<Approval, Standing> {
        let (core, asking) = (&self.setting.core, &self.needs.asking);
        let asked = core
            .control
            .approval_ask(core.config.id, asking.asked.clone());
        match asked.await.map_err(|error| unreachable(&error))? {
            Ok(approval) if approval.digest == asking.digest => Ok(approval),
            Ok(_) => Err(Standing::Failed("it answered another question".to_owned())),
            Err(refusal) => Err(Standing::Failed(refusal.to_string())),
        }
    }

    /// Records the decision that a person has to be asked.
    async fn note_parked(&self, approval: &Approval) -> Result<(), JournalError> {
        let Setting {
            core,
            state,
            caller,
            ..
        } = &self.setting;
        let findings = &self.needs.needed.findings;
        let body = records::decision(caller, state, &self.wanted.action, "step_up", findings);
        let approval = Object::new()
            .with("id", approval.id.to_string())
            .with("digest", approval.digest.to_string())
            .with("deadline", approval.deadline.unix_millis());
        core.deny(caller, body.with("approval", approval)).await
    }

    /// Waits for an answer, at most as long as the configuration says.
    async fn wait(
        &self,
        approval: &Approval,
        (live, gone): (&Live, &CancellationToken),
        writer: &Writer,
    ) -> Waited {
        let Setting { core, session, .. } = &self.setting;
        let limits = &core.config.limits;
        let mut changes = core.state.changes();
        let (deadline, ended) = (sleep(limits.approval_wait), self.ended(approval));
        tokio::pin!(deadline, ended);
        let mut news = News::new(self.wanted.progress_token.as_ref(), approval);
        let mut ticks = interval(news.every(limits.keep_alive));
        writer.offer(news.next());
        ticks.reset();
        loop {
            changes.mark_unchanged();
            if let Some(waited) = self.look(approval) {
                return waited;
            }
            tokio::select! {
                biased;
                () = live.cut().cancelled() => return Waited::Cut,
                () = gone.cancelled() => return Waited::Gone,
                () = self.entry.cancelled.cancelled() => return Waited::Gone,
                () = session.stop.cancelled() => return Waited::Session,
                () = session.peer.stopped().cancelled() => return Waited::Session,
                () = core.stopping.cancelled() => return Waited::Session,
                Ok(()) = changes.changed() => {}
                standing = &mut ended => return Waited::Told(standing),
                () = &mut deadline => {
                    return Waited::Told(Standing::Waits(Box::new(approval.clone())));
                }
                _ = ticks.tick() => writer.offer(news.next()),
            }
        }
    }

    /// What the state in force says of the question.
    fn look(&self, approval: &Approval) -> Option<Waited> {
        let (core, asking) = (&self.setting.core, &self.needs.asking);
        let state = core.state()?;
        if state.policy.id != asking.asked.policy {
            return Some(Waited::Told(Standing::Changed));
        }
        let answered = core.approvals.is_answered(approval, &state, core.now());
        answered.then_some(Waited::Answered)
    }

    /// Resolves when the request has ended without an approval that this call could use. That an
    /// approval was given is learnt from the state alone.
    async fn ended(&self, approval: &Approval) -> Standing {
        let core = &self.setting.core;
        let mut pause = POLL.0;
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(POLL.1);
            let Ok(Some(now)) = core.control.approval(approval.id).await else {
                continue;
            };
            if is_refused(&now.stage) {
                core.approvals.unpark(&approval.digest);
                return Standing::Ended(Box::new(now));
            }
            if core.approvals.is_used(now.id) {
                return Standing::Used(now.id);
            }
        }
    }

    /// Decides everything again, on the state in force now and for the caller as they stand now.
    async fn decide_again(&mut self, approval: &Approval) -> Decided {
        let Setting {
            core,
            state,
            caller,
            ..
        } = &mut self.setting;
        let Some(newest) = core.state() else {
            return Decided::Not(Waited::Session);
        };
        // What is under way was entered under the policy that the question names.
        if newest.policy.id != self.needs.asking.asked.policy {
            return Decided::Not(Waited::Told(Standing::Changed));
        }
        let control = core.control.as_ref();
        let again = core.authn.again(caller, &newest, control, core.now());
        let owned = own(core, caller.token.task);
        let refused = match (again.await, owned.await) {
            (Ok(again), Ok(Owner::Mine(tree))) => {
                (*caller, *state) = (again.under(tree), newest);
                None
            }
            (Err(error), _) => Some(error.to_string()),
            (_, Err(error)) => Some(error.to_string()),
            (_, Ok(Owner::Elsewhere { .. })) => Some(MOVED.to_owned()),
        };
        if let Some(why) = refused {
            return Decided::Not(Waited::Refused(failed(&self.wanted.id, &why)));
        }
        match self.setting.approach(&mut self.wanted).await {
            Ok(admitted) => Decided::Admitted(Box::new(admitted)),
            Err(Stop::Answer(_, body)) => Decided::Not(Waited::Refused(body)),
            Err(Stop::Ask(needs)) => {
                let standing = match needs.invalid {
                    Some((id, why)) => Standing::Invalid(id, why.to_string()),
                    None if needs.asking.digest != approval.digest => Standing::Changed,
                    None => Standing::Used(approval.id),
                };
                Decided::Not(Waited::Told(standing))
            }
        }
    }

    /// Makes the intent durable, which uses the approval up, and sends the call on.
    async fn set_off(
        self,
        admitted: Admitted,
        live: Live,
        gone: CancellationToken,
        writer: Writer,
    ) {
        let Self {
            setting,
            wanted,
            needs,
            entry,
            started,
        } = self;
        setting.core.approvals.unpark(&needs.asking.digest);
        if let Err((_, body)) = setting.set_off(&wanted, &admitted).await {
            drop(admitted);
            return deliver(writer, Some(body), &live, &gone).await;
        }
        let flight = Flight {
            setting,
            wanted,
            admitted,
            entry,
            live,
            gone,
            started,
        };
        flight.fly(writer).await;
    }

    /// The result that tells how the request stands; a refusal is recorded.
    async fn told(&mut self, standing: &Standing) -> Vec<u8> {
        let (id, core) = (&self.wanted.id, &self.setting.core);
        let (stage, text) = standing.words();
        let mut meta = Object::new().with("stage", stage);
        if let Some(approval) = standing.approval() {
            meta = meta.with("id", approval.to_string());
        }
        if let Standing::Waits(approval) = standing {
            meta = meta.with("deadline", approval.deadline.unix_millis());
        } else {
            let Ok(decision) = core.id() else {
                return unrecorded_bytes(id).1;
            };
            self.wanted.action.decision = decision;
            let reason = format!("approval_{stage}: {}", short(&text));
            if self.setting.note(&self.wanted, &reason).await.is_err() {
                return unrecorded_bytes(id).1;
            }
        }
        let decision = self.wanted.action.decision;
        let meta = meta.with("decision_id", decision.to_string()).with(
            "trace",
            format!("aims trace {}", self.setting.caller.token.task),
        );
        let meta = Object::new().with(META, meta);
        build::result(id, &build::tool_text(&text, true, Some(meta)))
    }
}

/// Why the server did not answer is nothing that an agent is told.
fn unreachable(error: &LinkError) -> Standing {
    tracing::warn!(%error, "nobody can be asked for an approval");
    Standing::Failed(format!("the {} did not answer", error.peer))
}
