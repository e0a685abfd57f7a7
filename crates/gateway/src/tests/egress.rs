//! Connections out.

use aims_json::Value;
use aims_model::{EventKind, Subject};
use aims_types::Id;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::egress::hello::tests::hello_for;
use crate::testing::World;
use crate::testing::agent::Agent;

fn authority(port: u16) -> String {
    format!(
        r#"{{"authorization_details":[
            {{"type":"https_connect","host":"localhost","port":{port}}},
            {{"type":"https_connect","host":"localtest.invalid","port":443}}],"limits":{{}}}}"#
    )
}

fn outcome(world: &World, name: &str) -> Option<Value> {
    world
        .bodies(EventKind::CallOutcome)
        .last()?
        .get(name)
        .cloned()
}

async fn concluded(world: &World) {
    while world.bodies(EventKind::CallOutcome).is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn bytes_flow_to_the_host_that_was_asked_for_and_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::new().await;
    let task = world.task(1, &authority(port));
    let agent = Agent::new(&world, &task, 1);
    let reply = agent.connect(&format!("localhost:{port}")).await;
    assert_eq!(reply.response.status(), 200);
    let mut tunnel = reply.tunnel.unwrap();
    let hello = hello_for("localhost");
    tunnel.write_all(&hello).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let mut seen = vec![0; hello.len()];
    upstream.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, hello, "exactly what the client sent");
    upstream.write_all(b"answer").await.unwrap();
    let mut answer = [0; 6];
    tunnel.read_exact(&mut answer).await.unwrap();
    drop((upstream, tunnel));
    concluded(&world).await;
    assert_eq!(
        outcome(&world, "bytes_up").and_then(|v| v.as_u64()),
        Some(hello.len() as u64)
    );
    assert_eq!(
        outcome(&world, "bytes_down").and_then(|v| v.as_u64()),
        Some(6)
    );
    assert_eq!(
        outcome(&world, "opaque").and_then(|v| v.as_bool()),
        Some(true)
    );
}

#[tokio::test]
async fn no_byte_goes_out_if_the_tls_asks_for_another_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for first in [
        hello_for("evil.example"),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let world = World::new().await;
        let task = world.task(1, &authority(port));
        let agent = Agent::new(&world, &task, 1);
        let mut tunnel = agent
            .connect(&format!("localhost:{port}"))
            .await
            .tunnel
            .unwrap();
        tunnel.write_all(&first).await.unwrap();
        let (mut upstream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        upstream.read_to_end(&mut seen).await.unwrap();
        assert!(seen.is_empty(), "{seen:?}");
        drop(tunnel);
        concluded(&world).await;
        assert_eq!(outcome(&world, "outcome"), Some(Value::from("failed")));
    }
}

#[tokio::test]
async fn hosts_outside_the_authority_and_private_addresses_are_refused() {
    let world = World::new().await;
    let task = world.task(1, &authority(443));
    let agent = Agent::new(&world, &task, 1);
    let denied = agent.connect("other.example:443").await;
    assert_eq!(denied.response.status(), 403);
    assert!(denied.tunnel.is_none());
    let body = String::from_utf8_lossy(denied.response.body()).into_owned();
    assert!(body.contains("localhost:443"), "it teaches: {body}");
    let private = r#"{"authorization_details":[{"type":"https_connect","host":"127.0.0.1","port":443}],"limits":{}}"#;
    if aims_authority::Authority::from_value(
        &aims_json::parse(private.as_bytes(), &aims_json::Limits::MESSAGE).unwrap(),
    )
    .is_ok()
    {
        let task = world.task(2, private);
        let reply = Agent::new(&world, &task, 2).connect("127.0.0.1:443").await;
        assert_eq!(reply.response.status(), 502);
    }
    assert_eq!(world.bodies(EventKind::CallDenied).len(), 1);
}

#[tokio::test]
async fn a_cut_ends_a_tunnel_before_it_is_acknowledged() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::new().await;
    let task = world.task(1, &authority(port));
    let agent = Agent::new(&world, &task, 1);
    let mut tunnel = agent
        .connect(&format!("localhost:{port}"))
        .await
        .tunnel
        .unwrap();
    tunnel.write_all(&hello_for("localhost")).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    upstream.write_all(b"waiting to be read").await.unwrap();
    let mut byte = [0; 1];
    tunnel.read_exact(&mut byte).await.unwrap();
    world.cut(Subject::Instance(agent.instance())).await;
    assert!(
        tunnel.read(&mut byte).await.is_err(),
        "not even what had arrived"
    );
    assert!(tunnel.write_all(b"more").await.is_err());
    assert_eq!(outcome(&world, "outcome"), Some(Value::from("cut")));
    assert_eq!(
        agent
            .connect(&format!("localhost:{port}"))
            .await
            .response
            .status(),
        401
    );
}

#[tokio::test]
async fn what_was_permitted_under_an_earlier_policy_does_not_begin_under_the_next_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::new().await;
    let task = world.task(1, &authority(port));
    let agent = Agent::new(&world, &task, 1);
    let target = format!("localhost:{port}");
    let mut tunnel = agent.connect(&target).await.tunnel.unwrap();
    world
        .change(|state| {
            let mut policy = (*state.policy).clone();
            policy.id = Id::from_u128(301);
            state.policy = policy.into();
        })
        .await;
    tunnel.write_all(&hello_for("localhost")).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let mut seen = Vec::new();
    drop(upstream.read_to_end(&mut seen).await);
    assert!(seen.is_empty(), "{seen:?}");
    concluded(&world).await;
    assert_eq!(outcome(&world, "effect"), Some(Value::from("none")));
    assert_eq!(agent.connect(&target).await.response.status(), 200);
}
