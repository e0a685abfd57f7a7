//! One call of a tool: decided, durable, looked at once more, sent on, and concluded.

use std::sync::Arc;
use std::time::Duration;

use aims_authority::{Call, Rule};
use aims_crypto::sha256;
use aims_decision::{Findings, Reason};
use aims_json::{Object, Value};
use aims_mcp::build::{self, OutgoingToolCall};
use aims_mcp::{ProgressToken, Raw, Request, RequestId, ToolCall, code, sse};
use aims_types::{BootTime, Name};
use http::StatusCode;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::open::note_strays;
use super::session::{CallEntry, CallRefused, ListFault, Session};
use crate::authn::Caller;
use crate::core::{Admitted, Core, Refusal};
use crate::journal::JournalError;
use crate::live::Live;
use crate::records::{self, Action, Resource};
use crate::respond::{self, Lesson};
use crate::state::State;
use crate::stream::{Stream, Writer, channel};
use crate::tool::peer::{Answer, Asked, Asking, PeerFault};

/// How long an answer waits for the agent to read it.
const DELIVERY_MAX: Duration = Duration::from_mins(1);
/// Most progress that waits to be passed on.
const PROGRESS_WAITING_MAX: usize = 64;
/// What the arguments are if the call has none.
const NO_ARGUMENTS: &[u8] = b"{}";

/// A call as it was parsed, once, independent of its message.
pub(crate) struct Wanted {
    id: RequestId,
    tool: String,
    arguments: Object,
    raw: Option<Raw<'static>>,
    progress_token: Option<ProgressToken>,
    meta: Vec<(String, Raw<'static>)>,
    action: Action,
}

/// How a call is answered.
enum Reply {
    /// With one message.
    Message(StatusCode, Vec<u8>),
    /// With a stream.
    Events(Stream),
}

/// How a call that was sent on ended.
enum End {
    Answered(Answer),
    Cancelled,
    Cut,
    Timeout,
    Failed(PeerFault),
}

/// A permitted call on its way.
struct Flight {
    core: Arc<Core>,
    caller: Caller,
    session: Arc<Session>,
    wanted: Wanted,
    admitted: Admitted,
    entry: CallEntry,
    live: Live,
    gone: CancellationToken,
    started: BootTime,
}

impl Wanted {
    /// Takes what the call needs out of its message.
    pub(crate) fn new(
        core: &Core,
        server: &Name,
        request: &Request<'_>,
        call: ToolCall<'_>,
    ) -> Result<Self, aims_types::EntropyError> {
        let arguments = call.arguments_value.and_then(Value::as_object).cloned();
        let raw = call.arguments.map(Raw::into_owned);
        let exact = raw.as_ref().map_or(NO_ARGUMENTS, Raw::as_bytes);
        let action = Action {
            decision: core.id()?,
            resource: Resource::Tool {
                server: server.clone(),
                tool: call.name.to_owned(),
                pin: None,
            },
            arguments: Some(sha256(exact)),
            message: Some(sha256(request.bytes())),
        };
        let meta = call
            .meta
            .into_iter()
            .map(|(name, raw)| (name.to_owned(), raw.into_owned()));
        Ok(Self {
            id: request.id().clone(),
            tool: call.name.to_owned(),
            arguments: arguments.unwrap_or_default(),
            raw,
            progress_token: call.progress_token,
            meta: meta.collect(),
            action,
        })
    }

    fn exact_arguments(&self) -> &[u8] {
        self.raw.as_ref().map_or(NO_ARGUMENTS, Raw::as_bytes)
    }

