//! A small trust domain as its records say it, for tests.

pub(crate) mod apart;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use aims_authority::Authority;
use aims_crypto::{Alg, PublicKey, Signer, SigningKey, sha256};
use aims_jose::{Jwk, SigningHeader, Thumbprint, sign};
use aims_json::{Object, Value};
use aims_keys::{KeyStore, MasterKey};
use aims_model::grant::{CONSENT_TYP, Consent, Delegator, GRANT_TYP, Grant, grant_digest};
use aims_model::record::FIRST_PREV;
use aims_model::{Event, EventKind, Material, Source};
use aims_store::Store;
use aims_store_sqlite::SqliteStore;
use aims_tlog::{Checkpoint, Entry, NoteSigner, SignedNote, TilePath, Tree};
use aims_types::ambient::SystemEntropy;
use aims_types::{Digest, Gateway, Id, Revision, SpiffeId, Task, Timestamp};

use crate::{Sequencer, Shipped, TileDir, Vault};

pub(crate) const ORIGIN: &str = "aims.test/log";
pub(crate) const AGENT: &str = "spiffe://aims.test/agent/notes";
const START: u64 = 1_795_307_400_000;

/// The keys, made once.
pub(crate) struct Keys {
    pub(crate) log: Arc<SigningKey>,
    pub(crate) grant: SigningKey,
    pub(crate) person: SigningKey,
}

pub(crate) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        log: Arc::new(SigningKey::generate(Alg::Ed25519).unwrap()),
        grant: SigningKey::generate(Alg::Ed25519).unwrap(),
        person: SigningKey::generate(Alg::Es256).unwrap(),
    })
}

pub(crate) fn signer() -> NoteSigner {
    let key: Arc<dyn Signer> = keys().log.clone();
    NoteSigner::new(ORIGIN.parse().unwrap(), key).unwrap()
}

pub(crate) fn gateway() -> Id<Gateway> {
    Id::from_u128(77)
}

pub(crate) fn task() -> Id<Task> {
    Id::from_u128(5)
}

pub(crate) fn id<K: aims_types::Kind>(n: u128) -> Id<K> {
    Id::from_u128(n)
}

pub(crate) fn at(secs: u64) -> Timestamp {
    Timestamp::from_unix_millis(START + secs * 1000)
}

pub(crate) fn event(kind: EventKind, secs: u64, body: Object) -> Event {
    Event::new(
        kind,
        at(secs),
        body.with("by", id::<aims_types::Person>(1).to_string()),
    )
}

pub(crate) fn kid(key: &PublicKey) -> String {
    Thumbprint::of(key).to_string()
}

pub(crate) fn key_body(key: &PublicKey, purpose: &str, owner: &str) -> Object {
    let jwk = aims_json::to_canonical(&Jwk::new(*key).to_value()).unwrap();
    Object::new()
        .with("kid", kid(key))
        .with("jwk", String::from_utf8(jwk).unwrap())
        .with("purpose", purpose)
        .with("owner", owner)
}

pub(crate) fn authority() -> Authority {
    let wire = br#"{"authorization_details":[
        {"type":"mcp_tool","server":"fs","actions":["read_file","list_directory"],
         "arguments":{"path":{"path_prefix":"/srv/notes"}}},
        {"type":"https_connect","host":"pypi.org","port":443}],
        "limits":{"uses":10}}"#;
    Authority::from_value(&aims_json::parse(wire, &aims_json::Limits::TOKEN).unwrap()).unwrap()
}

pub(crate) fn consent(jti: &str) -> Consent {
    Consent {
        person: id(1),
        audience: "aims.test".parse().unwrap(),
        jti: jti.to_owned(),
        issued_at: at(9),
        agent: "notes".parse().unwrap(),
        purpose: "summarise the notes".parse().unwrap(),
        deadline: at(3600),
        authority: authority(),
    }
}

pub(crate) fn signed_consent(consent: &Consent, key: &SigningKey) -> String {
    let header = SigningHeader::new(CONSENT_TYP).kid(kid(key.public()));
    sign(&header, &consent.to_claims().unwrap(), key).unwrap()
}

