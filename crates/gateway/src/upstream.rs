//! Requests to upstreams: HTTPS servers elsewhere, whose credentials no agent ever has.
//!
//! A request is read once into what may be decided, decided, and made anew: what goes out is its
//! method, path, query and body, two of its headers, and what the registration adds; the credential
//! is put in last, right before the first byte. What comes back is looked through for the
//! credential before any of it goes on.

mod answer;
mod credentials;
mod dial;
mod endpoint;
mod exchange;
mod flight;
mod outgoing;
mod request;
mod scrub;

use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use tokio::sync::Semaphore;

pub(crate) use endpoint::answer;
pub(crate) use request::is_meant;

use self::credentials::Credentials;
use crate::state::State;

/// What requests to upstreams need.
pub(crate) struct Upstreams {
    credentials: Credentials,
    /// The rights to a request that are left.
    places: Arc<Semaphore>,
    /// The certificates that this host trusts, once they were needed.
    system: OnceLock<Arc<RootCertStore>>,
}

impl Upstreams {
    /// At most so many requests at a time.
    pub(crate) fn new(requests: usize) -> Self {
        Self {
            credentials: Credentials::default(),
            places: Arc::new(Semaphore::new(requests)),
            system: OnceLock::new(),
        }
    }

    /// Forgets the credentials that are not in force in this state.
    pub(crate) fn took_over(&self, state: &State) {
        self.credentials
            .retain(|upstream| state.is_current(upstream));
    }

    /// Forgets every credential.
    pub(crate) fn forget(&self) {
        self.credentials.retain(|_| false);
    }
}
