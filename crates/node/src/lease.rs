//! The node's lease: what it vouches for lives only while it is held.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aims_lease::{Granted, Holder, NotHeld, Terms};
use aims_links::{Control, LeaseAsk, LeaseGrant, LinkError};
use aims_model::Point;
use aims_types::{Clock, Entropy, EntropyError, Revision, Timestamp};
use aims_workload::WorkloadApi;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::lives::Lives;

/// How often the lease is looked at. Sleeping until its very end would not do: the runtime's clock
/// stands still while the machine sleeps.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A node's lease and what is in force at it.
pub(crate) struct Lease {
    point: Point,
    control: Arc<dyn Control>,
    clock: Arc<dyn Clock>,
    holder: Mutex<Holder>,
    in_force: watch::Sender<Revision>,
}

impl Lease {
    /// No lease yet.
    pub(crate) fn new(
        point: Point,
        terms: Terms,
        control: Arc<dyn Control>,
        (clock, entropy): (Arc<dyn Clock>, &dyn Entropy),
    ) -> Result<Self, EntropyError> {
        let mut first = [0; 8];
        entropy.fill(&mut first)?;
        Ok(Self {
            point,
            control,
            clock,
            holder: Mutex::new(Holder::new(terms, u64::from_be_bytes(first))),
            in_force: watch::Sender::new(Revision::ZERO),
        })
    }

    /// Everything that `revision` cuts off has ended here.
    pub(crate) fn is_in_force(&self, revision: Revision) {
        self.in_force.send_if_modified(|in_force| {
            let newer = *in_force < revision;
            *in_force = revision.max(*in_force);
            newer
        });
    }

    /// Whether the lease is held now.
    pub(crate) fn check(&self) -> Result<(), NotHeld> {
        self.term().map(drop)
    }

    /// In which run of the lease without a gap this is: what the server said in an earlier one
    /// counts for nothing, as it may have ended it since without telling.
    pub(crate) fn term(&self) -> Result<u64, NotHeld> {
        let in_force = *self.in_force.borrow();
        let held = self.holder().holds(self.clock.boot(), in_force)?;
        Ok(held.term())
    }

    /// The server's wall time, if it was ever told: deadlines count on it.
    pub(crate) fn wall(&self) -> Option<Timestamp> {
        self.holder().wall(self.clock.boot())
    }

    /// Waits for the lease, for at most one length of it.
    pub(crate) async fn wait(&self) -> Result<(), NotHeld> {
        let held = async {
            while self.check().is_err() {
                sleep(LOOK_EVERY).await;
            }
        };
        let length = self.holder().terms().length();
        match timeout(length, held).await {
            Ok(()) => Ok(()),
            Err(_) => self.check(),
        }
    }

    /// Renews the lease for ever.
    pub(crate) async fn renew(&self) {
        let (every, length) = {
            let terms = self.holder().terms();
            (terms.renew_every(), terms.length())
        };
        loop {
            let renewed = timeout(length, self.ask()).await;
            let pause = match renewed {
                Ok(Ok(())) => every,
                Ok(Err(why)) => {
                    tracing::warn!(why, "the lease was not renewed");
                    every / 4
                }
                Err(_) => {
                    tracing::warn!("the server does not answer; the lease was not renewed");
                    Duration::ZERO
                }
            };
            sleep(pause).await;
        }
    }

    async fn ask(&self) -> Result<(), String> {
        let in_force = *self.in_force.borrow();
        let ask = LeaseAsk {
            point: self.point,
            in_force,
            head: None,
            address: None,
            telling: None,
        };
        let number = self.holder().ask(self.clock.boot()).number;
        let answer = self.control.lease_renew(ask).await;
        let grant = answer.map_err(|error: LinkError| error.to_string())?;
        let LeaseGrant {
            length,
            revision,
            server_time,
        } = grant.map_err(|refusal| refusal.reason)?;
        let granted = Granted {
            length,
            revision,
            server_time,
        };
        let counted = self.holder().granted(number, granted, self.clock.boot());
        counted.map(drop).map_err(|ignored| ignored.to_string())
    }

    /// Ends everything when the lease ends, each time that it does.
    pub(crate) async fn guard(&self, lives: &Lives, workloads: &OnceLock<WorkloadApi>) {
        loop {
            while self.check().is_err() {
                sleep(LOOK_EVERY).await;
            }
            metrics::gauge!("aims_node_lease_held").set(1.0);
            let why = loop {
                sleep(LOOK_EVERY).await;
                if let Err(why) = self.check() {
                    break why;
                }
            };
            metrics::gauge!("aims_node_lease_held").set(0.0);
            metrics::counter!("aims_node_leases_lost_total").increment(1);
            let processes = workloads.get().map_or(0, WorkloadApi::end_all);
            let ended = lives.end_all().await;
            tracing::warn!(%why, ended, processes, "the lease is lost; what ran here was ended");
        }
    }

    fn holder(&self) -> MutexGuard<'_, Holder> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
