//! What nodes reset because of a kill, and when.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aims_lease::Terms;
use aims_model::receipt::How;
use aims_model::{Point, Receipt};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::delegations::root;
use super::kill::killing;
use super::world::{World, kid};
use crate::KillError;

/// A world whose gateway and node hold leases.
async fn leased() -> World {
    let (world, _) = World::ready().await;
    let revision = world.revision().await;
    for point in [Point::Gateway(world.gateway_id), Point::Node(world.node.id)] {
        world.renew(point, revision).await.unwrap();
    }
    world
}

/// Starts to kill the policy that is in force.
async fn kill_policy(world: &World) -> JoinHandle<Result<Receipt, KillError>> {
    let (plane, cx) = (world.plane.clone(), world.cx(&world.operator));
    let policy = plane.policy(&cx).await.unwrap().id.to_string();
    TaskTracker::new().spawn(async move { plane.kill(&cx, killing("policy", &policy)).await })
}

/// Until something is as it should be, and then long enough for whoever waits to look again.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
}

#[tokio::test]
async fn a_policy_kill_is_complete_when_doors_were_reset_after_every_gateway_and_not_before() {
    let world = leased().await;
    let before = world.revision().await;
    world.gateway.hangs.store(true, Ordering::SeqCst);
    let done = kill_policy(&world).await;
    until(|| world.walls.newest() > before).await;
    // The node has acknowledged the cut-off; the gateway may still send.
    assert_eq!(world.walls.resets.load(Ordering::SeqCst), 0);
    world.walls.hangs.store(true, Ordering::SeqCst);
    world.gateway.hangs.store(false, Ordering::SeqCst);
    world.gateway.released.notify_one();
    until(|| world.walls.resets.load(Ordering::SeqCst) > 0).await;
    assert!(!done.is_finished());
    world.walls.hangs.store(false, Ordering::SeqCst);
    world.walls.released.notify_one();
    let receipt = done.await.unwrap().unwrap();
    let how: Vec<_> = receipt.points.iter().map(|one| one.how).collect();
    assert_eq!(how, [How::Acknowledged; 2]);
    assert!(world.walls.newest() > receipt.revision);
    assert_eq!(world.walls.resets.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_node_that_does_not_reset_its_doors_lapses_with_its_lease() {
    let world = leased().await;
    let before = world.revision().await;
    world.gateway.hangs.store(true, Ordering::SeqCst);
    let done = kill_policy(&world).await;
    until(|| world.walls.newest() > before).await;
    world.walls.hangs.store(true, Ordering::SeqCst);
    world.gateway.hangs.store(false, Ordering::SeqCst);
    world.gateway.released.notify_one();
    until(|| world.walls.resets.load(Ordering::SeqCst) > 0).await;
    assert!(!done.is_finished());
    world.clock.forward(Terms::default().span());
    let receipt = done.await.unwrap().unwrap();
    let node = Point::Node(world.node.id);
    let of_node = receipt.points.iter().find(|one| one.point == node).unwrap();
    assert_eq!(of_node.how, How::Lapsed);
}

#[tokio::test]
async fn only_what_may_go_on_inside_walls_that_stay_resets_doors() {
    for (kind, resets) in [
        ("task", 0),
        ("agent", 0),
        ("instance", 0),
        ("instance key", 0),
        ("node key", 0),
        ("person key", 1),
        ("person", 1),
        ("policy", 1),
    ] {
        let (world, mia) = World::ready().await;
        let running = root(&world, &mia, 0).await;
        let cx = world.cx(&world.operator);
        let id = match kind {
            "task" => running.task.to_string(),
            "agent" => "notes".to_owned(),
            "instance" => running.grant.instance.to_string(),
            "instance key" => kid(&running.key),
            "node key" => kid(&world.node.key),
            "person key" => kid(&mia.key),
            "person" => "mia".to_owned(),
            _ => world.plane.policy(&cx).await.unwrap().id.to_string(),
        };
        let of = kind.rsplit(' ').next().unwrap();
        let receipt = world.plane.kill(&cx, killing(of, &id)).await.unwrap();
        assert_eq!(world.walls.resets.load(Ordering::SeqCst), resets, "{kind}");
        let later = world.revision().await.number() - receipt.revision.number();
        assert_eq!(later, resets, "{kind}");
    }
}
