//! The host uids that are reserved for instances: each belongs to one instance at a time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The reserved range, and who has what of it.
#[derive(Debug)]
pub(crate) struct Uids {
    base: u32,
    count: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u32,
    taken: BTreeSet<u32>,
}

/// A uid that nothing else on this host has, until it is dropped.
#[derive(Debug)]
pub(crate) struct HostUid {
    of: Arc<Uids>,
    uid: u32,
}

impl Uids {
    pub(crate) fn new(base: u32, count: u32) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { base, count, state })
    }

    /// The whole reserved range.
    pub(crate) const fn reserved(&self) -> std::ops::Range<u32> {
        self.base..self.base.saturating_add(self.count)
    }

    /// The next free one; `None` if all are taken. One that was given back comes last, so that
    /// what an instance may have left behind belongs to nobody for as long as possible.
    pub(crate) fn take(self: &Arc<Self>) -> Option<HostUid> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..self.count {
            let uid = self.base.checked_add(state.next)?;
            state.next = (state.next + 1) % self.count;
            if state.taken.insert(uid) {
                let of = Arc::clone(self);
                return Some(HostUid { of, uid });
            }
        }
        None
    }
}

impl HostUid {
    pub(crate) const fn number(&self) -> u32 {
        self.uid
    }
}

impl Drop for HostUid {
    fn drop(&mut self) {
        let mut state = self.of.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.taken.remove(&self.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_not_given_twice_while_it_is_in_use() {
        let uids = Uids::new(100, 3);
        let (first, second) = (uids.take().unwrap(), uids.take().unwrap());
        assert_eq!((first.number(), second.number()), (100, 101));
        drop(second);
        assert_eq!(uids.take().unwrap().number(), 102);
        let again = uids.take().unwrap();
        assert_eq!(again.number(), 101);
        let last = uids.take().unwrap();
        assert_eq!(last.number(), 102);
        assert!(uids.take().is_none());
        drop(first);
        assert_eq!(uids.take().unwrap().number(), 100);
    }

    #[test]
    fn an_empty_or_overflowing_range_has_no_uid() {
        assert!(Uids::new(100, 0).take().is_none());
        let uids = Uids::new(u32::MAX, 2);
        assert_eq!(uids.take().map(|uid| uid.number()), Some(u32::MAX));
    }
}
