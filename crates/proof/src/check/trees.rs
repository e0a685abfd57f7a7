//! Which gateway owned which delegation tree, and what joining left behind.

use std::collections::{HashMap, HashSet};

use aims_model::Source;
use aims_types::{Gateway, Id, Task};

use super::Problem;
use super::claims::Body;

/// The owners of trees, the serial numbers of certificates, the digests of join tokens.
#[derive(Default)]
pub(super) struct Trees {
    owners: HashMap<Id<Task>, Owner>,
    serials: HashSet<String>,
    tokens: HashSet<String>,
}

struct Owner {
    gateway: Id<Gateway>,
    epoch: u64,
    ever: HashSet<Id<Gateway>>,
}

impl Trees {
    /// One owner after the other: the next epoch, or the same owner gives the tree back.
    pub(super) fn owned(&mut self, body: Body<'_>) -> Result<(), Problem> {
        let task: Id<Task> = body.parsed("task")?;
        let gateway: Id<Gateway> = body.parsed("gateway")?;
        let epoch = body.number("epoch")?;
        let released = body.flag("released")?;
        let last = self.owners.get(&task);
        let next = last.map_or(1, |owner| owner.epoch.saturating_add(1));
        let gives_back =
            last.is_some_and(|owner| released && (owner.epoch, owner.gateway) == (epoch, gateway));
        if epoch != next && !gives_back {
            return Err(Problem::Tree(task.to_string()));
        }
        let mut ever = self
            .owners
            .remove(&task)
            .map_or_else(HashSet::new, |owner| owner.ever);
        ever.insert(gateway);
        let owner = Owner {
            gateway,
            epoch,
            ever,
        };
        self.owners.insert(task, owner);
        Ok(())
    }

    /// Whether the gateway ever owned the task's tree, if any owner of it is recorded.
    pub(super) fn may_decide(&self, task: Id<Task>, source: Source) -> bool {
        match (self.owners.get(&task), source) {
            (Some(owner), Source::Gateway(gateway)) => owner.ever.contains(&gateway),
            _ => true,
        }
    }

    pub(super) fn certified(&mut self, body: Body<'_>) -> Result<(), Problem> {
        let serial = body.text("serial")?;
        if self.serials.insert(serial.to_owned()) {
            Ok(())
        } else {
            Err(Problem::SerialTwice(serial.to_owned()))
        }
    }

    pub(super) fn allowed(&mut self, body: Body<'_>) -> Result<(), Problem> {
        let digest = body.text("digest")?;
        if self.tokens.insert(digest.to_owned()) {
            Ok(())
        } else {
            Err(Problem::JoinTwice(digest.to_owned()))
        }
    }
}
