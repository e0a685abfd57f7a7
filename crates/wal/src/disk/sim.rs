//! A disk that forgets what was not synced, fills up, fails, and crashes on request.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile};

/// Bytes that survive a crash together or not at all.
const PAGE: usize = 16;

#[derive(Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    /// The names as they are now.
    names: BTreeMap<String, usize>,
    /// The names after each change since the last sync of the directory, the synced ones first.
    history: Vec<BTreeMap<String, usize>>,
    files: Vec<Content>,
    /// Operations until everything fails.
    left: Option<u64>,
    done: u64,
    fail_sync: bool,
    /// Bytes there is space for; unlimited if none.
    capacity: Option<u64>,
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    allocated: u64,
}

struct SimFile {
    disk: SimDisk,
    id: usize,
}

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Counts an operation; fails if the disk has crashed.
    fn tick(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.left == Some(0) {
            return Err(io::Error::other("crashed"));
        }
        state.left = state.left.map(|left| left - 1);
        state.done += 1;
        Ok(state)
    }

    /// Fails everything after `left` more operations.
    pub(crate) fn crash_after(&self, left: u64) {
        self.state().left = Some(left);
    }

    /// How many operations were done.
    pub(crate) fn done(&self) -> u64 {
        self.state().done
    }

    pub(crate) fn fail_sync(&self, fail: bool) {
        self.state().fail_sync = fail;
    }

    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Bytes in use, allocations included.
    pub(crate) fn used(&self) -> u64 {
        self.state().used()
    }

    /// What a new process finds after this one was killed.
    pub(crate) fn after_kill(&self) -> Self {
        let mut state = self.state().clone();
        (state.left, state.fail_sync) = (None, false);
        Self(Arc::new(Mutex::new(state)))
    }

    /// What is found after the power failed; `seed` decides what of the unsynced part survives.
    pub(crate) fn after_power_loss(&self, seed: u64) -> Self {
        let mut state = self.after_kill().state().clone();
        let mut dice = Dice(seed.wrapping_mul(2).wrapping_add(1));
        state.history.push(state.names.clone());
        let which = dice.below(state.history.len());
        state.names = state.history[which].clone();
        state.history.clear();
        for file in &mut state.files {
            file.now = dice.tear(&file.durable, &file.now);
            file.durable = file.now.clone();
        }
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        state
            .names
            .iter()
            .map(|(name, id)| (name.clone(), state.files[*id].now.clone()))
            .collect()
    }

    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let id = state.names[name];
        edit(&mut state.files[id].now);
    }
}

impl State {
    fn used(&self) -> u64 {
        let used = |id: &usize| {
            let file = &self.files[*id];
            file.allocated.max(file.now.len() as u64)
        };
        self.names.values().map(used).sum()
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn grow(&mut self, id: usize, end: u64) -> io::Result<()> {
        let file = &self.files[id];
        let more = end.saturating_sub(file.allocated.max(file.now.len() as u64));
        if self
            .capacity
            .is_some_and(|capacity| more > 0 && self.used() + more > capacity)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.tick()?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.tick()?;
        let id = state.files.len();
        state.files.push(Content::default());
        let before = state.names.clone();
        state.history.push(before);
        state.names.insert(name.to_owned(), id);
        Ok(Box::new(SimFile {
            disk: self.clone(),
            id,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let id = self.tick()?.find(name)?;
        Ok(Box::new(SimFile {
            disk: self.clone(),
            id,
        }))
    }

    fn read_at(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let state = self.tick()?;
        let bytes = state.files[state.find(name)?].now.iter();
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let offset = usize::try_from(offset).unwrap();
        Ok(bytes.skip(offset).take(len).copied().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.tick()?;
        let id = state.find(from)?;
        let before = state.names.clone();
        state.history.push(before);
        state.names.remove(from);
        state.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.tick()?;
        state.find(name)?;
        let before = state.names.clone();
        state.history.push(before);
        state.names.remove(name);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.tick()?.history.clear();
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let mut state = self.disk.tick()?;
        state.grow(self.id, (offset + bytes.len()) as u64)?;
        let now = &mut state.files[self.id].now;
        now.resize(now.len().max(offset + bytes.len()), 0);
        now[offset..offset + bytes.len()].copy_from_slice(bytes);
        // A crash comes in the middle of a write, too.
        if state.left == Some(0) {
            return Err(io::Error::other("crashed"));
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.tick()?;
        if state.fail_sync {
            return Err(io::Error::other("sync failed"));
        }
        let file = &mut state.files[self.id];
        file.durable = file.now.clone();
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.tick()?;
        let file = &mut state.files[self.id];
        file.now.truncate(usize::try_from(len).unwrap());
        file.allocated = len;
        Ok(())
    }

    fn allocate(&mut self, end: u64) -> io::Result<()> {
        let mut state = self.disk.tick()?;
        state.grow(self.id, end)?;
        let file = &mut state.files[self.id];
        file.allocated = file.allocated.max(end);
        Ok(())
    }
}

/// A small random number generator (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() >> 16).unwrap() % limit.max(1)
    }

    /// Some of the pages of `now`, the others as they are in `durable` or zero.
    fn tear(&mut self, durable: &[u8], now: &[u8]) -> Vec<u8> {
        let (short, long) = (durable.len().min(now.len()), durable.len().max(now.len()));
        let len = match self.below(3) {
            0 => now.len(),
            1 => durable.len(),
            _ => short + self.below(long - short + 1),
        };
        let mut torn = Vec::with_capacity(len);
        while torn.len() < len {
            let source = if self.below(2) == 0 { durable } else { now };
            for at in torn.len()..len.min(torn.len() + PAGE) {
                torn.push(source.get(at).copied().unwrap_or(0));
            }
        }
        torn
    }
}
