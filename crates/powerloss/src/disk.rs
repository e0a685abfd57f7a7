//! A disk that forgets what was not synced.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::{Call, Step};

/// Bytes of a write that survive a power failure together or not at all.
pub const SECTOR: usize = 512;

/// The files below one directory, as they are and as they are known to last.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The first one is the directory at the top.
    nodes: Vec<Node>,
    honest: bool,
}

/// What becomes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Luck {
    /// All of it lasts: the process was killed, the system went on.
    Killed,
    /// None of it lasts.
    Forgotten,
    /// Some parts last, others don't.
    Dice(u64),
}

/// What is found after a crash: directories have no bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Image(BTreeMap<PathBuf, Option<Vec<u8>>>);

#[derive(Debug, Clone)]
enum Node {
    File(Content),
    Dir(Names),
}

#[derive(Debug, Clone, Default)]
struct Content {
    durable: Vec<u8>,
    /// In their order; what a failed sync covered is marked as never synced.
    pending: Vec<(Change, bool)>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { len: usize },
}

#[derive(Debug, Clone, Default)]
struct Names {
    now: BTreeMap<OsString, usize>,
    /// The names after each change since the last sync, the synced ones first.
    history: Vec<BTreeMap<OsString, usize>>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            nodes: vec![Node::Dir(Names::default())],
            honest: true,
        }
    }
}

impl Disk {
    /// A disk that says it synced and did not: what a test must find to be worth anything.
    pub fn lying() -> Self {
        Self {
            honest: false,
            ..Self::default()
        }
    }

    /// Makes a step of the program.
    pub fn apply(&mut self, step: &Step) -> Result<()> {
        match (&step.call, step.failed) {
            (Call::Sync { path }, Some(_)) => self.sync_failed(path),
            (_, Some(_)) => Ok(()),
            (call, None) => self
                .change(call)
                .with_context(|| format!("{call:?} does not fit what was seen before")),
        }
    }

    fn change(&mut self, call: &Call) -> Result<()> {
        match call {
            Call::Create { path } => self.add(path, Node::File(Content::default())),
            Call::MakeDir { path } => self.add(path, Node::Dir(Names::default())),
            Call::Remove { path } => self.rename(path, None),
            Call::Rename { from, to } => {
                ensure!(
                    from.parent() == to.parent(),
                    "from one directory to another"
                );
                self.rename(from, Some(to))
            }
            Call::Write {
                path,
                offset,
                bytes,
            } => {
                let (offset, bytes) = (usize::try_from(*offset)?, bytes.clone());
                self.note(path, Change::Write { offset, bytes })
            }
            Call::Truncate { path, len } => {
                let len = usize::try_from(*len)?;
                self.note(path, Change::Truncate { len })
            }
            Call::Sync { path } if self.honest => self.sync(path),
            Call::Sync { .. } | Call::Say { .. } => Ok(()),
        }
    }

    fn note(&mut self, path: &Path, change: Change) -> Result<()> {
        self.file(path)?.pending.push((change, false));
        Ok(())
    }

    fn sync(&mut self, path: &Path) -> Result<()> {
        let id = self.find(path)?;
        match self.nodes.get_mut(id) {
            Some(Node::File(file)) => {
                let (lost, synced): (Vec<_>, Vec<_>) =
                    file.pending.drain(..).partition(|(_, lost)| *lost);
                for (change, _) in &synced {
                    change.apply(&mut file.durable);
                }
                file.pending = lost;
            }
            Some(Node::Dir(dir)) => dir.history.clear(),
            None => bail!("no such file"),
        }
        Ok(())
    }

