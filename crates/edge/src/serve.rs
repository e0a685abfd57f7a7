//! The gateway's side: connections of nodes and gateways, which carry agents' requests, and of
//! agents that run elsewhere.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aims_links::{Body, Endpoint, LinkError};
use aims_tls::{Acceptor, HandshakeError, WebAcceptor, WebStream};
use aims_types::SpiffeId;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::enrolled::Resting;
use crate::headers::strip;
use crate::limits::{
    ACCEPT_PAUSE, BODY_LEN_MAX, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX,
    CONNECTIONS_PER_PEER_MAX, FAREWELL, HANDSHAKES_MAX, HEAD_LEN_MAX, HEADERS_MAX, REQUEST_TIMEOUT,
};
use crate::wire::{Cuttable, Reader, Wire};
use crate::{Carrier, Enrolled, GATEWAY_PATH, NODE_PATH};

/// A listener that serves. Dropping it ends it and every connection.
pub struct Served {
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What every connection needs.
struct Edge {
    endpoint: Arc<dyn Endpoint>,
    shake: Shake,
    handshakes: Arc<Semaphore>,
    places: Arc<Semaphore>,
    peers: Mutex<HashMap<Peer, usize>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// How a connection begins.
enum Shake {
    /// Both sides show certificates of the trust domain, for keys that are enrolled.
    Members(Acceptor, Enrolled),
    /// The client shows none: what it sends says who it is.
    Agents(WebAcceptor),
}

/// A stream, who is at its other end, and what rests on their key.
type Shaken = (WebStream<Wire>, Peer, Option<Resting>);

/// Why a connection was not let in.
#[derive(Debug, thiserror::Error)]
enum Unshaken {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("it showed no certificate")]
    NoCertificate,
    #[error("its key is not enrolled, or retired")]
    NotEnrolled,
}

/// Who is at the other end, as far as a connection tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Peer {
    /// A node or gateway.
    Member(SpiffeId),
    /// Whoever has this address.
    Address(IpAddr),
}

/// A place for one connection of a peer, given back when dropped.
struct Place {
    edge: Arc<Edge>,
    peer: Peer,
    _permit: OwnedSemaphorePermit,
}

/// Serves `endpoint` to the nodes and gateways of the trust domain whose keys are `enrolled`, until
/// it is dropped or ended.
pub fn serve(
    listener: TcpListener,
    endpoint: Arc<dyn Endpoint>,
    acceptor: Acceptor,
    enrolled: Enrolled,
) -> Served {
    begin(listener, endpoint, Shake::Members(acceptor, enrolled))
}

/// Serves `endpoint` over HTTPS to agents that run elsewhere, until it is dropped or ended.
pub fn serve_agents(
    listener: TcpListener,
    endpoint: Arc<dyn Endpoint>,
    acceptor: WebAcceptor,
) -> Served {
    begin(listener, endpoint, Shake::Agents(acceptor))
}

fn begin(listener: TcpListener, endpoint: Arc<dyn Endpoint>, shake: Shake) -> Served {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let edge = Arc::new(Edge {
        endpoint,
        shake,
        handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
        places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        peers: Mutex::default(),
        tasks: tasks.clone(),
        stop: stop.clone(),
    });
    tasks.spawn(edge.accept(listener));
    Served { tasks, stop }
}

