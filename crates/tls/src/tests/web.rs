//! HTTPS whose clients may show a certificate of the trust domain, and no other.

use aims_x509::VerifySvidError::{Expired, Issuer, TrustDomain};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::*;
use crate::clock::ClockTime;
use crate::{PeerError, WebAcceptor};

/// A client of HTTPS that shows `identity`, if it has one.
fn client(domain: &Domain, identity: Option<Arc<Identity>>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from(domain.ca.der().to_vec());
    roots.add(ca).unwrap();
    let time = Arc::new(ClockTime(domain.clock.clone()));
    let builder = ClientConfig::builder_with_details(Arc::new(default_provider()), time)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config))
}

fn server(domain: &Domain, asking: bool) -> WebAcceptor {
    let settings = Settings {
        alpn: Vec::new(),
        ..domain.settings()
    };
    let acceptor = WebAcceptor::of_identity(&settings, domain.identity("server")).unwrap();
    if asking {
        acceptor.asking(domain.trust()).unwrap()
    } else {
        acceptor
    }
}

/// Who the server says that the client is.
async fn known(
    server: &WebAcceptor,
    client: &TlsConnector,
) -> Result<Option<PeerId>, HandshakeError> {
    let (near, far) = duplex(PIPE_LEN);
    let name = ServerName::try_from("localhost").unwrap();
    let (accepted, _) = tokio::join!(server.accept(near), client.connect(name, far));
    accepted.map(|(_, peer)| peer)
}

fn named(known: Result<Option<PeerId>, HandshakeError>) -> Option<String> {
    known.unwrap().map(|peer| peer.spiffe_id().to_string())
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate_where_it_is_asked_for_one() {
    let domain = Domain::new("aims.local");
    let mail = || Some(domain.identity("service/mail"));
    let asking = server(&domain, true);
    let found = named(known(&asking, &client(&domain, mail())).await);
    assert_eq!(found.as_deref(), Some("spiffe://aims.local/service/mail"));
    assert_eq!(named(known(&asking, &client(&domain, None)).await), None);
    let plain = server(&domain, false);
    assert_eq!(named(known(&plain, &client(&domain, mail())).await), None);
}

#[tokio::test]
async fn a_certificate_of_another_authority_ends_the_handshake() {
    let domain = Domain::new("aims.local");
    let asking = server(&domain, true);
    // Of another trust domain, and of the same one by name only.
    for (name, why) in [("other.local", TrustDomain), ("aims.local", Issuer)] {
        let other = Domain::new(name).identity("service/mail");
        let refused = known(&asking, &client(&domain, Some(other))).await;
        let Err(HandshakeError::Peer(PeerError::Svid(found))) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(found, why, "{name}");
    }
}

#[tokio::test]
async fn an_expired_certificate_ends_the_handshake() {
    let domain = Domain::new("aims.local");
    let mail = domain.identity("service/mail");
    let asking = server(&domain, true);
    domain.at(NOW + 2 * DAY);
    let (near, far) = duplex(PIPE_LEN);
    // The client's own clock says that everything is in time.
    let settled = Domain {
        clock: Arc::new(TestClock(AtomicU64::new(NOW))),
        key: SigningKey::generate(Alg::Es256).unwrap(),
        ca: domain.ca.clone(),
    };
    let name = ServerName::try_from("localhost").unwrap();
    let client = client(&settled, Some(mail));
    let (accepted, _) = tokio::join!(asking.accept(near), client.connect(name, far));
    let Err(HandshakeError::Peer(PeerError::Svid(found))) = accepted else {
        panic!("a certificate that has expired is taken");
    };
    assert_eq!(found, Expired);
}

#[tokio::test]
async fn a_certificate_without_its_key_ends_the_handshake() {
    let domain = Domain::new("aims.local");
    let asking = server(&domain, true);
    let thief = super::refused::stolen(&domain, "service/mail");
    let refused = known(&asking, &client(&domain, Some(thief))).await;
    assert!(
        matches!(refused, Err(HandshakeError::Tls(_))),
        "{refused:?}"
    );
}
