//! Both ends over real mutual TLS on a loopback address.

mod enrolled;

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use aims_crypto::{Alg, Signer, SigningKey};
use aims_jose::Thumbprint;
use aims_links::{Body, ConnectReply, Endpoint, LinkError};
use aims_types::ambient::SystemClock;
use aims_types::{Clock, Revision, TrustDomain};
use aims_x509::{Bundle, CaCertificate, Serial, Svid, SvidTemplate, Validity};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::poll_fn;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::*;
use crate::limits::BODY_LEN_MAX;

/// A trust domain with its authority.
struct Domain {
    key: SigningKey,
    ca: CaCertificate,
    trust: Arc<Trust>,
    /// What everybody in it was told of keys; each identity that is made is enrolled.
    enrolled: Enrolled,
    kids: Mutex<HashSet<String>>,
}

/// A gateway that does what the path says.
#[derive(Default)]
struct Fake {
    seen: Mutex<Vec<(http::request::Parts, Bytes)>>,
    /// Where the body of `/stream` comes from.
    frames: Mutex<Option<mpsc::Receiver<Result<Bytes, LinkError>>>>,
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn validity() -> Validity {
    let (now, hour) = (SystemClock.now(), Duration::from_hours(1));
    Validity::new(now.minus(hour), now.plus(hour)).unwrap()
}

fn key() -> SigningKey {
    SigningKey::generate(Alg::Es256).unwrap()
}

impl Domain {
    fn new() -> Self {
        let key = key();
        let name: TrustDomain = "aims.test".parse().unwrap();
        let serial = Serial::from_random([1; 16]);
        let ca = CaCertificate::issue(&key, &name, validity(), &serial).unwrap();
        let trust = Arc::new(Trust::new(Bundle::new(vec![ca.clone()]).unwrap()));
        Self {
            key,
            ca,
            trust,
            enrolled: Enrolled::default(),
            kids: Mutex::default(),
        }
    }

    /// A member whose key is enrolled.
    async fn identity(&self, path: &str) -> Arc<Identity> {
        let identity = self.member(path, validity());
        self.kids.lock().unwrap().insert(kid(&identity));
        self.enrol().await;
        identity
    }

    /// A member whose key is not enrolled.
    fn member(&self, path: &str, validity: Validity) -> Arc<Identity> {
        let leaf = key();
        let template = SvidTemplate {
            public: leaf.public(),
            spiffe_id: &self.ca.trust_domain().id(path).unwrap(),
            hosts: &[],
            validity,
            serial: &Serial::from_random([2; 16]),
        };
        let svid = Svid::issue(&self.ca, &self.key, &template).unwrap();
        Arc::new(Identity::new(svid, &self.ca, Arc::new(leaf)).unwrap())
    }

    /// Retires the key of a member; returns when everybody has taken it over.
    async fn retire(&self, identity: &Identity) {
        assert!(self.kids.lock().unwrap().remove(&kid(identity)));
        self.enrol().await;
    }

    async fn enrol(&self) {
        let kids = self.kids.lock().unwrap().clone();
        self.enrolled.replace(Revision::new(1), kids).await;
    }

    /// Serves `endpoint` as the gateway `a`.
    async fn serve(&self, endpoint: Arc<Fake>) -> (Served, String) {
        self.serve_as(endpoint, self.identity("gateway/a").await)
            .await
    }

    async fn serve_as(&self, endpoint: Arc<Fake>, identity: Arc<Identity>) -> (Served, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let acceptor = acceptor(clock(), identity, Arc::clone(&self.trust)).unwrap();
        let served = serve(listener, endpoint, acceptor, self.enrolled.clone());
        (served, address)
    }

    async fn remote(&self, address: &str, path: &str, expected: Expected) -> RemoteEndpoint {
        self.remote_as(address, self.identity(path).await, expected)
    }

