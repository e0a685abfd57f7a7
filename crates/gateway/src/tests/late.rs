//! Effects that come after the lease's end, because the gateway was stopped between its last look
//! and its write: they are found and recorded.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use aims_json::Value;
use aims_model::EventKind;
use aims_types::{Clock, Id};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::wide;
use crate::egress::hello::tests::hello_for;
use crate::lease::late::Doing;
use crate::stream::Gate;
use crate::testing::World;
use crate::testing::agent::Agent;

/// Longer than a lease.
const LONG: Duration = Duration::from_secs(6);

async fn lates(world: &World) -> Vec<Value> {
    loop {
        let lates = world.bodies(EventKind::EffectLate);
        if !lates.is_empty() {
            return lates;
        }
        tokio::task::yield_now().await;
    }
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value
        .get(member)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn number(value: &Value, member: &str) -> u64 {
    value.get(member).and_then(Value::as_u64).unwrap()
}

#[tokio::test]
async fn a_call_that_went_out_after_the_lease_is_recorded_as_late() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let (clock, control) = (Arc::clone(&world.clock), Arc::clone(&world.control));
    *world.bench.pause.lock().unwrap() = Some(Box::new(move || {
        control.down.store(true, Ordering::SeqCst);
        clock.advance(LONG);
    }));
    let _response = agent.begin(1, "hang", "{}").await;
    let lates = lates(&world).await;
    let [late] = lates.as_slice() else {
        panic!("{lates:?}");
    };
    let intents = world.bodies(EventKind::CallIntent);
    assert_eq!(text(late, "decision_id"), text(&intents[0], "decision_id"));
    assert_eq!(text(late, "instance"), agent.instance().to_string());
    assert_eq!(text(late, "what"), "sent");
    let by = number(late, "late_millis");
    // The lease had at most its whole length left when it was looked at.
    assert!((1..=6_000).contains(&by), "{by}");
    let ended = number(late, "lease_ended_at");
    let now = world.clock.now().unix_millis();
    assert!(now - ended <= by + 10_000 && ended < now, "{ended} {now}");
    let event = world
        .events()
        .into_iter()
        .find(|event| event.kind == EventKind::EffectLate);
    assert_eq!(event.unwrap().task, Some(task.id));
}

#[tokio::test]
async fn a_call_in_time_and_one_under_a_renewed_lease_are_not_late() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    assert!(agent.call(1, "echo", "{}").await.result().is_some());
    let clock = Arc::clone(&world.clock);
    // Stopped, but for less than the margin that is left at a look.
    let pause = move || clock.advance(Duration::from_millis(200));
    *world.bench.pause.lock().unwrap() = Some(Box::new(pause));
    assert!(agent.call(2, "echo", "{}").await.result().is_some());
    assert!(world.gateway.drain(Duration::from_secs(5)).await);
    assert!(world.bodies(EventKind::EffectLate).is_empty());
}

#[tokio::test]
async fn what_reaches_the_agent_after_the_lease_is_recorded_as_late() {
    let world = World::new().await;
    world.control.down.store(true, Ordering::SeqCst);
    let doing = Doing {
        task: Id::from_u128(1),
        instance: Id::from_u128(2),
        decision: None,
    };
    let gate = Gate::open(world.gateway.lease(), doing);
    let idle: Poll<()> = gate.deliver(|_| {
        world.clock.advance(LONG);
        Poll::Pending
    });
    assert!(
        idle.is_pending(),
        "nothing was delivered, so nothing was late"
    );
    world.control.down.store(false, Ordering::SeqCst);
    world.leased().await;
    world.control.down.store(true, Ordering::SeqCst);
    let passed = gate.deliver(|open| {
        world.clock.advance(LONG);
        Poll::Ready(open)
    });
    assert_eq!(passed, Poll::Ready(true));
    let lates = lates(&world).await;
    assert_eq!(lates.len(), 1);
    assert_eq!(text(&lates[0], "what"), "delivered");
    assert_eq!(text(&lates[0], "instance"), doing.instance.to_string());
    assert!(lates[0].get("decision_id").unwrap().is_null());
}

#[tokio::test]
async fn nothing_goes_out_of_a_tunnel_without_a_lease() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::new().await;
    let host = format!(r#"{{"type":"https_connect","host":"localhost","port":{port}}}"#);
    let egress = format!(r#"{{"authorization_details":[{host}],"limits":{{}}}}"#);
    let task = world.task(1, &egress);
    let agent = Agent::new(&world, &task, 1);
    let reply = agent.connect(&format!("localhost:{port}")).await;
    let mut tunnel = reply.tunnel.unwrap();
    let hello = hello_for("localhost");
    tunnel.write_all(&hello).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let mut seen = vec![0; hello.len()];
    upstream.read_exact(&mut seen).await.unwrap();
    tunnel.write_all(b"more").await.unwrap();
    world.control.down.store(true, Ordering::SeqCst);
    world.clock.advance(LONG);
    let mut rest = Vec::new();
    assert!(
        upstream.read_to_end(&mut rest).await.is_err(),
        "it is reset"
    );
    assert!(rest.is_empty(), "{rest:?}");
}
