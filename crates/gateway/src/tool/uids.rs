//! Reserved host uids, one per tool server that runs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Uids from a first one on, each given out to one process at a time.
#[derive(Debug, Clone)]
pub(crate) struct Uids(Arc<Inner>);

/// A uid that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct TakenUid {
    uid: u32,
    uids: Uids,
}

#[derive(Debug)]
struct Inner {
    first: u32,
    count: u32,
    taken: Mutex<BTreeSet<u32>>,
}

impl Uids {
    /// The `count` uids from `first` on.
    pub(crate) fn new(first: u32, count: u32) -> Self {
        Self(Arc::new(Inner {
            first,
            count,
            taken: Mutex::default(),
        }))
    }

    /// The lowest uid that is free.
    pub(crate) fn take(&self) -> Option<TakenUid> {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let end = self.0.first.saturating_add(self.0.count);
        let uid = (self.0.first..end).find(|uid| !taken.contains(uid))?;
        taken.insert(uid);
        drop(taken);
        Some(TakenUid {
            uid,
            uids: self.clone(),
        })
    }
}

impl TakenUid {
    /// The uid.
    pub(crate) const fn uid(&self) -> u32 {
        self.uid
    }
}

impl Drop for TakenUid {
    fn drop(&mut self) {
        let mut taken = self
            .uids
            .0
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        taken.remove(&self.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_processes_share_a_uid_and_a_freed_one_is_used_again() {
        let uids = Uids::new(70_000, 2);
        let (a, b) = (uids.take().unwrap(), uids.take().unwrap());
        assert_eq!((a.uid(), b.uid()), (70_000, 70_001));
        assert!(uids.take().is_none());
        drop(a);
        assert_eq!(uids.take().map(|taken| taken.uid()), Some(70_000));
    }
}
