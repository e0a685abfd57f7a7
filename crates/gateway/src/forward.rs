//! Passing a request on to the gateway that owns its task's tree.
//!
//! The owner authenticates the agent as a stranger's, as this gateway did: what passes it on is not
//! believed. What comes back ends here, too, when it is cut off.

mod passed;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aims_edge::{Carrier, GATEWAY_PATH, RemoteEndpoint};
use aims_links::{Body, ConnectReply, Endpoint, LinkError};
use aims_model::Subject;
use aims_types::{Clock, Gateway, Id, TrustDomain};
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Extensions, HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

use crate::authn::{AuthnError, Caller};
use crate::config::EdgeConfig;
use crate::core::Core;
use crate::lease::late::Doing;
use crate::live::{Kind, Live};
use crate::respond::Gated;
use crate::stream::Gate;
use passed::{PassedBody, PassedTunnel, Wait};

/// Which gateway passed a request on. Such a request is not passed on again.
const FORWARDED: HeaderName = HeaderName::from_static("aims-forwarded-by");
/// Most gateways to which connections are kept.
const PEERS_MAX: usize = 1024;

/// The other gateways.
pub(crate) struct Peers {
    edge: Option<EdgeConfig>,
    trust_domain: TrustDomain,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<Id<Gateway>, Arc<RemoteEndpoint>>>,
}

/// What was answered to one caller over a connection, under way until that is closed.
struct Answered {
    subjects: Arc<[Subject]>,
    _live: Live,
}

