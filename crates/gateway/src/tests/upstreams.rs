//! Requests to upstreams: what goes out, what comes back, and what is refused.

use aims_links::{Body, Endpoint};
use aims_model::EventKind;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;

use crate::testing::agent::Agent;
use crate::testing::upstream::{KEY, Server};
use crate::testing::{RESOURCE, World};

pub(super) const AUTHORITY: &str = r#"{"authorization_details":[
    {"type":"http_request","upstream":"model","methods":["POST"],"path":"/v1/chat",
     "body":{"model":{"one_of":["small"]},"messages":"any",
             "max_tokens":{"range":{"min":"1","max":"100"},"optional":true}}},
    {"type":"http_request","upstream":"model","methods":["GET"],"path":"/v1","body":{},"query":"any"}
    ],"limits":{"uses":20}}"#;
pub(super) const CHAT: &str = r#"{"model":"small", "messages":[{"role":"user","content":"hi"}]}"#;

/// A request of the agent with its token and proof.
pub(super) fn request(agent: &Agent<'_>, method: &str, path: &str, body: &str) -> Request<Bytes> {
    let token = agent.token_text();
    let bare = path.split('?').next().unwrap();
    let proof = agent.proof(method, &format!("{RESOURCE}{bare}"), &token);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("DPoP {token}"))
        .header("dpop", proof)
        .header("accept", "application/json");
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    request.body(Bytes::from(body.to_owned())).unwrap()
}

pub(super) async fn send(agent: &Agent<'_>, request: Request<Bytes>) -> Response<Body> {
    agent.world.gateway.http(request).await.unwrap()
}

/// Status, headers as text, and the body; `None` if it was cut in the middle.
pub(super) async fn read(response: Response<Body>) -> (u16, String, Option<String>) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.ok();
    let text = body.map(|body| String::from_utf8(body.to_bytes().to_vec()).unwrap());
    (head.status.as_u16(), format!("{:?}", head.headers), text)
}

pub(super) async fn ask(agent: &Agent<'_>, method: &str, path: &str, body: &str) -> (u16, String) {
    let response = send(agent, request(agent, method, path, body)).await;
    let (status, _, text) = read(response).await;
    (status, text.unwrap_or_else(|| "cut".to_owned()))
}

/// A world with the upstream `model`, and the server behind it.
pub(super) async fn world() -> (World, Server) {
    let (world, server) = (World::new().await, Server::start(&["localhost"]).await);
    world.upstream(server.spec("localhost"), 1, KEY).await;
    (world, server)
}

