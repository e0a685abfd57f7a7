//! Where the server is, who the person is, and which key of the log is trusted.

use std::fs;
use std::path::{Path, PathBuf};

use aims_types::{Id, Name, Person};
use serde::{Deserialize, Serialize};

/// A person's settings, written when they are enrolled. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The person's name, for people to read.
    pub person: Name,
    /// The person's id: what their key is enrolled for.
    pub person_id: Id<Person>,
    /// The file with the person's private key.
    pub key_file: PathBuf,
    /// The server's Unix socket.
    pub api_socket: PathBuf,
    /// The node's Unix socket on this host, for `aims run`.
    pub node_socket: PathBuf,
    /// The issuer of tokens: audience of assertions, base of proofs.
    pub issuer: String,
    /// The trust domain.
    pub trust_domain: String,
    /// The log's public key (signed-note verifier key): the anchor of everything recorded.
    pub log_key: String,
    /// Where the log's checkpoint and tiles are, over HTTP.
    pub log_url: String,
}

/// The profile can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is not there or can't be read or written.
    #[error("the profile `{path}` can't be used: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not a profile.
    #[error("the profile `{path}` is malformed: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
}

impl Profile {
    /// Reads a profile.
    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        let text = fs::read_to_string(path).map_err(|source| ProfileError::Io {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| ProfileError::Malformed {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Writes a profile, creating its directory.
    pub fn save(&self, path: &Path) -> Result<(), ProfileError> {
        let text = toml::to_string(self).map_err(|error| ProfileError::Malformed {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(path, text));
        written.map_err(|source| ProfileError::Io {
            path: path.to_owned(),
            source,
        })
    }
}
