//! A small trust domain as its records say it, in which an agent hands authority on and a person
//! approves: everything that a proof can be made of.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use aims_authority::{Authority, Call};
use aims_crypto::{Alg, Hasher, PublicKey, Signer, SigningKey, sha256};
use aims_decision::{
    Budgets, Case, CutOffs, Decision, Findings, Presented, Question, decide, verify_approval,
    verify_chain,
};
use aims_jose::{Jwk, SigningHeader, Thumbprint, sign};
use aims_json::{Limits, Object, Value, parse, to_canonical, to_value};
use aims_model::approval::{APPROVAL_TYP, Answer, Asked, Stage};
use aims_model::evidence::{Arguments, Measured};
use aims_model::grant::{
    CONSENT_TYP, Consent, DELEGATION_TYP, DelegationRequest, Delegator, GRANT_TYP, Grant,
    grant_digest,
};
use aims_model::record::FIRST_PREV;
use aims_model::{
    Approval, Assurance, Event, EventKind, Evidence, Expected, Posture, ServerSpec, Source,
    ToolPin, ToolServer,
};
use aims_oauth::{Chain, WorkloadIdentityClaims};
use aims_policy::AgentFacts;
use aims_tlog::{
    Checkpoint, Entry, NoteSigner, SignedNote, TileHashes, TilePath, Tree, VerifierKey,
};
use aims_tlog::{prove_consistency, prove_inclusion};
use aims_types::{self as types, Digest, Id, Revision, Timestamp};

use crate::{
    AgentUsed, Included, Materials, ProofFile, Since, Tools, Trust, Used, Verified, VerifyError,
    select, verify,
};

pub(crate) const ORIGIN: &str = "aims.test/log";
pub(crate) const ARGUMENTS: &str = r#"{"path": "/srv/notes/a"}"#;
pub(crate) const POLICY: &str = r#"@id("calls") permit (principal, action in Action::"call", resource);
@id("four-eyes") @requirement("approval")
permit (principal is Agent, action == Action::"fs/write_file", resource);
"#;
const ROOT: &str = r#"{"authorization_details":[{"type":"mcp_tool","server":"fs",
    "actions":["read_file","write_file"],"arguments":{"path":{"path_prefix":"/srv"}}}],
    "limits":{"uses":4,"depth":2}}"#;
const CHILD: &str = r#"{"authorization_details":[{"type":"mcp_tool","server":"fs",
    "actions":["write_file"],"arguments":{"path":{"path_prefix":"/srv/notes"}}}],
    "limits":{"uses":2,"depth":0}}"#;
const SALT: [u8; 16] = [9; 16];

/// The keys, made once.
pub(crate) struct Keys {
    pub(crate) log: Arc<SigningKey>,
    pub(crate) grant: SigningKey,
    pub(crate) token: SigningKey,
    pub(crate) alice: SigningKey,
    pub(crate) bob: SigningKey,
    node: SigningKey,
    gateway: SigningKey,
    notes: SigningKey,
    scribe: SigningKey,
}

pub(crate) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    let key = || SigningKey::generate(Alg::Es256).unwrap();
    KEYS.get_or_init(|| Keys {
        log: Arc::new(SigningKey::generate(Alg::Ed25519).unwrap()),
        grant: SigningKey::generate(Alg::Ed25519).unwrap(),
        token: key(),
        alice: key(),
        bob: key(),
        node: key(),
        gateway: key(),
        notes: key(),
        scribe: key(),
    })
}

pub(crate) fn signer() -> NoteSigner {
    let key: Arc<dyn Signer> = keys().log.clone();
    NoteSigner::new(ORIGIN.parse().unwrap(), key).unwrap()
}

pub(crate) fn log_key() -> VerifierKey {
    signer().verifier_key().clone()
}

pub(crate) fn id<K: types::Kind>(n: u128) -> Id<K> {
    Id::from_u128(n)
}

pub(crate) fn at(secs: u64) -> Timestamp {
    Timestamp::from_unix_millis(1_795_307_400_000 + secs * 1000)
}

pub(crate) fn decision() -> Id<types::Decision> {
    id(70)
}

fn task() -> Id<types::Task> {
    id(5)
}

pub(crate) fn kid(key: &PublicKey) -> String {
    Thumbprint::of(key).to_string()
}

