//! Giving trees back, when everything that was recorded about them is handed over.

use std::sync::Arc;
use std::time::Duration;

use aims_links::OwnedTree;
use aims_model::Subject;
use aims_types::{Id, Task};
use tokio::time::timeout;

use super::{Entry, Standing};
use crate::core::Core;

/// How long handing over and giving back may take.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most trees given back in one round, or in one request.
const BATCH: usize = 256;

/// Gives back the trees about which nothing was asked for a while and nothing of which is under
/// way, and forgets those of others.
pub(crate) async fn release_idle(core: &Core) {
    core.trees.remove_unused(core);
    let idle = core.trees.idle(core);
    if idle.is_empty() {
        return;
    }
    // While they are held nobody asks for them again.
    let mut given = Vec::new();
    for (task, entry) in &idle {
        if let Ok(claiming) = entry.claiming.try_lock()
            && let Some(before) = entry.take_idle(core, *task)
        {
            given.push((*task, entry, before, claiming));
        }
    }
    if given.is_empty() {
        return;
    }
    // Nothing starts under them any more, and nothing that is counted is recorded: what was being
    // decided meanwhile is refused before, or when it is looked at again.
    if !handed_over(core).await {
        for (_, entry, before, _) in given {
            entry.put_back(before);
        }
        return;
    }
    let trees = given.iter().filter_map(|(task, _, before, _)| {
        let (task, epoch) = (*task, before.epoch()?);
        Some(OwnedTree { task, epoch })
    });
    if give_back(core, trees.collect()).await {
        for (_, entry, ..) in given {
            *entry.standing() = Standing::Unknown;
        }
    }
}

/// Gives everything back: the log is complete and handed over.
pub(crate) async fn release_all(core: &Core) {
    let trees = core.trees.take_all();
    for batch in trees.chunks(BATCH) {
        give_back(core, batch.to_vec()).await;
    }
}

/// Gives trees back; whether the server said that it heard it.
pub(super) async fn give_back(core: &Core, trees: Vec<OwnedTree>) -> bool {
    let released = core.control.tree_release(core.config.id, trees);
    let why = match timeout(RELEASE_TIMEOUT, released).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(why, "trees could not be given back");
    false
}

/// Waits until everything that is durable now is at the server.
pub(super) async fn handed_over(core: &Core) -> bool {
    let head = core.journal.wal().head().seq;
    let mut shipped = core.shipped.subscribe();
    let handed = timeout(RELEASE_TIMEOUT, shipped.wait_for(|seq| *seq >= head)).await;
    matches!(handed, Ok(Ok(_)))
}

impl Entry {
    /// Lets nothing use a tree any more that is not in use, or is being given back already.
    fn take_idle(&self, core: &Core, task: Id<Task>) -> Option<Standing> {
        let idle = self.is_idle(core.clock.boot(), core.config.limits.tree_idle);
        if !idle || core.live.is_under(&Subject::Task(task)) {
            return None;
        }
        let mut standing = self.standing();
        let epoch = standing.epoch()?;
        if let Standing::Mine { tree, .. } = &*standing
            && !tree.ahead().close()
        {
            return None;
        }
        Some(std::mem::replace(
            &mut *standing,
            Standing::Returning { epoch },
        ))
    }
}

impl Entry {
    /// It was not given back after all.
    fn put_back(&self, before: Standing) {
        if let Standing::Mine { tree, .. } = &before {
            tree.ahead().open();
        }
        *self.standing() = before;
    }
}

impl Standing {
    /// The epoch in which the tree is this gateway's.
    pub(super) const fn epoch(&self) -> Option<u64> {
        match self {
            Self::Mine { epoch, .. } | Self::Returning { epoch } => Some(*epoch),
            Self::Unknown | Self::Elsewhere { .. } => None,
        }
    }
}

impl super::Trees {
    fn idle(&self, core: &Core) -> Vec<(Id<Task>, Arc<Entry>)> {
        let (now, limit) = (core.clock.boot(), core.config.limits.tree_idle);
        let entries = self.entries();
        let idle = entries
            .iter()
            .filter(|(_, entry)| entry.is_idle(now, limit) && entry.standing().epoch().is_some());
        let idle = idle.map(|(task, entry)| (*task, Arc::clone(entry)));
        idle.take(BATCH).collect()
    }

    fn remove_unused(&self, core: &Core) {
        let (now, limit) = (core.clock.boot(), core.config.limits.tree_idle);
        self.entries().retain(|_, entry| {
            let mine = entry.standing().epoch().is_some();
            // Who holds it is about to ask about it.
            mine || Arc::strong_count(entry) > 1 || !entry.is_idle(now, limit)
        });
    }

    fn take_all(&self) -> Vec<OwnedTree> {
        let mut entries = self.entries();
        let mine = entries.drain().filter_map(|(task, entry)| {
            let epoch = std::mem::take(&mut *entry.standing()).epoch()?;
            Some(OwnedTree { task, epoch })
        });
        mine.collect()
    }
}
