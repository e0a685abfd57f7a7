//! A permitted call on its way to the tool and back.

use std::sync::Arc;
use std::time::Duration;

use aims_json::Object;
use aims_mcp::{build, sse};
use aims_types::BootTime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::call::{Setting, Wanted, failed, unrecorded_bytes};
use super::session::CallEntry;
use crate::core::Admitted;
use crate::lease::late::{Doing, Piece};
use crate::live::Live;
use crate::records;
use crate::stream::Writer;
use crate::tool::peer::{Answer, Asked, Asking, Leave, PeerFault, Went};

/// How long an answer waits for the agent to read it.
const DELIVERY_MAX: Duration = Duration::from_mins(1);
/// Most progress that waits to be passed on.
const PROGRESS_WAITING_MAX: usize = 64;

/// How a call that was sent on ended.
enum End {
    Answered(Answer),
    /// The agent took it back; until the tool answers all the same, it may go on there.
    Cancelled(Asked),
    /// Cut off, after or before bytes of it had gone out.
    Cut {
        sent: bool,
    },
    Timeout,
    Failed(PeerFault),
}

/// A permitted call on its way.
pub(super) struct Flight {
    pub(crate) setting: Setting,
    pub(crate) wanted: Wanted,
    pub(crate) admitted: Admitted,
    pub(crate) entry: CallEntry,
    pub(crate) live: Live,
    pub(crate) gone: CancellationToken,
    pub(crate) started: BootTime,
}

impl Flight {
    /// Sends the call on, follows it to its end, records that, and answers.
    pub(super) async fn fly(self, writer: Writer) {
        let end = self.follow(&writer).await;
        // From here on nothing of it goes out that has not.
        let sent = self.live.effect().bar();
        let end = match end {
            End::Cut { .. } => End::Cut { sent },
            other => other,
        };
        if matches!(end, End::Cut { .. }) {
            writer.gate().close();
        }
        let answer = self.answer(&end);
        let body = self.outcome(&end);
        let Setting {
            core,
            caller,
            session,
            ..
        } = &self.setting;
        let reserved = &self.admitted.reserved;
        let recorded = core.conclude(caller, reserved, body).await;
        if matches!(end, End::Cut { .. }) {
            session.peer.stop(PeerFault::CutOff);
            // Only when nothing of the tool runs on may the cut-off be acknowledged.
            session.reaped.cancelled().await;
            return;
        }
        let last = match (end, recorded) {
            (_, Err(_)) => Some(unrecorded_bytes(&self.wanted.id).1),
            // MCP 2025-11-25, Cancellation: a request that was taken back is not answered.
            (End::Cancelled(asked), Ok(())) if sent => return self.linger(asked, writer).await,
            (End::Cancelled(_), Ok(())) => {
                self.live.effect().settle();
                None
            }
            (_, Ok(())) => {
                self.live.effect().settle();
                Some(answer)
            }
        };
        let Self {
            live, gone, entry, ..
        } = self;
        drop(entry);
        deliver(writer, last, &live, &gone).await;
    }

    /// Whether the call may go out, asked right before its first byte does.
    fn leave(&self) -> Leave {
        let (core, caller) = (Arc::clone(&self.setting.core), self.setting.caller.clone());
        let effect = Arc::clone(self.live.effect());
        let doing = Doing::of(&caller, Some(self.wanted.action.decision));
        Leave::new(move || {
            let held = core.look_again(&caller).ok()?;
            let lease = Arc::clone(&core.lease);
            let went: Went = Box::new(move || lease.look_back(held, doing, Piece::Sent));
            effect.begin().then_some(went)
        })
    }

    async fn follow(&self, writer: &Writer) -> End {
        let (events, mut progress) = mpsc::channel(PROGRESS_WAITING_MAX);
        let asking = Asking {
            answer_as: Some(self.wanted.id.clone()),
            progress: self
                .wanted
                .progress_token
                .clone()
                .map(|token| (token, events)),
            leave: Some(self.leave()),
        };
        let Setting { core, session, .. } = &self.setting;
        let limits = &core.config.limits;
        let deadline = tokio::time::sleep(limits.call);
        tokio::pin!(deadline);
        let sending = session.peer.ask(asking, |id| self.wanted.onward(id));
        let asked = tokio::select! {
            biased;
            () = self.live.cut().cancelled() => return End::Cut { sent: true },
            () = &mut deadline => return self.too_late(),
            asked = sending => asked,
        };
        let mut asked = match asked {
            Ok(asked) => asked,
            Err(fault) => return Self::broken(fault),
        };
        let mut ticks = tokio::time::interval(limits.keep_alive);
        ticks.reset();
        loop {
            tokio::select! {
                biased;
                () = self.live.cut().cancelled() => return End::Cut { sent: true },
                () = self.gone.cancelled() => return self.take_back(asked).await,
                () = self.entry.cancelled.cancelled() => return self.take_back(asked).await,
                answer = asked.answer() => {
                    // What the tool told before its answer comes before it.
                    while let Ok(event) = progress.try_recv() {
                        writer.offer(sse::event(None, &event));
                    }
                    return answer.map_or_else(Self::broken, End::Answered);
                }
                () = &mut deadline => return self.too_late(),
                Some(event) = progress.recv() => writer.offer(sse::event(None, &event)),
                _ = ticks.tick() => writer.offer(sse::keep_alive().to_vec()),
            }
        }
    }

