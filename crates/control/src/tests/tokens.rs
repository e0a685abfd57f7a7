//! Token exchange, and everything that is refused.

use std::time::Duration;

use aims_crypto::SigningKey;
use aims_links::{Control, EndedInstance, TokenCall, TokenReply};
use aims_model::grant::grant_digest;
use aims_model::{EventKind, KeyPurpose};
use aims_oauth::{
    AccessToken, ClientCredential, ErrorResponse, TokenExchange, TokenExpect, TokenRequest,
    TokenResponse, TokenType, TypedToken, VerifiedAccessToken,
};
use aims_types::{Id, Secret};
use bytes::Bytes;

use super::world::{Host, ISSUER, RESOURCE, Running, World, new_key, signed, text};
use crate::tokens::TrustedKeys;

/// A request that a test can spoil before it is sent.
pub(super) struct Asking {
    pub(super) exchange: TokenExchange,
    pub(super) client: Option<ClientCredential>,
    pub(super) dpop: String,
}

fn typed(token: &str) -> TypedToken {
    TypedToken {
        token: Secret::new(token.to_owned()),
        token_type: TokenType::Jwt,
    }
}

pub(super) fn asking(world: &World, running: &Running) -> Asking {
    Asking {
        exchange: TokenExchange {
            subject: typed(&running.grant.grant),
            actor: Some(typed(&running.grant.wit)),
            requested_token_type: None,
            resource: Some(RESOURCE.to_owned()),
            audience: None,
            scope: None,
            authorization_details: None,
        },
        client: Some(client(world, &world.node)),
        dpop: world.proof(&running.key),
    }
}

pub(super) fn client(world: &World, host: &Host) -> ClientCredential {
    ClientCredential {
        client_id: Some(format!("spiffe://aims.local/node/{}", host.id)),
        assertion: world.client_assertion(host),
    }
}

pub(super) async fn send(world: &World, asking: Asking) -> TokenReply {
    let request = TokenRequest::Exchange(Box::new(asking.exchange));
    let form = request.to_form(asking.client.as_ref());
    let form = Bytes::from(form.expose().clone());
    let dpop = asking.dpop;
    world.plane.token(TokenCall { form, dpop }).await.unwrap()
}

/// A good token for the instance.
pub(super) async fn exchanged(world: &World, running: &Running) -> String {
    let reply = send(world, asking(world, running)).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let response = TokenResponse::parse(&reply.body).unwrap();
    response.access_token.expose().clone()
}

#[tokio::test]
async fn a_live_instance_gets_a_token_bound_to_its_key_and_chain() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let token = exchanged(&world, &running).await;
    let mut reader = world.parts.store.read().await.unwrap();
    let now = world.now();
    let keys = TrustedKeys::load(reader.as_mut(), KeyPurpose::Token, now)
        .await
        .unwrap();
    let expect = TokenExpect {
        issuer: ISSUER,
        audience: RESOURCE,
        now,
    };
    let verified = VerifiedAccessToken::verify(&token, &keys, &expect).unwrap();
    let AccessToken::Instance(read) = verified.into_inner() else {
        panic!("a person's token")
    };
    assert_eq!(read.subject, mia.id.to_string());
    assert_eq!(read.common.client_id, "spiffe://aims.local/agent/notes");
    assert_eq!(read.act.unwrap().current().sub, read.common.client_id);
    assert_eq!(read.common.jkt.to_string(), super::world::kid(&running.key));
    assert_eq!(read.common.expires_at, now.plus(Duration::from_mins(5)));
    assert_eq!(
        (read.task, read.instance),
        (running.task, running.grant.instance)
    );
    assert_eq!(read.chain.grants(), [grant_digest(&running.grant.grant)]);
    assert_eq!(read.revision, world.revision().await);
    let details = read.authorization_details.as_array().unwrap();
    assert_eq!(details[0].get("server").unwrap().as_str(), Some("git"));
    let records = world.records_of(EventKind::TokenIssued).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].event.task, Some(running.task));
    assert_eq!(text(&records[0], "jti"), read.common.token.to_string());
    assert_eq!(text(&records[0], "by"), world.node.id.to_string());
    assert!(!format!("{records:?}").contains(&token));
}

#[tokio::test]
async fn a_token_does_not_outlive_its_task() {
    let (world, mia) = World::ready().await;
    let mut consent = world.consent(&mia, "notes");
    consent.deadline = consent.deadline.plus(Duration::from_millis(500));
    let jws = signed(&consent, &mia.key);
    let started = world.plane.task_start(&world.cx(&mia), &jws).await;
    let task = started.unwrap().value.task.id;
    world.clock.forward(Duration::from_mins(57));
    let running = world.instance(&mia, task).await;
    let reply = send(&world, asking(&world, &running)).await;
    let response = TokenResponse::parse(&reply.body).unwrap();
    assert_eq!(response.expires_in, Duration::from_mins(3));
    // Whole seconds only: in the last half second nothing is issued.
    world.clock.forward(Duration::from_millis(180_200));
    let found = spoilt(&world, &running, |_| {}).await;
    assert_eq!(found.2, "task_ended");
}

