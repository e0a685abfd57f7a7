//! What is under way, and how it is cut off.
//!
//! Everything that goes on for a while (a session, a call, a tunnel) enters here with what it was
//! issued under. A cut-off tells it to end and waits until it has: its entry goes only when
//! nothing of it can start, send or deliver any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aims_decision::CutOffs;
use aims_model::Subject;
use aims_types::Revision;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Everything that is under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveSet(Arc<Mutex<Entries>>);

/// One thing under way. Dropping it says that it has ended for good.
#[derive(Debug)]
pub(crate) struct Live {
    number: u64,
    set: LiveSet,
    cut: CancellationToken,
    _ended: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    by_number: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    subjects: Arc<[Subject]>,
    minted: Revision,
    cut: CancellationToken,
    ended: watch::Receiver<()>,
}

impl LiveSet {
    /// Enters something that was issued under `subjects` at revision `minted`.
    ///
    /// Whoever enters looks at the cut-offs in force *afterwards*: a state that comes before the
    /// look is seen by it, one that comes after finds the entry.
    pub(crate) fn enter(&self, subjects: Arc<[Subject]>, minted: Revision) -> Live {
        let (sender, ended) = watch::channel(());
        let cut = CancellationToken::new();
        let mut entries = self.entries();
        let number = entries.next;
        entries.next += 1;
        let entry = Entry {
            subjects,
            minted,
            cut: cut.clone(),
            ended,
        };
        entries.by_number.insert(number, entry);
        drop(entries);
        Live {
            number,
            set: self.clone(),
            cut,
            _ended: sender,
        }
    }

    /// Cuts off what `cutoffs` cover, and returns how many there were, when all of it has ended.
    pub(crate) async fn cut(&self, cutoffs: &CutOffs) -> usize {
        self.end(|entry| cutoffs.find(&entry.subjects, entry.minted).is_some())
            .await
    }

    /// Cuts off everything.
    pub(crate) async fn cut_all(&self) -> usize {
        self.end(|_| true).await
    }

    async fn end(&self, covers: impl Fn(&Entry) -> bool) -> usize {
        let ending: Vec<_> = {
            let entries = self.entries();
            let covered = entries.by_number.values().filter(|entry| covers(entry));
            covered
                .map(|entry| (entry.cut.clone(), entry.ended.clone()))
                .collect()
        };
        for (cut, _) in &ending {
            cut.cancel();
        }
        let count = ending.len();
        for (_, mut ended) in ending {
            // An error is the news that the sender is gone.
            while ended.changed().await.is_ok() {}
        }
        count
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Tells when it is cut off.
    pub(crate) const fn cut(&self) -> &CancellationToken {
        &self.cut
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.set.entries().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use aims_model::CutOff;
    use aims_types::Id;

    use super::*;

    #[tokio::test]
    async fn a_cut_waits_for_what_it_covers_and_for_nothing_else() {
        let set = LiveSet::default();
        let subject = |n| Subject::Task(Id::from_u128(n));
        let hit = set.enter(Arc::from([subject(1)]), Revision::new(3));
        let newer = set.enter(Arc::from([subject(1)]), Revision::new(4));
        let other = set.enter(Arc::from([subject(2)]), Revision::new(3));
        let cutoffs = CutOffs::new(&[CutOff {
            subject: subject(1),
            at_or_before: Revision::new(3),
        }]);
        let cutting = set.cut(&cutoffs);
        tokio::pin!(cutting);
        tokio::select! {
            biased;
            _ = &mut cutting => panic!("it returned while something was under way"),
            () = hit.cut().cancelled() => {}
        }
        drop(hit);
        assert_eq!(cutting.await, 1);
        assert!(!newer.cut().is_cancelled() && !other.cut().is_cancelled());
    }
}
