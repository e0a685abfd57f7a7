//! Nodes and gateways of other hosts: tokens, certificates, links.

use std::sync::Arc;
use std::time::Duration;

use aims_crypto::{Alg, Signer, SigningKey};
use aims_jose::Thumbprint;
use aims_links::{Admit, JoinAsk, Joined, Refusal};
use aims_model::point::JOIN_TOKEN_LIFE_SECS;
use aims_model::{EventKind, KeyPurpose, Point, PointKind};
use aims_types::{Actor, Id, Secret};
use aims_x509::{Bundle, CaCertificate, SvidRequest, verify_svid};

use super::peer::{Peer, Walls};
use super::world::{World, kid, new_key, text};
use crate::{AllowedJoin, ControlPlane, KeyringError, OpenError, Refused, SVID_LIFE};

async fn token(world: &World, kind: PointKind) -> AllowedJoin {
    let cx = world.cx(&world.operator);
    world.plane.join_token_create(&cx, kind).await.unwrap()
}

fn csr(key: &SigningKey) -> Vec<u8> {
    SvidRequest::create(key, None).unwrap().into_der()
}

async fn join(
    world: &World,
    kind: PointKind,
    token: &Secret<String>,
    csr: Vec<u8>,
) -> Result<Joined, Refusal> {
    let ask = JoinAsk {
        kind,
        token: token.clone(),
        csr,
        host: "far".to_owned(),
    };
    world.plane.join(ask).await.unwrap()
}

/// A point that has joined from another host.
async fn joined(world: &World, kind: PointKind) -> (Joined, SigningKey) {
    let key = new_key();
    let token = token(world, kind).await.token;
    let joined = join(world, kind, &token, csr(&key)).await.unwrap();
    (joined, key)
}

async fn retire(world: &World, kid: &str) {
    let mut txn = world.parts.store.begin().await.unwrap();
    let mut key = txn.key(kid).await.unwrap().unwrap();
    key.retired_at = Some(world.now());
    txn.key_update(&key).await.unwrap();
    txn.commit(Vec::new()).await.unwrap();
}

#[tokio::test]
async fn who_joins_gets_an_identity_that_the_bundle_vouches_for() {
    let world = World::new().await;
    for kind in [PointKind::Node, PointKind::Gateway] {
        let allowed = token(&world, kind).await;
        assert_eq!(
            allowed.expires_at,
            world.now().plus(Duration::from_secs(JOIN_TOKEN_LIFE_SECS))
        );
        let key = new_key();
        let joined = join(&world, kind, &allowed.token, csr(&key)).await.unwrap();
        assert_eq!(joined.point.kind(), kind);
        let ca = CaCertificate::from_der(&joined.svid.bundle[0]).unwrap();
        assert_eq!(ca.digest(), allowed.bundle);
        let bundle = Bundle::new(vec![ca]).unwrap();
        let peer = verify_svid(&joined.svid.chain, &bundle, world.now()).unwrap();
        let name = format!("spiffe://aims.local/{}/{}", kind.as_str(), joined.point);
        assert_eq!(peer.spiffe_id().as_str(), name);
        assert_eq!(peer.public(), key.public());
        assert_eq!(peer.not_after(), joined.svid.expires_at);
        assert_eq!(joined.svid.expires_at, world.now().plus(SVID_LIFE));
        assert!(
            world
                .plane
                .is_enrolled(joined.point, &kid(&key))
                .await
                .unwrap()
        );
        let enrolled = world.records_of(EventKind::KeyEnrolled).await;
        let last = enrolled.last().unwrap();
        assert_eq!(text(last, "purpose"), kind.as_str());
        assert_eq!(text(last, "host"), "far");
        let issued = world.records_of(EventKind::SvidIssued).await;
        assert_eq!(text(issued.last().unwrap(), "spiffe_id"), name);
        assert_eq!(text(issued.last().unwrap(), "kid"), kid(&key));
    }
    let allowed = world.records_of(EventKind::JoinAllowed).await;
    assert_eq!(text(&allowed[1], "kind"), "gateway");
    assert_eq!(text(&allowed[1], "by"), world.operator.id.to_string());
}

#[tokio::test]
async fn a_join_token_works_once() {
    let world = World::new().await;
    let token = token(&world, PointKind::Node).await.token;
    let joins = (0..4).map(|_| join(&world, PointKind::Node, &token, csr(&new_key())));
    let done = futures_util::future::join_all(joins).await;
    assert_eq!(done.iter().filter(|one| one.is_ok()).count(), 1);
    let mut reader = world.parts.store.read().await.unwrap();
    assert_eq!(reader.keys(KeyPurpose::Node).await.unwrap().len(), 2);
}

#[tokio::test]
async fn tokens_that_do_not_work_are_refused_alike() {
    let world = World::new().await;
    let used = token(&world, PointKind::Node).await.token;
    join(&world, PointKind::Node, &used, csr(&new_key()))
        .await
        .unwrap();
    let other_kind = token(&world, PointKind::Gateway).await.token;
    let unknown = Secret::new("aims_jt_x".to_owned());
    let old = token(&world, PointKind::Node).await.token;
    let mut refusals = Vec::new();
    for token in [&used, &other_kind, &unknown] {
        let refused = join(&world, PointKind::Node, token, csr(&new_key())).await;
        refusals.push(refused.unwrap_err());
    }
    world
        .clock
        .forward(Duration::from_secs(JOIN_TOKEN_LIFE_SECS));
    let refused = join(&world, PointKind::Node, &old, csr(&new_key())).await;
    refusals.push(refused.unwrap_err());
    assert_eq!(refusals[0].code, "join_refused");
    assert!(refusals.iter().all(|one| *one == refusals[0]));
    assert_eq!(world.refused().await, "join_refused");
}

