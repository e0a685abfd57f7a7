//! A control plane with people, an agent, a tool server, a node and a gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aims_authority::Authority;
use aims_crypto::{Alg, Signer, SigningKey};
use aims_jose::{Jwk, SigningHeader, Thumbprint, sign};
use aims_json::{Limits, parse};
use aims_keys::{KeyStore, MasterKey};
use aims_lease::Terms;
use aims_links::{
    Attestation, Control, InstanceGrant, LeaseAsk, LeaseGrant, Refusal, RequestedRun,
};
use aims_model::evidence::{Arguments, Measured};
use aims_model::grant::{CONSENT_TYP, Consent};
use aims_model::{
    Assurance, EventKind, Evidence, Expected, Point, Posture, Record, Role, ServerSpec,
};
use aims_oauth::{AssertionClaims, ClientAssertion, HttpUri, dpop};
use aims_store_sqlite::SqliteStore;
use aims_types::ambient::SystemEntropy;
use aims_types::{
    self as types, Actor, BootTime, Clock, Cx, Digest, Gateway, Id, Node, Revision, Secret,
    Timestamp,
};

use super::peer::{Peer, Walls};
use crate::{
    AddUpstream, Config, ControlPlane, EnrolPerson, Init, NoLog, Parts, Proof, RegisterAgent,
    RegisterServer, RequestRun, StartedTask, initialise,
};

pub(super) const POLICY: &str = "@id(\"all\")\npermit (principal, action, resource);\n";
pub(super) const ISSUER: &str = "https://aims.local";
pub(super) const RESOURCE: &str = "https://gateway.aims.local";
pub(super) const START: Timestamp = Timestamp::from_unix_secs(1_795_307_428);

/// A clock that only the test moves.
pub(super) struct FakeClock(AtomicU64);

impl FakeClock {
    pub(super) fn back(&self, by: Duration) {
        self.0
            .fetch_sub(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
    pub(super) fn forward(&self, by: Duration) {
        self.0
            .fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }
    fn boot(&self) -> BootTime {
        BootTime::from_nanos(self.0.load(Ordering::SeqCst) * 1_000_000)
    }
}

/// A person with their key.
pub(super) struct Somebody {
    pub(super) id: Id<types::Person>,
    pub(super) key: SigningKey,
}

/// A node with its key.
pub(super) struct Host {
    pub(super) id: Id<Node>,
    pub(super) key: SigningKey,
}

/// An attested instance with the key that its node holds for it.
pub(super) struct Running {
    pub(super) grant: InstanceGrant,
    pub(super) key: SigningKey,
    pub(super) task: Id<types::Task>,
}

pub(super) struct World {
    pub(super) plane: ControlPlane,
    pub(super) parts: Parts,
    pub(super) clock: Arc<FakeClock>,
    pub(super) gateway: Arc<Peer>,
    pub(super) gateway_id: Id<Gateway>,
    pub(super) operator: Somebody,
    pub(super) node: Host,
    /// The node as the server reaches it.
    pub(super) walls: Arc<Walls>,
    directory: tempfile::TempDir,
}

/// Parts over a new store, before anything was initialised.
pub(super) async fn parts(directory: &std::path::Path) -> (Parts, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock(AtomicU64::new(START.unix_millis())));
    let entropy = Arc::new(SystemEntropy);
    let master = MasterKey::create(&directory.join("master"), entropy.as_ref()).unwrap();
    let keys = KeyStore::open(&directory.join("keys"), master, entropy.as_ref()).unwrap();
    let store = SqliteStore::open(directory.join("aims.db")).await.unwrap();
    let parts = Parts {
        store: Arc::new(store),
        keys: Arc::new(keys),
        clock: clock.clone(),
        entropy,
        boot: "boot-1".to_owned(),
        records: Arc::new(NoLog),
        config: Config {
            lease: Terms::default(),
            services: crate::ServiceTerms::default(),
            issuer: ISSUER.to_owned(),
            resource: RESOURCE.to_owned(),
        },
    };
    (parts, clock)
}

pub(super) fn new_key() -> SigningKey {
    SigningKey::generate(Alg::Es256).unwrap()
}

pub(super) fn jwk(key: &SigningKey) -> String {
    Jwk::new(*key.public()).to_value().to_string()
}

pub(super) fn kid(key: &SigningKey) -> String {
    Thumbprint::of(key.public()).to_string()
}

pub(super) fn init(key: &SigningKey) -> Init<'static> {
    Init {
        trust_domain: "aims.local".parse().unwrap(),
        operator_name: "olga".parse().unwrap(),
        operator_jwk: jwk(key),
        default_policy: POLICY,
    }
}

