//! The door: HTTP/1.1 inside the walls, where each request gets the instance's token and proof.
//!
//! Whoever comes through is the instance, by construction: the listeners were created inside its
//! namespaces. What it sends is believed by nobody: the gateway checks every request.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aims_edge::Reader;
use aims_json::Object;
use aims_links::{Body, ConnectTarget, Endpoint, LinkError, Refusal};
use aims_mcp::build::{self, ErrorAnswer};
use aims_mcp::{Message, limits};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::callers::Caller;
use crate::credentials::Credentials;
use crate::doors::{Accepted, Passage};
use crate::node::Node;
use crate::starting::LaunchError;
use crate::target::{own_path, own_query};

/// Longest request body, in bytes.
pub const BODY_LEN_MAX: usize = 1 << 20;
/// Longest head of a request, in bytes.
pub const HEAD_LEN_MAX: usize = 64 << 10;
/// Most headers of a request.
pub const HEADERS_MAX: usize = 64;
/// Most connections of one instance at a time, tunnels among them.
pub const CONNECTIONS_MAX: usize = 64;
/// Most sub-agents of one instance that run at a time.
pub const SUBAGENTS_MAX: usize = 8;
/// Where an instance asks for a sub-agent; everything else is for the gateway.
const DELEGATIONS: &str = "/delegations";
/// How long the head of a request may take, and then its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a connection that could not be accepted, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Headers of the agent that go on to the gateway; everything else stays behind.
const PASSED: [&str; 8] = [
    "accept",
    "content-type",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "origin",
];

/// One instance's door.
pub(crate) struct Door {
    pub(crate) credentials: Credentials,
    pub(crate) gateway: Arc<dyn Endpoint>,
    pub(crate) node: Arc<Node>,
    /// Whose rights the files of a sub-agent are read with: those of whoever started this one.
    pub(crate) caller: Caller,
    pub(crate) subagents: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the instance ends: every connection ends with it.
    pub(crate) ended: CancellationToken,
}

