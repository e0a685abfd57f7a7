//! SHA-256.

use aims_types::Digest;
use aws_lc_rs::digest;

/// Digests bytes that arrive in pieces.
pub struct Hasher(digest::Context);

impl Hasher {
    /// Starts an empty digest.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        to_digest(&self.0.finish())
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

/// The SHA-256 digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    to_digest(&digest::digest(&digest::SHA256, bytes))
}

fn to_digest(digest: &digest::Digest) -> Digest {
    let mut bytes = [0; 32];
    for (slot, byte) in bytes.iter_mut().zip(digest.as_ref()) {
        *slot = *byte;
    }
    Digest::from_bytes(bytes)
}
