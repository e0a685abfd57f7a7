//! People's tokens and authenticated requests.

use std::time::Duration;

use aims_links::{Control, TokenCall, TokenReply};
use aims_model::{EventKind, Role};
use aims_oauth::{AssertionClaims, PersonGrant, TokenRequest, TokenResponse};
use aims_types::{Actor, Secret};
use bytes::Bytes;

use super::world::{ISSUER, Somebody, World, kid, new_key, text};
use crate::{ADMIN_SCOPE, Refused};

pub(super) fn assertion(world: &World, person: &Somebody, jti: &str) -> String {
    let claims = AssertionClaims {
        audience: ISSUER,
        kid: Some(&kid(&person.key)),
        jti,
        now: world.now(),
    };
    PersonGrant::create(&person.key, person.id, &claims).unwrap()
}

pub(super) fn form(assertion: String, scope: Option<&str>) -> Bytes {
    let request = TokenRequest::JwtBearer {
        assertion: Secret::new(assertion),
        scope: scope.map(str::to_owned),
    };
    Bytes::from(request.to_form(None).expose().clone())
}

pub(super) async fn log_in(world: &World, person: &Somebody) -> String {
    let form = form(assertion(world, person, &world.jti()), Some(ADMIN_SCOPE));
    let dpop = world.proof(&person.key);
    let reply = world.plane.token(TokenCall { form, dpop }).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let response = TokenResponse::parse(&reply.body).unwrap();
    response.access_token.expose().clone()
}

fn error(reply: &TokenReply) -> (u16, String) {
    let response = aims_oauth::ErrorResponse::parse(&reply.body).unwrap();
    (reply.status, response.code().to_string())
}

#[tokio::test]
async fn a_person_logs_in_with_their_key_and_is_the_actor_of_their_requests() {
    let (world, mia) = World::ready().await;
    let token = log_in(&world, &mia).await;
    let records = world.records_of(EventKind::TokenIssued).await;
    let digest = aims_crypto::sha256(token.as_bytes()).to_string();
    assert_eq!(text(&records[0], "sha256"), digest);
    assert_eq!(text(&records[0], "by"), mia.id.to_string());
    assert!(!format!("{records:?}").contains(&token));
    let target = format!("{ISSUER}/v1/tasks");
    let proof = world.proof_for(&mia.key, ("GET", &target), Some(&token));
    let cx = world
        .plane
        .authenticate(&token, &proof, "GET", "/v1/tasks")
        .await
        .unwrap();
    assert_eq!(cx.actor, Actor::Person(mia.id));
    assert_eq!(cx.now, world.now());
    let again = world
        .plane
        .authenticate(&token, &proof, "GET", "/v1/tasks")
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(
        again.to_string(),
        "the proof was used before; make a new one for each request"
    );
}

#[tokio::test]
async fn a_request_without_the_right_proof_is_not_authenticated() {
    let (world, mia) = World::ready().await;
    let max = world.enrol("max", Role::Member).await;
    let token = log_in(&world, &mia).await;
    let url = |path: &str| format!("{ISSUER}{path}");
    let good = ("GET", url("/v1/tasks"));
    for (code, key, (htm, htu), bound) in [
        ("invalid_dpop_proof", &max.key, good.clone(), Some(&token)),
        (
            "invalid_dpop_proof",
            &mia.key,
            ("POST", url("/v1/tasks")),
            Some(&token),
        ),
        (
            "invalid_dpop_proof",
            &mia.key,
            ("GET", url("/v1/agents")),
            Some(&token),
        ),
        ("invalid_dpop_proof", &mia.key, good.clone(), None),
    ] {
        let proof = world.proof_for(key, (htm, &htu), bound.map(String::as_str));
        let refused = world
            .plane
            .authenticate(&token, &proof, "GET", "/v1/tasks")
            .await;
        assert_eq!(refused.map(drop).unwrap_err().code(), code);
    }
    let proof = |token: &str| world.proof_for(&mia.key, ("GET", &good.1), Some(token));
    let authenticate = |token: String| {
        let proof = proof(&token);
        let plane = world.plane.clone();
        async move { plane.authenticate(&token, &proof, "GET", "/v1/tasks").await }
    };
    assert_eq!(
        authenticate(format!("{token}x"))
            .await
            .map(drop)
            .unwrap_err()
            .code(),
        "invalid_token"
    );
    world.clock.forward(Duration::from_mins(6));
    assert_eq!(
        authenticate(token).await.map(drop).unwrap_err().code(),
        "invalid_token"
    );
}

