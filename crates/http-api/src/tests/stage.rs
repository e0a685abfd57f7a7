//! A world in which every route has something to work on, and a good request for each.

use std::time::Duration;

use crate::Route;
use aims_authority::Authority;
use aims_control::{
    AddUpstream, Proof, RegisterAgent, RegisterServer, RegisterService, RequestRun,
};
use aims_crypto::{SigningKey, sha256};
use aims_jose::{SigningHeader, sign};
use aims_json::{Limits, parse};
use aims_links::{Attestation, Control, InstanceGrant, RequestedRun, TokenCall};
use aims_model::approval::{APPROVAL_TYP, Asked};
use aims_model::evidence::{Arguments, Measured};
use aims_model::grant::{CONSENT_TYP, Consent, grant_digest};
use aims_model::{Approval, Assurance, Evidence, Expected, Posture, Role, ServerSpec};
use aims_oauth::{
    AssertionClaims, ClientAssertion, ClientCredential, TokenExchange, TokenRequest, TokenResponse,
    TokenType, TypedToken,
};
use aims_types::{self as types, Clock, Digest, Id, Secret};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::world::{Answer, ISSUER, POLICY, RESOURCE, Somebody, World, jwk, kid, new_key};

pub(super) struct Stage {
    pub(super) world: World,
    /// Owns the agents `notes` (active) and `sketch` (draft).
    pub(super) mia: Somebody,
    /// A task of `notes`.
    pub(super) task: Id<types::Task>,
    /// A frozen task of `notes`.
    frozen: Id<types::Task>,
    /// A task of `notes` that ended.
    ended: Id<types::Task>,
    /// What an instance of a third task waits for.
    pub(super) approval: Approval,
}

/// How a request authenticates: the values of the headers, each as often as it comes.
pub(super) struct Credentials {
    pub(super) authorization: Vec<String>,
    pub(super) dpop: Vec<String>,
}

impl Stage {
    pub(super) async fn new() -> Self {
        let world = World::new().await;
        let mia = world.enrol("mia", Role::Member).await;
        world.enrol("victor", Role::Member).await;
        let cx = world.cx(&world.operator);
        for (name, draft) in [("notes", false), ("sketch", true)] {
            let agent = RegisterAgent {
                name: name.to_owned(),
                owner: Some("mia".to_owned()),
                purpose: Some("writes release notes".to_owned()),
                environment: Some("production".to_owned()),
                evidence: Proof::Program(expected()),
                draft,
            };
            world.plane.agent_register(&cx, agent).await.unwrap();
        }
        let server = RegisterServer {
            name: "git".to_owned(),
            purpose: "reads repositories".to_owned(),
            spec: spec(),
        };
        world.plane.server_register(&cx, server).await.unwrap();
        world.plane.service_register(&cx, service()).await.unwrap();
        let upstream = AddUpstream {
            name: "model".to_owned(),
            purpose: "answers questions".to_owned(),
            spec: serde_json::from_value(upstream_spec()).unwrap(),
            secret: Secret::new(b"hush-hush-hush".to_vec()),
        };
        world.plane.upstream_add(&cx, upstream).await.unwrap();
        let frozen = start(&world, &mia).await;
        world.plane.task_freeze(&cx, frozen).await.unwrap();
        let ended = start(&world, &mia).await;
        world.plane.task_end(&cx, ended).await.unwrap();
        let (waiting, task) = (start(&world, &mia).await, start(&world, &mia).await);
        let (instance, _) = attested(&world, &mia, waiting).await;
        let asked = asked(&world, &mia, (waiting, &instance)).await;
        let approval = world.plane.approval_ask(world.gateway, asked).await;
        Self {
            approval: approval.unwrap().unwrap(),
            world,
            mia,
            task,
            frozen,
            ended,
        }
    }

    /// The path of a route about something that is there.
    pub(super) fn path(&self, route: &Route) -> String {
        let name = match route.path {
            "/v1/people/{name}/remove" => "victor",
            "/v1/agents/{name}/activate" => "sketch",
            "/v1/services/{name}/retire" => "mail",
            path if path.starts_with("/v1/upstreams/") => "model",
            _ => "notes",
        };
        let path = route.path.replace("{name}", name);
        let id = match route.path {
            "/v1/tasks/{id}/resume" => self.frozen.to_string(),
            "/v1/tasks/{id}/erase" => self.ended.to_string(),
            path if path.starts_with("/v1/approvals/") => self.approval.id.to_string(),
            path if path.starts_with("/v1/decisions/") => {
                aims_types::Id::<aims_types::Decision>::from_u128(7).to_string()
            }
            _ => self.task.to_string(),
        };
        path.replace("{id}", &id)
    }

