//! The OAuth endpoints over their router: the table, who may call what, nonces, what is recorded.

use std::collections::BTreeSet;

use aims_control::{Proof, RegisterAgent};
use aims_crypto::SigningKey;
use aims_jose::{SigningHeader, sign, typ};
use aims_json::Limits;
use aims_model::Role;
use aims_oauth::{
    AssertionClaims, AuthorizationServerMetadata, ClientAssertion, ErrorResponse, TokenResponse,
};
use aims_types::{self as types, Id};
use axum::Router;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::stage::{consent_for, spec};
use super::world::{Answer, ISSUER, RESOURCE, Somebody, World, jwk, kid, new_key, read};
use crate::{Access, OAUTH_ROUTES, OAuth, Route};

const FORM: &str = "application/x-www-form-urlencoded";
const CLIENT: &str = "spiffe://aims.local/agent/planner";

/// A domain with an agent that runs elsewhere, and a task for it.
struct Elsewhere {
    world: World,
    router: Router,
    key: SigningKey,
    run: SigningKey,
    task: Id<types::Task>,
}

impl Elsewhere {
    async fn new() -> Self {
        let world = World::new().await;
        let mia = world.enrol("mia", Role::Member).await;
        let (cx, key) = (world.cx(&world.operator), new_key());
        let agent = RegisterAgent {
            name: "planner".to_owned(),
            owner: Some("mia".to_owned()),
            purpose: Some("plans".to_owned()),
            environment: Some("production".to_owned()),
            evidence: Proof::Keys {
                assurance: "key_held".to_owned(),
                jwks: vec![jwk(&key)],
            },
            draft: false,
        };
        world.plane.agent_register(&cx, agent).await.unwrap();
        let server = aims_control::RegisterServer {
            name: "git".to_owned(),
            purpose: "reads repositories".to_owned(),
            spec: spec(),
        };
        world.plane.server_register(&cx, server).await.unwrap();
        let task = start(&world, &mia).await;
        Self {
            router: OAuth::new(world.plane.clone()).unwrap().router(),
            world,
            key,
            run: new_key(),
            task,
        }
    }

    fn assertion(&self, key: &SigningKey) -> String {
        let claims = AssertionClaims {
            audience: ISSUER,
            kid: Some(&kid(&self.key)),
            jti: &self.world.jti(),
            now: self.world.clock_now(),
        };
        let text = ClientAssertion::create(key, CLIENT, &claims).unwrap();
        let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        format!("client_assertion_type={kind}&client_assertion={text}")
    }

    /// A proof for the token endpoint, with this nonce.
    fn proof(&self, nonce: &str) -> String {
        let claims = json!({
            "jti": self.world.jti(), "htm": "POST", "htu": format!("{ISSUER}/token"),
            "iat": self.world.clock_now().unix_secs(), "nonce": nonce,
        });
        let header = SigningHeader::new(typ::DPOP).embed_key();
        sign(&header, claims.to_string().as_bytes(), &self.run).unwrap()
    }

    /// What a route is asked about.
    fn about(&self, route: &Route, token: &str) -> String {
        match route.path {
            "/token" => format!(
                "grant_type=client_credentials&aims_task={}&resource={}",
                self.task,
                RESOURCE.replace(':', "%3A").replace('/', "%2F")
            ),
            _ => format!("token={token}"),
        }
    }

    async fn send(&self, route: &Route, form: String, dpop: Option<String>) -> Answer {
        let mut request = Request::builder()
            .method(route.method)
            .uri(route.path)
            .header("content-type", FORM);
        if let Some(dpop) = dpop {
            request = request.header("dpop", dpop);
        }
        let request = request.body(form.into()).unwrap();
        read(self.router.clone(), request).await
    }

    async fn nonce(&self) -> String {
        let answer = self
            .send(&token_route(), String::new(), Some(self.proof("x")))
            .await;
        answer.headers["dpop-nonce"].to_str().unwrap().to_owned()
    }

    /// A good request to a route, with more in the form.
    async fn call(&self, route: &Route, token: &str, more: &str) -> Answer {
        let form = format!(
            "{}&{}{more}",
            self.about(route, token),
            self.assertion(&self.key)
        );
        let dpop = match route.path {
            "/token" => Some(self.proof(&self.nonce().await)),
            _ => None,
        };
        self.send(route, form, dpop).await
    }

    async fn token(&self) -> String {
        let answer = self.call(&token_route(), "", "").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let response = TokenResponse::parse(&answer.body).unwrap();
        response.access_token.expose().clone()
    }
}

