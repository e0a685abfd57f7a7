//! The end of the server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aims_links::Control;
use aims_types::Id;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::rich;
use super::sessions::keep_gateway;
use super::world::{World, gateway};

/// Long enough for anything that comes to an end, and shorter than clients wait.
const LONG: Duration = Duration::from_secs(30);

async fn stop(world: &World) {
    world.stopping.cancel();
    let served = world.served.lock().unwrap().take().unwrap();
    timeout(LONG, served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_server_stops_while_sessions_are_open_and_handshakes_under_way() {
    let world = World::start().await;
    let (_fake, _stopping) = keep_gateway(&world);
    // It is kept for as long as the server of the fakes likes.
    let link = world.next_gateway().await;
    link.apply(Arc::new(rich::state(1))).await.unwrap();
    let _silent = TcpStream::connect(&world.address).await.unwrap();
    stop(&world).await;
    assert!(link.apply(Arc::new(rich::state(2))).await.is_err());
}

#[tokio::test]
async fn a_server_stops_while_a_call_is_not_answered() {
    let world = World::start().await;
    world.control.hangs.store(true, Ordering::SeqCst);
    let links = world.links(gateway());
    let calling = links.records_head(Id::from_u128(1));
    let stopping = async {
        world.control.heard.notified().await;
        stop(&world).await;
    };
    let (called, ()) = tokio::join!(calling, stopping);
    assert!(called.is_err());
}
