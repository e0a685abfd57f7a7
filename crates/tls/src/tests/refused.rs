use rustls::{AlertDescription, Error};

use aims_x509::VerifySvidError::{self, Issuer, TrustDomain};

use super::*;
use crate::{HANDSHAKE_TIMEOUT, PeerError};

/// The alert that the other side sent, or why this side sent one.
fn tls(error: &HandshakeError) -> &Error {
    match error {
        HandshakeError::Tls(error) => error,
        other => panic!("{other}"),
    }
}

/// Why this side refused the peer's certificate.
fn svid_error(error: &HandshakeError) -> VerifySvidError {
    match error {
        HandshakeError::Peer(PeerError::Svid(error)) => *error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_server_of_another_identity_is_refused_by_the_client() {
    let domain = Domain::new("aims.local");
    let acceptor = domain.acceptor("node/two", ClientAuth::Required);
    let connector = domain.connector(Some("node/one"), "server");
    let (accepted, connected) = shake(&acceptor, &connector).await;
    let error = connected.err().unwrap().to_string();
    assert!(
        error.contains("the peer is `spiffe://aims.local/node/two`"),
        "{error}"
    );
    assert!(accepted.is_err());
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused_by_the_client() {
    // Of another trust domain, and of the same one by name only.
    for name in ["other.local", "aims.local"] {
        let (domain, other) = (Domain::new("aims.local"), Domain::new(name));
        let acceptor = other.acceptor("server", ClientAuth::Optional);
        let connector = domain.connector(None, "server");
        let (accepted, connected) = shake(&acceptor, &connector).await;
        let error = svid_error(&connected.err().unwrap());
        assert!(matches!(error, TrustDomain | Issuer), "{error}");
        assert!(accepted.is_err());
    }
}

#[tokio::test]
async fn a_client_of_another_authority_is_refused_by_the_server() {
    for name in ["other.local", "aims.local"] {
        for auth in [ClientAuth::Required, ClientAuth::Optional] {
            let (domain, other) = (Domain::new("aims.local"), Domain::new(name));
            let acceptor = domain.acceptor("server", auth);
            let node = Some(other.identity("node/one"));
            let server: Expected = domain.ca.trust_domain().id("server").unwrap().into();
            let trust = domain.trust();
            let connector = Connector::new(&domain.settings(), node, trust, server).unwrap();
            let (accepted, connected) = shake(&acceptor, &connector).await;
            let error = svid_error(&accepted.err().unwrap());
            assert!(matches!(error, TrustDomain | Issuer), "{error}");
            no_byte_arrives(connected).await;
        }
    }
}

/// In TLS 1.3 the client has done its part before the server has looked at it: it learns of the
/// refusal by its first read.
async fn no_byte_arrives(connected: Connected) {
    if let Ok((mut stream, _)) = connected {
        assert!(stream.read_u8().await.is_err());
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    let domain = Domain::new("aims.local");
    let acceptor = domain.acceptor("server", ClientAuth::Required);
    let connector = domain.connector(None, "server");
    let (accepted, connected) = shake(&acceptor, &connector).await;
    let error = accepted.err().unwrap();
    assert_eq!(*tls(&error), Error::NoCertificatesPresented);
    no_byte_arrives(connected).await;
}

#[tokio::test]
async fn certificates_are_valid_by_the_clock_that_was_passed_in() {
    let domain = Domain::new("aims.local");
    let acceptor = domain.acceptor("server", ClientAuth::Required);
    let connector = domain.connector(Some("node/one"), "server");
    for (secs, error) in [
        (NOW - DAY - 1, Some(VerifySvidError::NotYetValid)),
        (NOW - DAY, None),
        (NOW + DAY, None),
        (NOW + DAY + 1, Some(VerifySvidError::Expired)),
    ] {
        domain.at(secs);
        let (accepted, connected) = shake(&acceptor, &connector).await;
        assert_eq!(
            connected.err().map(|error| svid_error(&error)),
            error,
            "{secs}"
        );
        let alert = error.map(|_| Error::AlertReceived(AlertDescription::CertificateExpired));
        let received = accepted.err().map(|error| tls(&error).clone());
        assert_eq!(received, alert, "{secs}");
    }
}

#[tokio::test]
async fn an_expired_client_is_refused_by_the_server() {
    let (domain, slow) = (Domain::new("aims.local"), TestClock(AtomicU64::new(NOW)));
    let acceptor = domain.acceptor("server", ClientAuth::Required);
    let signer = key();
    let svid = domain.svid("node/one", &signer, days(1, 0));
    let node = Some(Arc::new(Identity::new(svid, &domain.ca, signer).unwrap()));
    let expected: Expected = domain.ca.trust_domain().id("server").unwrap().into();
    let settings = Settings {
        clock: Arc::new(slow),
        ..domain.settings()
    };
    let connector = Connector::new(&settings, node, domain.trust(), expected).unwrap();
    assert!(shake(&acceptor, &connector).await.0.is_ok());
    domain.at(NOW + 1);
    let (accepted, connected) = shake(&acceptor, &connector).await;
    let error = svid_error(&accepted.err().unwrap());
    assert_eq!(error, VerifySvidError::Expired);
    no_byte_arrives(connected).await;
}

/// Shows the certificate of one key and signs with another.
struct Thief(Arc<SigningKey>, Arc<SigningKey>);

impl Signer for Thief {
    fn public(&self) -> &aims_crypto::PublicKey {
        self.0.public()
    }

    fn sign(&self, message: &[u8]) -> Result<aims_crypto::Signature, aims_crypto::SignError> {
        self.1.sign(message)
    }
}

/// The identity of somebody who has a certificate and not its key.
pub(super) fn stolen(domain: &Domain, path: &str) -> Arc<Identity> {
    let victim = key();
    let svid = domain.svid(path, &victim, days(1, 1));
    let thief = Arc::new(Thief(victim, key()));
    Arc::new(Identity::new(svid, &domain.ca, thief).unwrap())
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let domain = Domain::new("aims.local");
    let thief = stolen(&domain, "node/one");
    let acceptor = domain.acceptor("server", ClientAuth::Required);
    let expected: Expected = domain.ca.trust_domain().id("server").unwrap().into();
    let trust = domain.trust();
    let connector = Connector::new(&domain.settings(), Some(thief), trust, expected).unwrap();
    let (accepted, connected) = shake(&acceptor, &connector).await;
    let error = accepted.err().unwrap().to_string();
    assert!(error.contains("BadSignature"), "{error}");
    no_byte_arrives(connected).await;
}

#[tokio::test]
async fn ends_that_share_no_protocol_do_not_connect() {
    let domain = Domain::new("aims.local");
    let acceptor = domain.acceptor("server", ClientAuth::Required);
    for alpn in [vec![b"http/1.1".to_vec()], Vec::new()] {
        let settings = Settings {
            alpn,
            ..domain.settings()
        };
        let identity = Some(domain.identity("node/one"));
        let expected: Expected = domain.ca.trust_domain().id("server").unwrap().into();
        let connector = Connector::new(&settings, identity, domain.trust(), expected).unwrap();
        let (accepted, _) = shake(&acceptor, &connector).await;
        assert!(matches!(
            accepted.err().unwrap(),
            HandshakeError::Alpn | HandshakeError::Tls(Error::NoApplicationProtocol)
        ));
    }
}

#[tokio::test]
async fn bytes_that_are_no_tls_are_refused() {
    let domain = Domain::new("aims.local");
    let acceptor = domain.acceptor("server", ClientAuth::Required);
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: aims.local\r\n\r\n"[..],
        &[0; 512],
        &[0x16; 512],
    ] {
        let (near, mut far) = duplex(PIPE_LEN);
        far.write_all(garbage).await.unwrap();
        let refused = acceptor.accept(near).await.err().unwrap();
        tls(&refused);
    }
    let (near, far) = duplex(PIPE_LEN);
    drop(far);
    let broken = acceptor.accept(near).await.err().unwrap();
    assert!(matches!(broken, HandshakeError::Io(_)));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_does_not_hold_a_handshake_for_ever() {
    let domain = Domain::new("aims.local");
    let acceptor = domain.acceptor("server", ClientAuth::Required);
    let (near, _silent) = duplex(PIPE_LEN);
    let before = tokio::time::Instant::now();
    let refused = acceptor.accept(near).await.err().unwrap();
    assert!(matches!(refused, HandshakeError::Timeout));
    assert!(before.elapsed() >= HANDSHAKE_TIMEOUT);
}
