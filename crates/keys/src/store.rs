//! A directory of encrypted private keys.

use std::fs;
use std::path::{Path, PathBuf};

use aims_crypto::{Alg, KeyError, PublicKey, SealError, SealKey, Signer, SigningKey};
use aims_types::{Entropy, Id, Key};

use crate::files::{self, Custody, FileError, TEMPORARY_PREFIX};
use crate::record::{KEY_FILE_LEN_MAX, KeyInfo, Record};
use crate::{MasterKey, Purpose};

/// Most keys in one store.
pub const KEYS_MAX: usize = 1024;
/// The file that tells a wrong master key from a damaged store.
const CHECK_FILE: &str = "master.check";
/// What the check file seals.
const CHECK_TEXT: &[u8] = b"this store belongs to this master key";
/// Longest check file.
const CHECK_FILE_LEN_MAX: usize = 256;
/// Ends the name of a key file, after the id.
const KEY_FILE_SUFFIX: &str = ".key";

/// An open store.
///
/// Each key lies in a file of its own, sealed under a key derived from the master key and its id;
/// the seal also covers purpose, algorithm and public half. Writers may race: a key file is
/// written once and never replaced.
#[derive(Debug)]
pub struct KeyStore {
    directory: PathBuf,
    master: MasterKey,
}

