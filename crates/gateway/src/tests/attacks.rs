//! Requests that must not pass.

use std::time::Duration;

use aims_crypto::{Alg, SigningKey};
use aims_model::{EventKind, Subject};
use aims_types::Id;
use bytes::Bytes;
use http::HeaderValue;

use super::wide;
use crate::testing::agent::{Agent, call};
use crate::testing::{POLICY, World, limits};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

fn header(request: &mut http::Request<Bytes>, name: &'static str, value: &str) {
    request
        .headers_mut()
        .insert(name, HeaderValue::from_str(value).unwrap());
}

#[tokio::test]
async fn a_request_without_a_good_token_and_proof_is_challenged_and_recorded() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let mut bare = agent.request("POST", PING);
    bare.headers_mut().remove("authorization");
    let mut unproven = agent.request("POST", PING);
    unproven.headers_mut().remove("dpop");
    let mut bearer = agent.request("POST", PING);
    header(
        &mut bearer,
        "authorization",
        &format!("Bearer {}", agent.token_text()),
    );
    let used = agent.request("POST", PING);
    let mut replayed = agent.request("POST", PING);
    *replayed.headers_mut() = used.headers().clone();
    assert_eq!(agent.send(used).await.status, 200);
    let mut stolen = agent.clone();
    stolen.key = SigningKey::generate(Alg::Es256).unwrap().into();
    let mut elsewhere = agent.clone();
    elsewhere.token.common.audience = "https://other.test".to_owned();
    let mut forged = agent.clone();
    forged.token.common.issuer = "https://other.test".to_owned();
    let mut expired = agent.clone();
    expired.token.common.issued_at = crate::testing::NOW.minus(Duration::from_mins(20));
    expired.token.common.expires_at = crate::testing::NOW.minus(Duration::from_mins(10));
    let mut renamed = agent.clone();
    renamed.token.subject = Id::<aims_types::Person>::from_u128(55).to_string();
    let mut other_task = agent.clone();
    other_task.token.task = Id::from_u128(77);
    let mut wrong_method = agent.request("POST", PING);
    let proof = agent.proof(
        "GET",
        "https://gateway.aims.test/mcp/bench",
        &agent.token_text(),
    );
    header(&mut wrong_method, "dpop", &proof);
    let refused = [
        bare,
        unproven,
        bearer,
        replayed,
        stolen.request("POST", PING),
        elsewhere.request("POST", PING),
        forged.request("POST", PING),
        expired.request("POST", PING),
        renamed.request("POST", PING),
        other_task.request("POST", PING),
        wrong_method,
    ];
    let count = refused.len();
    for (index, request) in refused.into_iter().enumerate() {
        let answer = agent.send(request).await;
        assert_eq!(answer.status, 401, "{index}: {answer:?}");
        assert!(answer.headers.contains_key("www-authenticate"), "{index}");
    }
    assert_eq!(world.bodies(EventKind::RequestRefused).len(), count);
}

#[tokio::test]
async fn a_chain_that_nobody_consented_to_is_refused() {
    let world = World::new().await;
    let good = world.task(1, &wide("{}"));
    // The server's own key, but the person consented to less.
    let consent = aims_model::grant::Consent {
        person: crate::testing::person().id,
        audience: crate::testing::domain(),
        jti: "c".to_owned(),
        issued_at: crate::testing::NOW,
        agent: "notes".parse().unwrap(),
        purpose: "write notes".parse().unwrap(),
        deadline: crate::testing::NOW.plus(Duration::from_hours(2)),
        authority: crate::testing::authority(r#"{"authorization_details":[],"limits":{}}"#),
    };
    let forged = world.grant(2, &consent, good.grant.authority.clone());
    let answer = Agent::new(&world, &forged, 1).initialize().await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(
        world
            .bench
            .running
            .load(std::sync::atomic::Ordering::SeqCst),
        0
    );
}

#[tokio::test]
async fn a_session_belongs_to_its_instance() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let mine = Agent::open(&world, &task, 1).await;
    let mut other = Agent::open(&world, &task, 2).await;
    let own = other.session.clone();
    other.session.clone_from(&mine.session);
    let foreign = other.call(1, "echo", "{}").await;
    other.session = Some("x".repeat(43));
    let unknown = other.call(1, "echo", "{}").await;
    assert_eq!((foreign.status, unknown.status), (404, 404));
    assert_eq!(foreign.texts, unknown.texts, "the two can't be told apart");
    other.session = None;
    assert_eq!(other.call(1, "echo", "{}").await.status, 400);
    other.session = own;
    assert_eq!(other.call(1, "echo", "{}").await.status, 200);
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_allowed_are_one_answer() {
    let world = World::new().await;
    let elsewhere = r#"{"authorization_details":[
        {"type":"https_connect","host":"example.org","port":443}],"limits":{}}"#;
    let task = world.task(1, elsewhere);
    let outside = Agent::new(&world, &task, 1).initialize().await;
    assert_eq!(outside.status, 404);
    let agent = Agent::new(&world, &task, 1);
    for path in [
        "/",
        "/mcp/",
        "/mcp/none",
        "/mcp/bench/x",
        "/mcp/bench?x=1",
        "/metrics",
    ] {
        let mut request = agent.request("POST", PING);
        *request.uri_mut() = path.parse().unwrap();
        let token = agent.token_text();
        let uri = format!("https://gateway.aims.test{path}");
        if aims_oauth::HttpUri::parse(&uri).is_ok() {
            header(&mut request, "authorization", &format!("DPoP {token}"));
            header(&mut request, "dpop", &agent.proof("POST", &uri, &token));
        }
        let answer = agent.send(request).await;
        assert_eq!(
            (answer.status, &answer.texts),
            (404, &outside.texts),
            "{path}"
        );
    }
    assert_eq!(
        world
            .bench
            .running
            .load(std::sync::atomic::Ordering::SeqCst),
        0
    );
}

