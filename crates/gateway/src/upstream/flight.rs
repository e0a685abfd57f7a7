//! A request on its way: decided, durable, looked at once more, sent, followed and concluded.

use std::sync::Arc;
use std::time::Duration;

use aims_authority::{Call, HttpCall};
use aims_crypto::sha256;
use aims_json::Object;
use aims_links::Body;
use aims_model::Upstream;
use http::header::WWW_AUTHENTICATE;
use http::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use super::endpoint::{NOT_ASKED, unavailable, unbelieved, unrecorded};
use super::exchange::{End, Exchange};
use super::request::Asked;
use crate::authn::Caller;
use crate::core::{Admitted, Core, Refusal};
use crate::lease::late::Doing;
use crate::live::{Kind, Live};
use crate::mcp::flight::deliver;
use crate::records::{self, Action, Resource};
use crate::respond::{self, Lesson};
use crate::state::State;
use crate::stream::{Gate, channel};

/// Who asks what of whom, on which state.
pub(super) struct Setting {
    pub(super) core: Arc<Core>,
    pub(super) state: Arc<State>,
    pub(super) caller: Caller,
    pub(super) upstream: Arc<Upstream>,
    pub(super) asked: Asked,
    /// The right to be under way.
    pub(super) _place: OwnedSemaphorePermit,
}

/// A request that was permitted.
pub(super) struct Begun {
    pub(super) setting: Setting,
    pub(super) action: Action,
    pub(super) live: Live,
    /// The agent reads no more.
    pub(super) gone: CancellationToken,
}

/// How long a kill may take from the node that ends the agent to here; it is sent to both at once.
const GONE_FOR: Duration = Duration::from_secs(2);

/// Where the answer goes.
pub(super) type Reply = oneshot::Sender<Response<Body>>;

/// Takes a request to its end in a task of its own: what was begun is concluded and recorded even
/// if the agent goes away.
pub(super) async fn fly(setting: Setting) -> Response<Body> {
    let (reply, replied) = oneshot::channel();
    let gone = CancellationToken::new();
    // Until there is an answer, the agent is gone when this future is dropped.
    let waiting = gone.clone().drop_guard();
    let tasks = setting.core.tasks.clone();
    tasks.spawn(run(setting, reply, gone));
    let answered = replied.await;
    waiting.disarm();
    answered.unwrap_or_else(|_| unavailable("the gateway is stopping"))
}

async fn run(setting: Setting, reply: Reply, gone: CancellationToken) {
    let Ok(decision) = setting.core.id() else {
        let _ = reply.send(unavailable("nothing is allowed now"));
        return;
    };
    let action = setting.action(decision);
    // From here on a cut-off that covers it waits until it is refused or has ended.
    let live = setting.enter(&action);
    let begun = Begun {
        setting,
        action,
        live,
        gone,
    };
    match begun.admit().await {
        Ok(admitted) => begun.go(admitted, reply).await,
        Err(response) => drop(reply.send(*response)),
    }
}

impl Setting {
    fn action(&self, decision: aims_types::Id<aims_types::Decision>) -> Action {
        let (target, body) = (&self.asked.target, &self.asked.body);
        Action {
            decision,
            resource: Resource::Request {
                upstream: target.upstream.clone(),
                version: self.upstream.version,
                method: self.asked.method.as_str(),
                path: target.path.clone(),
                query: target.query.is_some(),
            },
            arguments: Some(sha256(body)),
            message: Some(self.asked.digest()),
        }
    }

    /// Enters the request among what is under way.
    fn enter(&self, action: &Action) -> Live {
        let (method, target) = (self.asked.method, &self.asked.target);
        let what = format!("{method} {}{}", target.upstream, target.path);
        let kind = Kind::Request {
            decision: action.decision,
            what: records::short(&what),
            upstream: (self.upstream.id, self.upstream.version),
        };
        let (subjects, minted) = (
            Arc::clone(&self.caller.subjects),
            self.caller.token.revision,
        );
        self.core.live.enter(subjects, minted, kind)
    }

    /// Whether the request may go out, asked right before its first byte does.
    fn may_leave(&self) -> bool {
        let upstream = (self.upstream.id, self.upstream.version);
        let current = self
            .core
            .state()
            .is_some_and(|state| state.is_current(upstream));
        current && self.core.look_again(&self.caller).is_ok()
    }
}

impl Begun {
    /// Whether the first byte may go out now; from then on its effect is unknown if it is cut.
    pub(super) fn leave(&self) -> bool {
        self.setting.may_leave() && self.live.effect().begin()
    }

