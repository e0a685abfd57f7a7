//! How much one user may have at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places of each user.
#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    of: Mutex<HashMap<u32, Arc<Semaphore>>>,
}

impl Places {
    /// As many as `most` for each user.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            of: Mutex::default(),
        }
    }

    /// One place of a user, until it is dropped; nothing if all are taken.
    pub(crate) fn take(&self, uid: u32) -> Option<OwnedSemaphorePermit> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is kept of who has none.
        of.retain(|_, places| places.available_permits() < self.most);
        let places = of
            .entry(uid)
            .or_insert_with(|| Arc::new(Semaphore::new(self.most)));
        Arc::clone(places).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_takes_no_place_of_another_and_gets_its_own_back() {
        let places = Places::new(2);
        let held = [places.take(1).unwrap(), places.take(1).unwrap()];
        assert!(places.take(1).is_none());
        assert!(places.take(2).is_some());
        drop(held);
        assert!(places.take(1).is_some());
        assert_eq!(places.of.lock().unwrap().len(), 1);
    }
}