#[tokio::test]
async fn a_request_that_does_not_prove_its_key_leaves_the_token_as_it_was() {
    let world = World::new().await;
    let token = token(&world, PointKind::Node).await.token;
    let good = csr(&new_key());
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let wanted = world.plane.trust_domain().id("server").unwrap();
    let named = SvidRequest::create(&new_key(), Some(&wanted)).unwrap();
    for (bad, code) in [
        (forged, "bad_certificate_request"),
        (b"x".to_vec(), "bad_certificate_request"),
        (named.into_der(), "bad_certificate_request"),
        (csr(&world.node.key), "key_taken"),
        (csr(&world.operator.key), "key_taken"),
    ] {
        let refused = join(&world, PointKind::Node, &token, bad).await;
        assert_eq!(refused.unwrap_err().code, code);
    }
    assert!(join(&world, PointKind::Node, &token, good).await.is_ok());
}

#[tokio::test]
async fn only_operators_let_others_join() {
    let (world, mia) = World::ready().await;
    let server = world.plane.cx(Actor::Server).unwrap();
    for cx in [world.cx(&mia), server] {
        let refused = world.plane.join_token_create(&cx, PointKind::Node).await;
        assert!(!refused.unwrap_err().is_internal());
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_for_the_same_key_until_that_is_retired() {
    let world = World::new().await;
    let (joined, key) = joined(&world, PointKind::Gateway).await;
    let point = joined.point;
    world.clock.forward(SVID_LIFE / 2);
    let renewed = world.plane.svid_renew(point, csr(&key)).await.unwrap();
    let renewed = renewed.unwrap();
    assert_eq!(renewed.expires_at, world.now().plus(SVID_LIFE));
    assert_eq!(renewed.bundle, world.plane.bundle());
    let stranger = Point::Gateway(Id::from_u128(8));
    let refusals = [
        (point, csr(&new_key()), "not_enrolled"),
        (stranger, csr(&key), "not_enrolled"),
        (point, b"x".to_vec(), "bad_certificate_request"),
    ];
    for (point, csr, expected) in refusals {
        let refused = world
            .plane
            .svid_renew(point, csr)
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(refused.code, expected);
    }
    retire(&world, &kid(&key)).await;
    let refused = world
        .plane
        .svid_renew(point, csr(&key))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.code, "not_enrolled");
    assert!(!world.plane.is_enrolled(point, &kid(&key)).await.unwrap());
    let refused = world
        .renew(point, world.revision().await)
        .await
        .unwrap_err();
    assert_eq!(refused.code, "not_enrolled");
    let linked = world
        .plane
        .attach_gateway(point, Arc::new(Peer::default()))
        .await;
    assert_eq!(linked.unwrap().unwrap_err().code, "not_enrolled");
}

#[tokio::test]
async fn a_point_is_linked_as_what_it_is() {
    let world = World::new().await;
    let (gateway, _) = joined(&world, PointKind::Gateway).await;
    let (node, _) = joined(&world, PointKind::Node).await;
    let (peer, walls) = (Arc::new(Peer::default()), Arc::new(Walls::default()));
    let at = world
        .plane
        .attach_gateway(gateway.point, peer.clone())
        .await;
    assert_eq!(at.unwrap(), Ok(world.revision().await));
    let at = world.plane.attach_node(node.point, walls.clone()).await;
    assert_eq!(at.unwrap(), Ok(world.revision().await));
    let wrong = world.plane.attach_gateway(node.point, peer.clone()).await;
    assert_eq!(wrong.unwrap().unwrap_err().code, "not_enrolled");
    let wrong = world.plane.attach_node(gateway.point, walls.clone()).await;
    assert_eq!(wrong.unwrap().unwrap_err().code, "not_enrolled");
    // Both get what happens from now on.
    world.agent("notes", "olga").await;
    assert_eq!(peer.newest().revision, world.revision().await);
    assert_eq!(walls.newest(), world.revision().await);
}

#[tokio::test]
async fn the_server_has_a_certificate_of_its_own() {
    let world = World::new().await;
    let key = SigningKey::generate(Alg::Es256).unwrap();
    let cx = world.plane.cx(Actor::Server).unwrap();
    let hosts = ["aims.example".to_owned()];
    let svid = world
        .plane
        .server_svid(&cx, key.public(), &hosts)
        .await
        .unwrap();
    let ca = CaCertificate::from_der(&world.plane.bundle()[0]).unwrap();
    assert_eq!(ca.digest(), world.plane.bundle_digest());
    let bundle = Bundle::new(vec![ca]).unwrap();
    let peer = verify_svid(&svid.chain, &bundle, world.now()).unwrap();
    assert_eq!(peer.spiffe_id().as_str(), "spiffe://aims.local/server");
    assert_eq!(peer.kid(), Thumbprint::of(key.public()));
    let person = world.cx(&world.operator);
    let refused = world.plane.server_svid(&person, key.public(), &[]).await;
    assert_eq!(refused.unwrap_err().code(), "not_the_server");
    let bad = ["not a host".to_owned()];
    let refused = world.plane.server_svid(&cx, key.public(), &bad).await;
    assert_eq!(refused.unwrap_err().code(), "bad_certificate_request");
}

#[tokio::test]
async fn a_store_without_an_authority_says_what_to_do() {
    let world = World::new().await;
    let kid = world.plane.keyring().ca.key.kid.clone();
    retire(&world, &kid).await;
    let opened = ControlPlane::open(world.parts.clone()).await;
    let error = opened.unwrap_err();
    assert!(matches!(
        error,
        OpenError::Keyring(KeyringError::NoAuthority)
    ));
    assert!(error.to_string().contains("anew"), "{error}");
}