pub(crate) fn grant(task: Id<Task>, consent: String) -> Grant {
    Grant {
        id: id(task.as_u128() + 100),
        issuer: "aims.test".parse().unwrap(),
        task,
        purpose: "summarise the notes".parse().unwrap(),
        delegator: Delegator::Person {
            id: id(1),
            name: "alice".parse().unwrap(),
            consent,
        },
        delegate: id(2),
        delegate_spiffe_id: AGENT.parse::<SpiffeId>().unwrap(),
        ancestors: Vec::new(),
        parent: None,
        authority: authority(),
        revision: Revision::new(4),
        issued_at: at(10),
        expires_at: at(3600),
    }
}

/// What the server records when it issues `grant`.
pub(crate) fn started(grant: &Grant, key: &SigningKey) -> Event {
    let header = SigningHeader::new(GRANT_TYP).kid(kid(key.public()));
    let jws = sign(&header, &grant.to_claims().unwrap(), key).unwrap();
    let Delegator::Person { id, name, .. } = &grant.delegator else {
        panic!("a root is from a person");
    };
    let initiator = Object::new()
        .with("id", id.to_string())
        .with("name", name.as_str());
    let body = Object::new()
        .with("task", grant.task.to_string())
        .with("purpose", grant.purpose.as_str())
        .with("agent", grant.delegate_spiffe_id.as_str())
        .with("initiator", initiator)
        .with("deadline", grant.expires_at.unix_millis())
        .with("delegation", grant.id.to_string())
        .with("grant_digest", grant_digest(&jws).to_string())
        .with("grant", jws)
        .with("policy", Object::new().with("id", "pol_1"))
        .with("revision", grant.revision.number());
    event(EventKind::TaskStarted, 10, body).of_task(grant.task)
}

/// The task of the fixture; always the same bytes, so that permits can name it.
pub(crate) fn started_event() -> Event {
    static STARTED: OnceLock<Event> = OnceLock::new();
    let make = || {
        let consent = signed_consent(&consent("c-1"), &keys().person);
        started(&grant(task(), consent), &keys().grant)
    };
    STARTED.get_or_init(make).clone()
}

