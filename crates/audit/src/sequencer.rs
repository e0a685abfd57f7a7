//! Folding the server's outbox and the gateways' records into one tree.
//!
//! The store decides: a fold is a compare-and-swap on the newest checkpoint, so several servers
//! may fold at once and one wins. Tiles are durable before the checkpoint that promises them.

use std::sync::Arc;

use aims_crypto::sha256;
use aims_model::{Record, RecordError, Source};
use aims_store::{LogEntry, LogHead, Material, SourceHead, Store, Txn};
use aims_tlog::{Checkpoint, CheckpointSignError, Entry, Growth, KeyName, NoteSigner, Tree};
use aims_types::{Digest, Gateway, Id};
use tokio::sync::Mutex;

use crate::tiles::{TileDir, TileDirError};

/// Most records folded at once; bounds the memory and the length of the transaction.
pub const FOLD_LEN_MAX: u32 = 4096;
/// Most tries of a fold that another server overtakes.
const RACES_MAX: usize = 8;

/// Keeps the log: the only writer of tiles and checkpoints of this process.
pub struct Sequencer {
    store: Arc<dyn Store>,
    signer: NoteSigner,
    origin: KeyName,
    tiles: TileDir,
    tree: Mutex<Tree>,
}

/// One record of a gateway, with what it keeps apart from the log.
#[derive(Debug, Clone)]
pub struct Shipped {
    /// Its number within the gateway.
    pub seq: u64,
    /// The canonical record.
    pub record: Vec<u8>,
    /// Salt and bytes of what a decision used.
    pub material: Option<([u8; 16], Vec<u8>)>,
}

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] aims_store::Error),
    /// The tiles on disk are not those of the newest checkpoint.
    #[error("the log's tiles are not those of its checkpoint: {0}")]
    Tiles(String),
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
    /// The checkpoint could not be signed.
    #[error("the checkpoint can't be signed: {0}")]
    Sign(#[from] CheckpointSignError),
    /// A record in the outbox can't be read, or does not fit an entry.
    #[error("a stored record can't be read: {0}")]
    Record(String),
}

/// Why shipped records were not taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// They could not be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// A record is not in the one encoding.
    #[error("record {seq} can't be read: {reason}")]
    Malformed {
        /// Which.
        seq: u64,
        /// What is wrong.
        reason: RecordError,
    },
    /// A record names another source than the one that ships it, or another number.
    #[error("record {seq} says it is another gateway's or has another number")]
    Foreign {
        /// Which.
        seq: u64,
    },
    /// The records do not continue what is there: something was lost or rewritten.
    #[error("record {seq} does not continue the gateway's chain; a record was lost or rewritten")]
    Broken {
        /// Which.
        seq: u64,
    },
    /// What a record keeps apart is not what it commits to.
    #[error("the material of record {seq} is not what the record commits to")]
    Material {
        /// Which.
        seq: u64,
    },
}

/// A record on its way into the tree.
struct Pending {
    source: Source,
    seq: u64,
    record: Record,
    bytes: Vec<u8>,
}

impl Sequencer {
    /// Opens the log of `store`, checking that the tiles on disk lead to its newest checkpoint.
    pub async fn open(
        store: Arc<dyn Store>,
        signer: NoteSigner,
        tiles: TileDir,
    ) -> Result<Self, OpenError> {
        let head = store.read().await?.log_head().await?;
        let tree = load(&tiles, head.as_ref())?;
        let origin = signer.verifier_key().name().clone();
        Ok(Self {
            store,
            signer,
            origin,
            tiles,
            tree: Mutex::new(tree),
        })
    }

    /// Folds what the server's outbox has gained; returns the newest checkpoint.
    pub async fn fold(&self) -> Result<Option<LogHead>, FoldError> {
        self.fold_with(&[], Vec::new()).await
    }

    /// The last number of a gateway's records that the log has.
    pub async fn head_of(&self, gateway: Id<Gateway>) -> Result<u64, FoldError> {
        let sources = self.store.read().await?.log_sources().await?;
        Ok(source_head(&sources, Source::Gateway(gateway)).seq)
    }

