//! One call of a tool: decided, durable, looked at once more, sent on, and concluded.

use std::sync::Arc;

use aims_authority::{Call, Rule};
use aims_crypto::sha256;
use aims_decision::{Findings, Reason};
use aims_json::{Object, Value};
use aims_mcp::build::{self, OutgoingToolCall};
use aims_mcp::{ProgressToken, Raw, Request, RequestId, ToolCall, code};
use aims_types::Name;
use http::StatusCode;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::flight::Flight;
use super::open::note_strays;
use super::session::{CallEntry, CallRefused, ListFault, Session};
use crate::authn::Caller;
use crate::core::{Admitted, Core, Refusal};
use crate::journal::JournalError;
use crate::records::{self, Action, Resource};
use crate::respond::{self, Lesson};
use crate::state::State;
use crate::stream::{Stream, channel};

/// What the arguments are if the call has none.
const NO_ARGUMENTS: &[u8] = b"{}";

/// A call as it was parsed, once, independent of its message.
pub(crate) struct Wanted {
    pub(crate) id: RequestId,
    pub(crate) tool: String,
    pub(crate) arguments: Object,
    pub(crate) raw: Option<Raw<'static>>,
    pub(crate) progress_token: Option<ProgressToken>,
    pub(crate) meta: Vec<(String, Raw<'static>)>,
    pub(crate) action: Action,
}

/// How a call is answered.
enum Reply {
    /// With one message.
    Message(StatusCode, Vec<u8>),
    /// With a stream.
    Events(Stream),
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
    pub(crate) fn onward(&self, id: i64) -> Vec<u8> {
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
    let (decision, task) = (wanted.action.decision, caller.token.task);
    let body = match refusal {
        Refusal::Denied(denied) => match denied.reasons.first() {
            Some(Reason::Authority { refusal, .. }) if refusal.rule() == Rule::ToolNotAllowed => {
                respond::unknown_tool(&wanted.id, &wanted.tool, decision)
            }
            _ => Lesson::denied(denied).answer(&wanted.id, decision, task),
        },
        Refusal::Needed(needed) => Lesson::needed(needed).answer(&wanted.id, decision, task),
    };
    (StatusCode::OK, body)
}

pub(crate) fn failed(id: &RequestId, text: &str) -> Vec<u8> {
    let error = build::ErrorAnswer {
        code: code::UPSTREAM_FAILED,
        message: records::short(text),
        data: None,
    };
    build::error(Some(id), &error)
}

pub(crate) fn unrecorded_bytes(id: &RequestId) -> (StatusCode, Vec<u8>) {
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
