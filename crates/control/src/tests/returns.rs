//! Nodes that come back, and what they are told of gateways.

use std::sync::Arc;

use aims_links::{Admit, Control, EndedInstance};
use aims_model::{EventKind, KeyPurpose, Point, Subject};
use aims_types::{Id, Instance};

use super::peer::Walls;
use super::world::{Running, World, text};
use crate::{Kill, KillTarget};

/// A node that says that it has these instances.
fn with(held: &[Id<Instance>]) -> Arc<Walls> {
    let walls = Walls::default();
    *walls.held.lock().unwrap() = held.to_vec();
    Arc::new(walls)
}

async fn live(world: &World) -> Vec<Id<Instance>> {
    let mut reader = world.parts.store.read().await.unwrap();
    let live = reader.instances_live().await.unwrap();
    live.into_iter().map(|instance| instance.id).collect()
}

/// Two instances of a node that holds a lease.
async fn two() -> (World, Point, [Running; 2]) {
    let (world, mia) = World::ready().await;
    let one = world.running(&mia, "notes").await;
    let other = world.running(&mia, "notes").await;
    let node = Point::Node(world.node.id);
    world.renew(node, world.revision().await).await.unwrap();
    (world, node, [one, other])
}

#[tokio::test]
async fn a_node_that_reconnects_keeps_its_instances() {
    let (world, node, [one, other]) = two().await;
    let held = [one.grant.instance, other.grant.instance];
    let walls = with(&held);
    let linked = world.plane.attach_node(node, walls.clone()).await.unwrap();
    assert_eq!(linked, Ok(world.revision().await));
    assert_eq!(live(&world).await.len(), 2);
    assert!(walls.ended().is_empty());
}

#[tokio::test]
async fn what_a_node_had_before_it_started_again_is_cut_off_when_it_is_linked() {
    let (world, node, [one, other]) = two().await;
    let walls = with(&[other.grant.instance]);
    world.plane.attach_node(node, walls).await.unwrap().unwrap();
    assert_eq!(live(&world).await, [other.grant.instance]);
    let state = world.gateway.newest();
    let cut = |id| {
        let mut subjects = state.cutoffs.iter().map(|cut| &cut.subject);
        subjects.any(|subject| *subject == Subject::Instance(id))
    };
    assert!(cut(one.grant.instance) && !cut(other.grant.instance));
    let ended = world.records_of(EventKind::InstanceEnded).await;
    assert_eq!(text(ended.last().unwrap(), "how"), "the node started again");
    // What another node vouches for is nothing that this one loses.
    let far = world.other_node().await;
    let far = world
        .plane
        .attach_node(Point::Node(far.id), with(&[]))
        .await;
    far.unwrap().unwrap();
    assert_eq!(live(&world).await, [other.grant.instance]);
}

#[tokio::test]
async fn a_kill_of_a_gateways_key_returns_when_the_nodes_know_of_it() {
    let world = World::new().await;
    let mut reader = world.parts.store.read().await.unwrap();
    let keys = reader.keys(KeyPurpose::Gateway).await.unwrap();
    drop(reader);
    let kid = keys[0].kid.clone();
    world.agent("notes", "olga").await;
    assert_eq!(world.walls.gateways(), std::slice::from_ref(&kid));
    let kill = Kill {
        target: KillTarget::Subject(Subject::Key(kid)),
        reason: "lost".to_owned(),
    };
    let receipt = world.plane.kill(&world.cx(&world.operator), kill).await;
    assert!(world.walls.newest() >= receipt.unwrap().revision);
    assert_eq!(world.walls.gateways(), [] as [String; 0]);
}

#[tokio::test]
async fn an_end_that_can_never_be_noted_is_refused_and_not_a_fault() {
    let (world, _, [one, _]) = two().await;
    let far = world.other_node().await;
    for (node, instance, code) in [
        (far.id, one.grant.instance, "foreign_node"),
        (world.node.id, Id::from_u128(9), "unknown_instance"),
    ] {
        let how = "exited 0".to_owned();
        let ended = EndedInstance {
            node,
            instance,
            how,
        };
        let noted = world.plane.instance_ended(ended).await.unwrap();
        assert_eq!(noted.unwrap_err().code, code);
        assert_eq!(world.refused().await, code);
    }
    assert_eq!(live(&world).await.len(), 2);
}
