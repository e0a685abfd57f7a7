//! Values in which every member says something.

use std::sync::Arc;
use std::time::Duration;

use aims_crypto::sha256;
use aims_links::{
    Chain, ChainHop, ControlState, CredentialLease, InstanceGrant, Joined, LaunchOrder, LeaseGrant,
    PrincipalFacts, Refusal, ShippedRecord, Svid,
};
use aims_model::approval::{self, Asked};
use aims_model::evidence::{Arguments, Measured};
use aims_model::receipt::{Ended, UnknownEffect};
use aims_model::{
    Agent, Approval, Assurance, CutOff, EnrolledKey, Evidence, EvidenceGap, Expected, KeyOwner,
    KeyPurpose, MaterialKey, Person, Point, PolicyVersion, Posture, Role, ServerSpec, Subject,
    Task, ToolPin, ToolServer, Upstream, agent, task,
};
use aims_types::{Id, Revision, Secret, Timestamp};

const LETTERS: &str = "naïve \"text\" — 日本語";

fn at(secs: u64) -> Timestamp {
    Timestamp::from_unix_millis(1_800_000_000_123 + secs * 1000)
}

fn measured(path: &str) -> Measured {
    Measured {
        path: path.to_owned(),
        digest: sha256(path.as_bytes()),
    }
}

pub(super) fn refusal() -> Refusal {
    Refusal {
        code: "evidence_mismatch".into(),
        reason: LETTERS.to_owned(),
        gaps: vec![EvidenceGap {
            part: "program".to_owned(),
            expected: "a".to_owned(),
            seen: LETTERS.to_owned(),
        }],
    }
}

pub(super) fn svid() -> Svid {
    Svid {
        chain: vec![vec![1, 2], Vec::new(), vec![255]],
        bundle: vec![vec![0; 9]],
        expires_at: at(9),
    }
}

pub(super) fn joined(point: Point) -> Joined {
    Joined {
        point,
        trust_domain: "aims.test".parse().unwrap(),
        issuer: "https://aims.test".to_owned(),
        resource: "https://gateway.aims.test".to_owned(),
        svid: svid(),
    }
}

pub(super) fn agent() -> Agent {
    Agent {
        id: Id::from_u128(1),
        name: "coder".parse().unwrap(),
        spiffe_id: "spiffe://aims.test/agent/coder".parse().unwrap(),
        owner: Id::from_u128(2),
        purpose: LETTERS.parse().unwrap(),
        environment: "production".parse().unwrap(),
        service: None,
        evidence: Some(Expected {
            interpreter: Some(measured("/usr/bin/python3")),
            program: measured("/srv/agent é.py"),
            files: vec![measured("/srv/prompt.txt")],
            trees: vec![measured("/usr/lib/python3")],
            arguments: Arguments::Exactly(vec![String::new(), LETTERS.to_owned()]),
        }),
        assurance: Assurance::Confined,
        stage: agent::Stage::Active { since: at(3) },
        registered_at: at(2),
    }
}

pub(super) fn order() -> LaunchOrder {
    LaunchOrder {
        run: Id::from_u128(3),
        agent: agent(),
        task: Task {
            id: Id::from_u128(4),
            purpose: LETTERS.parse().unwrap(),
            agent: Id::from_u128(1),
            initiator: Id::from_u128(2),
            root: Id::from_u128(5),
            deadline: at(3600),
            stage: task::Stage::Frozen {
                since: at(4),
                at: at(5),
            },
        },
        delegation: Id::from_u128(5),
    }
}

pub(super) fn evidence() -> Evidence {
    Evidence {
        interpreter: None,
        program: measured("/srv/agent é.py"),
        files: Vec::new(),
        trees: vec![measured("/usr/lib/python3")],
        arguments: vec![LETTERS.to_owned()],
        environment: sha256(b"environment"),
        plan: sha256(b"plan"),
    }
}

pub(super) fn posture() -> Posture {
    Posture {
        evidence: evidence(),
        assurance: Assurance::Confined,
        host_uid: 100_000,
        host: LETTERS.to_owned(),
    }
}

pub(super) fn instance() -> InstanceGrant {
    InstanceGrant {
        instance: Id::from_u128(6),
        wit: "a.b.c".to_owned(),
        expires_at: at(60),
        grant: "d.e.f".to_owned(),
        issuer: "https://aims.test".to_owned(),
        resource: "https://gateway.aims.test".to_owned(),
        deadline: at(3600),
    }
}

pub(super) fn person() -> Person {
    Person {
        id: Id::from_u128(2),
        name: "ada".parse().unwrap(),
        role: Role::Operator,
        enrolled_at: at(0),
        removed_at: Some(at(7)),
    }
}

pub(crate) fn chain() -> Chain {
    let hop = |n: u128| ChainHop {
        jws: format!("e30.e30.{n}"),
        delegate: PrincipalFacts {
            id: Id::from_u128(n),
            name: "coder".parse().unwrap(),
            spiffe_id: "spiffe://aims.test/agent/coder".parse().unwrap(),
            owner: "ada".parse().unwrap(),
            environment: "production".parse().unwrap(),
        },
    };
    Chain {
        person: person(),
        hops: vec![hop(1), hop(2)],
        materials: MaterialKey::new(Secret::new([9; 32])),
    }
}

