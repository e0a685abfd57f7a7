//! The API over a real socket, for the process that these tests run in, with a server that is
//! played.

mod others;
mod world;

use std::time::Duration;

use tonic::{Code, Request};

use crate::SECURITY_HEADER;
use crate::proto::{
    JwtBundlesRequest, JwtsvidRequest, ValidateJwtsvidRequest, X509BundlesRequest, X509svidRequest,
};
use world::{World, good};

#[tokio::test]
async fn trap_10_every_call_needs_the_header_exactly_so_and_exactly_once() {
    let world = World::start();
    let headers: [&[&str]; 5] = [&[], &["false"], &["TRUE"], &["true "], &["true", "true"]];
    for values in headers {
        let mut request = Request::new(X509svidRequest {});
        for value in values {
            let value = value.parse().unwrap();
            request.metadata_mut().append(SECURITY_HEADER, value);
        }
        let refused = world.client().fetch_x509svid(request).await;
        assert_eq!(
            refused.unwrap_err().code(),
            Code::InvalidArgument,
            "{values:?}"
        );
    }
    let mut client = world.client();
    let bundles = client.fetch_x509_bundles(X509BundlesRequest {}).await;
    assert_eq!(bundles.unwrap_err().code(), Code::InvalidArgument);
    let bundles = client.fetch_jwt_bundles(JwtBundlesRequest {}).await;
    assert_eq!(bundles.unwrap_err().code(), Code::InvalidArgument);
    let jwt = client.fetch_jwtsvid(JwtsvidRequest::default()).await;
    assert_eq!(jwt.unwrap_err().code(), Code::InvalidArgument);
    let valid = client
        .validate_jwtsvid(ValidateJwtsvidRequest::default())
        .await;
    assert_eq!(valid.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_server_is_told_what_the_kernel_says_of_the_caller() {
    let world = World::start();
    let mut stream = world.svids().await;
    stream.message().await.unwrap().unwrap();
    let seen = world.services.seen();
    let own = std::env::current_exe().unwrap();
    assert_eq!(seen.executable.path, own.display().to_string());
    assert_eq!(seen.pid, std::process::id());
    assert_eq!(seen.host_uid, rustix::process::geteuid().as_raw());
    assert_eq!(seen.executable.digest, world::digest_of(&own));
}

#[tokio::test]
async fn the_whole_state_comes_at_once_and_again_before_half_of_the_life() {
    let world = World::start();
    let mut stream = world.svids().await;
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.svids.len(), 2);
    assert_eq!(first.svids[0].hint, "mail");
    assert_ne!(first.svids[0].x509_svid_key, first.svids[1].x509_svid_key);
    assert_eq!(first.svids[0].bundle, b"authority".to_vec());
    let issued = world.services.issued();
    let second = stream.message().await.unwrap().unwrap();
    assert_ne!(first.svids[0].x509_svid_key, second.svids[0].x509_svid_key);
    assert_eq!(second.svids.len(), 2);
    assert_eq!(world.services.issued(), issued + 2);
}

#[tokio::test]
async fn streams_of_one_process_share_what_is_issued() {
    let world = World::start();
    world.services.live_for(Duration::from_mins(5));
    let (mut one, mut other) = (world.svids().await, world.svids().await);
    let one = one.message().await.unwrap().unwrap();
    let other = other.message().await.unwrap().unwrap();
    assert_eq!(one, other);
    assert_eq!(world.services.attested(), 1);
}

#[tokio::test]
async fn a_bundle_that_changes_is_told_of() {
    let world = World::start();
    let request = good(X509BundlesRequest {});
    let stream = world.client().fetch_x509_bundles(request).await;
    let mut stream = stream.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.bundles["spiffe://aims.local"], b"authority");
    world.services.other_authority();
    let second = stream.message().await.unwrap().unwrap();
    assert_eq!(second.bundles["spiffe://aims.local"], b"another");
}

