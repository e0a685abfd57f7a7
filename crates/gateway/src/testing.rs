//! A trust domain in memory, and agents and tools to try the gateway with.

pub(crate) mod agent;
pub(crate) mod server;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aims_authority::Authority;
use aims_crypto::{Alg, Signer, SigningKey, sha256};
use aims_jose::{Jwk, SigningHeader, Thumbprint, sign};
use aims_json::{Limits, parse};
use aims_links::{
    Attestation, Chain, ChainHop, Control, ControlState, EndedInstance, Enforce, InstanceGrant,
    LaunchOrder, LinkError, PrincipalFacts, Refusal, RequestedRun, ShippedRecord, TokenCall,
    TokenReply,
};
use aims_model::grant::{CONSENT_TYP, Consent, Delegator, GRANT_TYP, grant_digest};
use aims_model::{
    CutOff, EnrolledKey, Event, Evidence, Grant, KeyOwner, KeyPurpose, Person, PolicyVersion,
    Record, Role, ServerSpec, Subject, ToolServer,
};
use aims_types::ambient::SystemEntropy;
use aims_types::{self as types, BootTime, Clock, Digest, Id, Revision, Timestamp, TrustDomain};
use async_trait::async_trait;

use crate::testing::server::Bench;
use crate::{EgressConfig, Gateway, GatewayConfig, GatewayLimits};

pub(crate) const ISSUER: &str = "https://aims.test";
pub(crate) const RESOURCE: &str = "https://gateway.aims.test";
pub(crate) const NOW: Timestamp = Timestamp::from_unix_secs(1_795_000_000);
pub(crate) const POLICY: &str = r#"
@id("tools") permit (principal, action in Action::"call", resource);
@id("egress") permit (principal, action == Action::"connect", resource);
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

/// The server: one chain, and the records it was handed.
pub(crate) struct FakeControl {
    pub(crate) chains: Mutex<Vec<(Digest, Chain)>>,
    pub(crate) records: Mutex<Vec<Vec<u8>>>,
    pub(crate) down: std::sync::atomic::AtomicBool,
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
}

/// What outlives a gateway.
pub(crate) type Parts = (
    Keys,
    (
        Arc<FakeControl>,
        Arc<tempfile::TempDir>,
        Arc<FakeClock>,
        Arc<Bench>,
    ),
);

/// A task with its root grant.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) id: Id<types::Task>,
    pub(crate) grant: Grant,
    pub(crate) jws: String,
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

pub(crate) fn domain() -> TrustDomain {
    "aims.test".parse().unwrap()
}

pub(crate) fn authority(text: &str) -> Authority {
    Authority::from_value(&parse(text.as_bytes(), &Limits::MESSAGE).unwrap()).unwrap()
}

