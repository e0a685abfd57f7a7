//! Crashes, and a log that can't be written.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aims_json::Value;
use aims_model::EventKind;

use super::wide;
use crate::testing::World;
use crate::testing::agent::Agent;

#[test]
fn a_crash_after_the_intent_keeps_the_reservation_and_is_reported_once() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let before = runtime();
    let (parts, task) = before.block_on(async {
        let world = World::new().await;
        let task = world.task(1, &wide(r#"{"uses":2}"#));
        let agent = Agent::open(&world, &task, 1).await;
        assert!(agent.call(1, "echo", "{}").await.result().is_some());
        let hanging = agent.begin(2, "hang", "{}").await;
        world.bench.hanging.notified().await;
        // Nobody drains: with the runtime everything under way is gone at once.
        std::mem::forget(hanging);
        drop(agent);
        (world.into_parts(), task)
    });
    drop(before);
    let between = runtime();
    let parts = between.block_on(async { World::restart(parts).await.into_parts() });
    drop(between);
    runtime().block_on(async {
        let world = World::restart(parts).await;
        let outcomes = world.bodies(EventKind::CallOutcome);
        let unknown = |body: &&Value| {
            body.get("outcome").and_then(Value::as_str) == Some("unknown_after_restart")
        };
        assert_eq!(outcomes.iter().filter(unknown).count(), 1);
        assert_eq!(outcomes.len(), 2);
        let agent = Agent::open(&world, &task, 3).await;
        assert_eq!(agent.call(1, "echo", "{}").await.rule(), "uses_exhausted");
    });
}

#[tokio::test]
async fn nothing_is_allowed_when_the_log_cannot_be_written() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    world.gateway.crash_log();
    let permitted = agent.call(1, "echo", "{}").await;
    assert_eq!(permitted.status, 503, "{permitted:?}");
    let denied = agent.call(2, "secret", "{}").await;
    assert_eq!(denied.status, 503, "{denied:?}");
    assert_eq!(Agent::new(&world, &task, 2).initialize().await.status, 503);
    let seen = world.bench.seen.lock().unwrap().clone();
    assert!(!seen.iter().any(|line| line.contains("tools/call")));
}

#[tokio::test]
async fn records_reach_the_server_in_order_and_without_a_gap_across_an_outage() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    for n in 0..5 {
        agent.call(n, "echo", "{}").await;
    }
    world.control.down.store(true, Ordering::SeqCst);
    for n in 5..10 {
        agent.call(n, "echo", "{}").await;
    }
    world.control.down.store(false, Ordering::SeqCst);
    assert!(world.gateway.drain(Duration::from_secs(30)).await);
    let shipped = world.control.records.lock().unwrap().len();
    assert_eq!(shipped, world.events().len());
    assert_eq!(world.bodies(EventKind::CallOutcome).len(), 10);
    assert_eq!(world.bench.running.load(Ordering::SeqCst), 0);
}
