//! One owner per delegation tree: two gateways, one server, real mutual TLS between them.

use std::sync::Arc;
use std::time::Duration;

use aims_edge::{RemoteEndpoint, any_gateway};
use aims_links::{Endpoint, TreeClaim};
use aims_model::EventKind;
use aims_tls::{Connector, Settings};
use aims_types::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::wide;
use crate::GatewayLimits;
use crate::testing::agent::{Agent, Answer};
use crate::testing::members::{A, B, Member, Members};
use crate::testing::{World, limits};

const LIMIT: &str = r#"{"uses":3}"#;

/// The same instance with the same session, as it asks another gateway.
pub(super) fn at<'w>(world: &'w World, agent: &Agent<'_>) -> Agent<'w> {
    Agent {
        world,
        key: Arc::clone(&agent.key),
        token: agent.token.clone(),
        session: agent.session.clone(),
    }
}

pub(super) fn is_permitted(answer: &Answer) -> bool {
    assert!(
        answer.result().is_some() || answer.rule() == "uses_exhausted",
        "{answer:?}"
    );
    answer.result().is_some()
}

/// How many calls reached a gateway's tools.
pub(super) fn calls(member: &Member) -> usize {
    let seen = member.world.bench.seen.lock().unwrap();
    seen.iter()
        .filter(|line| line.contains("tools/call"))
        .count()
}

#[tokio::test]
async fn a_budget_is_spent_once_whichever_gateway_is_asked() {
    let members = Members::new();
    let (a, b) = (members.start(A).await, members.start(B).await);
    let task = a.world.task(1, &wide(LIMIT));
    let agent = Agent::open(&a.world, &task, 1).await;
    let other = at(&b.world, &agent);
    let mut permitted = 0;
    for id in 1..=6 {
        let asked = if id % 2 == 0 { &agent } else { &other };
        permitted += usize::from(is_permitted(&asked.call(id, "echo", "{}").await));
    }
    assert_eq!(permitted, 3);
    assert_eq!((calls(&a), calls(&b)), (3, 0), "the owner makes the calls");
    // Another task's tree is another's.
    let task = b.world.task(2, &wide(LIMIT));
    let agent = Agent::open(&b.world, &task, 2).await;
    assert!(is_permitted(&agent.call(1, "echo", "{}").await));
    assert_eq!(calls(&b), 1);
}

#[tokio::test]
async fn a_streamed_answer_comes_through_and_ends_with_a_cut_off() {
    let members = Members::new();
    let (a, b) = (members.start(A).await, members.start(B).await);
    let task = a.world.task(1, &wide("{}"));
    let agent = Agent::open(&a.world, &task, 1).await;
    let other = at(&b.world, &agent);
    let answer = other.call(1, "progress", "{}").await;
    assert_eq!(answer.messages.len(), 4, "{answer:?}");
    let response = other.begin(2, "hang", "{}").await;
    a.world.bench.hanging.notified().await;
    // The one that passes it on ends it by itself, whatever the owner does.
    members.isolate(B);
    let denied = other.call(3, "echo", "{}").await;
    assert_eq!(denied.status, 503);
    assert!(Answer::read(response).await.broken);
}

#[tokio::test]
async fn first_calls_at_once_claim_a_tree_once() {
    let members = Members::new();
    let a = members.start(A).await;
    let task = a.world.task(1, &wide("{}"));
    let agents: Vec<_> = (1..=4).map(|n| Agent::new(&a.world, &task, n)).collect();
    let opened = agents.iter().map(Agent::initialize);
    for answer in futures_util::future::join_all(opened).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(members.book(|book| book.claims), 1);
}

#[tokio::test]
async fn an_owner_that_drains_hands_on_what_is_left_of_a_budget() {
    let members = Members::new();
    let (a, b) = (members.start(A).await, members.start(B).await);
    let task = a.world.task(1, &wide(LIMIT));
    let agent = Agent::open(&a.world, &task, 1).await;
    assert!(is_permitted(&agent.call(1, "echo", "{}").await));
    assert!(is_permitted(
        &at(&b.world, &agent).call(2, "echo", "{}").await
    ));
    assert!(a.world.gateway.drain(Duration::from_secs(30)).await);
    // What it still believes of the other is found wrong, and it asks again.
    let next = Agent::new(&b.world, &task, 1);
    while next.initialize().await.status != 200 {
        tokio::task::yield_now().await;
    }
    let next = Agent::open(&b.world, &task, 1).await;
    assert!(is_permitted(&next.call(1, "echo", "{}").await));
    assert!(
        !is_permitted(&next.call(2, "echo", "{}").await),
        "two were used before"
    );
    assert_eq!(calls(&b), 1);
}

