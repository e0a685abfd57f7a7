//! Introspection, revocation and published keys, and every refusal of the endpoints on the network.

use std::time::Duration;

use aims_crypto::SigningKey;
use aims_jose::{SigningHeader, sign, typ};
use aims_json::Value;
use aims_links::TokenReply;
use aims_model::{EventKind, KeyPurpose, Subject};
use aims_oauth::{
    AssertionClaims, ClientAssertion, ClientCredential, ErrorResponse, PersonGrant, TokenRequest,
};
use aims_types::Secret;
use bytes::Bytes;

use super::kill::killing;
use super::remote::{Remote, client, send};
use super::world::{ISSUER, World, kid, new_key, text};

/// The form of a request about a token.
fn about(token: &str, client: Option<&ClientCredential>) -> Bytes {
    let mut form = url_encoded("token", token);
    if let Some(client) = client {
        form += "&client_assertion_type=";
        form += "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&";
        form += &url_encoded("client_assertion", client.assertion.expose());
    }
    form.into()
}

/// Tokens and assertions have no character that needs escapes.
fn url_encoded(name: &str, value: &str) -> String {
    format!("{name}={value}")
}

async fn introspected(world: &World, token: &str, client: &ClientCredential) -> Value {
    let form = about(token, Some(client));
    let reply = world.plane.oauth_introspect(form, None).await.unwrap();
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    aims_json::parse(&reply.body, &aims_json::Limits::TOKEN).unwrap()
}

fn is_active(told: &Value) -> bool {
    told.get("active") == Some(&Value::from(true))
}

async fn gateway(world: &World) -> ClientCredential {
    let key = new_key();
    let cx = world.plane.cx(aims_types::Actor::Server).unwrap();
    let id = aims_types::Id::from_u128(77);
    let peer = world.gateway.clone();
    let jwk = super::world::jwk(&key);
    let joined = world.plane.gateway_join(&cx, id, &jwk, peer).await;
    joined.unwrap();
    client(world, &format!("spiffe://aims.local/gateway/{id}"), &key)
}

#[tokio::test]
async fn trap_28_whatever_is_wrong_with_a_token_nothing_is_said_of_it() {
    let (world, mia) = World::ready().await;
    let (remote, run) = (Remote::new(&world, &mia, "planner").await, new_key());
    let courier = Remote::new(&world, &mia, "courier").await;
    let token = remote.token(&world, &run).await;
    let own = introspected(&world, &token, &remote.client(&world)).await;
    assert!(is_active(&own));
    for (name, wanted) in [("sub", mia.id.to_string()), ("client_id", remote.id())] {
        assert_eq!(own.get(name).and_then(Value::as_str), Some(wanted.as_str()));
    }
    let act = own.get("act").and_then(|act| act.get("sub")?.as_str());
    assert_eq!(act, Some(remote.id().as_str()));
    let by_gateway = introspected(&world, &token, &gateway(&world).await).await;
    assert_eq!(by_gateway, own);
    let nothing = r#"{"active":false}"#;
    let by_other = introspected(&world, &token, &courier.client(&world)).await;
    assert_eq!(by_other.to_string(), nothing, "of another client");
    let kept: String = token.chars().take(token.len() - 4).collect();
    let forged = format!("{kept}AAAA");
    for text in [forged.as_str(), "no-token", "a.b.c"] {
        let told = introspected(&world, text, &remote.client(&world)).await;
        assert_eq!(told.to_string(), nothing, "{text}");
    }
    world.clock.forward(Duration::from_mins(6));
    let told = introspected(&world, &token, &remote.client(&world)).await;
    assert_eq!(told.to_string(), nothing, "expired");
}

#[tokio::test]
async fn a_killed_token_is_inactive_at_once() {
    let (world, mia) = World::ready().await;
    let (remote, run) = (Remote::new(&world, &mia, "planner").await, new_key());
    let token = remote.token(&world, &run).await;
    let cx = world.cx(&world.operator);
    let kill = killing("task", &remote.task.to_string());
    world.plane.kill(&cx, kill).await.unwrap();
    assert!(!is_active(
        &introspected(&world, &token, &remote.client(&world)).await
    ));
}

pub(super) async fn revoke(world: &World, token: &str, client: &ClientCredential) -> TokenReply {
    let form = about(token, Some(client));
    world.plane.oauth_revoke(form, None).await.unwrap()
}

