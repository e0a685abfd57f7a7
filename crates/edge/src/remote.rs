//! A gateway that is elsewhere.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aims_links::{Body, ConnectReply, Endpoint, LinkError};
use aims_tls::Connector;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Enrolled;
use crate::enrolled::Resting;
use crate::headers::strip;
use crate::limits::{
    ANSWER_TIMEOUT, BODY_LEN_MAX, CONNECTIONS_PER_PEER_MAX, DIAL_TIMEOUT, HEAD_LEN_MAX,
    HEADERS_MAX, REUSE_MAX,
};
use crate::tunnel::{Held, RemoteTunnel};
use crate::wire::{Followed, Wire};

type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// A new connection, and what it rests on.
struct Dialled {
    open: Open,
    resting: Arc<Resting>,
    cut: CancellationToken,
}

/// A connection to the gateway.
struct Open {
    sender: SendRequest<RequestBody>,
    /// Until when it is used again.
    until: Instant,
    /// Tells that the gateway's key counts no more.
    end: CancellationToken,
}

/// A gateway at an address. Connections are made as needed and used again; dropping it ends all.
pub struct RemoteEndpoint {
    address: String,
    connector: Connector,
    enrolled: Enrolled,
    connections: Mutex<Vec<Open>>,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    dropped: CancellationToken,
}

impl RemoteEndpoint {
    /// The gateway at `address` (`host:port`), if it is whom `connector` expects and its key is
    /// `enrolled`.
    pub fn new(address: impl Into<String>, connector: Connector, enrolled: Enrolled) -> Self {
        Self {
            address: address.into(),
            connector,
            enrolled,
            connections: Mutex::default(),
            places: Arc::new(Semaphore::new(CONNECTIONS_PER_PEER_MAX)),
            tasks: TaskTracker::new(),
            dropped: CancellationToken::new(),
        }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request over a connection that is free, or a new one. What a connection that had
    /// ended never got is sent once more; what it may have got is not.
    async fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, CancellationToken), LinkError> {
        while let Some(mut open) = self.free() {
            let end = open.end.clone();
            let sent = open.sender.try_send_request(request);
            self.keep(open);
            let mut error = match sent.await {
                Ok(response) => return Ok((response, end)),
                Err(error) => error,
            };
            match error.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(broken(&error.into_error())),
            }
        }
        let Dialled { mut open, .. } = self.dial().await?;
        let end = open.end.clone();
        let sent = open.sender.send_request(request);
        self.keep(open);
        let response = sent.await.map_err(|error| broken(&error))?;
        Ok((response, end))
    }

    async fn dial(&self) -> Result<Dialled, LinkError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| fault("too many connections to it are open"))?;
        let dialled = timeout(DIAL_TIMEOUT, TcpStream::connect(&self.address));
        let stream = dialled.await.map_err(|_| fault("no connection in time"))?;
        let stream = stream.map_err(|error| broken(&error))?;
        let _ = stream.set_nodelay(true);
        let cut = CancellationToken::new();
        let wire = Wire::new(stream, cut.clone());
        let shaken = self.connector.connect(wire).await;
        let (stream, peer) = shaken.map_err(|error| broken(&error))?;
        let resting = self.enrolled.enter(&peer);
        let resting = resting.ok_or_else(|| fault("its key is not enrolled, or retired"))?;
        let (sender, connection) = Builder::new()
            .max_buf_size(HEAD_LEN_MAX)
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let resting = Arc::new(resting);
        self.drive(
            connection.with_upgrades(),
            (place, Arc::clone(&resting)),
            cut.clone(),
        );
        let open = Open {
            sender,
            until: Instant::now() + REUSE_MAX,
            end: resting.end().clone(),
        };
        Ok(Dialled { open, resting, cut })
    }

    /// Keeps a connection going to its end, or to that of its peer's key or certificate.
    fn drive(
        &self,
        connection: impl Future<Output = hyper::Result<()>> + Send + 'static,
        (place, resting): (OwnedSemaphorePermit, Arc<Resting>),
        cut: CancellationToken,
    ) {
        let (dropped, connector) = (self.dropped.clone(), self.connector.clone());
        self.tasks.spawn(async move {
            let mut connection = Box::pin(connection);
            tokio::select! {
                biased;
                () = dropped.cancelled() => {}
                () = resting.over(|| connector.now()) => cut.cancel(),
                ended = &mut connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to a gateway ended");
                },
            }
            drop(connection);
            drop((resting, place));
        });
    }

    /// A connection over which nothing is under way.
    fn free(&self) -> Option<Open> {
        let mut connections = self.connections();
        let now = Instant::now();
        connections.retain(|open| !open.sender.is_closed() && now < open.until);
        let place = connections.iter().position(|open| open.sender.is_ready())?;
        Some(connections.swap_remove(place))
    }

    /// Keeps a connection for when its answer is over.
    fn keep(&self, open: Open) {
        self.connections().push(open);
    }

    /// What was opened, until its end or that of the gateway's key or certificate.
    fn tunnel(
        &self,
        io: TokioIo<Upgraded>,
        resting: Arc<Resting>,
        cut: CancellationToken,
    ) -> RemoteTunnel {
        let (held, gone) = (Held::new(io), CancellationToken::new());
        let tunnel = RemoteTunnel::new(Arc::clone(&held), gone.clone().drop_guard());
        let connector = self.connector.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = resting.over(|| connector.now()) => cut.cancel(),
                () = gone.cancelled() => {}
            }
            held.close();
            drop(resting);
        });
        tunnel
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Open>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The request as it goes over the connection.
    fn onward<B>(&self, request: Request<B>, uri: Uri, body: RequestBody) -> Request<RequestBody> {
        let (mut head, _) = request.into_parts();
        head.uri = uri;
        head.version = http::Version::HTTP_11;
        strip(&mut head.headers);
        // RFC 9112 §3.2: a request has one. Whom it is for, the certificate says.
        if let Ok(host) = HeaderValue::from_str(&self.address) {
            head.headers.insert(HOST, host);
        }
        Request::from_parts(head, body)
    }
}

