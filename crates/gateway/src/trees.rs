//! Which delegation trees this gateway owns: their budgets, counts and single-use approvals live at
//! one gateway at a time.

pub(crate) mod ahead;
mod claim;
mod release;

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aims_decision::Budgets;
use aims_lease::NotHeld;
use aims_links::{LinkError, TreeGrant};
use aims_types::{BootTime, Gateway, Id, Instance, Revision, Task, Timestamp};

use crate::core::Uses;
use crate::trees::ahead::Ahead;

pub(crate) use claim::own;
pub(crate) use release::{release_all, release_idle};

/// How long it is believed that another gateway is the owner.
const ELSEWHERE: Duration = Duration::from_secs(10);

/// What is used of the tree of one task, in one epoch of its ownership. A later epoch has another
/// one: what was set aside in an earlier one counts for nothing there.
#[derive(Debug)]
pub(crate) struct Tree {
    epoch: u64,
    /// From which revision on a state's approvals count: older ones may hold approvals that an
    /// earlier owner has used up.
    approvals_from: Revision,
    ahead: Arc<Ahead>,
    budgets: Mutex<Budgets>,
    /// How many calls each instance was permitted.
    pub(crate) uses: Uses,
}

/// Every tree that was asked about.
#[derive(Debug)]
pub(crate) struct Trees {
    capacity: usize,
    entries: Mutex<HashMap<Id<Task>, Arc<Entry>>>,
}

/// Who owns a tree, as far as it is known here.
///
/// INVARIANT: an entry is taken out of [`Trees`] only while nobody else holds it, so there is at
/// most one for a task.
#[derive(Debug)]
struct Entry {
    /// Held by who asks the server: concurrent first calls ask once.
    claiming: tokio::sync::Mutex<()>,
    standing: Mutex<Standing>,
    /// When it was asked about last, in nanoseconds of boot time.
    used: AtomicU64,
}

#[derive(Debug, Clone, Default)]
enum Standing {
    #[default]
    Unknown,
    /// This gateway, as long as its lease has no gap.
    Mine {
        tree: Arc<Tree>,
        epoch: u64,
        term: u64,
    },
    /// It is being given back, and whether the server has heard it is not known.
    Returning { epoch: u64 },
    Elsewhere {
        at: BootTime,
        gateway: Id<Gateway>,
        address: String,
    },
}

/// Who answers requests about a task.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    /// This gateway.
    Mine(Arc<Tree>),
    /// Another one.
    Elsewhere {
        /// Which.
        gateway: Id<Gateway>,
        /// Where it is reached.
        address: String,
    },
}

