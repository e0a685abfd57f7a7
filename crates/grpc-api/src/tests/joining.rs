//! Joining.

use aims_crypto::sha256;
use aims_links::JoinAsk;
use aims_model::PointKind;
use aims_tls::{Pin, PinnedConnector};
use aims_types::{Digest, Secret};

use super::rich;
use super::world::{TOKEN, World, gateway, node};
use crate::{JOIN_LEN_MAX, JoinError, join};

fn ask(kind: PointKind, token: &str) -> JoinAsk {
    JoinAsk {
        kind,
        token: Secret::new(token.to_owned()),
        csr: vec![1, 2],
        host: "host é".to_owned(),
    }
}

fn pinned(world: &World, digest: Digest) -> PinnedConnector {
    let pin = Pin {
        digest,
        trust_domain: None,
    };
    PinnedConnector::new(&world.settings(), pin).unwrap()
}

#[tokio::test]
async fn who_has_a_token_and_the_digest_joins() {
    let world = World::start().await;
    for (kind, point) in [(PointKind::Node, node()), (PointKind::Gateway, gateway())] {
        let connector = pinned(&world, world.ca.digest());
        let joined = join(&world.address, connector, ask(kind, TOKEN))
            .await
            .unwrap();
        assert_eq!(format!("{joined:?}"), format!("{:?}", rich::joined(point)));
        let asked = std::mem::take(&mut *world.admit.asked.lock().unwrap());
        assert_eq!(asked, ["[1, 2] host é"]);
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_with_the_reason() {
    let world = World::start().await;
    let connector = pinned(&world, world.ca.digest());
    let refused = join(
        &world.address,
        connector,
        ask(PointKind::Node, "aims_jt_bad"),
    )
    .await;
    match refused.unwrap_err() {
        JoinError::Refused(refusal) => assert_eq!(refusal, rich::refusal()),
        JoinError::Link(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_server_of_another_authority_gets_no_token() {
    let world = World::start().await;
    let connector = pinned(&world, sha256(b"another authority"));
    let refused = join(&world.address, connector, ask(PointKind::Node, TOKEN)).await;
    let error = refused.unwrap_err().to_string();
    let digest = world.ca.digest().to_string();
    assert!(
        error.contains(&digest) && error.contains("pinned"),
        "{error}"
    );
    assert!(world.admit.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn who_joins_is_not_heard_at_length() {
    let world = World::start().await;
    let mut long = ask(PointKind::Node, TOKEN);
    long.csr = vec![0; JOIN_LEN_MAX];
    let connector = pinned(&world, world.ca.digest());
    assert!(join(&world.address, connector, long).await.is_err());
    assert!(world.admit.asked.lock().unwrap().is_empty());
}
