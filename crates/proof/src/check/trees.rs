//! Which gateway owned which delegation tree, and what joining left behind.

use std::collections::{BTreeMap, HashMap, HashSet};

use aims_json::Value;
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
    released: bool,
    /// How much it may have recorded ahead; unknown in logs of earlier releases.
    window: Option<u64>,
    /// Who is unaccounted for: uses, and since when.
    unaccounted: BTreeMap<Id<Gateway>, (u64, u64)>,
    ever: HashSet<Id<Gateway>>,
}

/// What a record says of an owner.
struct Said {
    gateway: Id<Gateway>,
    epoch: u64,
    released: bool,
    window: Option<u64>,
    unaccounted: BTreeMap<Id<Gateway>, (u64, u64)>,
    taken_from: Option<Id<Gateway>>,
}

impl Trees {
    /// One owner after the other: the next epoch, or the same owner gives the tree back. Another
    /// one takes over what was given back, or says from whom it takes it, and then the uses that
    /// may be lost are written down until they are accounted for.
    /// Gives the task and the epoch if the tree was taken over.
    pub(super) fn owned(&mut self, body: Body<'_>) -> Result<Option<(Id<Task>, u64)>, Problem> {
        let task: Id<Task> = body.parsed("task")?;
        let said = Said::read(body)?;
        let follows = match self.owners.get(&task) {
            None => said.epoch == 1 && said.taken_from.is_none() && said.unaccounted.is_empty(),
            Some(last) => said.follows(last),
        };
        if !follows {
            return Err(Problem::Tree(task.to_string()));
        }
        let last = self.owners.remove(&task);
        let mut ever = last.map_or_else(HashSet::new, |owner| owner.ever);
        ever.insert(said.gateway);
        let owner = Owner {
            gateway: said.gateway,
            epoch: said.epoch,
            released: said.released,
            window: said.window,
            unaccounted: said.unaccounted,
            ever,
        };
        self.owners.insert(task, owner);
        Ok(said.taken_from.map(|_| (task, said.epoch)))
    }

    /// A lost owner is accounted for: the log, of which `records` are here, goes as far as it told.
    pub(super) fn accounted(
        &mut self,
        body: Body<'_>,
        records: impl Fn(Source) -> u64,
    ) -> Result<(), Problem> {
        let task: Id<Task> = body.parsed("task")?;
        let gateway: Id<Gateway> = body.parsed("gateway")?;
        let here = records(Source::Gateway(gateway));
        let owner = self.owners.get_mut(&task);
        let was = owner.and_then(|owner| owner.unaccounted.remove(&gateway));
        if was.is_some() && body.number("head")? <= here {
            return Ok(());
        }
        let (task, gateway) = (task.to_string(), gateway.to_string());
        Err(Problem::Accounted { task, gateway })
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

impl Said {
    fn read(body: Body<'_>) -> Result<Self, Problem> {
        let lost = body.members.get("unaccounted").and_then(Value::as_array);
        let lost = lost.unwrap_or_default().iter().map(|one| {
            let gateway = one.get("gateway")?.as_str()?.parse().ok()?;
            let (uses, since) = (one.get("uses")?.as_u64()?, one.get("since")?.as_u64()?);
            Some((gateway, (uses, since)))
        });
        let lost: Option<BTreeMap<_, _>> = lost.collect();
        Ok(Self {
            gateway: body.parsed("gateway")?,
            epoch: body.number("epoch")?,
            released: body.flag("released")?,
            window: body.members.get("window").and_then(Value::as_u64),
            unaccounted: lost.ok_or_else(|| body.missing("unaccounted"))?,
            taken_from: body.optional("taken_from")?,
        })
    }

    fn follows(&self, last: &Owner) -> bool {
        let same = self.gateway == last.gateway;
        let kept = self.unaccounted == last.unaccounted;
        if self.epoch == last.epoch {
            // It gives the tree back.
            return same && self.released && kept && self.taken_from.is_none();
        }
        if self.released || self.epoch != last.epoch.saturating_add(1) {
            return false;
        }
        match self.taken_from {
            Some(from) => from == last.gateway && !last.released && self.charges(last),
            // Earlier releases wrote no window, and let trees go in which nothing was counted.
            None => kept && (last.released || same || last.window.is_none()),
        }
    }

    /// Whether exactly the window of the last owner comes to what was unaccounted for before.
    fn charges(&self, last: &Owner) -> bool {
        let before = last.unaccounted.get(&last.gateway);
        let (uses, since) = before.copied().unwrap_or_default();
        let others = |all: &BTreeMap<Id<Gateway>, (u64, u64)>| {
            let mut others = all.clone();
            others.remove(&last.gateway);
            others
        };
        let now = self.unaccounted.get(&last.gateway);
        let charged = now.zip(last.window).is_some_and(|(now, window)| {
            window > 0 && now.0 == uses.saturating_add(window) && now.1 > since
        });
        charged && others(&self.unaccounted) == others(&last.unaccounted)
    }
}