pub(crate) fn kid(key: &SigningKey) -> String {
    Thumbprint::of(key.public()).to_string()
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
        };
        let control = Arc::new(FakeControl {
            chains: Mutex::default(),
            records: Mutex::default(),
            down: false.into(),
        });
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let clock = Arc::new(FakeClock::default());
        let bench = Arc::new(Bench::default());
        Self::start(limits, policy, keys, (control, dir, clock, bench)).await
    }

    pub(crate) async fn start(
        limits: GatewayLimits,
        policy: &str,
        keys: Keys,
        (control, dir, clock, bench): (
            Arc<FakeControl>,
            Arc<tempfile::TempDir>,
            Arc<FakeClock>,
            Arc<Bench>,
        ),
    ) -> Self {
        let config = GatewayConfig {
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
            limits,
            wal: aims_wal::Limits::default(),
        };
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
            keys: Arc::new(enrolled(&keys)),
            cutoffs: Arc::default(),
        };
        gateway.apply(Arc::new(state.clone())).await.unwrap();
        Self {
            gateway,
            control,
            clock,
            bench,
            keys,
            dir,
            state: Mutex::new(state),
        }
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
        self.try_change(change).await.unwrap()
    }

    pub(crate) async fn try_change(
        &self,
        change: impl FnOnce(&mut ControlState),
    ) -> Result<Revision, aims_links::EnforceError> {
        let state = {
            let mut state = self.state.lock().unwrap();
            state.revision = state.revision.next();
            change(&mut state);
            state.clone()
        };
        self.gateway.apply(Arc::new(state)).await
    }

    /// Cuts off a subject at the next revision.
    pub(crate) async fn cut(&self, subject: Subject) -> Revision {
        self.change(|state| {
            let cut = CutOff {
                subject,
                at_or_before: state.revision,
            };
            state.cutoffs = Arc::new([&state.cutoffs[..], &[cut]].concat());
        })
        .await
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
        let header = SigningHeader::new(GRANT_TYP).kid(kid(&self.keys.grant));
        let jws = sign(
            &header,
            &grant.to_claims().unwrap(),
            self.keys.grant.as_ref(),
        )
        .unwrap();
        let facts = PrincipalFacts {
            id: grant.delegate,
            name: "notes".parse().unwrap(),
            spiffe_id: grant.delegate_spiffe_id.clone(),
            owner: "alice".parse().unwrap(),
            environment: "production".parse().unwrap(),
        };
        let hops = vec![ChainHop {
            jws: jws.clone(),
            delegate: facts,
        }];
        let chain = Chain {
            person: person(),
            hops,
        };
        self.control
            .chains
            .lock()
            .unwrap()
            .push((grant_digest(&jws), chain));
        Task {
            id: grant.task,
            grant,
            jws,
        }
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

fn enrolled(keys: &Keys) -> Vec<EnrolledKey> {
    let key = |key: &SigningKey, purpose, owner| EnrolledKey {
        kid: kid(key),
        jwk: Jwk::new(*key.public()).to_value().to_string(),
        purpose,
        owner,
        enrolled_at: NOW.minus(Duration::from_hours(1)),
        retired_at: None,
    };
    vec![
        key(&keys.token, KeyPurpose::Token, KeyOwner::Server),
        key(&keys.grant, KeyPurpose::Grant, KeyOwner::Server),
        key(
            &keys.person,
            KeyPurpose::Person,
            KeyOwner::Person(person().id),
        ),
    ]
}

fn unused<T>() -> Result<T, LinkError> {
    Err(LinkError {
        peer: "server",
        reason: "the gateway does not ask this".to_owned(),
    })
}

#[async_trait]
impl Control for FakeControl {
    async fn run_redeem(&self, _: RequestedRun) -> Result<Result<LaunchOrder, Refusal>, LinkError> {
        unused()
    }

    async fn run_refused(
        &self,
        _: Id<types::Node>,
        _: Id<types::Run>,
        _: Refusal,
    ) -> Result<(), LinkError> {
        unused()
    }

    async fn instance_attest(
        &self,
        _: Attestation,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        unused()
    }

    async fn instance_renew(
        &self,
        _: Id<types::Node>,
        _: Id<types::Instance>,
        _: Evidence,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        unused()
    }

    async fn instance_ended(&self, _: EndedInstance) -> Result<(), LinkError> {
        unused()
    }

    async fn token(&self, _: TokenCall) -> Result<TokenReply, LinkError> {
        unused()
    }

    async fn chain(&self, leaf: Digest) -> Result<Option<Chain>, LinkError> {
        let chains = self.chains.lock().unwrap();
        Ok(chains
            .iter()
            .find(|(digest, _)| *digest == leaf)
            .map(|(_, chain)| chain.clone()))
    }

    async fn records_ship(
        &self,
        _: Id<types::Gateway>,
        shipped: Vec<ShippedRecord>,
    ) -> Result<u64, LinkError> {
        if self.down.load(Ordering::SeqCst) {
            return unused();
        }
        let mut records = self.records.lock().unwrap();
        for record in shipped {
            assert_eq!(
                record.seq,
                records.len() as u64 + 1,
                "no gap, nothing twice"
            );
            records.push(record.record);
        }
        Ok(records.len() as u64)
    }

    async fn records_head(&self, _: Id<types::Gateway>) -> Result<u64, LinkError> {
        if self.down.load(Ordering::SeqCst) {
            return unused();
        }
        Ok(self.records.lock().unwrap().len() as u64)
    }
}