#[tokio::test]
async fn whom_the_server_does_not_know_gets_nothing_of_any_kind() {
    let world = World::start();
    world.services.refuse();
    let mut client = world.client();
    let codes = [
        client
            .fetch_x509svid(good(X509svidRequest {}))
            .await
            .map(drop),
        client
            .fetch_x509_bundles(good(X509BundlesRequest {}))
            .await
            .map(drop),
        client
            .fetch_jwt_bundles(good(JwtBundlesRequest {}))
            .await
            .map(drop),
        client
            .fetch_jwtsvid(good(world::asks("bank")))
            .await
            .map(drop),
        client
            .validate_jwtsvid(good(ValidateJwtsvidRequest::default()))
            .await
            .map(drop),
    ];
    for answer in codes {
        assert_eq!(answer.unwrap_err().code(), Code::PermissionDenied);
    }
}

#[tokio::test]
async fn what_is_cut_off_is_withdrawn_from_open_streams_and_not_told_back() {
    let world = World::start();
    let mut stream = world.svids().await;
    stream.message().await.unwrap().unwrap();
    assert_eq!(world.api.cut(&[world::OTHER_INSTANCE]), 0);
    assert_eq!(world.api.cut(&[world::INSTANCE]), 1);
    assert_eq!(world::end_of(&mut stream).await, Code::PermissionDenied);
    assert_eq!(world.services.told(), 0);
}

#[tokio::test]
async fn without_a_lease_nothing_is_handed_out_and_all_is_withdrawn() {
    let world = World::start();
    let mut stream = world.svids().await;
    stream.message().await.unwrap().unwrap();
    world.lose_lease();
    assert_eq!(world.api.end_all(), 1);
    assert_eq!(world::end_of(&mut stream).await, Code::Unavailable);
    let again = world
        .client()
        .fetch_x509svid(good(X509svidRequest {}))
        .await;
    assert_eq!(again.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn an_agent_that_came_this_far_gets_nothing() {
    let own = rustix::process::geteuid().as_raw();
    let world = World::start_with(own..own + 1);
    let refused = world
        .client()
        .fetch_x509svid(good(X509svidRequest {}))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(world.services.attested(), 0);
}

#[tokio::test]
async fn a_refusal_to_renew_takes_everything_away() {
    let world = World::start();
    let mut stream = world.svids().await;
    stream.message().await.unwrap().unwrap();
    world.services.refuse();
    assert_eq!(world::end_of(&mut stream).await, Code::PermissionDenied);
}

#[tokio::test]
async fn jwt_svids_are_for_the_identities_of_the_caller_and_few_audiences() {
    let world = World::start();
    let mut client = world.client();
    let both = client
        .fetch_jwtsvid(good(world::asks("bank")))
        .await
        .unwrap();
    assert_eq!(both.into_inner().svids.len(), 2);
    let one = JwtsvidRequest {
        spiffe_id: "spiffe://aims.local/service/post".to_owned(),
        ..world::asks("bank")
    };
    let one = client.fetch_jwtsvid(good(one)).await.unwrap().into_inner();
    assert_eq!(one.svids.len(), 1);
    let other = JwtsvidRequest {
        spiffe_id: "spiffe://aims.local/agent/coder".to_owned(),
        ..world::asks("bank")
    };
    let refused = client.fetch_jwtsvid(good(other)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let long = "a".repeat(crate::AUDIENCE_LEN_MAX + 1);
    for audience in [
        vec![],
        vec![String::new()],
        vec![long],
        vec!["a".to_owned(); 9],
    ] {
        let request = JwtsvidRequest {
            audience,
            spiffe_id: String::new(),
        };
        let refused = client.fetch_jwtsvid(good(request)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn one_user_has_so_many_calls_and_no_more() {
    let world = World::start();
    let places: Vec<_> = (0..crate::CALLS_OF_USER_MAX)
        .map(|_| world.take_place().unwrap())
        .collect();
    let refused = world
        .client()
        .fetch_x509svid(good(X509svidRequest {}))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
    drop(places);
    world.svids().await;
}

#[tokio::test]
async fn a_stopping_node_ends_streams_and_tells_the_server() {
    let world = World::start();
    let mut stream = world.svids().await;
    stream.message().await.unwrap().unwrap();
    world.api.drain().await;
    assert!(stream.message().await.is_err() || stream.message().await.unwrap().is_none());
    assert_eq!(world.services.told(), 2);
}
