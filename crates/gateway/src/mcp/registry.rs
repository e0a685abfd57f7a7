//! The sessions there are, and how many there may be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aims_types::{Id, Instance};

use super::session::Session;

/// All sessions. Grows with what is served, within limits.
#[derive(Clone)]
pub(crate) struct Sessions(Arc<Inner>);

/// The right to have one more session, given back when dropped.
pub(crate) struct Slot {
    sessions: Sessions,
    instance: Id<Instance>,
}

struct Inner {
    total: usize,
    per_instance: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_id: HashMap<String, Arc<Session>>,
    taken: HashMap<Id<Instance>, usize>,
}

impl Sessions {
    /// At most `total` sessions, and `per_instance` of one instance.
    pub(crate) fn new(total: usize, per_instance: usize) -> Self {
        Self(Arc::new(Inner {
            total,
            per_instance,
            entries: Mutex::default(),
        }))
    }

    /// Takes the right to a session, if there is one left.
    pub(crate) fn take(&self, instance: Id<Instance>) -> Option<Slot> {
        let mut entries = self.entries();
        let total: usize = entries.taken.values().sum();
        let mine = entries.taken.get(&instance).copied().unwrap_or_default();
        if total >= self.0.total || mine >= self.0.per_instance {
            return None;
        }
        entries.taken.insert(instance, mine + 1);
        drop(entries);
        metrics::gauge!("aims_gateway_sessions").increment(1.0);
        Some(Slot {
            sessions: self.clone(),
            instance,
        })
    }

    /// Adds an open session.
    pub(crate) fn add(&self, session: Arc<Session>) {
        self.entries()
            .by_id
            .insert(session.id.as_str().to_owned(), session);
    }

    /// The session with this id.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Session>> {
        self.entries().by_id.get(id).cloned()
    }

    /// Takes a session out; new requests don't find it.
    pub(crate) fn remove(&self, id: &str) {
        self.entries().by_id.remove(id);
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut entries = self.sessions.entries();
        if let Some(taken) = entries.taken.get_mut(&self.instance) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                entries.taken.remove(&self.instance);
            }
        }
        drop(entries);
        metrics::gauge!("aims_gateway_sessions").decrement(1.0);
    }
}
