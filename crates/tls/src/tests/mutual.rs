use rustls::NamedGroup;
use rustls::ProtocolVersion::TLSv1_3;

use super::*;

#[tokio::test]
async fn each_end_knows_the_other_and_bytes_flow() {
    let domain = Domain::new("aims.local");
    let acceptor = domain.acceptor("server", ClientAuth::Required);
    let connector = domain.connector(Some("node/one"), "server");
    let (accepted, connected) = shake(&acceptor, &connector).await;
    let (mut near, client) = accepted.unwrap();
    let (mut far, server) = connected.unwrap();
    let client = client.unwrap();
    assert_eq!(client.spiffe_id().as_str(), "spiffe://aims.local/node/one");
    assert_eq!(server.spiffe_id().as_str(), "spiffe://aims.local/server");
    assert_eq!(client.not_after(), days(1, 1).not_after());

    let mut read = [0; 4];
    far.write_all(b"ping").await.unwrap();
    near.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"ping");
    near.write_all(b"pong").await.unwrap();
    far.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"pong");
}

#[tokio::test]
async fn handshakes_are_of_tls_1_3_safe_from_quantum_computers_and_whole() {
    let domain = Domain::new("aims.local");
    let acceptor = domain.acceptor("server", ClientAuth::Required);
    let connector = domain.connector(Some("node/one"), "server");
    for _ in 0..2 {
        let (accepted, connected) = shake(&acceptor, &connector).await;
        let ((near, _), (far, _)) = (accepted.unwrap(), connected.unwrap());
        for state in [
            &**near.get_ref().1 as &rustls::CommonState,
            &**far.get_ref().1,
        ] {
            assert_eq!(state.protocol_version(), Some(TLSv1_3));
            let group = state.negotiated_key_exchange_group().unwrap();
            assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
            assert_eq!(state.handshake_kind(), Some(rustls::HandshakeKind::Full));
            assert_eq!(state.alpn_protocol(), Some(ALPN));
        }
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_nobody_where_that_is_allowed() {
    let domain = Domain::new("aims.local");
    let acceptor = domain.acceptor("server", ClientAuth::Optional);
    let server = "spiffe://aims.local/server".to_owned();
    let nobody = domain.connector(None, "server");
    let outcome_of = outcome(&acceptor, &nobody).await;
    assert_eq!(outcome_of, ("nobody".to_owned(), server.clone()));
    let node = domain.connector(Some("node/one"), "server");
    let (client, _) = outcome(&acceptor, &node).await;
    assert_eq!(client, "spiffe://aims.local/node/one");
}

#[tokio::test]
async fn a_client_may_expect_more_than_one_peer() {
    let domain = Domain::new("aims.local");
    let expected: Expected = Expected::Matching(Arc::new(|id| id.path().starts_with("gateway/")));
    let identity = Some(domain.identity("gateway/one"));
    let connector = Connector::new(&domain.settings(), identity, domain.trust(), expected).unwrap();
    let gateway = domain.acceptor("gateway/two", ClientAuth::Required);
    let (_, seen) = outcome(&gateway, &connector).await;
    assert_eq!(seen, "spiffe://aims.local/gateway/two");
    let node = domain.acceptor("node/two", ClientAuth::Required);
    let (_, seen) = outcome(&node, &connector).await;
    assert!(seen.contains("`spiffe://aims.local/node/two`"), "{seen}");
}

#[tokio::test]
async fn a_renewed_identity_is_shown_by_the_next_handshake() {
    let domain = Domain::new("aims.local");
    let identity = domain.identity("server");
    let acceptor = Acceptor::new(
        &domain.settings(),
        identity.clone(),
        domain.trust(),
        ClientAuth::Required,
    )
    .unwrap();
    let connector = domain.connector(Some("node/one"), "server");
    let seen = async || shake(&acceptor, &connector).await.1.unwrap();
    let (_open, before) = seen().await;
    assert_eq!(before.kid(), identity.svid().kid());

    let signer = key();
    let svid = domain.svid("server", &signer, days(0, 2));
    identity.renew(svid, &domain.ca, signer.clone()).unwrap();
    let (_open, after) = seen().await;
    assert_eq!(after.public(), signer.public());
    assert_ne!(after.kid(), before.kid());
    assert_eq!(after.not_after(), days(0, 2).not_after());
}

#[tokio::test]
async fn a_replaced_bundle_counts_from_the_next_handshake() {
    let (old, new) = (Domain::new("aims.local"), Domain::new("aims.local"));
    let trust = old.trust();
    let identity = old.identity("server");
    let required = ClientAuth::Required;
    let acceptor = Acceptor::new(&old.settings(), identity, trust.clone(), required).unwrap();
    let both = Arc::new(Trust::new(
        Bundle::new(vec![old.ca.clone(), new.ca.clone()]).unwrap(),
    ));
    let expected: Expected = old.ca.trust_domain().id("server").unwrap().into();
    let node = Some(new.identity("node/one"));
    let connector = Connector::new(&new.settings(), node, both.clone(), expected).unwrap();

    let (client, _) = outcome(&acceptor, &connector).await;
    assert!(client.contains("not signed by an authority"), "{client}");
    trust.replace(Bundle::clone(&both.bundle()));
    let (client, _) = outcome(&acceptor, &connector).await;
    assert_eq!(client, "spiffe://aims.local/node/one");
}

#[test]
fn an_identity_is_a_certificate_and_its_own_key() {
    use crate::IdentityError::{Key, OtherId, TrustDomain};
    let (domain, other) = (Domain::new("aims.local"), Domain::new("other.local"));
    let signer = key();
    let svid = domain.svid("server", &signer, days(1, 1));
    let identity = |ca: &CaCertificate, signer| Identity::new(svid.clone(), ca, signer);
    assert_eq!(identity(&domain.ca, key()).err(), Some(Key));
    assert_eq!(identity(&other.ca, signer.clone()).err(), Some(TrustDomain));

    let identity = identity(&domain.ca, signer.clone()).unwrap();
    let node = domain.svid("node/one", &signer, days(1, 1));
    let renewed = identity.renew(node, &domain.ca, signer);
    assert!(matches!(renewed, Err(OtherId { .. })));
    assert_eq!(identity.svid(), svid);
}
