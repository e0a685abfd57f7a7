//! Agents that run elsewhere and read slowly: what waits for them over a connection when it is cut.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use aims_edge::{Served, serve_agents};
use aims_links::Endpoint;
use aims_model::{RawUpstreamSpec, Subject};
use aims_tls::{Settings, WebAcceptor};
use aims_types::Id;
use bytes::Bytes;
use http::Request;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::elsewhere::{face, renewed};
use super::upstreams::{AUTHORITY, outcomes, request};
use crate::Agents;
use crate::testing::World;
use crate::testing::agent::Agent;
use crate::testing::upstream::{KEY, Server, pem};

/// What the system of a reader is asked to hold for it, in bytes; it takes twice that.
const RECEIVED_MAX: u32 = 4 << 10;
/// The most that it holds, with what it reckons for its own records.
const HELD_MAX: usize = 32 << 10;

/// A gateway that serves agents elsewhere, and an upstream behind it.
struct Elsewhere {
    world: World,
    face: Arc<Agents>,
    address: SocketAddr,
    shown: CertificateDer<'static>,
    _served: Served,
    _upstream: Server,
}

impl Elsewhere {
    async fn new() -> Self {
        let (world, upstream) = (World::new().await, Server::start(&["localhost"]).await);
        let mut spec: RawUpstreamSpec = upstream.spec("localhost");
        spec.limits.answer_bytes = Some(16 << 20);
        world.upstream(spec, 1, KEY).await;
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let settings = Settings {
            clock: world.clock.clone(),
            alpn: Vec::new(),
        };
        let chain = pem("CERTIFICATE", made.cert.der());
        let key = pem("PRIVATE KEY", &made.signing_key.serialize_der());
        let acceptor = WebAcceptor::from_pem(&settings, chain.as_bytes(), key.as_bytes()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let face = Arc::new(face(&world));
        let endpoint: Arc<dyn Endpoint> = face.clone();
        Self {
            world,
            face,
            address,
            shown: made.cert.der().clone(),
            _served: serve_agents(listener, endpoint, acceptor),
            _upstream: upstream,
        }
    }

    /// A connection of a reader whose system holds little for it.
    async fn connect(&self) -> TlsStream<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVED_MAX).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.shown.clone()).unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.unwrap()
    }

    async fn nonce(&self) -> String {
        let bare = Request::get("/mcp/bench").body(Bytes::new()).unwrap();
        let answer = self.face.http(bare).await.unwrap();
        answer.headers()["dpop-nonce"].to_str().unwrap().to_owned()
    }

    /// Asks for what is at this path, and reads the first part of the answer, which it gives.
    async fn ask(
        &self,
        stream: &mut TlsStream<TcpStream>,
        agent: &Agent<'_>,
        path: &str,
    ) -> String {
        let request = renewed(agent, request(agent, "GET", path, ""), &self.nonce().await);
        let mut text = format!("GET {path} HTTP/1.1\r\n");
        for (name, value) in request.headers() {
            write!(text, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
        }
        // It is closed when all of the answer is with the system, which is not yet with the reader.
        text.push_str(if path.ends_with("close") {
            "connection: close\r\n\r\n"
        } else {
            "\r\n"
        });
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut begun = String::new();
        while begun.len() < 1000 && !begun.ends_with("\r\n0\r\n\r\n") {
            let mut piece = [0; 256];
            let read = stream.read(&mut piece).await.unwrap();
            assert!(read > 0, "{begun}");
            begun.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
        assert!(begun.starts_with("HTTP/1.1 200"), "{begun}");
        begun
    }
}

/// How many bytes there are still to be read until the connection is over, and whether it was
/// reset.
async fn rest(stream: TlsStream<TcpStream>) -> (usize, bool) {
    let (mut stream, _) = stream.into_inner();
    let (mut piece, mut count) = (vec![0; 1 << 16], 0);
    loop {
        match stream.read(&mut piece).await {
            Ok(0) => return (count, false),
            Ok(read) => count += read,
            Err(_) => return (count, true),
        }
    }
}

#[tokio::test]
async fn what_waits_for_a_slow_reader_elsewhere_is_never_read_after_the_cut() {
    for path in ["flood", "burst", "burst/close"] {
        let path = &format!("/http/model/v1/{path}");
        for n in 1..=3 {
            let elsewhere = Elsewhere::new().await;
            let world = &elsewhere.world;
            let task = world.task(1, AUTHORITY);
            let agent = Agent::new(world, &task, 1);
            let subject = match n {
                1 => Subject::Task(task.id),
                2 => Subject::Policy(Id::from_u128(300)),
                _ => Subject::Key(agent.token.common.jkt.to_string()),
            };
            let mut stream = elsewhere.connect().await;
            elsewhere.ask(&mut stream, &agent, path).await;
            if path.contains("burst") {
                // For the gateway the answer is over.
                assert_eq!(outcomes(world, 1).await, ["ok"]);
            }
            world.cut(subject.clone()).await;
            let (read, is_reset) = rest(stream).await;
            assert!(is_reset && read < HELD_MAX, "{path} {subject:?}: {read}");
        }
    }
}

#[tokio::test]
async fn the_cut_of_another_task_resets_no_connection_elsewhere() {
    let elsewhere = Elsewhere::new().await;
    let world = &elsewhere.world;
    let (mine, other) = (world.task(1, AUTHORITY), world.task(2, AUTHORITY));
    let (agent, before) = (Agent::new(world, &mine, 1), Agent::new(world, &other, 2));
    let mut streams = [elsewhere.connect().await, elsewhere.connect().await];
    elsewhere
        .ask(&mut streams[0], &agent, "/http/model/v1/flood")
        .await;
    elsewhere
        .ask(&mut streams[1], &before, "/http/model/v1/burst")
        .await;
    world.cut(Subject::Task(other.id)).await;
    let [goes_on, ends] = streams;
    assert!(rest(ends).await.1);
    let mut read = 0;
    let (mut goes_on, mut piece) = (goes_on, vec![0; 1 << 16]);
    while read < 4 << 20 {
        read += goes_on.read(&mut piece).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_over_which_two_callers_were_answered_ends_with_the_second_answer() {
    let elsewhere = Elsewhere::new().await;
    let world = &elsewhere.world;
    let (one, two) = (world.task(1, AUTHORITY), world.task(2, AUTHORITY));
    let (first, second) = (Agent::new(world, &one, 1), Agent::new(world, &two, 2));
    let mut stream = elsewhere.connect().await;
    for (agent, closes) in [(&first, false), (&first, false), (&second, true)] {
        let answer = elsewhere.ask(&mut stream, agent, "/http/model/v1/x").await;
        assert_eq!(answer.contains("connection: close"), closes, "{answer}");
    }
    assert_eq!(rest(stream).await.0, 0);
}