/// Sends a spoilt request; gives status, error and the code on record.
async fn spoilt(
    world: &World,
    running: &Running,
    spoil: impl FnOnce(&mut Asking),
) -> (u16, String, String) {
    let mut asking = asking(world, running);
    spoil(&mut asking);
    refusal(world, asking).await
}

async fn refusal(world: &World, asking: Asking) -> (u16, String, String) {
    let before = world.records().await.len();
    let reply = send(world, asking).await;
    let error = ErrorResponse::parse(&reply.body).unwrap();
    assert_eq!(
        world.records().await.len(),
        before + 1,
        "one refusal on record"
    );
    (
        reply.status,
        error.code().to_string(),
        world.refused().await,
    )
}

#[tokio::test]
async fn a_refused_exchange_of_a_known_instance_is_in_the_trace_of_its_task() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    spoilt(&world, &running, |a| a.exchange.resource = None).await;
    let records = world.records_of(EventKind::RequestRefused).await;
    assert_eq!(records[0].event.task, Some(running.task));
    assert_eq!(text(&records[0], "by"), world.node.id.to_string());
}

fn expected(status: u16, error: &str, code: &str) -> (u16, String, String) {
    (status, error.to_owned(), code.to_owned())
}

#[tokio::test]
async fn whoever_is_not_the_instances_node_gets_nothing() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let other = world.other_node().await;
    let forged = Host {
        id: world.node.id,
        key: new_key(),
    };
    let lent = Host {
        id: world.node.id,
        key: other_key(&other),
    };
    let invalid = |code| expected(401, "invalid_client", code);
    let by = |host: &Host| Some(client(&world, host));
    let (wrong, not_enrolled, not_its_own) = (by(&other), by(&forged), by(&lent));
    let found = spoilt(&world, &running, |a| a.client = None).await;
    assert_eq!(found, invalid("no_client"));
    let found = spoilt(&world, &running, |a| a.client = not_enrolled).await;
    assert_eq!(found, invalid("foreign_client"));
    let found = spoilt(&world, &running, |a| a.client = not_its_own).await;
    assert_eq!(found, invalid("foreign_client"));
    let found = spoilt(&world, &running, |a| {
        a.client.as_mut().unwrap().client_id = Some("spiffe://aims.local/node/x".to_owned());
    });
    assert_eq!(found.await, invalid("client_differs"));
    let found = spoilt(&world, &running, |a| a.client = wrong).await;
    assert_eq!(found, expected(400, "invalid_request", "foreign_instance"));
    let mut early = asking(&world, &running);
    world.clock.forward(Duration::from_secs(66));
    early.dpop = world.proof(&running.key);
    assert_eq!(
        refusal(&world, early).await,
        invalid("client_assertion_refused")
    );
}

/// The key of a host, as a second value.
fn other_key(host: &Host) -> SigningKey {
    SigningKey::from_pkcs8(&host.key.to_pkcs8().unwrap()).unwrap()
}

#[tokio::test]
async fn assertions_and_proofs_count_once() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let once = client(&world, &world.node);
    let again = ClientCredential {
        client_id: once.client_id.clone(),
        assertion: once.assertion.clone(),
    };
    let mut first = asking(&world, &running);
    let dpop = first.dpop.clone();
    first.client = Some(once);
    assert_eq!(send(&world, first).await.status, 200);
    let found = spoilt(&world, &running, |a| a.client = Some(again)).await;
    assert_eq!(found.2, "assertion_replayed");
    let found = spoilt(&world, &running, |a| a.dpop = dpop).await;
    assert_eq!(found, expected(400, "invalid_dpop_proof", "proof_replayed"));
    assert_eq!(world.records_of(EventKind::TokenIssued).await.len(), 1);
}

