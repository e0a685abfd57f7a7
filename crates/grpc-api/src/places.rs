//! Places that are few: what one peer may have at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many places each holder has taken.
#[derive(Debug)]
pub(crate) struct Places<K>(Arc<Mutex<HashMap<K, usize>>>);

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Hash + Eq> {
    places: Places<K>,
    holder: K,
}

impl<K> Places<K> {
    fn taken(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> Places<K> {
    /// A place for `holder`, who has at most `most` at a time.
    pub(crate) fn take(&self, holder: K, most: usize) -> Option<Place<K>> {
        {
            let mut taken = self.taken();
            let count = taken.get(&holder).copied().unwrap_or(0);
            if count >= most {
                return None;
            }
            taken.insert(holder.clone(), count.saturating_add(1));
        }
        let places = self.clone();
        Some(Place { places, holder })
    }
}

impl<K> Clone for Places<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.holder) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_holder_has_its_own_places_and_nothing_is_kept_of_who_has_none() {
        let places = Places::default();
        let first = places.take("a", 2).unwrap();
        let second = places.take("a", 2).unwrap();
        assert!(places.take("a", 2).is_none());
        assert!(places.take("b", 2).is_some());
        drop(first);
        assert!(places.take("a", 2).is_some());
        drop(second);
        assert!(places.taken().is_empty());
    }
}
