//! The instances that run here, and how the server ends them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aims_types::{Id, Instance, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Everything that runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lives(Arc<Mutex<Entries>>);

/// One instance. Dropping it says that no process of it exists any more.
#[derive(Debug)]
pub(crate) struct Life {
    instance: Id<Instance>,
    of: Lives,
    cut: CancellationToken,
    _ended: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Entries {
    running: HashMap<Id<Instance>, Entry>,
    /// The starts that are under way.
    starts: BTreeSet<u64>,
    /// What was cut off since the oldest of them began, in order: it may be what they start.
    doomed: VecDeque<(u64, Id<Instance>)>,
    /// The number of the next start or cut.
    next: u64,
}

/// A start that is under way, from before the server hears of the instance.
#[derive(Debug)]
pub(crate) struct Starting {
    number: u64,
    of: Lives,
}

#[derive(Debug)]
struct Entry {
    /// When its task ends by itself.
    deadline: Timestamp,
    cut: CancellationToken,
    ended: watch::Receiver<()>,
}

impl Lives {
    /// Begins to start an instance that the server is told of only now.
    pub(crate) fn starting(&self) -> Starting {
        let mut entries = self.entries();
        let number = entries.number();
        entries.starts.insert(number);
        drop(entries);
        Starting {
            number,
            of: self.clone(),
        }
    }

    fn enter(&self, instance: Id<Instance>, deadline: Timestamp) -> Life {
        let (sender, ended) = watch::channel(());
        let cut = CancellationToken::new();
        let mut entries = self.entries();
        if entries.doomed.iter().any(|(_, doomed)| *doomed == instance) {
            cut.cancel();
        }
        let entry = Entry {
            deadline,
            cut: cut.clone(),
            ended,
        };
        entries.running.insert(instance, entry);
        metrics::gauge!("aims_node_instances").increment(1.0);
        drop(entries);
        Life {
            instance,
            of: self.clone(),
            cut,
            _ended: sender,
        }
    }

    /// Ends these instances and returns, when no process of theirs exists any more, how many of
    /// them ran. One that is being started does not start. Those whose time is up are not ended
    /// yet: what ends them is returned, for when they had time to hear of it.
    pub(crate) async fn end(
        &self,
        instances: &[Id<Instance>],
        now: Timestamp,
    ) -> (usize, Vec<CancellationToken>) {
        let (over, ending): (Vec<_>, Vec<_>) = {
            let mut entries = self.entries();
            for instance in instances {
                entries.doom(*instance);
            }
            let running = instances.iter().filter_map(|id| entries.running.get(id));
            running
                .map(|entry| (entry.deadline, (entry.cut.clone(), entry.ended.clone())))
                .partition(|(deadline, _)| *deadline <= now)
        };
        let over = over.into_iter().map(|(_, (cut, _))| cut).collect();
        let ending = ending.into_iter().map(|(_, entry)| entry).collect();
        (wait_for(ending).await, over)
    }

    /// Ends everything that runs.
    pub(crate) async fn end_all(&self) -> usize {
        let ending: Vec<_> = {
            let entries = self.entries();
            let running = entries.running.values();
            running
                .map(|entry| (entry.cut.clone(), entry.ended.clone()))
                .collect()
        };
        wait_for(ending).await
    }

    /// What runs.
    pub(crate) fn held(&self) -> Vec<Id<Instance>> {
        self.entries().running.keys().copied().collect()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn wait_for(ending: Vec<(CancellationToken, watch::Receiver<()>)>) -> usize {
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

impl Entries {
    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Remembers what is cut off as long as it may be what is being started.
    fn doom(&mut self, instance: Id<Instance>) {
        if !self.starts.is_empty() {
            let number = self.number();
            self.doomed.push_back((number, instance));
        }
    }

    fn started(&mut self, number: u64) {
        self.starts.remove(&number);
        let oldest = self.starts.first().copied().unwrap_or(self.next);
        while self.doomed.front().is_some_and(|(cut, _)| *cut < oldest) {
            self.doomed.pop_front();
        }
    }
}

impl Starting {
    /// Enters the instance, of which nothing runs yet. If the server has cut it off in the
    /// meantime, it is told so at once, and whoever starts it looks.
    pub(crate) fn enter(self, instance: Id<Instance>, deadline: Timestamp) -> Life {
        self.of.enter(instance, deadline)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.of.entries().started(self.number);
    }
}

impl Life {
    /// Which instance.
    pub(crate) const fn instance(&self) -> Id<Instance> {
        self.instance
    }

    /// Tells when it is to end.
    pub(crate) const fn cut(&self) -> &CancellationToken {
        &self.cut
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.of.entries().running.remove(&self.instance);
        metrics::gauge!("aims_node_instances").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_secs(10);
    const LATER: Timestamp = Timestamp::from_unix_secs(11);

    #[tokio::test]
    async fn what_is_over_by_itself_hears_of_it_before_it_is_ended() {
        let lives = Lives::default();
        let life = lives.enter(Id::from_u128(1), NOW);
        let (ended, over) = lives.end(&[life.instance()], NOW).await;
        assert_eq!((ended, over.len()), (0, 1));
        assert!(!life.cut().is_cancelled());
        over[0].cancel();
        assert!(life.cut().is_cancelled());
    }

    #[tokio::test]
    async fn an_end_waits_until_nothing_of_it_exists() {
        let lives = Lives::default();
        let (hit, other) = (
            lives.enter(Id::from_u128(1), LATER),
            lives.enter(Id::from_u128(2), LATER),
        );
        let instances = [hit.instance()];
        let ending = lives.end(&instances, NOW);
        tokio::pin!(ending);
        tokio::select! {
            biased;
            _ = &mut ending => panic!("it returned while the instance existed"),
            () = hit.cut().cancelled() => {}
        }
        drop(hit);
        assert_eq!(ending.await.0, 1);
        assert!(!other.cut().is_cancelled());
    }

    #[tokio::test]
    async fn what_is_cut_off_before_it_starts_is_told_so() {
        let lives = Lives::default();
        let (hit, other) = (lives.starting(), lives.starting());
        let many: Vec<_> = (1..10_000).map(Id::from_u128).collect();
        assert_eq!(lives.end(&many, NOW).await.0, 0);
        assert!(hit.enter(many[0], LATER).cut().is_cancelled());
        assert!(!other.enter(Id::from_u128(0), LATER).cut().is_cancelled());
    }

    #[tokio::test]
    async fn what_was_cut_off_is_remembered_while_it_may_still_be_starting() {
        let lives = Lives::default();
        let ended = [Id::from_u128(1)];
        lives.end(&ended, NOW).await;
        assert!(lives.entries().doomed.is_empty());
        let (first, second) = (lives.starting(), lives.starting());
        lives.end(&ended, NOW).await;
        drop(first);
        assert_eq!(lives.entries().doomed.len(), 1);
        let third = lives.starting();
        drop(second);
        assert!(lives.entries().doomed.is_empty());
        drop(third);
    }
}
