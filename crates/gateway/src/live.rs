//! What is under way, and how it is cut off.
//!
//! Everything that goes on for a while (a session, a call, a tunnel) enters here with what it was
//! issued under. A cut-off tells it to end and waits until it has: its entry goes only when
//! nothing of it can start, send or deliver any more. What was ended is told, and of what had been
//! handed on already, that its effect is unknown.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aims_decision::CutOffs;
use aims_model::Subject;
use aims_model::receipt::{Ended, UnknownEffect};
use aims_types::{Decision, Id, Revision, Upstream};
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
    effect: Arc<Effect>,
    _ended: watch::Sender<()>,
}

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A call of a tool.
    Call {
        /// The decision that permits it.
        decision: Id<Decision>,
        /// The tool: `git/git_commit`.
        what: String,
    },
    /// A tool server. It has begun when there is a process.
    Server,
    /// A connection to a host outside.
    Tunnel {
        /// The decision that permits it.
        decision: Id<Decision>,
        /// The host: `files.example:443`.
        what: String,
    },
    /// A request to an upstream.
    Request {
        /// The decision that permits it.
        decision: Id<Decision>,
        /// The request: `POST model/v1/chat`.
        what: String,
        /// The upstream, and the version of its credential.
        upstream: (Id<Upstream>, u32),
    },
    /// A request that another gateway decides and counts.
    Passed,
    /// An answer over a connection to an agent that runs elsewhere, which need not have been read
    /// when it is over.
    Answered,
}

/// What one thing under way does outside: whether it has begun, exactly, whatever comes first.
#[derive(Debug)]
pub(crate) struct Effect {
    kind: Kind,
    stage: AtomicU8,
}

/// Nothing went out yet.
const WAITING: u8 = 0;
/// Bytes may have gone out.
const BEGUN: u8 = 1;
/// Nothing went out, and nothing will.
const BARRED: u8 = 2;
/// It has ended, and how is recorded.
const SETTLED: u8 = 3;

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
    effect: Arc<Effect>,
    ended: watch::Receiver<()>,
}

impl LiveSet {
    /// Enters something that was issued under `subjects` at revision `minted`.
    ///
    /// Whoever enters looks at the cut-offs in force *afterwards*: a state that comes before the
    /// look is seen by it, one that comes after finds the entry.
    pub(crate) fn enter(&self, subjects: Arc<[Subject]>, minted: Revision, kind: Kind) -> Live {
        self.enter_cut_by(CancellationToken::new(), (subjects, minted), kind)
    }

    /// The same for what ends when `cut` is cancelled.
    pub(crate) fn enter_cut_by(
        &self,
        cut: CancellationToken,
        (subjects, minted): (Arc<[Subject]>, Revision),
        kind: Kind,
    ) -> Live {
        let (sender, ended) = watch::channel(());
        let effect = Arc::new(Effect {
            kind,
            stage: AtomicU8::new(WAITING),
        });
        let mut entries = self.entries();
        let number = entries.next;
        entries.next += 1;
        let entry = Entry {
            subjects,
            minted,
            cut: cut.clone(),
            effect: Arc::clone(&effect),
            ended,
        };
        entries.by_number.insert(number, entry);
        drop(entries);
        Live {
            number,
            set: self.clone(),
            cut,
            effect,
            _ended: sender,
        }
    }

    /// Cuts off what `cutoffs` cover, and says what it was, when all of it has ended.
    pub(crate) async fn cut(&self, cutoffs: &CutOffs) -> Ended {
        self.end(|entry| cutoffs.find(&entry.subjects, entry.minted).is_some())
            .await
    }

    /// Cuts off everything.
    pub(crate) async fn cut_all(&self) -> Ended {
        self.end(|_| true).await
    }

    /// Cuts off the requests to upstreams, or under versions of their credentials, of which
    /// `current` says that they are not in force any more.
    pub(crate) async fn cut_requests(
        &self,
        current: impl Fn((Id<Upstream>, u32)) -> bool,
    ) -> Ended {
        self.end(|entry| match &entry.effect.kind {
            Kind::Request { upstream, .. } => !current(*upstream),
            _ => false,
        })
        .await
    }

    async fn end(&self, covers: impl Fn(&Entry) -> bool) -> Ended {
        let ending: Vec<_> = {
            let entries = self.entries();
            let covered = entries.by_number.values().filter(|entry| covers(entry));
            let mut covered: Vec<_> = covered.collect();
            // What is under way learns that it is cut off before its agent seems to be gone.
            covered.sort_by_key(|entry| entry.effect.kind == Kind::Answered);
            covered
                .into_iter()
                .map(|entry| {
                    let effect = Arc::clone(&entry.effect);
                    (entry.cut.clone(), entry.ended.clone(), effect)
                })
                .collect()
        };
        for (cut, _, _) in &ending {
            cut.cancel();
        }
        let mut all = Ended::default();
        for (_, mut ended, effect) in ending {
            // An error is the news that the sender is gone.
            while ended.changed().await.is_ok() {}
            all.add(effect.ended());
        }
        all
    }

