//! What anybody on the machine may read, and what nobody gets through it.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Health, PUBLIC_ROUTES, Public, ROUTES};
use aims_audit::TileDir;
use axum::Router;
use http::{Request, StatusCode};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::world::{Answer, World, read};

const SECRET: &str = "nobody reads this";

fn router(world: &World) -> (Router, Health) {
    let tiles = world.directory.path().join("log");
    fs::create_dir_all(tiles.join("tile/0")).unwrap();
    fs::write(tiles.join("tile/0/000"), b"a tile").unwrap();
    fs::write(tiles.join("tile/0/000.new"), SECRET).unwrap();
    fs::write(tiles.join("secret"), SECRET).unwrap();
    fs::write(world.directory.path().join("secret"), SECRET).unwrap();
    let health = Health::new(PrometheusBuilder::new().build_recorder().handle());
    let store = world.parts.store.clone();
    let public = Public::new(store, TileDir::new(tiles), health.clone());
    (public.router(), health)
}

async fn get(router: &Router, path: &str) -> Answer {
    let request = Request::get(path).body("".into()).unwrap();
    read(router.clone(), request).await
}

#[tokio::test]
async fn health_says_what_is() {
    let world = World::new().await;
    let (router, health) = router(&world);
    assert_eq!(get(&router, "/live").await.status, StatusCode::OK);
    let status = get(&router, "/ready").await.status;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    health.set_ready(true);
    assert_eq!(get(&router, "/ready").await.status, StatusCode::OK);
    assert_eq!(get(&router, "/metrics").await.status, StatusCode::OK);
    let empty = get(&router, "/log/checkpoint").await;
    assert_eq!(empty.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_trust_bundle_is_served_as_json() {
    let world = World::new().await;
    let (router, _) = router(&world);
    let answer = get(&router, "/spiffe/bundle").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/json");
    let bundle: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let uses: Vec<_> = bundle["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["use"])
        .collect();
    assert_eq!(uses, ["x509-svid", "jwt-svid"]);
    assert!(bundle["spiffe_sequence"].as_u64() > Some(0));
}

#[tokio::test]
async fn the_authority_is_served_in_the_form_that_every_program_reads() {
    let world = World::new().await;
    let (router, _) = router(&world);
    let answer = get(&router, "/spiffe/bundle.pem").await;
    assert_eq!(answer.status, StatusCode::OK);
    let kind = "application/pem-certificate-chain";
    assert_eq!(answer.headers["content-type"], kind);
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let (begin, end) = (
        "-----BEGIN CERTIFICATE-----\n",
        "-----END CERTIFICATE-----\n",
    );
    let inner = text.strip_prefix(begin).unwrap().strip_suffix(end).unwrap();
    assert!(inner.lines().all(|line| (1..=64).contains(&line.len())));
    let bundle = get(&router, "/spiffe/bundle").await;
    let bundle: serde_json::Value = serde_json::from_slice(&bundle.body).unwrap();
    let der = bundle["keys"][0]["x5c"][0].as_str().unwrap();
    assert_eq!(inner.replace('\n', ""), der);
}

#[tokio::test]
async fn the_public_router_has_the_routes_of_its_table_and_changes_nothing() {
    let source = include_str!("../public.rs");
    let listed: BTreeSet<&str> = source
        .split(".route(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let table: BTreeSet<&str> = PUBLIC_ROUTES.iter().map(|route| route.path).collect();
    assert_eq!(listed, table);
    let world = World::new().await;
    let (router, _) = router(&world);
    let before = world.state().await;
    for route in PUBLIC_ROUTES {
        assert!(!route.mutates, "{route:?}");
        let path = route.path.replace("{*path}", "0/000");
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let request = Request::builder().method(method).uri(&path);
            let answer = read(router.clone(), request.body("".into()).unwrap()).await;
            let status = answer.status;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
        get(&router, &path).await;
    }
    assert_eq!(world.state().await, before);
}

#[tokio::test]
async fn a_point_is_ready_only_while_it_works_and_shows_nothing_else() {
    let works = Arc::new(AtomicBool::new(false));
    let health = Health::new(PrometheusBuilder::new().build_recorder().handle());
    let asked = Arc::clone(&works);
    let health = health.while_works(move || asked.load(Ordering::SeqCst));
    let router = health.clone().router();
    let ready = async || get(&router, "/ready").await.status == StatusCode::OK;
    assert_eq!(get(&router, "/live").await.status, StatusCode::OK);
    for (is_up, does_work) in [(false, true), (true, false), (true, true), (true, false)] {
        health.set_ready(is_up);
        works.store(does_work, Ordering::SeqCst);
        assert_eq!(ready().await, is_up && does_work);
    }
    assert_eq!(get(&router, "/metrics").await.status, StatusCode::OK);
    let nothing = get(&router, "/log/checkpoint").await.status;
    assert_eq!(nothing, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_tiles_are_read_from_the_folder_of_tiles() {
    let world = World::new().await;
    let (router, _) = router(&world);
    let tile = get(&router, "/log/tile/0/000").await;
    assert_eq!(
        (tile.status, &tile.body[..]),
        (StatusCode::OK, &b"a tile"[..])
    );
    for path in [
        "0/000.new",
        "0/001",
        "0",
        "0/",
        "../secret",
        "../../secret",
        "0/../../secret",
        "0/../0/000",
        "./0/000",
        "0//000",
        "/0/000",
        "%2e%2e/secret",
        "%2e%2e%2fsecret",
        "..%2f..%2fsecret",
        "0%2f000%2f..%2f..%2f..%2fsecret",
        "..%5c..%5csecret",
        "%252e%252e%252fsecret",
        "0/000%00",
        "0/000%0a",
        "0/000/",
        "0/000?x/../../secret/..",
        "8/000",
        "-1/000",
        "00/000",
        "0/0000",
        "0/x000",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/1/../../../secret",
        "entries/../../../secret",
        "data/000",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "%ff%fe",
        "..;/secret",
        "0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        let answer = get(&router, &format!("/log/tile/{path}")).await;
        let body = String::from_utf8_lossy(&answer.body);
        assert!(!body.contains(SECRET) && !body.contains("root:"), "{path}");
        assert!(
            !body.contains(world.directory.path().to_str().unwrap()),
            "{path}"
        );
        // A query is no part of the path: it names the tile itself.
        let is_tile = path.starts_with("0/000?");
        assert_eq!(answer.status.is_success(), is_tile, "{path} {answer:?}");
        assert!(!answer.status.is_server_error(), "{path}");
    }
}

#[tokio::test]
async fn the_public_router_has_no_route_of_people() {
    let world = World::new().await;
    let (router, _) = router(&world);
    for route in ROUTES {
        let request = Request::builder()
            .method(route.method)
            .uri(route.path.replace(['{', '}'], ""));
        let answer = read(router.clone(), request.body("".into()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{route:?}");
    }
}
