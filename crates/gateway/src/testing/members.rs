//! Several gateways of one trust domain, which reach each other over mutual TLS.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aims_crypto::{Alg, Signer, SigningKey};
use aims_edge::{Enrolled, Served};
use aims_model::KeyOwner;
use aims_tls::{Identity, Trust};
use aims_types::{Clock, Gateway, Id, Revision};
use aims_x509::{Bundle, CaCertificate, Serial, Svid, SvidTemplate, Validity};
use tokio::net::TcpListener;

use super::book::Book;
use super::control::FakeControl;
use super::server::Bench;
use super::{FakeClock, Keys, NOW, POLICY, World, config, domain, limits, point};
use crate::{EdgeConfig, GatewayConfig, GatewayLimits};

/// Two gateways and what they share.
pub(crate) struct Members {
    pub(crate) control: Arc<FakeControl>,
    pub(crate) clock: Arc<FakeClock>,
    keys: Keys,
    ca: CaCertificate,
    ca_key: SigningKey,
    trust: Arc<Trust>,
    /// The keys of its nodes and gateways, by the path of each.
    leaves: HashMap<String, Arc<SigningKey>>,
}

/// One of them, and where others reach it.
pub(crate) struct Member {
    pub(crate) world: World,
    pub(crate) address: String,
    served: Served,
}

pub(crate) const A: Id<Gateway> = Id::from_u128(1);
pub(crate) const B: Id<Gateway> = Id::from_u128(2);
/// The path of a node.
pub(crate) const NODE: &str = "node/nod_1";

impl Member {
    /// Hands everything over and ends, so that its directory is free.
    pub(crate) async fn end(self) -> Arc<tempfile::TempDir> {
        assert!(self.world.gateway.drain(Duration::from_secs(30)).await);
        self.served.end().await;
        self.world.dir
    }
}

impl Members {
    pub(crate) fn new() -> Self {
        let key = || Arc::new(SigningKey::generate(Alg::Es256).unwrap());
        let owners = [
            (format!("gateway/{A}"), KeyOwner::Gateway(A)),
            (format!("gateway/{B}"), KeyOwner::Gateway(B)),
            (NODE.to_owned(), KeyOwner::Node(Id::from_u128(1))),
        ];
        let leaves: HashMap<_, _> = owners
            .iter()
            .map(|(path, _)| (path.clone(), key()))
            .collect();
        let points = owners
            .iter()
            .map(|(path, owner)| point(&leaves[path], *owner));
        let keys = Keys {
            token: key(),
            grant: key(),
            person: key(),
            approver: key(),
            points: points.collect(),
        };
        let control = Arc::new(FakeControl::default());
        *control.book.lock().unwrap() = Some(Book::default());
        let ca_key = SigningKey::generate(Alg::Es256).unwrap();
        let serial = Serial::from_random([1; 16]);
        let ca = CaCertificate::issue(&ca_key, &domain(), validity(), &serial).unwrap();
        let trust = Arc::new(Trust::new(Bundle::new(vec![ca.clone()]).unwrap()));
        Self {
            clock: Arc::clone(&control.clock),
            control,
            keys,
            ca,
            ca_key,
            trust,
            leaves,
        }
    }

    /// Starts a gateway and offers it to the others.
    pub(crate) async fn start(&self, id: Id<Gateway>) -> Member {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        self.start_in(id, dir).await
    }

    /// Starts it on what it left in a directory.
    pub(crate) async fn start_in(&self, id: Id<Gateway>, dir: Arc<tempfile::TempDir>) -> Member {
        self.start_with(id, dir, limits()).await
    }

    pub(crate) async fn start_with(
        &self,
        id: Id<Gateway>,
        dir: Arc<tempfile::TempDir>,
        limits: GatewayLimits,
    ) -> Member {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let identity = self.identity(&format!("gateway/{id}"));
        let edge = EdgeConfig {
            address: address.clone(),
            identity: Arc::clone(&identity),
            trust: Arc::clone(&self.trust),
            enrolled: Enrolled::default(),
        };
        let enrolled = edge.enrolled.clone();
        let config = GatewayConfig {
            id,
            edge: Some(edge),
            ..config(&dir, limits)
        };
        let control = Arc::clone(&self.control);
        let parts = (
            control,
            dir,
            Arc::clone(&self.clock),
            Arc::new(Bench::default()),
        );
        let world = World::begin(config, POLICY, self.keys.clone(), parts).await;
        let clock: Arc<dyn Clock> = self.clock.clone();
        let acceptor = aims_edge::acceptor(clock, identity, Arc::clone(&self.trust)).unwrap();
        let served = aims_edge::serve(listener, world.gateway.clone(), acceptor, enrolled);
        Member {
            world,
            address,
            served,
        }
    }

    pub(crate) fn identity(&self, path: &str) -> Arc<Identity> {
        let leaf = Arc::clone(&self.leaves[path]);
        let template = SvidTemplate {
            public: leaf.public(),
            spiffe_id: &domain().id(path).unwrap(),
            hosts: &[],
            validity: validity(),
            serial: &Serial::from_random([2; 16]),
        };
        let svid = Svid::issue(&self.ca, &self.ca_key, &template).unwrap();
        Arc::new(Identity::new(svid, &self.ca, leaf).unwrap())
    }

    /// The keys that count, for who dials one of them.
    pub(crate) async fn enrolled(&self) -> Enrolled {
        let enrolled = Enrolled::default();
        let keys = crate::points::enrolled(&self.keys.points);
        enrolled.replace(Revision::ZERO, keys).await;
        enrolled
    }

    pub(crate) fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.trust)
    }

    /// What the server knows of leases and owners.
    pub(crate) fn book<T>(&self, with: impl FnOnce(&mut Book) -> T) -> T {
        with(self.control.book.lock().unwrap().as_mut().unwrap())
    }

    /// Cuts the link of a gateway for longer than its lease.
    pub(crate) fn isolate(&self, gateway: Id<Gateway>) {
        self.book(|book| book.cut.insert(gateway));
        self.clock.advance(Duration::from_secs(6));
    }

    pub(crate) fn rejoin(&self, gateway: Id<Gateway>) {
        self.book(|book| book.cut.remove(&gateway));
    }
}

fn validity() -> Validity {
    let hours = Duration::from_hours(5);
    Validity::new(NOW.minus(hours), NOW.plus(hours)).unwrap()
}