fn authority(text: &str) -> Authority {
    Authority::from_value(&parse(text.as_bytes(), &Limits::TOKEN).unwrap()).unwrap()
}

fn spiffe(agent: &str) -> types::SpiffeId {
    format!("spiffe://aims.test/agent/{agent}").parse().unwrap()
}

fn signed(typ: &'static str, claims: &[u8], key: &SigningKey) -> String {
    sign(&SigningHeader::new(typ).kid(kid(key.public())), claims, key).unwrap()
}

fn event(kind: EventKind, secs: u64, body: Object) -> Event {
    Event::new(kind, at(secs), body.with("by", "server"))
}

fn of_task(kind: EventKind, secs: u64, body: Object) -> Event {
    event(kind, secs, body).of_task(task())
}

/// What a test changes before everything is signed and recorded.
pub(crate) struct Plan {
    pub(crate) root: &'static str,
    pub(crate) child: &'static str,
    pub(crate) policy: &'static str,
    /// What policies were told of the number of calls.
    pub(crate) calls: u32,
    /// Changes the grant below the root before the server signs it.
    pub(crate) grant: fn(&mut Grant),
    /// Changes an answer before bob signs it.
    pub(crate) answer: fn(&mut Answer),
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            root: ROOT,
            child: CHILD,
            policy: POLICY,
            calls: 3,
            grant: |_| {},
            answer: |_| {},
        }
    }
}

/// A log with one permit in it, and what the decision used.
pub(crate) struct World {
    pub(crate) server: Vec<Event>,
    pub(crate) gateway: Vec<Event>,
    pub(crate) policy: String,
    pub(crate) materials: Materials,
}

/// The tree of a log.
pub(crate) struct Grown {
    pub(crate) records: Vec<Vec<u8>>,
    files: BTreeMap<TilePath, Vec<u8>>,
    pub(crate) checkpoint: SignedNote,
    pub(crate) size: u64,
}

/// The chain in its parts.
struct Hops {
    root: (Grant, String),
    child: (Grant, String),
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of(&Plan::default())
    }

    pub(crate) fn of(plan: &Plan) -> Self {
        let hops = Hops::of(plan);
        let servers = [server()];
        let tools = Tools::of(&servers);
        let mut events = registrations(plan);
        events.extend(issued(&hops));
        let asked = asked(&hops);
        let (question, answer, answered) = approval(&asked, plan);
        events.extend([question, answered]);
        let used = used(plan, &hops, &tools);
        let (findings, reserved) = decided(plan, &hops, (&asked, &answer), &tools);
        let mut hasher = Hasher::new();
        hasher.update(&SALT);
        hasher.update(&used.to_bytes().unwrap());
        let body = findings
            .describe(intent(plan, &hops, &asked))
            .with("reasons", findings.reasons())
            .with("reserved", reserved)
            .with("materials", hasher.finish().to_string());
        let outcome = Object::new()
            .with("decision_id", decision().to_string())
            .with("outcome", "ok");
        Self {
            server: events,
            gateway: vec![
                Event::new(EventKind::CallIntent, at(30), body).of_task(task()),
                Event::new(EventKind::CallOutcome, at(31), outcome).of_task(task()),
            ],
            policy: plan.policy.to_owned(),
            materials: Materials {
                salt: SALT,
                used,
                tools,
            },
        }
    }

    /// Changes the body of the `n`th record of the server of this kind.
    pub(crate) fn change(&mut self, kind: EventKind, change: impl Fn(Object) -> Object) {
        let events = self.server.iter_mut().chain(&mut self.gateway);
        let mut found = events.filter(|event| event.kind == kind);
        let event = found.next().unwrap();
        event.body = change(event.body.clone());
    }

    /// Makes server and gateway say that everything was decided under this policy.
    pub(crate) fn lie(&mut self, policy: &str) {
        let digest = sha256(policy.as_bytes());
        policy.clone_into(&mut self.policy);
        self.materials.used.policy = digest;
        let mut hasher = Hasher::new();
        hasher.update(&SALT);
        hasher.update(&self.materials.used.to_bytes().unwrap());
        let commitment = hasher.finish().to_string();
        let named = Object::new()
            .with("id", id::<types::Policy>(1).to_string())
            .with("digest", digest.to_string());
        self.change(EventKind::PolicyActivated, |body| {
            body.with("digest", digest.to_string())
        });
        self.change(EventKind::CallIntent, |body| {
            body.with("policy", named.clone())
                .with("materials", commitment.as_str())
        });
    }

    pub(crate) fn grown(&self) -> Grown {
        let mut records = chained(Source::Server, &self.server);
        records.extend(chained(Source::Gateway(id(77)), &self.gateway));
        Grown::of(records)
    }

    /// The proof, as an honest server makes it.
    pub(crate) fn proof(&self) -> ProofFile {
        self.proof_in(&self.grown())
    }

    pub(crate) fn proof_in(&self, grown: &Grown) -> ProofFile {
        let records: Vec<aims_model::Record> = grown
            .records
            .iter()
            .map(|bytes| aims_model::Record::decode(bytes).unwrap())
            .collect();
        let places = select(&records, decision(), &log_key()).unwrap();
        ProofFile {
            decision: decision(),
            checkpoint: grown.checkpoint.clone(),
            records: places.into_iter().map(|n| grown.included(n)).collect(),
            policy: self.policy.clone(),
            used: Some(self.materials.clone()),
            since: None,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.proof().to_bytes().unwrap()
    }
}

