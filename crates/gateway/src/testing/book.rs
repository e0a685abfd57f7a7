//! The server's side of leases and ownership, for several gateways.

use std::collections::{HashMap, HashSet};

use aims_lease::{Claim, Owner, Terms, Told, Verdict, window};
use aims_links::{LeaseAsk, LinkError, OwnedTree, ShippedRecord, TreeClaim, TreeGrant};
use aims_model::{Point, Record, TreeOwner, Unaccounted};
use aims_types::{BootTime, Gateway, Id, Revision, Task};

/// Leases, owners and logs.
#[derive(Default)]
pub(crate) struct Book {
    leases: HashMap<Id<Gateway>, (BootTime, Option<String>)>,
    owners: HashMap<Id<Task>, TreeOwner>,
    logs: HashMap<Id<Gateway>, usize>,
    /// All records, in the order of the log.
    records: Vec<Vec<u8>>,
    /// Whose link is cut.
    pub(crate) cut: HashSet<Id<Gateway>>,
    /// The least limit of a task, where there is one.
    pub(crate) least: HashMap<Id<Task>, u64>,
    /// Tasks in which a sum is limited.
    pub(crate) summed: HashSet<Id<Task>>,
    /// What is said instead of the truth.
    pub(crate) lies: HashMap<Id<Gateway>, TreeClaim>,
    /// Nothing is given back.
    pub(crate) keeps: bool,
    /// How often a tree was claimed.
    pub(crate) claims: usize,
}

impl Book {
    /// Whether the gateway can be heard.
    pub(crate) fn hears(&self, gateway: Id<Gateway>) -> Result<(), LinkError> {
        if self.cut.contains(&gateway) {
            return super::control::unused();
        }
        Ok(())
    }

    pub(crate) fn renew(&mut self, ask: &LeaseAsk, now: BootTime) -> Result<(), LinkError> {
        let terms = Terms::default();
        let Point::Gateway(gateway) = ask.point else {
            panic!("no gateway")
        };
        self.hears(gateway)?;
        let told = Told {
            in_force: ask.in_force,
            head: ask.head.map_or(0, |(seq, _)| seq),
        };
        let shipped = self.head(gateway);
        for owner in self.owners.values_mut() {
            let unaccounted = &mut owner.unaccounted;
            unaccounted.retain(|lost| lost.gateway != gateway || !told.accounts_for(lost, shipped));
        }
        let until = now.plus(terms.span());
        self.leases.insert(gateway, (until, ask.address.clone()));
        Ok(())
    }

    pub(crate) fn claim(
        &mut self,
        (claimant, task): (Id<Gateway>, Id<Task>),
        now: BootTime,
        revision: Revision,
    ) -> Result<TreeClaim, LinkError> {
        self.hears(claimant)?;
        self.claims += 1;
        if let Some(lie) = self.lies.get(&claimant) {
            return Ok(lie.clone());
        }
        let lease = |gateway| self.leases.get(gateway);
        let owner = self.owners.get(&task).map(|row| Owner {
            row,
            lease_ended: lease(&row.gateway).is_none_or(|(until, _)| now >= *until),
            summed: self.summed.contains(&task),
        });
        let claim = Claim {
            claimant,
            task,
            window: window(self.least.get(&task).copied()),
            next: revision.next(),
            owner,
        };
        Ok(match claim.decide() {
            Verdict::Granted(ownership) => {
                let row = ownership.row;
                self.owners.insert(task, row.clone());
                TreeClaim::Owned(TreeGrant {
                    epoch: row.epoch,
                    before: ownership.before,
                    window: row.window,
                    // A state of the next revision is on its way when it is taken over.
                    revision: match ownership.taken_from {
                        Some(_) => revision.next(),
                        None => revision,
                    },
                    unaccounted: row.unaccounted,
                })
            }
            Verdict::Owner { gateway, .. } => TreeClaim::Elsewhere {
                gateway,
                address: self.leases[&gateway].1.clone().unwrap(),
            },
            Verdict::Unavailable { why } => TreeClaim::Unavailable {
                why: why.to_string(),
            },
        })
    }

    pub(crate) fn release(&mut self, gateway: Id<Gateway>, trees: &[OwnedTree]) {
        for tree in trees.iter().filter(|_| !self.keeps) {
            let owner = self.owners.get_mut(&tree.task).unwrap();
            assert_eq!(owner.gateway, gateway, "only the owner gives back");
            owner.released = true;
        }
    }

    pub(crate) fn is_released(&self, task: Id<Task>) -> bool {
        self.owners.get(&task).is_some_and(|owner| owner.released)
    }

    /// Who is unaccounted for.
    pub(crate) fn lost(&self, task: Id<Task>) -> Vec<Unaccounted> {
        self.owners[&task].unaccounted.clone()
    }

    pub(crate) fn ship(&mut self, gateway: Id<Gateway>, shipped: Vec<ShippedRecord>) -> u64 {
        let log = self.logs.entry(gateway).or_default();
        for record in shipped {
            *log += 1;
            assert_eq!(record.seq, *log as u64, "no gap, nothing twice");
            self.records.push(record.record);
        }
        *log as u64
    }

    pub(crate) fn head(&self, gateway: Id<Gateway>) -> u64 {
        self.logs.get(&gateway).map_or(0, |log| *log as u64)
    }

    pub(crate) fn task_records(&self, task: Id<Task>, skip: u64, limit: u32) -> Vec<Vec<u8>> {
        let about = |record: &&Vec<u8>| Record::decode(record).unwrap().event.task == Some(task);
        let about = self.records.iter().filter(about).cloned();
        let about = about.skip(usize::try_from(skip).unwrap());
        about.take(usize::try_from(limit).unwrap()).collect()
    }
}
