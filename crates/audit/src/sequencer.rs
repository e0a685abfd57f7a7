//! Folding the server's outbox and the gateways' records into one tree.
//!
//! The store decides: a fold is a compare-and-swap on the newest checkpoint, in one transaction
//! that excludes others while the tiles are written. Tiles are durable before the checkpoint that
//! promises them; tiles that no checkpoint promised are written anew by the next fold.
//!
//! What decisions used is checked against its commitment and kept sealed in the same transaction,
//! or dropped if its task was erased, whenever it comes; the record is taken either way.
//!
//! What the server committed before a fold comes before what gateways ship in it: a record of an
//! action follows the records of the authority it used.

mod kept;
mod shipped;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aims_model::record::FIRST_PREV;
use aims_model::{Record, Source};
use aims_store::{LogEntry, LogHead, SourceHead, Store, Txn};
use aims_tlog::{
    Checkpoint, CheckpointSignError, Entry, Growth, KeyName, LoadError, NoteSigner, Tree,
    VerifierKey,
};
use aims_types::{Gateway, Id};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Mutex;

use crate::prove::{NotProven, Proven, Wanted, prove};
use crate::tiles::{TileDir, TileDirError};
use crate::vault::{Vault, VaultError};

pub use shipped::{Shipped, TakeError};

use shipped::{Batch, Taken};

/// Most records of the server, and most of a gateway, that are folded at once; bounds the memory
/// and the length of the transaction.
pub const FOLD_LEN_MAX: u32 = 4096;
/// Most tries of a fold that another server overtakes.
const RACES_MAX: usize = 8;

/// Keeps the log: the only writer of tiles and checkpoints of this process.
pub struct Sequencer {
    store: Arc<dyn Store>,
    signer: NoteSigner,
    origin: KeyName,
    tiles: TileDir,
    vault: Vault,
    /// As of the last fold of this process; another one may have gone on since.
    tree: Mutex<Tree>,
}

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] aims_store::Error),
    /// The tiles on disk are not those of the newest checkpoint.
    #[error("the log's tiles are not those of its checkpoint; restore them: {0}")]
    Tiles(#[from] LoadError<TileDirError>),
}