impl World {
    /// A domain with an operator, a node and a gateway.
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (parts, clock) = parts(directory.path()).await;
        let key = new_key();
        let made = initialise(&parts, init(&key)).await.unwrap();
        let plane = ControlPlane::open(parts.clone()).await.unwrap();
        let operator = Somebody {
            id: made.operator.id,
            key,
        };
        let server = plane.cx(Actor::Server).unwrap();
        let gateway = Arc::new(Peer::default());
        let gateway_id = Id::from_u128(42);
        plane
            .gateway_join(&server, gateway_id, &jwk(&new_key()), gateway.clone())
            .await
            .unwrap();
        let (key, walls) = (new_key(), Arc::new(Walls::default()));
        let id = plane
            .node_join(&server, &jwk(&key), "host", walls.clone())
            .await
            .unwrap();
        Self {
            plane,
            parts,
            clock,
            gateway,
            gateway_id,
            operator,
            node: Host { id, key },
            walls,
            directory,
        }
    }

    /// The same with a member `mia` who owns the active agent `notes`, and the tool server `git`.
    pub(super) async fn ready() -> (Self, Somebody) {
        let world = Self::new().await;
        let mia = world.enrol("mia", Role::Member).await;
        world.agent("notes", "mia").await;
        let cx = world.cx(&world.operator);
        world
            .plane
            .server_register(&cx, server("git"))
            .await
            .unwrap();
        (world, mia)
    }

    /// Another node that has joined.
    pub(super) async fn other_node(&self) -> Host {
        let (key, walls) = (new_key(), Arc::new(Walls::default()));
        let cx = self.plane.cx(Actor::Server).unwrap();
        let id = self.plane.node_join(&cx, &jwk(&key), "other", walls).await;
        Host {
            id: id.unwrap(),
            key,
        }
    }

    /// Asks for a lease of `point`, where `in_force` is in force.
    pub(super) async fn renew(
        &self,
        point: Point,
        in_force: Revision,
    ) -> Result<LeaseGrant, Refusal> {
        let ask = LeaseAsk {
            point,
            in_force,
            head: None,
            address: None,
            telling: None,
        };
        self.plane.lease_renew(ask).await.unwrap()
    }

    pub(super) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn cx(&self, person: &Somebody) -> Cx {
        self.plane.cx(Actor::Person(person.id)).unwrap()
    }

    pub(super) async fn enrol(&self, name: &str, role: Role) -> Somebody {
        let key = new_key();
        let request = EnrolPerson {
            name: name.to_owned(),
            role,
            jwk: jwk(&key),
        };
        let done = self
            .plane
            .person_enrol(&self.cx(&self.operator), request)
            .await;
        Somebody {
            id: done.unwrap().value.id,
            key,
        }
    }

    pub(super) async fn agent(&self, name: &str, owner: &str) -> aims_model::Agent {
        let request = agent(name, owner);
        let done = self
            .plane
            .agent_register(&self.cx(&self.operator), request)
            .await;
        done.unwrap().value
    }

    /// A consent to read the log of one repository, for an hour, by `person` for `agent`.
    pub(super) fn consent(&self, person: &Somebody, agent: &str) -> Consent {
        Consent {
            person: person.id,
            audience: "aims.local".parse().unwrap(),
            jti: self.jti(),
            issued_at: self.now(),
            agent: agent.parse().unwrap(),
            purpose: "write the release notes".parse().unwrap(),
            deadline: self.now().plus(Duration::from_hours(1)),
            authority: authority(),
        }
    }

    pub(super) async fn start(&self, person: &Somebody, agent: &str) -> StartedTask {
        let consent = signed(&self.consent(person, agent), &person.key);
        let started = self.plane.task_start(&self.cx(person), &consent).await;
        started.unwrap().value
    }

    /// Asks for a launch and takes it up.
    pub(super) async fn redeem(&self, person: &Somebody, task: Id<types::Task>) -> Id<types::Run> {
        let ticket = self
            .plane
            .run_request(&self.cx(person), launch(task))
            .await
            .unwrap();
        let requested = RequestedRun {
            node: self.node.id,
            ticket: ticket.ticket,
        };
        let order = self.plane.run_redeem(requested).await.unwrap().unwrap();
        assert_eq!(order.task.id, task);
        order.run
    }

    /// Starts a task and an instance for it.
    pub(super) async fn running(&self, person: &Somebody, agent: &str) -> Running {
        let started = self.start(person, agent).await;
        self.instance(person, started.task.id).await
    }

    /// An instance for a task.
    pub(super) async fn instance(&self, person: &Somebody, task: Id<types::Task>) -> Running {
        let run = self.redeem(person, task).await;
        let key = new_key();
        let attestation = self.attestation(run, &key);
        let grant = self
            .plane
            .instance_attest(attestation)
            .await
            .unwrap()
            .unwrap();
        Running { grant, key, task }
    }

    pub(super) fn attestation(&self, run: Id<types::Run>, key: &SigningKey) -> Attestation {
        Attestation {
            node: self.node.id,
            run,
            posture: posture(),
            jwk: jwk(key),
        }
    }

    pub(super) fn jti(&self) -> String {
        self.plane.cx(Actor::Server).unwrap().request.to_string()
    }

    /// A DPoP proof for the token endpoint.
    pub(super) fn proof(&self, key: &SigningKey) -> String {
        self.proof_for(key, ("POST", &format!("{ISSUER}/token")), None)
    }

    pub(super) fn proof_for(
        &self,
        key: &SigningKey,
        (htm, htu): (&str, &str),
        access_token: Option<&str>,
    ) -> String {
        let proof = dpop::Proof {
            htm,
            htu: &HttpUri::parse(htu).unwrap(),
            iat: self.now(),
            jti: &self.jti(),
            access_token,
        };
        proof.create(key).unwrap()
    }

    /// A client assertion of the node.
    pub(super) fn client_assertion(&self, host: &Host) -> Secret<String> {
        let jti = self.jti();
        let claims = AssertionClaims {
            audience: ISSUER,
            kid: Some(&kid(&host.key)),
            jti: &jti,
            now: self.now(),
        };
        let id = format!("spiffe://aims.local/node/{}", host.id);
        Secret::new(ClientAssertion::create(&host.key, &id, &claims).unwrap())
    }

    /// Every record of the server so far.
    pub(super) async fn records(&self) -> Vec<Record> {
        let mut reader = self.parts.store.read().await.unwrap();
        let rows = reader.outbox_after(0, 10_000).await.unwrap();
        rows.iter()
            .map(|(_, bytes)| Record::decode(bytes).unwrap())
            .collect()
    }

    /// The records of one kind so far.
    pub(super) async fn records_of(&self, kind: EventKind) -> Vec<Record> {
        let mut records = self.records().await;
        records.retain(|record| record.event.kind == kind);
        records
    }

    pub(super) async fn revision(&self) -> Revision {
        self.parts
            .store
            .read()
            .await
            .unwrap()
            .revision()
            .await
            .unwrap()
    }

    /// The code of the newest refused request.
    pub(super) async fn refused(&self) -> String {
        let refused = self.records_of(EventKind::RequestRefused).await;
        text(refused.last().unwrap(), "code")
    }
}

