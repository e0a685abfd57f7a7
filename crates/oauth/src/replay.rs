//! What was used once and must not be used again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Mutex;

use aims_crypto::Hasher;
use aims_types::{Digest, Timestamp};

/// Remembers one-time identifiers for as long as they could be replayed.
///
/// Memory is bounded: an entry takes the same room whatever its texts. A full cache refuses
/// everything new until entries expire (it fails closed). An owner never has more of it than is
/// free: some few that use it up are refused alone, and leave as much room as each of them has.
#[derive(Debug)]
pub struct ReplayCache {
    capacity: usize,
    seen: HashSet<Digest>,
    by_expiry: BinaryHeap<Reverse<(Timestamp, Digest, Digest)>>,
    /// How many identifiers of each owner are remembered.
    of_owner: HashMap<Digest, usize>,
    /// Entries that end at or before this instant may be forgotten already.
    forgotten: Timestamp,
}

/// Where one-time identifiers are taken note of: a cache in memory, several, or a store.
pub trait UseOnce: Sync {
    /// As [`ReplayCache::remember`].
    fn use_once(
        &self,
        owner: &str,
        jti: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), ReplayError>;
}

/// Why an identifier is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It was used before.
    #[error("it was used before; make a new one for each request")]
    Replayed,
    /// It ends so early that it may have been used and forgotten: a clock went back.
    #[error("it has expired for the replay cache; make a new one")]
    Stale,
    /// There is no room to remember it.
    #[error("the replay cache is full; try again in a minute")]
    Full,
    /// There is no room to remember more of this owner.
    #[error("too many were used within a minute; try again in a minute")]
    TooMany,
}

impl ReplayCache {
    /// A cache for at most `capacity` identifiers.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            seen: HashSet::new(),
            by_expiry: BinaryHeap::new(),
            of_owner: HashMap::new(),
            forgotten: Timestamp::from_unix_millis(0),
        }
    }

    /// A cache after a restart: it refuses what could have been used before, everything that
    /// can be replayed until `forgotten` at most.
    ///
    /// For DPoP proofs that is the start plus window plus skew: then exactly the proofs made before
    /// the start are refused.
    pub fn after_restart(capacity: usize, forgotten: Timestamp) -> Self {
        Self {
            forgotten,
            ..Self::new(capacity)
        }
    }

    /// Takes note of `jti` of `owner` until `until`, or refuses it.
    ///
    /// `owner` is who could have made it: the thumbprint of a proof's key (RFC 9449 §11.1) or the
    /// issuer of an assertion (RFC 7523 §3). An identifier of one owner never blocks another's.
    pub fn remember(
        &mut self,
        owner: &str,
        jti: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), ReplayError> {
        self.forget(now);
        if until <= self.forgotten {
            return Err(ReplayError::Stale);
        }
        let entry = digest(owner, jti);
        if self.seen.contains(&entry) {
            return Err(ReplayError::Replayed);
        }
        if self.seen.len() >= self.capacity {
            return Err(ReplayError::Full);
        }
        let owner = digest(owner, "");
        let used = self.of_owner.get(&owner).copied().unwrap_or_default();
        if used >= self.capacity.saturating_sub(self.seen.len()) {
            return Err(ReplayError::TooMany);
        }
        self.of_owner.insert(owner, used + 1);
        self.seen.insert(entry);
        self.by_expiry.push(Reverse((until, entry, owner)));
        Ok(())
    }

    /// How many identifiers are remembered.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(Reverse((until, entry, owner))) = self.by_expiry.peek().copied() {
            if until > now {
                break;
            }
            self.by_expiry.pop();
            self.seen.remove(&entry);
            if let Some(used) = self.of_owner.get_mut(&owner) {
                *used = used.saturating_sub(1);
                if *used == 0 {
                    self.of_owner.remove(&owner);
                }
            }
            self.forgotten = self.forgotten.max(until);
        }
    }
}

/// The lock is held for the look-up only. A poisoned lock refuses everything.
impl UseOnce for Mutex<ReplayCache> {
    fn use_once(
        &self,
        owner: &str,
        jti: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), ReplayError> {
        let mut cache = self.lock().map_err(|_| ReplayError::Full)?;
        cache.remember(owner, jti, until, now)
    }
}

