//! A trust domain in memory, and agents and tools to try the gateway with.

pub(crate) mod agent;
pub(crate) mod approving;
pub(crate) mod book;
pub(crate) mod control;
pub(crate) mod delegating;
pub(crate) mod members;
pub(crate) mod server;
pub(crate) mod upstream;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aims_authority::Authority;
use aims_crypto::{Alg, Signer, SigningKey, sha256};
use aims_jose::{Jwk, SigningHeader, Thumbprint, sign};
use aims_json::{Limits, parse};
use aims_lease::Terms;
use aims_links::{Applied, Chain, ChainHop, ControlState, Enforce, PrincipalFacts, ShippedRecord};
use aims_model::grant::{CONSENT_TYP, Consent, Delegator, GRANT_TYP, grant_digest};
use aims_model::{
    CutOff, EnrolledKey, Event, Grant, KeyOwner, KeyPurpose, MaterialKey, Person, PolicyVersion,
    Record, Role, ServerSpec, Subject, ToolServer,
};
use aims_types::ambient::SystemEntropy;
use aims_types::{
    self as types, BootTime, Clock, Digest, Id, Revision, Secret, Timestamp, TrustDomain,
};

use crate::testing::control::FakeControl;
use crate::testing::server::Bench;
use crate::{EgressConfig, Gateway, GatewayConfig, GatewayLimits};

pub(crate) const ISSUER: &str = "https://aims.test";
pub(crate) const RESOURCE: &str = "https://gateway.aims.test";
pub(crate) const NOW: Timestamp = Timestamp::from_unix_secs(1_795_000_000);
pub(crate) const POLICY: &str = r#"
@id("tools") permit (principal, action in Action::"call", resource);
@id("egress") permit (principal, action == Action::"connect", resource);
@id("requests") permit (principal, action == Action::"request", resource);
"#;

/// A clock that goes only when told.
#[derive(Debug, Default)]
pub(crate) struct FakeClock(AtomicU64);

impl FakeClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0
            .fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        NOW.plus(Duration::from_millis(self.0.load(Ordering::SeqCst)))
    }

    fn boot(&self) -> BootTime {
        BootTime::from_nanos(self.0.load(Ordering::SeqCst) * 1_000_000)
    }
}

/// Everything around one gateway.
pub(crate) struct World {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) control: Arc<FakeControl>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) bench: Arc<Bench>,
    pub(crate) keys: Keys,
    pub(crate) dir: Arc<tempfile::TempDir>,
    state: Mutex<ControlState>,
}

/// The signing keys of the domain.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) token: Arc<SigningKey>,
    pub(crate) grant: Arc<SigningKey>,
    pub(crate) person: Arc<SigningKey>,
    /// Another person's, who may answer.
    pub(crate) approver: Arc<SigningKey>,
    /// Those of nodes and gateways.
    pub(crate) points: Vec<EnrolledKey>,
}

/// The server, a directory, the time, and the tools.
pub(crate) type Domain = (
    Arc<FakeControl>,
    Arc<tempfile::TempDir>,
    Arc<FakeClock>,
    Arc<Bench>,
);

/// What outlives a gateway.
pub(crate) type Parts = (Keys, Domain);

/// A task with its root grant.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) id: Id<types::Task>,
    pub(crate) grant: Grant,
    pub(crate) jws: String,
    /// The hops above, root first.
    pub(crate) above: Vec<ChainHop>,
    /// The last hop.
    pub(crate) hop: ChainHop,
}

impl Task {
    /// The chain, root first.
    pub(crate) fn hops(&self) -> Vec<ChainHop> {
        [self.above.clone(), vec![self.hop.clone()]].concat()
    }

    /// The digests of the chain's grants, root first.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.hops()
            .iter()
            .map(|hop| grant_digest(&hop.jws))
            .collect()
    }

    /// The agents of the chain, root first.
    pub(crate) fn agents(&self) -> impl Iterator<Item = &types::SpiffeId> {
        let hops = self.above.iter().chain([&self.hop]);
        hops.map(|hop| &hop.delegate.spiffe_id)
    }
}

/// The key of every task's materials.
pub(crate) fn materials() -> MaterialKey {
    MaterialKey::new(Secret::new([3; 32]))
}

pub(crate) fn person() -> Person {
    Person {
        id: Id::from_u128(100),
        name: "alice".parse().unwrap(),
        role: Role::Member,
        enrolled_at: NOW.minus(Duration::from_hours(1)),
        removed_at: None,
    }
}

/// Another person, who may answer.
pub(crate) fn approver() -> Id<types::Person> {
    Id::from_u128(101)
}

pub(crate) fn domain() -> TrustDomain {
    "aims.test".parse().unwrap()
}

pub(crate) fn authority(text: &str) -> Authority {
    Authority::from_value(&parse(text.as_bytes(), &Limits::MESSAGE).unwrap()).unwrap()
}

pub(crate) fn kid(key: &SigningKey) -> String {
    Thumbprint::of(key.public()).to_string()
}

