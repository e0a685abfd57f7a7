//! A small trust domain as its records say it, in which an agent hands authority on and a person
//! approves: everything that a proof can be made of.

mod gateway;
mod server;

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
    Approval, Assurance, Event, EventKind, Evidence, Expected, Posture, RecordName, ServerSpec,
    Source, ToolPin, ToolServer,
};
use aims_oauth::{Chain, WorkloadIdentityClaims};
use aims_policy::AgentFacts;
use aims_tlog::{
    Checkpoint, Entry, NoteSigner, SignedNote, TileHashes, TilePath, Tree, VerifierKey,
};
use aims_tlog::{prove_consistency, prove_inclusion};
use aims_types::{self as types, Digest, Id, Revision, Timestamp};

use crate::{
    AgentUsed, Gathering, Included, Materials, ProofFile, Since, Tools, Trust, Used, Verified,
    VerifyError, verify,
};

use self::gateway::{approval, asked, decided, intent, used};
use self::server::{issued, registrations, server};

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
        let log = log_key();
        let mut gathering = Gathering::new(decision(), &log);
        while let Some(name) = gathering.wanted().unwrap() {
            let found = grown.first(&name).map(|place| grown.included(place));
            gathering.answer(name, found).unwrap();
        }
        ProofFile {
            decision: decision(),
            checkpoint: grown.checkpoint.clone(),
            records: gathering.into_records(),
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

    /// The place of the first record with the name.
    pub(crate) fn first(&self, name: &RecordName) -> Option<usize> {
        let mut records = self.records.iter();
        records.position(|bytes| name.is_of(&aims_model::Record::decode(bytes).unwrap().event))
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