/// The length keeps `ab` + `c` and `a` + `bc` apart.
fn digest(owner: &str, jti: &str) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(&u64::try_from(owner.len()).unwrap_or(u64::MAX).to_be_bytes());
    hasher.update(owner.as_bytes());
    hasher.update(jti.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_unix_secs(secs)
    }

    #[test]
    fn an_identifier_is_accepted_once_per_owner() {
        let mut cache = ReplayCache::new(10);
        assert_eq!(cache.remember("a", "1", at(20), at(10)), Ok(()));
        assert_eq!(
            cache.remember("a", "1", at(20), at(10)),
            Err(ReplayError::Replayed)
        );
        assert_eq!(
            cache.remember("a", "1", at(99), at(19)),
            Err(ReplayError::Replayed)
        );
        assert_eq!(cache.remember("b", "1", at(20), at(10)), Ok(()));
        assert_eq!(cache.remember("a1", "", at(20), at(10)), Ok(()));
    }

    #[test]
    fn a_full_cache_refuses_until_entries_expire() {
        let mut cache = ReplayCache::new(2);
        assert_eq!(cache.remember("a", "1", at(20), at(10)), Ok(()));
        assert_eq!(cache.remember("b", "2", at(30), at(10)), Ok(()));
        assert_eq!(
            cache.remember("c", "3", at(30), at(10)),
            Err(ReplayError::Full)
        );
        assert_eq!(cache.remember("c", "3", at(40), at(20)), Ok(()));
        assert_eq!(
            cache.remember("d", "4", at(40), at(20)),
            Err(ReplayError::Full)
        );
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn greedy_owners_keep_nobody_else_out() {
        for greedy in 1..9_usize {
            let mut cache = ReplayCache::new(90);
            for jti in 0..200_u32 {
                for owner in 0..greedy {
                    let (owner, jti) = (owner.to_string(), jti.to_string());
                    let done = cache.remember(&owner, &jti, at(20), at(10));
                    assert!(matches!(done, Ok(()) | Err(ReplayError::TooMany)));
                }
            }
            let free = 90 - cache.len();
            assert!(free >= 90 / (greedy + 1) - 1, "{greedy}: {free}");
            assert_eq!(cache.remember("modest", "1", at(20), at(10)), Ok(()));
            let again = cache.remember("0", "0", at(20), at(10));
            assert_eq!(again, Err(ReplayError::Replayed));
            // What has expired counts no more.
            assert_eq!(cache.remember("0", "x", at(30), at(20)), Ok(()));
            assert_eq!((cache.len(), cache.of_owner.len()), (1, 1));
        }
    }

    #[test]
    fn a_clock_that_goes_back_does_not_reopen_the_past() {
        let mut cache = ReplayCache::new(2);
        assert_eq!(cache.remember("a", "1", at(20), at(10)), Ok(()));
        assert_eq!(cache.remember("b", "2", at(99), at(50)), Ok(()));
        assert_eq!(
            cache.remember("a", "1", at(20), at(10)),
            Err(ReplayError::Stale)
        );
    }

    #[test]
    fn after_a_restart_what_may_have_been_used_is_refused() {
        let mut cache = ReplayCache::after_restart(2, at(100));
        assert_eq!(
            cache.remember("a", "1", at(100), at(50)),
            Err(ReplayError::Stale)
        );
        assert_eq!(cache.remember("a", "1", at(101), at(50)), Ok(()));
    }

    proptest! {
        #[test]
        fn nothing_is_accepted_twice_within_its_time(
            steps in proptest::collection::vec((0_u8..4, 0_u64..5), 1..60),
        ) {
            let mut cache = ReplayCache::new(3);
            let mut now = 100;
            let mut accepted: Vec<(String, u64)> = Vec::new();
            for (jti, pause) in steps {
                now += pause;
                let (jti, until) = (jti.to_string(), now + 10);
                let result = cache.remember("o", &jti, at(until), at(now));
                let live = accepted.iter().any(|(seen, end)| *seen == jti && *end > now);
                prop_assert!(!(live && result.is_ok()));
                prop_assert!(cache.len() <= 3);
                if result.is_ok() {
                    accepted.push((jti, until));
                }
            }
        }
    }
}