    /// Decides, and makes the intent durable.
    async fn admit(&self) -> Result<Admitted, Box<Response<Body>>> {
        let Setting {
            core,
            state,
            caller,
            asked,
            ..
        } = &self.setting;
        if let Err(error) = core.look_again(caller) {
            let resource = asked.target.resource(&core.config.resource);
            return Err(Box::new(unbelieved(&error, &resource)));
        }
        let call = Call::Http(HttpCall {
            upstream: &asked.target.upstream,
            method: asked.method.as_str(),
            path: &asked.target.path,
            query: asked.target.query.is_some(),
            body: asked.members.as_ref(),
        });
        let admitted = match core.admit(caller, state, call, None) {
            Ok(admitted) => admitted,
            Err(refused) => return Err(Box::new(self.refused(&refused).await)),
        };
        let body = Some(asked.body.as_ref());
        let intended = core.intend(caller, state, &self.action, &admitted, body);
        match intended.await {
            Ok(()) => Ok(admitted),
            Err(_) => Err(Box::new(unrecorded())),
        }
    }

    async fn refused(&self, refused: &Refusal) -> Response<Body> {
        let Setting {
            core,
            state,
            caller,
            ..
        } = &self.setting;
        let recorded = core.refuse(caller, state, &self.action, refused).await;
        if recorded.is_err() {
            return unrecorded();
        }
        let lesson = match refused {
            Refusal::Denied(denied) => Lesson::denied(denied),
            Refusal::Needed(needed) => Lesson::needed(needed),
            Refusal::Unaskable(needed, why) => Lesson::unaskable(needed, why),
        };
        let members = lesson.problem(self.action.decision, caller.token.task);
        let mut response = respond::problem(StatusCode::FORBIDDEN, NOT_ASKED, members);
        let resource = self.setting.asked.target.resource(&core.config.resource);
        if let Some(challenge) = respond::insufficient(&resource) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }

    /// Asks the upstream, hands its answer back as it comes, and records how it ended.
    async fn go(self, admitted: Admitted, reply: Reply) {
        let core = Arc::clone(&self.setting.core);
        let started = core.clock.boot();
        let doing = Doing::of(&self.setting.caller, Some(self.action.decision));
        let gate = Gate::open(Arc::clone(&core.lease), doing);
        let (writer, stream) = channel(self.gone.clone(), gate);
        let mut exchange = Exchange::new(&self, &writer);
        let end = exchange.run((reply, stream)).await;
        let seen = exchange.seen();
        // From here on nothing of it goes out that has not.
        let sent = self.live.effect().bar();
        if !matches!(end, End::Answered) {
            // What comes after a part of an answer is an error, not a regular end.
            writer.gate().close();
        }
        let elapsed = core.clock.boot().since(started);
        let body = self.outcome(&end, &seen, elapsed);
        let body = match end {
            End::Answered => body,
            _ => records::cut(body, sent),
        };
        let caller = &self.setting.caller;
        let concluded = core.conclude(caller, &admitted.reserved, body).await;
        match end {
            End::Cut => return,
            End::Gone if sent => {
                drop(writer);
                return self.linger().await;
            }
            _ if concluded.is_ok() => self.live.effect().settle(),
            _ => {}
        }
        deliver(writer, None, &self.live, &self.gone).await;
    }

    /// Stays for a while with a request whose agent went away: if it was ended by a kill that is
    /// still on its way to this gateway, the receipt lists the effect as unknown.
    async fn linger(self) {
        let Self { setting, live, .. } = self;
        // Its place is free for the next one.
        drop(setting);
        tokio::select! {
            () = live.cut().cancelled() => {}
            () = tokio::time::sleep(GONE_FOR) => {}
        }
    }

    fn outcome(&self, end: &End, seen: &Seen, elapsed: Duration) -> Object {
        let name = match end {
            End::Answered if seen.status.is_some_and(|status| status >= 400) => "upstream_error",
            End::Answered => "ok",
            End::Gone => "cancelled",
            End::Cut => "cut",
            End::Timeout => "timeout",
            End::Failed(_) => "failed",
        };
        metrics::histogram!("aims_gateway_request_seconds", "outcome" => name)
            .record(elapsed.as_secs_f64());
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let decision = self.action.decision;
        let body = records::outcome(decision, name, seen.digest, seen.bytes, millis);
        let body = match seen.status {
            Some(status) => body.with("status", u64::from(status)),
            None => body,
        };
        match end {
            End::Failed(why) => body.with("fault", records::short(why)),
            _ => body,
        }
    }
}

/// What was seen of an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) status: Option<u16>,
    /// Digest of what went on, if all of it did.
    pub(super) digest: Option<aims_types::Digest>,
    pub(super) bytes: u64,
}
