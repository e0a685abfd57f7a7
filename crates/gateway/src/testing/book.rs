//! The server's side of leases and ownership, for several gateways.

use std::collections::{HashMap, HashSet};

use aims_lease::{Claim, HandedOver, Owner, Terms, Verdict};
use aims_links::{LeaseAsk, LinkError, OwnedTree, ShippedRecord, TreeClaim};
use aims_model::{Point, Record};
use aims_types::{BootTime, Gateway, Id, Task};

/// Leases, owners and logs.
#[derive(Default)]
pub(crate) struct Book {
    leases: HashMap<Id<Gateway>, (BootTime, Option<String>)>,
    owners: HashMap<Id<Task>, (Id<Gateway>, u64, bool)>,
    logs: HashMap<Id<Gateway>, usize>,
    /// All records, in the order of the log.
    records: Vec<Vec<u8>>,
    /// Whose link is cut.
    pub(crate) cut: HashSet<Id<Gateway>>,
    /// Tasks in which nothing is counted.
    pub(crate) uncounted: HashSet<Id<Task>>,
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
        let until = now.plus(terms.span());
        self.leases.insert(gateway, (until, ask.address.clone()));
        Ok(())
    }

    pub(crate) fn claim(
        &mut self,
        claimant: Id<Gateway>,
        task: Id<Task>,
        now: BootTime,
    ) -> Result<TreeClaim, LinkError> {
        self.hears(claimant)?;
        self.claims += 1;
        if let Some(lie) = self.lies.get(&claimant) {
            return Ok(lie.clone());
        }
        let owner = self
            .owners
            .get(&task)
            .map(|(gateway, epoch, released)| Owner {
                gateway: *gateway,
                epoch: *epoch,
                handed_over: if *released {
                    HandedOver::Tree
                } else {
                    HandedOver::Nothing
                },
                lease_ended: self
                    .leases
                    .get(gateway)
                    .is_none_or(|(until, _)| now >= *until),
                counted: !self.uncounted.contains(&task),
            });
        Ok(match (Claim { claimant, owner }).decide() {
            Verdict::Granted { epoch, before } => {
                self.owners.insert(task, (claimant, epoch, false));
                TreeClaim::Owned { epoch, before }
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
            assert_eq!(owner.0, gateway, "only the owner gives back");
            owner.2 = true;
        }
    }

    pub(crate) fn is_released(&self, task: Id<Task>) -> bool {
        self.owners.get(&task).is_some_and(|owner| owner.2)
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
