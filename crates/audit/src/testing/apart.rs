//! A trust domain in which an agent hands authority on, and people are asked.

use std::sync::OnceLock;

use aims_authority::Authority;
use aims_crypto::{Alg, Signer, SigningKey, sha256};
use aims_jose::{SigningHeader, sign};
use aims_json::{Object, Value};
use aims_model::approval::{APPROVAL_TYP, Answer, Asked};
use aims_model::grant::{
    DELEGATION_TYP, DelegationRequest, Delegator, GRANT_TYP, Grant, grant_digest,
};
use aims_model::{Event, EventKind};
use aims_oauth::WorkloadIdentityClaims;
use aims_types::{Digest, Id, Instance, Revision};

use super::{
    AGENT, at, consent, decision, enrolments, event, gateway, grant, id, key_body, keys, kid,
    signed_consent, started, task,
};

pub(crate) const SCRIBE: &str = "spiffe://aims.test/agent/scribe";
/// The root: what alice lets `notes` do.
const ROOT: &str = r#"{"authorization_details":[{"type":"mcp_tool","server":"fs",
    "actions":["read_file","write_file"],"arguments":{"path":{"path_prefix":"/srv"}}}],
    "limits":{"uses":4,"depth":2}}"#;
/// What `notes` lets `scribe` do.
const CHILD: &str = r#"{"authorization_details":[{"type":"mcp_tool","server":"fs",
    "actions":["write_file"],"arguments":{"path":{"path_prefix":"/srv/notes"}}}],
    "limits":{"uses":2,"depth":0}}"#;
/// What the approved call says.
pub(crate) const ARGUMENTS: &str = r#"{"path":"/srv/notes/a"}"#;

/// More keys, made once.
pub(crate) struct More {
    pub(crate) token: SigningKey,
    pub(crate) bob: SigningKey,
    pub(crate) notes: SigningKey,
    pub(crate) scribe: SigningKey,
}

pub(crate) fn more() -> &'static More {
    static KEYS: OnceLock<More> = OnceLock::new();
    let key = || SigningKey::generate(Alg::Es256).unwrap();
    KEYS.get_or_init(|| More {
        token: key(),
        bob: key(),
        notes: key(),
        scribe: key(),
    })
}

pub(crate) fn authority(text: &str) -> Authority {
    let value = aims_json::parse(text.as_bytes(), &aims_json::Limits::TOKEN).unwrap();
    Authority::from_value(&value).unwrap()
}

pub(crate) fn root_event() -> Event {
    static ROOTED: OnceLock<Event> = OnceLock::new();
    let make = || {
        let mut consent = consent("c-2");
        consent.authority = authority(ROOT);
        let mut root = grant(task(), signed_consent(&consent, &keys().person));
        root.authority = authority(ROOT);
        started(&root, &keys().grant)
    };
    ROOTED.get_or_init(make).clone()
}

pub(crate) fn digest_in(event: &Event) -> Digest {
    let digest = event.body.get("grant_digest").unwrap();
    digest.as_str().unwrap().parse().unwrap()
}

/// What an instance of `notes` asks for, and who vouches for it.
pub(crate) struct Handing {
    pub(crate) request: DelegationRequest,
    pub(crate) identity: WorkloadIdentityClaims,
    pub(crate) signed_by: &'static SigningKey,
    pub(crate) vouched_by: &'static SigningKey,
    /// Changes the grant before it is signed.
    pub(crate) change: fn(&mut Grant),
}

impl Handing {
    pub(crate) fn new() -> Self {
        Self {
            request: DelegationRequest {
                instance: id(6),
                audience: "aims.test".parse().unwrap(),
                jti: "d-1".to_owned(),
                issued_at: at(20),
                parent: digest_in(&root_event()),
                agent: "scribe".parse().unwrap(),
                purpose: "write them down".parse().unwrap(),
                deadline: at(600),
                authority: authority(CHILD),
            },
            identity: WorkloadIdentityClaims {
                issuer: None,
                subject: AGENT.parse().unwrap(),
                instance: id(6),
                key: *more().notes.public(),
                issued_at: at(15),
                expires_at: at(300),
                token: id(1),
            },
            signed_by: &more().notes,
            vouched_by: &more().token,
            change: |_| {},
        }
    }

    fn grant(&self) -> Grant {
        let signer = kid(self.signed_by.public());
        let header = SigningHeader::new(DELEGATION_TYP).kid(signer);
        let request = sign(&header, &self.request.to_claims().unwrap(), self.signed_by).unwrap();
        let voucher = kid(self.vouched_by.public());
        let wit = self.identity.create(self.vouched_by, &voucher).unwrap();
        let agent = format!("spiffe://aims.test/agent/{}", self.request.agent);
        let mut grant = Grant {
            id: id(201),
            issuer: "aims.test".parse().unwrap(),
            task: task(),
            purpose: self.request.purpose.clone(),
            delegator: Delegator::Agent {
                id: id(2),
                spiffe_id: AGENT.parse().unwrap(),
                instance: id(6),
                request,
                wit,
            },
            delegate: id(3),
            delegate_spiffe_id: agent.parse().unwrap(),
            ancestors: vec![id(105)],
            parent: Some(self.request.parent),
            authority: self.request.authority.clone(),
            revision: Revision::new(6),
            issued_at: at(20),
            expires_at: self.request.deadline,
        };
        (self.change)(&mut grant);
        grant
    }