    /// The JSON body of a good request by `person`; `None` where there is none.
    pub(super) fn body(&self, route: &Route, person: &Somebody) -> Option<Value> {
        match (route.method, route.path) {
            ("POST", "/v1/people") => {
                Some(json!({"name": "newcomer", "role": "member", "jwk": jwk(&new_key())}))
            }
            ("POST", "/v1/agents") => Some(json!({
                "name": "fresh", "owner": "mia", "purpose": "writes", "environment": "production",
                "evidence": expected(),
            })),
            ("POST", "/v1/servers") => {
                Some(json!({"name": "files", "purpose": "reads files", "spec": spec()}))
            }
            ("POST", "/v1/services") => Some(json!({"name": "fresh", "owner": "mia",
                "purpose": "sends invoices", "host_uid": 1001, "key_export": true,
                "executable": measured("/usr/bin/billing", 7)})),
            ("POST", "/v1/upstreams") => Some(json!({
                "name": "search", "purpose": "finds pages", "spec": upstream_spec(),
                "secret": "hush-0123456789",
            })),
            ("POST", "/v1/upstreams/{name}/rotate") => Some(json!({"secret": "hush-9876543210"})),
            ("POST", "/v1/policy") => Some(json!({"text": POLICY})),
            ("POST", "/v1/tasks") => Some(json!({"consent": consent(&self.world, person)})),
            ("POST", "/v1/runs") => Some(json!({"task": self.task, "agent": "notes"})),
            ("POST", "/v1/kills") => {
                Some(json!({"kind": "task", "id": self.task, "reason": "it went astray"}))
            }
            ("POST", "/v1/tasks/{id}/erase") => Some(json!({"reason": "she asked for it"})),
            ("POST", "/v1/approvals/{id}/answer") => {
                Some(json!({"jws": answer(&self.world, person, &self.approval)}))
            }
            ("POST", "/v1/join-tokens") => Some(json!({"kind": "node"})),
            _ => None,
        }
    }

    /// Good credentials of `person` for a route.
    pub(super) fn credentials(&self, route: &Route, person: &Somebody, token: &str) -> Credentials {
        let target = (route.method, self.path(route));
        let target = (target.0, target.1.as_str());
        Credentials {
            authorization: vec![format!("DPoP {token}")],
            dpop: vec![self.world.proof(&person.key, target, Some(token))],
        }
    }

    /// Sends a route's good request by `person` with these credentials.
    pub(super) async fn send(
        &self,
        route: &Route,
        person: &Somebody,
        credentials: &Credentials,
    ) -> Answer {
        let mut request = Request::builder()
            .method(route.method)
            .uri(self.path(route));
        for value in &credentials.authorization {
            request = request.header("authorization", value);
        }
        for value in &credentials.dpop {
            request = request.header("dpop", value);
        }
        let body = match self.body(route, person) {
            Some(body) => {
                request = request.header("content-type", "application/json");
                body.to_string()
            }
            None => String::new(),
        };
        self.world.send(request.body(body.into()).unwrap()).await
    }

    /// Sends a route's good request by `person`, authenticated.
    pub(super) async fn call(&self, route: &Route, person: &Somebody, token: &str) -> Answer {
        let credentials = self.credentials(route, person, token);
        self.send(route, person, &credentials).await
    }

    /// The access token of an attested instance, with the instance as if it were a person.
    pub(super) async fn instance(&self) -> (Somebody, String) {
        let (world, plane) = (&self.world, &self.world.plane);
        let (grant, key) = attested(world, &self.mia, self.task).await;
        let (node, node_key) = (world.node.0, &world.node.1);
        let claims = AssertionClaims {
            audience: ISSUER,
            kid: Some(&kid(node_key)),
            jti: &world.jti(),
            now: world.clock.now(),
        };
        let id = format!("spiffe://aims.local/node/{node}");
        let client = ClientCredential {
            assertion: Secret::new(ClientAssertion::create(node_key, &id, &claims).unwrap()),
            client_id: Some(id),
        };
        let typed = |token: &str| TypedToken {
            token: Secret::new(token.to_owned()),
            token_type: TokenType::Jwt,
        };
        let exchange = TokenExchange {
            subject: typed(&grant.grant),
            actor: Some(typed(&grant.wit)),
            requested_token_type: None,
            resource: Some(RESOURCE.to_owned()),
            audience: None,
            scope: None,
            authorization_details: None,
        };
        let form = TokenRequest::Exchange(Box::new(exchange)).to_form(Some(&client));
        let call = TokenCall {
            form: Bytes::from(form.expose().clone()),
            dpop: world.proof(&key, ("POST", "/token"), None),
        };
        let reply = plane.token(call).await.unwrap();
        let token = TokenResponse::parse(&reply.body).unwrap().access_token;
        let id = self.mia.id;
        (Somebody { id, key }, token.expose().clone())
    }
}

/// A task of `notes`.
async fn start(world: &World, person: &Somebody) -> Id<types::Task> {
    let consent = consent(world, person);
    let started = world.plane.task_start(&world.cx(person), &consent).await;
    started.unwrap().value.task.id
}