impl Grown {
    pub(crate) fn of(records: Vec<Vec<u8>>) -> Self {
        let entries = records.iter().map(|one| Entry::new(one.clone()).unwrap());
        let growth = Tree::empty().append(entries).unwrap();
        let (size, root) = (growth.tree.size(), growth.tree.root());
        let checkpoint = Checkpoint {
            origin: ORIGIN.parse().unwrap(),
            size,
            root,
        };
        Self {
            checkpoint: checkpoint.sign(&signer()).unwrap(),
            files: growth.files.into_iter().collect(),
            records,
            size,
        }
    }

    pub(crate) fn included(&self, place: usize) -> Included {
        let index = place as u64;
        let hashes = TileHashes::new(&self.files, self.size);
        let path = prove_inclusion(&hashes, index, self.size).unwrap();
        Included::new(index, self.records[place].clone(), path).unwrap()
    }

    pub(crate) fn since(&self, older: &Self) -> Since {
        let hashes = TileHashes::new(&self.files, self.size);
        Since {
            checkpoint: older.checkpoint.clone(),
            path: prove_consistency(&hashes, older.size, self.size).unwrap(),
        }
    }
}

pub(crate) fn verified(bytes: &[u8]) -> Result<Verified, VerifyError> {
    let log = log_key();
    let trust = Trust {
        log: &log,
        witnesses: &[],
        kept: None,
    };
    verify(bytes, &trust)
}

pub(crate) fn chained(source: Source, events: &[Event]) -> Vec<Vec<u8>> {
    let mut prev = FIRST_PREV;
    let number = |(seq, event): (u64, &Event)| {
        let record = event.encode(source, seq, prev).unwrap();
        prev = sha256(&record);
        record
    };
    (1..).zip(events).map(number).collect()
}

impl Hops {
    fn of(plan: &Plan) -> Self {
        let consent = Consent {
            person: id(1),
            audience: "aims.test".parse().unwrap(),
            jti: "c-1".to_owned(),
            issued_at: at(9),
            agent: "notes".parse().unwrap(),
            purpose: "keep the notes".parse().unwrap(),
            deadline: at(3600),
            authority: authority(plan.root),
        };
        let root = Grant {
            id: id(105),
            issuer: "aims.test".parse().unwrap(),
            task: task(),
            purpose: consent.purpose.clone(),
            delegator: Delegator::Person {
                id: id(1),
                name: "alice".parse().unwrap(),
                consent: signed(CONSENT_TYP, &consent.to_claims().unwrap(), &keys().alice),
            },
            delegate: id(2),
            delegate_spiffe_id: spiffe("notes"),
            ancestors: Vec::new(),
            parent: None,
            authority: authority(plan.root),
            revision: Revision::new(4),
            issued_at: at(10),
            expires_at: at(3600),
        };
        let jws = signed(GRANT_TYP, &root.to_claims().unwrap(), &keys().grant);
        let mut child = child(plan, grant_digest(&jws));
        (plan.grant)(&mut child);
        let below = signed(GRANT_TYP, &child.to_claims().unwrap(), &keys().grant);
        Self {
            root: (root, jws),
            child: (child, below),
        }
    }

    fn digests(&self) -> Vec<Digest> {
        vec![grant_digest(&self.root.1), grant_digest(&self.child.1)]
    }