    /// What the server records of it.
    pub(crate) fn event(&self) -> Event {
        let grant = self.grant();
        let header = SigningHeader::new(GRANT_TYP).kid(kid(keys().grant.public()));
        let jws = sign(&header, &grant.to_claims().unwrap(), &keys().grant).unwrap();
        let body = Object::new()
            .with("task", grant.task.to_string())
            .with("purpose", grant.purpose.as_str())
            .with("agent", grant.delegate_spiffe_id.as_str())
            .with("deadline", grant.expires_at.unix_millis())
            .with("delegation", grant.id.to_string())
            .with("grant_digest", grant_digest(&jws).to_string())
            .with("grant", jws)
            .with("parent", grant.parent.unwrap().to_string())
            .with("instance", id::<Instance>(6).to_string())
            .with("policy", Object::new().with("id", "pol_2"))
            .with("revision", grant.revision.number());
        event(EventKind::DelegationGranted, 20, body).of_task(grant.task)
    }
}

/// The delegation of the fixture; always the same bytes, so that permits can name it.
pub(crate) fn granted() -> Event {
    static GRANTED: OnceLock<Event> = OnceLock::new();
    GRANTED.get_or_init(|| Handing::new().event()).clone()
}

pub(crate) fn attested(n: u128, key: &SigningKey, delegation: u128, agent: &str) -> Event {
    let body = Object::new()
        .with("instance", id::<Instance>(n).to_string())
        .with("agent", agent)
        .with(
            "delegation",
            id::<aims_types::Delegation>(delegation).to_string(),
        )
        .with("jkt", kid(key.public()))
        .with("revision", u64::try_from(n).unwrap() - 1);
    event(EventKind::InstanceAttested, 16, body).of_task(task())
}

fn issued(instance: u128, jti: u128) -> Event {
    let body = Object::new()
        .with("instance", id::<Instance>(instance).to_string())
        .with("jti", id::<aims_types::Token>(jti).to_string())
        .with("sha256", sha256(b"token").to_string());
    event(EventKind::TokenIssued, 17, body).of_task(task())
}

/// Keys and people.
pub(crate) fn people() -> Vec<Event> {
    let bob = id::<aims_types::Person>(4).to_string();
    let enrolled = Object::new()
        .with("person", bob.as_str())
        .with("name", "bob")
        .with("role", "approver");
    let key = |key: &SigningKey, purpose, owner: &str| {
        event(
            EventKind::KeyEnrolled,
            1,
            key_body(key.public(), purpose, owner),
        )
    };
    let mut events = enrolments();
    events.push(key(&more().token, "token", "server"));
    events.push(key(&more().bob, "person", &bob));
    events.push(event(EventKind::PersonEnrolled, 1, enrolled));
    events
}

/// Everything before the delegation.
pub(crate) fn before() -> Vec<Event> {
    let mut events = people();
    events.push(root_event());
    events.push(attested(6, &more().notes, 105, AGENT));
    events.push(issued(6, 9));
    events
}

/// Everything that the server says before the agents act.
pub(crate) fn server() -> Vec<Event> {
    let mut events = before();
    events.push(granted());
    events.push(attested(7, &more().scribe, 201, SCRIBE));
    events.push(issued(7, 10));
    events
}

/// A permit of `notes` (instance 6) or `scribe` (instance 7).
pub(crate) fn permit(n: u128, instance: u128) -> Event {
    let mut chain = vec![Value::from(digest_in(&root_event()).to_string())];
    let (agent, tool) = if instance == 7 {
        chain.push(Value::from(digest_in(&granted()).to_string()));
        (SCRIBE, "write_file")
    } else {
        (AGENT, "read_file")
    };
    let token = Object::new()
        .with("jti", id::<aims_types::Token>(instance + 3).to_string())
        .with("sha256", sha256(b"token").to_string());
    let resource = Object::new()
        .with("server", "fs")
        .with("tool", tool)
        .with("pin", sha256(b"pin").to_string());
    let body = decision(n, "permit", tool)
        .with("agent", agent)
        .with("instance", id::<Instance>(instance).to_string())
        .with("resource", resource)
        .with("arguments", sha256(ARGUMENTS.as_bytes()).to_string())
        .with("token", token)
        .with("revision", 8_u64)
        .with("minted", 8_u64)
        .with(
            "policy",
            Object::new().with("id", id::<aims_types::Policy>(1).to_string()),
        )
        .with("chain", chain);
    event(EventKind::CallIntent, 30, body).of_task(task())
}

/// What bob is asked about: a call of `scribe`.
pub(crate) fn asked() -> Asked {
    Asked {
        task: task(),
        initiator: id(1),
        agent: SCRIBE.parse().unwrap(),
        instance: id(7),
        delegation: id(201),
        leaf: digest_in(&granted()),
        server: "fs".parse().unwrap(),
        tool: "write_file".to_owned(),
        pin: sha256(b"pin"),
        arguments: ARGUMENTS.to_owned(),
        policy: id(1),
        requirements: vec!["four-eyes".parse().unwrap()],
    }
}

