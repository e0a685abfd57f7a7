//! What arrives at an endpoint: checked, read once, and dispatched.

use std::sync::Arc;

use aims_authority::Call;
use aims_decision::{Case, listed};
use aims_json::Object;
use aims_links::Body;
use aims_mcp::http::{Head, HttpMethod, SESSION_ID_HEADER, VersionHeader};
use aims_mcp::initialize::InitializeParams;
use aims_mcp::modern::{UNSUPPORTED_VERSION_STATUS, unspoken_version, unsupported_version};
use aims_mcp::tools::{Tool, list_result};
use aims_mcp::{
    Message, Method, Notice, Notification, ProtocolVersion, Request, RequestId, build, code, limits,
};
use aims_oauth::HttpUri;
use aims_types::Name;
use bytes::Bytes;
use http::header::HeaderValue;
use http::{Response, StatusCode};

use super::call::{Wanted, call};
use super::open::{OpenFault, note_strays, open};
use super::session::Session;
use crate::authn::{AuthnError, Caller};
use crate::core::{Core, NotReady};
use crate::forward;
use crate::respond;
use crate::state::State;
use crate::trees::{Owner, own};
use crate::unserved::{note_not_ready, note_stranger, note_undecided};
use aims_decision::short;

/// Where the endpoints are.
const PREFIX: &str = "/mcp/";

/// One authenticated request to an endpoint that the caller may see.
struct Visit {
    state: Arc<State>,
    caller: Caller,
    server: Name,
    head: Head,
}

/// Answers one HTTP request.
pub(crate) async fn answer(core: &Arc<Core>, request: http::Request<Bytes>) -> Response<Body> {
    let Some(server) = server_name(request.uri()) else {
        return respond::not_found();
    };
    let Some(method) = http_method(request.method()) else {
        return respond::method_not_allowed();
    };
    let resource = format!("{}{PREFIX}{server}", core.config.resource);
    let state = match core.ready() {
        Ok(state) => state,
        Err(why) => return not_ready(core, &why, &resource).await,
    };
    let caller = match authenticated(core, &state, &request, &resource).await {
        Ok(caller) => caller,
        Err(error) => return stranger(core, &error, &resource).await,
    };
    if !may_enter(&state, &caller, &server) {
        return respond::not_found();
    }
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
    let values = |name: &'static str| {
        request
            .headers()
            .get_all(name)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect()
    };
    let head = match Head::read(method, values, &[]) {
        Ok(head) => head,
        Err(error) => {
            let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
            let text = error.to_string();
            return respond::error(status, None, code::INVALID_REQUEST, &text);
        }
    };
    let whose = caller.clone();
    let visit = Visit {
        state,
        caller,
        server,
        head,
    };
    let answer = match method {
        HttpMethod::Post => visit.post(core, request.body()).await,
        HttpMethod::Delete => visit.delete(core),
        // There is nothing that a tool's server may say on its own.
        HttpMethod::Get => respond::method_not_allowed(),
    };
    match forward::gated(core, &whose, answer) {
        Ok(answer) => answer,
        Err(error) => stranger(core, &error, &resource).await,
    }
}

fn server_name(uri: &http::Uri) -> Option<Name> {
    if uri.query().is_some() {
        return None;
    }
    uri.path().strip_prefix(PREFIX)?.parse().ok()
}

fn http_method(method: &http::Method) -> Option<HttpMethod> {
    match *method {
        http::Method::POST => Some(HttpMethod::Post),
        http::Method::GET => Some(HttpMethod::Get),
        http::Method::DELETE => Some(HttpMethod::Delete),
        _ => None,
    }
}

async fn authenticated(
    core: &Core,
    state: &State,
    request: &http::Request<Bytes>,
    resource: &str,
) -> Result<Caller, AuthnError> {
    let uri = HttpUri::parse(resource).map_err(|_| AuthnError::NoChain("no such endpoint"))?;
    let target = (request.method().as_str(), &uri);
    let (now, control) = (core.now(), core.control.as_ref());
    let caller = core
        .authn
        .caller(request.headers(), target, state, control, now)
        .await?;
    forward::carried(core, &caller, request.extensions())?;
    Ok(caller)
}

/// Answers a request that arrives while nothing is decided.
async fn not_ready(core: &Core, why: &NotReady, resource: &str) -> Response<Body> {
    match note_not_ready(core, why, resource).await {
        Ok(()) => respond::unavailable(None, &why.to_string()),
        Err(()) => respond::unavailable(None, "the log can't be written: nothing is allowed"),
    }
}

/// Records and answers a request that can't be decided here now, nor elsewhere.
async fn undecided(
    core: &Core,
    caller: &Caller,
    why: &(dyn std::error::Error + Sync),
    resource: &str,
) -> Response<Body> {
    match note_undecided(core, caller, why, resource).await {
        Ok(()) => respond::unavailable(None, &why.to_string()),
        Err(()) => respond::unavailable(None, "the log can't be written: nothing is allowed"),
    }
}