pub(super) fn records() -> Vec<ShippedRecord> {
    let record = |seq, material| ShippedRecord {
        seq,
        record: vec![7; 3],
        material,
    };
    vec![
        record(0, None),
        record(u64::MAX, Some(Vec::new())),
        record(1, Some(vec![0, 255])),
    ]
}

pub(super) fn lease() -> LeaseGrant {
    LeaseGrant {
        length: Duration::from_millis(5001),
        revision: Revision::new(8),
        server_time: at(1),
    }
}

pub(super) fn credential() -> CredentialLease {
    CredentialLease {
        sealed: vec![0, 255, 7],
        key: Secret::new(vec![1; 32]),
    }
}

pub(super) fn asked() -> Asked {
    Asked {
        task: Id::from_u128(4),
        initiator: Id::from_u128(2),
        agent: "spiffe://aims.test/agent/coder".parse().unwrap(),
        instance: Id::from_u128(6),
        delegation: Id::from_u128(5),
        leaf: sha256(b"leaf"),
        server: "git".parse().unwrap(),
        tool: "git_commit".to_owned(),
        pin: sha256(b"pin"),
        arguments: format!("{{\"message\": \"{}\"}}", "日本語"),
        policy: Id::from_u128(7),
        requirements: vec!["two-eyes".parse().unwrap()],
    }
}

pub(super) fn approval() -> Approval {
    Approval {
        id: Id::from_u128(8),
        digest: asked().digest().unwrap(),
        asked: asked(),
        asked_at: at(1),
        deadline: at(900),
        stage: approval::Stage::Approved {
            at: at(2),
            by: Id::from_u128(9),
            answer: "a.b.c".to_owned(),
        },
    }
}

pub(super) fn spec() -> ServerSpec {
    ServerSpec {
        argv: vec!["/usr/bin/git-mcp".to_owned(), "--a b".to_owned()],
        env: [("LANG".to_owned(), LETTERS.to_owned())].into(),
        trees: vec![measured("/usr/bin/git-mcp")],
        paths: Vec::new(),
        network: true,
    }
}

pub(super) fn pins() -> Vec<ToolPin> {
    vec![ToolPin {
        name: "read".to_owned(),
        digest: sha256(b"read"),
        input_schema: r#"{"type":"object"}"#.to_owned(),
        description: format!("two\nlines, a tab\t, a NUL \0 and {LETTERS}"),
    }]
}

pub(super) fn ended() -> Ended {
    Ended {
        calls: 1,
        servers: 2,
        tunnels: 3,
        instances: u32::MAX,
        unknown: vec![UnknownEffect {
            decision: Id::from_u128(10),
            what: "git/git_commit".to_owned(),
        }],
        unknown_more: 5,
    }
}

pub(super) fn state(revision: u64) -> ControlState {
    ControlState {
        revision: Revision::new(revision),
        issuer: "https://aims.test".to_owned(),
        policy: policy("permit(principal, action, resource);"),
        servers: Arc::new(vec![ToolServer {
            id: Id::from_u128(1),
            name: "git".parse().unwrap(),
            purpose: LETTERS.parse().unwrap(),
            spec: spec(),
            tools: pins(),
            registered_at: at(1),
        }]),
        upstreams: Arc::new(vec![upstream()]),
        keys: Arc::new(vec![EnrolledKey {
            kid: "kid".to_owned(),
            jwk: "{}".to_owned(),
            purpose: KeyPurpose::Ca,
            owner: KeyOwner::Server,
            enrolled_at: at(0),
            retired_at: None,
            certificate: Some("AAAA".to_owned()),
        }]),
        cutoffs: cutoffs(1),
        approvals: Arc::new(vec![approval()]),
    }
}

fn upstream() -> Upstream {
    let spec = r#"{"url":"https://[::1]:8443","private":true,"headers":{"x-version":"1"},
        "endpoints":[{"methods":["POST"],"path":"/v1"}]}"#;
    Upstream {
        id: Id::from_u128(11),
        name: "model".parse().unwrap(),
        purpose: LETTERS.parse().unwrap(),
        spec: serde_json::from_str(spec).unwrap(),
        version: u32::MAX,
        registered_at: at(1),
        rotated_at: Some(at(2)),
        retired_at: None,
    }
}

pub(super) fn policy(text: &str) -> Arc<PolicyVersion> {
    Arc::new(PolicyVersion {
        id: Id::from_u128(7),
        text: text.to_owned(),
        digest: sha256(text.as_bytes()),
        author: Some(Id::from_u128(2)),
        activated_at: at(0),
    })
}

/// So many cut-offs.
pub(super) fn cutoffs(many: u128) -> Arc<Vec<CutOff>> {
    let cut = |n| CutOff {
        subject: Subject::Task(Id::from_u128(n)),
        at_or_before: Revision::new(1),
    };
    Arc::new((0..many).map(cut).collect())
}