/// An instance of `notes` for a task, with its key.
async fn attested(
    world: &World,
    person: &Somebody,
    task: Id<types::Task>,
) -> (InstanceGrant, SigningKey) {
    let agent = "notes".to_owned();
    let (plane, node) = (&world.plane, world.node.0);
    let asked = RequestRun { task, agent };
    let ticket = plane.run_request(&world.cx(person), asked).await.unwrap();
    let ticket = ticket.ticket;
    let order = plane.run_redeem(RequestedRun { node, ticket }).await;
    let key = new_key();
    let attestation = Attestation {
        node,
        run: order.unwrap().unwrap().run,
        posture: posture(),
        jwk: jwk(&key),
    };
    let grant = plane.instance_attest(attestation).await.unwrap().unwrap();
    (grant, key)
}

/// What a gateway asks for an instance of a task that wants to read a log.
async fn asked(
    world: &World,
    person: &Somebody,
    (task, instance): (Id<types::Task>, &InstanceGrant),
) -> Asked {
    let mut reader = world.parts.store.read().await.unwrap();
    Asked {
        task,
        initiator: person.id,
        agent: "spiffe://aims.local/agent/notes".parse().unwrap(),
        instance: instance.instance,
        delegation: reader.task(task).await.unwrap().unwrap().root,
        leaf: grant_digest(&instance.grant),
        server: "git".parse().unwrap(),
        tool: "git_log".to_owned(),
        pin: sha256(b"git_log"),
        arguments: r#"{"repo_path":"/srv/repo"}"#.to_owned(),
        policy: reader.policy_current().await.unwrap().unwrap().id,
        requirements: vec!["ask-first".parse().unwrap()],
    }
}

/// A yes of `person`.
fn answer(world: &World, person: &Somebody, approval: &Approval) -> String {
    let answer = aims_model::approval::Answer {
        person: person.id,
        audience: "aims.local".parse().unwrap(),
        issued_at: world.clock.now(),
        approval: approval.id,
        digest: approval.digest,
        approve: true,
        reason: String::new(),
    };
    let header = SigningHeader::new(APPROVAL_TYP).kid(kid(&person.key));
    sign(&header, &answer.to_claims().unwrap(), &person.key).unwrap()
}

/// A consent of `person` to read a log with the agent `notes`.
fn consent(world: &World, person: &Somebody) -> String {
    consent_for(world, person, "notes")
}

/// A consent of `person` to read a log with an agent.
pub(super) fn consent_for(world: &World, person: &Somebody, agent: &str) -> String {
    let authority = r#"{"authorization_details":[{"type":"mcp_tool","server":"git",
        "actions":["git_log"],"arguments":{"repo_path":{"equals":"/srv/repo"}}}],
        "limits":{"uses":10}}"#;
    let authority = parse(authority.as_bytes(), &Limits::MESSAGE).unwrap();
    let consent = Consent {
        person: person.id,
        audience: "aims.local".parse().unwrap(),
        jti: world.jti(),
        issued_at: world.clock.now(),
        agent: agent.parse().unwrap(),
        purpose: "write the release notes".parse().unwrap(),
        deadline: world.clock.now().plus(Duration::from_hours(1)),
        authority: Authority::from_value(&authority).unwrap(),
    };
    let header = SigningHeader::new(CONSENT_TYP).kid(kid(&person.key));
    sign(&header, &consent.to_claims().unwrap(), &person.key).unwrap()
}

fn measured(path: &str, byte: u8) -> Measured {
    Measured {
        path: path.to_owned(),
        digest: Digest::from_bytes([byte; 32]),
    }
}

fn expected() -> Expected {
    Expected {
        interpreter: None,
        program: measured("/srv/agent.py", 2),
        files: Vec::new(),
        trees: Vec::new(),
        arguments: Arguments::Any,
    }
}

fn posture() -> Posture {
    let Expected { program, .. } = expected();
    Posture {
        evidence: Evidence {
            interpreter: None,
            program,
            files: Vec::new(),
            trees: Vec::new(),
            arguments: Vec::new(),
            environment: Digest::from_bytes([6; 32]),
            plan: Digest::from_bytes([7; 32]),
        },
        assurance: Assurance::Confined,
        host_uid: 70_001,
        host: "host".to_owned(),
    }
}

fn service() -> RegisterService {
    RegisterService {
        name: "mail".to_owned(),
        owner: Some("mia".to_owned()),
        purpose: Some("sends letters".to_owned()),
        node: None,
        executable: measured("/usr/bin/mail", 6),
        host_uid: 1001,
        cgroup: None,
        key_export: true,
    }
}

fn upstream_spec() -> Value {
    json!({
        "url": "https://models.example",
        "endpoints": [{"methods": ["POST"], "path": "/v1"}],
    })
}

pub(super) fn spec() -> ServerSpec {
    ServerSpec {
        argv: vec!["/usr/bin/git-mcp".to_owned()],
        env: [("TOKEN".to_owned(), "hush".to_owned())].into(),
        trees: vec![measured("/usr/bin/git-mcp", 9)],
        paths: Vec::new(),
        network: false,
    }
}
