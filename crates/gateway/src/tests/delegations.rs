//! Sub-agents: chains of several hops.

use std::sync::atomic::Ordering;

use aims_json::Value;
use aims_model::{EventKind, Subject};

use super::wide;
use crate::testing::agent::{Agent, Answer};
use crate::testing::{POLICY, Task, World, limits};

/// A task of `notes`, an instance of it, and what it hands on to `helper`.
async fn handed_on<'w>(world: &'w World, limits: &str) -> (Task, Agent<'w>, Task) {
    let task = world.task(1, &wide(r#"{"depth":2,"uses":3}"#));
    let agent = Agent::open(world, &task, 1).await;
    let sub = world.delegate(2, (&task, &agent), "helper", &wide(limits));
    (task, agent, sub)
}

fn list(value: &Value, name: &str, member: &str) -> Vec<String> {
    let items = value.get(name).and_then(Value::as_array).unwrap();
    let text = |item: &Value| {
        item.get(member)
            .and_then(Value::as_str)
            .unwrap_or("-")
            .to_owned()
    };
    items.iter().map(text).collect()
}

#[tokio::test]
async fn a_sub_agents_call_is_recorded_with_all_three_principals_and_charged_to_every_hop() {
    let world = World::new().await;
    let (_, agent, sub) = handed_on(&world, r#"{"uses":2}"#).await;
    let helper = Agent::open(&world, &sub, 2).await;
    assert!(helper.call(1, "echo", "{}").await.result().is_some());
    let intents = world.bodies(EventKind::CallIntent);
    let intent = intents.first().unwrap();
    assert_eq!(
        list(intent, "principals", "principal"),
        ["person:alice", "agent:notes", "agent:helper"]
    );
    assert_eq!(
        list(intent, "agents", "agent"),
        [
            "spiffe://aims.test/agent/notes",
            "spiffe://aims.test/agent/helper"
        ]
    );
    assert_eq!(
        list(intent, "agents", "from"),
        ["-".to_owned(), agent.instance().to_string()]
    );
    assert_eq!(
        intent.get("chain").and_then(Value::as_array).unwrap().len(),
        2
    );
    assert_eq!(list(intent, "reserved", "delegation").len(), 2);
    assert!(helper.call(2, "echo", "{}").await.result().is_some());
    assert_eq!(
        helper.call(3, "echo", "{}").await.rule(),
        "uses_exhausted",
        "its own"
    );
    assert!(agent.call(1, "echo", "{}").await.result().is_some());
    assert_eq!(
        agent.call(2, "echo", "{}").await.rule(),
        "uses_exhausted",
        "what both used"
    );
}

#[tokio::test]
async fn the_policy_of_any_one_of_them_refuses_it() {
    for (kind, name) in [("Person", "alice"), ("Agent", "notes"), ("Agent", "helper")] {
        let policy = format!(
            r#"{POLICY} @id("not-them") forbid (principal is {kind}, action == Action::"bench/echo",
            resource) when {{ principal == {kind}::"{name}" }};"#
        );
        let world = World::with(limits(), &policy).await;
        let (_, _, sub) = handed_on(&world, r#"{"uses":2}"#).await;
        let helper = Agent::open(&world, &sub, 2).await;
        let answer = helper.call(1, "echo", "{}").await;
        assert_eq!(answer.rule(), "policy", "{name}: {answer:?}");
        assert!(
            helper.call(2, "progress", "{}").await.result().is_some(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_cut_of_the_instance_that_delegated_ends_the_sub_agents_call_for_good() {
    let world = World::new().await;
    let (_, agent, sub) = handed_on(&world, r#"{"uses":2}"#).await;
    let mut helper = Agent::open(&world, &sub, 2).await;
    let response = helper.begin(1, "hang", "{}").await;
    world.bench.hanging.notified().await;
    let applied = world.kill(Subject::Instance(agent.instance())).await;
    assert_eq!(
        world.bench.running.load(Ordering::SeqCst),
        0,
        "both servers are reaped"
    );
    assert_eq!((applied.ended.servers, applied.ended.calls), (2, 1));
    assert_eq!(applied.ended.unknown.len(), 1);
    let answer = Answer::read(response).await;
    assert!(answer.broken && answer.messages.is_empty(), "{answer:?}");
    assert_eq!(helper.call(2, "echo", "{}").await.status, 401);
    // What a dead instance handed on stays dead, however new the token.
    helper.token.revision = applied.revision.next();
    assert_eq!(helper.initialize().await.status, 401);
}

#[tokio::test]
async fn every_delegation_and_every_agent_of_the_chain_can_be_cut_off() {
    for n in 0..4 {
        let world = World::new().await;
        let (task, agent, sub) = handed_on(&world, r#"{"uses":2}"#).await;
        let helper = Agent::open(&world, &sub, 2).await;
        let subject = match n {
            0 => Subject::Delegation(task.grant.id),
            1 => Subject::Delegation(sub.grant.id),
            2 => Subject::Agent(task.grant.delegate),
            _ => Subject::Agent(sub.grant.delegate),
        };
        world.cut(subject.clone()).await;
        assert_eq!(
            helper.call(1, "echo", "{}").await.status,
            401,
            "{subject:?}"
        );
        let above = agent.call(1, "echo", "{}").await;
        assert_eq!(above.status == 401, n % 2 == 0, "{subject:?}: {above:?}");
    }
}

#[tokio::test]
async fn a_hop_that_is_wider_than_the_one_above_is_worth_nothing_though_the_server_signed_it() {
    let world = World::new().await;
    let task = world.task(1, &wide(r#"{"depth":1}"#));
    let agent = Agent::open(&world, &task, 1).await;
    let wider = wide("{}").replace("\"twice\"", "\"twice\",\"secret\"");
    let sub = world.delegate(2, (&task, &agent), "helper", &wider);
    assert_eq!(Agent::new(&world, &sub, 2).initialize().await.status, 401);
    let stranger = Agent::new(&world, &task, 9);
    let mut forged = world.delegate(3, (&task, &agent), "helper", &wide("{}"));
    forged.grant.delegator = match forged.grant.delegator {
        aims_model::grant::Delegator::Agent {
            id,
            spiffe_id,
            request,
            wit,
            ..
        } => {
            let instance = stranger.instance();
            aims_model::grant::Delegator::Agent {
                id,
                spiffe_id,
                instance,
                request,
                wit,
            }
        }
        other @ aims_model::grant::Delegator::Person { .. } => other,
    };
    let forged = world.enter(forged.grant, task.hops(), "helper");
    assert_eq!(
        Agent::new(&world, &forged, 2).initialize().await.status,
        401
    );
}
