//! Every route of people, with credentials that do not count.

use std::time::Duration;

use crate::{Access, ROUTES, Route};
use http::StatusCode;

use super::stage::{Credentials, Stage};
use super::world::{Answer, new_key};

fn of_people() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| route.access == Access::Person)
}

fn check(route: &Route, what: &str, answer: &Answer) {
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{route:?} {what}");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("DPoP "), "{challenge}");
    assert_eq!(answer.code(), "unauthenticated", "{route:?} {what}");
}

/// Credentials made wrong in one way each.
fn spoilt(stage: &Stage, route: &Route, token: &str) -> Vec<(&'static str, Credentials)> {
    let world = &stage.world;
    let path = stage.path(route);
    let proof = |method: &str, path: &str, bound: Option<&str>| {
        world.proof(&world.operator.key, (method, path), bound)
    };
    let good = || proof(route.method, &path, Some(token));
    let dpop = format!("DPoP {token}");
    let with = |authorization: &[&str], dpop: Vec<String>| Credentials {
        authorization: authorization.iter().map(|&text| text.to_owned()).collect(),
        dpop,
    };
    let other_method = if route.method == "GET" { "POST" } else { "GET" };
    let foreign = world.proof(&new_key(), (route.method, &path), Some(token));
    vec![
        ("nothing", with(&[], Vec::new())),
        ("no proof", with(&[&dpop], Vec::new())),
        ("no token", with(&[], vec![good()])),
        ("bearer", with(&[&format!("Bearer {token}")], vec![good()])),
        (
            "bearer without proof",
            with(&[&format!("Bearer {token}")], Vec::new()),
        ),
        ("no scheme", with(&[token], vec![good()])),
        ("two tokens", with(&[&dpop, &dpop], vec![good()])),
        ("two proofs", with(&[&dpop], vec![good(), good()])),
        (
            "two proofs in one",
            with(&[&dpop], vec![format!("{}, {}", good(), good())]),
        ),
        (
            "another path",
            with(&[&dpop], vec![proof(route.method, "/v1/x", Some(token))]),
        ),
        (
            "another method",
            with(&[&dpop], vec![proof(other_method, &path, Some(token))]),
        ),
        (
            "no token in the proof",
            with(&[&dpop], vec![proof(route.method, &path, None)]),
        ),
        (
            "a proof for another token",
            with(&[&dpop], vec![proof(route.method, &path, Some("x"))]),
        ),
        ("another key", with(&[&dpop], vec![foreign])),
        (
            "a proof as token",
            with(&[&format!("DPoP {}", good())], vec![good()]),
        ),
        ("a longer token", with(&[&format!("{dpop}A")], vec![good()])),
        ("an empty token", with(&["DPoP "], vec![good()])),
    ]
}

#[tokio::test]
async fn no_route_of_people_opens_to_credentials_that_do_not_count() {
    let stage = Stage::new().await;
    let operator = &stage.world.operator;
    let token = stage.world.log_in(operator).await;
    let before = stage.world.state().await;
    for route in of_people() {
        for (what, credentials) in spoilt(&stage, route, &token) {
            let answer = stage.send(route, operator, &credentials).await;
            check(route, what, &answer);
        }
    }
    assert_eq!(stage.world.state().await, before, "something changed");
}

#[tokio::test]
async fn a_proof_opens_each_route_once() {
    let stage = Stage::new().await;
    let operator = &stage.world.operator;
    let token = stage.world.log_in(operator).await;
    let before = stage.world.state().await;
    for route in of_people() {
        let credentials = stage.credentials(route, operator, &token);
        let (proof, path) = (&credentials.dpop[0], stage.path(route));
        let plane = &stage.world.plane;
        let first = plane.authenticate(&token, proof, route.method, &path).await;
        assert!(first.is_ok(), "{route:?}");
        check(
            route,
            "replayed",
            &stage.send(route, operator, &credentials).await,
        );
    }
    assert_eq!(stage.world.state().await, before);
}

#[tokio::test]
async fn an_expired_token_opens_no_route() {
    let stage = Stage::new().await;
    let operator = &stage.world.operator;
    let token = stage.world.log_in(operator).await;
    stage.world.clock.forward(Duration::from_mins(6));
    let before = stage.world.state().await;
    for route in of_people() {
        check(route, "expired", &stage.call(route, operator, &token).await);
    }
    assert_eq!(stage.world.state().await, before);
}

#[tokio::test]
async fn an_instances_token_opens_no_route() {
    let stage = Stage::new().await;
    let (instance, token) = stage.instance().await;
    let before = stage.world.state().await;
    for route in of_people() {
        check(
            route,
            "an instance",
            &stage.call(route, &instance, &token).await,
        );
    }
    assert_eq!(stage.world.state().await, before);
}

#[tokio::test]
async fn a_token_of_a_removed_person_opens_no_route() {
    let stage = Stage::new().await;
    let token = stage.world.log_in(&stage.mia).await;
    let cx = stage.world.cx(&stage.world.operator);
    let mia = "mia".parse().unwrap();
    let removed = stage.world.plane.person_remove(&cx, &mia).await;
    removed.unwrap();
    let before = stage.world.state().await;
    for route in of_people() {
        check(
            route,
            "removed",
            &stage.call(route, &stage.mia, &token).await,
        );
    }
    assert_eq!(stage.world.state().await, before);
}