/// How gateways of tests are set up.
pub(crate) fn config(dir: &tempfile::TempDir, limits: GatewayLimits) -> GatewayConfig {
    GatewayConfig {
        id: Id::from_u128(1),
        trust_domain: domain(),
        resource: RESOURCE.to_owned(),
        issuer: ISSUER.to_owned(),
        wal_dir: dir.path().join("wal"),
        stage_dir: dir.path().join("stage"),
        self_exe: "/nonexistent".into(),
        uid_base: None,
        egress: EgressConfig {
            hosts: [("localhost".to_owned(), std::net::Ipv4Addr::LOCALHOST.into())].into(),
        },
        lease: Terms::default(),
        edge: None,
        limits,
        wal: aims_wal::Limits::default(),
    }
}

pub(crate) fn limits() -> GatewayLimits {
    GatewayLimits {
        keep_alive: Duration::from_hours(1),
        ..GatewayLimits::default()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(limits(), POLICY).await
    }

    pub(crate) async fn with(limits: GatewayLimits, policy: &str) -> Self {
        let key = || Arc::new(SigningKey::generate(Alg::Es256).unwrap());
        let keys = Keys {
            token: key(),
            grant: key(),
            person: key(),
            approver: key(),
            points: Vec::new(),
        };
        let control = Arc::new(FakeControl::default());
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let clock = Arc::clone(&control.clock);
        let bench = Arc::new(Bench::default());
        Self::start(limits, policy, keys, (control, dir, clock, bench)).await
    }

    pub(crate) async fn start(
        limits: GatewayLimits,
        policy: &str,
        keys: Keys,
        (control, dir, clock, bench): Domain,
    ) -> Self {
        let config = config(&dir, limits);
        Self::begin(config, policy, keys, (control, dir, clock, bench)).await
    }

    /// Starts a gateway that is set up like this.
    pub(crate) async fn begin(
        config: GatewayConfig,
        policy: &str,
        keys: Keys,
        (control, dir, clock, bench): Domain,
    ) -> Self {
        let ambient: (Arc<dyn Clock>, _) = (clock.clone(), Arc::new(SystemEntropy) as _);
        let gateway = Gateway::start_with(config, control.clone(), ambient, bench.clone())
            .await
            .unwrap();
        let spec = spec();
        let tools = gateway
            .inspect("bench".parse().unwrap(), spec.clone())
            .await
            .unwrap();
        let server = ToolServer {
            id: Id::from_u128(7),
            name: "bench".parse().unwrap(),
            purpose: "tests".parse().unwrap(),
            spec,
            tools,
            registered_at: NOW,
        };
        let state = ControlState {
            revision: Revision::new(10),
            issuer: ISSUER.to_owned(),
            policy: Arc::new(policy_version(policy)),
            servers: Arc::new(vec![server]),
            upstreams: Arc::default(),
            keys: Arc::new(enrolled(&keys)),
            cutoffs: Arc::default(),
            approvals: Arc::default(),
        };
        control.note_revision(state.revision);
        gateway.apply(Arc::new(state.clone())).await.unwrap();
        let world = Self {
            gateway,
            control,
            clock,
            bench,
            keys,
            dir,
            state: Mutex::new(state),
        };
        world.leased().await;
        world
    }

    /// Waits until the gateway holds a lease, so that it decides.
    pub(crate) async fn leased(&self) {
        while self.gateway.revision().is_none() {
            tokio::task::yield_now().await;
        }
    }

    /// Lets time pass; the lease that ends meanwhile is renewed, without what was under way.
    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.leased().await;
    }

    /// What outlives a gateway.
    pub(crate) fn into_parts(self) -> Parts {
        (self.keys, (self.control, self.dir, self.clock, self.bench))
    }

    /// Starts a gateway on what another one left.
    pub(crate) async fn restart((keys, parts): Parts) -> Self {
        Self::start(limits(), POLICY, keys, parts).await
    }

    /// Applies a changed state at the next revision.
    pub(crate) async fn change(&self, change: impl FnOnce(&mut ControlState)) -> Revision {
        self.try_change(change).await.unwrap().revision
    }

    pub(crate) async fn try_change(
        &self,
        change: impl FnOnce(&mut ControlState),
    ) -> Result<Applied, aims_links::EnforceError> {
        let state = {
            let mut state = self.state.lock().unwrap();
            state.revision = state.revision.next();
            change(&mut state);
            self.control.note_revision(state.revision);
            state.clone()
        };
        self.gateway.apply(Arc::new(state)).await
    }

    /// Cuts off a subject at the next revision.
    pub(crate) async fn cut(&self, subject: Subject) -> Revision {
        self.kill(subject).await.revision
    }

    /// The same, with what the gateway says that it ended.
    pub(crate) async fn kill(&self, subject: Subject) -> Applied {
        let applied = self.try_change(|state| {
            let cut = CutOff {
                subject,
                at_or_before: state.revision,
            };
            state.cutoffs = Arc::new([&state.cutoffs[..], &[cut]].concat());
        });
        applied.await.unwrap()
    }

    /// Starts a task with this authority, as the server does.
    pub(crate) fn task(&self, n: u128, authority_text: &str) -> Task {
        let authority = authority(authority_text);
        let consent = Consent {
            person: person().id,
            audience: domain(),
            jti: format!("consent-{n}"),
            issued_at: NOW,
            agent: "notes".parse().unwrap(),
            purpose: "write notes".parse().unwrap(),
            deadline: NOW.plus(Duration::from_hours(2)),
            authority: authority.clone(),
        };
        self.grant(n, &consent, authority)
    }

    pub(crate) fn grant(&self, n: u128, consent: &Consent, authority: Authority) -> Task {
        let header = SigningHeader::new(CONSENT_TYP).kid(kid(&self.keys.person));
        let claims = consent.to_claims().unwrap();
        let consent = sign(&header, &claims, self.keys.person.as_ref()).unwrap();
        let grant = Grant {
            id: Id::from_u128(n),
            issuer: domain(),
            task: Id::from_u128(n),
            purpose: "write notes".parse().unwrap(),
            delegator: Delegator::Person {
                id: person().id,
                name: person().name,
                consent,
            },
            delegate: Id::from_u128(200),
            delegate_spiffe_id: "spiffe://aims.test/agent/notes".parse().unwrap(),
            ancestors: Vec::new(),
            parent: None,
            authority,
            revision: Revision::new(9),
            issued_at: NOW,
            expires_at: NOW.plus(Duration::from_hours(2)),
        };
        self.enter(grant, Vec::new(), "notes")
    }

    /// Signs a grant and lets the server know its chain: `above`, then this.
    pub(crate) fn enter(&self, grant: Grant, above: Vec<ChainHop>, name: &str) -> Task {
        let header = SigningHeader::new(GRANT_TYP).kid(kid(&self.keys.grant));
        let claims = grant.to_claims().unwrap();
        let jws = sign(&header, &claims, self.keys.grant.as_ref()).unwrap();
        let facts = PrincipalFacts {
            id: grant.delegate,
            name: name.parse().unwrap(),
            spiffe_id: grant.delegate_spiffe_id.clone(),
            owner: "alice".parse().unwrap(),
            environment: "production".parse().unwrap(),
        };
        let hop = ChainHop {
            jws: jws.clone(),
            delegate: facts,
        };
        let task = Task {
            id: grant.task,
            grant,
            jws,
            above,
            hop,
        };
        let chain = Chain {
            person: person(),
            hops: task.hops(),
            materials: materials(),
        };
        let mut chains = self.control.chains.lock().unwrap();
        chains.push((grant_digest(&task.jws), chain));
        drop(chains);
        task
    }

    /// All events that are durable in the gateway's own log.
    pub(crate) fn events(&self) -> Vec<Event> {
        let read = |shipped: ShippedRecord| Record::decode(&shipped.record).unwrap().event;
        self.gateway.durable().into_iter().map(read).collect()
    }

    /// The bodies of durable events of a kind, as compact JSON.
    pub(crate) fn bodies(&self, kind: aims_model::EventKind) -> Vec<aims_json::Value> {
        let events = self.events().into_iter().filter(|event| event.kind == kind);
        events.map(|event| event.body.into()).collect()
    }
}

