//! Whose keys are enrolled, and the connections that rest on them.
//!
//! A certificate is valid to its end, whatever becomes of its key. So each connection also rests on
//! the key itself: the server says which keys are enrolled, and a connection whose key is not among
//! them is refused, or ended.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aims_tls::PeerId;
use aims_types::{Revision, Timestamp};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::limits::LOOK_EVERY;

/// The keys of nodes and gateways that count as a peer's. At first there is none.
#[derive(Debug, Clone, Default)]
pub struct Enrolled(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The revision that says so.
    at: Option<Revision>,
    /// Their thumbprints.
    keys: HashSet<String>,
    next: u64,
    open: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    kid: String,
    end: CancellationToken,
    ended: watch::Receiver<()>,
}

/// Something that goes on with a peer. Dropping it says that nothing of it goes on any more.
#[derive(Debug)]
pub(crate) struct Resting {
    number: u64,
    of: Enrolled,
    end: CancellationToken,
    until: Timestamp,
    _ended: watch::Sender<()>,
}

impl Enrolled {
    /// Keys with these thumbprints count and no others, as `revision` says; an older one than was
    /// heard already changes nothing. Returns when nothing goes on any more with who has another.
    pub async fn replace(&self, revision: Revision, keys: HashSet<String>) {
        let ending: Vec<_> = {
            let mut state = self.state();
            if state.at.is_none_or(|at| revision >= at) {
                state.at = Some(revision);
                state.keys = keys;
            }
            let others = state.open.values();
            let others = others.filter(|entry| !state.keys.contains(&entry.kid));
            others
                .map(|entry| (entry.end.clone(), entry.ended.clone()))
                .collect()
        };
        for (end, _) in &ending {
            end.cancel();
        }
        for (_, mut ended) in ending {
            // An error is the news that the sender is gone.
            while ended.changed().await.is_ok() {}
        }
    }

    /// Begins something with `peer`, unless its key does not count.
    pub(crate) fn enter(&self, peer: &PeerId) -> Option<Resting> {
        let kid = peer.kid().to_string();
        let (sender, ended) = watch::channel(());
        let end = CancellationToken::new();
        let mut state = self.state();
        if !state.keys.contains(&kid) {
            return None;
        }
        let number = state.next;
        state.next = state.next.saturating_add(1);
        let entry = Entry {
            kid,
            end: end.clone(),
            ended,
        };
        state.open.insert(number, entry);
        drop(state);
        Some(Resting {
            number,
            of: self.clone(),
            end,
            until: peer.not_after(),
            _ended: sender,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resting {
    /// Tells that the key counts no more.
    pub(crate) const fn end(&self) -> &CancellationToken {
        &self.end
    }

    /// Resolves when the key counts no more, or the certificate has ended by the clock `now`.
    pub(crate) async fn over(&self, now: impl Fn() -> Timestamp) {
        let certificate = async {
            loop {
                let left = self.until.unix_millis();
                let left = left.saturating_sub(now().unix_millis());
                if left == 0 {
                    return;
                }
                // The runtime's clock stands still while the machine sleeps.
                sleep(Duration::from_millis(left).min(LOOK_EVERY)).await;
            }
        };
        self.end.run_until_cancelled(certificate).await;
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        self.of.state().open.remove(&self.number);
    }
}