    fn chain(&self) -> Vec<Value> {
        let text = |digest: &Digest| Value::from(digest.to_string());
        self.digests().iter().map(text).collect()
    }
}

/// What an instance of `notes` hands on to `scribe`.
fn child(plan: &Plan, parent: Digest) -> Grant {
    let request = DelegationRequest {
        instance: id(6),
        audience: "aims.test".parse().unwrap(),
        jti: "d-1".to_owned(),
        issued_at: at(20),
        parent,
        agent: "scribe".parse().unwrap(),
        purpose: "write them down".parse().unwrap(),
        deadline: at(600),
        authority: authority(plan.child),
    };
    let identity = WorkloadIdentityClaims {
        issuer: None,
        subject: spiffe("notes"),
        instance: id(6),
        key: *keys().notes.public(),
        issued_at: at(15),
        expires_at: at(300),
        token: id(1),
    };
    let voucher = kid(keys().token.public());
    Grant {
        id: id(201),
        issuer: "aims.test".parse().unwrap(),
        task: task(),
        purpose: request.purpose.clone(),
        delegator: Delegator::Agent {
            id: id(2),
            spiffe_id: spiffe("notes"),
            instance: id(6),
            request: signed(DELEGATION_TYP, &request.to_claims().unwrap(), &keys().notes),
            wit: identity.create(&keys().token, &voucher).unwrap(),
        },
        delegate: id(3),
        delegate_spiffe_id: spiffe("scribe"),
        ancestors: vec![id(105)],
        parent: Some(parent),
        authority: request.authority,
        revision: Revision::new(6),
        issued_at: at(20),
        expires_at: at(600),
    }
}

fn server() -> ToolServer {
    let tool = |name: &str| ToolPin {
        name: name.to_owned(),
        digest: sha256(name.as_bytes()),
        input_schema: r#"{"properties":{"path":{"type":"string"}},"type":"object"}"#.to_owned(),
        description: String::new(),
    };
    ToolServer {
        id: id(1),
        name: "fs".parse().unwrap(),
        purpose: "files".parse().unwrap(),
        spec: ServerSpec {
            argv: vec!["/usr/bin/fs".to_owned()],
            env: BTreeMap::new(),
            trees: Vec::new(),
            paths: Vec::new(),
            network: false,
        },
        tools: vec![tool("read_file"), tool("write_file")],
        registered_at: at(2),
    }
}

fn measured(path: &str, n: u8) -> Measured {
    Measured {
        path: path.to_owned(),
        digest: Digest::from_bytes([n; 32]),
    }
}

fn registrations(plan: &Plan) -> Vec<Event> {
    let keys = keys();
    let person = |n| id::<types::Person>(n).to_string();
    let key = |key: &PublicKey, purpose: &str, owner: &str| {
        let jwk = to_canonical(&Jwk::new(*key).to_value()).unwrap();
        let body = Object::new()
            .with("kid", kid(key))
            .with("jwk", String::from_utf8(jwk).unwrap())
            .with("purpose", purpose)
            .with("owner", owner);
        event(EventKind::KeyEnrolled, 0, body)
    };
    let enrolled = |n, name: &str, role: &str| {
        let body = Object::new().with("person", person(n)).with("name", name);
        event(EventKind::PersonEnrolled, 1, body.with("role", role))
    };
    let pins = server().tools.into_iter().map(|pin| {
        let pin = Object::new()
            .with("name", pin.name)
            .with("digest", pin.digest.to_string());
        Value::from(pin)
    });
    let tools = Object::new()
        .with("name", "fs")
        .with("tools", pins.collect::<Vec<_>>());
    let policy = Object::new()
        .with("policy", id::<types::Policy>(1).to_string())
        .with("digest", sha256(plan.policy.as_bytes()).to_string());
    let gateway = id::<types::Gateway>(77).to_string();
    vec![
        event(
            EventKind::DomainCreated,
            0,
            Object::new().with("trust_domain", "aims.test"),
        ),
        key(keys.log.public(), "log", "server"),
        key(keys.grant.public(), "grant", "server"),
        key(keys.token.public(), "token", "server"),
        key(keys.alice.public(), "person", &person(1)),
        key(keys.bob.public(), "person", &person(4)),
        key(
            keys.node.public(),
            "node",
            &id::<types::Node>(8).to_string(),
        ),
        key(keys.gateway.public(), "gateway", &gateway),
        enrolled(1, "alice", "operator"),
        enrolled(4, "bob", "approver"),
        enrolled(9, "carol", "member"),
        registered(2, "notes"),
        registered(3, "scribe"),
        event(EventKind::ServerRegistered, 2, tools),
        event(EventKind::PolicyActivated, 3, policy),
    ]
}