#[tokio::test]
async fn a_proof_or_identity_of_something_else_is_refused() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let other = world.running(&mia, "notes").await;
    let dpop = |code| expected(400, "invalid_dpop_proof", code);
    let request = |code| expected(400, "invalid_request", code);
    let stranger = world.proof(&new_key());
    assert_eq!(
        spoilt(&world, &running, |a| a.dpop = stranger).await,
        dpop("actor_key")
    );
    let htu = format!("{ISSUER}/other");
    let elsewhere = world.proof_for(&running.key, ("POST", &htu), None);
    assert_eq!(
        spoilt(&world, &running, |a| a.dpop = elsewhere).await,
        dpop("proof_refused")
    );
    let no_proof = spoilt(&world, &running, |a| a.dpop.clear()).await;
    assert_eq!(no_proof, dpop("proof_refused"));
    // The identity of another instance, without and with that instance's key.
    let wit = typed(&other.grant.wit);
    let found = spoilt(&world, &running, |a| a.exchange.actor = Some(wit.clone())).await;
    assert_eq!(found, dpop("actor_key"));
    let proof = world.proof(&other.key);
    let found = spoilt(&world, &running, |a| {
        a.exchange.actor = Some(wit);
        a.dpop = proof;
    });
    assert_eq!(found.await, request("foreign_grant"));
    // The grant of another task.
    let grant = typed(&other.grant.grant);
    let found = spoilt(&world, &running, |a| a.exchange.subject = grant).await;
    assert_eq!(found, request("foreign_grant"));
    let found = spoilt(&world, &running, |a| a.exchange.subject = typed("a.b.c")).await;
    assert_eq!(found, request("unknown_grant"));
    let found = spoilt(&world, &running, |a| a.exchange.actor = None).await;
    assert_eq!(found, request("no_actor"));
    let wit = typed(&running.grant.grant);
    let found = spoilt(&world, &running, |a| a.exchange.actor = Some(wit)).await;
    assert_eq!(found, request("actor_refused"));
    let found = spoilt(&world, &running, |a| {
        a.exchange.subject.token_type = TokenType::AccessToken;
    });
    assert_eq!(found.await, request("token_type"));
}

#[tokio::test]
async fn nothing_but_the_grants_own_authority_for_the_gateway_is_issued() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let target = expected(400, "invalid_target", "wrong_target");
    let found = spoilt(&world, &running, |a| {
        a.exchange.resource = Some(ISSUER.to_owned());
    })
    .await;
    assert_eq!(found, target);
    let found = spoilt(&world, &running, |a| a.exchange.resource = None).await;
    assert_eq!(found, target);
    let found = spoilt(&world, &running, |a| {
        a.exchange.audience = Some(ISSUER.to_owned());
    })
    .await;
    assert_eq!(found, target);
    let found = spoilt(&world, &running, |a| {
        a.exchange.scope = Some("aims:admin".to_owned());
    })
    .await;
    assert_eq!(found, expected(400, "invalid_scope", "wrong_scope"));
    let more = aims_json::parse(br#"[{"type":"mcp_tool"}]"#, &aims_json::Limits::TOKEN).unwrap();
    let found = spoilt(&world, &running, |a| {
        a.exchange.authorization_details = Some(more);
    })
    .await;
    assert_eq!(
        found,
        expected(400, "invalid_authorization_details", "wrong_details")
    );
}

#[tokio::test]
async fn what_ended_gets_no_token() {
    let (world, mia) = World::ready().await;
    let cx = world.cx(&world.operator);
    let request = |code| expected(400, "invalid_request", code);
    let ended = world.running(&mia, "notes").await;
    let end = EndedInstance {
        node: world.node.id,
        instance: ended.grant.instance,
        how: "exited 0".to_owned(),
    };
    world.plane.instance_ended(end).await.unwrap().unwrap();
    assert_eq!(
        spoilt(&world, &ended, |_| {}).await,
        request("instance_ended")
    );
    let running = world.running(&mia, "notes").await;
    world.plane.task_end(&cx, running.task).await.unwrap();
    assert_eq!(
        spoilt(&world, &running, |_| {}).await,
        request("task_ended")
    );
    let running = world.running(&mia, "notes").await;
    world
        .plane
        .agent_suspend(&cx, &"notes".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(
        spoilt(&world, &running, |_| {}).await,
        request("agent_not_active")
    );
    world
        .plane
        .agent_activate(&cx, &"notes".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(spoilt(&world, &running, |_| {}).await, request("cut_off"));
    let running = world.running(&mia, "notes").await;
    world.clock.forward(Duration::from_secs(306));
    assert_eq!(
        spoilt(&world, &running, |_| {}).await,
        request("actor_refused")
    );
    let running = world.running(&world.operator, "notes").await;
    world.clock.forward(Duration::from_secs(1));
    exchanged(&world, &running).await;
    let running = world.running(&mia, "notes").await;
    world
        .plane
        .person_remove(&cx, &"mia".parse().unwrap())
        .await
        .unwrap();
    let found = spoilt(&world, &running, |_| {}).await;
    // The agent is suspended with its owner; either way nothing is issued.
    assert!(
        ["agent_not_active", "person_removed"].contains(&found.2.as_str()),
        "{found:?}"
    );
    assert_ne!(running.grant.instance, Id::from_u128(0));
}