#[tokio::test]
async fn a_removed_person_is_not_authenticated_by_a_token_from_before() {
    let (world, mia) = World::ready().await;
    let token = log_in(&world, &mia).await;
    let cx = world.cx(&world.operator);
    world
        .plane
        .person_remove(&cx, &"mia".parse().unwrap())
        .await
        .unwrap();
    let target = format!("{ISSUER}/v1/tasks");
    let proof = world.proof_for(&mia.key, ("GET", &target), Some(&token));
    let refused = world
        .plane
        .authenticate(&token, &proof, "GET", "/v1/tasks")
        .await;
    assert_eq!(refused.map(drop).unwrap_err().code(), "invalid_token");
    let form = form(assertion(&world, &mia, "again"), None);
    let dpop = world.proof(&mia.key);
    let reply = world.plane.token(TokenCall { form, dpop }).await.unwrap();
    assert_eq!(error(&reply), (400, "invalid_grant".to_owned()));
}

#[tokio::test]
async fn an_instances_token_administers_nothing() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let token = super::tokens::exchanged(&world, &running).await;
    let target = format!("{ISSUER}/v1/tasks");
    let proof = world.proof_for(&running.key, ("GET", &target), Some(&token));
    let refused = world
        .plane
        .authenticate(&token, &proof, "GET", "/v1/tasks")
        .await;
    assert_eq!(refused.map(drop).unwrap_err().code(), "invalid_token");
}

#[tokio::test]
async fn a_login_that_is_not_the_persons_own_and_new_is_refused() {
    let (world, mia) = World::ready().await;
    let max = world.enrol("max", Role::Member).await;
    let call = |form: Bytes, dpop: String| {
        let plane = world.plane.clone();
        async move { error(&plane.token(TokenCall { form, dpop }).await.unwrap()) }
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    let forged = Somebody {
        id: mia.id,
        key: new_key(),
    };
    let mine = |jti: &str| form(assertion(&world, &mia, jti), None);
    let grant = refused(400, "invalid_grant");
    let dpop = refused(400, "invalid_dpop_proof");
    // A key that is not enrolled; somebody else's enrolled key in one's own name.
    let foreign = form(assertion(&world, &forged, "1"), None);
    assert_eq!(call(foreign, world.proof(&forged.key)).await, grant);
    let lent = Somebody {
        id: max.id,
        key: new_key(),
    };
    assert_eq!(
        call(
            form(assertion(&world, &lent, "2"), None),
            world.proof(&lent.key)
        )
        .await,
        grant
    );
    // A proof by another key; no proof; a scope that does not exist; no form at all.
    assert_eq!(call(mine("3"), world.proof(&max.key)).await, dpop);
    assert_eq!(call(mine("4"), String::new()).await, dpop);
    let scope = form(assertion(&world, &mia, "5"), Some("everything"));
    assert_eq!(
        call(scope, world.proof(&mia.key)).await,
        refused(400, "invalid_scope")
    );
    let none = call(Bytes::from_static(b"grant_type=x"), world.proof(&mia.key)).await;
    assert_eq!(none, refused(400, "unsupported_grant_type"));
    // The same assertion twice; the same proof twice.
    let twice = mine("6");
    let reply = world.plane.token(TokenCall {
        form: twice.clone(),
        dpop: world.proof(&mia.key),
    });
    assert_eq!(reply.await.unwrap().status, 200);
    assert_eq!(call(twice, world.proof(&mia.key)).await, grant);
    let proof = world.proof(&mia.key);
    let reply = world.plane.token(TokenCall {
        form: mine("7"),
        dpop: proof.clone(),
    });
    assert_eq!(reply.await.unwrap().status, 200);
    assert_eq!(call(mine("8"), proof).await, dpop);
    let late = mine("9");
    world.clock.forward(Duration::from_secs(66));
    assert_eq!(call(late, world.proof(&mia.key)).await, grant);
}