/// The outcomes so far, in words.
pub(super) async fn outcomes(world: &World, count: usize) -> Vec<String> {
    loop {
        let all = world.bodies(EventKind::CallOutcome);
        if all.len() >= count {
            let name = |body: &aims_json::Value| body.get("outcome").unwrap().to_string();
            return all.iter().map(|body| name(body).replace('"', "")).collect();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_upstream_gets_the_request_and_the_credential_and_nothing_else_of_the_agent() {
    let (world, server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let mut request = request(&agent, "POST", "/http/model/v1/chat/completions", CHAT);
    for (name, value) in [
        ("host", "evil.example"),
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("connection", "x-hop, authorization"),
        ("x-hop", "1"),
        ("cookie", "a=b"),
        ("x-api-key", "mine"),
        ("proxy-authorization", "Basic eA=="),
        ("x-version", "1999-01-01"),
        ("x-forwarded-host", "evil.example"),
        ("expect", "100-continue"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (status, headers, body) = read(send(&agent, request).await).await;
    assert_eq!((status, body.as_deref()), (200, Some(r#"{"answer":"42"}"#)));
    assert!(headers.contains("r-1"), "{headers}");
    for hidden in ["x-internal", "set-cookie", KEY] {
        assert!(!headers.contains(hidden), "{hidden} in {headers}");
    }
    let seen = server.requests().remove(0);
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<String> = head.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    let expected = [
        "POST /v1/chat/completions HTTP/1.1".to_owned(),
        "accept-encoding: identity".to_owned(),
        "accept: application/json".to_owned(),
        format!("authorization: Bearer {KEY}"),
        "connection: close".to_owned(),
        format!("content-length: {}", CHAT.len()),
        "content-type: application/json".to_owned(),
        format!("host: localhost:{}", server.port),
        format!("user-agent: aims-gateway/{}", env!("CARGO_PKG_VERSION")),
        "x-version: 2026-01-01".to_owned(),
    ];
    assert_eq!(lines, expected);
    assert_eq!(body, CHAT, "byte for byte");
    assert_eq!(outcomes(&world, 1).await, ["ok"]);
    let outcome = world.bodies(EventKind::CallOutcome).remove(0);
    assert_eq!(
        outcome.get("status").and_then(aims_json::Value::as_u64),
        Some(200)
    );
    assert!(outcome.get("result").unwrap().as_str().is_some());
}

#[tokio::test]
async fn an_answer_streams_as_it_is_made() {
    let (world, server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let response = send(&agent, request(&agent, "GET", "/http/model/v1/hold", "")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "data: one\n\n", "before the second is made");
    server.go_on.notify_one();
    let rest = body.collect().await.unwrap().to_bytes();
    assert_eq!(rest, "data: two\n\ndata: [DONE]\n\n");
    assert_eq!(outcomes(&world, 1).await, ["ok"]);
}

#[tokio::test]
async fn only_what_the_authority_names_goes_out() {
    let (world, server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let chat = "/http/model/v1/chat/completions";
    for (method, path, body, rule) in [
        ("POST", "/http/model/v1/files", CHAT, "request_not_allowed"),
        (
            "POST",
            "/http/model/v1/chatter",
            CHAT,
            "request_not_allowed",
        ),
        (
            "POST",
            "/http/model/v1/chat?key=1",
            CHAT,
            "query_not_allowed",
        ),
        (
            "POST",
            chat,
            r#"{"model":"large","messages":[]}"#,
            "argument_not_listed",
        ),
        ("POST", chat, r#"{"messages":[]}"#, "argument_missing"),
        (
            "POST",
            chat,
            r#"{"model":"small","messages":[],"tools":[]}"#,
            "argument_not_allowed",
        ),
        (
            "POST",
            chat,
            r#"{"model":"small","messages":[],"max_tokens":101}"#,
            "argument_out_of_range",
        ),
        ("POST", chat, "[]", "body_not_allowed"),
    ] {
        let (status, answer) = ask(&agent, method, path, body).await;
        assert_eq!(status, 403, "{path} {body}: {answer}");
        assert!(answer.contains(rule), "{rule} in {answer}");
        assert!(answer.contains("how_to_ask"), "it teaches: {answer}");
    }
    assert_eq!(
        ask(&agent, "GET", "/http/model/v1/models?limit=2", "")
            .await
            .0,
        200
    );
    assert!(server.requests()[0].starts_with("GET /v1/models?limit=2 HTTP/1.1"));
    assert_eq!(server.requests().len(), 1, "nothing else went out");
    assert_eq!(world.bodies(EventKind::CallDenied).len(), 8);
}

#[tokio::test]
async fn a_request_with_two_readings_is_refused_and_recorded() {
    let (world, server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let chat = "/http/model/v1/chat";
    for (method, path, body, status) in [
        (
            "POST",
            chat,
            r#"{"model":"small","model":"large","messages":[]}"#,
            400,
        ),
        ("GET", "/http/model/v1/models", "{}", 400),
        ("PATCH", "/http/model/v1/models", "", 404),
        ("POST", "/http/model/v2/chat", CHAT, 404),
    ] {
        let (got, answer) = ask(&agent, method, path, body).await;
        assert_eq!(got, status, "{method} {path}: {answer}");
    }
    assert_eq!(world.bodies(EventKind::CallDenied).len(), 4);
    let mut twice = request(&agent, "POST", chat, CHAT);
    let text = http::HeaderValue::from_static("text/plain");
    twice.headers_mut().append("content-type", text);
    assert_eq!(read(send(&agent, twice).await).await.0, 400);
    for path in [
        "/http/model/v1/chat/../files",
        "/http/model/v1/%2e%2e/files",
        "/http/model/v1/chat%2f..",
        "/http/model//v1/chat",
        "/http/model/v1/chat/",
        "/http/model/v1;x/chat",
        "https://evil.example/http/model/v1/chat",
    ] {
        let mut request = request(&agent, "POST", chat, CHAT);
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(read(send(&agent, request).await).await.0, 400, "{path}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn what_a_caller_may_not_see_is_not_there_and_strangers_are_not_believed() {
    let (world, server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let other = r#"{"authorization_details":[{"type":"http_request","upstream":"other",
        "methods":["POST"],"path":"/v1","body":"any"}],"limits":{}}"#;
    let other = world.task(2, other);
    let stranger = Agent::new(&world, &other, 2);
    let chat = "/http/model/v1/chat";
    assert_eq!(ask(&stranger, "POST", chat, CHAT).await.0, 404);
    assert_eq!(
        ask(&stranger, "POST", "/http/other/v1/chat", CHAT).await.0,
        404
    );
    assert_eq!(
        ask(&agent, "POST", "/http/nothing/v1/chat", CHAT).await.0,
        404
    );
    // The token of one with the proof of another, for another path, and none at all.
    let mut stolen = request(&agent, "POST", chat, CHAT);
    let proof = stranger.proof("POST", &format!("{RESOURCE}{chat}"), &agent.token_text());
    stolen.headers_mut().insert("dpop", proof.parse().unwrap());
    let mut moved = request(&agent, "POST", "/http/model/v1/chat/a", CHAT);
    *moved.uri_mut() = "/http/model/v1/chat/b".parse().unwrap();
    let mut bare = request(&agent, "POST", chat, CHAT);
    bare.headers_mut().remove("authorization");
    let mut own_key = request(&agent, "POST", chat, CHAT);
    let key = format!("Bearer {KEY}").parse().unwrap();
    own_key.headers_mut().insert("authorization", key);
    for request in [stolen, moved, bare, own_key] {
        let status = read(send(&agent, request).await).await.0;
        assert!([400, 401].contains(&status), "{status}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_denied_request_is_challenged_for_more_without_a_scope() {
    let (world, _server) = world().await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let denied = send(
        &agent,
        request(&agent, "POST", "/http/model/v1/files", CHAT),
    )
    .await;
    let challenge = denied.headers()[http::header::WWW_AUTHENTICATE].to_str();
    let challenge = challenge.unwrap();
    assert_eq!(denied.status(), 403);
    assert!(challenge.starts_with("DPoP "), "{challenge}");
    assert!(
        challenge.contains(r#"error="insufficient_scope""#),
        "{challenge}"
    );
    assert!(challenge.contains("resource_metadata="), "{challenge}");
    assert!(!challenge.contains(" scope="), "{challenge}");
}

#[tokio::test]
async fn a_policy_can_forbid_a_path_and_a_requirement_is_told() {
    let policy = r#"
        @id("requests") permit (principal, action == Action::"request", resource);
        @id("no-files") forbid (principal, action == Action::"request", resource == Upstream::"model")
        when { context.path like "/v1/files*" };
        @id("ask") @requirement("approval")
        permit (principal, action == Action::"request", resource)
        when { context.method == "POST" };
    "#;
    let world = World::with(crate::testing::limits(), policy).await;
    let server = Server::start(&["localhost"]).await;
    world.upstream(server.spec("localhost"), 1, KEY).await;
    let task = world.task(1, AUTHORITY);
    let agent = Agent::new(&world, &task, 1);
    let (status, text) = ask(&agent, "GET", "/http/model/v1/files", "").await;
    assert!(status == 403 && text.contains("no-files"), "{text}");
    let (status, text) = ask(&agent, "POST", "/http/model/v1/chat", CHAT).await;
    assert!(status == 403 && text.contains("approval"), "{text}");
    assert_eq!(ask(&agent, "GET", "/http/model/v1/models", "").await.0, 200);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn uses_are_counted_over_requests() {
    let (world, _server) = world().await;
    let two = AUTHORITY.replace("\"uses\":20", "\"uses\":2");
    let task = world.task(1, &two);
    let agent = Agent::new(&world, &task, 1);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(ask(&agent, "GET", "/http/model/v1/models", "").await.0);
    }
    assert_eq!(seen, [200, 200, 403]);
    let intents = world.bodies(EventKind::CallIntent);
    let resource = intents[0].get("resource").unwrap().to_string();
    for part in [
        "\"upstream\":\"model\"",
        "\"method\":\"GET\"",
        "\"path\":\"/v1/models\"",
    ] {
        assert!(resource.contains(part), "{part} in {resource}");
    }
}
