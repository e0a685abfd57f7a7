//! The credential of an upstream: where it goes, and where it never does.

use std::sync::atomic::Ordering;

use aims_json::Value;
use aims_model::{EventKind, RawUpstreamSpec, Record, Subject};
use http_body_util::BodyExt;

use super::upstreams::{AUTHORITY, CHAT, ask, outcomes, read, request, send, world};
use crate::testing::agent::Agent;
use crate::testing::upstream::{KEY, Server};
use crate::testing::{World, materials};

/// Every record that is durable at the gateway, and what is sealed beside it.
fn durable(world: &World) -> String {
    let shipped = world.gateway.durable();
    let bytes = shipped.into_iter().flat_map(|one| {
        let event = Record::decode(&one.record).unwrap().event;
        let opened = one.material.map(|sealed| {
            let commitment = event.body.get("materials").and_then(Value::as_str);
            let (task, commitment) = (event.task.unwrap(), commitment.unwrap().parse().unwrap());
            materials().open(task, &commitment, &sealed).unwrap().bytes
        });
        [one.record, opened.unwrap_or_default()].concat()
    });
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}

#[tokio::test]
async fn an_answer_that_holds_the_credential_is_withheld() {
    let (world, _server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    for path in ["/v1/echo/header", "/v1/echo/body", "/v1/echo/split"] {
        let path = format!("/http/model{path}");
        let response = send(&agent, request(&agent, "GET", &path, "")).await;
        let (_, headers, body) = read(response).await;
        let text = format!("{headers} {body:?}");
        assert!(
            !text.contains(KEY) && !text.contains(KEY.split_at(7).1),
            "{path}: {text}"
        );
    }
    assert_eq!(outcomes(&world, 3).await, ["failed"; 3]);
    assert!(!durable(&world).contains(KEY));
}

#[tokio::test]
async fn what_is_no_fit_answer_does_not_go_on() {
    let (world, server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    for (path, status, says) in [
        ("/v1/redirect", 502, "redirects are not followed"),
        ("/v1/encoded", 502, "encoded"),
        ("/v1/long", 502, "more than 1000 bytes"),
        ("/v1/garbage", 502, "does not speak HTTP"),
        ("/v1/longer", 200, "cut"),
        ("/v1/broken", 200, "cut"),
        ("/v1/denied", 401, ""),
    ] {
        let (got, text) = ask(&agent, "GET", &format!("/http/model{path}"), "").await;
        assert!(got == status && text.contains(says), "{path}: {got} {text}");
        assert!(!text.contains("evil.example"), "{text}");
    }
    let ends = outcomes(&world, 7).await;
    assert_eq!(ends[..6], ["failed"; 6]);
    assert_eq!(ends[6], "upstream_error");
    assert_eq!(server.requests().len(), 7, "each was asked once");
}

#[tokio::test]
async fn the_credential_goes_to_nobody_who_does_not_prove_the_registered_host() {
    let world = World::new().await;
    let (server, other) = (
        Server::start(&["elsewhere.example"]).await,
        Server::start(&["localhost"]).await,
    );
    // Another name in the certificate; another authority; no certificate of a public one.
    let foreign = RawUpstreamSpec {
        ca: Some(server.ca.clone()),
        ..other.spec("localhost")
    };
    let public = RawUpstreamSpec {
        ca: None,
        ..other.spec("localhost")
    };
    for (n, spec) in (1..).zip([server.spec("localhost"), foreign, public]) {
        world.upstream(spec, n, KEY).await;
        let task = world.task(n.into(), AUTHORITY);
        let agent = Agent::new(&world, &task, n.into());
        let (status, text) = ask(&agent, "GET", "/http/model/v1/models", "").await;
        assert_eq!(status, 502, "{text}");
    }
    assert!(server.requests().is_empty() && other.requests().is_empty());
    assert_eq!(outcomes(&world, 3).await, ["failed"; 3]);
}

#[tokio::test]
async fn an_address_that_is_not_public_is_refused_unless_the_registration_allows_it() {
    let world = World::new().await;
    let server = Server::start(&["127.0.0.1"]).await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    world.upstream(server.spec("127.0.0.1"), 1, KEY).await;
    let (status, text) = ask(&agent, "GET", "/http/model/v1/models", "").await;
    assert!(status == 502 && text.contains("not public"), "{text}");
    let private = RawUpstreamSpec {
        private: true,
        ..server.spec("127.0.0.1")
    };
    world.upstream(private, 2, KEY).await;
    let agent = Agent::new(&world, &task, 2);
    assert_eq!(ask(&agent, "GET", "/http/model/v1/models", "").await.0, 200);
}

#[tokio::test]
async fn a_credential_that_was_sealed_for_another_host_does_not_open() {
    let (world, _server) = world().await;
    let evil = Server::start(&["localhost"]).await;
    let spec = evil.spec("localhost");
    // What the server hands out stays sealed for the first host.
    let kept = world.control.credentials.lock().unwrap().clone();
    world.upstream(spec, 1, KEY).await;
    *world.control.credentials.lock().unwrap() = kept;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let (status, text) = ask(&agent, "GET", "/http/model/v1/models", "").await;
    assert!(
        status == 502 && text.contains("not for this upstream"),
        "{text}"
    );
    assert!(evil.requests().is_empty());
}

#[tokio::test]
async fn a_credential_is_had_once_and_forgotten_with_its_version() {
    let (world, server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    for _ in 0..3 {
        assert_eq!(ask(&agent, "GET", "/http/model/v1/models", "").await.0, 200);
    }
    assert_eq!(world.control.leased.load(Ordering::SeqCst), 1);
    let fresh = "sk-another-0123456789";
    world.upstream(server.spec("localhost"), 2, fresh).await;
    let agent = Agent::new(&world, &task, 1);
    assert_eq!(ask(&agent, "GET", "/http/model/v1/models", "").await.0, 200);
    assert_eq!(world.control.leased.load(Ordering::SeqCst), 2);
    assert!(server.requests()[3].contains(fresh) && !server.requests()[3].contains(KEY));
    world
        .change(|state| state.upstreams = std::sync::Arc::default())
        .await;
    let agent = Agent::new(&world, &task, 1);
    assert_eq!(ask(&agent, "GET", "/http/model/v1/models", "").await.0, 404);
}

#[tokio::test]
async fn what_was_asked_with_a_replaced_credential_has_ended_when_the_change_returns() {
    let (world, server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let response = send(&agent, request(&agent, "GET", "/http/model/v1/hold", "")).await;
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    world
        .upstream(server.spec("localhost"), 2, "sk-another-0123456789")
        .await;
    assert_eq!(outcomes(&world, 1).await, ["cut"]);
    server.go_on.notify_one();
    assert!(body.frame().await.unwrap().is_err(), "no regular end");
}

#[tokio::test]
async fn a_cut_ends_a_streamed_answer_before_it_is_acknowledged() {
    let (world, server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let response = send(&agent, request(&agent, "GET", "/http/model/v1/hold", "")).await;
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    let applied = world.kill(Subject::Task(task.id)).await;
    assert_eq!(applied.ended.calls, 1);
    assert_eq!(applied.ended.unknown[0].what, "GET model/v1/hold");
    assert_eq!(outcomes(&world, 1).await, ["cut"]);
    let outcome = world.bodies(EventKind::CallOutcome).remove(0);
    assert_eq!(outcome.get("effect").unwrap().as_str(), Some("unknown"));
    server.go_on.notify_one();
    assert!(
        body.frame().await.unwrap().is_err(),
        "nothing more is delivered"
    );
    assert_eq!(ask(&agent, "GET", "/http/model/v1/models", "").await.0, 401);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_agent_that_goes_away_ends_its_request() {
    let (world, server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let response = send(&agent, request(&agent, "GET", "/http/model/v1/hold", "")).await;
    drop(response);
    assert_eq!(outcomes(&world, 1).await, ["cancelled"]);
    drop(server);
}

/// A node may be quicker to end the agent than the gateway is to hear of the kill.
#[tokio::test]
async fn a_request_whose_agent_ended_right_before_the_cut_is_in_the_receipt_as_unknown() {
    let (world, _server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let response = send(&agent, request(&agent, "GET", "/http/model/v1/hold", "")).await;
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(outcomes(&world, 1).await, ["cancelled"]);
    let outcome = world.bodies(EventKind::CallOutcome).remove(0);
    assert_eq!(outcome.get("effect").unwrap().as_str(), Some("unknown"));
    let ended = world.kill(Subject::Task(task.id)).await.ended;
    assert_eq!(ended.unknown[0].what, "GET model/v1/hold");
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_given_up_in_time() {
    let world = World::new().await;
    let server = Server::start(&["localhost"]).await;
    let mut spec = server.spec("localhost");
    spec.limits.seconds = Some(1);
    world.upstream(spec, 1, KEY).await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let (status, text) = ask(&agent, "GET", "/http/model/v1/silent", "").await;
    assert!(status == 504 && text.contains("in time"), "{status} {text}");
    assert_eq!(outcomes(&world, 1).await, ["timeout"]);
}

#[tokio::test]
async fn without_the_server_there_is_no_credential_and_nothing_goes_out() {
    let (world, server) = world().await;
    world.control.credentials.lock().unwrap().clear();
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let (status, text) = ask(&agent, "POST", "/http/model/v1/chat", CHAT).await;
    assert!(status == 502 && text.contains("try again"), "{text}");
    assert!(!text.contains("version"), "nothing of the inside: {text}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn the_credential_is_on_no_record() {
    let (world, _server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    for (method, path, body) in [
        ("POST", "/http/model/v1/chat", CHAT),
        ("GET", "/http/model/v1/stream", ""),
        ("GET", "/http/model/v1/redirect", ""),
        ("POST", "/http/model/v1/files", CHAT),
    ] {
        let (_, text) = ask(&agent, method, path, body).await;
        assert!(!text.contains(KEY), "{text}");
    }
    outcomes(&world, 3).await;
    assert!(!durable(&world).contains(KEY));
}
