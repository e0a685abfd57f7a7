//! What the server records before anybody acts.

use super::*;

pub(super) fn server() -> ToolServer {
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

pub(super) fn registrations(plan: &Plan) -> Vec<Event> {
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
pub(super) fn issued(hops: &Hops) -> Vec<Event> {
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
