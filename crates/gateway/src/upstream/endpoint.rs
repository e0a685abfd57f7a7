//! A request that arrives for an upstream: authenticated, read once, and handed on to be decided.

use std::sync::Arc;

use aims_json::{Object, Value};
use aims_links::Body;
use aims_model::Upstream;
use aims_oauth::HttpUri;
use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{Response, StatusCode};

use super::flight::{Setting, fly};
use super::request::{Asked, Malformed, Target};
use crate::authn::{AuthnError, Caller};
use crate::core::Core;
use crate::forward;
use crate::records::short;
use crate::respond::{self, challenge};
use crate::state::State;
use crate::trees::{Owner, own};
use crate::unserved::{note_not_ready, note_stranger, note_undecided};

/// What answers are called that are not the upstream's.
pub(super) const NOT_ASKED: &str = "the upstream was not asked";

/// Answers one request.
pub(crate) async fn answer(core: &Arc<Core>, request: http::Request<Bytes>) -> Response<Body> {
    let Some(target) = Target::of(request.uri(), &core.config.resource) else {
        let text = "the path is malformed: `/http/NAME/…` without empty, `.` or `..` segments and \
                    percent-encoding";
        return plain(StatusCode::BAD_REQUEST, "bad_request", text);
    };
    let resource = target.resource(&core.config.resource);
    let state = match core.ready() {
        Ok(state) => state,
        Err(why) => {
            return match note_not_ready(core, &why, &resource).await {
                Ok(()) => unavailable(&why.to_string()),
                Err(()) => unrecorded(),
            };
        }
    };
    let caller = match authenticated(core, &state, &request, &resource).await {
        Ok(caller) => caller,
        Err(error) => return stranger(core, &error, &resource).await,
    };
    let Some(upstream) = visible(&state, &caller, &target) else {
        return nothing_here();
    };
    let caller = match own(core, caller.token.task).await {
        Ok(Owner::Mine(tree)) => caller.under(tree),
        Ok(Owner::Elsewhere { gateway, address }) => {
            let passed = forward::http(core, &caller, (gateway, &address), request).await;
            return match passed {
                Ok(response) => response,
                Err(fault) => undecided(core, &caller, &fault, &resource).await,
            };
        }
        Err(why) => return undecided(core, &caller, &why, &resource).await,
    };
    let named = target.clone();
    let asked = match Asked::read(target, request, upstream.spec.bounds().request_bytes) {
        Ok(asked) => asked,
        Err(why) => return malformed(core, &caller, &named, &why).await,
    };
    if !upstream.spec.offers(asked.method, &asked.target.path) {
        return not_offered(core, &caller, &asked).await;
    }
    let Ok(place) = Arc::clone(&core.upstreams.places).try_acquire_owned() else {
        let text = "too many requests are under way; try again";
        return plain(StatusCode::TOO_MANY_REQUESTS, "busy", text);
    };
    let setting = Setting {
        core: Arc::clone(core),
        state,
        caller,
        upstream,
        asked,
        _place: place,
    };
    fly(setting).await
}

/// The upstream, if the caller may know that it is there: every hop names it.
fn visible(state: &State, caller: &Caller, target: &Target) -> Option<Arc<Upstream>> {
    let named = |hop: &aims_decision::Hop| {
        aims_authority::may_request(&hop.grant().authority, &target.upstream)
    };
    let upstream = state.upstream(&target.upstream)?;
    let all = caller.chain.verified.hops().iter().all(named);
    all.then(|| Arc::clone(upstream))
}

async fn authenticated(
    core: &Core,
    state: &State,
    request: &http::Request<Bytes>,
    resource: &str,
) -> Result<Caller, AuthnError> {
    let uri = HttpUri::parse(resource).map_err(|_| AuthnError::NoChain("no such upstream"))?;
    let target = (request.method().as_str(), &uri);
    let (now, control) = (core.now(), core.control.as_ref());
    let caller = core
        .authn
        .caller(request.headers(), target, state, control, now)
        .await?;
    forward::carried(core, &caller, request.extensions())?;
    Ok(caller)
}

/// Records and answers a request that has no one reading.
async fn malformed(
    core: &Core,
    caller: &Caller,
    target: &Target,
    why: &Malformed,
) -> Response<Body> {
    let status = match why {
        Malformed::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Malformed::Method => StatusCode::METHOD_NOT_ALLOWED,
        Malformed::Header(_) | Malformed::Body(_) | Malformed::Json(_) => StatusCode::BAD_REQUEST,
    };
    let text = short(&why.to_string());
    let (upstream, path) = (target.upstream.as_str(), target.path.as_str());
    let resource = Object::new().with("upstream", upstream).with("path", path);
    denied(core, caller, resource, (status, "bad_request"), &text).await
}

/// Records and answers a request for something that the registration does not name.
async fn not_offered(core: &Core, caller: &Caller, asked: &Asked) -> Response<Body> {
    let text = "the upstream is not registered with this method and path; an operator can change \
                what it offers by registering it anew";
    let resource = Object::new()
        .with("upstream", asked.target.upstream.as_str())
        .with("method", asked.method.as_str())
        .with("path", asked.target.path.as_str());
    let answer = (StatusCode::NOT_FOUND, "not_offered");
    denied(core, caller, resource, answer, text).await
}

async fn denied(
    core: &Core,
    caller: &Caller,
    resource: Object,
    (status, named): (StatusCode, &str),
    text: &str,
) -> Response<Body> {
    let body = Object::new()
        .with("decision", "deny")
        .with("instance", caller.token.instance.to_string())
        .with("resource", resource)
        .with("reasons", vec![Value::from(short(text))]);
    match core.deny(caller, body).await {
        Ok(()) => plain(status, named, text),
        Err(_) => unrecorded(),
    }
}

/// Records and answers a request of somebody who is not believed.
async fn stranger(core: &Core, error: &AuthnError, resource: &str) -> Response<Body> {
    if note_stranger(core, error, resource).await.is_err() {
        return unrecorded();
    }
    unbelieved(error, resource)
}

/// The answer to somebody who is not believed.
pub(super) fn unbelieved(error: &AuthnError, resource: &str) -> Response<Body> {
    let (status, header) = challenge(error, resource);
    let mut response = plain(status, "unauthenticated", &error.to_string());
    if let Some(header) = header {
        response.headers_mut().insert(WWW_AUTHENTICATE, header);
    }
    response
}

/// Records and answers a request that can't be decided here now, nor elsewhere.
async fn undecided(
    core: &Core,
    caller: &Caller,
    why: &(dyn std::error::Error + Sync),
    resource: &str,
) -> Response<Body> {
    match note_undecided(core, caller, why, resource).await {
        Ok(()) => unavailable(&why.to_string()),
        Err(()) => unrecorded(),
    }
}

/// What is not there, and what is not for the caller: one answer.
fn nothing_here() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
}

pub(super) fn unavailable(text: &str) -> Response<Body> {
    plain(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text)
}

pub(super) fn unrecorded() -> Response<Body> {
    unavailable("the log can't be written: nothing is allowed")
}

/// An answer that is not the upstream's.
pub(super) fn plain(status: StatusCode, code: &str, text: &str) -> Response<Body> {
    let members = Object::new().with("code", code).with("detail", text);
    respond::problem(status, NOT_ASKED, members)
}