#[tokio::test]
async fn messages_with_two_readings_are_refused_before_anything_is_decided() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let good = call(1, "echo", r#"{"path":"/srv/a"}"#);
    for bad in [
        format!("[{good}]"),
        format!(" [{good}]"),
        format!("\u{feff}{good}"),
        good.replace(r#""path":"/srv/a""#, r#""path":"/etc","path":"/srv/a""#),
        good.replace(
            r#""path":"/srv/a""#,
            r#""p\u0061th":"/etc","path":"/srv/a""#,
        ),
        good.replace(r#""name":"echo""#, r#""name":"secret","name":"echo""#),
        good.replace(r#""method""#, r#""method":"ping","method""#),
        good.replace("\"2.0\"", "\"1.0\""),
        good.replace("\"id\":1", "\"id\":null"),
        format!("{good}{good}"),
        good.replace('}', ""),
    ] {
        let answer = agent.post(&bad).await;
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
    }
    assert!(world.bodies(EventKind::CallIntent).is_empty());
    assert!(
        !world
            .bench
            .seen
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains("tools/call"))
    );
}

#[tokio::test]
async fn http_that_another_reader_could_read_otherwise_is_refused() {
    let world = World::with(
        crate::GatewayLimits {
            body_bytes: 10_000,
            ..limits()
        },
        POLICY,
    )
    .await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    for (name, value, status) in [
        ("origin", "https://evil.example", 403),
        ("content-type", "text/plain", 415),
        ("content-type", "application/vnd.x+json", 415),
        ("content-encoding", "gzip", 415),
        ("accept", "text/html", 406),
        ("mcp-protocol-version", "1999-01-01", 400),
        ("mcp-protocol-version", "2025-06-18", 400),
    ] {
        let mut request = agent.request("POST", PING);
        header(&mut request, name, value);
        assert_eq!(agent.send(request).await.status, status, "{name}: {value}");
    }
    let long = call(
        1,
        "echo",
        &format!(r#"{{"path":"/srv/{}"}}"#, "a".repeat(10_000)),
    );
    assert_eq!(agent.post(&long).await.status, 413);
    assert_eq!(agent.send(agent.request("GET", "")).await.status, 405);
    let discover = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let answer = agent.post(discover).await;
    assert_eq!(
        (answer.status, answer.code()),
        (400, -32022),
        "a newer client falls back"
    );
}

#[tokio::test]
async fn methods_that_are_side_doors_are_not_there() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    for method in [
        "resources/list",
        "resources/templates/list",
        "prompts/list",
        "completion/complete",
        "logging/setLevel",
        "tasks/get",
        "x/y",
    ] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"level":"debug"}}}}"#
        );
        let answer = agent.post(&body).await;
        assert_eq!(answer.code(), -32601, "{method}");
    }
    let seen = world.bench.seen.lock().unwrap().join("\n");
    assert!(
        !seen.contains("resources") && !seen.contains("completion"),
        "{seen}"
    );
}

#[tokio::test]
async fn a_flood_of_denials_is_counted_with_examples() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    for n in 0..30 {
        assert_eq!(agent.call(n, "secret", "{}").await.code(), -32602);
    }
    assert_eq!(world.bodies(EventKind::CallDenied).len(), 20);
    world.gateway.drain(Duration::from_secs(10)).await;
    let counts = world.bodies(EventKind::CallDeniedMany);
    assert_eq!(counts.len(), 1);
    assert_eq!(counts[0].get("count").unwrap().as_u64(), Some(10));
}

#[tokio::test]
async fn too_many_sessions_of_one_instance_are_refused() {
    let world = World::with(
        crate::GatewayLimits {
            sessions_per_instance: 2,
            ..limits()
        },
        POLICY,
    )
    .await;
    let task = world.task(1, &wide("{}"));
    let first = Agent::open(&world, &task, 1).await;
    let _second = Agent::open(&world, &task, 1).await;
    assert_eq!(Agent::new(&world, &task, 1).initialize().await.status, 429);
    let _other = Agent::open(&world, &task, 2).await;
    assert_eq!(first.send(first.request("DELETE", "")).await.status, 204);
    assert_eq!(first.post(PING).await.status, 404);
    let _ = Subject::Task(task.id);
}
