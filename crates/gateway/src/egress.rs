//! Opaque connections out: to hosts that the authority names, resolved here, with the host that
//! the client's TLS asks for checked before any byte goes out.

pub(crate) mod hello;
pub(crate) mod relay;
pub(crate) mod resolve;
pub(crate) mod tunnel;

use std::net::SocketAddr;
use std::sync::Arc;

use aims_authority::Call;
use aims_decision::Findings;
use aims_json::Value;
use aims_links::{ConnectReply, ConnectTarget};
use aims_oauth::HttpUri;
use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{Response, StatusCode};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::authn::{AuthnError, Caller};
use crate::core::{Admitted, Core, NotIntended, Refusal};
use crate::forward;
use crate::lease::late::Doing;
use crate::live::{Kind, Live};
use crate::records::{self, Action, Resource};
use crate::respond::{self, Lesson};
use crate::state::State;
use crate::trees::{Owner, own};
use crate::unserved::{note_not_ready, note_stranger, note_undecided};
use relay::Flow;
use resolve::ConnectFault;

/// A connection that was permitted.
struct Begun {
    caller: Caller,
    target: ConnectTarget,
    action: Action,
    admitted: Admitted,
    live: Live,
}

/// Answers one CONNECT (RFC 9110 §9.3.6).
pub(crate) async fn connect(core: &Arc<Core>, request: http::Request<()>) -> ConnectReply {
    let Some(target) = ConnectTarget::of(&request) else {
        return refusal(StatusCode::BAD_REQUEST, "CONNECT names a host and a port\n");
    };
    let resource = target.resource(&core.config.resource);
    let state = match core.ready() {
        Ok(state) => state,
        Err(why) => match note_not_ready(core, &why, &resource).await {
            Ok(()) => return unavailable(&why),
            Err(()) => return unrecorded(),
        },
    };
    let caller = match authenticated(core, &state, &request, &resource).await {
        Ok(caller) => caller,
        Err(error) => return stranger(core, &error, &resource).await,
    };
    let caller = match own(core, caller.token.task).await {
        Ok(Owner::Mine(tree)) => caller.under(tree),
        Ok(Owner::Elsewhere { gateway, address }) => {
            let passed = forward::connect(core, &caller, (gateway, &address), request).await;
            return match passed {
                Ok(reply) => reply,
                Err(fault) => undecided(core, &caller, &fault, &resource).await,
            };
        }
        Err(why) => return undecided(core, &caller, &why, &resource).await,
    };
    let Ok(place) = Arc::clone(&core.tunnels).try_acquire_owned() else {
        return refusal(
            StatusCode::TOO_MANY_REQUESTS,
            "too many connections are open\n",
        );
    };
    decide(core, state, caller, target, place).await
}

/// Decides on a connection of a caller whose task is this gateway's, and begins it.
async fn decide(
    core: &Arc<Core>,
    state: Arc<State>,
    caller: Caller,
    target: ConnectTarget,
    place: OwnedSemaphorePermit,
) -> ConnectReply {
    let Ok(decision) = core.id() else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "nothing is allowed now\n");
    };
    let what = target.to_string();
    let resource = Resource::Host {
        host: target.host.clone(),
        port: target.port,
    };
    let action = Action {
        decision,
        resource,
        arguments: None,
        message: None,
    };
    let call = Call::Egress {
        host: &target.host,
        port: target.port,
    };
    let kind = Kind::Tunnel {
        decision: action.decision,
        what: what.clone(),
    };
    // From here on a cut-off that covers it waits until it is refused or has ended.
    let (subjects, minted) = (Arc::clone(&caller.subjects), caller.token.revision);
    let live = core.live.enter(subjects, minted, kind);
    if let Err(error) = core.look_again(&caller) {
        return stranger(core, &error, &what).await;
    }
    match core.admit(&caller, &state, call, None) {
        Ok(admitted) => {
            let begun = Begun {
                caller,
                target,
                action,
                admitted,
                live,
            };
            begin(core, state, begun, place).await
        }
        Err(refused) => denied(core, &state, &caller, &action, &refused).await,
    }
}

async fn authenticated(
    core: &Core,
    state: &State,
    request: &http::Request<()>,
    resource: &str,
) -> Result<Caller, AuthnError> {
    let uri = HttpUri::parse(resource).map_err(|_| AuthnError::NoChain("no such host"))?;
    let now = core.now();
    let target = ("CONNECT", &uri);
    core.authn
        .caller(request.headers(), target, state, core.control.as_ref(), now)
        .await
}

async fn stranger(core: &Core, error: &AuthnError, resource: &str) -> ConnectReply {
    if note_stranger(core, error, resource).await.is_err() {
        return unrecorded();
    }
    let (status, header) = respond::challenge(error, &core.config.resource);
    let mut reply = refusal(status, &format!("{error}\n"));
    if let Some(header) = header {
        reply
            .response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, header);
    }
    reply
}

