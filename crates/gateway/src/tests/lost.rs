//! Trees whose owner is lost, with what it had recorded and the server had not got.

use std::sync::Arc;
use std::time::Duration;

use aims_model::EventKind;
use aims_model::approval::Stage;
use aims_types::{Gateway, Id};
use futures_util::future::join_all;

use super::trees::{at, calls, is_permitted};
use super::wide;
use crate::GatewayLimits;
use crate::testing::agent::{Agent, Answer};
use crate::testing::members::{A, B, Member, Members};
use crate::testing::{NOW, POLICY, Task, World, limits, policy_version};

/// A window of 3.
const USES: u64 = 24;
const LIMIT: &str = r#"{"uses":24}"#;

/// Calls until one is refused; how many were permitted.
async fn permitted(agent: &Agent<'_>) -> u64 {
    let mut count = 0;
    for id in 100.. {
        if !is_permitted(&agent.call(id, "echo", "{}").await) {
            break;
        }
        count += 1;
    }
    count
}

/// Waits until the server has everything that a gateway recorded.
async fn shipped(members: &Members, member: &Member, gateway: Id<Gateway>) {
    let all = member.world.gateway.durable().len() as u64;
    while members.book(|book| book.head(gateway)) < all {
        tokio::task::yield_now().await;
    }
}

fn is_behind(answer: &Answer) -> bool {
    let message = answer.error().and_then(|error| error.get("message"));
    let message = message.map(ToString::to_string).unwrap_or_default();
    answer.status == 503 && message.contains("the server has not taken")
}

fn intents(member: &Member) -> u64 {
    member.world.bodies(EventKind::CallIntent).len() as u64
}

/// Two gateways; the first owns the tree of a task, made two calls, and is not heard any more. It
/// makes as many more as it may.
async fn lost(members: &Members) -> (Member, Member, Task) {
    let (a, b) = (members.start(A).await, members.start(B).await);
    let task = a.world.task(1, &wide(LIMIT));
    members.book(|book| book.least.insert(task.id, USES));
    let agent = Agent::open(&a.world, &task, 1).await;
    for id in 0..2 {
        assert!(is_permitted(&agent.call(id, "echo", "{}").await));
    }
    shipped(members, &a, A).await;
    members.book(|book| book.cut.insert(A));
    for id in 2..5 {
        assert!(is_permitted(&agent.call(id, "echo", "{}").await));
    }
    assert!(is_behind(&agent.call(5, "echo", "{}").await));
    drop(agent);
    (a, b, task)
}

async fn fail_over(members: &Members, b: &World) {
    members.isolate(A);
    b.leased().await;
}

#[tokio::test]
async fn after_a_crash_of_the_owner_another_gateway_goes_on_with_at_most_a_window_less() {
    let members = Members::new();
    let (a, b, task) = lost(&members).await;
    fail_over(&members, &b.world).await;
    let agent = Agent::open(&b.world, &task, 1).await;
    // Two are known, three may be lost, and were.
    assert_eq!(permitted(&agent).await, USES - 5);
    assert_eq!(intents(&a) + intents(&b), USES);
    // The old owner comes back with its tail: it is not the owner, and nothing is left.
    members.rejoin(A);
    a.world.leased().await;
    shipped(&members, &a, A).await;
    let other = at(&a.world, &agent);
    assert!(!is_permitted(&other.call(1, "echo", "{}").await));
    assert_eq!(intents(&a) + intents(&b), USES);
    assert_eq!((calls(&a), calls(&b)), (5, 19));
}