    fn remote_as(
        &self,
        address: &str,
        identity: Arc<Identity>,
        expected: Expected,
    ) -> RemoteEndpoint {
        let trust = Arc::clone(&self.trust);
        let connector = connector(clock(), identity, trust, expected).unwrap();
        RemoteEndpoint::new(address, connector, self.enrolled.clone())
    }
}

fn kid(identity: &Identity) -> String {
    Thumbprint::of(identity.svid().public()).to_string()
}

#[async_trait]
impl Endpoint for Fake {
    async fn http(&self, request: Request<Bytes>) -> Result<Response<Body>, LinkError> {
        let path = request.uri().path().to_owned();
        let (head, body) = request.into_parts();
        self.seen.lock().unwrap().push((head, body.clone()));
        if path == "/stream" {
            let mut frames = self.frames.lock().unwrap().take().unwrap();
            let stream = poll_fn(move |cx| frames.poll_recv(cx).map_ok(Frame::data));
            return Ok(Response::new(StreamBody::new(stream).boxed_unsync()));
        }
        let body = Full::new(body).map_err(|never| match never {});
        let response = Response::builder().status(201).header("x-own", "1");
        Ok(response.body(body.boxed_unsync()).unwrap())
    }

    async fn connect(&self, request: Request<()>) -> Result<ConnectReply, LinkError> {
        let target = request.uri().to_string();
        if target != "good.example:443" {
            let mut response = Response::new(Bytes::from("not allowed\n"));
            *response.status_mut() = StatusCode::FORBIDDEN;
            return Ok(ConnectReply {
                response,
                tunnel: None,
            });
        }
        let (ours, theirs) = duplex(1 << 16);
        TaskTracker::new().spawn(async move {
            let (mut read, mut write) = tokio::io::split(ours);
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        Ok(ConnectReply {
            response: Response::new(Bytes::new()),
            tunnel: Some(Box::new(theirs)),
        })
    }
}

fn post(path: &str, body: &'static str) -> Request<Bytes> {
    let request = Request::post(format!("https://gateway.aims.test{path}"));
    let request = request.header("authorization", "DPoP t").header("te", "x");
    request.body(Bytes::from(body)).unwrap()
}

async fn read(response: Response<Body>) -> Result<Bytes, LinkError> {
    Ok(response.into_body().collect().await?.to_bytes())
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent_and_so_does_its_answer() {
    let (domain, fake) = (Domain::new(), Arc::new(Fake::default()));
    let (_served, address) = domain.serve(Arc::clone(&fake)).await;
    let remote = domain.remote(&address, "node/n", any_gateway()).await;
    for body in ["one", "two"] {
        let response = remote.http(post("/mcp/files", body)).await.unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["x-own"], "1");
        assert_eq!(read(response).await.unwrap(), body);
    }
    let seen = fake.seen.lock().unwrap();
    let (head, _) = &seen[0];
    assert_eq!(
        (head.method.as_str(), head.uri.path()),
        ("POST", "/mcp/files")
    );
    assert_eq!(head.headers["authorization"], "DPoP t");
    assert!(!head.headers.contains_key("te") && !head.headers.contains_key("host"));
}

#[tokio::test]
async fn connections_are_used_again_and_their_end_is_no_failure() {
    let (domain, fake) = (Domain::new(), Arc::new(Fake::default()));
    let (served, address) = domain.serve(Arc::clone(&fake)).await;
    let remote = domain.remote(&address, "node/n", any_gateway()).await;
    for _ in 0..3 {
        read(remote.http(post("/", "")).await.unwrap())
            .await
            .unwrap();
    }
    assert_eq!(remote.open(), 1);
    served.end().await;
    let listener = TcpListener::bind(&address).await.unwrap();
    let identity = domain.identity("gateway/a").await;
    let acceptor = acceptor(clock(), identity, Arc::clone(&domain.trust)).unwrap();
    let _again = serve(listener, fake, acceptor, domain.enrolled.clone());
    let response = remote.http(post("/", "after")).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "after");
}

#[tokio::test]
async fn an_answer_comes_as_it_is_made_and_its_error_is_no_regular_end() {
    let (domain, fake) = (Domain::new(), Arc::new(Fake::default()));
    let (sender, receiver) = mpsc::channel(1);
    *fake.frames.lock().unwrap() = Some(receiver);
    let (_served, address) = domain.serve(fake).await;
    let remote = domain.remote(&address, "gateway/b", any_gateway()).await;
    let response = remote.http(post("/stream", "")).await.unwrap();
    let mut body = response.into_body();
    sender.send(Ok(Bytes::from("one"))).await.unwrap();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "one");
    let cut = LinkError {
        peer: "gateway",
        reason: "cut off".to_owned(),
    };
    sender.send(Err(cut)).await.unwrap();
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn who_stops_reading_is_noticed_at_the_other_end() {
    let (domain, fake) = (Domain::new(), Arc::new(Fake::default()));
    let (sender, receiver) = mpsc::channel(1);
    *fake.frames.lock().unwrap() = Some(receiver);
    let (_served, address) = domain.serve(fake).await;
    let remote = domain.remote(&address, "gateway/b", any_gateway()).await;
    let response = remote.http(post("/stream", "")).await.unwrap();
    drop(response);
    sender.closed().await;
}

#[tokio::test]
async fn a_tunnel_carries_bytes_and_a_refusal_its_text() {
    let domain = Domain::new();
    let (_served, address) = domain.serve(Arc::default()).await;
    let remote = domain.remote(&address, "node/n", any_gateway()).await;
    let connect = |target: &str| Request::connect(target).body(()).unwrap();
    let refused = remote.connect(connect("bad.example:443")).await.unwrap();
    assert_eq!(refused.response.status(), StatusCode::FORBIDDEN);
    assert_eq!(refused.response.body(), "not allowed\n");
    let opened = remote.connect(connect("good.example:443")).await.unwrap();
    let mut tunnel = opened.tunnel.unwrap();
    tunnel.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    tunnel.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
}

#[tokio::test]
async fn nobody_else_is_served() {
    let (domain, stranger) = (Domain::new(), Domain::new());
    let fake = Arc::new(Fake::default());
    let (_served, address) = domain.serve(Arc::clone(&fake)).await;
    let trust = |of: &Domain| Arc::clone(&of.trust);
    let settings = Settings {
        clock: clock(),
        alpn: vec![ALPN.to_vec()],
    };
    // No certificate.
    let bare = Connector::new(&settings, None, trust(&domain), any_gateway()).unwrap();
    // One of another authority, which names itself alike.
    let foreign = stranger.identity("node/n").await;
    let foreign = connector(clock(), foreign, trust(&domain), any_gateway()).unwrap();
    // Members of the trust domain that carry nobody's requests.
    let member = async |path| {
        let identity = domain.identity(path).await;
        connector(clock(), identity, trust(&domain), any_gateway()).unwrap()
    };
    let others = [member("agent/notes").await, member("server").await];
    for connector in [bare, foreign].into_iter().chain(others) {
        let remote = RemoteEndpoint::new(&address, connector, domain.enrolled.clone());
        assert!(remote.http(post("/", "")).await.is_err());
    }
    assert!(fake.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn only_the_gateway_that_is_meant_gets_the_request() {
    let (domain, fake) = (Domain::new(), Arc::new(Fake::default()));
    let (_served, address) = domain.serve(Arc::clone(&fake)).await;
    let other = domain.ca.trust_domain().id("gateway/b").unwrap();
    let remote = domain.remote(&address, "gateway/c", other.into()).await;
    assert!(remote.http(post("/", "")).await.is_err());
    assert!(fake.seen.lock().unwrap().is_empty());
    // Nor one that speaks no TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap().to_string();
    let tasks = TaskTracker::new();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    });
    let remote = domain.remote(&plain, "node/n", any_gateway()).await;
    assert!(remote.http(post("/", "")).await.is_err());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_passed_on() {
    let (domain, fake) = (Domain::new(), Arc::new(Fake::default()));
    let (_served, address) = domain.serve(Arc::clone(&fake)).await;
    let remote = domain.remote(&address, "node/n", any_gateway()).await;
    let long = Bytes::from(vec![b'x'; BODY_LEN_MAX + 1]);
    let request = Request::post("/mcp/files").body(long).unwrap();
    // Either the refusal arrives, or the connection ended before it could be read.
    if let Ok(response) = remote.http(request).await {
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert!(fake.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn who_is_silent_ends_nothing_for_others_and_is_ended() {
    let domain = Domain::new();
    let (served, address) = domain.serve(Arc::default()).await;
    let mut silent = TcpStream::connect(&address).await.unwrap();
    let remote = domain.remote(&address, "node/n", any_gateway()).await;
    assert!(remote.http(post("/", "")).await.is_ok());
    let ended = tokio::time::timeout(Duration::from_mins(1), served.end());
    ended.await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
}
