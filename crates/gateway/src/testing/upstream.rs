//! An upstream that does what the path says, over real TLS on a loopback address.

use std::sync::{Arc, Mutex};

use aims_crypto::SealKey;
use aims_links::{CredentialAsk, CredentialLease};
use aims_model::{RawUpstreamSpec, Upstream};
use aims_types::ambient::SystemEntropy;
use aims_types::{Id, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::World;

/// The credential of every upstream, until it is replaced.
pub(crate) const KEY: &str = "sk-story/0123+abcdefXYZ";

/// A server with a certificate of its own authority.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) ca: String,
    /// Every request, as it came over the wire.
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    /// Lets `/hold` go on.
    pub(crate) go_on: Arc<Notify>,
    ended: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

pub(crate) fn pem(what: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n")
}

/// What a server answers to a path: pieces, each sent on its own.
fn answer(path: &str) -> Vec<Vec<u8>> {
    let whole = |body: &str| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-internal: 7\r\n\
                    set-cookie: a=b\r\nx-request-id: r-1\r\n";
        vec![format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()]
    };
    let streamed = |pieces: &[&str]| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        let chunk = |piece: &&str| format!("{:x}\r\n{piece}\r\n", piece.len()).into_bytes();
        let pieces = pieces.iter().map(chunk);
        let all = std::iter::once(head.as_bytes().to_vec()).chain(pieces);
        all.chain([b"0\r\n\r\n".to_vec()]).collect()
    };
    let plain = |text: &str| vec![text.as_bytes().to_vec()];
    let (front, back) = KEY.split_at(7);
    match path {
        "/v1/stream" => streamed(&["data: one\n\n", "data: two\n\n", "data: [DONE]\n\n"]),
        "/v1/echo/body" => whole(&format!("{{\"key\":\"{KEY}\"}}")),
        "/v1/echo/split" => streamed(&["data: ", front, back, "\n\n"]),
        "/v1/echo/header" => plain(&format!(
            "HTTP/1.1 200 OK\r\nx-request-id: {KEY}\r\ncontent-length: 2\r\n\r\n{{}}"
        )),
        "/v1/redirect" => plain(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: https://evil.example/v1\r\n\
             content-length: 0\r\n\r\n",
        ),
        "/v1/encoded" => {
            plain("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}")
        }
        "/v1/long" => plain("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"),
        "/v1/flood" => streamed(&vec!["x".repeat(1 << 14).as_str(); 256]),
        "/v1/burst" | "/v1/burst/close" => streamed(&["x".repeat(1 << 14).as_str(); 7]),
        "/v1/longer" => streamed(&vec!["x"; 2000]),
        "/v1/denied" => plain(
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\n\
             content-length: 0\r\n\r\n",
        ),
        "/v1/broken" => plain("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf"),
        "/v1/garbage" => plain("SSH-2.0-nothing\r\n\r\n"),
        _ => whole(r#"{"answer":"42"}"#),
    }
}

impl Server {
    /// A server whose certificate names these hosts.
    pub(crate) async fn start(hosts: &[&str]) -> Self {
        let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            ca: pem("CERTIFICATE", made.cert.der()),
            seen: Arc::default(),
            go_on: Arc::default(),
            ended: CancellationToken::new(),
        };
        let (seen, go_on, ended) = (
            Arc::clone(&server.seen),
            Arc::clone(&server.go_on),
            server.ended.clone(),
        );
        let tasks = TaskTracker::new();
        let each = tasks.clone();
        tasks.spawn(ended.run_until_cancelled_owned(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                let (seen, go_on) = (Arc::clone(&seen), Arc::clone(&go_on));
                each.spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = serve(stream, &seen, &go_on).await;
                    }
                });
            }
        }));
        server
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// The description of it as an upstream at this host.
    pub(crate) fn spec(&self, host: &str) -> RawUpstreamSpec {
        let text = format!(
            r#"{{"url":"https://{host}:{}","headers":{{"x-version":"2026-01-01"}},
            "endpoints":[{{"methods":["GET","POST"],"path":"/v1"}}],
            "limits":{{"answer_bytes":1000,"seconds":30}}}}"#,
            self.port
        );
        let raw = aims_json::from_slice(text.as_bytes(), &aims_json::Limits::MESSAGE);
        RawUpstreamSpec {
            ca: Some(self.ca.clone()),
            ..raw.unwrap()
        }
    }
}

/// Reads one request and answers it.
async fn serve(
    mut stream: TlsStream<TcpStream>,
    seen: &Mutex<Vec<String>>,
    go_on: &Notify,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let text = loop {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                break text;
            }
        }
    };
    let path = text.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default().to_owned();
    seen.lock().unwrap().push(text);
    if path == "/v1/silent" {
        go_on.notified().await;
    }
    let held = path == "/v1/hold";
    let pieces = answer(if held { "/v1/stream" } else { &path });
    for (place, piece) in pieces.iter().enumerate() {
        if held && place == 2 {
            go_on.notified().await;
        }
        stream.write_all(piece).await?;
        stream.flush().await?;
    }
    stream.shutdown().await
}

impl World {
    /// Registers `spec` as the upstream `model` with this version of a credential.
    pub(crate) async fn upstream(&self, spec: RawUpstreamSpec, version: u32, key: &str) {
        let upstream = Upstream {
            id: Id::from_u128(70),
            name: "model".parse().unwrap(),
            purpose: "answers".parse().unwrap(),
            spec: spec.try_into().unwrap(),
            version,
            registered_at: super::NOW,
            rotated_at: None,
            retired_at: None,
        };
        self.credential(&upstream, key);
        self.change(|state| state.upstreams = Arc::new(vec![upstream]))
            .await;
    }

    /// What the server hands out from now on for this upstream: sealed for it.
    pub(crate) fn credential(&self, upstream: &Upstream, key: &str) {
        let data_key = Secret::new([7; 32]);
        let seal = SealKey::new(&data_key).unwrap();
        let binding = upstream.binding();
        let sealed = seal.seal(&SystemEntropy, binding.as_bytes(), key.as_bytes());
        let ask = CredentialAsk {
            upstream: upstream.id,
            version: upstream.version,
        };
        let lease = CredentialLease {
            sealed: sealed.unwrap(),
            key: Secret::new(vec![7; 32]),
        };
        *self.control.credentials.lock().unwrap() = vec![(ask, lease)];
    }
}