/// Why nobody answers now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoOwner {
    /// There is no lease.
    #[error("the gateway has no lease, so nothing is allowed; it is renewed with the server: {0}")]
    NotHeld(#[from] NotHeld),
    /// The lease was lost meanwhile.
    #[error("the gateway's lease was interrupted; try again")]
    Interrupted,
    /// Nobody can own it now.
    #[error("no gateway can own this task now: {0}")]
    Unavailable(String),
    /// The server did not answer.
    #[error("who owns this task is not known: the {} did not answer; try again", .0.peer)]
    Link(#[from] LinkError),
    /// It is being given back.
    #[error("the task is being handed over to another gateway; try again")]
    Returning,
    /// What this gateway recorded is not at the server yet.
    #[error("what this gateway recorded about the task is still on its way; try again")]
    NotHandedOver,
    /// What was recorded can't be counted.
    #[error("what this task has used is not known: {0}; an operator has to look")]
    Unreadable(String),
    /// Too many tasks.
    #[error("this gateway serves too many tasks; try again later")]
    TooMany,
}

impl Tree {
    /// What is used of the tree that was granted, with what is unaccounted for until `now`.
    pub(crate) fn new(
        grant: &TreeGrant,
        budgets: Budgets,
        uses: HashMap<Id<Instance>, u32>,
        now: Timestamp,
    ) -> Self {
        let lost = grant.unaccounted.iter().map(|one| one.uses);
        let lost = lost.fold(0, u32::saturating_add);
        Self {
            epoch: grant.epoch,
            approvals_from: grant.revision,
            ahead: Arc::new(Ahead::new(grant.window)),
            budgets: Mutex::new(budgets.without(grant.unaccounted.clone(), now)),
            uses: Uses::new(uses, lost),
        }
    }

    /// How often the tree had had another owner, when this state of it began.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether approvals of this state count.
    pub(crate) fn knows_approvals(&self, state: Revision) -> bool {
        state >= self.approvals_from
    }

    /// How far the gateway is ahead of the server.
    pub(crate) const fn ahead(&self) -> &Arc<Ahead> {
        &self.ahead
    }

    /// The budgets of its delegations.
    pub(crate) fn budgets(&self) -> MutexGuard<'_, Budgets> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody's: nothing that is counted can be recorded in it, and no approval counts.
impl Default for Tree {
    fn default() -> Self {
        Self {
            epoch: 0,
            approvals_from: Revision::new(u64::MAX),
            ahead: Arc::new(Ahead::new(0)),
            budgets: Mutex::default(),
            uses: Uses::default(),
        }
    }
}

impl Trees {
    /// At most `capacity` trees.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: Mutex::default(),
        }
    }

    /// Whether `tree` is the state of the task that counts: this gateway owns the task since then,
    /// and its lease, which is in its `term`-th run, had no gap.
    pub(crate) fn is_mine(&self, task: Id<Task>, tree: &Arc<Tree>, term: u64) -> bool {
        let entry = self.entries().get(&task).cloned();
        entry.is_some_and(|entry| match &*entry.standing() {
            Standing::Mine {
                tree: mine,
                term: since,
                ..
            } => Arc::ptr_eq(mine, tree) && *since == term,
            _ => false,
        })
    }

    /// Forgets where the owner of a task is: it did not answer.
    pub(crate) fn forget_elsewhere(&self, task: Id<Task>) {
        if let Some(entry) = self.entries().get(&task) {
            let mut standing = entry.standing();
            if matches!(*standing, Standing::Elsewhere { .. }) {
                *standing = Standing::Unknown;
            }
        }
    }

    /// Forgets instances that have ended, and ledgers of delegations that have.
    pub(crate) fn forget_ended(&self, now: Timestamp, instances: &[Id<Instance>]) {
        for tree in self.mine() {
            tree.uses.forget(instances.iter().copied());
            tree.budgets().forget_expired(now);
        }
    }

    fn mine(&self) -> Vec<Arc<Tree>> {
        let entries = self.entries();
        let tree = |entry: &Arc<Entry>| match &*entry.standing() {
            Standing::Mine { tree, .. } => Some(Arc::clone(tree)),
            _ => None,
        };
        entries.values().filter_map(tree).collect()
    }

    fn entry(&self, task: Id<Task>, now: BootTime) -> Result<Arc<Entry>, NoOwner> {
        let mut entries = self.entries();
        let full = entries.len() >= self.capacity;
        let entry = match entries.entry(task) {
            MapEntry::Occupied(entry) => Arc::clone(entry.get()),
            MapEntry::Vacant(_) if full => return Err(NoOwner::TooMany),
            MapEntry::Vacant(place) => Arc::clone(place.insert(Arc::new(Entry {
                claiming: tokio::sync::Mutex::new(()),
                standing: Mutex::default(),
                used: AtomicU64::new(0),
            }))),
        };
        entry.used.store(now.nanos(), Ordering::Relaxed);
        Ok(entry)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Id<Task>, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The owner, if it is known without asking.
    fn known(&self, term: u64, now: BootTime) -> Option<Owner> {
        match &*self.standing() {
            Standing::Mine {
                tree, term: since, ..
            } if *since == term => Some(Owner::Mine(Arc::clone(tree))),
            Standing::Elsewhere {
                at,
                gateway,
                address,
            } if now.since(*at) < ELSEWHERE => Some(Owner::Elsewhere {
                gateway: *gateway,
                address: address.clone(),
            }),
            _ => None,
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self, now: BootTime, limit: Duration) -> bool {
        let used = BootTime::from_nanos(self.used.load(Ordering::Relaxed));
        now.since(used) >= limit
    }
}
