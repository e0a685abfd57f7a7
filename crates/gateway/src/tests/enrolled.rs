//! Keys of gateways and nodes that are retired: at the gateway itself, and at the others.

use std::sync::Arc;

use aims_links::ControlState;
use aims_model::KeyOwner;
use aims_types::{Gateway, Id};

use super::wide;
use crate::testing::NOW;
use crate::testing::agent::{Agent, Answer};
use crate::testing::members::{A, B, Members};

fn retire(state: &mut ControlState, gateway: Id<Gateway>) {
    let keys = Arc::make_mut(&mut state.keys);
    let own = keys
        .iter_mut()
        .filter(|key| key.owner == KeyOwner::Gateway(gateway));
    own.for_each(|key| key.retired_at = Some(NOW));
}

#[tokio::test]
async fn a_gateway_whose_own_key_is_retired_denies_everything() {
    let members = Members::new();
    let a = members.start(A).await;
    let task = a.world.task(1, &wide("{}"));
    let agent = Agent::open(&a.world, &task, 1).await;
    let response = agent.begin(1, "hang", "{}").await;
    a.world.bench.hanging.notified().await;
    let taken = a.world.try_change(|state| retire(state, A)).await;
    let error = taken.unwrap_err().to_string();
    assert!(error.contains("retired"), "{error}");
    assert!(Answer::read(response).await.broken);
    assert_eq!(a.world.gateway.revision(), None);
    assert_eq!(agent.call(2, "echo", "{}").await.status, 503);
}

#[tokio::test]
async fn what_a_retired_gateway_carries_ends_at_the_others_when_they_acknowledge() {
    let members = Members::new();
    let (a, b) = (members.start(A).await, members.start(B).await);
    let task = a.world.task(1, &wide("{}"));
    let agent = Agent::open(&a.world, &task, 1).await;
    // The gateway that passes it on is not told, or does not listen.
    let through = Agent {
        world: &b.world,
        key: Arc::clone(&agent.key),
        token: agent.token.clone(),
        session: agent.session.clone(),
    };
    let response = through.begin(1, "hang", "{}").await;
    a.world.bench.hanging.notified().await;
    a.world.change(|state| retire(state, B)).await;
    assert!(Answer::read(response).await.broken);
    assert_eq!(through.call(2, "echo", "{}").await.status, 503);
    // Who asks the owner itself is served as before.
    assert_eq!(agent.initialize().await.status, 200);
}

#[tokio::test]
async fn nothing_is_passed_on_to_a_retired_gateway() {
    let members = Members::new();
    let (a, b) = (members.start(A).await, members.start(B).await);
    let task = a.world.task(1, &wide("{}"));
    let agent = Agent::open(&a.world, &task, 1).await;
    let through = Agent {
        world: &b.world,
        key: Arc::clone(&agent.key),
        token: agent.token.clone(),
        session: agent.session.clone(),
    };
    assert!(through.call(1, "echo", "{}").await.result().is_some());
    let heard = a.world.bench.seen.lock().unwrap().len();
    b.world.change(|state| retire(state, A)).await;
    assert_eq!(through.call(2, "echo", "{}").await.status, 503);
    assert_eq!(a.world.bench.seen.lock().unwrap().len(), heard);
}