fn registered(n: u128, name: &str) -> Event {
    let expected = Expected {
        interpreter: None,
        program: measured(&format!("/srv/{name}"), 1),
        files: Vec::new(),
        trees: Vec::new(),
        arguments: Arguments::Any,
    };
    let owner = Object::new()
        .with("id", id::<types::Person>(1).to_string())
        .with("name", "alice");
    let body = Object::new()
        .with("agent", id::<types::Agent>(n).to_string())
        .with("name", name)
        .with("spiffe_id", spiffe(name).as_str())
        .with("owner", owner)
        .with("environment", "production")
        .with("assurance", "confined")
        .with("evidence", to_value(&expected).unwrap());
    event(EventKind::AgentRegistered, 2, body)
}

fn attested(
    (n, key): (u128, &SigningKey),
    name: &str,
    (delegation, revision): (u128, u64),
) -> Event {
    let posture = Posture {
        evidence: Evidence {
            interpreter: None,
            program: measured(&format!("/srv/{name}"), 1),
            files: Vec::new(),
            trees: Vec::new(),
            arguments: vec!["--fast".to_owned()],
            environment: Digest::from_bytes([6; 32]),
            plan: Digest::from_bytes([7; 32]),
        },
        assurance: Assurance::Confined,
        host_uid: 100_123,
        host: "box".to_owned(),
    };
    let ok = || Object::new().with("result", "ok");
    let jwk = to_canonical(&Jwk::new(*key.public()).to_value()).unwrap();
    let body = Object::new()
        .with("instance", id::<types::Instance>(n).to_string())
        .with("agent", spiffe(name).as_str())
        .with(
            "delegation",
            id::<types::Delegation>(delegation).to_string(),
        )
        .with("node", id::<types::Node>(8).to_string())
        .with("jkt", kid(key.public()))
        .with("jwk", String::from_utf8(jwk).unwrap())
        .with("posture", to_value(&posture).unwrap())
        .with("attestation", ok())
        .with("environment", ok())
        .with("policy", ok())
        .with("revision", revision);
    of_task(EventKind::InstanceAttested, 12, body)
}

fn granted((grant, jws): &(Grant, String)) -> Object {
    Object::new()
        .with("task", grant.task.to_string())
        .with("purpose", grant.purpose.as_str())
        .with("agent", grant.delegate_spiffe_id.as_str())
        .with("deadline", grant.expires_at.unix_millis())
        .with("delegation", grant.id.to_string())
        .with("grant_digest", grant_digest(jws).to_string())
        .with("grant", jws.as_str())
        .with("revision", grant.revision.number())
}

/// Task, instances, delegation, token, owner of the tree.
fn issued(hops: &Hops) -> Vec<Event> {
    let initiator = Object::new()
        .with("id", id::<types::Person>(1).to_string())
        .with("name", "alice");
    let started = granted(&hops.root).with("initiator", initiator);
    let delegated = granted(&hops.child)
        .with("parent", grant_digest(&hops.root.1).to_string())
        .with("instance", id::<types::Instance>(6).to_string());
    let token = Object::new()
        .with("jti", id::<types::Token>(10).to_string())
        .with("sha256", sha256(b"token").to_string())
        .with("subject", id::<types::Person>(1).to_string())
        .with("agent", spiffe("scribe").as_str())
        .with("instance", id::<types::Instance>(7).to_string())
        .with("node", id::<types::Node>(8).to_string())
        .with("jkt", kid(keys().scribe.public()))
        .with("chain", hops.chain())
        .with("revision", 8_u64)
        .with("expires_at", at(300).unix_millis());
    let owned = Object::new()
        .with("task", task().to_string())
        .with("gateway", id::<types::Gateway>(77).to_string())
        .with("epoch", 1_u64)
        .with("released", false);
    vec![
        of_task(EventKind::TaskStarted, 10, started),
        attested((6, &keys().notes), "notes", (105, 5)),
        of_task(EventKind::DelegationGranted, 20, delegated),
        attested((7, &keys().scribe), "scribe", (201, 7)),
        of_task(EventKind::TokenIssued, 22, token),
        of_task(EventKind::TreeOwned, 23, owned),
    ]
}