pub(crate) fn spec() -> ServerSpec {
    ServerSpec {
        argv: vec!["/bench".to_owned()],
        env: std::collections::BTreeMap::new(),
        trees: Vec::new(),
        paths: Vec::new(),
        network: false,
    }
}

pub(crate) fn policy_version(text: &str) -> PolicyVersion {
    PolicyVersion {
        id: Id::from_u128(300),
        text: text.to_owned(),
        digest: sha256(text.as_bytes()),
        author: None,
        activated_at: NOW,
    }
}

fn key_of(key: &SigningKey, purpose: KeyPurpose, owner: KeyOwner) -> EnrolledKey {
    EnrolledKey {
        kid: kid(key),
        jwk: Jwk::new(*key.public()).to_value().to_string(),
        purpose,
        owner,
        enrolled_at: NOW.minus(Duration::from_hours(1)),
        retired_at: None,
        certificate: None,
    }
}

/// The enrolled key of a node or gateway.
pub(crate) fn point(key: &SigningKey, owner: KeyOwner) -> EnrolledKey {
    let purpose = match owner {
        KeyOwner::Node(_) => KeyPurpose::Node,
        _ => KeyPurpose::Gateway,
    };
    key_of(key, purpose, owner)
}

fn enrolled(keys: &Keys) -> Vec<EnrolledKey> {
    let mut enrolled = keys.points.clone();
    enrolled.extend([
        key_of(&keys.token, KeyPurpose::Token, KeyOwner::Server),
        key_of(&keys.grant, KeyPurpose::Grant, KeyOwner::Server),
        key_of(
            &keys.person,
            KeyPurpose::Person,
            KeyOwner::Person(person().id),
        ),
        key_of(
            &keys.approver,
            KeyPurpose::Person,
            KeyOwner::Person(approver()),
        ),
    ]);
    enrolled
}
