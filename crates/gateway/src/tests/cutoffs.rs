//! Cut-offs: complete when they are acknowledged.

use std::sync::atomic::Ordering;

use aims_json::Value;
use aims_links::Enforce;
use aims_model::{EventKind, Subject};
use aims_types::{Id, Revision};

use super::wide;
use crate::testing::World;
use crate::testing::agent::{Agent, Answer};

#[tokio::test]
async fn a_cut_in_mid_call_ends_stream_and_server_before_it_is_acknowledged() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let delegation = Subject::Delegation(task.grant.id);
    let policy = Subject::Policy(Id::from_u128(300));
    let key = |agent: &Agent<'_>| Subject::Key(agent.token.common.jkt.to_string());
    for n in 1..=7 {
        let world = World::new().await;
        let task = world.task(1, &wide("{}"));
        let agent = Agent::open(&world, &task, 1).await;
        let subject = match n {
            1 => Subject::Instance(agent.instance()),
            2 => Subject::Task(task.id),
            3 => Subject::Person(crate::testing::person().id),
            4 => Subject::Agent(task.grant.delegate),
            5 => delegation.clone(),
            6 => policy.clone(),
            _ => key(&agent),
        };
        let response = agent.begin(1, "hang", "{}").await;
        world.bench.hanging.notified().await;
        world.cut(subject.clone()).await;
        assert_eq!(
            world.bench.running.load(Ordering::SeqCst),
            0,
            "{subject:?}: reaped"
        );
        let outcomes = world.bodies(EventKind::CallOutcome);
        let outcome = outcomes[0].get("outcome").and_then(Value::as_str);
        assert_eq!(outcome, Some("cut"), "{subject:?}");
        let answer = Answer::read(response).await;
        assert!(
            answer.broken && answer.messages.is_empty(),
            "{subject:?}: {answer:?}"
        );
        assert_eq!(agent.call(2, "echo", "{}").await.status, 401, "{subject:?}");
        assert_eq!(agent.initialize().await.status, 401, "{subject:?}");
    }
    drop(world);
}

#[tokio::test]
async fn no_answer_of_any_kind_is_delivered_after_the_cut() {
    for message in [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"no/such"}"#,
    ] {
        let world = World::new().await;
        let task = world.task(1, &wide("{}"));
        let agent = Agent::open(&world, &task, 1).await;
        let response = agent.unread(message).await;
        world.cut(Subject::Instance(agent.instance())).await;
        let answer = Answer::read(response).await;
        assert!(
            answer.broken && answer.messages.is_empty(),
            "{message}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn no_answer_of_any_kind_is_delivered_without_a_lease() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let response = agent.unread(list).await;
    world.control.down.store(true, Ordering::SeqCst);
    world.clock.advance(std::time::Duration::from_secs(6));
    let answer = Answer::read(response).await;
    assert!(answer.broken && answer.messages.is_empty(), "{answer:?}");
}

#[tokio::test]
async fn what_is_not_under_the_cut_goes_on() {
    let world = World::new().await;
    let (one, two) = (world.task(1, &wide("{}")), world.task(2, &wide("{}")));
    let (first, second) = (
        Agent::open(&world, &one, 1).await,
        Agent::open(&world, &two, 2).await,
    );
    world.cut(Subject::Task(one.id)).await;
    assert_eq!(first.call(1, "echo", "{}").await.status, 401);
    assert!(second.call(1, "echo", "{}").await.result().is_some());
}

#[tokio::test]
async fn a_credential_minted_after_the_cut_is_good() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let revision = world.cut(Subject::Agent(task.grant.delegate)).await;
    let mut agent = Agent::new(&world, &task, 1);
    assert_eq!(agent.initialize().await.status, 401);
    agent.token.revision = revision.next();
    assert_eq!(agent.initialize().await.status, 200);
}

#[tokio::test]
async fn states_are_taken_in_their_order_and_an_unusable_one_denies_everything() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let newest = world.change(|_| {}).await;
    let older = world
        .change(|state| state.revision = Revision::new(3))
        .await;
    assert_eq!(older, newest, "an older state is ignored");
    assert!(agent.call(1, "echo", "{}").await.result().is_some());
    let broken = world
        .gateway
        .apply(std::sync::Arc::new(aims_links::ControlState {
            revision: Revision::new(1000),
            issuer: crate::testing::ISSUER.to_owned(),
            policy: std::sync::Arc::new(crate::testing::policy_version("permit (no")),
            servers: std::sync::Arc::default(),
            upstreams: std::sync::Arc::default(),
            keys: std::sync::Arc::default(),
            cutoffs: std::sync::Arc::default(),
            approvals: std::sync::Arc::default(),
        }));
    assert!(broken.await.is_err());
    assert_eq!(agent.call(2, "echo", "{}").await.status, 503);
    assert_eq!(world.bench.running.load(Ordering::SeqCst), 0);
    let older = world
        .try_change(|state| state.revision = Revision::new(999))
        .await;
    assert!(older.is_err(), "no older state comes back");
    world
        .change(|state| state.revision = Revision::new(1001))
        .await;
    let again = Agent::open(&world, &task, 2).await;
    assert!(again.call(1, "echo", "{}").await.result().is_some());
}

#[tokio::test]
async fn a_cut_is_not_acknowledged_while_a_tool_server_could_not_be_ended() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    world.bench.stuck.store(true, Ordering::SeqCst);
    let cutting = world.cut(Subject::Instance(agent.instance()));
    let cutting = tokio::time::timeout(std::time::Duration::from_millis(200), cutting);
    assert!(cutting.await.is_err(), "something of it may run on");
}
