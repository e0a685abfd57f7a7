//! A verified TLS connection to exactly the registered host.

use std::net::SocketAddr;
use std::sync::Arc;

use aims_edge::Wire;
use aims_model::UpstreamSpec;
use aims_tls::time_provider;
use aims_types::Clock;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::egress::resolve::{self, ConnectFault};

/// Where systems keep the certificates that they trust: Debian, Fedora, Alpine and others.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialFault {
    /// The host was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectFault),
    /// There is nothing to verify its certificate with.
    #[error("there are no certificates to verify the upstream with; an operator has to look")]
    Roots,
    /// The configuration of TLS could not be made.
    #[error("the upstream's TLS could not be set up")]
    Tls(#[from] rustls::Error),
    /// It is not who it should be, or does not speak TLS.
    #[error("the upstream did not prove who it is")]
    Handshake(#[source] std::io::Error),
}

/// Connects to the upstream; nothing but a handshake goes out before it has proved who it is.
pub(super) async fn dial(
    core: &Core,
    spec: &UpstreamSpec,
    cut: &CancellationToken,
) -> Result<TlsStream<Wire>, DialFault> {
    let config = config(core, spec)?;
    let host = spec.origin().host().as_str();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectFault::Name)?;
    let within = core.config.limits.connect;
    let addresses = addresses(core, spec).await?;
    let stream: TcpStream = resolve::dial(&addresses, within).await?;
    let line = Wire::new(stream, cut.clone());
    let handshake = TlsConnector::from(config).connect(name, line);
    let shaken = timeout(within, handshake).await;
    shaken
        .map_err(|_| ConnectFault::Unreachable)?
        .map_err(DialFault::Handshake)
}

/// Where the host is: what an operator said, else what DNS says, if it is public or the
/// registration says that it need not be.
async fn addresses(core: &Core, spec: &UpstreamSpec) -> Result<Vec<SocketAddr>, ConnectFault> {
    let (host, port) = (spec.origin().host().as_str(), spec.origin().port());
    if let Some(named) = core.config.egress.hosts.get(host) {
        return Ok(vec![SocketAddr::new(*named, port)]);
    }
    let within = core.config.limits.connect;
    if spec.private() {
        return resolve::resolve_any(host, port, within).await;
    }
    resolve::resolve(host, port, within).await
}

/// The certificate has to lead to the registered ones, or to those that this host trusts, and to
/// name the host (RFC 9525). Nothing is resumed: each connection proves it anew.
fn config(core: &Core, spec: &UpstreamSpec) -> Result<Arc<ClientConfig>, DialFault> {
    let roots = match spec.ca() {
        Some(pem) => Arc::new(roots(pem.as_bytes()).ok_or(DialFault::Roots)?),
        None => system(core)?,
    };
    let clock: Arc<dyn Clock> = Arc::clone(&core.clock);
    let mut config =
        ClientConfig::builder_with_details(Arc::new(default_provider()), time_provider(clock))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn system(core: &Core) -> Result<Arc<RootCertStore>, DialFault> {
    let cell = &core.upstreams.system;
    if let Some(roots) = cell.get() {
        return Ok(Arc::clone(roots));
    }
    let read = SYSTEM_ROOTS
        .iter()
        .find_map(|path| roots(&std::fs::read(path).ok()?));
    let roots = Arc::new(read.ok_or(DialFault::Roots)?);
    Ok(Arc::clone(cell.get_or_init(|| roots)))
}

/// The certificates of a PEM text; none if there is one that can't be read, or no one at all.
fn roots(pem: &[u8]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.ok()?).ok()?;
    }
    (!roots.is_empty()).then_some(roots)
}
