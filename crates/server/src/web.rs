//! HTTPS for agents that run elsewhere: the certificate that they are shown, and the OAuth
//! endpoints.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use aims_crypto::{Alg, Signer, SigningKey};
use aims_http_api::OAuth;
use aims_tls::{Identity, Settings, Trust, WebAcceptor};
use aims_types::ambient::SystemClock;
use aims_x509::{Bundle, CaCertificate};
use anyhow::{Context, Result, ensure};
use tokio::net::TcpListener;

use crate::Server;
use crate::config::{Config, OAuthConfig, PemFiles};
use crate::links::{certificate, keep_renewed};

/// The protocol inside TLS (RFC 9112).
const HTTP: &[u8] = b"http/1.1";
/// Bits of a mode that let others than the owner read.
const OTHERS: u32 = 0o077;

impl Server {
    /// Serves the OAuth endpoints; clients may show an X.509-SVID of the trust domain, and no other
    /// certificate. Gives the address that was bound.
    pub async fn oauth(&self, config: &OAuthConfig, shown: WebAcceptor) -> Result<SocketAddr> {
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("port {} can't be used", config.listen))?;
        let bound = listener.local_addr()?;
        let authorities = self.plane.bundle();
        let authorities = authorities.iter().map(|der| CaCertificate::from_der(der));
        let bundle = Bundle::new(authorities.collect::<Result<_, _>>()?)?;
        let shown = shown.asking(Arc::new(Trust::new(bundle)))?;
        let router = OAuth::new(self.plane.clone())?.router();
        let stopping = self.stopping.clone();
        self.tasks
            .spawn(aims_http_api::serve_tls(listener, shown, router, stopping));
        Ok(bound)
    }

    /// What agents are shown: an operator's certificate, or one of the trust domain's authority
    /// that names the hosts of the configuration and is renewed while the server runs.
    pub async fn web(&self, config: &Config, files: Option<&PemFiles>) -> Result<WebAcceptor> {
        if let Some(files) = files {
            return shown(files);
        }
        let key = Arc::new(SigningKey::generate(Alg::Es256)?);
        let hosts = config.hosts();
        let (svid, authority) = certificate(&self.plane, key.as_ref(), &hosts).await?;
        let signer = Arc::clone(&key) as Arc<dyn Signer>;
        let identity = Arc::new(Identity::new(svid, &authority, signer)?);
        let acceptor = WebAcceptor::of_identity(&settings(), Arc::clone(&identity))?;
        let (plane, stopping) = (self.plane.clone(), self.stopping.clone());
        self.tasks.spawn(async move {
            let renewing = keep_renewed(&plane, &identity, &key, &hosts);
            stopping.run_until_cancelled(renewing).await;
        });
        Ok(acceptor)
    }
}

/// An operator's certificate. Its key must be the service's alone to read.
pub fn shown(files: &PemFiles) -> Result<WebAcceptor> {
    let (chain, key) = (read(&files.certificate)?, read(&files.key)?);
    let found = fs::metadata(&files.key).with_context(|| files.key.display().to_string())?;
    ensure!(
        found.mode() & OTHERS == 0,
        "`{}` may be read by others; make its mode 600",
        files.key.display()
    );
    WebAcceptor::from_pem(&settings(), &chain, &key)
        .with_context(|| format!("the certificate `{}`", files.certificate.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("`{}` can't be read", path.display()))
}

fn settings() -> Settings {
    Settings {
        clock: Arc::new(SystemClock),
        alpn: vec![HTTP.to_vec()],
    }
}
