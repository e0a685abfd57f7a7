//! Values to store. The number makes each one different; some use every letter there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use aims_crypto::sha256;
use aims_json::Object;
use aims_model::approval::Asked;
use aims_model::evidence::{Arguments, Measured};
use aims_model::server::DataPath;
use aims_model::upstream::{RawBounds, RawCredentialUse, RawEndpoint, RawUpstreamSpec, Upstream};
use aims_model::{
    Agent, Approval, Assurance, EnrolledKey, Event, EventKind, Evidence, Expected, Instance,
    JoinToken, KeyOwner, KeyPurpose, LeaseRow, Person, Point, PointKind, PolicyVersion, Posture,
    ProcessSeen, Run, ServerSpec, Service, ServiceInstance, Task, ToolPin, ToolServer, agent,
    approval, instance, person, service, task,
};
use aims_types::{self as types, Digest, Id, Name, Revision, Timestamp, TrustDomain};

use super::outcome::Outcome;
use crate::{Store, StoredGrant};

/// Text with accents, an emoji of several code points, right-to-left letters, quotes, a character
/// beyond the first plane, one that is none, and what SQL reads as its own.
pub(super) const LETTERS: &str = "é e\u{301} 👩‍🚒 שלום \"'`\\ 𝔸 \u{ffff} % _ ; --";

pub(super) const fn at(secs: u64) -> Timestamp {
    Timestamp::from_unix_secs(1_795_000_000 + secs)
}

pub(super) fn name(kind: &str, n: u128) -> Outcome<Name> {
    Ok(format!("{kind}-{n}").parse()?)
}

pub(super) fn digest(kind: &str, n: u128) -> Digest {
    sha256(format!("{kind} {n}").as_bytes())
}

pub(super) fn person(n: u128) -> Outcome<Person> {
    Ok(Person {
        id: Id::from_u128(n),
        name: name("person", n)?,
        role: person::Role::Member,
        enrolled_at: at(1),
        removed_at: None,
    })
}

pub(super) fn key(n: u128, purpose: KeyPurpose, owner: KeyOwner) -> EnrolledKey {
    EnrolledKey {
        kid: format!("thumbprint-{n}"),
        jwk: r#"{"crv":"P-256","kty":"EC","x":"AA","y":"_-"}"#.to_owned(),
        purpose,
        owner,
        enrolled_at: at(10 + u64::try_from(n).unwrap_or(0)),
        retired_at: None,
        certificate: (purpose == KeyPurpose::Ca).then(|| "MIIB+/==".to_owned()),
    }
}

fn measured(path: &str) -> Measured {
    Measured {
        path: path.to_owned(),
        digest: sha256(path.as_bytes()),
    }
}

pub(super) fn agent(n: u128, owner: Id<types::Person>) -> Outcome<Agent> {
    let name = name("agent", n)?;
    let domain: TrustDomain = "aims.local".parse()?;
    Ok(Agent {
        id: Id::from_u128(n),
        spiffe_id: domain.id(&format!("agent/{name}"))?,
        name,
        owner,
        purpose: LETTERS.parse()?,
        environment: "production".parse()?,
        service: None,
        evidence: Some(Expected {
            interpreter: Some(measured("/usr/bin/python3")),
            program: measured("/srv/agent é.py"),
            files: vec![measured("/srv/prompt.txt")],
            trees: Vec::new(),
            arguments: Arguments::Exactly(vec![String::new(), LETTERS.to_owned()]),
        }),
        assurance: Assurance::Confined,
        stage: agent::Stage::Draft,
        registered_at: at(2),
    })
}

pub(super) fn server(n: u128) -> Outcome<ToolServer> {
    let env = [
        ("LANG".to_owned(), LETTERS.to_owned()),
        ("EMPTY".to_owned(), String::new()),
    ];
    Ok(ToolServer {
        id: Id::from_u128(n),
        name: name("server", n)?,
        purpose: LETTERS.parse()?,
        spec: ServerSpec {
            argv: vec!["/usr/bin/git-mcp".to_owned(), "--a b".to_owned()],
            env: BTreeMap::from(env),
            trees: vec![measured("/usr/bin/git-mcp")],
            paths: vec![DataPath {
                path: "/srv/repo".to_owned(),
                writable: true,
            }],
            network: true,
        },
        tools: vec![ToolPin {
            name: "read".to_owned(),
            digest: digest("tool", n),
            input_schema: r#"{"type":"object"}"#.to_owned(),
            description: format!("two\nlines, a tab\t, a NUL \0, a \u{2028} and {LETTERS}"),
        }],
        registered_at: at(3),
    })
}

pub(super) fn service(n: u128, owner: Id<types::Person>) -> Outcome<Service> {
    let name = name("service", n)?;
    let domain: TrustDomain = "aims.local".parse()?;
    Ok(Service {
        id: Id::from_u128(n),
        spiffe_id: domain.id(&format!("service/{name}"))?,
        name,
        owner,
        purpose: LETTERS.parse()?,
        node: Id::from_u128(1),
        executable: measured("/usr/bin/service é"),
        host_uid: u32::MAX,
        cgroup: Some("/system.slice".to_owned()),
        stage: service::Stage::Active { since: at(4) },
        registered_at: at(4),
    })
}

pub(super) fn service_instance(n: u128, service: Id<types::Service>) -> ServiceInstance {
    ServiceInstance {
        id: Id::from_u128(n),
        service,
        node: Id::from_u128(1),
        keys: Vec::new(),
        seen: ProcessSeen {
            boot: "boot-1".to_owned(),
            pid: 7,
            started: u64::MAX,
            executable: measured("/usr/bin/service é"),
            host_uid: 0,
            cgroup: LETTERS.to_owned(),
        },
        stage: instance::Stage::Live { since: at(6) },
    }
}

