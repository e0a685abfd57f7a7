//! Issuing against ending: both orders, forced.

use std::pin::pin;

use aims_links::{Control, EndedInstance, TokenCall};
use aims_model::{EventKind, Subject};
use aims_types::{self as types, Id, Revision};
use futures_util::FutureExt;
use futures_util::future::join;

use super::tokens::{asking, send};
use super::world::{Running, Somebody, World, kid, new_key, signed};
use crate::Refused;

/// Runs both so that the first one gets the store's lock before the second one.
pub(super) async fn in_order<A: Future, B: Future>(
    world: &World,
    a: A,
    b: B,
) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    // The one writer is held until both wait for it; they are served in the order of asking.
    let held = world.parts.store.begin().await.unwrap();
    assert!(a.as_mut().now_or_never().is_none());
    settle().await;
    assert!(b.as_mut().now_or_never().is_none());
    settle().await;
    drop(held);
    join(a, b).await
}

/// Lets every task of the runtime come to where it waits.
async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

/// What ends the authority of a running instance.
#[derive(Debug, Clone, Copy)]
enum End {
    Task,
    Agent,
    Person,
    Instance,
}

async fn end(world: &World, running: &Running, end: End) {
    let cx = world.cx(&world.operator);
    let plane = &world.plane;
    match end {
        End::Task => drop(plane.task_end(&cx, running.task).await.unwrap()),
        End::Agent => {
            let notes = "notes".parse().unwrap();
            drop(plane.agent_suspend(&cx, &notes).await.unwrap());
        }
        End::Person => {
            let mia = "mia".parse().unwrap();
            drop(plane.person_remove(&cx, &mia).await.unwrap());
        }
        End::Instance => {
            let ended = EndedInstance {
                node: world.node.id,
                instance: running.grant.instance,
                how: "exited 0".to_owned(),
            };
            plane.instance_ended(ended).await.unwrap().unwrap();
        }
    }
}

/// Whether the gateway cuts off what was minted at `minted` under what was ended.
async fn cut(world: &World, running: &Running, mia: &Somebody, at: (End, Revision)) -> bool {
    let agents = world.plane.agents(&world.cx(&world.operator)).await;
    let subject = match at.0 {
        End::Task => Subject::Task(running.task),
        End::Agent => Subject::Agent(agents.unwrap()[0].id),
        End::Person => Subject::Person(mia.id),
        End::Instance => Subject::Instance(running.grant.instance),
    };
    world.gateway.cuts(&subject, at.1)
}

async fn minted(world: &World) -> Revision {
    let records = world.records_of(EventKind::TokenIssued).await;
    let body = &records.last().unwrap().event.body;
    Revision::new(body.get("revision").unwrap().as_u64().unwrap())
}

#[tokio::test]
async fn a_token_that_wins_against_an_end_is_dead_when_the_end_returns() {
    for how in [End::Task, End::Agent, End::Person, End::Instance] {
        let (world, mia) = World::ready().await;
        let running = world.running(&mia, "notes").await;
        let token = send(&world, asking(&world, &running));
        let (reply, ()) = in_order(&world, token, end(&world, &running, how)).await;
        assert_eq!(reply.status, 200, "{how:?}");
        let at = (how, minted(&world).await);
        assert!(cut(&world, &running, &mia, at).await, "{how:?}");
    }
}

#[tokio::test]
async fn an_end_that_wins_against_a_token_leaves_none() {
    for how in [End::Task, End::Agent, End::Person, End::Instance] {
        let (world, mia) = World::ready().await;
        let running = world.running(&mia, "notes").await;
        let token = send(&world, asking(&world, &running));
        let ((), reply) = in_order(&world, end(&world, &running, how), token).await;
        assert_eq!(reply.status, 400, "{how:?}");
        assert!(world.records_of(EventKind::TokenIssued).await.is_empty());
    }
}

#[tokio::test]
async fn an_attestation_that_wins_against_the_end_of_its_task_is_cut_off() {
    let (world, mia) = World::ready().await;
    let task = world.start(&mia, "notes").await.task.id;
    let run = world.redeem(&mia, task).await;
    let key = new_key();
    let attest = world.plane.instance_attest(world.attestation(run, &key));
    let cx = world.cx(&mia);
    let (attested, ended) = in_order(&world, attest, world.plane.task_end(&cx, task)).await;
    let (grant, ended) = (attested.unwrap().unwrap(), ended.unwrap());
    assert!(world.gateway.cuts(&Subject::Task(task), ended.revision));
    let running = Running { grant, key, task };
    assert_eq!(send(&world, asking(&world, &running)).await.status, 400);
    let renewed = world.plane.instance_renew(
        world.node.id,
        running.grant.instance,
        super::world::evidence(),
    );
    assert_eq!(renewed.await.unwrap().unwrap_err().code, "task_ended");
}

#[tokio::test]
async fn the_end_of_a_task_that_wins_against_an_attestation_leaves_no_instance() {
    let (world, mia) = World::ready().await;
    let task = world.start(&mia, "notes").await.task.id;
    let run = world.redeem(&mia, task).await;
    let attest = world
        .plane
        .instance_attest(world.attestation(run, &new_key()));
    let cx = world.cx(&mia);
    let (ended, attested) = in_order(&world, world.plane.task_end(&cx, task), attest).await;
    ended.unwrap();
    assert_eq!(attested.unwrap().unwrap_err().code, "task_ended");
    let view = world.plane.task(&cx, task).await.unwrap();
    assert!(view.instances.is_empty());
}

#[tokio::test]
async fn of_two_racing_uses_of_one_thing_exactly_one_counts() {
    let (world, mia) = World::ready().await;
    // One consent, two tasks.
    let consent = signed(&world.consent(&mia, "notes"), &mia.key);
    let (cx, plane) = (world.cx(&mia), &world.plane);
    let start = || plane.task_start(&cx, &consent);
    let (first, second) = in_order(&world, start(), start()).await;
    let task: Id<types::Task> = first.unwrap().value.task.id;
    assert_eq!(second.unwrap_err().code(), "consent_replayed");
    // One launch, two instances.
    let run = world.redeem(&mia, task).await;
    let attest = || plane.instance_attest(world.attestation(run, &new_key()));
    let (first, second) = in_order(&world, attest(), attest()).await;
    assert!(first.unwrap().is_ok());
    assert_eq!(second.unwrap().unwrap_err().code, "already_attested");
    // One login, two tokens.
    let form = super::authn::form(super::authn::assertion(&world, &mia, "one"), None);
    let log_in = || {
        let (form, dpop) = (form.clone(), world.proof(&mia.key));
        plane.token(TokenCall { form, dpop })
    };
    let (first, second) = in_order(&world, log_in(), log_in()).await;
    assert_eq!((first.unwrap().status, second.unwrap().status), (200, 400));
    assert!(!kid(&mia.key).is_empty());
}
