//! Keys that seal data: 32 bytes that lie elsewhere, sealed under the master key.

use aims_crypto::{OpenError, SEAL_OVERHEAD, SealError};
use aims_types::{Entropy, Secret};

use crate::KeyStore;

/// Length of a data key, in bytes.
pub const DATA_KEY_LEN: usize = 32;
/// Length of a sealed data key, in bytes.
pub const SEALED_DATA_KEY_LEN: usize = DATA_KEY_LEN + SEAL_OVERHEAD;
/// What each context begins with, so that no data key is taken for another kind of secret.
const CONTEXT: &str = "data";

/// Why a data key was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenDataKeyError {
    /// It was sealed for something else, under another master key, or was changed.
    #[error("a data key does not open; restore the store and the master key that belong together")]
    InternalTampered,
    /// The backend refused the master key.
    #[error(transparent)]
    InternalSeal(#[from] SealError),
}

impl From<OpenError> for OpenDataKeyError {
    fn from(_: OpenError) -> Self {
        Self::InternalTampered
    }
}

impl KeyStore {
    /// Seals a data key for one use and one subject: `material`, `tsk_…`. Each subject has a
    /// sealing key of its own, derived from the master key.
    pub fn data_key_seal(
        &self,
        (purpose, subject): (&str, &str),
        key: &[u8; DATA_KEY_LEN],
        entropy: &dyn Entropy,
    ) -> Result<[u8; SEALED_DATA_KEY_LEN], SealError> {
        let context = context(purpose, subject);
        let sealed = self
            .master()
            .derive(&context)?
            .seal(entropy, context.as_bytes(), key)?;
        // INVARIANT: a sealed message is as much longer as `SEAL_OVERHEAD` says.
        <[u8; SEALED_DATA_KEY_LEN]>::try_from(sealed).map_err(|_| SealError::InternalBackend)
    }

    /// Opens a data key that was sealed for this use and subject.
    pub fn data_key_open(
        &self,
        (purpose, subject): (&str, &str),
        sealed: &[u8],
    ) -> Result<Secret<[u8; DATA_KEY_LEN]>, OpenDataKeyError> {
        let context = context(purpose, subject);
        let plain = self.master().derive(&context)?;
        let plain = plain.open(context.as_bytes(), sealed)?;
        let key = <[u8; DATA_KEY_LEN]>::try_from(plain.expose().as_slice());
        key.map(Secret::new)
            .map_err(|_| OpenDataKeyError::InternalTampered)
    }
}

fn context(purpose: &str, subject: &str) -> String {
    format!("{CONTEXT}/{purpose}/{subject}")
}

#[cfg(test)]
mod tests {
    use aims_types::ambient::SystemEntropy;

    use super::*;
    use crate::MasterKey;

    fn store(parent: &tempfile::TempDir, name: &str) -> KeyStore {
        let master = parent.path().join(format!("{name}.master"));
        let master = MasterKey::create(&master, &SystemEntropy).unwrap();
        KeyStore::open(&parent.path().join(name), master, &SystemEntropy).unwrap()
    }

    #[test]
    fn a_data_key_opens_only_for_its_use_and_subject_under_its_master_key() {
        let parent = tempfile::tempdir().unwrap();
        let (one, other) = (store(&parent, "one"), store(&parent, "other"));
        let key = [7; DATA_KEY_LEN];
        let sealed = one
            .data_key_seal(("material", "tsk_1"), &key, &SystemEntropy)
            .unwrap();
        assert!(!sealed.windows(4).any(|bytes| bytes == [7; 4]));
        let opened = one.data_key_open(("material", "tsk_1"), &sealed).unwrap();
        assert_eq!(*opened.expose(), key);
        let tampered = |done: Result<_, _>| {
            matches!(done.map(|_| ()), Err(OpenDataKeyError::InternalTampered))
        };
        assert!(tampered(one.data_key_open(("material", "tsk_2"), &sealed)));
        assert!(tampered(one.data_key_open(("upstream", "tsk_1"), &sealed)));
        assert!(tampered(
            other.data_key_open(("material", "tsk_1"), &sealed)
        ));
        let zeroes = [0; SEALED_DATA_KEY_LEN];
        assert!(tampered(one.data_key_open(("material", "tsk_1"), &zeroes)));
    }
}