/// A private key and what it is for.
#[derive(Debug)]
pub struct LoadedKey {
    /// What the key is for; authenticated together with it.
    pub info: KeyInfo,
    /// The key.
    pub key: SigningKey,
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The master key lies inside the store; one copy would take both.
    #[error("the master key `{0}` lies inside the key store; move it elsewhere")]
    CallerMasterInside(PathBuf),
    /// The store was made under another master key.
    #[error("the key store `{0}` belongs to another master key")]
    CallerWrongMaster(PathBuf),
    /// There are keys, but the file that says under which master key is gone.
    #[error("the key store `{0}` lost its file `master.check`; restore it from a backup")]
    InternalCheckMissing(PathBuf),
    /// The directory cannot be used.
    #[error(transparent)]
    InternalFile(#[from] FileError),
    /// The check file of a new store could not be sealed.
    #[error(transparent)]
    InternalSeal(#[from] SealError),
}

/// Why a key was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateKeyError {
    /// There is a key with this id; a key is never overwritten.
    #[error("there is a key `{0}` already; a key is never overwritten")]
    CallerExists(Id<Key>),
    /// The store is full.
    #[error("the key store holds {KEYS_MAX} keys already; destroy some first")]
    CallerFull,
    /// The file could not be written.
    #[error(transparent)]
    InternalFile(#[from] FileError),
    /// The key could not be made.
    #[error(transparent)]
    InternalKey(#[from] KeyError),
    /// The key could not be sealed.
    #[error(transparent)]
    InternalSeal(#[from] SealError),
}

/// Why a key was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadKeyError {
    /// There is no such key.
    #[error("there is no key `{0}`")]
    CallerUnknown(Id<Key>),
    /// The file is not in the form of a key file.
    #[error("the file of key `{0}` is malformed; restore it from a backup")]
    InternalMalformed(Id<Key>),
    /// The file holds another key than its name says.
    #[error("the file of key `{wanted}` holds key `{found}`; someone moved it")]
    InternalSwapped {
        /// The id in the name of the file.
        wanted: Id<Key>,
        /// The id inside.
        found: Id<Key>,
    },
    /// The seal does not open: the file was changed.
    #[error("the file of key `{0}` was changed; restore it from a backup")]
    InternalTampered(Id<Key>),
    /// The store holds more keys than it may.
    #[error("the key store holds more than {KEYS_MAX} keys")]
    InternalTooMany,
    /// The file could not be read.
    #[error(transparent)]
    InternalFile(#[from] FileError),
}

/// Why a key was not destroyed.
#[derive(Debug, thiserror::Error)]
pub enum DestroyKeyError {
    /// There is no such key.
    #[error("there is no key `{0}`")]
    CallerUnknown(Id<Key>),
    /// The file could not be removed.
    #[error(transparent)]
    InternalFile(#[from] FileError),
}

impl KeyStore {
    /// Opens the store in `directory`, making it if it is missing.
    ///
    /// Refuses a directory that others can enter, a master key that lies inside, and a master
    /// key that is not the store's.
    pub fn open(
        directory: &Path,
        master: MasterKey,
        entropy: &dyn Entropy,
    ) -> Result<Self, OpenStoreError> {
        files::private_directory(directory)?;
        let real = directory
            .canonicalize()
            .map_err(|error| FileError::io(directory, error))?;
        if master.file().starts_with(&real) {
            return Err(OpenStoreError::CallerMasterInside(master.file().to_owned()));
        }
        let store = Self {
            directory: real,
            master,
        };
        store.sweep()?;
        store.check_master(entropy)?;
        Ok(store)
    }

    /// Makes a key, stores it under `id`, and returns its public half.
    ///
    /// When this returns the key is on the disk.
    pub fn create(
        &self,
        id: Id<Key>,
        purpose: Purpose,
        alg: Alg,
        entropy: &dyn Entropy,
    ) -> Result<PublicKey, CreateKeyError> {
        if self.ids()?.len() >= KEYS_MAX {
            return Err(CreateKeyError::CallerFull);
        }
        let key = SigningKey::generate(alg)?;
        let info = KeyInfo {
            id,
            purpose,
            public: *key.public(),
        };
        let plain = key.to_pkcs8()?;
        let seal = self.seal_key(id)?;
        let sealed = seal.seal(entropy, info.header().as_bytes(), plain.expose())?;
        let text = Record { info, sealed }.to_text();
        files::write_new(&self.directory, &file_name(id), text.as_bytes()).map_err(|error| {
            if error.is_already_there() {
                CreateKeyError::CallerExists(id)
            } else {
                CreateKeyError::InternalFile(error)
            }
        })?;
        Ok(info.public)
    }

    /// Loads the key `id`.
    pub fn load(&self, id: Id<Key>) -> Result<LoadedKey, LoadKeyError> {
        let path = self.directory.join(file_name(id));
        let bytes = match files::read_private(&path, Custody::Own, KEY_FILE_LEN_MAX) {
            Err(error) if error.is_not_found() => return Err(LoadKeyError::CallerUnknown(id)),
            read => read?,
        };
        let record = Record::parse(&bytes).ok_or(LoadKeyError::InternalMalformed(id))?;
        let info = record.info;
        if info.id != id {
            return Err(LoadKeyError::InternalSwapped {
                wanted: id,
                found: info.id,
            });
        }
        let key = self
            .unseal(&record)
            .ok_or(LoadKeyError::InternalTampered(id))?;
        Ok(LoadedKey { info, key })
    }

    /// What is stored, ordered by id; every file is opened and checked.
    pub fn list(&self) -> Result<Vec<KeyInfo>, LoadKeyError> {
        let ids = self.ids()?;
        if ids.len() > KEYS_MAX {
            return Err(LoadKeyError::InternalTooMany);
        }
        ids.into_iter()
            .map(|id| self.load(id).map(|loaded| loaded.info))
            .collect()
    }

    /// Removes the key `id`; when this returns its name is gone from the disk.
    pub fn destroy(&self, id: Id<Key>) -> Result<(), DestroyKeyError> {
        let path = self.directory.join(file_name(id));
        match fs::remove_file(&path).map_err(|error| FileError::io(&path, error)) {
            Err(error) if error.is_not_found() => return Err(DestroyKeyError::CallerUnknown(id)),
            removed => removed?,
        }
        Ok(files::sync_directory(&self.directory)?)
    }

    pub(crate) const fn master(&self) -> &MasterKey {
        &self.master
    }

    fn seal_key(&self, id: Id<Key>) -> Result<SealKey, SealError> {
        self.master.derive(&format!("key/{id}"))
    }

    fn unseal(&self, record: &Record) -> Option<SigningKey> {
        let seal = self.seal_key(record.info.id).ok()?;
        let plain = seal
            .open(record.info.header().as_bytes(), &record.sealed)
            .ok()?;
        let key = SigningKey::from_pkcs8(&plain).ok()?;
        (*key.public() == record.info.public).then_some(key)
    }

    /// The ids of all key files, in order. Files with other names are not ours to judge.
    fn ids(&self) -> Result<Vec<Id<Key>>, FileError> {
        let id = |name: &str| name.strip_suffix(KEY_FILE_SUFFIX)?.parse().ok();
        let mut ids: Vec<_> = self.names()?.iter().filter_map(|name| id(name)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn names(&self) -> Result<Vec<String>, FileError> {
        let io = |error| FileError::io(&self.directory, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(io)? {
            if let Ok(name) = entry.map_err(io)?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes what a crash left half written.
    fn sweep(&self) -> Result<(), FileError> {
        let names = self.names()?;
        for name in names
            .iter()
            .filter(|name| name.starts_with(TEMPORARY_PREFIX))
        {
            let path = self.directory.join(name);
            fs::remove_file(&path).map_err(|error| FileError::io(&path, error))?;
        }
        Ok(())
    }

    fn check_master(&self, entropy: &dyn Entropy) -> Result<(), OpenStoreError> {
        let seal = self.master.derive("store/check")?;
        let path = self.directory.join(CHECK_FILE);
        match files::read_private(&path, Custody::Own, CHECK_FILE_LEN_MAX) {
            Ok(sealed) => match seal.open(b"", &sealed) {
                Ok(text) if text.expose() == CHECK_TEXT => Ok(()),
                _ => Err(OpenStoreError::CallerWrongMaster(self.directory.clone())),
            },
            Err(error) if error.is_not_found() => {
                if !self.ids()?.is_empty() {
                    return Err(OpenStoreError::InternalCheckMissing(self.directory.clone()));
                }
                let sealed = seal.seal(entropy, b"", CHECK_TEXT)?;
                Ok(files::write_new(&self.directory, CHECK_FILE, &sealed)?)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn file_name(id: Id<Key>) -> String {
    format!("{id}{KEY_FILE_SUFFIX}")
}

#[cfg(test)]
mod tests;
