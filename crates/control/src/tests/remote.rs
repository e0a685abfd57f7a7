//! Agents that run elsewhere and hold their own keys: registration, tokens, their end.

use std::time::Duration;

use aims_crypto::SigningKey;
use aims_json::Value;
use aims_links::{TokenCall, TokenReply};
use aims_model::{Assurance, EventKind, Instance};
use aims_oauth::{
    AccessToken, AssertionClaims, ClientAssertion, ClientCredential, ClientCredentials,
    ErrorResponse, InstanceToken, TokenExpect, TokenRequest, TokenResponse, VerifiedAccessToken,
};
use aims_types::{self as types, Id, Secret};
use bytes::Bytes;

use super::delegations::{call, request};
use super::kill::killing;
use super::world::{
    ISSUER, RESOURCE, Somebody, World, agent, jwk, kid, launch, new_key, signed, text,
};
use crate::{AGENT_KEYS_MAX, Proof, REMOTE_INSTANCES_MAX, Refused, RegisterAgent};

/// An agent that runs elsewhere, with a task that `mia` started for it.
pub(super) struct Remote {
    pub(super) name: &'static str,
    pub(super) key: SigningKey,
    pub(super) task: Id<types::Task>,
}

fn registration(name: &str, assurance: &str, keys: &[&SigningKey]) -> RegisterAgent {
    RegisterAgent {
        evidence: Proof::Keys {
            assurance: assurance.to_owned(),
            jwks: keys.iter().map(|key| jwk(key)).collect(),
        },
        ..agent(name, "mia")
    }
}

impl Remote {
    pub(super) async fn new(world: &World, mia: &Somebody, name: &'static str) -> Self {
        let key = new_key();
        let cx = world.cx(&world.operator);
        let asked = registration(name, "key_held", &[&key]);
        world.plane.agent_register(&cx, asked).await.unwrap();
        let task = world.start(mia, name).await.task.id;
        Self { name, key, task }
    }

    pub(super) fn id(&self) -> String {
        format!("spiffe://aims.local/agent/{}", self.name)
    }

    pub(super) fn client(&self, world: &World) -> ClientCredential {
        client(world, &self.id(), &self.key)
    }

    pub(super) fn asked(&self) -> ClientCredentials {
        ClientCredentials {
            task: Some(self.task.to_string()),
            resource: Some(RESOURCE.to_owned()),
            scope: None,
            authorization_details: None,
        }
    }

    /// A good request, with a key of the run.
    pub(super) async fn ask(&self, world: &World, run: &SigningKey) -> TokenReply {
        let client = self.client(world);
        send(world, (self.asked(), Some(client)), world.proof(run)).await
    }

    pub(super) async fn token(&self, world: &World, run: &SigningKey) -> String {
        let reply = self.ask(world, run).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let response = TokenResponse::parse(&reply.body).unwrap();
        response.access_token.expose().clone()
    }
}

pub(super) fn client(world: &World, id: &str, key: &SigningKey) -> ClientCredential {
    let claims = AssertionClaims {
        audience: ISSUER,
        kid: Some(&kid(key)),
        jti: &world.jti(),
        now: world.now(),
    };
    ClientCredential {
        client_id: Some(id.to_owned()),
        assertion: Secret::new(ClientAssertion::create(key, id, &claims).unwrap()),
    }
}

pub(super) async fn send(
    world: &World,
    (asked, client): (ClientCredentials, Option<ClientCredential>),
    dpop: String,
) -> TokenReply {
    let request = TokenRequest::ClientCredentials(Box::new(asked));
    let form = request.to_form(client.as_ref());
    let form = Bytes::from(form.expose().clone());
    world
        .plane
        .oauth_token(TokenCall { form, dpop }, None)
        .await
        .unwrap()
}

/// Status, error, and the code of the one record.
pub(super) async fn refusal(world: &World, reply: &TokenReply) -> (u16, String, String) {
    let error = ErrorResponse::parse(&reply.body).unwrap();
    (
        reply.status,
        error.code().to_string(),
        world.refused().await,
    )
}

pub(super) async fn claims(world: &World, token: &str) -> InstanceToken {
    let keys = world.plane.oauth_keys().await.unwrap();
    let expect = TokenExpect {
        issuer: ISSUER,
        audience: RESOURCE,
        now: world.now(),
    };
    let verified = VerifiedAccessToken::verify(token, &keys, &expect).unwrap();
    let AccessToken::Instance(token) = verified.into_inner() else {
        panic!("a person's token")
    };
    token
}