fn asked(hops: &Hops) -> Asked {
    Asked {
        task: task(),
        initiator: id(1),
        agent: spiffe("scribe"),
        instance: id(7),
        delegation: hops.child.0.id,
        leaf: grant_digest(&hops.child.1),
        server: "fs".parse().unwrap(),
        tool: "write_file".to_owned(),
        pin: sha256(b"write_file"),
        arguments: ARGUMENTS.to_owned(),
        policy: id(1),
        requirements: vec!["four-eyes".parse().unwrap()],
    }
}

/// The question, the answer, and how it is recorded.
fn approval(asked: &Asked, plan: &Plan) -> (Event, String, Event) {
    let mut answer = Answer {
        person: id(4),
        audience: "aims.test".parse().unwrap(),
        issued_at: at(26),
        approval: id(1),
        digest: asked.digest().unwrap(),
        approve: true,
        reason: "as discussed".to_owned(),
    };
    (plan.answer)(&mut answer);
    let jws = signed(APPROVAL_TYP, &answer.to_claims().unwrap(), &keys().bob);
    let common = || {
        Object::new()
            .with("approval", id::<types::Approval>(1).to_string())
            .with("digest", asked.digest().unwrap().to_string())
    };
    let question = common()
        .with("server", "fs")
        .with("tool", "write_file")
        .with("agent", asked.agent.as_str())
        .with("instance", asked.instance.to_string())
        .with("requirements", vec![Value::from("four-eyes")])
        .with("deadline", at(900).unix_millis());
    let answered = common()
        .with("answer", "approve")
        .with("reason", answer.reason.as_str())
        .with("jws", jws.as_str());
    let mut answered = of_task(EventKind::ApprovalAnswered, 26, answered);
    answered.body = answered.body.with("by", id::<types::Person>(4).to_string());
    (
        of_task(EventKind::ApprovalAsked, 25, question),
        jws,
        answered,
    )
}

fn resource() -> Value {
    Value::from(
        Object::new()
            .with("server", "fs")
            .with("tool", "write_file")
            .with("pin", sha256(b"write_file").to_string()),
    )
}

fn used(plan: &Plan, hops: &Hops, tools: &Tools) -> Used {
    let agent = |n, name: &str| AgentUsed {
        id: id(n),
        name: name.parse().unwrap(),
        spiffe_id: spiffe(name),
        owner: "alice".parse().unwrap(),
        environment: "production".parse().unwrap(),
    };
    Used {
        decision: decision(),
        at: at(30),
        resource: resource(),
        action: "tools/call".to_owned(),
        arguments: Some(ARGUMENTS.to_owned()),
        chain: vec![hops.root.1.clone(), hops.child.1.clone()],
        agents: vec![agent(2, "notes"), agent(3, "scribe")],
        person: "alice".parse().unwrap(),
        calls: plan.calls,
        assurance: Assurance::Confined,
        policy: sha256(plan.policy.as_bytes()),
        tools: tools.digest().unwrap(),
        minted: Revision::new(8),
        revision: Revision::new(8),
    }
}

/// What a record of the permit says besides what was found.
fn intent(plan: &Plan, hops: &Hops, asked: &Asked) -> Object {
    let agent = |grant: &Grant, from: Value| {
        Value::from(
            Object::new()
                .with("delegation", grant.id.to_string())
                .with("agent", grant.delegate_spiffe_id.as_str())
                .with("from", from),
        )
    };
    let from = Value::from(id::<types::Instance>(6).to_string());
    let agents = vec![agent(&hops.root.0, Value::Null), agent(&hops.child.0, from)];
    let policy = Object::new()
        .with("id", id::<types::Policy>(1).to_string())
        .with("digest", sha256(plan.policy.as_bytes()).to_string());
    let subject = Object::new()
        .with("id", id::<types::Person>(1).to_string())
        .with("name", "alice");
    let token = Object::new()
        .with("jti", id::<types::Token>(10).to_string())
        .with("sha256", sha256(b"token").to_string());
    let approval = Object::new()
        .with("id", id::<types::Approval>(1).to_string())
        .with("digest", asked.digest().unwrap().to_string())
        .with("by", id::<types::Person>(4).to_string());
    Object::new()
        .with("agent", spiffe("scribe").as_str())
        .with("instance", id::<types::Instance>(7).to_string())
        .with("subject", subject)
        .with("resource", resource())
        .with("action", "tools/call")
        .with("decision", "permit")
        .with("decision_id", decision().to_string())
        .with("policy", policy)
        .with("revision", 8_u64)
        .with("minted", 8_u64)
        .with("chain", hops.chain())
        .with("agents", agents)
        .with("posture", Object::new().with("assurance", "confined"))
        .with("token", token)
        .with("arguments", sha256(ARGUMENTS.as_bytes()).to_string())
        .with("message", Value::Null)
        .with("epoch", 1_u64)
        .with("approval", approval)
}