#[cfg(test)]
impl RemoteEndpoint {
    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        CONNECTIONS_PER_PEER_MAX - self.places.available_permits()
    }
}

impl Drop for RemoteEndpoint {
    fn drop(&mut self) {
        self.dropped.cancel();
    }
}

#[async_trait]
impl Endpoint for RemoteEndpoint {
    async fn http(&self, request: Request<Bytes>) -> Result<Response<Body>, LinkError> {
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let uri: Uri = path.parse().map_err(|_| fault("the path is malformed"))?;
        let body = Full::new(request.body().clone()).boxed_unsync();
        let request = self.onward(request, uri, body);
        let answer = timeout(ANSWER_TIMEOUT, self.send(request)).await;
        let (response, end) = answer.map_err(|_| fault("no answer in time"))??;
        let (mut head, body) = response.into_parts();
        strip(&mut head.headers);
        let body = body.map_err(|error| broken(&error));
        let body = Followed::new(body.boxed_unsync(), end);
        Ok(Response::from_parts(head, body.boxed_unsync()))
    }

    async fn connect(&self, request: Request<()>) -> Result<ConnectReply, LinkError> {
        if request.method() != Method::CONNECT {
            return Err(fault("only CONNECT opens a tunnel"));
        }
        let uri = request.uri().clone();
        let request = self.onward(request, uri, Full::default().boxed_unsync());
        let answer = timeout(ANSWER_TIMEOUT, async {
            // What becomes a tunnel is no connection for anything else.
            let mut dialled = self.dial().await?;
            let sent = dialled.open.sender.send_request(request).await;
            let response = sent.map_err(|error| broken(&error))?;
            Ok::<_, LinkError>((response, dialled.resting, dialled.cut))
        });
        let (mut response, resting, cut) =
            answer.await.map_err(|_| fault("no answer in time"))??;
        if response.status().is_success() {
            let tunnel = hyper::upgrade::on(&mut response).await;
            let tunnel = TokioIo::new(tunnel.map_err(|error| broken(&error))?);
            let (mut head, _) = response.into_parts();
            strip(&mut head.headers);
            return Ok(ConnectReply {
                response: Response::from_parts(head, Bytes::new()),
                tunnel: Some(Box::new(self.tunnel(tunnel, resting, cut))),
            });
        }
        let (mut head, body) = response.into_parts();
        strip(&mut head.headers);
        let body = timeout(DIAL_TIMEOUT, Limited::new(body, BODY_LEN_MAX).collect()).await;
        let body = body.map_err(|_| fault("no answer in time"))?;
        let body = body.map_err(|error| fault(&error.to_string()))?.to_bytes();
        Ok(ConnectReply {
            response: Response::from_parts(head, body),
            tunnel: None,
        })
    }
}

fn fault(reason: &str) -> LinkError {
    LinkError {
        peer: "gateway",
        reason: reason.to_owned(),
    }
}

/// The error with what it was caused by.
fn broken(error: &dyn std::error::Error) -> LinkError {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    fault(&reason)
}