/// Why records were not folded. Nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The store did not answer, or other servers were faster again and again.
    #[error(transparent)]
    Store(#[from] aims_store::Error),
    /// The tiles could not be written.
    #[error("the log can't be written: {0}")]
    Tiles(#[from] TileDirError),
    /// The tiles on disk are not those of the newest checkpoint.
    #[error("the log's tiles are not those of its checkpoint; restore them: {0}")]
    OtherTiles(#[from] LoadError<TileDirError>),
    /// The checkpoint could not be signed.
    #[error("the checkpoint can't be signed: {0}")]
    Sign(#[from] CheckpointSignError),
    /// A record in the outbox can't be read, or does not fit an entry.
    #[error("a stored record can't be read: {0}")]
    Record(String),
    /// What decisions used can't be kept.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// What one fold did.
struct Folded {
    head: Option<LogHead>,
    /// The last number of the gateway's records in the log.
    taken: u64,
    /// The outbox may hold more.
    more: bool,
}

impl Sequencer {
    /// Opens the log of `store`, checking that the tiles on disk lead to its newest checkpoint.
    /// What decisions used is kept in `vault`.
    pub async fn open(
        store: Arc<dyn Store>,
        signer: NoteSigner,
        tiles: TileDir,
        vault: Vault,
    ) -> Result<Self, OpenError> {
        let head = store.read().await?.log_head().await?;
        let tree = load(&tiles, head.as_ref())?;
        let origin = signer.verifier_key().name().clone();
        Ok(Self {
            store,
            signer,
            origin,
            tiles,
            vault,
            tree: Mutex::new(tree),
        })
    }

    /// Folds what the server's outbox has gained; returns the newest checkpoint.
    pub async fn fold(&self) -> Result<Option<LogHead>, FoldError> {
        match self.fold_with(None).await {
            Ok(folded) => Ok(folded.head),
            Err(TakeError::Fold(error)) => Err(error),
            Err(error) => Err(FoldError::Record(error.to_string())),
        }
    }

    /// The key that verifies the log's checkpoints.
    pub const fn verifier_key(&self) -> &VerifierKey {
        self.signer.verifier_key()
    }

    /// Proves places in a tree that was published, and that it continues an earlier one.
    pub fn prove(&self, wanted: &Wanted) -> Result<Proven, NotProven> {
        blocking(|| prove(&self.tiles, wanted))
    }

    /// The last number of a gateway's records that the log has.
    pub async fn head_of(&self, gateway: Id<Gateway>) -> Result<u64, FoldError> {
        let sources = self.store.read().await?.log_sources().await?;
        Ok(source_head(&sources, Source::Gateway(gateway)).seq)
    }

    /// Takes over a gateway's records in order, and folds them. Records that the log already has
    /// are skipped. Returns the last number that the log has now.
    ///
    /// At most [`FOLD_LEN_MAX`] are taken at once: if there are more, those before a bad one may
    /// have been taken when this fails.
    pub async fn take(
        &self,
        gateway: Id<Gateway>,
        shipped: Vec<Shipped>,
    ) -> Result<u64, TakeError> {
        let source = Source::Gateway(gateway);
        let mut shipped = shipped.into_iter();
        loop {
            let some = shipped.by_ref().take(FOLD_LEN_MAX as usize);
            let batch = Batch::check(source, some)?;
            if batch.is_empty() {
                return Ok(self.head_of(gateway).await?);
            }
            let taken = self.fold_with(Some(&batch)).await?.taken;
            if shipped.len() == 0 {
                return Ok(taken);
            }
        }
    }

    async fn fold_with(&self, batch: Option<&Batch>) -> Result<Folded, TakeError> {
        let mut tree = self.tree.lock().await;
        let mut races = 0;
        loop {
            match self.try_fold(&mut tree, batch).await {
                Ok(folded) if folded.more => {}
                Err(TakeError::Fold(FoldError::Store(aims_store::Error::Raced)))
                    if races < RACES_MAX =>
                {
                    races += 1;
                }
                done => return done,
            }
        }
    }

    async fn try_fold(&self, tree: &mut Tree, batch: Option<&Batch>) -> Result<Folded, TakeError> {
        let mut txn = self.store.begin().await.map_err(FoldError::from)?;
        let sources = txn.log_sources().await.map_err(FoldError::from)?;
        let own = outbox(txn.as_mut(), &sources).await?;
        let more = own.len() >= FOLD_LEN_MAX as usize;
        // Ours come first, so that what an action rests on is in the log before the action.
        let batch = batch.filter(|_| !more);
        let shipped = match batch {
            Some(batch) => batch.after(&source_head(&sources, batch.source()))?,
            None => &[],
        };
        let mut taken = batch.map_or(0, |batch| source_head(&sources, batch.source()).seq);
        taken = shipped.last().map_or(taken, |last| last.entry.seq);
        kept::keep(&self.vault, txn.as_mut(), shipped).await?;
        let head = self.publish(txn, tree, own, shipped).await?;
        Ok(Folded { head, taken, more })
    }

    async fn publish(
        &self,
        mut txn: Box<dyn Txn>,
        tree: &mut Tree,
        own: Vec<LogEntry>,
        shipped: &[Taken],
    ) -> Result<Option<LogHead>, FoldError> {
        let expected = txn.log_head().await?;
        if own.is_empty() && shipped.is_empty() {
            return Ok(expected);
        }
        let is_current = match &expected {
            Some(head) => (head.size, head.root) == (tree.size(), tree.root()),
            None => tree.size() == 0,
        };
        if !is_current {
            *tree = load(&self.tiles, expected.as_ref())?;
        }
        let shipped_entries = shipped.iter().map(|one| one.entry.clone());
        let mut entries: Vec<LogEntry> = own.into_iter().chain(shipped_entries).collect();
        for (index, entry) in (tree.size()..).zip(&mut entries) {
            entry.index = index;
        }
        let growth = grow(tree, &entries)?;
        blocking(|| self.tiles.write_all(&growth.files))?;
        let head = self.sign(&growth)?;
        txn.log_append(expected.as_ref(), &entries, &head).await?;
        txn.commit(Vec::new()).await?;
        *tree = growth.tree;
        Ok(Some(head))
    }

    fn sign(&self, growth: &Growth) -> Result<LogHead, FoldError> {
        let (size, root) = (growth.tree.size(), growth.tree.root());
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size,
            root,
        };
        let note = checkpoint.sign(&self.signer)?;
        Ok(LogHead {
            size,
            root,
            checkpoint: note.to_string(),
        })
    }
}

/// Lets other tasks run elsewhere while this thread waits for the disk. The write is never left
/// behind half done by a dropped future: nothing in it can be awaited.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn load(tiles: &TileDir, head: Option<&LogHead>) -> Result<Tree, LoadError<TileDirError>> {
    match head {
        Some(head) => Tree::load(tiles, head.size, &head.root),
        None => Ok(Tree::empty()),
    }
}

/// Records of the server's own outbox that are not in the tree yet, without their places in it.
async fn outbox(txn: &mut dyn Txn, sources: &[SourceHead]) -> Result<Vec<LogEntry>, FoldError> {
    let after = source_head(sources, Source::Server).seq;
    let rows = txn.outbox_after(after, FOLD_LEN_MAX).await?;
    let read = |(seq, bytes): (u64, Vec<u8>)| {
        let record = Record::decode(&bytes);
        let record = record.map_err(|e| FoldError::Record(format!("record {seq}: {e}")))?;
        Ok(LogEntry {
            index: 0,
            source: Source::Server,
            seq,
            task: record.event.task,
            record: bytes,
        })
    };
    rows.into_iter().map(read).collect()
}

fn grow(tree: &Tree, entries: &[LogEntry]) -> Result<Growth, FoldError> {
    let entries: Result<Vec<Entry>, _> = entries
        .iter()
        .map(|one| Entry::new(one.record.clone()))
        .collect();
    let entries = entries.map_err(|error| FoldError::Record(error.to_string()))?;
    tree.append(entries)
        .map_err(|error| FoldError::Record(error.to_string()))
}

fn source_head(sources: &[SourceHead], source: Source) -> SourceHead {
    let found = sources.iter().find(|head| head.source == source);
    found.copied().unwrap_or(SourceHead {
        source,
        seq: 0,
        digest: FIRST_PREV,
    })
}