/// The keys of the domain, whatever the instant.
struct Known;

impl aims_decision::ChainKeys for Known {
    fn grant_key(&self, _: &str, _: Timestamp) -> Option<PublicKey> {
        Some(*keys().grant.public())
    }
    fn person_key(&self, person: Id<types::Person>, _: &str, _: Timestamp) -> Option<PublicKey> {
        let key = if person == id(1) {
            &keys().alice
        } else {
            &keys().bob
        };
        Some(*key.public())
    }
    fn token_key(&self, _: &str, _: Timestamp) -> Option<PublicKey> {
        Some(*keys().token.public())
    }
}

/// Decides as a gateway does. Where that does not permit, the gateway lies: it records what it found
/// when everything was in order.
fn decided(
    plan: &Plan,
    hops: &Hops,
    (asked, answer): (&Asked, &str),
    tools: &Tools,
) -> (Findings, Value) {
    try_decide(plan, hops, (asked, answer), tools).unwrap_or_else(|| {
        let plan = Plan::default();
        let hops = Hops::of(&plan);
        let asked = self::asked(&hops);
        let (_, answer, _) = approval(&asked, &plan);
        try_decide(&plan, &hops, (&asked, &answer), tools).unwrap()
    })
}

fn try_decide(
    plan: &Plan,
    hops: &Hops,
    (asked, answer): (&Asked, &str),
    tools: &Tools,
) -> Option<(Findings, Value)> {
    let claimed = hops.digests();
    let trust_domain = "aims.test".parse().unwrap();
    let presented = Presented {
        grants: &[hops.root.1.clone(), hops.child.1.clone()],
        claimed: &claimed,
        claimed_hash: Chain::new(claimed.clone()).unwrap().commitment(),
        task: task(),
        person: id(1),
        trust_domain: &trust_domain,
    };
    let chain = verify_chain(&presented, &Known, at(30)).ok()?;
    let own = Approval {
        id: id(1),
        digest: asked.digest().unwrap(),
        asked: asked.clone(),
        asked_at: at(25),
        deadline: at(900),
        stage: Stage::Approved {
            at: at(26),
            by: id(4),
            answer: answer.to_owned(),
        },
    };
    let question = Question {
        asked,
        trust_domain: &trust_domain,
    };
    let approved = verify_approval(&own, &question, &Known, at(30)).ok();
    let (fs, owner) = ("fs".parse().unwrap(), "alice".parse().unwrap());
    let names = ["notes".parse().unwrap(), "scribe".parse().unwrap()];
    let agents = names.each_ref().map(|name| AgentFacts {
        name,
        owner: &owner,
        environment: "production",
        assurance: "confined",
    });
    let policies = tools.compile(plan.policy).unwrap();
    let arguments = parse(ARGUMENTS.as_bytes(), &Limits::MESSAGE).unwrap();
    let cutoffs = CutOffs::default();
    let decided = decide(&Case {
        chain: &chain,
        call: Call::Tool {
            server: &fs,
            tool: "write_file",
            arguments: arguments.as_object().unwrap(),
        },
        policies: &policies,
        agents: &agents,
        calls: plan.calls,
        assurance: Assurance::Confined,
        subjects: &[],
        minted: Revision::new(8),
        cutoffs: &cutoffs,
        approval: approved.as_ref(),
        now: at(30),
    });
    match decided {
        Decision::Permit(permit) => {
            let reserved = Budgets::default().reserve(&permit, at(30)).unwrap();
            Some((permit.findings().clone(), reserved.to_value()))
        }
        _ => None,
    }
}
