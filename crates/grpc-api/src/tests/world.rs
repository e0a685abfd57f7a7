//! A trust domain whose server serves fakes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aims_crypto::{Alg, Signer, SigningKey};
use aims_links::{Admit, Enforce, JoinAsk, Joined, LinkError, Refusal, Svid, Vouch};
use aims_model::{Point, PointKind};
use aims_tls::{Acceptor, ClientAuth, Connector, Expected, Identity, Settings, Trust};
use aims_types::{BootTime, Clock, Id, Revision, Timestamp, TrustDomain};
use aims_x509::{Bundle, CaCertificate, Serial, SvidTemplate, Validity};
use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;

use super::asked::FakeControl;
use super::rich;
use crate::dial::dial;
use crate::{Links, ServeError, serve};

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const DAY: u64 = 86_400;
pub(super) const TOKEN: &str = "aims_jt_good";

/// A clock that tests set, in milliseconds.
pub(super) struct TestClock(pub(super) AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }

    fn boot(&self) -> BootTime {
        BootTime::from_nanos(0)
    }
}

/// Something that linked itself.
pub(super) enum Linked {
    Gateway(Point, Arc<dyn Enforce>),
    Node(Point, Arc<dyn Vouch>),
}

pub(super) struct FakeAdmit {
    retired: Mutex<HashSet<Point>>,
    linked: mpsc::UnboundedSender<Linked>,
    /// What was asked of it.
    pub(super) asked: Mutex<Vec<String>>,
}

pub(super) struct World {
    key: SigningKey,
    pub(super) ca: CaCertificate,
    pub(super) clock: Arc<TestClock>,
    pub(super) address: String,
    pub(super) admit: Arc<FakeAdmit>,
    pub(super) control: Arc<FakeControl>,
    pub(super) linked: AsyncMutex<mpsc::UnboundedReceiver<Linked>>,
    pub(super) stopping: CancellationToken,
    pub(super) served: Mutex<Option<tokio::task::JoinHandle<Result<(), ServeError>>>>,
    pub(super) tasks: TaskTracker,
}

pub(super) fn node() -> Point {
    Point::Node(Id::from_u128(11))
}

pub(super) fn gateway() -> Point {
    Point::Gateway(Id::from_u128(12))
}

pub(super) fn path_of(point: Point) -> String {
    format!("{}/{point}", point.kind().as_str())
}