    /// Whether anything is under way that was issued under `subject`.
    pub(crate) fn is_under(&self, subject: &Subject) -> bool {
        let entries = self.entries();
        let mut entries = entries.by_number.values();
        entries.any(|entry| entry.effect.kind != Kind::Answered && entry.subjects.contains(subject))
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

    /// What it does outside.
    pub(crate) const fn effect(&self) -> &Arc<Effect> {
        &self.effect
    }
}

impl Effect {
    /// Notes that the first byte is about to go out (of a server: that it is about to run); `false`
    /// if it may not go any more.
    pub(crate) fn begin(&self) -> bool {
        self.become_stage(WAITING, BEGUN) || self.stage.load(Ordering::SeqCst) == BEGUN
    }

    /// Lets nothing begin any more; whether it had begun before.
    pub(crate) fn bar(&self) -> bool {
        !self.become_stage(WAITING, BARRED) && self.has_begun()
    }

    /// Whether bytes may have gone out, and how that ended is not recorded.
    pub(crate) fn has_begun(&self) -> bool {
        self.stage.load(Ordering::SeqCst) == BEGUN
    }

    /// It has ended by itself, and how is recorded.
    pub(crate) fn settle(&self) {
        self.stage.store(SETTLED, Ordering::SeqCst);
    }

    fn become_stage(&self, from: u8, to: u8) -> bool {
        let order = Ordering::SeqCst;
        self.stage.compare_exchange(from, to, order, order).is_ok()
    }

    /// What a receipt says of it when it was cut and has ended.
    fn ended(&self) -> Ended {
        let (calls, servers, tunnels, unknown) = match &self.kind {
            Kind::Call { decision, what } | Kind::Request { decision, what, .. } => {
                (1, 0, 0, Some((decision, what)))
            }
            Kind::Server => (0, u32::from(self.has_begun()), 0, None),
            Kind::Tunnel { decision, what } => (0, 0, 1, Some((decision, what))),
            Kind::Passed | Kind::Answered => (0, 0, 0, None),
        };
        let unknown = unknown.filter(|_| self.has_begun());
        let unknown = unknown.map(|(decision, what)| UnknownEffect {
            decision: *decision,
            what: what.clone(),
        });
        Ended {
            calls,
            servers,
            tunnels,
            unknown: unknown.into_iter().collect(),
            ..Ended::default()
        }
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

    use super::*;

    fn call(n: u128) -> Kind {
        Kind::Call {
            decision: Id::from_u128(n),
            what: "git/git_log".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_cut_waits_for_what_it_covers_and_for_nothing_else() {
        let set = LiveSet::default();
        let subject = |n| Subject::Task(Id::from_u128(n));
        let enter = |n, minted| set.enter(Arc::from([subject(n)]), Revision::new(minted), call(n));
        let (hit, newer, other) = (enter(1, 3), enter(1, 4), enter(2, 3));
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
        assert_eq!(cutting.await.calls, 1);
        assert!(!newer.cut().is_cancelled() && !other.cut().is_cancelled());
    }

    #[tokio::test]
    async fn only_what_had_gone_out_and_was_not_concluded_is_unknown() {
        let set = LiveSet::default();
        let enter = |kind| set.enter(Arc::from([]), Revision::ZERO, kind);
        let (waiting, begun, barred, settled) = (
            enter(call(1)),
            enter(call(2)),
            enter(call(3)),
            enter(call(4)),
        );
        let (idle, running) = (enter(Kind::Server), enter(Kind::Server));
        assert!(begun.effect().begin() && begun.effect().bar());
        assert!(
            !barred.effect().bar() && !barred.effect().begin(),
            "never after a bar"
        );
        assert!(settled.effect().begin() && running.effect().begin());
        settled.effect().settle();
        let dropped = async { drop((waiting, begun, barred, settled, idle, running)) };
        let (ended, ()) = tokio::join!(set.cut_all(), dropped);
        assert_eq!((ended.calls, ended.servers, ended.tunnels), (4, 1, 0));
        let unknown: Vec<_> = ended.unknown.iter().map(|one| one.decision).collect();
        assert_eq!(unknown, [Id::from_u128(2)]);
    }
}
