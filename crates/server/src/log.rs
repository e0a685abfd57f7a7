//! The log's rhythm: records are folded soon after they are written, and at the end.

use std::sync::Arc;
use std::time::Duration;

use aims_audit::Sequencer;
use tokio_util::sync::CancellationToken;

/// Pause between folds: how long a record of the server may wait for its checkpoint.
const FOLD_EVERY: Duration = Duration::from_millis(250);

/// Folds until `stopping`, and once more after that.
pub(crate) async fn keep_folding(sequencer: Arc<Sequencer>, stopping: CancellationToken) {
    while !stopping.is_cancelled() {
        fold(&sequencer).await;
        stopping
            .run_until_cancelled(tokio::time::sleep(FOLD_EVERY))
            .await;
    }
    fold(&sequencer).await;
}

async fn fold(sequencer: &Sequencer) {
    if let Err(error) = sequencer.fold().await {
        // Nothing is lost: the records stay in the outbox until they can be folded.
        tracing::error!(%error, "the log can't take records now");
    }
}