/// A text member of a record's body.
pub(super) fn text(record: &Record, name: &str) -> String {
    let value = record.event.body.get(name);
    value
        .and_then(aims_json::Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

pub(super) fn signed(consent: &Consent, key: &SigningKey) -> String {
    let header = SigningHeader::new(CONSENT_TYP).kid(kid(key));
    sign(&header, &consent.to_claims().unwrap(), key).unwrap()
}

pub(super) fn authority() -> Authority {
    authority_of(
        r#"{"authorization_details":[{"type":"mcp_tool","server":"git","actions":["git_log"],
            "arguments":{"repo_path":{"equals":"/srv/repo"}}}],"limits":{"uses":10}}"#,
    )
}

pub(super) fn authority_of(text: &str) -> Authority {
    Authority::from_value(&parse(text.as_bytes(), &Limits::MESSAGE).unwrap()).unwrap()
}

fn measured(path: &str, byte: u8) -> Measured {
    Measured {
        path: path.to_owned(),
        digest: Digest::from_bytes([byte; 32]),
    }
}

pub(super) fn expected() -> Expected {
    Expected {
        interpreter: Some(measured("/usr/bin/python3", 1)),
        program: measured("/srv/agent.py", 2),
        files: vec![measured("/srv/prompt.txt", 3)],
        trees: vec![measured("/usr/lib/python3", 4)],
        arguments: Arguments::Any,
    }
}

