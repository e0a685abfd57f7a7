//! Agents that run elsewhere: the gateway's face to them, what their level of assurance is worth,
//! and tokens that carry a part.

use std::sync::atomic::{AtomicU64, Ordering};

use aims_jose::{SigningHeader, sign, typ};
use aims_links::Endpoint;
use aims_oauth::{ProtectedResourceMetadata, dpop};
use aims_types::Clock;
use aims_types::ambient::SystemEntropy;
use bytes::Bytes;
use http::{HeaderValue, Request};

use super::wide;
use crate::Agents;
use crate::testing::agent::{Agent, Answer, call};
use crate::testing::{POLICY, World, limits};

static NEXT: AtomicU64 = AtomicU64::new(1);
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const RESOURCE: &str = "https://gateway.aims.test";

pub(super) fn face(world: &World) -> Agents {
    let clock = world.clock.clone();
    Agents::new(world.gateway.clone(), clock, &SystemEntropy).unwrap()
}

async fn sent(face: &Agents, request: Request<Bytes>) -> Answer {
    Answer::read(face.http(request).await.unwrap()).await
}

/// A good request whose proof has this nonce.
fn with_nonce(agent: &Agent<'_>, nonce: &str) -> Request<Bytes> {
    renewed(agent, agent.request("POST", PING), nonce)
}

/// The request with a proof that has this nonce.
pub(super) fn renewed(
    agent: &Agent<'_>,
    mut request: Request<Bytes>,
    nonce: &str,
) -> Request<Bytes> {
    let token = request.headers()["authorization"].to_str().unwrap();
    let ath = dpop::ath(token.strip_prefix("DPoP ").unwrap());
    let now = agent.world.clock.now().unix_secs();
    let (method, path) = (request.method(), request.uri());
    let claims = format!(
        r#"{{"jti":"{}","htm":"{method}","htu":"{RESOURCE}{path}","iat":{now},
            "ath":"{ath}","nonce":"{nonce}"}}"#,
        NEXT.fetch_add(1, Ordering::SeqCst)
    );
    let header = SigningHeader::new(typ::DPOP).embed_key();
    let proof = sign(&header, claims.as_bytes(), agent.key.as_ref()).unwrap();
    let proof = HeaderValue::from_str(&proof).unwrap();
    request.headers_mut().insert("dpop", proof);
    request
}