    /// Tells the tool, by the id it knows, that nobody waits any more.
    async fn take_back(&self, asked: Asked) -> End {
        let message = build::cancelled(&asked.id().into(), Some("the caller took it back"));
        let sent = self.setting.session.peer.send(message);
        // A tool that does not read is no reason to wait.
        let _ = tokio::time::timeout(Duration::from_secs(1), sent).await;
        End::Cancelled(asked)
    }

    /// Stays with a call that was taken back and may go on at the tool, which need not answer it:
    /// a cut-off ends the tool, and the receipt lists the effect as unknown.
    async fn linger(self, mut asked: Asked, writer: Writer) {
        let Self {
            setting,
            live,
            entry,
            ..
        } = self;
        drop(entry);
        let gate = writer.gate();
        drop(writer);
        let session = &setting.session;
        let _lingering = session.lingers();
        let over = async {
            if asked.answer().await.is_err() {
                session.reaped.cancelled().await;
            }
        };
        tokio::select! {
            biased;
            () = live.cut().cancelled() => {
                gate.close();
                session.peer.stop(PeerFault::CutOff);
                session.reaped.cancelled().await;
            }
            () = over => live.effect().settle(),
        }
    }

    /// A tool that hangs costs its session: nothing else ends what it does.
    fn too_late(&self) -> End {
        self.setting.session.peer.stop(PeerFault::Silent);
        End::Timeout
    }

    fn broken(fault: PeerFault) -> End {
        if fault == PeerFault::CutOff {
            End::Cut { sent: false }
        } else {
            End::Failed(fault)
        }
    }

    fn outcome(&self, end: &End) -> Object {
        let (name, result, bytes) = match end {
            End::Answered(answer) => {
                let name = if answer.is_error { "tool_error" } else { "ok" };
                (name, Some(answer.digest), answer.bytes.len())
            }
            End::Cancelled(_) => ("cancelled", None, 0),
            End::Cut { .. } => ("cut", None, 0),
            End::Timeout => ("timeout", None, 0),
            End::Failed(_) => ("failed", None, 0),
        };
        let elapsed = self.setting.core.clock.boot().since(self.started);
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let seconds = elapsed.as_secs_f64();
        metrics::histogram!("aims_gateway_call_seconds", "outcome" => name).record(seconds);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let body = records::outcome(self.wanted.action.decision, name, result, bytes, millis);
        match end {
            End::Cut { sent } => records::cut(body, *sent),
            End::Answered(_) => body,
            End::Cancelled(_) | End::Timeout => records::cut(body, self.live.effect().has_begun()),
            End::Failed(fault) => records::cut(body, self.live.effect().has_begun())
                .with("fault", aims_decision::short(&fault.to_string())),
        }
    }

    fn answer(&self, end: &End) -> Vec<u8> {
        let id = &self.wanted.id;
        match end {
            End::Answered(answer) => answer.bytes.clone(),
            End::Cancelled(_) => failed(id, "the call was cancelled"),
            End::Cut { .. } => failed(id, "the call was cut off"),
            End::Timeout => failed(id, "the tool did not answer in time; its session was ended"),
            End::Failed(PeerFault::Withheld) => failed(
                id,
                "the call was not sent on: something that it stands on has ended; make it again",
            ),
            End::Failed(fault) => failed(
                id,
                &format!("the tool's server failed: {fault}; its session was ended"),
            ),
        }
    }
}

/// Sends what is left to send. Until the agent has read it all, a cut-off still ends it.
pub(crate) async fn deliver(
    writer: Writer,
    last: Option<Vec<u8>>,
    live: &Live,
    gone: &CancellationToken,
) {
    let gate = writer.gate();
    let sending = async move {
        if let Some(last) = last {
            writer.send(sse::event(None, &last)).await;
        }
        drop(writer);
        gone.cancelled().await;
    };
    tokio::select! {
        biased;
        () = live.cut().cancelled() => gate.close(),
        () = sending => {}
        () = tokio::time::sleep(DELIVERY_MAX) => gate.close(),
    }
}
