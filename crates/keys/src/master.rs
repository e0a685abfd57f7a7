//! The key that every stored key is encrypted under.

use std::fmt;
use std::path::{Path, PathBuf};

use aims_crypto::{SealError, SealKey, base64url, hkdf_sha256};
use aims_types::{Entropy, EntropyError, Secret};
use zeroize::Zeroizing;

use crate::files::{self, Custody, FileError};

/// What the text of a master key starts with, so that scanners for secrets recognise it.
pub const MASTER_KEY_PREFIX: &str = "aims_mk_";
/// Length of the key.
const MASTER_KEY_LEN: usize = 32;
/// Longest file: the prefix, 43 characters and some room for line ends.
const MASTER_KEY_FILE_LEN_MAX: usize = 64;
/// Separates keys derived here from every other use of HKDF.
const SALT: &[u8] = b"aims-keys/1";

/// The master key, and the file it came from.
///
/// The file holds one line: [`MASTER_KEY_PREFIX`] and the base64url of 32 bytes. It must lie
/// outside of the data directory, or a copy of the one would be a copy of both.
pub struct MasterKey {
    secret: Secret<[u8; MASTER_KEY_LEN]>,
    file: PathBuf,
}

/// Why no master key was created.
#[derive(Debug, thiserror::Error)]
pub enum CreateMasterKeyError {
    /// There is a file already; a master key is never overwritten.
    #[error("`{0}` is there already; a master key is never overwritten")]
    CallerExists(PathBuf),
    /// The file could not be written.
    #[error(transparent)]
    InternalFile(#[from] FileError),
    /// There was no randomness.
    #[error(transparent)]
    InternalEntropy(#[from] EntropyError),
}

/// Why no master key was loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadMasterKeyError {
    /// The file could not be read or is open to others.
    #[error(transparent)]
    CallerFile(#[from] FileError),
    /// The file holds something else.
    #[error("`{0}` does not hold a master key: one line `aims_mk_` and 43 characters of base64url")]
    CallerMalformed(PathBuf),
}

impl MasterKey {
    /// Makes a new master key in the file `path`, which must not exist.
    ///
    /// The file gets mode 0600 and is on the disk when this returns.
    pub fn create(path: &Path, entropy: &dyn Entropy) -> Result<Self, CreateMasterKeyError> {
        let mut key = Zeroizing::new([0; MASTER_KEY_LEN]);
        entropy.fill(key.as_mut())?;
        let encoded = Zeroizing::new(base64url::encode(key.as_ref()));
        let mut text = Zeroizing::new(String::with_capacity(MASTER_KEY_FILE_LEN_MAX));
        text.push_str(MASTER_KEY_PREFIX);
        text.push_str(&encoded);
        text.push('\n');
        files::create_private(path, text.as_bytes()).map_err(|error| {
            if error.is_already_there() {
                CreateMasterKeyError::CallerExists(path.to_owned())
            } else {
                // Half a key is no key; if removing fails as well, loading it will say so.
                let _ = std::fs::remove_file(path);
                CreateMasterKeyError::InternalFile(error)
            }
        })?;
        files::sync_directory(parent(path))?;
        Ok(Self {
            secret: Secret::new(*key),
            file: real_path(path)?,
        })
    }

    /// Loads the key from `path`: a regular file of this process's user with mode 0600 or 0400,
    /// not a symbolic link.
    pub fn load(path: &Path) -> Result<Self, LoadMasterKeyError> {
        Self::load_as(path, Custody::Own)
    }

    /// Loads the key from a credential that the service manager passed (`LoadCredential=`), a
    /// file in `$CREDENTIALS_DIRECTORY`: it may belong to root and carry an access list.
    pub fn load_credential(path: &Path) -> Result<Self, LoadMasterKeyError> {
        Self::load_as(path, Custody::Credential)
    }

    /// A key for `context` alone; other contexts give independent keys.
    pub fn derive(&self, context: &str) -> Result<SealKey, SealError> {
        SealKey::new(&hkdf_sha256(SALT, self.secret.expose(), context.as_bytes()))
    }

    /// The file the key lies in, without symbolic links.
    pub fn file(&self) -> &Path {
        &self.file
    }

    fn load_as(path: &Path, custody: Custody) -> Result<Self, LoadMasterKeyError> {
        let bytes = files::read_private(path, custody, MASTER_KEY_FILE_LEN_MAX)?;
        let secret =
            parse(&bytes).ok_or_else(|| LoadMasterKeyError::CallerMalformed(path.to_owned()))?;
        Ok(Self {
            secret,
            file: real_path(path)?,
        })
    }
}

fn parse(bytes: &[u8]) -> Option<Secret<[u8; MASTER_KEY_LEN]>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let raw = Zeroizing::new(base64url::decode(text.strip_prefix(MASTER_KEY_PREFIX)?).ok()?);
    raw.as_slice().try_into().ok().map(Secret::new)
}

fn real_path(path: &Path) -> Result<PathBuf, FileError> {
    path.canonicalize()
        .map_err(|error| FileError::io(path, error))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.file.display())
    }
}

#[cfg(test)]
mod tests;
