//! Custody of private keys in files: encrypted at rest under a master key that lives elsewhere.
//!
//! # In scope
//! - [`MasterKey`]: 32 bytes in a file of its own, readable by its owner only;
//! - [`KeyStore`]: one encrypted private key per file, bound to its id, purpose and algorithm;
//! - data keys that lie elsewhere, sealed under the master key for one use and one subject.
//!
//! # Out of scope
//! - what keys are used for; rotation; hardware modules; secrets of upstream servers.
//!
//! # Specifications
//! - AES-256-GCM (NIST SP 800-38D) under HKDF-SHA256 (RFC 5869); keys in PKCS#8 (RFC 5958);
//!   names of credentials as systemd passes them (`systemd.exec(5)`, `LoadCredential=`).
//!
//! # Limits
//! - [`KEY_FILE_LEN_MAX`] bytes per file, [`KEYS_MAX`] keys per store.
//! - Destroying a key removes its file. A copy-on-write file system or a flash disk may keep the
//!   encrypted bytes; who must rule that out replaces the master key as well.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use aims_crypto::{Alg, Signer};
//! use aims_keys::{KeyStore, MasterKey, Purpose};
//! use aims_types::{Id, ambient::SystemEntropy};
//!
//! let master = MasterKey::load(Path::new("/etc/aims/master.key"))?;
//! let store = KeyStore::open(Path::new("/var/lib/aims/keys"), master, &SystemEntropy)?;
//! let id = Id::from_u128(1);
//! let public = store.create(id, Purpose::Token, Alg::Es256, &SystemEntropy)?;
//! assert_eq!(*store.load(id)?.key.public(), public);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod data;
mod files;
mod master;
mod purpose;
mod record;
mod store;

pub use data::{DATA_KEY_LEN, OpenDataKeyError, SEALED_DATA_KEY_LEN};
pub use files::{FileError, UnsafeFile};
pub use master::{CreateMasterKeyError, LoadMasterKeyError, MASTER_KEY_PREFIX, MasterKey};
pub use purpose::{Purpose, UnknownPurpose};
pub use record::{KEY_FILE_LEN_MAX, KeyInfo};
pub use store::{
    CreateKeyError, DestroyKeyError, KEYS_MAX, KeyStore, LoadKeyError, LoadedKey, OpenStoreError,
};
