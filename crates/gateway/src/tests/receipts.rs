//! What a cut-off says that it ended.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aims_json::Value;
use aims_model::receipt::Ended;
use aims_model::{EventKind, Subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::wide;
use crate::egress::hello::tests::hello_for;
use crate::testing::agent::{Agent, Answer};
use crate::testing::{POLICY, World, limits};

fn decisions(world: &World, kind: EventKind, member: &str, value: &str) -> Vec<String> {
    let bodies = world.bodies(kind);
    let is = |body: &&Value| body.get(member).and_then(Value::as_str) == Some(value);
    let id = |body: &Value| {
        body.get("decision_id")
            .and_then(Value::as_str)
            .unwrap()
            .to_owned()
    };
    bodies.iter().filter(is).map(id).collect()
}

#[tokio::test]
async fn unknown_are_exactly_the_effects_of_what_had_gone_out_and_was_not_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let policy = format!(
        r#"{POLICY} @id("ask-first") @requirement("approval")
        permit (principal, action == Action::"bench/progress", resource);"#
    );
    let limits = crate::GatewayLimits {
        approval_wait: Duration::from_mins(1),
        ..limits()
    };
    let world = World::with(limits, &policy).await;
    let egress = format!(
        r#"{{"type":"https_connect","host":"localhost","port":{port}}},{{"type":"mcp_tool""#
    );
    let both = wide("{}").replacen(r#"{"type":"mcp_tool""#, &egress, 1);
    let task = world.task(1, &both);
    let agent = Agent::open(&world, &task, 1).await;

    assert!(
        agent.call(1, "echo", "{}").await.result().is_some(),
        "answered before"
    );
    let hanging = agent.begin(2, "hang", "{}").await;
    world.bench.hanging.notified().await;
    let parked = agent.begin(3, "progress", "{}").await;
    world.asked(0).await;
    let target = format!("localhost:{port}");
    let mut busy = agent.connect(&target).await.tunnel.unwrap();
    let hello = hello_for("localhost");
    busy.write_all(&hello).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let mut seen = vec![0; hello.len()];
    upstream.read_exact(&mut seen).await.unwrap();
    let silent = agent.connect(&target).await.tunnel.unwrap();

    let ended = world.kill(Subject::Agent(task.grant.delegate)).await.ended;
    assert_eq!((ended.calls, ended.servers, ended.tunnels), (2, 1, 2));
    let mut unknown: Vec<(String, String)> = ended
        .unknown
        .iter()
        .map(|one| (one.what.clone(), one.decision.to_string()))
        .collect();
    unknown.sort();
    let whats: Vec<&str> = unknown.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(whats, ["bench/hang", target.as_str()]);
    // Recorded before it was acknowledged, with the same answer.
    let mut recorded = decisions(&world, EventKind::CallOutcome, "effect", "unknown");
    recorded.sort();
    let mut listed: Vec<String> = unknown.into_iter().map(|(_, decision)| decision).collect();
    listed.sort();
    assert_eq!(listed, recorded);
    assert_eq!(
        decisions(&world, EventKind::CallOutcome, "effect", "none").len(),
        1
    );
    drop((busy, silent));
    for response in [hanging, parked] {
        assert!(Answer::read(response).await.broken);
    }
    assert_eq!(
        world.kill(Subject::Agent(task.grant.delegate)).await.ended,
        Ended::default()
    );
}

#[tokio::test]
async fn a_call_that_was_taken_back_and_is_still_with_the_tool_is_unknown() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let response = agent.begin(1, "hang", "{}").await;
    world.bench.hanging.notified().await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert_eq!(agent.post(cancel).await.status, 202);
    assert!(Answer::read(response).await.messages.is_empty());
    let cancelled = decisions(&world, EventKind::CallOutcome, "outcome", "cancelled");
    assert_eq!(
        cancelled,
        decisions(&world, EventKind::CallOutcome, "effect", "unknown")
    );
    let ended = world.kill(Subject::Instance(agent.instance())).await.ended;
    let unknown: Vec<_> = ended
        .unknown
        .iter()
        .map(|one| one.decision.to_string())
        .collect();
    assert_eq!(unknown, cancelled);
    assert_eq!(world.bench.running.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_call_that_was_taken_back_and_answered_all_the_same_is_over() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let response = agent.begin(1, "hang", "{}").await;
    world.bench.hanging.notified().await;
    drop(response);
    while decisions(&world, EventKind::CallOutcome, "outcome", "cancelled").is_empty() {
        tokio::task::yield_now().await;
    }
    world.bench.release.notify_one();
    // The server reads on when it has answered.
    assert!(agent.call(2, "echo", "{}").await.result().is_some());
    let ended = world.kill(Subject::Instance(agent.instance())).await.ended;
    assert!(ended.unknown.is_empty(), "{ended:?}");
}

#[tokio::test]
async fn what_ended_before_is_told_again_with_every_later_answer() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let _hanging = agent.begin(1, "hang", "{}").await;
    world.bench.hanging.notified().await;
    let first = world.kill(Subject::Agent(task.grant.delegate)).await;
    // The answer was lost, and the next state comes.
    let next = world.try_change(|_| {}).await.unwrap();
    assert_eq!(next.ended, Ended::default());
    let step = next.earlier.last().unwrap();
    assert_eq!((step.to, &step.ended), (first.revision, &first.ended));
    assert_eq!(step.after.next(), step.to);
}

#[tokio::test]
async fn who_offers_a_state_again_hears_again_what_it_ended() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let _hanging = agent.begin(1, "hang", "{}").await;
    world.bench.hanging.notified().await;
    let first = world.kill(Subject::Agent(task.grant.delegate)).await;
    assert_eq!(first.ended.unknown.len(), 1);
    // The server was not reached with the answer, and links the gateway again.
    let again = world
        .try_change(|state| state.revision = first.revision)
        .await;
    assert_eq!(again.unwrap(), first);
}
