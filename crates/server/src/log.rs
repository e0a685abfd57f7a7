//! The log's rhythm: records are folded soon after they are written, and at the end.

use std::sync::Arc;
use std::time::Duration;

use aims_audit::{FoldError, Sequencer};
use tokio_util::sync::CancellationToken;

/// Pause between folds: how long a record of the server may wait for its checkpoint.
const FOLD_EVERY: Duration = Duration::from_millis(250);

/// Folds until `stopping`, and once more after that. If a tile could not be synced it says so by
/// `lost` and ends: only another process may rely on what is on the disk.
pub(crate) async fn keep_folding(
    sequencer: Arc<Sequencer>,
    stopping: CancellationToken,
    lost: CancellationToken,
) {
    loop {
        let is_over = stopping.is_cancelled();
        match sequencer.fold().await {
            Err(FoldError::Tiles(error)) if error.is_lost() => {
                tracing::error!(%error, "the log's tiles can't be synced");
                return lost.cancel();
            }
            // Nothing is lost: the records stay in the outbox until they can be folded.
            Err(error) => tracing::error!(%error, "the log can't take records now"),
            Ok(_) => {}
        }
        if is_over {
            return;
        }
        stopping
            .run_until_cancelled(tokio::time::sleep(FOLD_EVERY))
            .await;
    }
}
