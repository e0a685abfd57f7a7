//! Without a lease nothing is permitted, and nothing goes on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aims_json::Value;
use aims_model::EventKind;
use aims_types::Revision;

use super::wide;
use crate::testing::World;
use crate::testing::agent::{Agent, Answer};

/// Longer than a lease.
const LONG: Duration = Duration::from_secs(6);

fn words(answer: &Answer) -> String {
    let text = answer
        .error()
        .and_then(|error| error.get("message")?.as_str());
    text.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn when_the_lease_ends_everything_is_denied_and_what_is_under_way_is_cut() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let response = agent.begin(1, "hang", "{}").await;
    world.bench.hanging.notified().await;
    world.control.down.store(true, Ordering::SeqCst);
    world.clock.advance(LONG);
    let denied = agent.call(2, "echo", "{}").await;
    assert_eq!(denied.status, 503);
    assert!(words(&denied).contains("no lease"), "{denied:?}");
    assert_eq!(agent.initialize().await.status, 503);
    assert_eq!(agent.connect("localhost:1").await.response.status(), 503);
    let answer = Answer::read(response).await;
    assert!(answer.broken && answer.messages.is_empty(), "{answer:?}");
    while world.bench.running.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
    // The outcome is recorded before the server of the tool is reaped.
    let outcomes = world.bodies(EventKind::CallOutcome);
    let outcome = outcomes[0].get("outcome").and_then(Value::as_str);
    assert_eq!(outcome, Some("cut"));
    assert!(
        !world.bodies(EventKind::RequestRefused).is_empty(),
        "denials are recorded"
    );
    world.control.down.store(false, Ordering::SeqCst);
    world.leased().await;
    let again = Agent::open(&world, &task, 2).await;
    assert!(again.call(1, "echo", "{}").await.result().is_some());
}

#[tokio::test]
async fn what_waits_to_be_delivered_when_the_lease_ends_is_not() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let response = agent.begin(1, "progress", "{}").await;
    // Its outcome is recorded, so its answer waits to be read.
    while world.bodies(EventKind::CallOutcome).is_empty() {
        tokio::task::yield_now().await;
    }
    world.control.down.store(true, Ordering::SeqCst);
    world.clock.advance(LONG);
    let answer = Answer::read(response).await;
    assert!(answer.broken && answer.messages.is_empty(), "{answer:?}");
}

#[tokio::test]
async fn a_lease_that_names_a_later_state_counts_when_that_is_in_force() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    // The server has gone on to a state that did not arrive yet.
    world.control.note_revision(Revision::new(11));
    world.clock.advance(LONG);
    let denied = agent.call(1, "echo", "{}").await;
    assert_eq!(denied.status, 503);
    // Once the lease was renewed, that is why.
    while !words(&agent.initialize().await).contains("counts from revision 11") {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.gateway.revision(), None);
    world.change(|_| {}).await;
    world.leased().await;
    let again = Agent::open(&world, &task, 2).await;
    assert!(again.call(1, "echo", "{}").await.result().is_some());
}

#[tokio::test]
async fn the_servers_time_decides_what_has_expired() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    assert!(agent.call(1, "echo", "{}").await.result().is_some());
    world.pass(Duration::from_mins(11)).await;
    assert_eq!(
        agent.call(2, "echo", "{}").await.status,
        401,
        "the token is over"
    );
}
