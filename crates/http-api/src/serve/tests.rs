use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;

async fn ask(stream: &mut UnixStream) {
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
}

async fn answer(stream: &mut UnixStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn who_holds_every_connection_is_bounded_and_others_wait_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let router = Router::new().route("/", get(async || "here"));
    let stopping = CancellationToken::new();
    let serving = serve_unix(listener, router, stopping.clone());
    let clients = async {
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            idle.push(UnixStream::connect(&path).await.unwrap());
        }
        // Each of them is being served: the last one that was accepted answers.
        let mut last = idle.pop().unwrap();
        let mut next = UnixStream::connect(&path).await.unwrap();
        ask(&mut next).await;
        for _ in 0..256 {
            tokio::task::yield_now().await;
        }
        let mut byte = [0];
        assert!(
            next.try_read(&mut byte).is_err(),
            "more than the bound are served"
        );
        ask(&mut last).await;
        assert!(answer(&mut last).await.ends_with("here"));
        // With its place free, the one that waited is served.
        assert!(answer(&mut next).await.ends_with("here"));
        stopping.cancel();
    };
    tokio::join!(serving, clients);
}