#[tokio::test]
async fn a_revoked_run_is_cut_off_everywhere_when_the_call_returns() {
    let (world, mia) = World::ready().await;
    let (remote, run) = (Remote::new(&world, &mia, "planner").await, new_key());
    let token = remote.token(&world, &run).await;
    let other = remote.token(&world, &new_key()).await;
    let before = world.records().await.len();
    let done = revoke(&world, &token, &remote.client(&world)).await;
    assert_eq!((done.status, done.body.len()), (200, 0));
    // The gateway has the cut-off of the run's key, and not of the other run's.
    let state = world.gateway.newest();
    let cut = |key: &SigningKey| {
        let subject = Subject::Key(kid(key));
        state.cutoffs.iter().any(|cut| cut.subject == subject)
    };
    assert!(cut(&run) && state.revision == world.revision().await);
    assert!(is_active(
        &introspected(&world, &other, &remote.client(&world)).await
    ));
    let ended = world.records_of(EventKind::InstanceEnded).await;
    assert_eq!(text(&ended[0], "how"), "its token was revoked");
    assert!(text(&ended[0], "by").starts_with("agt_"));
    assert_eq!(
        world.records().await.len(),
        before + 1,
        "one record of the revocation"
    );
    // Again, and of something else: answered alike, and nothing happens.
    let revision = world.revision().await;
    for text in [token.as_str(), "no-token"] {
        let done = revoke(&world, text, &remote.client(&world)).await;
        assert_eq!((done.status, done.body.len()), (200, 0));
    }
    assert_eq!(world.records().await.len(), before + 1);
    assert!(world.revision().await >= revision);
    // The key of the run is used up; another one begins another run.
    assert_eq!(remote.ask(&world, &run).await.status, 400);
    assert_eq!(world.refused().await, "key_taken");
    assert_eq!(remote.ask(&world, &new_key()).await.status, 200);
}

#[tokio::test]
async fn nobody_revokes_the_token_of_another_client() {
    let (world, mia) = World::ready().await;
    let (remote, run) = (Remote::new(&world, &mia, "planner").await, new_key());
    let courier = Remote::new(&world, &mia, "courier").await;
    let token = remote.token(&world, &run).await;
    let refused = revoke(&world, &token, &courier.client(&world)).await;
    assert_eq!(refused.status, 400);
    assert_eq!(world.refused().await, "foreign_token");
    assert!(is_active(
        &introspected(&world, &token, &remote.client(&world)).await
    ));
}

#[tokio::test]
async fn a_retired_key_is_listed_as_long_as_a_token_of_its_may_live() {
    let (world, mia) = World::ready().await;
    let (remote, run) = (Remote::new(&world, &mia, "planner").await, new_key());
    remote.token(&world, &run).await;
    let listed = async || world.plane.oauth_keys().await.unwrap().keys().len();
    let mut txn = world.parts.store.begin().await.unwrap();
    let mut key = txn.keys(KeyPurpose::Token).await.unwrap().remove(0);
    key.retired_at = Some(world.now());
    txn.key_update(&key).await.unwrap();
    txn.commit(Vec::new()).await.unwrap();
    assert_eq!(listed().await, 1);
    world.clock.forward(Duration::from_mins(15));
    assert_eq!(listed().await, 1);
    world.clock.forward(Duration::from_secs(6));
    assert_eq!(listed().await, 0);
}

#[tokio::test]
async fn a_killed_key_is_listed_no_more() {
    let (world, _) = World::ready().await;
    let old = new_key();
    let mut txn = world.parts.store.begin().await.unwrap();
    let enrolled = crate::keyring::enrolled(
        aims_crypto::Signer::public(&old),
        KeyPurpose::Token,
        aims_model::KeyOwner::Server,
        world.now().minus(Duration::from_hours(1)),
    );
    txn.key_insert(&enrolled).await.unwrap();
    txn.commit(Vec::new()).await.unwrap();
    assert_eq!(world.plane.oauth_keys().await.unwrap().keys().len(), 2);
    let cx = world.cx(&world.operator);
    world
        .plane
        .kill(&cx, killing("key", &kid(&old)))
        .await
        .unwrap();
    let left = world.plane.oauth_keys().await.unwrap();
    assert!(left.find(&kid(&old)).is_none() && left.keys().len() == 1);
}

/// An assertion made wrong in one way.
fn assertion(world: &World, remote: &Remote, how: &str) -> ClientCredential {
    let now = world.now();
    let (audience, key) = match how {
        "trap 15: for the token endpoint" => (format!("{ISSUER}/token"), &remote.key),
        "for another server" => ("https://other.example".to_owned(), &remote.key),
        _ => (ISSUER.to_owned(), &remote.key),
    };
    let subject = match how {
        "of another agent" => "spiffe://aims.local/agent/courier".to_owned(),
        "of an agent that is not there" => "spiffe://aims.local/agent/nobody".to_owned(),
        "of another trust domain" => "spiffe://other.example/agent/planner".to_owned(),
        "trap 16: of a longer path" => format!("{}/x", remote.id()),
        "of a node" => format!("spiffe://aims.local/node/{}", world.node.id),
        _ => remote.id(),
    };
    let claims = AssertionClaims {
        audience: &audience,
        kid: Some(&kid(key)),
        jti: &world.jti(),
        now: if how == "old" {
            now.minus(Duration::from_mins(2))
        } else {
            now
        },
    };
    let text = match how {
        "with another type" => {
            let header = SigningHeader::new(typ::WORKLOAD_IDENTITY).kid(kid(key));
            let claims = format!(
                r#"{{"iss":"{0}","sub":"{0}","aud":"{ISSUER}","jti":"x","iat":{1},"exp":{2}}}"#,
                remote.id(),
                now.unix_secs(),
                now.unix_secs() + 60
            );
            sign(&header, claims.as_bytes(), key).unwrap()
        }
        "by another key under the same name" => {
            ClientAssertion::create(&new_key(), &subject, &claims).unwrap()
        }
        _ => ClientAssertion::create(key, &subject, &claims).unwrap(),
    };
    ClientCredential {
        client_id: None,
        assertion: Secret::new(text),
    }
}