fn challenge(answer: &Answer) -> String {
    let header = answer.headers.get("www-authenticate");
    header.unwrap().to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_proof_needs_a_nonce_of_this_gateways() {
    let world = World::new().await;
    let agent = Agent::open(&world, &world.task(1, &wide("{}")), 1).await;
    let (face, other) = (face(&world), face(&world));
    let bare = sent(&face, agent.request("POST", PING)).await;
    assert_eq!(bare.status, 401);
    assert!(challenge(&bare).contains(r#"error="use_dpop_nonce""#));
    let nonce = |answer: &Answer| answer.headers["dpop-nonce"].to_str().unwrap().to_owned();
    let good = sent(&face, with_nonce(&agent, &nonce(&bare))).await;
    assert_eq!(good.status, 200, "{good:?}");
    let foreign = sent(&other, with_nonce(&agent, &nonce(&good))).await;
    assert!(challenge(&foreign).contains("use_dpop_nonce"));
    world.pass(aims_oauth::NONCE_LIFE).await;
    let old = sent(&face, with_nonce(&agent, &nonce(&good))).await;
    assert!(challenge(&old).contains("use_dpop_nonce"));
}

#[tokio::test]
async fn whoever_has_no_token_is_told_where_to_get_one_and_no_error() {
    let world = World::new().await;
    let face = face(&world);
    let bare = Request::post("/mcp/bench").body(PING.into()).unwrap();
    let answer = sent(&face, bare).await;
    let metadata =
        format!(r#"resource_metadata="{RESOURCE}/.well-known/oauth-protected-resource/mcp/bench""#);
    assert_eq!(answer.status, 401);
    let challenge = challenge(&answer);
    assert!(
        challenge.contains(&metadata) && !challenge.contains("error="),
        "{challenge}"
    );
}

#[tokio::test]
async fn trap_27_each_endpoint_has_metadata_of_its_own_where_they_are_looked_for() {
    let world = World::new().await;
    let face = face(&world);
    let get = async |path: &str| {
        let request = Request::get(path).body(Bytes::new()).unwrap();
        let response = face.http(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap();
        (parts.status.as_u16(), body.to_bytes())
    };
    for path in ["", "/mcp/bench", "/mcp/no-such-server"] {
        let (status, body) = get(&format!("/.well-known/oauth-protected-resource{path}")).await;
        let parsed = ProtectedResourceMetadata::parse(&body, &format!("{RESOURCE}{path}"));
        assert_eq!(status, 200, "{path}");
        let servers = parsed.unwrap().authorization_servers;
        assert_eq!(servers, ["https://aims.test"], "{path}");
    }
    for path in ["/", "/mcp", "/mcp/", "/mcp/A", "/mcp/a/b", "/other", "x"] {
        let (status, _) = get(&format!("/.well-known/oauth-protected-resource{path}")).await;
        assert_eq!(status, 404, "{path}");
    }
}

#[tokio::test]
async fn what_only_gateways_tell_each_other_is_not_heard_from_agents() {
    let world = World::new().await;
    let agent = Agent::open(&world, &world.task(1, &wide("{}")), 1).await;
    let face = face(&world);
    let bare = sent(&face, agent.request("POST", PING)).await;
    let nonce = bare.headers["dpop-nonce"].to_str().unwrap();
    let mut request = with_nonce(&agent, nonce);
    let headers = request.headers_mut();
    headers.insert("aims-forwarded-by", HeaderValue::from_static("gtw_x"));
    assert_eq!(sent(&face, request).await.status, 200);
    let tunnel = Request::connect("example.test:443").body(()).unwrap();
    let reply = face.connect(tunnel).await.unwrap();
    assert_eq!(
        (reply.response.status().as_u16(), reply.tunnel.is_none()),
        (405, true)
    );
}

#[tokio::test]
async fn a_held_key_is_worth_what_policies_say_by_name() {
    let policy = format!(
        r#"{POLICY}
        @id("walls") forbid (principal is Agent, action == Action::"bench/echo", resource)
            unless {{ principal.assurance == "confined" }};
        @id("ask") @requirement("assurance:confined")
            permit (principal, action == Action::"bench/twice", resource);
        "#
    );
    let world = World::with(limits(), &policy).await;
    let task = world.task(1, &wide("{}"));
    let mut agent = Agent::new(&world, &task, 1);
    agent.token.assurance = "key_held".to_owned();
    let answer = agent.initialize().await;
    let session = answer.headers["mcp-session-id"].to_str().unwrap();
    agent.session = Some(session.to_owned());
    for (tool, rule) in [
        ("echo", "policy"),
        ("twice", "requirement"),
        ("progress", ""),
    ] {
        let answer = agent.call(1, tool, r#"{"n":1}"#).await;
        assert_eq!(answer.rule(), rule, "{tool}: {answer:?}");
    }
    let decided = world.bodies(aims_model::EventKind::CallIntent);
    let posture = decided[0].get("posture").unwrap();
    assert_eq!(posture.get("assurance").unwrap().as_str(), Some("key_held"));
    for unknown in ["sealed", "", "Confined"] {
        agent.token.assurance = unknown.to_owned();
        assert_eq!(
            agent.call(1, "progress", "{}").await.status,
            401,
            "{unknown}"
        );
    }
}

#[tokio::test]
async fn a_token_that_carries_a_part_allows_that_part() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let mut agent = Agent::open(&world, &task, 1).await;
    let whole = agent.tools().await;
    let part = r#"[{"type":"mcp_tool","server":"bench","actions":["echo"],
        "arguments":{"path":{"equals":"/srv/a"}}}]"#;
    let limits = aims_json::Limits::TOKEN;
    agent.token.authorization_details = aims_json::parse(part.as_bytes(), &limits).unwrap();
    assert!(whole.len() > 1);
    assert_eq!(agent.tools().await, ["echo"]);
    for (tool, arguments, denied) in [
        ("echo", r#"{"path":"/srv/a"}"#, false),
        ("echo", r#"{"path":"/srv/b"}"#, true),
        ("progress", "{}", true),
    ] {
        let answer = agent.post(&call(1, tool, arguments)).await;
        assert_eq!(
            answer.error().is_some(),
            denied,
            "{tool} {arguments}: {answer:?}"
        );
    }
    // A part can't give more than the grant does.
    let more = part.replace("/srv/a", "/etc");
    agent.token.authorization_details = aims_json::parse(more.as_bytes(), &limits).unwrap();
    let answer = agent.call(1, "echo", r#"{"path":"/etc"}"#).await;
    assert!(answer.error().is_some(), "{answer:?}");
    let unread = br#"[{"type":"unknown"}]"#;
    agent.token.authorization_details = aims_json::parse(unread, &limits).unwrap();
    assert_eq!(agent.call(1, "echo", "{}").await.status, 401);
}
