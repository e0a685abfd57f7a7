//! Asking for the lease to be extended, and ending everything when it was not.

use std::sync::Arc;
use std::time::Duration;

use aims_lease::{Granted, NotHeld};
use aims_links::LeaseAsk;
use aims_model::Point;
use aims_types::Digest;
use tokio::time::{sleep, timeout};

use super::alarm;
use crate::core::Core;
use crate::journal::{Journal, ReadFault};

/// Longest pause after a renewal that failed.
const RETRY: Duration = Duration::from_millis(250);
/// Least pause between two renewals, whoever wants them.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// Why a renewal failed.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Link(#[from] aims_links::LinkError),
    #[error("refused (`{}`): {}", .0.code, .0.reason)]
    Refused(aims_links::Refusal),
    #[error("the server did not answer in time")]
    Silent,
    #[error(transparent)]
    Ignored(#[from] aims_lease::Ignored),
    #[error(transparent)]
    Log(#[from] ReadFault),
    #[error("the reader of the log was ended")]
    Ended,
}

/// Renews the lease, about thrice in its length, until the gateway stops.
///
/// One request at a time: a second one could overtake the first, and the end of the log that it
/// names would seem to go back.
pub(crate) async fn renew(core: Arc<Core>) {
    let every = core.lease.terms().renew_every();
    loop {
        let renewed = core.stopping.run_until_cancelled(renew_once(&core)).await;
        let pause = match renewed {
            // The log is handed over all the same.
            None => return core.lease.is_in_doubt(false),
            Some(Ok(())) => every,
            Some(Err(fault)) => {
                tell(&core, &fault);
                RETRY.min(every)
            }
        };
        let wanted = async {
            sleep(PAUSE_MIN.min(pause)).await;
            core.lease.wanted.notified().await;
        };
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return core.lease.is_in_doubt(false),
            () = wanted => {}
            () = sleep(pause) => {}
        }
    }
}

/// Asks once, and counts the answer.
async fn renew_once(core: &Core) -> Result<(), Fault> {
    let _telling = core.lease.tell().await;
    // In this order: the server takes it that the log held at this end whatever was recorded before
    // this revision was in force.
    let in_force = core.lease.in_force();
    let head = head(core).await?;
    let ask = LeaseAsk {
        point: Point::Gateway(core.config.id),
        in_force,
        head,
        address: core.config.edge.as_ref().map(|edge| edge.address.clone()),
        telling: None,
    };
    // Another one is due when this one takes so long.
    let within = core.lease.terms().renew_every();
    // The lease counts from before the request is sent.
    let asked = core.lease.ask();
    let telling = Some(core.lease.telling_of(asked));
    let answer = core.control.lease_renew(LeaseAsk { telling, ..ask });
    core.lease.is_in_doubt(true);
    let grant = timeout(within, answer).await.map_err(|_| Fault::Silent)??;
    // What was asked before this is not read after it as if it were news.
    core.lease.is_in_doubt(false);
    let grant = grant.map_err(Fault::Refused)?;
    let granted = Granted {
        length: grant.length,
        revision: grant.revision,
        server_time: grant.server_time,
    };
    core.lease.granted(asked, granted)?;
    metrics::counter!("aims_gateway_lease_renewals_total").increment(1);
    Ok(())
}

/// The log's last record: its number and the digest of its canonical bytes.
async fn head(core: &Core) -> Result<Option<(u64, Digest)>, Fault> {
    let wal = core.journal.wal();
    let seq = wal.head().seq;
    if seq == 0 {
        return Ok(None);
    }
    let read = tokio::task::spawn_blocking(move || Journal::read(&wal, seq, 1));
    let records = read.await.map_err(|_| Fault::Ended)??;
    let record = records.first().ok_or(Fault::Ended)?;
    Ok(Some((record.seq, aims_crypto::sha256(&record.record))))
}

/// Before the first grant the server may not know the gateway yet: that is no news.
fn tell(core: &Core, fault: &Fault) {
    metrics::counter!("aims_gateway_lease_failures_total").increment(1);
    if *core.lease.begun.borrow() {
        tracing::warn!(error = %fault, "the lease was not renewed; trying on");
    } else {
        tracing::debug!(error = %fault, "no lease yet");
    }
}

/// Wakes at the end of the lease and cuts off everything that is under way, unless the lease was
/// renewed meanwhile.
pub(crate) async fn watch(core: Arc<Core>) {
    let mut was_held = false;
    loop {
        match core.lease.look() {
            Ok(held) => {
                was_held = true;
                metrics::gauge!("aims_gateway_lease_held").set(1.0);
                let left = held.until().since(core.clock.boot());
                tokio::select! {
                    biased;
                    () = core.stopping.cancelled() => return,
                    () = core.lease.look.notified() => {}
                    () = alarm::sleep(left) => {}
                }
            }
            Err(why) => {
                if std::mem::take(&mut was_held) {
                    ended(&core, why);
                }
                tokio::select! {
                    biased;
                    () = core.stopping.cancelled() => return,
                    () = core.lease.look.notified() => {}
                }
            }
        }
    }
}

/// Cuts off everything. In a task of its own: what takes long to end must not keep anybody from
/// looking at the next lease.
fn ended(core: &Arc<Core>, why: NotHeld) {
    metrics::gauge!("aims_gateway_lease_held").set(0.0);
    metrics::counter!("aims_gateway_leases_lost_total").increment(1);
    tracing::warn!(%why, "the lease has ended: everything is cut off and denied");
    core.lease.wanted.notify_one();
    core.upstreams.forget();
    let ending = Arc::clone(core);
    core.tasks.spawn(async move {
        let cut = ending.live.cut_all().await;
        tracing::warn!(?cut, "what was under way has ended with the lease");
    });
}