    /// Takes over a gateway's records in order, and folds them. Records that the log already has
    /// are skipped. Returns the last number that the log has now.
    pub async fn take(
        &self,
        gateway: Id<Gateway>,
        shipped: Vec<Shipped>,
    ) -> Result<u64, TakeError> {
        let source = Source::Gateway(gateway);
        let sources = self.sources().await?;
        let mut head = source_head(&sources, source);
        let (mut pending, mut materials) = (Vec::new(), Vec::new());
        for one in shipped {
            let seq = one.seq;
            if seq <= head.seq {
                continue;
            }
            let record = Record::decode(&one.record)
                .map_err(|reason| TakeError::Malformed { seq, reason })?;
            if record.source != source || record.seq != seq {
                return Err(TakeError::Foreign { seq });
            }
            if seq != head.seq + 1 || record.prev != head.digest {
                return Err(TakeError::Broken { seq });
            }
            if let Some((salt, bytes)) = one.material {
                materials.push(material(&record, salt, bytes).ok_or(TakeError::Material { seq })?);
            }
            head = SourceHead {
                source,
                seq,
                digest: sha256(&one.record),
            };
            pending.push(Pending {
                source,
                seq,
                record,
                bytes: one.record,
            });
        }
        self.fold_with(&materials, pending).await?;
        Ok(head.seq)
    }

    async fn sources(&self) -> Result<Vec<SourceHead>, FoldError> {
        Ok(self.store.read().await?.log_sources().await?)
    }

    async fn fold_with(
        &self,
        materials: &[Material],
        shipped: Vec<Pending>,
    ) -> Result<Option<LogHead>, FoldError> {
        let mut tree = self.tree.lock().await;
        for _ in 0..RACES_MAX {
            match self.try_fold(&mut tree, materials, &shipped).await {
                Err(FoldError::Store(aims_store::Error::Raced)) => {
                    let head = self.store.read().await?.log_head().await?;
                    *tree = load(&self.tiles, head.as_ref())
                        .map_err(|error| FoldError::Record(error.to_string()))?;
                }
                done => return done,
            }
        }
        Err(FoldError::Store(aims_store::Error::Raced))
    }

    async fn try_fold(
        &self,
        tree: &mut Tree,
        materials: &[Material],
        shipped: &[Pending],
    ) -> Result<Option<LogHead>, FoldError> {
        let mut txn = self.store.begin().await?;
        let expected = txn.log_head().await?;
        if expected.as_ref().map_or(0, |head| head.size) != tree.size() {
            return Err(FoldError::Store(aims_store::Error::Raced));
        }
        let own = outbox(txn.as_mut()).await?;
        if own.is_empty() && shipped.is_empty() {
            return Ok(expected);
        }
        let all: Vec<&Pending> = own.iter().chain(shipped).collect();
        let growth = grow(tree, &all)?;
        self.tiles.write_all(&growth.files)?;
        let head = self.sign(&growth)?;
        let entries: Vec<LogEntry> = (tree.size()..)
            .zip(&all)
            .map(|(index, one)| LogEntry {
                index,
                source: one.source,
                seq: one.seq,
                task: one.record.event.task,
                record: one.bytes.clone(),
            })
            .collect();
        for one in materials {
            txn.material_insert(one).await?;
        }
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

fn load(tiles: &TileDir, head: Option<&LogHead>) -> Result<Tree, OpenError> {
    let Some(head) = head else {
        return Ok(Tree::empty());
    };
    Tree::load(tiles, head.size, &head.root).map_err(|error| OpenError::Tiles(error.to_string()))
}

/// Records of the server's own outbox that are not in the tree yet.
async fn outbox(txn: &mut dyn Txn) -> Result<Vec<Pending>, FoldError> {
    let after = source_head(&txn.log_sources().await?, Source::Server).seq;
    let rows = txn.outbox_after(after, FOLD_LEN_MAX).await?;
    let read = |(seq, bytes): (u64, Vec<u8>)| {
        let record = Record::decode(&bytes).map_err(|e| FoldError::Record(e.to_string()))?;
        Ok(Pending {
            source: Source::Server,
            seq,
            record,
            bytes,
        })
    };
    rows.into_iter().map(read).collect()
}

fn grow(tree: &Tree, pending: &[&Pending]) -> Result<Growth, FoldError> {
    let entries: Result<Vec<Entry>, _> = pending
        .iter()
        .map(|one| Entry::new(one.bytes.clone()))
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
        digest: aims_model::record::FIRST_PREV,
    })
}

/// The material of a record, if it is what the record's body commits to as `materials`.
fn material(record: &Record, salt: [u8; 16], bytes: Vec<u8>) -> Option<Material> {
    let commitment = commit(&salt, &bytes);
    let said: Digest = record.event.body.get("materials")?.as_str()?.parse().ok()?;
    let task = record.event.task?;
    (said == commitment).then_some(Material {
        task,
        commitment,
        salt,
        bytes,
    })
}

/// The salted commitment to what a decision used: SHA-256 of the salt and the bytes.
fn commit(salt: &[u8; 16], bytes: &[u8]) -> Digest {
    let mut hasher = aims_crypto::Hasher::new();
    hasher.update(salt);
    hasher.update(bytes);
    hasher.finish()
}
