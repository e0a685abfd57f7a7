//! What one peer can take of the server.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aims_crypto::{Alg, SigningKey};
use aims_links::{Control, LeaseAsk, TokenCall};
use aims_tls::Identity;
use aims_types::{Id, Revision};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::rich;
use super::sessions::{ENDLESS, FakeGateway, keep_gateway};
use super::world::{DAY, NOW, World, gateway, node, path_of};
use crate::{
    ASK_LEN_MAX, CONNECTIONS_MAX, MESSAGE_LEN_MAX, POINT_BYTES_MAX, STATE_PART_LEN, UNCOUNTED_LEN,
};

fn token(len: usize) -> TokenCall {
    TokenCall {
        form: vec![b'a'; len].into(),
        dpop: String::new(),
    }
}

#[tokio::test]
async fn long_messages_are_not_read_to_their_end() {
    let world = World::start().await;
    let links = world.links(node());
    assert!(links.token(token(ASK_LEN_MAX - 64)).await.is_ok());
    assert!(links.token(token(ASK_LEN_MAX + 1)).await.is_err());
    assert_eq!(world.control.asked.lock().unwrap().len(), 1);
    // The connection is not harmed by it.
    assert!(links.token(token(1)).await.is_ok());
    // What is shipped may be longer.
    let links = world.links(gateway());
    let mut records = rich::records();
    records[0].record = vec![0; 2 * ASK_LEN_MAX];
    assert!(links.records_ship(Id::from_u128(1), records).await.is_ok());
}

#[tokio::test]
async fn what_calls_of_one_peer_hold_is_bounded_and_leaves_room_for_others() {
    let world = World::start().await;
    world.control.hangs.store(true, Ordering::SeqCst);
    let links = world.links(node());
    let mut calls = FuturesUnordered::new();
    let fit = POINT_BYTES_MAX / (ASK_LEN_MAX - UNCOUNTED_LEN);
    for _ in 0..=fit {
        calls.push(links.token(token(ASK_LEN_MAX - 64)));
    }
    // One of them finds no room; the others are heard, and wait.
    let refused = calls.next().await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("too much"), "{refused}");
    while world.control.asked.lock().unwrap().len() < fit {
        tokio::select! {
            _ = calls.next() => panic!("nobody answers"),
            () = world.control.heard.notified() => {}
        }
    }
    world.control.hangs.store(false, Ordering::SeqCst);
    let ask = LeaseAsk {
        point: node(),
        in_force: Revision::ZERO,
        head: None,
        address: None,
        telling: None,
    };
    let renewed = async { assert!(links.lease_renew(ask).await.unwrap().is_ok()) };
    let others = async {
        let mut records = rich::records();
        records[0].record = vec![0; ASK_LEN_MAX];
        let links = world.links(gateway());
        links.records_ship(Id::from_u128(1), records).await.unwrap();
    };
    tokio::join!(renewed, others);
    // What is over holds nothing any more.
    drop(calls);
    while links.token(token(ASK_LEN_MAX - 64)).await.is_err() {}
}

#[tokio::test]
async fn a_state_of_any_length_arrives_whole() {
    let world = World::start().await;
    let (fake, _stopping) = keep_gateway(&world);
    let link = world.next_gateway().await;
    let mut state = rich::state(2);
    // Longer than any message may be.
    let text = "x".repeat(MESSAGE_LEN_MAX + STATE_PART_LEN / 2);
    state.policy = rich::policy(&text);
    let inspected = link.inspect("git".parse().unwrap(), rich::spec());
    let (applied, pins) = tokio::join!(link.apply(Arc::new(state)), inspected);
    assert_eq!(applied.unwrap().revision, Revision::new(2));
    assert_eq!(pins, Ok(rich::pins()));
    assert_eq!(fake.last().policy.text, text);
}

#[tokio::test]
async fn a_peer_has_few_connections() {
    let world = World::start().await;
    let mut open: Vec<_> = (0..CONNECTIONS_MAX).map(|_| world.links(node())).collect();
    for links in &open {
        links.token(token(1)).await.unwrap();
    }
    let more = world.links(node());
    assert!(more.token(token(1)).await.is_err());
    // Those of others are their own.
    let other = world.links(gateway());
    other.records_head(Id::from_u128(1)).await.unwrap();
    // A place is free again when a connection has ended.
    open.pop();
    while more.token(token(1)).await.is_err() {}
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_that_it_began_with() {
    let world = World::start().await;
    world
        .clock
        .0
        .store((NOW + DAY) * 1000 - 500, Ordering::SeqCst);
    let (_fake, _stopping) = keep_gateway(&world);
    let link = world.next_gateway().await;
    world.clock.0.store((NOW + DAY) * 1000, Ordering::SeqCst);
    let endless = Arc::new(rich::state(ENDLESS));
    assert!(link.apply(endless).await.is_err());
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_by_new_connections_and_no_old_one_is_left() {
    let world = World::start().await;
    let signer = Arc::new(SigningKey::generate(Alg::Es256).unwrap());
    let path = path_of(gateway());
    let first = world.svid(&path, &signer, 1);
    let identity = Identity::new(first, &world.ca, Arc::clone(&signer) as _).unwrap();
    let identity = Arc::new(identity);
    let links = world.links_as(Arc::clone(&identity));
    let fake = Arc::new(FakeGateway::default());
    let (kept, until) = (links.clone(), world.stopping.clone());
    let asked = Arc::clone(&fake);
    world
        .tasks
        .spawn(async move { kept.keep_gateway(asked, until).await });
    drop(world.next_gateway().await);
    for days in 1..=CONNECTIONS_MAX as u64 + 1 {
        let renewed = world.svid(&path, &signer, days + 1);
        identity
            .renew(renewed, &world.ca, Arc::clone(&signer) as _)
            .unwrap();
        // From now on nobody gets through with the one before.
        let now = (NOW + days * DAY) * 1000 + 1000;
        world.clock.0.store(now, Ordering::SeqCst);
        links.redial();
        let link = world.next_gateway().await;
        link.apply(Arc::new(rich::state(days))).await.unwrap();
        links.records_head(Id::from_u128(1)).await.unwrap();
    }
}