/// Why a request was not passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It was passed on already: two gateways take each other for the owner for a moment.
    #[error("the task has just moved to another gateway; try again")]
    Moved,
    /// There is no way to another gateway.
    #[error("the task is with another gateway, and this one knows no way to it")]
    NoWay,
    /// The way could not be made ready.
    #[error("the task is with another gateway, and there is no way to it")]
    Tls(#[from] aims_tls::ConfigError),
    /// The other gateway did not answer. Why is nothing that an agent is told.
    #[error("the task is with another gateway, which did not answer; try again")]
    Link(#[from] LinkError),
    /// It was cut off while the other gateway had it.
    #[error("what was under way is cut off")]
    Cut,
    /// Something was cut off meanwhile.
    #[error(transparent)]
    Caller(#[from] AuthnError),
}

impl Peers {
    /// Those of the trust domain, if there is a way to them.
    pub(crate) fn new(
        edge: Option<EdgeConfig>,
        trust_domain: &TrustDomain,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            edge,
            trust_domain: trust_domain.clone(),
            clock,
            known: Mutex::default(),
        }
    }

    /// The gateway, at the address that the server named: nobody else is accepted there.
    fn endpoint(&self, gateway: Id<Gateway>, address: &str) -> Result<Arc<RemoteEndpoint>, Fault> {
        let edge = self.edge.as_ref().ok_or(Fault::NoWay)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = known.get(&gateway).filter(|at| at.address() == address) {
            return Ok(Arc::clone(endpoint));
        }
        let id = self.trust_domain.id(&format!("{GATEWAY_PATH}{gateway}"));
        let id = id.map_err(|_| Fault::NoWay)?;
        let (identity, trust) = (Arc::clone(&edge.identity), Arc::clone(&edge.trust));
        let connector = aims_edge::connector(Arc::clone(&self.clock), identity, trust, id.into())?;
        let endpoint = Arc::new(RemoteEndpoint::new(
            address,
            connector,
            edge.enrolled.clone(),
        ));
        if known.len() >= PEERS_MAX {
            known.clear();
        }
        known.insert(gateway, Arc::clone(&endpoint));
        Ok(endpoint)
    }
}

/// Passes one HTTP request on, and its answer back as it comes.
pub(crate) async fn http(
    core: &Arc<Core>,
    caller: &Caller,
    (gateway, address): (Id<Gateway>, &str),
    mut request: Request<Bytes>,
) -> Result<Response<Body>, Fault> {
    mark(core, request.headers_mut())?;
    let endpoint = core.peers.endpoint(gateway, address)?;
    let live = enter(core, caller)?;
    let answered = tokio::select! {
        biased;
        () = live.cut().cancelled() => return Err(Fault::Cut),
        answered = endpoint.http(request) => answered,
    };
    note(core, caller, answered.as_ref().map(Response::status));
    let (head, body) = answered?.into_parts();
    let wait = follow(core, caller, live);
    let body = PassedBody::new(body, wait).boxed_unsync();
    Ok(Response::from_parts(head, body))
}

/// An answer of this gateway to a caller, every byte of which is looked at before it leaves, like
/// those that come from elsewhere. An error says that the caller is cut off meanwhile.
pub(crate) fn gated(
    core: &Arc<Core>,
    caller: &Caller,
    mut response: Response<Body>,
) -> Result<Response<Body>, AuthnError> {
    if response.extensions_mut().remove::<Gated>().is_some() {
        return Ok(response);
    }
    let subjects = Arc::clone(&caller.subjects);
    let live = core
        .live
        .enter(subjects, caller.token.revision, Kind::Passed);
    let state = core.state();
    let state = state.ok_or(AuthnError::NoChain("nothing can be decided now"))?;
    caller.check_cut_offs(&state)?;
    let wait = follow(core, caller, live);
    Ok(response.map(|body| PassedBody::new(body, wait).boxed_unsync()))
}

/// Keeps what a caller is answered under way until the connection that the request came over is
/// closed, if it is one whose agent runs elsewhere. An error says that the caller is cut off
/// meanwhile.
pub(crate) fn carried(
    core: &Core,
    caller: &Caller,
    extensions: &Extensions,
) -> Result<(), AuthnError> {
    let Some(carrier) = extensions.get::<Carrier>() else {
        return Ok(());
    };
    let (subjects, reset) = (&caller.subjects, carrier.reset());
    carrier.keep(
        |one: &Answered| one.subjects == *subjects,
        || {
            let under = (Arc::clone(subjects), caller.token.revision);
            Answered {
                subjects: Arc::clone(subjects),
                _live: core.live.enter_cut_by(reset.clone(), under, Kind::Answered),
            }
        },
    );
    let state = core.state();
    let state = state.ok_or(AuthnError::NoChain("nothing can be decided now"))?;
    caller.check_cut_offs(&state)
}

/// Passes one CONNECT on, and relays what it opens.
pub(crate) async fn connect(
    core: &Arc<Core>,
    caller: &Caller,
    (gateway, address): (Id<Gateway>, &str),
    mut request: Request<()>,
) -> Result<ConnectReply, Fault> {
    mark(core, request.headers_mut())?;
    let endpoint = core.peers.endpoint(gateway, address)?;
    let live = enter(core, caller)?;
    let answered = tokio::select! {
        biased;
        () = live.cut().cancelled() => return Err(Fault::Cut),
        answered = endpoint.connect(request) => answered,
    };
    let status = answered.as_ref().map(|reply| reply.response.status());
    note(core, caller, status);
    let ConnectReply { response, tunnel } = answered?;
    let tunnel = tunnel.map(|tunnel| {
        let wait = follow(core, caller, live);
        Box::new(PassedTunnel::new(tunnel, wait)) as Box<_>
    });
    Ok(ConnectReply { response, tunnel })
}

/// Marks a request as passed on; one that was so already is refused.
fn mark(core: &Core, headers: &mut HeaderMap) -> Result<(), Fault> {
    if headers.contains_key(FORWARDED) {
        return Err(Fault::Moved);
    }
    let me = HeaderValue::from_str(&core.config.id.to_string()).map_err(|_| Fault::NoWay)?;
    headers.insert(FORWARDED, me);
    metrics::counter!("aims_gateway_forwarded_total").increment(1);
    Ok(())
}

/// Enters what is passed on among what is under way, and looks once more.
fn enter(core: &Core, caller: &Caller) -> Result<Live, Fault> {
    let subjects = Arc::clone(&caller.subjects);
    let live = core
        .live
        .enter(subjects, caller.token.revision, Kind::Passed);
    core.look_on(caller)?;
    Ok(live)
}

/// An owner that does not answer, or says that it can't, may be the owner no more.
fn note(core: &Core, caller: &Caller, answered: Result<StatusCode, &LinkError>) {
    if !answered.is_ok_and(|status| status != StatusCode::SERVICE_UNAVAILABLE) {
        core.trees.forget_elsewhere(caller.token.task);
    }
}

/// Keeps what is passed on under way until it has ended or is cut off.
fn follow(core: &Arc<Core>, caller: &Caller, live: Live) -> Wait {
    let (gate, gone) = (
        Gate::open(Arc::clone(&core.lease), Doing::of(caller, None)),
        CancellationToken::new(),
    );
    let wait = Wait::new(gate.clone(), live.cut().clone(), gone.clone().drop_guard());
    core.tasks.spawn(async move {
        tokio::select! {
            biased;
            () = live.cut().cancelled() => gate.close(),
            () = gone.cancelled() => {}
        }
        drop(live);
    });
    wait
}
