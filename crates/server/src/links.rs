//! Nodes and gateways of other hosts: the server's identity, and where they reach it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aims_control::ControlPlane;
use aims_crypto::{Alg, Signer, SigningKey};
use aims_links::{Admit, Control, Services};
use aims_tls::{Acceptor, ClientAuth, Identity, Settings, Trust};
use aims_types::Actor;
use aims_types::ambient::SystemClock;
use aims_x509::{Bundle, CaCertificate, Svid};
use anyhow::{Context, Result};
use tokio::net::TcpListener;

use crate::Server;

/// The protocol inside TLS (RFC 9113 §3.2).
const H2: &[u8] = b"h2";
/// How often it is looked whether the server's certificate is past half of its life.
const LOOK_EVERY: Duration = Duration::from_mins(1);

impl Server {
    /// Serves nodes and gateways of other hosts at `listen`. Gives the address that was bound.
    pub async fn link(&self, listen: SocketAddr) -> Result<SocketAddr> {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("port {listen} can't be used"))?;
        let bound = listener.local_addr()?;
        let key = Arc::new(SigningKey::generate(Alg::Es256)?);
        let (svid, authority) = certificate(&self.plane, key.as_ref(), &[]).await?;
        let identity = Identity::new(svid, &authority, Arc::clone(&key) as Arc<dyn Signer>)?;
        let identity = Arc::new(identity);
        let trust = Arc::new(Trust::new(Bundle::new(vec![authority])?));
        let settings = Settings {
            clock: Arc::new(SystemClock),
            alpn: vec![H2.to_vec()],
        };
        // Who joins has no certificate yet.
        let auth = ClientAuth::Optional;
        let acceptor = Acceptor::new(&settings, Arc::clone(&identity), trust, auth)?;
        let (plane, stopping) = (self.plane.clone(), self.stopping.clone());
        self.tasks.spawn(async move {
            let renewing = keep_renewed(&plane, &identity, &key, &[]);
            stopping.run_until_cancelled(renewing).await;
        });
        let control = Arc::new(self.plane.clone()) as Arc<dyn Control>;
        let admit = Arc::new(self.plane.clone()) as Arc<dyn Admit>;
        let services = Arc::new(self.plane.clone()) as Arc<dyn Services>;
        let (ends, stopping) = ((control, admit, services), self.stopping.clone());
        self.tasks.spawn(async move {
            let served = aims_grpc_api::serve(listener, acceptor, ends, stopping).await;
            if let Err(error) = served {
                tracing::error!(%error, "nodes and gateways of other hosts are not served");
            }
        });
        Ok(bound)
    }
}

/// A certificate for the server's key, which lives as long as the process.
pub(crate) async fn certificate(
    plane: &ControlPlane,
    key: &SigningKey,
    hosts: &[String],
) -> Result<(Svid, CaCertificate)> {
    let cx = plane.cx(Actor::Server)?;
    let issued = plane.server_svid(&cx, key.public(), hosts).await?;
    let leaf = issued.chain.first().context("no certificate was issued")?;
    let authority = issued.bundle.first().context("the bundle is empty")?;
    Ok((Svid::from_der(leaf)?, CaCertificate::from_der(authority)?))
}

/// Renews the certificate from half of its life, for ever.
pub(crate) async fn keep_renewed(
    plane: &ControlPlane,
    identity: &Identity,
    key: &Arc<SigningKey>,
    hosts: &[String],
) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = plane.parts().clock.now();
        if now < identity.svid().validity().half_life() {
            continue;
        }
        let renewed = async {
            let (svid, authority) = certificate(plane, key, hosts).await?;
            let signer = Arc::clone(key) as Arc<dyn Signer>;
            anyhow::Ok(identity.renew(svid, &authority, signer)?)
        };
        if let Err(error) = renewed.await {
            tracing::error!(%error, "the server's certificate was not renewed");
        }
    }
}