    /// The message toward the tool: our id and token, the arguments byte for byte.
    fn onward(&self, id: i64) -> Vec<u8> {
        build::tools_call(&OutgoingToolCall {
            id: id.into(),
            name: &self.tool,
            arguments: self.raw.clone(),
            progress_token: self.progress_token.as_ref().map(|_| id.into()),
            meta: self
                .meta
                .iter()
                .map(|(name, raw)| (name.as_str(), raw.clone()))
                .collect(),
        })
    }
}

/// Takes a call to its answer, in a task of its own: what was begun is concluded and recorded even
/// if the agent goes away.
pub(crate) async fn call(
    core: &Arc<Core>,
    state: Arc<State>,
    caller: Caller,
    session: Arc<Session>,
    wanted: Wanted,
) -> http::Response<aims_links::Body> {
    let (reply, replied) = oneshot::channel();
    let gone = CancellationToken::new();
    // Until there is a stream, the agent is gone when this future is dropped.
    let waiting = gone.clone().drop_guard();
    let task = run(
        Arc::clone(core),
        state,
        caller,
        session,
        wanted,
        (reply, gone),
    );
    core.tasks.spawn(task);
    let answer = match replied.await {
        Ok(Reply::Message(status, body)) => respond::message(status, body),
        Ok(Reply::Events(stream)) => {
            waiting.disarm();
            return respond::events(stream);
        }
        Err(_) => respond::unavailable(None, "the gateway is stopping"),
    };
    drop(waiting);
    answer
}

type Replying = (oneshot::Sender<Reply>, CancellationToken);

async fn run(
    core: Arc<Core>,
    state: Arc<State>,
    caller: Caller,
    session: Arc<Session>,
    mut wanted: Wanted,
    (reply, gone): Replying,
) {
    let started = core.clock.boot();
    let answered = prepare(&core, &state, &caller, &session, &mut wanted).await;
    let (entry, admitted) = match answered {
        Ok(ready) => ready,
        Err((status, body)) => {
            let _ = reply.send(Reply::Message(status, body));
            return;
        }
    };
    let exact = wanted.exact_arguments();
    let intended = core
        .intend(&caller, &state, &wanted.action, &admitted, Some(exact))
        .await;
    if let Err(error) = intended {
        let (status, body) = not_intended(&core, &state, &caller, &wanted, &error).await;
        let _ = reply.send(Reply::Message(status, body));
        return;
    }
    let live = core
        .live
        .enter(Arc::clone(&caller.subjects), caller.token.revision);
    let (writer, stream) = channel(gone.clone());
    if reply.send(Reply::Events(stream)).is_err() {
        tracing::debug!("the agent went away before its call was sent on");
    }
    let flight = Flight {
        core,
        caller,
        session,
        wanted,
        admitted,
        entry,
        live,
        gone,
        started,
    };
    flight.fly(writer).await;
}

/// Everything up to the reservation; an error is the answer.
async fn prepare(
    core: &Core,
    state: &State,
    caller: &Caller,
    session: &Arc<Session>,
    wanted: &mut Wanted,
) -> Result<(CallEntry, Admitted), (StatusCode, Vec<u8>)> {
    let entry = session.enter(&wanted.id, core.config.limits.calls_per_session);
    let entry = match entry {
        Ok(entry) => entry,
        Err(why) => return Err(not_entered(core, state, caller, wanted, why).await),
    };
    if let Err(fault) = refresh(core, state, session).await {
        return Err((StatusCode::OK, failed(&wanted.id, &fault.to_string())));
    }
    let (server, tool) = (&session.server, wanted.tool.as_str());
    let pin = state
        .server(server)
        .and_then(|server| server.pin(tool))
        .map(|pin| pin.digest);
    if let Resource::Tool { pin: slot, .. } = &mut wanted.action.resource {
        *slot = pin;
    }
    if !session.tools().is_as_pinned(state, server, tool) {
        let why = if pin.is_some() {
            "tool_not_as_pinned"
        } else {
            "unknown_tool"
        };
        return Err(hidden(core, state, caller, wanted, why).await);
    }
    let call = Call::Tool {
        server,
        tool,
        arguments: &wanted.arguments,
    };
    match core.admit(caller, state, call, core.clock.now()) {
        Ok(admitted) => Ok((entry, admitted)),
        Err(refusal) => Err(refused(core, state, caller, wanted, &refusal).await),
    }
}

/// Lists the tools anew if the server said that they changed.
async fn refresh(core: &Core, state: &State, session: &Session) -> Result<(), ListFault> {
    if session.peer.take_tools_changed() {
        session.refresh(core.config.limits.tool_start).await?;
        // The journal raises the alarm; the tools are hidden either way.
        let _ = note_strays(core, state, session).await;
    }
    Ok(())
}

async fn not_entered(
    core: &Core,
    state: &State,
    caller: &Caller,
    wanted: &Wanted,
    why: CallRefused,
) -> (StatusCode, Vec<u8>) {
    let (reason, text) = match why {
        CallRefused::IdInUse => ("id_in_use", "another request of this session has this id"),
        CallRefused::TooMany => (
            "too_many_calls",
            "too many calls are in flight; wait for one",
        ),
    };
    if note(core, state, caller, wanted, reason).await.is_err() {
        return unrecorded_bytes(&wanted.id);
    }
    let error = build::ErrorAnswer {
        code: code::INVALID_REQUEST,
        message: text.to_owned(),
        data: None,
    };
    (StatusCode::OK, build::error(Some(&wanted.id), &error))
}

/// The answer for a tool that is not there for the caller.
async fn hidden(
    core: &Core,
    state: &State,
    caller: &Caller,
    wanted: &Wanted,
    why: &'static str,
) -> (StatusCode, Vec<u8>) {
    if note(core, state, caller, wanted, why).await.is_err() {
        return unrecorded_bytes(&wanted.id);
    }
    let decision = wanted.action.decision;
    (
        StatusCode::OK,
        respond::unknown_tool(&wanted.id, &wanted.tool, decision),
    )
}

/// Records a denial that no rule of authority or policy made.
async fn note(
    core: &Core,
    state: &State,
    caller: &Caller,
    wanted: &Wanted,
    why: &'static str,
) -> Result<(), JournalError> {
    let body = records::decision(caller, state, &wanted.action, "deny", &Findings::default());
    core.deny(caller, body.with("reasons", vec![Value::from(why)]))
        .await
}

async fn refused(
    core: &Core,
    state: &State,
    caller: &Caller,
    wanted: &Wanted,
    refusal: &Refusal,
) -> (StatusCode, Vec<u8>) {
    if core
        .refuse(caller, state, &wanted.action, refusal)
        .await
        .is_err()
    {
        return unrecorded_bytes(&wanted.id);
    }
    let decision = wanted.action.decision;
    let body = match refusal {
        Refusal::Denied(denied) => match denied.reasons.first() {
            Some(Reason::Authority { refusal, .. }) if refusal.rule() == Rule::ToolNotAllowed => {
                respond::unknown_tool(&wanted.id, &wanted.tool, decision)
            }
            _ => Lesson::denied(denied).answer(&wanted.id, decision),
        },
        Refusal::Needed(needed) => Lesson::needed(needed).answer(&wanted.id, decision),
    };
    (StatusCode::OK, body)
}

impl Flight {
    /// Sends the call on, follows it to its end, records that, and answers.
    async fn fly(self, writer: Writer) {
        let end = if self.core.look_again(&self.caller).is_err() {
            End::Cut
        } else {
            self.follow(&writer).await
        };
        let answer = self.answer(&end);
        let body = self.outcome(&end);
        let recorded = self
            .core
            .conclude(&self.caller, &self.admitted.reserved, body)
            .await;
        let gate = writer.gate();
        if matches!(end, End::Cut) {
            gate.close();
            self.session.peer.stop(PeerFault::CutOff);
            // Only when nothing of the tool runs on may the cut-off be acknowledged.
            self.session.reaped.cancelled().await;
            return;
        }
        let last = match (end, recorded) {
            (_, Err(_)) => Some(unrecorded_bytes(&self.wanted.id).1),
            // MCP 2025-11-25, Cancellation: a request that was taken back is not answered.
            (End::Cancelled, Ok(())) => None,
            (_, Ok(())) => Some(answer),
        };
        let Self {
            live, gone, entry, ..
        } = self;
        drop(entry);
        let deliver = async move {
            if let Some(last) = last {
                writer.send(sse::event(None, &last)).await;
            }
            drop(writer);
            gone.cancelled().await;
        };
        // Until the agent has read it all, a cut-off still ends it.
        tokio::select! {
            biased;
            () = live.cut().cancelled() => gate.close(),
            () = deliver => {}
            () = tokio::time::sleep(DELIVERY_MAX) => gate.close(),
        }
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
        };
        let limits = &self.core.config.limits;
        let deadline = tokio::time::sleep(limits.call);
        tokio::pin!(deadline);
        let sending = self.session.peer.ask(asking, |id| self.wanted.onward(id));
        let asked = tokio::select! {
            biased;
            () = self.live.cut().cancelled() => return End::Cut,
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
                () = self.live.cut().cancelled() => return End::Cut,
                () = self.gone.cancelled() => return self.take_back(&asked).await,
                () = self.entry.cancelled.cancelled() => return self.take_back(&asked).await,
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
    async fn take_back(&self, asked: &Asked) -> End {
        let message = build::cancelled(&asked.id().into(), Some("the caller took it back"));
        let sent = self.session.peer.send(message);
        // A tool that does not read is no reason to wait.
        let _ = tokio::time::timeout(Duration::from_secs(1), sent).await;
        End::Cancelled
    }

    /// A tool that hangs costs its session: nothing else ends what it does.
    fn too_late(&self) -> End {
        self.session.peer.stop(PeerFault::Silent);
        End::Timeout
    }

    fn broken(fault: PeerFault) -> End {
        if fault == PeerFault::CutOff {
            End::Cut
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
            End::Cancelled => ("cancelled", None, 0),
            End::Cut => ("cut", None, 0),
            End::Timeout => ("timeout", None, 0),
            End::Failed(_) => ("failed", None, 0),
        };
        let elapsed = self.core.clock.boot().since(self.started);
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let seconds = elapsed.as_secs_f64();
        metrics::histogram!("aims_gateway_call_seconds", "outcome" => name).record(seconds);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let body = records::outcome(self.wanted.action.decision, name, result, bytes, millis);
        match end {
            End::Failed(fault) => body.with("fault", records::short(&fault.to_string())),
            _ => body,
        }
    }

    fn answer(&self, end: &End) -> Vec<u8> {
        let id = &self.wanted.id;
        match end {
            End::Answered(answer) => answer.bytes.clone(),
            End::Cancelled => failed(id, "the call was cancelled"),
            End::Cut => failed(id, "the call was cut off"),
            End::Timeout => failed(id, "the tool did not answer in time; its session was ended"),
            End::Failed(fault) => failed(
                id,
                &format!("the tool's server failed: {fault}; its session was ended"),
            ),
        }
    }
}

fn failed(id: &RequestId, text: &str) -> Vec<u8> {
    let error = build::ErrorAnswer {
        code: code::UPSTREAM_FAILED,
        message: records::short(text),
        data: None,
    };
    build::error(Some(id), &error)
}

fn unrecorded_bytes(id: &RequestId) -> (StatusCode, Vec<u8>) {
    let error = build::ErrorAnswer {
        code: code::INTERNAL_ERROR,
        message: "the log can't be written, so nothing is allowed; an operator has to look"
            .to_owned(),
        data: None,
    };
    (
        StatusCode::SERVICE_UNAVAILABLE,
        build::error(Some(id), &error),
    )
}

/// The answer when the intent is not durable: the log failed, or this one call is too long for it.
async fn not_intended(
    core: &Core,
    state: &State,
    caller: &Caller,
    wanted: &Wanted,
    error: &JournalError,
) -> (StatusCode, Vec<u8>) {
    if !error.is_too_long()
        || note(core, state, caller, wanted, "too_long_to_record")
            .await
            .is_err()
    {
        return unrecorded_bytes(&wanted.id);
    }
    let error = build::ErrorAnswer {
        code: code::DENIED,
        message: "the call is too long to be recorded, so it is not made; send less at once"
            .to_owned(),
        data: None,
    };
    (StatusCode::OK, build::error(Some(&wanted.id), &error))
}
