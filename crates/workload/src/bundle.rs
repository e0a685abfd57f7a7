//! The trust bundle as callers get it, kept fresh.

use std::sync::Arc;
use std::time::Duration;

use aims_jose::{Jwk, Jwks};
use aims_json::{Limits, Object, Value};
use aims_links::{Services, TrustBundle};
use aims_types::TrustDomain;
use tokio::sync::watch;
use tokio::time::sleep;

/// How long to wait before the server is asked again that did not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Bounds of how often the server is asked.
const REFRESH: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(5);

/// What verifies SVIDs of the trust domain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bundle {
    pub(crate) trust_domain: TrustDomain,
    /// The authorities' certificates in DER, one after the other (SPIFFE Workload API §5.2).
    pub(crate) x509: Vec<u8>,
    /// The keys of JWT-SVIDs as a JWK Set, with nothing of another use (§6.2.2).
    pub(crate) jwks: Vec<u8>,
    /// The same keys.
    pub(crate) keys: Jwks,
}

impl Bundle {
    /// The name of the trust domain as the maps of the API have it.
    pub(crate) fn name(&self) -> String {
        format!("spiffe://{}", self.trust_domain)
    }

    fn read(bundle: TrustBundle) -> Result<Self, String> {
        let mut keys = Vec::new();
        let mut values: Vec<Value> = Vec::new();
        for text in &bundle.jwt_keys {
            let value = aims_json::parse(text.as_bytes(), &Limits::TOKEN);
            let value = value.map_err(|error| error.to_string())?;
            let jwk = Jwk::parse(&value).map_err(|error| error.to_string())?;
            let Value::Object(object) = jwk.to_value() else {
                return Err("a key is no object".to_owned());
            };
            values.push(object.with("use", "jwt-svid").into());
            keys.push(jwk);
        }
        Ok(Self {
            trust_domain: bundle.trust_domain,
            x509: bundle.authorities.concat(),
            jwks: Value::from(Object::new().with("keys", values))
                .to_string()
                .into_bytes(),
            keys: Jwks::new(keys).map_err(|error| error.to_string())?,
        })
    }
}

/// Asks the server for the bundle for ever, and passes on what is new.
pub(crate) async fn keep_fresh(
    services: Arc<dyn Services>,
    newest: watch::Sender<Option<Arc<Bundle>>>,
) {
    loop {
        let pause = match services.trust_bundle().await {
            Ok(bundle) => {
                let refresh = bundle.refresh.clamp(*REFRESH.start(), *REFRESH.end());
                match Bundle::read(bundle) {
                    Ok(bundle) => offer(&newest, bundle),
                    Err(why) => tracing::error!(why, "the trust bundle can't be read"),
                }
                refresh
            }
            Err(error) => {
                tracing::warn!(%error, "the trust bundle is not known");
                RETRY
            }
        };
        sleep(pause).await;
    }
}

fn offer(newest: &watch::Sender<Option<Arc<Bundle>>>, bundle: Bundle) {
    newest.send_if_modified(|known| {
        let is_new = known.as_deref() != Some(&bundle);
        if is_new {
            *known = Some(Arc::new(bundle));
        }
        is_new
    });
}
