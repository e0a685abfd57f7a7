//! The log's rhythm: records are folded soon after they are written, and at the end.

use std::sync::Arc;
use std::time::Duration;

use aims_audit::{FoldError, Sequencer, Shipped, TakeError};
use aims_control::{RecordSink, RecordSinkError};
use aims_links::ShippedRecord;
use aims_types::{Gateway, Id};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

/// Pause between folds: how long a record of the server may wait for its checkpoint.
const FOLD_EVERY: Duration = Duration::from_millis(250);

/// Folds until `stopping`, and once more after that.
pub(crate) async fn keep_folding(sequencer: Arc<Sequencer>, stopping: CancellationToken) {
    while !stopping.is_cancelled() {
        fold(&sequencer).await;
        stopping.run_until_cancelled(tokio::time::sleep(FOLD_EVERY)).await;
    }
    fold(&sequencer).await;
}

async fn fold(sequencer: &Sequencer) {
    if let Err(error) = sequencer.fold().await {
        // Nothing is lost: the records stay in the outbox until they can be folded.
        tracing::error!(%error, "the log can't take records now");
    }
}

/// The log as the control plane sees it.
pub(crate) struct Log(pub(crate) Arc<Sequencer>);

#[async_trait]
impl RecordSink for Log {
    async fn take(
        &self,
        gateway: Id<Gateway>,
        records: Vec<ShippedRecord>,
    ) -> Result<u64, RecordSinkError> {
        let shipped = records.into_iter().map(|one| Shipped {
            seq: one.seq,
            record: one.record,
            material: one.material,
        });
        self.0.take(gateway, shipped.collect()).await.map_err(|error| match error {
            TakeError::Fold(error) => unavailable(&error),
            refused => RecordSinkError::Refused(refused.to_string()),
        })
    }

    async fn head(&self, gateway: Id<Gateway>) -> Result<u64, RecordSinkError> {
        self.0.head_of(gateway).await.map_err(|error| unavailable(&error))
    }
}

fn unavailable(error: &FoldError) -> RecordSinkError {
    RecordSinkError::Unavailable(error.to_string())
}