const WRONG_CLIENTS: [&str; 10] = [
    "trap 15: for the token endpoint",
    "for another server",
    "of another agent",
    "of an agent that is not there",
    "of another trust domain",
    "trap 16: of a longer path",
    "of a node",
    "old",
    "with another type",
    "by another key under the same name",
];

#[tokio::test]
async fn trap_15_no_endpoint_opens_to_an_assertion_that_does_not_count() {
    let (world, mia) = World::ready().await;
    let (remote, run) = (Remote::new(&world, &mia, "planner").await, new_key());
    Remote::new(&world, &mia, "courier").await;
    let token = remote.token(&world, &run).await;
    let revision = world.revision().await;
    let invalid = |reply: &TokenReply, how: &str| {
        let error = ErrorResponse::parse(&reply.body).unwrap();
        let found = (reply.status, error.code().to_string());
        assert_eq!(found, (401, "invalid_client".to_owned()), "{how}");
    };
    for how in WRONG_CLIENTS {
        let before = world.records().await.len();
        let wrong = || assertion(&world, &remote, how);
        let asked = (remote.asked(), Some(wrong()));
        invalid(&send(&world, asked, world.proof(&run)).await, how);
        let form = about(&token, Some(&wrong()));
        invalid(
            &world.plane.oauth_introspect(form, None).await.unwrap(),
            how,
        );
        invalid(&revoke(&world, &token, &wrong()).await, how);
        assert_eq!(
            world.records().await.len(),
            before + 3,
            "{how}: each on record"
        );
    }
    let nobody = send(&world, (remote.asked(), None), world.proof(&run)).await;
    invalid(&nobody, "nobody");
    let form = || about(&token, None);
    invalid(
        &world.plane.oauth_introspect(form(), None).await.unwrap(),
        "nobody",
    );
    invalid(
        &world.plane.oauth_revoke(form(), None).await.unwrap(),
        "nobody",
    );
    assert_eq!(world.revision().await, revision);
}

#[tokio::test]
async fn an_assertion_counts_once_at_all_endpoints_together() {
    let (world, mia) = World::ready().await;
    let (remote, run) = (Remote::new(&world, &mia, "planner").await, new_key());
    let token = remote.token(&world, &run).await;
    let once = remote.client(&world);
    assert!(is_active(&introspected(&world, &token, &once).await));
    let form = about(&token, Some(&once));
    for reply in [
        world
            .plane
            .oauth_introspect(form.clone(), None)
            .await
            .unwrap(),
        world.plane.oauth_revoke(form, None).await.unwrap(),
        send(&world, (remote.asked(), Some(once)), world.proof(&run)).await,
    ] {
        assert_eq!(reply.status, 400);
        assert_eq!(world.refused().await, "assertion_replayed");
    }
}

#[tokio::test]
async fn grants_are_taken_at_their_own_door() {
    let (world, mia) = World::ready().await;
    let remote = Remote::new(&world, &mia, "planner").await;
    let claims = AssertionClaims {
        audience: ISSUER,
        kid: Some(&kid(&mia.key)),
        jti: &world.jti(),
        now: world.now(),
    };
    let person = TokenRequest::JwtBearer {
        assertion: Secret::new(PersonGrant::create(&mia.key, mia.id, &claims).unwrap()),
        scope: None,
    };
    let own = TokenRequest::ClientCredentials(Box::new(remote.asked()));
    let call = |request: &TokenRequest, client: Option<&ClientCredential>| aims_links::TokenCall {
        form: request.to_form(client).expose().clone().into(),
        dpop: world.proof(&mia.key),
    };
    let reply = world
        .plane
        .oauth_token(call(&person, None), None)
        .await
        .unwrap();
    let error = ErrorResponse::parse(&reply.body).unwrap();
    assert_eq!(error.code().to_string(), "unauthorized_client");
    let inside = call(&own, Some(&remote.client(&world)));
    let reply = aims_links::Control::token(&world.plane, inside)
        .await
        .unwrap();
    assert_eq!(reply.status, 400);
    assert_eq!(world.refused().await, "other_endpoint");
}

#[tokio::test]
async fn trap_35_no_record_has_the_text_of_a_token_or_an_assertion() {
    let (world, mia) = World::ready().await;
    let (remote, run) = (Remote::new(&world, &mia, "planner").await, new_key());
    let token = remote.token(&world, &run).await;
    let client = remote.client(&world);
    introspected(&world, &token, &client).await;
    revoke(&world, &token, &client).await;
    let records = format!("{:?}", world.records().await);
    let signature = |text: &str| text.rsplit('.').next().unwrap().to_owned();
    for secret in [signature(&token), signature(client.assertion.expose())] {
        assert!(!records.contains(&secret));
    }
}