impl Served {
    /// Takes no further connection, and returns when all have ended, after a while by force.
    pub async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Edge {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = async {
                // Whoever waits for a handshake is not read from until there is a place.
                let place = Arc::clone(&self.handshakes).acquire_owned().await;
                (place, listener.accept().await)
            };
            let accepted = self.stop.run_until_cancelled(accepted).await;
            match accepted {
                None | Some((Err(_), _)) => return,
                Some((Ok(shaking), Ok((stream, from)))) => {
                    let admitted = Arc::clone(&self).admit((stream, from.ip()), shaking);
                    self.tasks.spawn(admitted);
                }
                Some((Ok(_), Err(error))) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Completes the handshake, and serves the connection to its end.
    async fn admit(
        self: Arc<Self>,
        (stream, from): (TcpStream, IpAddr),
        shaking: OwnedSemaphorePermit,
    ) {
        let _ = stream.set_nodelay(true);
        let cut = CancellationToken::new();
        let reader = match self.shake {
            Shake::Members(..) => None,
            Shake::Agents(_) => match Reader::of(&stream) {
                Ok(reader) => Some(reader),
                Err(error) => return refused(&error.to_string()),
            },
        };
        let wire = Wire::new(stream, cut.clone());
        let shaken = self.stop.run_until_cancelled(self.shake.hands(wire, from));
        let (stream, peer, resting) = match shaken.await {
            None => return,
            Some(Ok(shaken)) => shaken,
            Some(Err(error)) => return refused(&error.to_string()),
        };
        drop(shaking);
        let Some(place) = self.place(&peer) else {
            return refused("it is no node or gateway, or has too many connections");
        };
        let connection = Arc::new(Connection {
            carrier: Carrier::new(cut),
            place: Arc::new(place),
            resting,
            edge: Arc::clone(&self),
        });
        self.carry((stream, reader), connection).await;
    }

    /// Serves a connection to its end, or until it is over.
    async fn carry<S>(&self, (stream, reader): (S, Option<Reader>), connection: Arc<Connection>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = service_fn(|request| {
            let connection = Arc::clone(&connection);
            async move { Ok::<_, Infallible>(connection.answer(request).await) }
        });
        let mut served = Box::pin(
            hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_TIMEOUT)
                .max_buf_size(HEAD_LEN_MAX)
                .max_headers(HEADERS_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades(),
        );
        let to_its_end = async {
            let ended = self.stop.run_until_cancelled(&mut served).await;
            if let Some(ended) = ended {
                return ended;
            }
            served.as_mut().graceful_shutdown();
            timeout(FAREWELL, &mut served).await.unwrap_or(Ok(()))
        };
        let ended = tokio::select! {
            biased;
            () = connection.over() => {
                connection.carrier.reset().cancel();
                Ok(())
            }
            ended = to_its_end => ended,
        };
        if connection.carrier.keeps() {
            // The system may hold the end of an answer, which can still be cut off.
            if let (Some(reader), Ok(())) = (reader, &ended) {
                tokio::select! {
                    biased;
                    () = connection.over() => {}
                    () = self.stop.cancelled() => {}
                    () = reader.gone() => {}
                }
            }
            connection.carrier.reset().cancel();
        }
        // With it goes all that waited to be sent.
        drop(served);
        connection.carrier.close();
        if let Err(error) = ended {
            tracing::debug!(%error, peer = %connection.place.peer, "a connection ended");
        }
    }

    /// A place for a connection of this peer, if it may have one.
    fn place(self: &Arc<Self>, peer: &Peer) -> Option<Place> {
        let most = peer.connections_max()?;
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut peers = self.peers();
        let count = peers.entry(peer.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(peers);
        metrics::gauge!("aims_edge_connections").increment(1.0);
        Some(Place {
            edge: Arc::clone(self),
            peer: peer.clone(),
            _permit: permit,
        })
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<Peer, usize>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shake {
    /// Completes the handshake; gives who it is, and for members what rests on their key.
    async fn hands(&self, wire: Wire, from: IpAddr) -> Result<Shaken, Unshaken> {
        match self {
            Self::Members(acceptor, enrolled) => {
                let (stream, peer) = acceptor.accept(wire).await?;
                let peer = peer.ok_or(Unshaken::NoCertificate)?;
                let resting = enrolled.enter(&peer).ok_or(Unshaken::NotEnrolled)?;
                let peer = Peer::Member(peer.spiffe_id().clone());
                Ok((stream, peer, Some(resting)))
            }
            Self::Agents(acceptor) => {
                let (stream, _) = acceptor.accept(wire).await?;
                Ok((stream, Peer::Address(from), None))
            }
        }
    }
}

impl Peer {
    /// How many connections it may have; `None` if it may have none.
    fn connections_max(&self) -> Option<usize> {
        match self {
            Self::Member(id) => {
                let path = id.path();
                let carries = path.starts_with(NODE_PATH) || path.starts_with(GATEWAY_PATH);
                carries.then_some(CONNECTIONS_PER_PEER_MAX)
            }
            Self::Address(_) => Some(CONNECTIONS_PER_ADDRESS_MAX),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(id) => id.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.edge.peers();
        if let Some(count) = peers.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
        drop(peers);
        metrics::gauge!("aims_edge_connections").decrement(1.0);
    }
}

fn refused(why: &str) {
    metrics::counter!("aims_edge_refused_total").increment(1);
    tracing::warn!(why, "a connection was refused");
}

/// One connection of a peer.
struct Connection {
    carrier: Carrier,
    place: Arc<Place>,
    /// None for agents, whose connections rest on no key.
    resting: Option<Resting>,
    edge: Arc<Edge>,
}

impl Connection {
    /// Resolves when its peer's key or certificate counts no more; for agents, when something is
    /// cut off that was answered over it.
    async fn over(&self) {
        match (&self.resting, &self.edge.shake) {
            (Some(resting), Shake::Members(acceptor, _)) => resting.over(|| acceptor.now()).await,
            _ => self.carrier.reset().cancelled().await,
        }
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<Cuttable> {
        let answered = if request.method() == Method::CONNECT {
            self.connect(request).await
        } else {
            self.pass(request).await
        };
        let mut response = answered.unwrap_or_else(|problem| problem.response());
        if self.carrier.is_shared() {
            // What ends for the one would end the connection of the other, again and again.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response.map(|body| Cuttable::new(body, self.carrier.reset().clone()))
    }

    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let (mut head, body) = request.into_parts();
        let body = timeout(REQUEST_TIMEOUT, Limited::new(body, BODY_LEN_MAX).collect());
        let body = body.await.map_err(|_| Problem::Slow)?.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Problem::TooLong
            } else {
                Problem::Broken
            }
        })?;
        strip(&mut head.headers);
        if let Shake::Agents(_) = self.edge.shake {
            head.extensions.insert(self.carrier.clone());
        }
        let request = Request::from_parts(head, body.to_bytes());
        Ok(self.edge.endpoint.http(request).await?)
    }

    /// Opens a tunnel (RFC 9110 §9.3.6).
    async fn connect(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, Problem> {
        let upgraded = hyper::upgrade::on(&mut request);
        let (mut head, _) = request.into_parts();
        strip(&mut head.headers);
        let onward = Request::from_parts(head, ());
        let reply = self.edge.endpoint.connect(onward).await?;
        if let Some(mut tunnel) = reply.tunnel {
            // The connection is over for HTTP, and still one of the peer's.
            let connection = Arc::clone(self);
            self.edge.tasks.spawn(async move {
                let relayed = async {
                    let mut inside = TokioIo::new(upgraded.await.ok()?);
                    let relayed = tokio::io::copy_bidirectional(&mut inside, &mut tunnel);
                    tokio::select! {
                        biased;
                        () = connection.over() => connection.carrier.reset().cancel(),
                        relayed = relayed => {
                            let error = relayed.err()?;
                            connection.carrier.reset().cancel();
                            tracing::debug!(%error, "a tunnel ended");
                        }
                    }
                    Some(())
                };
                connection.edge.stop.run_until_cancelled(relayed).await;
            });
        }
        Ok(reply.response.map(full))
    }
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// Why a request was not passed on.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("the request has more than {BODY_LEN_MAX} bytes")]
    TooLong,
    #[error("the request did not arrive in time")]
    Slow,
    #[error("the request is malformed")]
    Broken,
    #[error("the {} did not answer; try again", .0.peer)]
    Link(#[from] LinkError),
}

impl Problem {
    fn response(&self) -> Response<Body> {
        let status = match self {
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Link(error) => {
                tracing::warn!(%error, "a request was not answered");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        let mut response = Response::new(full(format!("{self}\n").into()));
        *response.status_mut() = status;
        let kind = HeaderValue::from_static("text/plain");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}