pub(super) fn evidence() -> Evidence {
    let Expected {
        interpreter,
        program,
        files,
        trees,
        ..
    } = expected();
    Evidence {
        interpreter,
        program,
        files,
        trees,
        arguments: vec!["--fast".to_owned()],
        environment: Digest::from_bytes([6; 32]),
        plan: Digest::from_bytes([7; 32]),
    }
}

pub(super) fn posture() -> Posture {
    Posture {
        evidence: evidence(),
        assurance: Assurance::Confined,
        host_uid: 70_001,
        host: "host".to_owned(),
    }
}

pub(super) fn agent(name: &str, owner: &str) -> RegisterAgent {
    RegisterAgent {
        name: name.to_owned(),
        owner: Some(owner.to_owned()),
        purpose: Some("writes release notes".to_owned()),
        environment: Some("production".to_owned()),
        evidence: Proof::Program(expected()),
        draft: false,
    }
}

/// A launch of the agent `notes` for the task.
pub(super) fn launch(task: Id<types::Task>) -> RequestRun {
    RequestRun {
        task,
        agent: "notes".to_owned(),
    }
}

pub(super) fn server(name: &str) -> RegisterServer {
    RegisterServer {
        name: name.to_owned(),
        purpose: "reads repositories".to_owned(),
        spec: ServerSpec {
            argv: vec!["/usr/bin/git-mcp".to_owned()],
            env: [("TOKEN".to_owned(), "hush".to_owned())].into(),
            trees: vec![measured("/usr/bin/git-mcp", 9)],
            paths: Vec::new(),
            network: false,
        },
    }
}

/// A credential.
pub(super) fn secret(text: &str) -> Secret<Vec<u8>> {
    Secret::new(text.as_bytes().to_vec())
}

/// An upstream to be registered.
pub(super) fn upstream(name: &str) -> AddUpstream {
    let spec =
        r#"{"url":"https://models.example","endpoints":[{"methods":["POST"],"path":"/v1"}]}"#;
    AddUpstream {
        name: name.to_owned(),
        purpose: "answers questions".to_owned(),
        spec: aims_json::from_slice(spec.as_bytes(), &aims_json::Limits::MESSAGE).unwrap(),
        secret: secret("hush-0123456789"),
    }
}
