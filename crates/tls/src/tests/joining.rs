use aims_types::Digest;

use super::*;
use crate::{Joined, Pin, PinnedConnector};

/// What a joining process that was told `digest` and `trust_domain` learns from `acceptor`.
async fn join(
    domain: &Domain,
    acceptor: &Acceptor,
    digest: Digest,
    trust_domain: Option<&str>,
) -> Result<Joined, String> {
    let trust_domain = trust_domain.map(|name| name.parse().unwrap());
    let pin = Pin {
        digest,
        trust_domain,
    };
    let connector = PinnedConnector::new(&domain.settings(), pin).unwrap();
    let (near, far) = duplex(PIPE_LEN);
    let (_, connected) = tokio::join!(acceptor.accept(near), connector.connect(far));
    connected
        .map(|(_, joined)| joined)
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn who_knows_the_digest_learns_authority_and_trust_domain() {
    let domain = Domain::new("aims.local");
    let acceptor = domain.acceptor("server", ClientAuth::Optional);
    for name in [None, Some("aims.local")] {
        let joined = join(&domain, &acceptor, domain.ca.digest(), name).await;
        let joined = joined.unwrap();
        assert_eq!(joined.authority, domain.ca);
        assert_eq!(joined.authority.trust_domain().as_str(), "aims.local");
        let server = joined.server.spiffe_id().as_str();
        assert_eq!(server, "spiffe://aims.local/server");
    }
}

#[tokio::test]
async fn a_pin_accepts_exactly_one_authority() {
    let (domain, twin) = (Domain::new("aims.local"), Domain::new("aims.local"));
    let acceptor = twin.acceptor("server", ClientAuth::Optional);
    let refused = join(&domain, &acceptor, domain.ca.digest(), None).await;
    let seen = format!("`{}`", twin.ca.digest());
    assert!(refused.unwrap_err().contains(&seen));
    assert!(
        join(&domain, &acceptor, twin.ca.digest(), None)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_pin_with_a_trust_domain_accepts_no_other() {
    let domain = Domain::new("aims.local");
    let acceptor = domain.acceptor("server", ClientAuth::Optional);
    let digest = domain.ca.digest();
    let refused = join(&domain, &acceptor, digest, Some("other.local")).await;
    assert!(refused.unwrap_err().contains("`aims.local`"));
}

#[tokio::test]
async fn only_the_server_lets_others_join() {
    let domain = Domain::new("aims.local");
    for path in ["node/one", "gateway/one", "server/two", "Server"] {
        let acceptor = domain.acceptor(path, ClientAuth::Optional);
        let refused = join(&domain, &acceptor, domain.ca.digest(), None).await;
        let error = refused.unwrap_err();
        assert!(error.contains("not the server"), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_shows_the_pinned_authority_but_is_not_of_it_is_refused() {
    let (domain, thief) = (Domain::new("aims.local"), Domain::new("aims.local"));
    let signer = key();
    let svid = thief.svid("server", &signer, days(1, 1));
    let identity = Arc::new(Identity::new(svid, &domain.ca, signer).unwrap());
    let optional = ClientAuth::Optional;
    let acceptor = Acceptor::new(&thief.settings(), identity, thief.trust(), optional).unwrap();
    let refused = join(&domain, &acceptor, domain.ca.digest(), None).await;
    assert!(refused.unwrap_err().contains("not signed by an authority"));
}

#[tokio::test]
async fn the_digest_of_a_leaf_pins_nothing() {
    let domain = Domain::new("aims.local");
    let identity = domain.identity("server");
    let digest = aims_crypto::sha256(identity.svid().der());
    let (settings, trust) = (domain.settings(), domain.trust());
    let acceptor = Acceptor::new(&settings, identity, trust, ClientAuth::Optional).unwrap();
    assert!(join(&domain, &acceptor, digest, None).await.is_err());
}

#[tokio::test]
async fn nobody_joins_with_certificates_that_have_expired() {
    let domain = Domain::new("aims.local");
    let acceptor = domain.acceptor("server", ClientAuth::Optional);
    domain.at(NOW + 2 * DAY);
    let refused = join(&domain, &acceptor, domain.ca.digest(), None).await;
    assert!(refused.unwrap_err().contains("expired"));
}
