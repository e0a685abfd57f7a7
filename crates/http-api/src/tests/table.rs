//! The table of routes is the router.

use std::collections::BTreeSet;

use crate::ROUTES;
use http::{Request, StatusCode};

use super::stage::Stage;

#[tokio::test]
async fn the_router_has_the_routes_of_the_table() {
    let stage = Stage::new().await;
    for route in ROUTES {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let request = Request::builder().method(method).uri(stage.path(route));
            let answer = stage.world.send(request.body("".into()).unwrap()).await;
            let other = ROUTES
                .iter()
                .any(|other| other.path == route.path && other.method == method);
            let missing = answer.status == StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(missing, !other, "{method} {} {}", route.path, answer.status);
            assert_ne!(answer.status, StatusCode::NOT_FOUND, "{route:?}");
        }
    }
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/people/",
        "/v1//people",
        "/v1/unknown",
        "/V1/people",
        "/v1/tasks/../people",
        "/v1/agents/a/b/suspend",
        "/live",
        "/metrics",
        "/log/checkpoint",
    ] {
        let request = Request::get(path).body("".into()).unwrap();
        let answer = stage.world.send(request).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn the_table_has_the_routes_of_the_router() {
    let source = include_str!("../admin.rs");
    let routed: BTreeSet<&str> = source
        .split(".route(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let table: BTreeSet<&str> = ROUTES.iter().map(|route| route.path).collect();
    assert_eq!(routed, table);
    let names: BTreeSet<_> = ROUTES.iter().map(|one| (one.method, one.path)).collect();
    assert_eq!(names.len(), ROUTES.len(), "a route comes twice");
    for route in ROUTES {
        assert_eq!(route.mutates, route.method == "POST", "{route:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let stage = Stage::new().await;
    let operator = &stage.world.operator;
    let token = stage.world.log_in(operator).await;
    for (method, path) in [
        ("GET", "/v1/tasks/nothing"),
        ("GET", "/v1/tasks/task_01jv5h7k8nq4xw2t9r3c6m0zya"),
        ("GET", "/v1/tasks/nothing/trace"),
        ("GET", "/v1/decisions/nothing/proof"),
        ("POST", "/v1/tasks/nothing/end"),
        ("POST", "/v1/tasks/nothing/freeze"),
        ("POST", "/v1/tasks/nothing/resume"),
        ("GET", "/v1/approvals/nothing"),
        ("GET", "/v1/approvals/apr_01jv5h7k8nq4xw2t9r3c6m0zya"),
        ("POST", "/v1/people/nobody/remove"),
        ("POST", "/v1/people/NOBODY/remove"),
        ("POST", "/v1/agents/nothing/activate"),
        ("POST", "/v1/agents/%2e%2e/suspend"),
        ("POST", "/v1/agents/a%2fb/retire"),
        ("POST", "/v1/services/nothing/retire"),
        ("POST", "/v1/upstreams/nothing/retire"),
        ("POST", "/v1/upstreams/NOTHING/retire"),
    ] {
        let proof = stage
            .world
            .proof(&operator.key, (method, path), Some(&token));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", proof);
        let answer = stage.world.send(request.body("".into()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
    }
}