async fn start(world: &World, mia: &Somebody) -> Id<types::Task> {
    let consent = consent_for(world, mia, "planner");
    let started = world.plane.task_start(&world.cx(mia), &consent).await;
    started.unwrap().value.task.id
}

fn token_route() -> Route {
    let is_it = |route: &&Route| route.path == "/token";
    *OAUTH_ROUTES.iter().find(is_it).unwrap()
}

fn of_clients() -> impl Iterator<Item = &'static Route> {
    OAUTH_ROUTES
        .iter()
        .filter(|route| route.access == Access::Client)
}

fn error(answer: &Answer) -> String {
    let error = ErrorResponse::parse(&answer.body).unwrap();
    error.code().to_string()
}

#[tokio::test]
async fn the_oauth_router_has_the_routes_of_its_table() {
    let elsewhere = Elsewhere::new().await;
    for route in OAUTH_ROUTES {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let request = Request::builder().method(method).uri(route.path);
            let request = request.body("".into()).unwrap();
            let answer = read(elsewhere.router.clone(), request).await;
            let missing = answer.status == StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(missing, route.method != method, "{method} {route:?}");
        }
    }
    // Nothing of people's commands, and nothing of the log.
    for path in [
        "/",
        "/v1/people",
        "/v1/kills",
        "/metrics",
        "/log/checkpoint",
        "/authorize",
    ] {
        let request = Request::get(path).body("".into()).unwrap();
        let answer = read(elsewhere.router.clone(), request).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let source = include_str!("../oauth.rs");
    let routed: BTreeSet<&str> = source
        .split(".route(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let table: BTreeSet<&str> = OAUTH_ROUTES.iter().map(|route| route.path).collect();
    assert_eq!(routed, table);
}

#[tokio::test]
async fn trap_26_the_metadata_are_the_issuers_own_and_name_what_there_is() {
    let elsewhere = Elsewhere::new().await;
    let get = async |path: &str| {
        let request = Request::get(path).body("".into()).unwrap();
        read(elsewhere.router.clone(), request).await
    };
    let answer = get("/.well-known/oauth-authorization-server").await;
    assert_eq!(answer.headers["content-type"], "application/json");
    let parsed = AuthorizationServerMetadata::parse(&answer.body, ISSUER).unwrap();
    for url in [
        &parsed.token_endpoint,
        &parsed.jwks_uri,
        &parsed.introspection_endpoint,
        &parsed.revocation_endpoint,
    ] {
        let path = url.strip_prefix(ISSUER).unwrap();
        assert!(OAUTH_ROUTES.iter().any(|route| route.path == path), "{url}");
    }
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    let names: BTreeSet<&str> = document
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let endpoints = [
        "token_endpoint",
        "introspection_endpoint",
        "revocation_endpoint",
    ];
    let mut expected = BTreeSet::from([
        "issuer",
        "jwks_uri",
        "response_types_supported",
        "grant_types_supported",
        "dpop_signing_alg_values_supported",
        "authorization_details_types_supported",
    ]);
    let of_endpoints: Vec<String> = endpoints
        .iter()
        .flat_map(|name| {
            [
                "",
                "_auth_methods_supported",
                "_auth_signing_alg_values_supported",
            ]
            .map(|end| format!("{name}{end}"))
        })
        .collect();
    expected.extend(of_endpoints.iter().map(String::as_str));
    assert_eq!(names, expected);
    let keys = aims_jose::Jwks::parse(&get("/jwks.json").await.body, &Limits::TOKEN).unwrap();
    assert_eq!(keys.keys().len(), 1);
}

#[tokio::test]
async fn a_proof_without_a_nonce_of_ours_is_asked_for_one() {
    let elsewhere = Elsewhere::new().await;
    let route = token_route();
    let form = || {
        format!(
            "{}&{}",
            elsewhere.about(&route, ""),
            elsewhere.assertion(&elsewhere.key)
        )
    };
    let before = elsewhere.world.state().await;
    let bare = elsewhere
        .world
        .proof(&elsewhere.run, ("POST", "/token"), None);
    for dpop in [bare, elsewhere.proof(""), elsewhere.proof("AAAA")] {
        let answer = elsewhere.send(&route, form(), Some(dpop)).await;
        assert_eq!(
            (answer.status.as_u16(), error(&answer)),
            (400, "use_dpop_nonce".to_owned())
        );
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    let unproven = elsewhere.send(&route, form(), None).await;
    assert_eq!(error(&unproven), "invalid_dpop_proof");
    assert_eq!(elsewhere.world.state().await, before, "nothing was decided");
    let nonce = elsewhere.nonce().await;
    let good = elsewhere
        .send(&route, form(), Some(elsewhere.proof(&nonce)))
        .await;
    assert_eq!(good.status, StatusCode::OK, "{good:?}");
    elsewhere.world.clock.forward(aims_oauth::NONCE_LIFE);
    let old = elsewhere
        .send(&route, form(), Some(elsewhere.proof(&nonce)))
        .await;
    assert_eq!(error(&old), "use_dpop_nonce");
}

#[tokio::test]
async fn no_route_of_clients_opens_to_somebody_else() {
    let elsewhere = Elsewhere::new().await;
    let token = elsewhere.token().await;
    let revision = elsewhere.world.state().await.0;
    for route in of_clients() {
        let about = elsewhere.about(route, &token);
        for (who, form) in [
            ("nobody", about.clone()),
            (
                "another key",
                format!("{about}&{}", elsewhere.assertion(&new_key())),
            ),
        ] {
            let dpop = elsewhere.proof(&elsewhere.nonce().await);
            let before = elsewhere.world.state().await.1;
            let answer = elsewhere.send(route, form, Some(dpop)).await;
            let found = (answer.status.as_u16(), error(&answer));
            assert_eq!(found, (401, "invalid_client".to_owned()), "{route:?} {who}");
            assert_eq!(answer.headers["cache-control"], "no-store");
            assert_eq!(
                elsewhere.world.state().await.1,
                before + 1,
                "{route:?} {who}"
            );
        }
    }
    assert_eq!(
        elsewhere.world.state().await.0,
        revision,
        "something changed"
    );
}

#[tokio::test]
async fn a_certificate_that_a_header_tells_of_is_none() {
    let elsewhere = Elsewhere::new().await;
    for route in of_clients() {
        for name in [
            "client-cert",
            "client-cert-chain",
            "x-forwarded-client-cert",
            "x-ssl-client-cert",
            "x-spiffe-id",
        ] {
            let form = format!("{}&client_id={CLIENT}", elsewhere.about(route, "x"));
            let request = Request::post(route.path)
                .header("content-type", FORM)
                .header("dpop", elsewhere.proof(&elsewhere.nonce().await))
                .header(
                    name,
                    "By=spiffe://aims.local/server;URI=spiffe://aims.local/x",
                )
                .body(form.into())
                .unwrap();
            let answer = read(elsewhere.router.clone(), request).await;
            let found = (answer.status.as_u16(), error(&answer));
            let expected = (401, "invalid_client".to_owned());
            assert_eq!(found, expected, "{route:?} {name}");
        }
    }
}

#[tokio::test]
async fn no_scope_is_issued() {
    let elsewhere = Elsewhere::new().await;
    for scope in ["aims:admin", "openid", "mcp_tool"] {
        let more = format!("&scope={}", scope.replace(':', "%3A"));
        let answer = elsewhere.call(&token_route(), "", &more).await;
        assert_eq!(error(&answer), "invalid_scope", "{scope}");
    }
}

#[tokio::test]
async fn every_change_leaves_one_record_and_nothing_else_does() {
    let elsewhere = Elsewhere::new().await;
    // The first token of a key makes the run, which has a record of its own.
    let token = elsewhere.token().await;
    for route in OAUTH_ROUTES {
        let before = elsewhere.world.records().await.len();
        let answer = if route.access == Access::Client {
            elsewhere.call(route, &token, "").await
        } else {
            let request = Request::get(route.path).body("".into()).unwrap();
            read(elsewhere.router.clone(), request).await
        };
        assert_eq!(answer.status, StatusCode::OK, "{route:?} {answer:?}");
        let more = elsewhere.world.records().await.len() - before;
        assert_eq!(more, usize::from(route.mutates), "{route:?}");
    }
}

#[tokio::test]
async fn what_is_no_form_is_refused() {
    let elsewhere = Elsewhere::new().await;
    for route in of_clients() {
        for (kind, body) in [
            ("application/json", "{}".to_owned()),
            (FORM, "a=1&a=2".to_owned()),
            (FORM, "%".to_owned()),
            (FORM, "x".repeat(aims_oauth::FORM_LEN_MAX + 1)),
        ] {
            let dpop = elsewhere.proof(&elsewhere.nonce().await);
            let request = Request::post(route.path)
                .header("content-type", kind)
                .header("dpop", dpop)
                .body(body.into())
                .unwrap();
            let answer = read(elsewhere.router.clone(), request).await;
            let found = (answer.status.as_u16(), error(&answer));
            assert_eq!(found, (400, "invalid_request".to_owned()), "{route:?}");
        }
    }
}