#[tokio::test]
async fn a_tree_that_nobody_uses_is_given_back_and_keeps_its_count() {
    let members = Members::new();
    let at_once = GatewayLimits {
        tree_idle: Duration::ZERO,
        ..limits()
    };
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let (a, b) = (
        members.start_with(A, dir, at_once).await,
        members.start(B).await,
    );
    let task = a.world.task(1, &wide(LIMIT));
    let agent = Agent::open(&a.world, &task, 1).await;
    assert!(is_permitted(&agent.call(1, "echo", "{}").await));
    assert!(
        !members.book(|book| book.is_released(task.id)),
        "it has a session"
    );
    assert_eq!(agent.send(agent.request("DELETE", "")).await.status, 204);
    while !members.book(|book| book.is_released(task.id)) {
        tokio::task::yield_now().await;
    }
    let agent = Agent::open(&b.world, &task, 1).await;
    let permitted = [
        is_permitted(&agent.call(1, "echo", "{}").await),
        is_permitted(&agent.call(2, "echo", "{}").await),
        is_permitted(&at(&a.world, &agent).call(3, "echo", "{}").await),
    ];
    assert_eq!(permitted, [true, true, false]);
    assert_eq!((calls(&a), calls(&b)), (1, 2));
}

#[tokio::test]
async fn a_gateway_that_starts_again_counts_what_earlier_owners_used_too() {
    let members = Members::new();
    let a = members.start(A).await;
    let task = a.world.task(1, &wide(LIMIT));
    let agent = Agent::open(&a.world, &task, 1).await;
    assert!(is_permitted(&agent.call(1, "echo", "{}").await));
    assert!(a.world.gateway.drain(Duration::from_secs(30)).await);
    let b = members.start(B).await;
    let agent = Agent::open(&b.world, &task, 2).await;
    assert!(is_permitted(&agent.call(1, "echo", "{}").await));
    // It stays the owner, as after a crash.
    members.book(|book| book.keeps = true);
    let dir = b.end().await;
    let b = members.start_in(B, dir).await;
    let agent = Agent::open(&b.world, &task, 3).await;
    assert!(is_permitted(&agent.call(1, "echo", "{}").await));
    assert!(!is_permitted(&agent.call(2, "echo", "{}").await));
}

#[tokio::test]
async fn a_request_that_was_passed_on_is_not_passed_on_again() {
    let members = Members::new();
    let (a, b) = (members.start(A).await, members.start(B).await);
    let elsewhere = |gateway, member: &Member| TreeClaim::Elsewhere {
        gateway,
        address: member.address.clone(),
    };
    members.book(|book| {
        book.lies.insert(A, elsewhere(B, &b));
        book.lies.insert(B, elsewhere(A, &a));
    });
    let task = a.world.task(1, &wide("{}"));
    let refused = Agent::new(&a.world, &task, 1).initialize().await;
    assert_eq!(refused.status, 503);
    assert_eq!(members.book(|book| book.claims), 2, "one at each");
    let refused = Agent::new(&a.world, &task, 1).connect("localhost:1").await;
    assert_eq!(refused.response.status(), 503);
}

#[tokio::test]
async fn a_tunnel_goes_through_the_owner() {
    let members = Members::new();
    let (a, b) = (members.start(A).await, members.start(B).await);
    let authority = r#"{"authorization_details":[{"type":"https_connect","host":"localhost",
        "port":PORT}],"limits":{}}"#;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = a
        .world
        .task(1, &authority.replace("PORT", &port.to_string()));
    let agent = Agent::new(&a.world, &task, 1);
    let target = format!("localhost:{port}");
    // The owner is whoever is asked first.
    let refused = agent.connect("localhost:1").await;
    assert_eq!(refused.response.status(), 403);
    let reply = at(&b.world, &agent).connect(&target).await;
    assert_eq!(reply.response.status(), 200);
    let mut tunnel = reply.tunnel.unwrap();
    // What is no TLS for this host is refused by the owner, which closes the tunnel.
    tunnel.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(tunnel.read(&mut [0; 1]).await.unwrap_or(0), 0);
    drop(tunnel);
    while a.world.bodies(EventKind::CallOutcome).is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(b.world.bodies(EventKind::CallIntent).is_empty());
}

#[tokio::test]
async fn a_carrier_without_a_certificate_of_the_domain_is_not_heard() {
    let members = Members::new();
    let a = members.start(A).await;
    let task = a.world.task(1, &wide("{}"));
    let agent = Agent::new(&a.world, &task, 1);
    let clock: Arc<dyn Clock> = members.clock.clone();
    let settings = Settings {
        clock: Arc::clone(&clock),
        alpn: vec![aims_edge::ALPN.to_vec()],
    };
    let bare = Connector::new(&settings, None, members.trust(), any_gateway()).unwrap();
    let remote = RemoteEndpoint::new(&a.address, bare, members.enrolled().await);
    assert!(remote.http(agent.request("POST", "{}")).await.is_err());
    // With one, the agent's own token is what counts.
    let node = members.identity("node/nod_1");
    let good = aims_edge::connector(clock, node, members.trust(), any_gateway()).unwrap();
    let remote = RemoteEndpoint::new(&a.address, good, members.enrolled().await);
    let mut request = agent.request("POST", "{}");
    request.headers_mut().remove("authorization");
    assert_eq!(remote.http(request).await.unwrap().status(), 401);
    assert_eq!(
        remote
            .http(agent.request("POST", "{}"))
            .await
            .unwrap()
            .status(),
        400
    );
}