/// Records and answers a request of somebody who is not believed.
pub(crate) async fn stranger(core: &Core, error: &AuthnError, resource: &str) -> Response<Body> {
    match note_stranger(core, error, resource).await {
        Ok(()) => respond::unauthenticated(error, resource),
        Err(()) => respond::unavailable(None, "the log can't be written: nothing is allowed"),
    }
}

/// Whether the caller may know that the server is there: it may know of one of its tools.
fn may_enter(state: &State, caller: &Caller, server: &Name) -> bool {
    let Some(registered) = state.server(server) else {
        return false;
    };
    registered.tools().any(|tool| caller.may_see(server, tool))
}

impl Visit {
    async fn post(self, core: &Arc<Core>, body: &Bytes) -> Response<Body> {
        if body.len() > core.config.limits.body_bytes {
            let text = "the body is longer than this gateway reads";
            return respond::error(
                StatusCode::PAYLOAD_TOO_LARGE,
                None,
                code::INVALID_REQUEST,
                text,
            );
        }
        let message = match Message::parse(body, &limits::AGENT_MESSAGE) {
            Ok(message) => message,
            Err(refused) => return self.malformed(core, &refused).await,
        };
        match message {
            Message::Request(request) => self.request(core, &request).await,
            Message::Notification(notification) => self.notification(core, &notification),
            Message::Response(_) => {
                let text = "nothing was asked of this client";
                respond::error(StatusCode::BAD_REQUEST, None, code::INVALID_REQUEST, text)
            }
        }
    }

    /// What could not be read is refused, and recorded: it may have been meant for another reader.
    async fn malformed(&self, core: &Core, refused: &aims_mcp::Refused) -> Response<Body> {
        let text = refused.to_string();
        let body = Object::new()
            .with("decision", "deny")
            .with("instance", self.caller.token.instance.to_string())
            .with(
                "resource",
                Object::new().with("server", self.server.as_str()),
            )
            .with("reasons", vec![aims_json::Value::from(short(&text))]);
        if core.deny(&self.caller, body).await.is_err() {
            return respond::unavailable(None, "the log can't be written: nothing is allowed");
        }
        let id = refused.id.as_ref();
        respond::error(StatusCode::BAD_REQUEST, id, refused.error.code(), &text)
    }

    async fn request(self, core: &Arc<Core>, request: &Request<'_>) -> Response<Body> {
        if let Some(version) = unspoken_version(request, &self.head.version) {
            let status = StatusCode::from_u16(UNSUPPORTED_VERSION_STATUS);
            let status = status.unwrap_or(StatusCode::BAD_REQUEST);
            return respond::message(status, unsupported_version(request.id(), &version));
        }
        let method = match request.method() {
            Ok(method) => method,
            Err(error) => {
                let text = error.to_string();
                return respond::error(
                    StatusCode::OK,
                    Some(request.id()),
                    error.code(),
                    &short(&text),
                );
            }
        };
        if let Method::Initialize(params) = &method {
            return self.initialize(core, request.id(), params).await;
        }
        let session = match self.session(core) {
            Ok(session) => session,
            Err(response) => return *response,
        };
        session.touch(core.clock.boot());
        match method {
            Method::Ping => respond::message(StatusCode::OK, build::pong(request.id())),
            Method::ToolsList { cursor: None } => {
                self.tools_list(core, &session, request.id()).await
            }
            Method::ToolsList { cursor: Some(_) } => {
                let text = "there is one page, without a cursor";
                respond::error(
                    StatusCode::OK,
                    Some(request.id()),
                    code::INVALID_PARAMS,
                    text,
                )
            }
            Method::ToolsCall(wanted) => {
                match Wanted::new(core, &session.server, request, wanted) {
                    Ok(wanted) => call(core, self.state, self.caller, session, wanted).await,
                    Err(error) => respond::unavailable(Some(request.id()), &error.to_string()),
                }
            }
            _ => {
                let text = "this endpoint has `initialize`, `ping`, `tools/list` and `tools/call`";
                respond::error(
                    StatusCode::OK,
                    Some(request.id()),
                    code::METHOD_NOT_FOUND,
                    text,
                )
            }
        }
    }

    fn notification(&self, core: &Core, notification: &Notification<'_>) -> Response<Body> {
        let session = match self.session(core) {
            Ok(session) => session,
            Err(response) => return *response,
        };
        session.touch(core.clock.boot());
        if let Ok(Notice::Cancelled { request_id, .. }) = notification.notice() {
            session.cancel(&request_id);
        }
        // `notifications/initialized` went to the tool with the handshake; others concern nobody.
        respond::empty(StatusCode::ACCEPTED)
    }

    fn delete(&self, core: &Core) -> Response<Body> {
        match self.session(core) {
            Ok(session) => {
                session.stop.cancel();
                respond::empty(StatusCode::NO_CONTENT)
            }
            Err(response) => *response,
        }
    }

