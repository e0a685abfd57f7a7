//! Tool servers that misbehave.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aims_json::Value;
use aims_model::EventKind;

use super::wide;
use crate::testing::agent::Agent;
use crate::testing::{POLICY, World, limits};

fn strings(world: &World, kind: EventKind, name: &str) -> Vec<String> {
    let text = |body: &Value| {
        body.get(name)
            .and_then(Value::as_str)
            .unwrap_or("-")
            .to_owned()
    };
    world.bodies(kind).iter().map(text).collect()
}

async fn until_none_runs(world: &World) {
    while world.bench.running.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_that_violates_the_protocol_ends_with_a_typed_error_and_a_record() {
    for tool in ["flood", "garbage", "mismatch", "long", "die"] {
        let world = World::new().await;
        let task = world.task(1, &wide("{}"));
        let agent = Agent::open(&world, &task, 1).await;
        let answer = agent.call(1, tool, "{}").await;
        assert_eq!(
            answer.code(),
            aims_mcp::code::UPSTREAM_FAILED,
            "{tool}: {answer:?}"
        );
        until_none_runs(&world).await;
        assert_eq!(
            strings(&world, EventKind::CallOutcome, "outcome"),
            ["failed"],
            "{tool}"
        );
        while !strings(&world, EventKind::ServerSession, "what").contains(&"ended".to_owned()) {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            agent.call(2, "echo", "{}").await.status,
            404,
            "{tool}: the session is over"
        );
    }
}

#[tokio::test]
async fn a_second_answer_ends_the_session_after_the_first_one_was_delivered() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let answer = agent.call(1, "twice", "{}").await;
    assert!(answer.result().is_some(), "{answer:?}");
    until_none_runs(&world).await;
    assert_eq!(agent.call(2, "echo", "{}").await.status, 404);
}

#[tokio::test]
async fn a_hang_costs_until_the_time_limit_and_then_the_server() {
    let limits = crate::GatewayLimits {
        call: Duration::from_millis(50),
        ..limits()
    };
    let world = World::with(limits, POLICY).await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let answer = agent.call(1, "hang", "{}").await;
    assert_eq!(answer.code(), aims_mcp::code::UPSTREAM_FAILED, "{answer:?}");
    assert_eq!(
        strings(&world, EventKind::CallOutcome, "outcome"),
        ["timeout"]
    );
    until_none_runs(&world).await;
}

#[tokio::test]
async fn a_tool_that_changed_its_definition_is_hidden_and_recorded() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    assert!(agent.tools().await.contains(&"echo".to_owned()));
    assert!(agent.call(1, "change", "{}").await.result().is_some());
    assert_eq!(
        agent.call(2, "echo", "{}").await.code(),
        -32602,
        "changed: unknown"
    );
    assert!(!agent.tools().await.contains(&"echo".to_owned()));
    assert!(
        agent.call(3, "progress", "{}").await.result().is_some(),
        "others go on"
    );
    let what = strings(&world, EventKind::ServerSession, "what");
    assert!(what.contains(&"not_as_pinned".to_owned()), "{what:?}");
    let fresh = Agent::open(&world, &task, 2).await;
    assert_eq!(fresh.call(1, "echo", "{}").await.code(), -32602);
}

#[tokio::test]
async fn a_server_that_asks_the_client_something_gets_no_for_an_answer() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let answer = agent.call(1, "asks", "{}").await;
    assert_eq!(answer.messages.len(), 1, "nothing of it reaches the agent");
    assert!(agent.call(2, "echo", "{}").await.result().is_some());
    let seen = world.bench.seen.lock().unwrap().join("\n");
    assert!(seen.contains("-32601"), "{seen}");
}

#[tokio::test]
async fn the_agent_is_offered_tools_and_nothing_else() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::new(&world, &task, 1);
    let answer = agent.initialize().await;
    let capabilities = answer
        .result()
        .and_then(|result| result.get("capabilities"))
        .unwrap();
    let names: Vec<&str> = capabilities
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["tools"]);
    let seen = world.bench.seen.lock().unwrap().join("\n");
    assert!(seen.contains(r#""capabilities":{}"#), "{seen}");
}

#[tokio::test]
async fn tool_errors_are_results_and_recorded_as_such() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    assert!(agent.call(1, "error", "{}").await.result().is_some());
    assert_eq!(
        strings(&world, EventKind::CallOutcome, "outcome"),
        ["tool_error"]
    );
}