impl World {
    pub(super) async fn start() -> Self {
        let key = SigningKey::generate(Alg::Es256).unwrap();
        let domain: TrustDomain = "aims.test".parse().unwrap();
        let at = |secs| Timestamp::from_unix_secs(secs);
        let validity = Validity::new(at(NOW - 30 * DAY), at(NOW + 365 * DAY)).unwrap();
        let serial = Serial::from_random([1; 16]);
        let ca = CaCertificate::issue(&key, &domain, validity, &serial).unwrap();
        let (sender, linked) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = Self {
            key,
            ca,
            clock: Arc::new(TestClock(AtomicU64::new(NOW * 1000))),
            address: listener.local_addr().unwrap().to_string(),
            admit: Arc::new(FakeAdmit {
                retired: Mutex::default(),
                linked: sender,
                asked: Mutex::default(),
            }),
            control: Arc::default(),
            linked: AsyncMutex::new(linked),
            stopping: CancellationToken::new(),
            served: Mutex::default(),
            tasks: TaskTracker::new(),
        };
        let acceptor = Acceptor::new(
            &world.settings(),
            world.identity("server"),
            world.trust(),
            ClientAuth::Optional,
        );
        let parts = (
            Arc::clone(&world.control) as _,
            Arc::clone(&world.admit) as _,
            Arc::clone(&world.control) as _,
        );
        let serving = serve(listener, acceptor.unwrap(), parts, world.stopping.clone());
        *world.served.lock().unwrap() = Some(world.tasks.spawn(serving));
        world
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            clock: Arc::clone(&self.clock) as _,
            alpn: vec![b"h2".to_vec()],
        }
    }

    /// The server's certificate lives longer than those of its peers.
    fn identity(&self, path: &str) -> Arc<Identity> {
        let signer = Arc::new(SigningKey::generate(Alg::Es256).unwrap());
        let days = if path == "server" { 30 } else { 1 };
        let svid = self.svid(path, signer.as_ref(), days);
        Arc::new(Identity::new(svid, &self.ca, signer).unwrap())
    }

    /// A certificate that lives for some days from [`NOW`] on.
    pub(super) fn svid(&self, path: &str, signer: &SigningKey, days: u64) -> aims_x509::Svid {
        let at = |secs| Timestamp::from_unix_secs(secs);
        let template = SvidTemplate {
            public: signer.public(),
            spiffe_id: &self.ca.trust_domain().id(path).unwrap(),
            hosts: &[],
            validity: Validity::new(at(NOW - DAY), at(NOW + days * DAY)).unwrap(),
            serial: &Serial::from_random([2; 16]),
        };
        aims_x509::Svid::issue(&self.ca, &self.key, &template).unwrap()
    }

    fn trust(&self) -> Arc<Trust> {
        Arc::new(Trust::new(Bundle::new(vec![self.ca.clone()]).unwrap()))
    }

    fn connector(&self, identity: Option<Arc<Identity>>) -> Connector {
        let server = self.ca.trust_domain().id("server").unwrap();
        let expected = Expected::from(server);
        Connector::new(&self.settings(), identity, self.trust(), expected).unwrap()
    }

    /// A channel to the server as whoever has this path, or as nobody.
    pub(super) fn channel(&self, path: Option<&str>) -> Channel {
        let identity = path.map(|path| self.identity(path));
        dial(&self.address, self.connector(identity))
    }

    pub(super) fn links(&self, point: Point) -> Links {
        self.links_as(self.identity(&path_of(point)))
    }

    pub(super) fn links_as(&self, identity: Arc<Identity>) -> Links {
        Links::new(&self.address, self.connector(Some(identity)))
    }

    pub(super) fn retire(&self, point: Point) {
        self.admit.retired.lock().unwrap().insert(point);
    }

    pub(super) fn enrol_again(&self, point: Point) {
        self.admit.retired.lock().unwrap().remove(&point);
    }

    /// The gateway that is linked next.
    pub(super) async fn next_gateway(&self) -> Arc<dyn Enforce> {
        match self.linked.lock().await.recv().await.unwrap() {
            Linked::Gateway(point, link) if point == gateway() => link,
            _ => panic!("somebody else was linked"),
        }
    }

    /// The node that is linked next.
    pub(super) async fn next_node(&self) -> Arc<dyn Vouch> {
        match self.linked.lock().await.recv().await.unwrap() {
            Linked::Node(point, link) if point == node() => link,
            _ => panic!("somebody else was linked"),
        }
    }
}

#[async_trait]
impl Admit for FakeAdmit {
    async fn join(&self, ask: JoinAsk) -> Result<Result<Joined, Refusal>, LinkError> {
        if ask.token.expose() != TOKEN {
            return Ok(Err(rich::refusal()));
        }
        let point = match ask.kind {
            PointKind::Node => node(),
            PointKind::Gateway => gateway(),
        };
        self.asked
            .lock()
            .unwrap()
            .push(format!("{:?} {}", ask.csr, ask.host));
        Ok(Ok(rich::joined(point)))
    }

    async fn svid_renew(
        &self,
        point: Point,
        csr: Vec<u8>,
    ) -> Result<Result<Svid, Refusal>, LinkError> {
        self.asked.lock().unwrap().push(format!("{point} {csr:?}"));
        Ok(Ok(rich::svid()))
    }

    async fn is_enrolled(&self, point: Point, kid: &str) -> Result<bool, LinkError> {
        assert_eq!(kid.len(), 43, "a thumbprint");
        Ok(!self.retired.lock().unwrap().contains(&point))
    }

    async fn attach_gateway(
        &self,
        point: Point,
        link: Arc<dyn Enforce>,
    ) -> Result<Result<Revision, Refusal>, LinkError> {
        drop(self.linked.send(Linked::Gateway(point, link)));
        Ok(Ok(Revision::new(1)))
    }

    async fn attach_node(
        &self,
        point: Point,
        link: Arc<dyn Vouch>,
    ) -> Result<Result<Revision, Refusal>, LinkError> {
        drop(self.linked.send(Linked::Node(point, link)));
        Ok(Ok(Revision::new(1)))
    }
}