pub(super) fn upstream(n: u128) -> Outcome<Upstream> {
    let spec = RawUpstreamSpec {
        url: "https://models.example:8443".to_owned(),
        ca: None,
        private: true,
        credential: RawCredentialUse::default(),
        headers: BTreeMap::from([("x-version".to_owned(), "2026-01-01".to_owned())]),
        endpoints: vec![RawEndpoint {
            methods: vec!["GET".to_owned(), "POST".to_owned()],
            path: "/v1".to_owned(),
        }],
        limits: RawBounds::default(),
    };
    Ok(Upstream {
        id: Id::from_u128(n),
        name: name("upstream", n)?,
        purpose: LETTERS.parse()?,
        spec: spec.try_into()?,
        version: 1,
        registered_at: at(3),
        rotated_at: None,
        retired_at: None,
    })
}

pub(super) fn policy(n: u128, text: &str) -> PolicyVersion {
    PolicyVersion {
        id: Id::from_u128(n),
        text: text.to_owned(),
        digest: sha256(text.as_bytes()),
        author: None,
        activated_at: at(4),
    }
}

pub(super) fn task(n: u128) -> Outcome<Task> {
    Ok(Task {
        id: Id::from_u128(n),
        purpose: LETTERS.parse()?,
        agent: Id::from_u128(1),
        initiator: Id::from_u128(1),
        root: Id::from_u128(n),
        deadline: at(3600),
        stage: task::Stage::Open { since: at(5) },
    })
}

pub(super) fn grant(n: u128, task: Id<types::Task>) -> StoredGrant {
    let digest = digest("grant", n);
    StoredGrant {
        id: Id::from_u128(n),
        digest,
        task,
        jws: format!("e30.e30.{n}"),
    }
}

pub(super) fn run(n: u128, task: Id<types::Task>) -> Run {
    Run {
        id: Id::from_u128(n),
        task,
        agent: Id::from_u128(1),
        delegation: Id::from_u128(n),
        requested_by: Id::from_u128(1),
        parent: n.is_multiple_of(2).then(|| Id::from_u128(n)),
        ticket: digest("ticket", n),
        expires_at: at(60),
        redeemed_at: None,
        redeemed_by: None,
    }
}

pub(super) fn instance(n: u128, run: &Run) -> Instance {
    let evidence = Evidence {
        interpreter: None,
        program: measured("/srv/agent é.py"),
        files: Vec::new(),
        trees: vec![measured("/usr/lib/python3")],
        arguments: vec![LETTERS.to_owned()],
        environment: digest("environment", n),
        plan: digest("plan", n),
    };
    Instance {
        id: Id::from_u128(n),
        agent: run.agent,
        task: run.task,
        run: run.id,
        node: Some(Id::from_u128(1)),
        process: None,
        posture: Some(Posture {
            evidence,
            assurance: Assurance::Confined,
            host_uid: u32::MAX,
            host: "host-1".to_owned(),
        }),
        jkt: format!("thumbprint-{n}"),
        jwk: format!("{{\"kid\":\"{n}\"}}"),
        stage: instance::Stage::Live { since: at(6) },
    }
}

/// A request for approval of an action of person 1's task.
pub(super) fn approval(n: u128) -> Outcome<Approval> {
    let asked = Asked {
        task: Id::from_u128(1),
        initiator: Id::from_u128(1),
        agent: "spiffe://aims.local/agent/agent-1".parse()?,
        instance: Id::from_u128(1),
        delegation: Id::from_u128(1),
        leaf: digest("grant", 1),
        server: name("server", 1)?,
        tool: "git_commit".to_owned(),
        pin: digest("tool", 1),
        arguments: format!("{{\"n\": {n}, \"text\": {LETTERS:?}}}"),
        policy: Id::from_u128(1),
        requirements: vec![name("requirement", 1)?],
    };
    Ok(Approval {
        id: Id::from_u128(n),
        digest: asked.digest()?,
        asked,
        asked_at: at(6),
        deadline: at(906),
        stage: approval::Stage::Pending {},
    })
}

pub(super) fn join_token(n: u128, kind: PointKind) -> JoinToken {
    JoinToken {
        digest: digest("join token", n),
        kind,
        made_by: Id::from_u128(1),
        expires_at: at(600),
        used_by: None,
    }
}

pub(super) fn lease(point: Point, n: u64) -> LeaseRow {
    LeaseRow {
        point,
        boot: format!("boot-{n} {LETTERS}"),
        until: (1 << 53) + n,
        acknowledged: Revision::new(n),
        address: Some(format!("host-{n}:8711")),
    }
}

/// An event that says `n`.
pub(super) fn event(n: u64) -> Event {
    let body = Object::new().with("n", n).with("text", LETTERS);
    Event::new(EventKind::TaskStarted, at(7), body)
}

/// Commits what others refer to: person 1 and agent 1, who work on task 1 by launch 1.
pub(super) async fn populate(store: &Arc<dyn Store>) -> Outcome<(Task, Run)> {
    let mut txn = store.begin().await?;
    let (person, task) = (person(1)?, task(1)?);
    let run = run(1, task.id);
    txn.person_insert(&person).await?;
    txn.agent_insert(&agent(1, person.id)?).await?;
    txn.task_insert(&task).await?;
    txn.run_insert(&run).await?;
    txn.commit(Vec::new()).await?;
    Ok((task, run))
}
