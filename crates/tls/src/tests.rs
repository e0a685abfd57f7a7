//! Handshakes between members of a trust domain and everybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aims_crypto::{Alg, Signer, SigningKey};
use aims_types::{BootTime, Clock, Timestamp, TrustDomain};
use aims_x509::{Bundle, CaCertificate, Serial, Svid, SvidTemplate, Validity};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{client, server};

use crate::{
    Acceptor, ClientAuth, Connector, Expected, HandshakeError, Identity, PeerId, Settings, Trust,
};

mod joining;
mod mutual;
mod ordinary;
mod refused;
mod web;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;
const ALPN: &[u8] = b"h2";
/// Octets on their way from one end of a test's connection to the other.
const PIPE_LEN: usize = 64 * 1024;

/// A clock that tests set.
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_secs(self.0.load(Ordering::SeqCst))
    }

    fn boot(&self) -> BootTime {
        BootTime::from_nanos(0)
    }
}

/// A trust domain: its authority, and a clock for its members.
struct Domain {
    key: SigningKey,
    ca: CaCertificate,
    clock: Arc<TestClock>,
}

fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(Alg::Es256).unwrap())
}

fn days(before: u64, after: u64) -> Validity {
    let at = Timestamp::from_unix_secs;
    Validity::new(at(NOW - before * DAY), at(NOW + after * DAY)).unwrap()
}

impl Domain {
    fn new(name: &str) -> Self {
        let key = SigningKey::generate(Alg::Es256).unwrap();
        let domain: TrustDomain = name.parse().unwrap();
        let serial = Serial::from_random([1; 16]);
        let ca = CaCertificate::issue(&key, &domain, days(30, 365), &serial).unwrap();
        let clock = Arc::new(TestClock(AtomicU64::new(NOW)));
        Self { key, ca, clock }
    }

    fn at(&self, secs: u64) {
        self.clock.0.store(secs, Ordering::SeqCst);
    }

    fn svid(&self, path: &str, signer: &SigningKey, validity: Validity) -> Svid {
        let template = SvidTemplate {
            public: signer.public(),
            spiffe_id: &self.ca.trust_domain().id(path).unwrap(),
            hosts: &["localhost".to_owned(), "127.0.0.1".to_owned()],
            validity,
            serial: &Serial::from_random([2; 16]),
        };
        Svid::issue(&self.ca, &self.key, &template).unwrap()
    }

    fn identity(&self, path: &str) -> Arc<Identity> {
        let signer = key();
        let svid = self.svid(path, &signer, days(1, 1));
        Arc::new(Identity::new(svid, &self.ca, signer).unwrap())
    }

    fn trust(&self) -> Arc<Trust> {
        Arc::new(Trust::new(Bundle::new(vec![self.ca.clone()]).unwrap()))
    }

    fn settings(&self) -> Settings {
        Settings {
            clock: self.clock.clone(),
            alpn: vec![ALPN.to_vec()],
        }
    }

    fn acceptor(&self, path: &str, auth: ClientAuth) -> Acceptor {
        let identity = self.identity(path);
        Acceptor::new(&self.settings(), identity, self.trust(), auth).unwrap()
    }

    fn connector(&self, path: Option<&str>, expected: &str) -> Connector {
        let identity = path.map(|path| self.identity(path));
        let expected = Expected::Id(self.ca.trust_domain().id(expected).unwrap());
        Connector::new(&self.settings(), identity, self.trust(), expected).unwrap()
    }
}

type Accepted = Result<(server::TlsStream<DuplexStream>, Option<PeerId>), HandshakeError>;
type Connected = Result<(client::TlsStream<DuplexStream>, PeerId), HandshakeError>;

/// Both ends of one handshake.
async fn shake(acceptor: &Acceptor, connector: &Connector) -> (Accepted, Connected) {
    let (near, far) = duplex(PIPE_LEN);
    tokio::join!(acceptor.accept(near), connector.connect(far))
}

/// What the acceptor and the connector say of each other, as texts.
async fn outcome(acceptor: &Acceptor, connector: &Connector) -> (String, String) {
    let (accepted, connected) = shake(acceptor, connector).await;
    (
        match accepted {
            Ok((_, peer)) => peer.map_or("nobody".into(), |peer| peer.spiffe_id().to_string()),
            Err(error) => error.to_string(),
        },
        match connected {
            Ok((_, peer)) => peer.spiffe_id().to_string(),
            Err(error) => error.to_string(),
        },
    )
}