    /// The session that the request names: only if it is the caller's, at this server, and under
    /// way. Somebody else's is answered as one that does not exist.
    fn session(&self, core: &Core) -> Result<Arc<Session>, Box<Response<Body>>> {
        let Some(id) = &self.head.session else {
            let text = "the header `Mcp-Session-Id` is missing: start with `initialize`";
            return Err(Box::new(respond::error(
                StatusCode::BAD_REQUEST,
                None,
                code::INVALID_REQUEST,
                text,
            )));
        };
        let mine = |session: &Arc<Session>| {
            session.instance == self.caller.token.instance
                && session.server == self.server
                && !session.stop.is_cancelled()
                && !session.peer.stopped().is_cancelled()
        };
        let session = core.sessions.find(id.as_str()).filter(mine);
        let session = session.ok_or_else(|| Box::new(respond::no_session()))?;
        let wrong = match &self.head.version {
            VersionHeader::Known(version) => *version != session.version,
            VersionHeader::Unknown(_) => true,
            VersionHeader::Absent => false,
        };
        if wrong {
            let text = "the header `MCP-Protocol-Version` is not the session's";
            return Err(Box::new(respond::error(
                StatusCode::BAD_REQUEST,
                None,
                code::INVALID_REQUEST,
                text,
            )));
        }
        Ok(session)
    }

    async fn initialize(
        self,
        core: &Arc<Core>,
        id: &RequestId,
        params: &InitializeParams<'_>,
    ) -> Response<Body> {
        let version = ProtocolVersion::negotiate(params.protocol_version);
        let (name, claimed) = (short(params.claimed_name), short(params.claimed_version));
        tracing::debug!(claimed_name = %name, claimed_version = %claimed, "a client starts");
        match open(core, self.caller, self.state, self.server, version).await {
            Ok(opened) => {
                let result = opened.hello.result_for_agent(version);
                let body = build::result(id, &result);
                let mut response = respond::message(StatusCode::OK, body);
                if let Ok(value) = HeaderValue::from_str(opened.session.id.as_str()) {
                    response.headers_mut().insert(SESSION_ID_HEADER, value);
                }
                response
            }
            Err(fault) => not_opened(id, &fault),
        }
    }

    /// Every page of the server's tools, without those that are not as registered, not in the
    /// authority of every hop, or forbidden whatever their arguments.
    async fn tools_list(&self, core: &Core, session: &Session, id: &RequestId) -> Response<Body> {
        let known = session.tools();
        let table = match session.refresh(core.config.limits.tool_start).await {
            Ok(table) => table,
            Err(fault) => {
                let text = short(&fault.to_string());
                return respond::error(StatusCode::OK, Some(id), code::UPSTREAM_FAILED, &text);
            }
        };
        let server = &session.server;
        if known.strays(&self.state, server) != table.strays(&self.state, server)
            && note_strays(core, &self.state, session).await.is_err()
        {
            return respond::unavailable(Some(id), "the log can't be written: nothing is allowed");
        }
        let agents = self.caller.chain.agent_facts(self.caller.assurance);
        let nothing = Object::new();
        let shown = |tool: &&Tool| {
            table.is_as_pinned(&self.state, server, tool.name())
                && self.caller.may_see(server, tool.name())
                && listed(&Case {
                    chain: &self.caller.chain.verified,
                    call: Call::Tool {
                        server,
                        tool: tool.name(),
                        arguments: &nothing,
                    },
                    policies: &self.state.policies,
                    agents: &agents,
                    calls: 0,
                    assurance: self.caller.assurance,
                    subjects: &self.caller.subjects,
                    minted: self.caller.token.revision,
                    cutoffs: &self.state.cutoffs,
                    approval: None,
                    now: core.now(),
                })
        };
        let result = list_result(table.tools().iter().filter(shown));
        if let Err(error) = core.look_again(&self.caller) {
            return respond::unauthenticated(&error, &core.config.resource);
        }
        respond::message(StatusCode::OK, build::result(id, &result))
    }
}

fn not_opened(id: &RequestId, fault: &OpenFault) -> Response<Body> {
    tracing::warn!(error = %fault, "a session was not opened");
    let text = short(&fault.to_string());
    let (status, code) = match fault {
        OpenFault::Busy => (StatusCode::TOO_MANY_REQUESTS, code::INTERNAL_ERROR),
        OpenFault::Caller(_) => (StatusCode::UNAUTHORIZED, code::INVALID_REQUEST),
        OpenFault::Journal(_) | OpenFault::Entropy(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, code::INTERNAL_ERROR)
        }
        OpenFault::Start(_) | OpenFault::Hello(_) | OpenFault::Late => {
            (StatusCode::OK, code::UPSTREAM_FAILED)
        }
    };
    respond::error(status, Some(id), code, &text)
}
