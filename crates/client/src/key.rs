//! A person's private key: PKCS #8 in PEM, in a file that only its owner can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aims_crypto::{Alg, KeyError, Signer, SigningKey};
use aims_jose::Jwk;
use aims_types::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// Longest key file, in bytes.
const FILE_LEN_MAX: u64 = 16 << 10;
/// Permissions of the group and of everybody else.
const OTHERS: u32 = 0o077;

/// A person's key.
pub struct PersonKey(SigningKey);

/// The key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PersonKeyError {
    /// The file can't be read or written.
    #[error("the key file `{path}` can't be used: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else could read or replace it.
    #[error("the key file `{0}` must be a regular file of your own with mode 600; run `chmod 600`")]
    Exposed(PathBuf),
    /// It is not a PKCS #8 key in PEM.
    #[error("the key file `{0}` does not hold a PKCS #8 private key in PEM")]
    Malformed(PathBuf),
    /// The backend refuses the key.
    #[error("the key can't be used: {0}")]
    Key(#[from] KeyError),
}

impl PersonKey {
    /// Makes a new ES256 key and writes it to a file that must not exist yet.
    pub fn create(path: &Path) -> Result<Self, PersonKeyError> {
        let io = |source| PersonKeyError::Io {
            path: path.to_owned(),
            source,
        };
        let key = SigningKey::generate(Alg::Es256)?;
        let der = key.to_pkcs8()?;
        let body = Zeroizing::new(STANDARD.encode(der.expose()));
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(io)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        writeln!(file, "{BEGIN}\n{}\n{END}", body.as_str()).map_err(io)?;
        file.sync_all().map_err(io)?;
        Ok(Self(key))
    }

    /// Reads a key file, refusing one that others could read.
    pub fn load(path: &Path) -> Result<Self, PersonKeyError> {
        let io = |source| PersonKeyError::Io {
            path: path.to_owned(),
            source,
        };
        let malformed = || PersonKeyError::Malformed(path.to_owned());
        let link = fs::symlink_metadata(path).map_err(io)?;
        let file = fs::File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        let own = fs::metadata("/proc/self").map_err(io)?.uid();
        let private = metadata.permissions().mode() & OTHERS == 0 && metadata.uid() == own;
        if !link.is_file() || !private {
            return Err(PersonKeyError::Exposed(path.to_owned()));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(FILE_LEN_MAX)
            .read_to_string(&mut text)
            .map_err(io)?;
        let body = text
            .trim()
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.strip_suffix(END))
            .ok_or_else(malformed)?;
        let body: Zeroizing<String> =
            Zeroizing::new(body.chars().filter(|c| !c.is_whitespace()).collect());
        let der = STANDARD.decode(body.as_str()).map_err(|_| malformed())?;
        Ok(Self(SigningKey::from_pkcs8(&Secret::new(der))?))
    }

    /// The public half, as it is enrolled.
    pub fn jwk(&self) -> Jwk {
        Jwk::new(*self.0.public())
    }

    /// What signs as this person.
    pub const fn signer(&self) -> &SigningKey {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_round_trips_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/me.pem");
        let made = PersonKey::create(&path).unwrap();
        let read = PersonKey::load(&path).unwrap();
        assert_eq!(made.signer().public(), read.signer().public());
        assert!(matches!(
            PersonKey::create(&path),
            Err(PersonKeyError::Io { .. })
        ));
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("me.pem");
        PersonKey::create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            PersonKey::load(&path),
            Err(PersonKeyError::Exposed(_))
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let link = dir.path().join("link.pem");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(
            PersonKey::load(&link),
            Err(PersonKeyError::Exposed(_))
        ));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("me.pem");
        for text in [
            "",
            "hello",
            "-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----\n",
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(PersonKey::load(&path).is_err(), "{text}");
        }
    }
}
