//! Credentials in use: had from the server when they are needed, kept no longer than the lease and
//! the version.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aims_crypto::SealKey;
use aims_links::{CredentialAsk, CredentialLease, LinkError};
use aims_model::Upstream;
use aims_model::upstream::check_credential;
use aims_types::{self as types, Id, Secret};

use crate::core::Core;

/// The credential of one version of an upstream. It is overwritten when the last who uses it is
/// done.
pub(super) struct Credential(Secret<Vec<u8>>);

/// Those that are in use.
#[derive(Default)]
pub(super) struct Credentials(Mutex<Known>);

/// The version that is in use of each upstream's credential, and the credential.
type Known = HashMap<Id<types::Upstream>, (u32, Arc<Credential>)>;

/// Why there is no credential. What an agent is told of it says nothing of the inside.
#[derive(Debug, thiserror::Error)]
pub(super) enum CredentialFault {
    /// The server did not answer.
    #[error("the credential could not be had; try again")]
    Link(#[from] LinkError),
    /// The server refused.
    #[error("the credential could not be had; try again")]
    Refused(String),
    /// It was sealed for something else than this gateway knows of the upstream.
    #[error("the credential is not for this upstream as it is registered; an operator has to look")]
    NotFor,
    /// It is not in force any more.
    #[error("the credential was replaced meanwhile; try again")]
    Replaced,
}

impl Credential {
    /// The bytes. Call it as late as possible.
    pub(super) const fn expose(&self) -> &Vec<u8> {
        self.0.expose()
    }

    /// Opens a leased credential for exactly this upstream.
    fn open(lease: &CredentialLease, upstream: &Upstream) -> Option<Self> {
        let key = <[u8; 32]>::try_from(lease.key.expose().as_slice()).ok()?;
        let key = SealKey::new(&Secret::new(key)).ok()?;
        let opened = key
            .open(upstream.binding().as_bytes(), &lease.sealed)
            .ok()?;
        check_credential(opened.expose()).ok()?;
        Some(Self(opened))
    }
}

impl Credentials {
    /// Keeps only those of which `current` says so.
    pub(super) fn retain(&self, current: impl Fn((Id<types::Upstream>, u32)) -> bool) {
        self.known()
            .retain(|upstream, (version, _)| current((*upstream, *version)));
    }

    /// The credential in force of an upstream.
    pub(super) async fn of(
        &self,
        core: &Core,
        upstream: &Upstream,
    ) -> Result<Arc<Credential>, CredentialFault> {
        let (id, version) = (upstream.id, upstream.version);
        if let Some((known, credential)) = self.known().get(&id)
            && *known == version
        {
            return Ok(Arc::clone(credential));
        }
        let ask = CredentialAsk {
            upstream: id,
            version,
        };
        let lease = core.control.credential_lease(core.config.id, ask).await?;
        let lease = lease.map_err(|refusal| {
            tracing::warn!(upstream = %upstream.name, code = %refusal.code, "no credential");
            CredentialFault::Refused(refusal.code.into_owned())
        })?;
        let credential = Credential::open(&lease, upstream).ok_or_else(|| {
            tracing::error!(upstream = %upstream.name, "a credential is not for its upstream");
            CredentialFault::NotFor
        })?;
        let credential = Arc::new(credential);
        let mut known = self.known();
        // A state or the end of a lease that comes before this look is seen; one that comes after
        // it finds the entry.
        let current = core
            .state()
            .is_some_and(|state| state.is_current((id, version)));
        if !current {
            return Err(CredentialFault::Replaced);
        }
        known.insert(id, (version, Arc::clone(&credential)));
        Ok(credential)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