#[tokio::test]
async fn an_approval_of_a_state_older_than_the_take_over_counts_for_nothing() {
    let members = Members::new();
    let limits = GatewayLimits {
        approval_wait: Duration::from_millis(1),
        ..limits()
    };
    let dir = || Arc::new(tempfile::tempdir().unwrap());
    let (a, b) = (
        members.start_with(A, dir(), limits.clone()).await,
        members.start_with(B, dir(), limits).await,
    );
    let policy = format!(
        r#"{POLICY} @id("ask-first") @requirement("approval")
        permit (principal, action == Action::"bench/echo", resource);"#
    );
    for world in [&a.world, &b.world] {
        let policy = Arc::new(policy_version(&policy));
        world.change(|state| state.policy = policy).await;
    }
    let task = a.world.task(1, &wide("{}"));
    let agent = Agent::open(&a.world, &task, 1).await;
    agent.call(1, "echo", "{}").await;
    let approval = a.world.asked(0).await;
    for world in [&a.world, &b.world] {
        world.approve(&approval).await;
    }
    fail_over(&members, &b.world).await;
    let agent = Agent::open(&b.world, &task, 1).await;
    // The server has withdrawn it, and the news is not here yet.
    let stage = Stage::Withdrawn {
        at: NOW,
        why: "taken over".to_owned(),
    };
    b.world.control.approvals.lock().unwrap()[0].stage = stage;
    agent.call(1, "echo", "{}").await;
    assert_eq!((intents(&b), calls(&b)), (0, 0));
    assert_eq!(b.world.questions(), 2, "it is asked anew");
}

#[tokio::test]
async fn racing_calls_never_get_further_ahead_of_the_server_than_the_window() {
    let members = Members::new();
    let a = members.start(A).await;
    let (counted, free) = (a.world.task(1, &wide(LIMIT)), a.world.task(2, &wide("{}")));
    members.book(|book| book.least.insert(counted.id, USES));
    let agents = [
        Agent::open(&a.world, &counted, 1).await,
        Agent::open(&a.world, &counted, 2).await,
    ];
    let other = Agent::open(&a.world, &free, 3).await;
    members.book(|book| book.cut.insert(A));
    let racing = (0..10_u64).map(|n| {
        let agent = &agents[usize::try_from(n % 2).unwrap()];
        agent.call(n, "echo", "{}")
    });
    let answers = join_all(racing).await;
    let behind = answers.iter().filter(|answer| is_behind(answer)).count();
    let made = answers.iter().filter(|answer| answer.result().is_some());
    assert_eq!((made.count(), behind), (3, 7), "{answers:?}");
    assert_eq!(calls(&a), 3);
    let denied = a.world.bodies(EventKind::CallDenied);
    assert!(
        denied
            .iter()
            .any(|one| one.to_string().contains("the server has not taken"))
    );
    // Where nothing is counted, nothing waits.
    for id in 0..20 {
        assert!(is_permitted(&other.call(id, "echo", "{}").await));
    }
    // Neither does anything when the server is there again, and nothing was used in vain.
    members.rejoin(A);
    for id in 10..31 {
        assert!(
            is_permitted(&agents[0].call(id, "echo", "{}").await),
            "{id}"
        );
    }
    assert!(!is_permitted(&agents[0].call(99, "echo", "{}").await));
}

#[tokio::test]
async fn a_tree_that_is_given_back_is_still_without_what_may_be_lost_until_it_is_found() {
    let members = Members::new();
    let (a, b, task) = lost(&members).await;
    fail_over(&members, &b.world).await;
    let agent = Agent::open(&b.world, &task, 1).await;
    assert!(is_permitted(&agent.call(1, "echo", "{}").await));
    assert_eq!(members.book(|book| book.lost(task.id)).len(), 1);
    let used = intents(&a) + intents(&b);
    let dir = b.end().await;
    let b = members.start_in(B, dir).await;
    let agent = Agent::open(&b.world, &task, 2).await;
    // 24 less 2, 3 that may be lost, and 1.
    for id in 0..10 {
        assert!(is_permitted(&agent.call(id, "echo", "{}").await));
    }
    // It comes back, and has not taken over what came with the take-over: that tells nothing.
    members.rejoin(A);
    a.world.leased().await;
    shipped(&members, &a, A).await;
    assert_eq!(members.book(|book| book.lost(task.id)).len(), 1);
    let revision = a.world.change(|_| {}).await;
    b.world.change(|state| state.revision = revision).await;
    while !members.book(|book| book.lost(task.id)).is_empty() {
        tokio::task::yield_now().await;
    }
    // Who owns it goes on without it to the end.
    assert_eq!(permitted(&agent).await, 24 - 6 - 10);
    assert_eq!((used, intents(&a) + intents(&b)), (6, USES));
}
