//! What gateways are given, and in which order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aims_links::{Control, LinkError};
use aims_model::{EventKind, Role};
use aims_types::{Actor, Id};

use super::peer::Peer;
use super::world::{POLICY, World, jwk, new_key};
use crate::Refused;

#[tokio::test]
async fn a_gateway_has_the_newest_state_when_it_has_joined() {
    let (world, _) = World::ready().await;
    let late = Arc::new(Peer::default());
    let cx = world.plane.cx(Actor::Server).unwrap();
    world
        .plane
        .gateway_join(&cx, Id::from_u128(5), &jwk(&new_key()), late.clone())
        .await
        .unwrap();
    let (state, newest) = (world.plane.state().await.unwrap(), late.newest());
    assert_eq!(newest.revision, state.revision);
    assert_eq!(newest.policy, state.policy);
    assert_eq!(newest.keys, state.keys);
    assert_eq!(newest.servers, state.servers);
    assert_eq!(newest.issuer, super::world::ISSUER);
}

#[tokio::test]
async fn concurrent_changes_reach_every_gateway_in_the_order_of_revisions() {
    let (world, _) = World::ready().await;
    let other = Arc::new(Peer::default());
    let cx = world.plane.cx(Actor::Server).unwrap();
    world
        .plane
        .gateway_join(&cx, Id::from_u128(5), &jwk(&new_key()), other.clone())
        .await
        .unwrap();
    let cx = world.cx(&world.operator);
    let changes = (0..12).map(|_| world.plane.policy_activate(&cx, POLICY));
    let done = futures_util::future::join_all(changes).await;
    for one in done {
        let one = one.unwrap();
        assert!(one.lapsed.is_empty());
        assert!(one.revision <= world.gateway.newest().revision);
    }
    for peer in [&world.gateway, &other] {
        let revisions: Vec<_> = peer.states().iter().map(|state| state.revision).collect();
        assert!(revisions.is_sorted(), "{revisions:?}");
        assert_eq!(peer.newest().revision, world.revision().await);
    }
}

#[tokio::test]
async fn a_gateway_that_lapses_is_named_and_the_change_stays() {
    let (world, _) = World::ready().await;
    let cx = world.cx(&world.operator);
    world.gateway.silent.store(true, Ordering::SeqCst);
    let done = world.plane.policy_activate(&cx, POLICY).await.unwrap();
    assert_eq!(done.lapsed.len(), 1);
    assert_eq!(done.lapsed[0].gateway, world.gateway_id);
    assert!(done.lapsed[0].why.contains("silent"));
    assert_eq!(world.plane.policy(&cx).await.unwrap(), done.value);
    // It was said once; until it is heard again nobody waits for it. It gets what it missed.
    let done = world.plane.policy_activate(&cx, POLICY).await.unwrap();
    assert!(done.lapsed.is_empty());
    world.gateway.silent.store(false, Ordering::SeqCst);
    let done = world.plane.policy_activate(&cx, POLICY).await.unwrap();
    world.gateway.reaches(done.revision).await;
    world.gateway.unusable.store(true, Ordering::SeqCst);
    let done = world.plane.policy_activate(&cx, POLICY).await.unwrap();
    assert!(done.lapsed[0].why.contains("can't use"));
    world.gateway.unusable.store(false, Ordering::SeqCst);
    let done = world.plane.policy_activate(&cx, POLICY).await.unwrap();
    assert!(done.lapsed.is_empty());
    world.gateway.reaches(done.revision).await;
}

#[tokio::test]
async fn a_gateway_that_hangs_does_not_hold_up_the_others_and_gets_one_state_at_a_time() {
    let (world, _) = World::ready().await;
    let good = Arc::new(Peer::default());
    let cx = world.plane.cx(Actor::Server).unwrap();
    world
        .plane
        .gateway_join(&cx, Id::from_u128(5), &jwk(&new_key()), good.clone())
        .await
        .unwrap();
    let cx = world.cx(&world.operator);
    let asked = world.gateway.asked.load(Ordering::SeqCst);
    let taken = world.gateway.states().len();
    world.gateway.hangs.store(true, Ordering::SeqCst);
    for lapsed in [1, 0, 0] {
        // Without a lease nothing is allowed there: it is named once, then nobody waits for it.
        let done = world.plane.policy_activate(&cx, POLICY).await.unwrap();
        assert_eq!(done.lapsed.len(), lapsed);
        assert_eq!(good.newest().revision, done.revision);
    }
    assert_eq!(world.gateway.asked.load(Ordering::SeqCst), asked + 1);
    // It comes back to where the others are, with two states for three changes.
    world.gateway.hangs.store(false, Ordering::SeqCst);
    world.gateway.released.notify_one();
    world.gateway.reaches(world.revision().await).await;
    assert_eq!(world.gateway.states().len(), taken + 2);
    let done = world.plane.policy_activate(&cx, POLICY).await.unwrap();
    assert!(done.lapsed.is_empty());
    assert_eq!(world.gateway.newest().revision, done.revision);
}

#[tokio::test]
async fn a_gateway_that_does_not_take_the_state_does_not_join() {
    let (world, _) = World::ready().await;
    let mute = Arc::new(Peer::default());
    mute.silent.store(true, Ordering::SeqCst);
    let (cx, id) = (world.plane.cx(Actor::Server).unwrap(), Id::from_u128(5));
    let refused = world
        .plane
        .gateway_join(&cx, id, &jwk(&new_key()), mute.clone())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "gateway_not_ready");
    let head: Result<u64, LinkError> = world.plane.records_head(Id::from_u128(6)).await;
    assert!(head.unwrap_err().reason.contains("not joined"));
    let done = world
        .plane
        .policy_activate(&world.cx(&world.operator), POLICY)
        .await
        .unwrap();
    assert!(done.lapsed.is_empty());
}

#[tokio::test]
async fn a_change_reaches_the_gateways_even_if_the_caller_goes_away() {
    let (world, _) = World::ready().await;
    let cx = world.cx(&world.operator);
    {
        let change = world.plane.policy_activate(&cx, POLICY);
        // Polled once, then dropped: the caller is gone.
        assert!(futures_util::FutureExt::now_or_never(change).is_none());
    }
    world.plane.drained().await;
    assert_eq!(world.records_of(EventKind::PolicyActivated).await.len(), 2);
    assert_eq!(world.gateway.newest().revision, world.revision().await);
}

#[tokio::test]
async fn what_did_not_change_is_the_same_value_in_the_next_state() {
    let (world, _) = World::ready().await;
    let before = world.gateway.newest();
    world.enrol("eve", Role::Member).await;
    let after = world.gateway.newest();
    assert!(Arc::ptr_eq(&before.policy, &after.policy));
    assert!(Arc::ptr_eq(&before.servers, &after.servers));
    assert!(!Arc::ptr_eq(&before.keys, &after.keys));
}
