//! Whom this process trusts to name its peers.

use std::sync::Arc;

use aims_x509::Bundle;
use arc_swap::ArcSwap;

/// The bundle of the trust domain, which may be replaced while the process runs: configurations
/// that hold it verify each new handshake with the one that is there then.
#[derive(Debug)]
pub struct Trust(ArcSwap<Bundle>);

impl Trust {
    /// Trusts the authorities of `bundle`.
    pub fn new(bundle: Bundle) -> Self {
        Self(ArcSwap::from_pointee(bundle))
    }

    /// Trusts the authorities of `bundle` from now on, and no others.
    pub fn replace(&self, bundle: Bundle) {
        self.0.store(Arc::new(bundle));
    }

    /// The bundle at present.
    pub fn bundle(&self) -> Arc<Bundle> {
        self.0.load_full()
    }
}