fn approval_event(kind: EventKind, secs: u64, body: Object) -> Event {
    let body = body.with("approval", id::<aims_types::Approval>(1).to_string());
    aims_model::Event::new(kind, at(secs), body).of_task(task())
}

pub(crate) fn asked_event() -> Event {
    let asked = asked();
    let body = Object::new()
        .with("digest", asked.digest().unwrap().to_string())
        .with("server", asked.server.as_str())
        .with("tool", asked.tool.as_str())
        .with("agent", asked.agent.as_str())
        .with("instance", asked.instance.to_string())
        .with("requirements", vec![Value::from("four-eyes")])
        .with("deadline", at(900).unix_millis());
    approval_event(EventKind::ApprovalAsked, 25, body)
}

/// An answer to it by person `by`, signed with `key`, after a change of what is signed.
pub(crate) fn answer_event(by: u128, key: &SigningKey, change: fn(&mut Answer)) -> Event {
    let mut answer = Answer {
        person: id(by),
        audience: "aims.test".parse().unwrap(),
        issued_at: at(26),
        approval: id(1),
        digest: asked().digest().unwrap(),
        approve: true,
        reason: "as discussed".to_owned(),
    };
    change(&mut answer);
    let header = SigningHeader::new(APPROVAL_TYP).kid(kid(key.public()));
    let jws = sign(&header, &answer.to_claims().unwrap(), key).unwrap();
    let word = if answer.approve { "approve" } else { "deny" };
    let body = Object::new()
        .with("digest", asked().digest().unwrap().to_string())
        .with("answer", word)
        .with("by", id::<aims_types::Person>(by).to_string())
        .with("jws", jws)
        .with("reason", "as discussed");
    approval_event(EventKind::ApprovalAnswered, 26, body)
}

pub(crate) fn approved() -> Event {
    answer_event(4, &more().bob, |_| {})
}

pub(crate) fn ended_event(how: &str, decision: u128) -> Event {
    let body = Object::new()
        .with("how", how)
        .with("decision", id::<aims_types::Decision>(decision).to_string());
    approval_event(EventKind::ApprovalEnded, 40, body)
}

/// The permit of `scribe` that an approval was needed for, and that names it.
pub(crate) fn approved_permit(n: u128) -> Event {
    let requirement = Object::new()
        .with("policy", "four-eyes")
        .with("kind", "approval")
        .with("met", true);
    let used = Object::new()
        .with("id", id::<aims_types::Approval>(1).to_string())
        .with("digest", asked().digest().unwrap().to_string())
        .with("by", id::<aims_types::Person>(4).to_string());
    let mut permit = permit(n, 7);
    permit.body = permit
        .body
        .with("requirements", vec![Value::from(requirement)])
        .with("approval", used);
    permit
}

/// A kill at revision 8, as it is recorded.
pub(crate) fn killed(kind: &str, subject: &str) -> Event {
    let subject = Object::new().with("kind", kind).with("id", subject);
    let body = Object::new()
        .with("subject", subject)
        .with("revision", 8_u64)
        .with("reason", "it runs away");
    event(EventKind::Killed, 50, body).of_task(task())
}

/// Its receipt.
pub(crate) fn receipt(kind: &'static str, subject: &str) -> Event {
    let unknown = Object::new()
        .with("decision", id::<aims_types::Decision>(1).to_string())
        .with("what", "fs/write_file");
    let ended = Object::new()
        .with("calls", 1_u64)
        .with("servers", 1_u64)
        .with("tunnels", 0_u64)
        .with("instances", 0_u64)
        .with("unknown", vec![Value::from(unknown)])
        .with("unknown_more", 0_u64);
    let point = |point: String, how: &str, ended: Object| {
        Value::from(
            Object::new()
                .with("point", point)
                .with("how", how)
                .with("millis", 12_u64)
                .with("ended", ended),
        )
    };
    let node = id::<aims_types::Node>(8).to_string();
    let body = Object::new()
        .with("subject", Object::new().with(kind, subject))
        .with("revision", 8_u64)
        .with("asked_at", at(50).unix_millis())
        .with("millis", 3012_u64)
        .with("lease_millis", 3000_u64)
        .with(
            "points",
            vec![
                point(gateway().to_string(), "acknowledged", ended),
                point(node, "lapsed", Object::new()),
            ],
        )
        .with("foreign_until", Value::Null);
    event(EventKind::KillCompleted, 53, body).of_task(task())
}

/// A gateway owns the tree of the task.
pub(crate) fn owned(gateway: Id<aims_types::Gateway>, epoch: u64, released: bool) -> Event {
    let body = Object::new()
        .with("task", task().to_string())
        .with("gateway", gateway.to_string())
        .with("epoch", epoch)
        .with("released", released);
    event(EventKind::TreeOwned, 18, body).of_task(task())
}
