//! Nodes that join, and the records that gateways ship.

use std::sync::Arc;

use aims_audit::{Sequencer, TileDir};
use aims_links::{Control, ShippedRecord};
use aims_model::record::FIRST_PREV;
use aims_model::{Event, EventKind, Record, Source, Subject};
use aims_tlog::NoteSigner;
use aims_types::{Actor, Id};

use super::world::{World, jwk, new_key};
use crate::{ControlPlane, Parts, RecordSink, Refused, log_key};

#[tokio::test]
async fn a_node_keeps_its_identity_and_its_key_is_its_own() {
    let world = World::new().await;
    let cx = world.plane.cx(Actor::Server).unwrap();
    let again = world
        .plane
        .node_join(&cx, &jwk(&world.node.key), "host", world.walls.clone())
        .await;
    assert_eq!(again.unwrap(), world.node.id);
    let taken = world
        .plane
        .node_join(&cx, &jwk(&world.operator.key), "host", world.walls.clone())
        .await;
    assert_eq!(taken.unwrap_err().code(), "key_taken");
    let walls = world.walls.clone();
    let bad = world.plane.node_join(&cx, "[]", "host", walls).await;
    assert_eq!(bad.unwrap_err().code(), "bad_key");
}

#[tokio::test]
async fn a_gateway_keeps_its_key_and_its_key_is_its_own() {
    let world = World::new().await;
    let cx = world.plane.cx(Actor::Server).unwrap();
    let key = jwk(&new_key());
    let join = |id: u128, jwk: String| {
        let (plane, link, cx) = (&world.plane, world.gateway.clone(), &cx);
        async move { plane.gateway_join(cx, Id::from_u128(id), &jwk, link).await }
    };
    assert_eq!(join(7, key.clone()).await.unwrap(), Id::from_u128(7));
    let before = world.revision().await;
    assert_eq!(join(7, key.clone()).await.unwrap(), Id::from_u128(7));
    assert_eq!(world.revision().await, before);
    assert_eq!(join(8, key).await.unwrap_err().code(), "key_taken");
    let taken = join(8, jwk(&world.node.key)).await;
    assert_eq!(taken.unwrap_err().code(), "key_taken");
    assert_eq!(
        join(8, "[]".to_owned()).await.unwrap_err().code(),
        "bad_key"
    );
}

#[tokio::test]
async fn the_instances_of_a_node_that_joins_again_have_ended() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let minted = world.revision().await;
    let cx = world.plane.cx(Actor::Server).unwrap();
    world
        .plane
        .node_join(&cx, &jwk(&world.node.key), "host", world.walls.clone())
        .await
        .unwrap();
    assert!(
        world
            .gateway
            .cuts(&Subject::Instance(running.grant.instance), minted)
    );
    let view = world
        .plane
        .task(&world.cx(&mia), running.task)
        .await
        .unwrap();
    assert!(!view.instances[0].stage.is_live());
    let before = world.revision().await;
    world
        .plane
        .node_join(&cx, &jwk(&world.node.key), "host", world.walls.clone())
        .await
        .unwrap();
    assert_eq!(world.revision().await, before);
}

/// The same server with its log, which the gateway joined again.
pub(super) async fn with_log(world: &World) -> (ControlPlane, Arc<Sequencer>) {
    let store = world.parts.store.clone();
    let key = log_key(store.as_ref(), &world.parts.keys).await.unwrap();
    let name = "aims.local/log".parse().unwrap();
    let signer = NoteSigner::new(name, Arc::new(key)).unwrap();
    let tiles = TileDir::new(world.directory().join("log"));
    let log = Arc::new(
        Sequencer::open(store, signer, tiles, world.plane.vault())
            .await
            .unwrap(),
    );
    let records: Arc<dyn RecordSink> = log.clone();
    let parts = Parts {
        records,
        ..world.parts.clone()
    };
    let plane = ControlPlane::open(parts).await.unwrap();
    let cx = plane.cx(Actor::Server).unwrap();
    let link = world.gateway.clone();
    plane
        .gateway_join(&cx, world.gateway_id, &jwk(&new_key()), link)
        .await
        .unwrap();
    (plane, log)
}

#[tokio::test]
async fn shipped_records_reach_the_log_in_order_and_strangers_ship_nothing() {
    let (world, _) = World::ready().await;
    let (plane, _) = with_log(&world).await;
    let source = Source::Gateway(world.gateway_id);
    let event = Event::new(
        EventKind::GatewayStarted,
        world.now(),
        aims_json::Object::new(),
    );
    let ship = |seq, prev| ShippedRecord {
        seq,
        record: event.encode(source, seq, prev).unwrap(),
        material: None,
    };
    let first = ship(1, FIRST_PREV);
    let digest = aims_crypto::sha256(&first.record);
    assert_eq!(plane.records_head(world.gateway_id).await.unwrap(), 0);
    assert_eq!(
        plane
            .records_ship(world.gateway_id, vec![first])
            .await
            .unwrap(),
        1
    );
    let gap = plane
        .records_ship(world.gateway_id, vec![ship(3, digest)])
        .await;
    assert!(gap.is_err());
    assert_eq!(
        plane
            .records_ship(world.gateway_id, vec![ship(2, digest)])
            .await
            .unwrap(),
        2
    );
    assert_eq!(plane.records_head(world.gateway_id).await.unwrap(), 2);
    let stranger = Id::from_u128(99);
    assert!(
        plane
            .records_ship(stranger, vec![ship(3, digest)])
            .await
            .is_err()
    );
    assert!(plane.records_head(stranger).await.is_err());
    // Without a log nothing is taken.
    assert!(world.plane.records_head(world.gateway_id).await.is_err());
}

#[tokio::test]
async fn a_trace_is_the_same_before_while_and_after_records_go_into_the_log() {
    let (world, mia) = World::ready().await;
    let task = world.start(&mia, "notes").await.task.id;
    let (plane, log) = with_log(&world).await;
    let trace = || async { plane.trace(&world.cx(&mia), task, 0).await.unwrap().records };
    let started = trace().await;
    log.fold().await.unwrap();
    assert_eq!(trace().await, started);
    world.instance(&mia, task).await;
    let running = trace().await;
    assert_eq!(running[..started.len()], started);
    log.fold().await.unwrap();
    assert_eq!(trace().await, running);
    let kinds: Vec<EventKind> = running
        .iter()
        .map(|bytes| Record::decode(bytes).unwrap().event.kind)
        .collect();
    assert_eq!(kinds.last(), Some(&EventKind::InstanceAttested));
    assert_eq!(kinds.len(), 4);
}
