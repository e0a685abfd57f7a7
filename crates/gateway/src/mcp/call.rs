//! One call of a tool: decided, durable, looked at once more, sent on, and concluded.

mod answers;

use std::sync::Arc;

use aims_authority::Call;
use aims_crypto::sha256;
use aims_decision::Needed;
use aims_json::{Object, Value};
use aims_mcp::build::{self, OutgoingToolCall};
use aims_mcp::{ProgressToken, Raw, Request, RequestId, ToolCall};
use aims_types::{self as types, Id, Name};
use http::StatusCode;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub(crate) use answers::{failed, unrecorded_bytes};

use super::flight::Flight;
use super::open::note_strays;
use super::parked::Parked;
use super::session::{ListFault, Session};
use crate::approvals::{Asking, Found, Invalid};
use crate::authn::Caller;
use crate::core::{Admitted, Core, Refusal};
use crate::lease::late::Doing;
use crate::live::{Kind, Live};
use crate::records::{Action, Resource};
use crate::respond;
use crate::state::State;
use crate::stream::{Gate, Stream, channel};

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
pub(super) enum Reply {
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

    pub(super) fn exact_arguments(&self) -> &[u8] {
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
    let setting = Setting {
        core: Arc::clone(core),
        state,
        caller,
        session,
    };
    core.tasks.spawn(run(setting, wanted, (reply, gone)));
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

/// Where the answer goes, and the news that nobody waits for it any more.
pub(super) type Replying = (oneshot::Sender<Reply>, CancellationToken);

/// Who calls, in which session, on which state.
pub(super) struct Setting {
    pub(super) core: Arc<Core>,
    pub(super) state: Arc<State>,
    pub(super) caller: Caller,
    pub(super) session: Arc<Session>,
}

/// Why a call does not go on now.
pub(super) enum Stop {
    /// It is answered.
    Answer(StatusCode, Vec<u8>),
    /// A person has to be asked, or has answered something that does not count.
    Ask(Box<Needs>),
}

/// What a call needs of a person.
pub(super) struct Needs {
    pub(super) asking: Asking,
    pub(super) needed: Needed,
    /// An approval that does not count, and why.
    pub(super) invalid: Option<(Id<types::Approval>, Invalid)>,
}

async fn run(setting: Setting, mut wanted: Wanted, (reply, gone): Replying) {
    let started = setting.core.clock.boot();
    let Setting { core, session, .. } = &setting;
    // From here on a cut-off that covers the call waits until it is answered or has ended.
    let live = setting.enter(&wanted);
    if let Err(error) = core.look_again(&setting.caller) {
        let body = failed(&wanted.id, &error.to_string());
        let _ = reply.send(Reply::Message(StatusCode::OK, body));
        return;
    }
    let entry = session.enter(&wanted.id, core.config.limits.calls_per_session);
    let approached = match &entry {
        Ok(_) => setting.approach(&mut wanted).await,
        Err(why) => Err(setting.not_entered(&wanted, *why).await),
    };
    let admitted = match (approached, entry) {
        (Ok(admitted), Ok(entry)) => (admitted, entry),
        (Err(Stop::Ask(needs)), Ok(entry)) => {
            let parked = Parked {
                setting,
                wanted,
                needs: *needs,
                entry,
                started,
            };
            return parked.park(live, (reply, gone)).await;
        }
        (Err(Stop::Answer(status, body)), _) => {
            let _ = reply.send(Reply::Message(status, body));
            return;
        }
        // Without an entry nothing was approached.
        (_, Err(_)) => return,
    };
    let (admitted, entry) = admitted;
    if let Err((status, body)) = setting.set_off(&wanted, &admitted).await {
        let _ = reply.send(Reply::Message(status, body));
        return;
    }
    let (writer, stream) = channel(gone.clone(), setting.gate(&wanted));
    if reply.send(Reply::Events(stream)).is_err() {
        tracing::debug!("the agent went away before its call was sent on");
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

impl Setting {
    /// Everything up to the reservation, on the state of this setting.
    pub(super) async fn approach(&self, wanted: &mut Wanted) -> Result<Admitted, Stop> {
        let Self {
            core,
            state,
            caller,
            session,
        } = self;
        if let Err(fault) = refresh(core, state, session).await {
            let body = failed(&wanted.id, &fault.to_string());
            return Err(Stop::Answer(StatusCode::OK, body));
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
            return Err(self.hidden(wanted, why).await);
        }
        let call = Call::Tool {
            server,
            tool,
            arguments: &wanted.arguments,
        };
        let refusal = match core.admit(caller, state, call, None) {
            Ok(admitted) => return Ok(admitted),
            Err(refusal) => refusal,
        };
        let needs = match self.question(wanted, refusal) {
            Ok(needs) => needs,
            Err(refusal) => return Err(self.refused(wanted, &refusal).await),
        };
        self.approved(wanted, call, needs).await
    }

    /// What a person can be asked, if that is what is missing and all of it.
    fn question(&self, wanted: &Wanted, refusal: Refusal) -> Result<(Asking, Needed), Refusal> {
        let Refusal::Needed(needed) = refusal else {
            return Err(refusal);
        };
        let Some(names) = needed.approvable() else {
            return Err(Refusal::Needed(needed));
        };
        let asked = (&wanted.action, wanted.exact_arguments());
        match Asking::new(&self.caller, &self.state, asked, names) {
            Ok(asking) => Ok((asking, needed)),
            Err(why) => Err(Refusal::Unaskable(needed, why)),
        }
    }

    /// Decides again with an approval of exactly this call, if there is one.
    async fn approved(
        &self,
        wanted: &Wanted,
        call: Call<'_>,
        (asking, needed): (Asking, Needed),
    ) -> Result<Admitted, Stop> {
        let Self {
            core,
            state,
            caller,
            ..
        } = self;
        let trust_domain = &core.config.trust_domain;
        let found = if caller.tree.knows_approvals(state.revision) {
            let approvals = &core.approvals;
            approvals.find(&asking, state, trust_domain, core.now())
        } else {
            Found::Nothing
        };
        let invalid = match found {
            Found::Nothing => None,
            Found::Invalid(id, why) => Some((id, why)),
            Found::Taken(taken) => {
                let admitted = core.admit(caller, state, call, Some(*taken));
                return match admitted {
                    Ok(admitted) => Ok(admitted),
                    Err(refusal) => Err(self.refused(wanted, &refusal).await),
                };
            }
        };
        Err(Stop::Ask(Box::new(Needs {
            asking,
            needed,
            invalid,
        })))
    }

    /// Makes the intent durable; an error is the answer.
    pub(super) async fn set_off(
        &self,
        wanted: &Wanted,
        admitted: &Admitted,
    ) -> Result<(), (StatusCode, Vec<u8>)> {
        let Self {
            core,
            state,
            caller,
            ..
        } = self;
        let exact = wanted.exact_arguments();
        let intended = core
            .intend(caller, state, &wanted.action, admitted, Some(exact))
            .await;
        match intended {
            Ok(()) => Ok(()),
            Err(error) => Err(self.not_intended(wanted, &error).await),
        }
    }

    /// What the bytes of the answer pass.
    pub(super) fn gate(&self, wanted: &Wanted) -> Gate {
        let doing = Doing::of(&self.caller, Some(wanted.action.decision));
        Gate::open(Arc::clone(&self.core.lease), doing)
    }

    /// Enters the call among what is under way.
    pub(super) fn enter(&self, wanted: &Wanted) -> Live {
        let kind = Kind::Call {
            decision: wanted.action.decision,
            what: format!(
                "{}/{}",
                self.session.server,
                aims_decision::short(&wanted.tool)
            ),
        };
        let caller = &self.caller;
        self.core
            .live
            .enter(Arc::clone(&caller.subjects), caller.token.revision, kind)
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
