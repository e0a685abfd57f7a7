//! The SPIFFE Workload API, vouched for by this node's lease.

use std::sync::Arc;

use aims_links::Services;
use aims_types::ambient::boot_id;
use aims_workload::{WorkloadApi, WorkloadConfig};
use tokio::net::UnixListener;

use crate::Node;

impl Node {
    /// Serves the SPIFFE Workload API on `listener` until [`Node::drain`]; give the future to a
    /// tracker. Nothing is handed out while the node holds no lease.
    pub fn serve_workloads(
        self: Arc<Self>,
        services: Arc<dyn Services>,
        listener: UnixListener,
    ) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
        let node = Arc::downgrade(&self);
        let config = WorkloadConfig {
            node: self.config.id,
            boot: boot_id()?,
            instances: self.uids.reserved(),
            is_held: Arc::new(move || {
                let node = node.upgrade();
                node.is_some_and(|node| node.lease.check().is_ok())
            }),
        };
        let (clock, entropy) = (Arc::clone(&self.clock), Arc::clone(&self.entropy));
        let api = WorkloadApi::new(config, services, clock, entropy);
        let api = self.workloads.get_or_init(|| api).clone();
        Ok(async move {
            if let Err(error) = api.serve(listener).await {
                tracing::error!(%error, "services get no identities");
            }
        })
    }
}
