//! What one peer can take of the server.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aims_links::{Control, TokenCall};
use aims_types::Id;

use super::rich;
use super::sessions::{ENDLESS, keep_gateway};
use super::world::{DAY, NOW, World, gateway, node};
use crate::{ASK_LEN_MAX, CONNECTIONS_MAX};

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