pub(super) async fn instance(world: &World, id: Id<types::Instance>) -> Instance {
    let mut reader = world.parts.store.read().await.unwrap();
    reader.instance(id).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_held_key_gets_a_token_that_says_what_it_is_worth() {
    let (world, mia) = World::ready().await;
    let (remote, run) = (Remote::new(&world, &mia, "planner").await, new_key());
    let token = claims(&world, &remote.token(&world, &run).await).await;
    assert_eq!(token.assurance, "key_held");
    assert_eq!(token.common.client_id, remote.id());
    assert_eq!(token.act.unwrap().current().sub, remote.id());
    assert_eq!(token.common.jkt.to_string(), kid(&run));
    assert_eq!(
        (token.subject, token.task),
        (mia.id.to_string(), remote.task)
    );
    let made = instance(&world, token.instance).await;
    assert_eq!(made.assurance(), Assurance::KeyHeld);
    assert_eq!((made.node, made.posture.is_none()), (None, true));
    let attested = world.records_of(EventKind::InstanceAttested).await;
    let posture = attested[0].event.body.get("posture").unwrap();
    assert_eq!(
        posture.get("assurance").and_then(Value::as_str),
        Some("key_held")
    );
    assert_eq!(text(&attested[0], "key"), kid(&remote.key));
    let issued = world.records_of(EventKind::TokenIssued).await;
    assert_eq!((attested.len(), issued.len()), (1, 1));
    assert!(text(&issued[0], "by").starts_with("agt_"), "{issued:?}");
    // The gateways have heard of the revision that the token was minted at.
    assert!(world.gateway.newest().revision >= token.revision);
}

#[tokio::test]
async fn one_key_is_one_run_and_another_key_another() {
    let (world, mia) = World::ready().await;
    let (remote, run) = (Remote::new(&world, &mia, "planner").await, new_key());
    let first = claims(&world, &remote.token(&world, &run).await).await;
    world.clock.forward(Duration::from_mins(4));
    let again = claims(&world, &remote.token(&world, &run).await).await;
    assert_eq!(first.instance, again.instance);
    let other = claims(&world, &remote.token(&world, &new_key()).await).await;
    assert_ne!(first.instance, other.instance);
    assert_eq!(world.records_of(EventKind::InstanceAttested).await.len(), 2);
    // Another task of the agent, and another agent, can't share a run's key.
    let task = world.start(&mia, "planner").await.task.id;
    let second = Remote {
        task,
        key: copy(&remote.key),
        ..remote
    };
    let shared = second.ask(&world, &run).await;
    assert_eq!(refusal(&world, &shared).await, dpop("key_taken"));
    let courier = Remote::new(&world, &mia, "courier").await;
    let shared = courier.ask(&world, &run).await;
    assert_eq!(refusal(&world, &shared).await, dpop("key_taken"));
    // Nor is an enrolled key one, not even the agent's own.
    let enrolled = courier.ask(&world, &courier.key).await;
    assert_eq!(refusal(&world, &enrolled).await, dpop("key_taken"));
}

fn copy(key: &SigningKey) -> SigningKey {
    SigningKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap()
}

fn dpop(code: &str) -> (u16, String, String) {
    (400, "invalid_dpop_proof".to_owned(), code.to_owned())
}

fn grant(code: &str) -> (u16, String, String) {
    (400, "invalid_grant".to_owned(), code.to_owned())
}

#[tokio::test]
async fn runs_of_a_task_are_bounded() {
    let (world, mia) = World::ready().await;
    let remote = Remote::new(&world, &mia, "planner").await;
    for _ in 0..REMOTE_INSTANCES_MAX {
        assert_eq!(remote.ask(&world, &new_key()).await.status, 200);
    }
    let more = remote.ask(&world, &new_key()).await;
    assert_eq!(refusal(&world, &more).await, grant("too_many_instances"));
}

#[tokio::test]
async fn whatever_is_killed_issues_nothing_any_more() {
    let (world, mia) = World::ready().await;
    let cx = world.cx(&world.operator);
    let names = [
        "by-task",
        "by-agent",
        "by-instance",
        "by-key",
        "by-run",
        "by-end",
    ];
    for name in names {
        let (remote, run) = (Remote::new(&world, &mia, name).await, new_key());
        let token = claims(&world, &remote.token(&world, &run).await).await;
        let kill = match name {
            "by-task" => killing("task", &remote.task.to_string()),
            "by-agent" => killing("agent", name),
            "by-instance" => killing("instance", &token.instance.to_string()),
            "by-key" => killing("key", &kid(&remote.key)),
            _ => killing("key", &kid(&run)),
        };
        if name == "by-end" {
            world.plane.task_end(&cx, remote.task).await.unwrap();
        } else {
            world.plane.kill(&cx, kill).await.unwrap();
        }
        let code = match name {
            "by-task" | "by-end" => grant("task_ended"),
            "by-agent" => grant("agent_not_active"),
            "by-key" => (
                401,
                "invalid_client".to_owned(),
                "foreign_client".to_owned(),
            ),
            _ => grant("instance_killed"),
        };
        for key in [&run, &new_key()] {
            let reply = remote.ask(&world, key).await;
            assert_eq!(refusal(&world, &reply).await, code, "{name}");
        }
        world.plane.end_elsewhere().await.unwrap();
        let ended = instance(&world, token.instance).await;
        assert!(!ended.stage.is_live(), "{name}");
    }
}

#[tokio::test]
async fn trap_32_a_kill_that_comes_first_is_seen_and_one_that_comes_later_covers() {
    let (world, mia) = World::ready().await;
    let (remote, cx) = (
        Remote::new(&world, &mia, "planner").await,
        world.cx(&world.operator),
    );
    let key = new_key();
    let kill = killing("task", &remote.task.to_string());
    let (reply, receipt) =
        futures_util::future::join(remote.ask(&world, &key), world.plane.kill(&cx, kill)).await;
    let receipt = receipt.unwrap();
    if reply.status == 200 {
        let response = TokenResponse::parse(&reply.body).unwrap();
        let token = claims(&world, response.access_token.expose()).await;
        assert!(token.revision <= receipt.revision, "the cut-off covers it");
    } else {
        assert_eq!(refusal(&world, &reply).await.2, "task_ended");
    }
}

#[tokio::test]
async fn a_key_is_worth_what_the_registration_says_aloud() {
    let (world, _) = World::ready().await;
    let cx = world.cx(&world.operator);
    let (key, taken) = (new_key(), new_key());
    let first = registration("first", "key_held", &[&taken]);
    world.plane.agent_register(&cx, first).await.unwrap();
    let before = world.revision().await;
    let many: Vec<SigningKey> = (0..=AGENT_KEYS_MAX).map(|_| new_key()).collect();
    let many: Vec<&SigningKey> = many.iter().collect();
    let node = &world.node.key;
    let mut unreadable = registration("fresh", "key_held", &[&key]);
    if let Proof::Keys { jwks, .. } = &mut unreadable.evidence {
        jwks[0] = r#"{"kty":"EC"}"#.to_owned();
    }
    for (code, asked) in [
        ("bad_assurance", registration("fresh", "confined", &[&key])),
        ("bad_assurance", registration("fresh", "", &[&key])),
        ("bad_assurance", registration("fresh", "key_Held", &[&key])),
        ("key_count", registration("fresh", "key_held", &[])),
        ("key_count", registration("fresh", "key_held", &many)),
        ("key_taken", registration("fresh", "key_held", &[&taken])),
        (
            "key_taken",
            registration("fresh", "key_held", &[&key, &key]),
        ),
        ("key_taken", registration("fresh", "key_held", &[node])),
        ("bad_key", unreadable),
    ] {
        let error = world.plane.agent_register(&cx, asked).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(world.refused().await, code);
    }
    assert_eq!(world.revision().await, before);
    let enrolled = world.records_of(EventKind::KeyEnrolled).await;
    assert_eq!(text(enrolled.last().unwrap(), "purpose"), "agent");
}

#[tokio::test]
async fn what_runs_elsewhere_is_neither_started_nor_handed_anything_here() {
    let (world, mia) = World::ready().await;
    let remote = Remote::new(&world, &mia, "planner").await;
    let mut asked = launch(remote.task);
    asked.agent = "planner".to_owned();
    let error = world.plane.run_request(&world.cx(&mia), asked).await;
    assert_eq!(error.unwrap_err().code(), "runs_elsewhere");
    let mut consent = world.consent(&mia, "notes");
    consent.authority = super::delegations::deep(1, 10);
    let jws = signed(&consent, &mia.key);
    let started = world.plane.task_start(&world.cx(&mia), &jws).await;
    let running = world.instance(&mia, started.unwrap().value.task.id).await;
    let handed = request(&world, &running, "planner");
    let call = call(&world, &running, &handed);
    let refused = aims_links::Control::delegate(&world.plane, call).await;
    assert_eq!(refused.unwrap().unwrap_err().code, "runs_elsewhere");
}

#[tokio::test]
async fn an_instance_that_may_go_on_is_left_alone() {
    let (world, mia) = World::ready().await;
    let (remote, run) = (Remote::new(&world, &mia, "planner").await, new_key());
    let token = claims(&world, &remote.token(&world, &run).await).await;
    let before = world.revision().await;
    world.plane.end_elsewhere().await.unwrap();
    assert!(instance(&world, token.instance).await.stage.is_live());
    assert_eq!(world.revision().await, before);
    world.clock.forward(Duration::from_hours(2));
    world.plane.end_elsewhere().await.unwrap();
    assert!(!instance(&world, token.instance).await.stage.is_live());
}