impl Door {
    /// Serves both listeners until the instance ends.
    pub(crate) fn open(self: &Arc<Self>, tcp: TcpListener, unix: UnixListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (door, free) = (Arc::clone(self), Arc::clone(&places));
        self.spawn(async move {
            loop {
                match tcp.accept().await {
                    Ok((stream, _)) => {
                        // The end of an answer does not wait until its beginning is confirmed.
                        let _ = stream.set_nodelay(true);
                        door.admit(stream, &free).await;
                    }
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            }
        });
        let door = Arc::clone(self);
        self.spawn(async move {
            loop {
                match unix.accept().await {
                    Ok((stream, _)) => door.admit(stream, &places).await,
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            }
        });
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.tasks.spawn(async move {
            ended.run_until_cancelled(work).await;
        });
    }

    /// Does `work` over a connection, which is open until that is dropped.
    fn spawn_over(&self, place: Place, work: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.tasks.spawn(async move {
            ended.run_until_cancelled(place.passage.run(work)).await;
            drop(place);
        });
    }

    /// Serves one connection; waits while there are too many.
    async fn admit(self: &Arc<Self>, stream: impl Accepted, places: &Arc<Semaphore>) {
        let Ok(place) = Arc::clone(places).acquire_owned().await else {
            return;
        };
        let Ok(reader) = stream.reader() else {
            return;
        };
        let passage = self.node.doors.enter();
        let stream = stream.through(&passage);
        let place = Arc::new(Held {
            reader: Mutex::new(reader),
            passage,
            _place: place,
        });
        let (door, held) = (Arc::clone(self), Arc::clone(&place));
        self.spawn_over(held, async move {
            let service = service_fn(|request| {
                let (door, place) = (Arc::clone(&door), Arc::clone(&place));
                async move { Ok::<_, Infallible>(door.answer(request, place).await) }
            });
            let mut connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_TIMEOUT)
                .max_buf_size(HEAD_LEN_MAX)
                .max_headers(HEADERS_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            match (&mut connection).await {
                Ok(()) => {
                    let reader = place.reader().take();
                    place.passage.end(reader).await;
                }
                Err(error) => {
                    place.passage.cut();
                    tracing::debug!(%error, "a connection through the door ended");
                }
            }
        });
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, place: Place) -> Response<Body> {
        let answered = if request.method() == Method::CONNECT {
            self.connect(request, place).await
        } else {
            self.pass(request).await
        };
        answered.unwrap_or_else(|problem| problem.response())
    }

    /// Passes one HTTP request on to the gateway, with token and proof, or starts a sub-agent.
    async fn pass(self: &Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let (head, body) = request.into_parts();
        let path = own_path(&head.uri).ok_or(Problem::Broken)?;
        let query = own_query(&head.uri).ok_or(Problem::Broken)?;
        let body = timeout(REQUEST_TIMEOUT, Limited::new(body, BODY_LEN_MAX).collect());
        let body = body.await.map_err(|_| Problem::Slow)?.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Problem::TooLong
            } else {
                Problem::Broken
            }
        })?;
        let body = body.to_bytes();
        if path == DELEGATIONS && head.method == Method::POST {
            return self.delegate(&body).await;
        }
        let target = format!("{}{}", self.credentials.resource(), path);
        let proof = match self.credentials.prove(head.method.as_str(), &target).await {
            Ok(proof) => proof,
            Err(problem) => return self.no_authority(&body, problem),
        };
        let mut onward = Request::new(body);
        *onward.method_mut() = head.method;
        // The proof names the target without its query (RFC 9449 §4.2).
        let target = format!("{target}{query}");
        *onward.uri_mut() = target.parse().map_err(|_| Problem::Broken)?;
        pass_headers(&head.headers, onward.headers_mut());
        onward
            .headers_mut()
            .insert(AUTHORIZATION, proof.authorization);
        onward.headers_mut().insert("dpop", proof.dpop);
        Ok(self.gateway.http(onward).await?)
    }

    /// Answers an MCP request for which there is no authority any more in MCP's own form, so that
    /// a client tells it from an outage: the rule, what would be allowed, how to ask.
    fn no_authority(&self, body: &[u8], problem: Problem) -> Result<Response<Body>, Problem> {
        let (Problem::NoToken(why), Ok(Message::Request(request))) =
            (&problem, Message::parse(body, &limits::AGENT_MESSAGE))
        else {
            return Err(problem);
        };
        let (rule, message) = if self.credentials.is_over() {
            ("deadline", "the deadline of the task has passed")
        } else {
            ("no_token", why.as_str())
        };
        let data = Object::new()
            .with("code", "denied")
            .with("rule", rule)
            .with(
                "would_allow",
                "calls while the task is open and this instance runs",
            )
            .with(
                "how_to_ask",
                "ask the person who started the task for a new one",
            );
        let error = ErrorAnswer {
            code: aims_mcp::code::DENIED,
            message: message.to_owned(),
            data: Some(data.into()),
        };
        let answer = build::error(Some(request.id()), &error);
        let mut response = Response::new(full(answer.into()));
        let kind = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        Ok(response)
    }

    /// Opens a tunnel to a host that the authority names (RFC 9110 §9.3.6).
    async fn connect(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        place: Place,
    ) -> Result<Response<Body>, Problem> {
        let target = ConnectTarget::of(&request).ok_or(Problem::Broken)?;
        let resource = target.resource(self.credentials.resource());
        let proof = self.credentials.prove("CONNECT", &resource).await?;
        let mut onward = Request::new(());
        *onward.method_mut() = Method::CONNECT;
        let named = target.to_string();
        *onward.uri_mut() = named.parse().map_err(|_| Problem::Broken)?;
        onward
            .headers_mut()
            .insert(AUTHORIZATION, proof.authorization);
        onward.headers_mut().insert("dpop", proof.dpop);
        let reply = self.gateway.connect(onward).await?;
        if let Some(mut tunnel) = reply.tunnel {
            let upgraded = hyper::upgrade::on(&mut request);
            // What comes from it now is the tunnel's.
            drop(place.reader().take());
            // The connection is over for HTTP, but the tunnel is still one of the instance's.
            self.spawn_over(Arc::clone(&place), async move {
                let Ok(inside) = upgraded.await else { return };
                let mut inside = TokioIo::new(inside);
                let relayed = tokio::io::copy_bidirectional(&mut inside, &mut tunnel).await;
                if let Err(error) = relayed {
                    place.passage.cut();
                    tracing::debug!(%error, "a tunnel ended");
                }
            });
        }
        Ok(reply.response.map(full))
    }
}

