//! The control plane as a value.

use std::sync::Arc;
use std::time::Duration;

use aims_audit::Vault;
use aims_oauth::{HttpUri, HttpUriError};
use aims_store::Store;
use aims_types::{Actor, Cx, TrustDomain};
use tokio_util::task::TaskTracker;

use crate::keyring::{Keyring, KeyringError};
use crate::leases::Leases;
use crate::publish::{Publisher, UNLEASED_PATIENCE};
use crate::replay::Forgotten;
use crate::strangers::Strangers;
use crate::{Fault, Parts};

/// The server's use cases over one store. Cheap to clone.
#[derive(Clone)]
pub struct ControlPlane {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    trust_domain: TrustDomain,
    keyring: Keyring,
    token_endpoint: HttpUri,
    publisher: Publisher,
    forgotten: Forgotten,
    strangers: Strangers,
    /// Processes of hosts that fit no service.
    processes: Strangers,
    operations: TaskTracker,
}

/// Why there is no control plane.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store has no trust domain yet.
    #[error("the store is empty; initialise it first")]
    NotInitialised,
    /// The configured issuer is not a URL.
    #[error("the issuer `{issuer}` is not a URL: {why}")]
    Issuer {
        /// The issuer.
        issuer: String,
        /// What is wrong with it.
        why: HttpUriError,
    },
    /// The server has no key to sign with.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] aims_store::Error),
}

impl ControlPlane {
    /// Opens the control plane of a store that was initialised.
    pub async fn open(parts: Parts) -> Result<Self, OpenError> {
        Self::open_with(parts, UNLEASED_PATIENCE).await
    }

    /// The same, with another time that a point without a lease may take.
    pub(crate) async fn open_with(parts: Parts, patience: Duration) -> Result<Self, OpenError> {
        let domain = parts.store.read().await?.domain().await?;
        let domain = domain.ok_or(OpenError::NotInitialised)?;
        let keyring = Keyring::load(&parts).await?;
        let issuer = &parts.config.issuer;
        let token_endpoint =
            HttpUri::parse(&format!("{issuer}/token")).map_err(|why| OpenError::Issuer {
                issuer: issuer.clone(),
                why,
            })?;
        let inner = Inner {
            trust_domain: domain.trust_domain,
            keyring,
            token_endpoint,
            publisher: Publisher::new(patience, Leases::new(&parts)),
            forgotten: Forgotten::default(),
            strangers: Strangers::default(),
            processes: Strangers::default(),
            operations: TaskTracker::new(),
            parts,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.inner.trust_domain
    }

    /// What it was opened with.
    pub fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    /// The context of a request by `actor` that arrives now.
    pub fn cx(&self, actor: Actor) -> Result<Cx, Fault> {
        let parts = self.parts();
        Ok(Cx::new(
            actor,
            parts.clock.now(),
            Arc::clone(&parts.entropy),
        )?)
    }

    /// Waits until every operation that is under way has ended. Later operations still run.
    pub async fn drained(&self) {
        self.inner.operations.close();
        self.inner.operations.wait().await;
        self.inner.operations.reopen();
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.inner.parts.store.as_ref()
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.inner.keyring
    }

    /// What decisions used, and the keys of it.
    pub(crate) fn vault(&self) -> Vault {
        let parts = self.parts();
        Vault::new(Arc::clone(&parts.keys), Arc::clone(&parts.entropy))
    }

    pub(crate) fn token_endpoint(&self) -> &HttpUri {
        &self.inner.token_endpoint
    }

    pub(crate) fn forgotten(&self) -> &Forgotten {
        &self.inner.forgotten
    }

    pub(crate) fn strangers(&self) -> &Strangers {
        &self.inner.strangers
    }

    pub(crate) fn processes(&self) -> &Strangers {
        &self.inner.processes
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.inner.publisher
    }

    /// Runs an operation to its end even if the caller goes away: a change that was committed is
    /// always pushed to the gateways.
    pub(crate) async fn to_the_end<T, E, F>(&self, work: impl FnOnce(Self) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Fault> + Send + 'static,
    {
        let operation = self.inner.operations.spawn(work(self.clone()));
        operation
            .await
            .unwrap_or_else(|_| Err(Fault::Aborted.into()))
    }
}

impl std::fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlPlane")
            .field("trust_domain", self.trust_domain())
            .finish_non_exhaustive()
    }
}