pub(crate) fn root_grant() -> String {
    let body = started_event().body;
    body.get("grant_digest")
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

pub(crate) fn enrolments() -> Vec<Event> {
    let person = id::<aims_types::Person>(1).to_string();
    let keys = keys();
    let key = |key: &PublicKey, purpose, owner: &str| {
        event(EventKind::KeyEnrolled, 0, key_body(key, purpose, owner))
    };
    let domain = Object::new().with("trust_domain", "aims.test");
    let alice = Object::new()
        .with("person", person.as_str())
        .with("name", "alice");
    vec![
        event(EventKind::DomainCreated, 0, domain),
        key(keys.log.public(), "log", "server"),
        key(keys.grant.public(), "grant", "server"),
        key(keys.person.public(), "person", &person),
        event(EventKind::PersonEnrolled, 0, alice.with("role", "operator")),
    ]
}

fn evidence() -> Object {
    let measured = |path: &str, n: u8| {
        let digest = Digest::from_bytes([n; 32]).to_string();
        Value::from(Object::new().with("path", path).with("digest", digest))
    };
    Object::new()
        .with("program", measured("/srv/agent.py", 1))
        .with("interpreter", measured("/usr/bin/python3", 2))
        .with("files", Vec::new())
        .with(
            "trees",
            vec![measured("/usr/lib/python3", 3), measured("/srv/venv", 4)],
        )
        .with("arguments", vec![Value::from("--fast")])
}

/// A launch that was refused, one that was attested, and its token.
pub(crate) fn launches() -> Vec<Event> {
    let run = |n| id::<aims_types::Run>(n).to_string();
    let node = id::<aims_types::Node>(8).to_string();
    let gap = Object::new()
        .with("part", "program")
        .with(
            "expected",
            format!("`/srv/agent.py` {}", Digest::from_bytes([1; 32])),
        )
        .with(
            "seen",
            format!("`/srv/agent.py` {}", Digest::from_bytes([9; 32])),
        );
    let refused = Object::new()
        .with("run", run(31))
        .with("node", node.as_str())
        .with("code", "evidence_mismatch")
        .with("reason", "what was seen is not as registered")
        .with("gaps", vec![Value::from(gap)])
        .with("gap_count", 3_u64);
    let posture = Object::new()
        .with("evidence", evidence())
        .with("assurance", "confined")
        .with("host_uid", 100_123_u64)
        .with("host", "box");
    let instance = id::<aims_types::Instance>(6).to_string();
    let attested = Object::new()
        .with("instance", instance.as_str())
        .with("run", run(32))
        .with("node", node.as_str())
        .with("agent", AGENT)
        .with("posture", posture);
    let token = Object::new()
        .with("instance", instance)
        .with("jti", id::<aims_types::Token>(9).to_string())
        .with("sha256", sha256(b"token").to_string())
        .with("audience", "https://gateway.aims.test")
        .with("expires_at", at(320).unix_millis());
    let asked = |n| Object::new().with("run", run(n));
    let redeemed = |n| asked(n).with("node", node.as_str());
    let events = vec![
        event(EventKind::RunRequested, 11, asked(31)),
        event(EventKind::RunRedeemed, 12, redeemed(31)),
        event(EventKind::InstanceRefused, 13, refused),
        event(EventKind::RunRequested, 14, asked(32)),
        event(EventKind::RunRedeemed, 15, redeemed(32)),
        event(EventKind::InstanceAttested, 16, attested),
        event(EventKind::TokenIssued, 17, token),
    ];
    events
        .into_iter()
        .map(|event| event.of_task(task()))
        .collect()
}

/// Everything the server says before the agent acts.
pub(crate) fn server_events() -> Vec<Event> {
    let mut events = enrolments();
    events.push(started_event());
    events.extend(launches());
    events
}

/// The body of a decision on a tool of `fs`.
pub(crate) fn decision(n: u128, decision: &str, tool: &str) -> Object {
    let subject = Object::new()
        .with("id", id::<aims_types::Person>(1).to_string())
        .with("name", "alice");
    let token = Object::new()
        .with("jti", id::<aims_types::Token>(9).to_string())
        .with("sha256", sha256(b"token").to_string());
    let principal = |name: &str| {
        Value::from(
            Object::new()
                .with("principal", name)
                .with("decision", "permit")
                .with("policies", vec![Value::from("default")]),
        )
    };
    Object::new()
        .with("agent", AGENT)
        .with("instance", id::<aims_types::Instance>(6).to_string())
        .with("subject", subject)
        .with(
            "resource",
            Object::new().with("server", "fs").with("tool", tool),
        )
        .with("action", "tools/call")
        .with("decision", decision)
        .with("decision_id", id::<aims_types::Decision>(n).to_string())
        .with("revision", 4_u64)
        .with("minted", 4_u64)
        .with("chain", vec![Value::from(root_grant())])
        .with("token", token)
        .with("arguments", sha256(b"{}").to_string())
        .with(
            "principals",
            vec![principal("person:alice"), principal("agent:notes")],
        )
}

pub(crate) fn intent(n: u128, tool: &str) -> Event {
    event(EventKind::CallIntent, 20, decision(n, "permit", tool)).of_task(task())
}

pub(crate) fn outcome(n: u128) -> Event {
    let body = Object::new()
        .with("decision_id", id::<aims_types::Decision>(n).to_string())
        .with("outcome", "ok")
        .with("result", sha256(b"result").to_string())
        .with("bytes", 532_u64)
        .with("millis", 12_u64);
    event(EventKind::CallOutcome, 21, body).of_task(task())
}

pub(crate) fn late(n: u128) -> Event {
    let body = Object::new()
        .with("decision_id", id::<aims_types::Decision>(n).to_string())
        .with("what", "sent")
        .with("late_millis", 120_u64)
        .with("lease_ended_at", 1_795_307_428_007_u64);
    event(EventKind::EffectLate, 21, body).of_task(task())
}

pub(crate) fn denial(n: u128) -> Event {
    let refused = Object::new()
        .with("delegation", id::<aims_types::Delegation>(105).to_string())
        .with("refused", "argument_outside_path")
        .with("argument", "path")
        .with("would_allow", "`/srv/notes` or a normalised path below it");
    let reason = "the argument is not a path within the directory allowed: `path` is `/etc/passwd`";
    let body = decision(n, "deny", "read_file")
        .with("authority", vec![Value::from(refused)])
        .with("reasons", vec![Value::from(reason)]);
    event(EventKind::CallDenied, 22, body).of_task(task())
}

/// The body of an erasure by alice.
pub(crate) fn erasure(task: Id<Task>) -> Object {
    Object::new()
        .with("task", task.to_string())
        .with("by", id::<aims_types::Person>(1).to_string())
        .with("materials", 2_u64)
        .with("reason", "she asked for it")
}

/// What the gateway says in the fixture: a permit with its outcome, a denial, an open permit.
pub(crate) fn gateway_events() -> Vec<Event> {
    vec![
        intent(1, "read_file"),
        outcome(1),
        denial(2),
        intent(3, "list_directory"),
    ]
}

/// The events as the chained records of one source.
pub(crate) fn records(source: Source, events: &[Event]) -> Vec<Vec<u8>> {
    let mut prev = FIRST_PREV;
    let number = |(seq, event): (u64, &Event)| {
        let record = event.encode(source, seq, prev).unwrap();
        prev = sha256(&record);
        record
    };
    (1..).zip(events).map(number).collect()
}

/// The events as a gateway ships them.
pub(crate) fn shipped(gateway: Id<Gateway>, events: &[Event]) -> Vec<Shipped> {
    let records = records(Source::Gateway(gateway), events);
    let ship = |(seq, record)| Shipped {
        seq,
        record,
        material: None,
    };
    (1..).zip(records).map(ship).collect()
}

/// An intent that commits to what it used.
pub(crate) fn intent_with(n: u128, used: &Material) -> Event {
    let mut event = intent(n, "read_file");
    let commitment = used.commitment().to_string();
    event.body = event.body.with("materials", commitment);
    event
}

/// A log that was never in a store: its files and its signed checkpoint.
pub(crate) struct Log {
    pub(crate) files: BTreeMap<TilePath, Vec<u8>>,
    pub(crate) checkpoint: SignedNote,
}

impl Log {
    /// The log of these records, signed by the fixture's key.
    pub(crate) fn of(records: &[Vec<u8>]) -> Self {
        let entries = records
            .iter()
            .map(|record| Entry::new(record.clone()).unwrap());
        let growth = Tree::empty().append(entries).unwrap();
        let checkpoint = Checkpoint {
            origin: ORIGIN.parse().unwrap(),
            size: growth.tree.size(),
            root: growth.tree.root(),
        };
        Self {
            checkpoint: checkpoint.sign(&signer()).unwrap(),
            files: growth.files.into_iter().collect(),
        }
    }

    /// The log of the server's events, then the gateway's.
    pub(crate) fn of_events(server: &[Event], gateway_events: &[Event]) -> Self {
        let mut all = records(Source::Server, server);
        all.extend(records(Source::Gateway(gateway()), gateway_events));
        Self::of(&all)
    }
}

/// A store with a directory for tiles.
pub(crate) struct Bench {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) vault: Vault,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let master = MasterKey::create(&dir.path().join("master"), &SystemEntropy).unwrap();
        let keys = KeyStore::open(&dir.path().join("keys"), master, &SystemEntropy).unwrap();
        let store = SqliteStore::open(dir.path().join("state/aims.db")).await;
        Self {
            store: Arc::new(store.unwrap()),
            dir,
            vault: Vault::new(Arc::new(keys), Arc::new(SystemEntropy)),
        }
    }

    pub(crate) fn tiles(&self) -> TileDir {
        TileDir::new(self.dir.path().join("tiles"))
    }

    pub(crate) async fn sequencer(&self) -> Sequencer {
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        Sequencer::open(store, signer(), self.tiles(), self.vault.clone())
            .await
            .unwrap()
    }

    pub(crate) async fn commit(&self, events: Vec<Event>) {
        self.store
            .begin()
            .await
            .unwrap()
            .commit(events)
            .await
            .unwrap();
    }

    /// Checks the whole log as the store's newest checkpoint promises it.
    pub(crate) async fn check(&self) -> crate::LogReport {
        let checkpoint = self.checkpoint().await;
        crate::check_log(&self.tiles(), &checkpoint, signer().verifier_key()).unwrap()
    }

    pub(crate) async fn checkpoint(&self) -> SignedNote {
        let head = self
            .store
            .read()
            .await
            .unwrap()
            .log_head()
            .await
            .unwrap()
            .unwrap();
        head.checkpoint.parse().unwrap()
    }
}
