//! Keys that are retired, and certificates that end, while connections are open.

use aims_types::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// A body that goes on, and where it comes from.
async fn stream(
    fake: &Fake,
    remote: &RemoteEndpoint,
) -> (Body, mpsc::Sender<Result<Bytes, LinkError>>) {
    let (sender, receiver) = mpsc::channel(8);
    *fake.frames.lock().unwrap() = Some(receiver);
    let response = remote.http(post("/stream", "")).await.unwrap();
    let mut body = response.into_body();
    sender.send(Ok(Bytes::from("one"))).await.unwrap();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "one");
    (body, sender)
}

/// A tunnel that carries bytes.
async fn tunnel(remote: &RemoteEndpoint) -> Box<dyn aims_links::Tunnel> {
    let request = Request::connect("good.example:443").body(()).unwrap();
    let mut tunnel = remote.connect(request).await.unwrap().tunnel.unwrap();
    tunnel.write_all(b"hello").await.unwrap();
    tunnel.read_exact(&mut [0; 5]).await.unwrap();
    tunnel
}

/// The other side does not know, as if it had been told nothing.
fn told_nothing(domain: &Domain, of: &Identity) -> Enrolled {
    let enrolled = Enrolled::default();
    let mut kids = domain.kids.lock().unwrap().clone();
    kids.insert(kid(of));
    let replaced = enrolled.replace(Revision::new(1), kids);
    futures_util::FutureExt::now_or_never(replaced).unwrap();
    enrolled
}

#[tokio::test]
async fn what_a_retired_node_has_open_is_closed_when_that_returns_and_it_gets_nothing_new() {
    let (domain, fake) = (Domain::new(), Arc::new(Fake::default()));
    let (_served, address) = domain.serve(Arc::clone(&fake)).await;
    let identity = domain.identity("node/n").await;
    // The node itself goes on as if nothing had happened.
    let (trust, lax) = (Arc::clone(&domain.trust), told_nothing(&domain, &identity));
    let dialling = connector(clock(), Arc::clone(&identity), trust, any_gateway());
    let remote = RemoteEndpoint::new(&address, dialling.unwrap(), lax);
    let other = domain.remote(&address, "node/m", any_gateway()).await;
    let (mut body, sender) = stream(&fake, &remote).await;
    let mut opened = tunnel(&remote).await;
    domain.retire(&identity).await;
    assert!(sender.is_closed(), "nobody waits for its frames any more");
    assert!(body.frame().await.unwrap().is_err());
    assert!(opened.read_exact(&mut [0; 1]).await.is_err());
    assert!(remote.http(post("/", "")).await.is_err());
    let request = Request::connect("good.example:443").body(()).unwrap();
    assert!(remote.connect(request).await.is_err());
    assert_eq!(fake.seen.lock().unwrap().len(), 1);
    assert!(other.http(post("/", "")).await.is_ok());
}

#[tokio::test]
async fn who_was_never_enrolled_is_not_served() {
    let (domain, fake) = (Domain::new(), Arc::new(Fake::default()));
    let (_served, address) = domain.serve(Arc::clone(&fake)).await;
    let identity = domain.member("node/n", validity());
    let remote = domain.remote_as(&address, identity, any_gateway());
    assert!(remote.http(post("/", "")).await.is_err());
    assert!(fake.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nothing_is_sent_to_a_retired_gateway_and_nothing_that_came_from_it_is_delivered() {
    let (domain, fake) = (Domain::new(), Arc::new(Fake::default()));
    let identity = domain.identity("gateway/a").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let trust = Arc::clone(&domain.trust);
    let acceptor = acceptor(clock(), Arc::clone(&identity), trust).unwrap();
    let remote = domain.remote(&address, "node/n", any_gateway()).await;
    // The gateway itself goes on as if nothing had happened.
    let lax = told_nothing(&domain, &identity);
    let _served = serve(listener, Arc::clone(&fake) as _, acceptor, lax);
    let (mut body, sender) = stream(&fake, &remote).await;
    let mut opened = tunnel(&remote).await;
    // What has arrived, and was not read yet.
    sender.send(Ok(Bytes::from("two"))).await.unwrap();
    opened.write_all(b"echo").await.unwrap();
    domain.retire(&identity).await;
    assert!(body.frame().await.unwrap().is_err());
    assert!(opened.read_exact(&mut [0; 1]).await.is_err());
    assert!(opened.write_all(b"more").await.is_err());
    sender.closed().await;
    assert!(remote.http(post("/", "")).await.is_err());
    assert_eq!(fake.seen.lock().unwrap().len(), 1);
    assert_eq!(remote.open(), 0);
}

#[tokio::test]
async fn what_an_older_revision_says_of_keys_changes_nothing() {
    let (domain, fake) = (Domain::new(), Arc::new(Fake::default()));
    let (_served, address) = domain.serve(fake).await;
    let identity = domain.identity("node/n").await;
    let remote = domain.remote_as(&address, Arc::clone(&identity), any_gateway());
    let before = domain.kids.lock().unwrap().clone();
    domain.retire(&identity).await;
    domain.enrolled.replace(Revision::new(0), before).await;
    assert!(remote.http(post("/", "")).await.is_err());
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_of_its_peer() {
    let (domain, fake) = (Domain::new(), Arc::new(Fake::default()));
    let (now, soon) = (SystemClock.now(), Duration::from_millis(1500));
    // Certificates count in seconds.
    let until = Timestamp::from_unix_secs(now.plus(soon).unix_secs());
    let brief = Validity::new(now.minus(Duration::from_mins(1)), until).unwrap();
    let member = domain.member("node/n", brief);
    domain.kids.lock().unwrap().insert(kid(&member));
    let (_served, address) = domain.serve(Arc::clone(&fake)).await;
    let remote = domain.remote_as(&address, member, any_gateway());
    let (mut body, sender) = stream(&fake, &remote).await;
    let mut opened = tunnel(&remote).await;
    sender.closed().await;
    assert!(body.frame().await.unwrap().is_err());
    assert!(opened.read_exact(&mut [0; 1]).await.is_err());
    assert!(SystemClock.now() >= until);
}
