//! Clients that know nothing of SPIFFE.

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio_rustls::TlsConnector;

use super::*;
use crate::clock::ClockTime;

/// A client that trusts the authority as any authority of the Web.
fn client(domain: &Domain, version: &'static SupportedProtocolVersion) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from(domain.ca.der().to_vec());
    roots.add(ca).unwrap();
    let time = Arc::new(ClockTime(domain.clock.clone()));
    let config = ClientConfig::builder_with_details(Arc::new(default_provider()), time)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// A server for clients of any protocol.
fn server(domain: &Domain) -> Acceptor {
    let settings = Settings {
        alpn: Vec::new(),
        ..domain.settings()
    };
    let identity = domain.identity("server");
    Acceptor::new(&settings, identity, domain.trust(), ClientAuth::Optional).unwrap()
}

async fn connects(server: &Acceptor, client: &TlsConnector, name: &'static str) -> bool {
    let (near, far) = duplex(PIPE_LEN);
    let name = ServerName::try_from(name).unwrap();
    let (accepted, connected) = tokio::join!(server.accept(near), client.connect(name, far));
    accepted.is_ok_and(|(_, peer)| peer.is_none()) && connected.is_ok()
}

#[tokio::test]
async fn an_ordinary_client_knows_the_server_by_its_hosts() {
    let domain = Domain::new("aims.local");
    let (server, client) = (server(&domain), client(&domain, &TLS13));
    for (name, known) in [
        ("localhost", true),
        ("127.0.0.1", true),
        ("aims.local", false),
        ("127.0.0.2", false),
    ] {
        assert_eq!(connects(&server, &client, name).await, known, "{name}");
    }
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_refused() {
    let domain = Domain::new("aims.local");
    let client = client(&domain, &TLS12);
    assert!(!connects(&server(&domain), &client, "localhost").await);
}