async fn denied(
    core: &Core,
    state: &State,
    caller: &Caller,
    action: &Action,
    refused: &Refusal,
) -> ConnectReply {
    if core.refuse(caller, state, action, refused).await.is_err() {
        return unrecorded();
    }
    let lesson = match refused {
        Refusal::Denied(denied) => Lesson::denied(denied),
        Refusal::Needed(needed) => Lesson::needed(needed),
        Refusal::Unaskable(needed, why) => Lesson::unaskable(needed, why),
    };
    refusal(StatusCode::FORBIDDEN, &lesson.text(action.decision))
}

/// Makes the intent durable and connects, in a task of its own that concludes what it begins.
async fn begin(
    core: &Arc<Core>,
    state: Arc<State>,
    begun: Begun,
    place: OwnedSemaphorePermit,
) -> ConnectReply {
    let (reply, replied) = oneshot::channel();
    let core = Arc::clone(core);
    let tasks = core.tasks.clone();
    tasks.spawn(async move {
        let Begun {
            caller,
            action,
            admitted,
            ..
        } = &begun;
        let intended = core.intend(caller, &state, action, admitted, None).await;
        match intended {
            Ok(()) => run(core, begun, reply).await,
            Err(why) => {
                let _ = reply.send(not_intended(&core, &state, &begun, &why).await);
            }
        }
        drop(place);
    });
    replied
        .await
        .unwrap_or_else(|_| refusal(StatusCode::BAD_GATEWAY, "the gateway is stopping\n"))
}

/// The answer when the intent is not durable.
async fn not_intended(
    core: &Core,
    state: &State,
    begun: &Begun,
    why: &NotIntended,
) -> ConnectReply {
    let NotIntended::Behind(why) = why else {
        return unrecorded();
    };
    let nothing = Findings::default();
    let body = records::decision(&begun.caller, state, &begun.action, "deny", &nothing);
    let body = body.with("reasons", vec![Value::from(why.to_string())]);
    match core.deny(&begun.caller, body).await {
        Ok(()) => unavailable(why),
        Err(_) => unrecorded(),
    }
}

async fn run(core: Arc<Core>, begun: Begun, reply: oneshot::Sender<ConnectReply>) {
    let started = core.clock.boot();
    let Begun {
        caller,
        target,
        action,
        admitted,
        live,
    } = begun;
    let connected = tokio::select! {
        biased;
        () = live.cut().cancelled() => Err(ConnectFault::CutOff),
        connected = reach(&core, &caller, &target) => connected,
    };
    let flow = match connected {
        Err(fault) => {
            let text = format!("{fault}; decision {}\n", action.decision);
            let _ = reply.send(refusal(StatusCode::BAD_GATEWAY, &text));
            let name = if fault == ConnectFault::CutOff {
                "cut"
            } else {
                "failed"
            };
            Flow::nothing(name, fault.to_string())
        }
        Ok(upstream) => {
            let doing = Doing::of(&caller, Some(action.decision));
            let whose = (&live, &caller, doing);
            relay::relay(&core, whose, &target.host, upstream, reply).await
        }
    };
    let elapsed = core.clock.boot().since(started);
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let total = flow.up.saturating_add(flow.down);
    let cut = flow.outcome == "cut";
    let body = records::outcome(action.decision, flow.outcome, None, total, millis);
    let body = if cut {
        records::cut(body, live.effect().bar())
    } else {
        body
    };
    let body = body
        .with("opaque", true)
        .with("bytes_up", flow.up)
        .with("bytes_down", flow.down)
        .with("why", aims_decision::short(&flow.why));
    // The journal raises the alarm; the connection is over either way.
    let concluded = core.conclude(&caller, &admitted.reserved, body).await;
    if concluded.is_ok() && !cut {
        live.effect().settle();
    }
    drop(live);
}

async fn reach(
    core: &Core,
    caller: &Caller,
    target: &ConnectTarget,
) -> Result<TcpStream, ConnectFault> {
    let config = &core.config;
    let within = config.limits.connect;
    let addresses = match config.egress.hosts.get(&target.host) {
        Some(named) => vec![SocketAddr::new(*named, target.port)],
        None => resolve::resolve(&target.host, target.port, within).await?,
    };
    core.look_again(caller).map_err(|_| ConnectFault::CutOff)?;
    resolve::dial(&addresses, within).await
}

/// Records and answers a request that can't be decided here now, nor elsewhere.
async fn undecided(
    core: &Core,
    caller: &Caller,
    why: &(dyn std::error::Error + Sync),
    resource: &str,
) -> ConnectReply {
    match note_undecided(core, caller, why, resource).await {
        Ok(()) => unavailable(why),
        Err(()) => unrecorded(),
    }
}

fn unavailable(why: &dyn std::error::Error) -> ConnectReply {
    refusal(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n"))
}

/// A refusal with a text for people.
fn refusal(status: StatusCode, text: &str) -> ConnectReply {
    let mut response = Response::new(Bytes::from(text.to_owned()));
    *response.status_mut() = status;
    ConnectReply {
        response,
        tunnel: None,
    }
}

fn unrecorded() -> ConnectReply {
    refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        "the log can't be written: nothing is allowed\n",
    )
}