/// What is held by whatever goes on over a connection.
type Place = Arc<Held>;

/// A place among [`CONNECTIONS_MAX`], and among what is reset at once.
struct Held {
    /// None over a tunnel, and where nothing is left when it ends. Dropped first, as the passage is
    /// over only when the connection is closed.
    reader: Mutex<Option<Reader>>,
    passage: Passage,
    _place: OwnedSemaphorePermit,
}

impl Held {
    fn reader(&self) -> MutexGuard<'_, Option<Reader>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pass_headers(from: &HeaderMap, to: &mut HeaderMap) {
    for name in PASSED.map(HeaderName::from_static) {
        // Repeated headers stay repeated: the gateway refuses what must be single.
        for value in from.get_all(&name) {
            to.append(name.clone(), value.clone());
        }
    }
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// Why the door did not pass a request on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The body is over [`BODY_LEN_MAX`].
    #[error("the request has more than {BODY_LEN_MAX} bytes")]
    TooLong,
    /// The body took too long.
    #[error("the request did not arrive in time")]
    Slow,
    /// The request can't be read.
    #[error("the request is malformed")]
    Broken,
    /// No token could be had.
    #[error("no authority: {0}")]
    NoToken(String),
    /// What is asked of the door itself can't be read.
    #[error("{0}")]
    Delegation(String),
    /// A sub-agent was refused.
    #[error("{}", .0.reason)]
    Refused(Refusal),
    /// Server or gateway did not answer. Why is nothing that the agent is told.
    #[error("the {} did not answer; try again", .0.peer)]
    Link(#[from] LinkError),
}

impl Problem {
    fn response(&self) -> Response<Body> {
        if let Self::Link(error) = self {
            tracing::warn!(%error, "a request through the door was not answered");
        }
        let (code, gaps) = match self {
            Self::Refused(refusal) => (refusal.code.as_ref(), refusal.gaps.as_slice()),
            _ => ("not_passed_on", [].as_slice()),
        };
        let status = match self {
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken | Self::Delegation(_) => StatusCode::BAD_REQUEST,
            Self::NoToken(_) | Self::Refused(_) => StatusCode::FORBIDDEN,
            Self::Link(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        // Problem details (RFC 9457).
        let body = serde_json::json!({
            "title": "the door did not pass the request on",
            "status": status.as_u16(),
            "detail": self.to_string(),
            "code": code,
            "gaps": gaps,
        });
        let mut response = Response::new(full(body.to_string().into()));
        *response.status_mut() = status;
        let kind = http::HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

impl From<LaunchError> for Problem {
    fn from(error: LaunchError) -> Self {
        match error {
            LaunchError::Refused(refusal) => Self::Refused(refusal),
            LaunchError::Link(error) => Self::Link(error),
            // What this host lacks is nothing that an agent is told.
            LaunchError::NoLease(_) | LaunchError::Internal(_) => Self::Link(LinkError {
                peer: "node",
                reason: error.to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_is_told_of_an_outage_holds_nothing_of_the_inside() {
        let reason = "no such table `keys` in /var/lib/aims/aims.db".to_owned();
        let problem = Problem::from(LinkError {
            peer: "server",
            reason,
        });
        assert_eq!(problem.to_string(), "the server did not answer; try again");
    }
}
