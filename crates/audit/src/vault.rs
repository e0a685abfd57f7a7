//! What decisions used: kept sealed, read with the key of its task, erased with that key.

use std::sync::Arc;

use aims_crypto::SealError;
use aims_keys::{KeyStore, OpenDataKeyError};
use aims_model::material::MaterialError;
use aims_model::{Material, MaterialKey};
use aims_store::{MaterialKeyRow, Reader, SealedMaterial, Txn};
use aims_types::{Digest, Entropy, EntropyError, Id, Task};

/// What the keys are for; part of what their seals authenticate.
const PURPOSE: &str = "material";

/// The keys of materials, which lie in the store, sealed under the server's master key.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<KeyStore>,
    entropy: Arc<dyn Entropy>,
}

/// Why a key or a material can't be had.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] aims_store::Error),
    /// There is no randomness for a key.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A new key was not sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The stored key of a task is not one that this server sealed for it.
    #[error("the key of the materials of task `{task}`: {reason}")]
    Key {
        /// The task.
        task: Id<Task>,
        /// What is wrong with it.
        reason: OpenDataKeyError,
    },
    /// What is stored is not what was sealed for this commitment.
    #[error("the material `{commitment}` of task `{task}`: {reason}; restore a backup")]
    Material {
        /// The task.
        task: Id<Task>,
        /// Which one.
        commitment: Digest,
        /// What is wrong with it.
        reason: MaterialError,
    },
}

/// The key of a task's materials.
#[derive(Debug, Clone)]
pub enum TaskKey {
    /// There is none: nothing was ever kept.
    Never,
    /// It is here.
    Kept(MaterialKey),
    /// It was erased.
    Erased,
}

impl Vault {
    /// Keys sealed by `keys`.
    pub const fn new(keys: Arc<KeyStore>, entropy: Arc<dyn Entropy>) -> Self {
        Self { keys, entropy }
    }

    /// The key of a task's materials.
    pub async fn key(
        &self,
        reader: &mut dyn Reader,
        task: Id<Task>,
    ) -> Result<TaskKey, VaultError> {
        let sealed = match reader.material_key(task).await? {
            None => return Ok(TaskKey::Never),
            Some(MaterialKeyRow::Erased) => return Ok(TaskKey::Erased),
            Some(MaterialKeyRow::Kept(sealed)) => sealed,
        };
        let key = self
            .keys
            .data_key_open((PURPOSE, &task.to_string()), &sealed)
            .map_err(|reason| VaultError::Key { task, reason })?;
        Ok(TaskKey::Kept(MaterialKey::new(key)))
    }

    /// The key of a task's materials, made now if there was none; `None` if it was erased.
    pub async fn key_or_new(
        &self,
        txn: &mut dyn Txn,
        task: Id<Task>,
    ) -> Result<Option<MaterialKey>, VaultError> {
        match self.key(txn, task).await? {
            TaskKey::Kept(key) => return Ok(Some(key)),
            TaskKey::Erased => return Ok(None),
            TaskKey::Never => {}
        }
        let key = MaterialKey::generate(self.entropy.as_ref())?;
        let subject = task.to_string();
        let place = (PURPOSE, subject.as_str());
        let sealed = self
            .keys
            .data_key_seal(place, key.expose(), self.entropy.as_ref())?;
        txn.material_key_insert(task, &sealed).await?;
        Ok(Some(key))
    }

    /// What a decision used, by the commitment in its record; `None` if it never was or is erased.
    pub async fn material(
        &self,
        reader: &mut dyn Reader,
        commitment: &Digest,
    ) -> Result<Option<Material>, VaultError> {
        let Some(found) = reader.material(commitment).await? else {
            return Ok(None);
        };
        let TaskKey::Kept(key) = self.key(reader, found.task).await? else {
            return Ok(None);
        };
        opened(&key, &found).map(Some)
    }
}

fn opened(key: &MaterialKey, found: &SealedMaterial) -> Result<Material, VaultError> {
    let (task, commitment) = (found.task, found.commitment);
    key.open(task, &commitment, &found.sealed)
        .map_err(|reason| VaultError::Material {
            task,
            commitment,
            reason,
        })
}