    /// After a failed sync the system takes what it could not write for written.
    fn sync_failed(&mut self, path: &Path) -> Result<()> {
        let id = self.find(path)?;
        if let Some(Node::File(file)) = self.nodes.get_mut(id) {
            for (_, lost) in &mut file.pending {
                *lost = true;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, node: Node) -> Result<()> {
        let id = self.nodes.len();
        let (dir, name) = self.place(path)?;
        dir.history.push(dir.now.clone());
        dir.now.insert(name, id);
        self.nodes.push(node);
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: Option<&Path>) -> Result<()> {
        let (dir, name) = self.place(from)?;
        let before = dir.now.clone();
        let id = dir.now.remove(&name).context("no such name")?;
        if let Some(to) = to {
            let to = to.file_name().context("no name")?;
            dir.now.insert(to.to_owned(), id);
        }
        dir.history.push(before);
        Ok(())
    }

    /// The directory of `path`, and its name in it.
    fn place(&mut self, path: &Path) -> Result<(&mut Names, OsString)> {
        let name = path.file_name().context("no name")?.to_owned();
        let id = self.find(path.parent().context("no directory")?)?;
        match self.nodes.get_mut(id) {
            Some(Node::Dir(dir)) => Ok((dir, name)),
            _ => bail!("not in a directory"),
        }
    }

    fn file(&mut self, path: &Path) -> Result<&mut Content> {
        let id = self.find(path)?;
        match self.nodes.get_mut(id) {
            Some(Node::File(file)) => Ok(file),
            _ => bail!("not a file"),
        }
    }

    fn find(&self, path: &Path) -> Result<usize> {
        let mut at = 0;
        for name in path {
            let Some(Node::Dir(dir)) = self.nodes.get(at) else {
                bail!("not a directory");
            };
            at = *dir.now.get(name).context("no such file")?;
        }
        Ok(at)
    }

    /// What is found if everything ends now.
    pub fn crash(&self, luck: Luck) -> Image {
        let mut dice = match luck {
            Luck::Dice(seed) => Dice(seed.wrapping_mul(2).wrapping_add(1)),
            Luck::Killed | Luck::Forgotten => Dice(1),
        };
        let mut found = BTreeMap::new();
        let mut open = vec![(PathBuf::new(), 0)];
        while let Some((path, id)) = open.pop() {
            match self.nodes.get(id) {
                Some(Node::Dir(dir)) => {
                    let names = dir.after(luck, &mut dice);
                    open.extend(names.iter().map(|(name, id)| (path.join(name), *id)));
                    found.insert(path, None);
                }
                Some(Node::File(file)) => {
                    found.insert(path, Some(file.after(luck, &mut dice)));
                }
                None => {}
            }
        }
        Image(found)
    }
}

impl Names {
    fn after(&self, luck: Luck, dice: &mut Dice) -> &BTreeMap<OsString, usize> {
        let index = match luck {
            Luck::Killed => self.history.len(),
            Luck::Forgotten => 0,
            Luck::Dice(_) => dice.below(self.history.len() + 1),
        };
        self.history.get(index).unwrap_or(&self.now)
    }
}

impl Content {
    fn after(&self, luck: Luck, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (change, _) in &self.pending {
            match luck {
                Luck::Killed => change.apply(&mut bytes),
                Luck::Forgotten => {}
                Luck::Dice(_) => match dice.below(3) {
                    0 => {}
                    1 => change.apply(&mut bytes),
                    _ => change.apply_torn(&mut bytes, dice),
                },
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => put(file, *offset, bytes),
            Self::Truncate { len } => file.resize(*len, 0),
        }
    }

    fn apply_torn(&self, file: &mut Vec<u8>, dice: &mut Dice) {
        match self {
            Self::Write { offset, bytes } => {
                for (at, part) in (*offset..).step_by(SECTOR).zip(bytes.chunks(SECTOR)) {
                    if dice.below(2) == 0 {
                        put(file, at, part);
                    }
                }
            }
            Self::Truncate { .. } => self.apply(file),
        }
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    if let Some(place) = file.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

impl Image {
    /// Makes the files below `top`, which must be empty.
    pub fn write_to(&self, top: &Path) -> Result<()> {
        for (path, bytes) in &self.0 {
            let target = top.join(path);
            match bytes {
                None if path.as_os_str().is_empty() => {}
                None => DirBuilder::new().mode(0o700).create(&target)?,
                Some(bytes) => {
                    let mut options = OpenOptions::new();
                    let file = options.write(true).create_new(true).mode(0o600);
                    let mut file: File = file.open(&target)?;
                    file.write_all(bytes)?;
                }
            }
        }
        Ok(())
    }

    /// The same as the directory `top` has it.
    pub fn read_from(top: &Path) -> Result<Self> {
        let mut found = BTreeMap::new();
        let mut open = vec![PathBuf::new()];
        while let Some(path) = open.pop() {
            let here = top.join(&path);
            if here.is_dir() {
                for entry in fs::read_dir(&here)? {
                    open.push(path.join(entry?.file_name()));
                }
                found.insert(path, None);
            } else {
                found.insert(path, Some(fs::read(&here)?));
            }
        }
        Ok(Self(found))
    }

    /// Without the files that end with one of `endings`.
    #[must_use]
    pub fn without(mut self, endings: &[&str]) -> Self {
        self.0.retain(|path, _| {
            let name = path.as_os_str().to_string_lossy();
            !endings.iter().any(|ending| name.ends_with(ending))
        });
        self
    }

    /// A number that tells images apart.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
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
        usize::try_from(self.roll() >> 33).unwrap_or(0) % limit.max(1)
    }
}
