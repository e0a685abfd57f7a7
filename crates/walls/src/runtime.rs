//! From the programs and trees that a registration names to all that must be declared.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use aims_crypto::sha256;
use aims_types::Digest;
use serde::{Deserialize, Serialize};

use crate::measure::{self, MeasureError, Tree};
use crate::plan::{Bind, Plan, Symlink};
use crate::stage::{Stage, StageError};

/// Longest first line of a script that is looked at, as the kernel has it.
const SHEBANG_LEN_MAX: u64 = 255;

/// One declared and measured path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredPath {
    /// Its real place on the host, which is also its place inside.
    pub path: PathBuf,
    /// What is there.
    pub what: Declared,
}

/// What lies at a declared path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Declared {
    /// A regular file.
    File {
        /// Its digest.
        digest: Digest,
        /// Its size.
        size: u64,
        /// Whether it is a program or a library.
        executable: bool,
    },
    /// A directory with everything in it.
    Tree(Tree),
    /// A symbolic link that leads to another declared path.
    Link {
        /// What it says.
        target: PathBuf,
    },
}

impl DeclaredPath {
    /// What was measured of it: a file's content, a tree's manifest, a link's target.
    pub fn digest(&self) -> Digest {
        match &self.what {
            Declared::File { digest, .. } => *digest,
            Declared::Tree(tree) => tree.digest,
            Declared::Link { target } => sha256(target.as_os_str().as_bytes()),
        }
    }
}

/// Measures `paths`, and adds the links that lead to them, the interpreters of scripts, and the
/// libraries that programs and the modules in trees need. The result has one entry per path, in
/// order, and no entry inside a tree.
pub fn closure(paths: &[PathBuf]) -> Result<Vec<DeclaredPath>, MeasureError> {
    let mut found = Found::default();
    found.follow(paths.to_vec())?;
    found.measured()
}

/// Measures again what [`closure`] found before: gives the same where nothing changed. A link
/// stands for itself; what it leads to was declared beside it.
pub fn remeasure(paths: &[PathBuf]) -> Result<Vec<DeclaredPath>, MeasureError> {
    let is_link = |path: &&PathBuf| {
        path.symlink_metadata()
            .is_ok_and(|found| found.is_symlink())
    };
    let (links, others): (Vec<&PathBuf>, Vec<&PathBuf>) = paths.iter().partition(is_link);
    let mut found = Found::default();
    for link in links {
        found.note(measure::resolve(link)?.links);
    }
    found.follow(others.into_iter().cloned().collect())?;
    found.measured()
}

/// Adds `declared` to `plan`, bound in place.
pub fn declare(plan: &mut Plan, declared: &[DeclaredPath]) {
    for entry in declared {
        add(plan, entry, entry.path.clone());
    }
}

/// Adds `declared` to `plan`, each bound from its copy in `stage`, which is made if needed.
pub fn declare_staged(
    plan: &mut Plan,
    declared: &[DeclaredPath],
    stage: &Stage,
) -> Result<(), StageError> {
    plan.stage = Some(stage.kept());
    for entry in declared {
        let from = match &entry.what {
            Declared::Tree(tree) => stage.put_tree(&entry.path, &tree.digest)?.path,
            Declared::File { digest, .. } => stage.put_file(&entry.path, digest)?.path,
            Declared::Link { .. } => PathBuf::new(),
        };
        add(plan, entry, from);
    }
    Ok(())
}

fn add(plan: &mut Plan, entry: &DeclaredPath, from: PathBuf) {
    let to = entry.path.clone();
    let executable = match &entry.what {
        Declared::Link { target } => {
            plan.symlinks.push(Symlink {
                at: to,
                target: target.clone(),
            });
            return;
        }
        Declared::File { executable, .. } => *executable,
        Declared::Tree(tree) => tree.executable,
    };
    plan.binds.push(Bind {
        from,
        to,
        writable: false,
        executable,
    });
}

#[derive(Default)]
struct Found {
    seen: BTreeSet<PathBuf>,
    links: BTreeMap<PathBuf, PathBuf>,
    files: BTreeSet<PathBuf>,
    trees: BTreeSet<PathBuf>,
}

impl Found {
    /// Adds `waiting` and everything that they need.
    fn follow(&mut self, mut waiting: Vec<PathBuf>) -> Result<(), MeasureError> {
        while let Some(path) = waiting.pop() {
            let Some(real) = self.resolve(&path)? else {
                continue;
            };
            if real.is_dir() {
                waiting.extend(measure::tree_libraries(&real)?);
                self.trees.insert(real);
            } else {
                waiting.extend(measure::libraries(&real)?);
                waiting.extend(interpreter(&real)?);
                self.files.insert(real);
            }
        }
        Ok(())
    }

    fn note(&mut self, links: Vec<measure::Link>) {
        self.links
            .extend(links.into_iter().map(|link| (link.at, link.target)));
    }

    /// The real path of `path`, with the links on the way noted; `None` if it was seen before.
    fn resolve(&mut self, path: &Path) -> Result<Option<PathBuf>, MeasureError> {
        let resolved = measure::resolve(path)?;
        self.note(resolved.links);
        Ok(self
            .seen
            .insert(resolved.real.clone())
            .then_some(resolved.real))
    }

    fn measured(self) -> Result<Vec<DeclaredPath>, MeasureError> {
        let inside = |path: &Path| {
            path.ancestors()
                .skip(1)
                .any(|above| self.trees.contains(above))
        };
        let mut declared = Vec::new();
        for path in self.trees.iter().filter(|path| !inside(path)) {
            let what = Declared::Tree(measure::measure_tree(path)?);
            declared.push(DeclaredPath {
                path: path.clone(),
                what,
            });
        }
        for path in self.files.iter().filter(|path| !inside(path)) {
            let content = measure::content(path)?;
            let executable = content.executable || content.elf;
            let what = Declared::File {
                digest: content.digest,
                size: content.bytes,
                executable,
            };
            declared.push(DeclaredPath {
                path: path.clone(),
                what,
            });
        }
        for (path, target) in self.links.iter().filter(|(path, _)| !inside(path)) {
            let what = Declared::Link {
                target: target.clone(),
            };
            declared.push(DeclaredPath {
                path: path.clone(),
                what,
            });
        }
        declared.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(declared)
    }
}

/// The interpreter that the first line of a script names (execve(2)).
fn interpreter(path: &Path) -> Result<Option<PathBuf>, MeasureError> {
    let mut line = Vec::new();
    let file = measure::open(path)?;
    file.take(SHEBANG_LEN_MAX)
        .read_to_end(&mut line)
        .map_err(MeasureError::io(path))?;
    let Some(rest) = line.strip_prefix(b"#!") else {
        return Ok(None);
    };
    let first = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let named = String::from_utf8_lossy(first);
    let name = named.split_whitespace().next().map(PathBuf::from);
    Ok(name.filter(|name| name.is_absolute()))
}

#[cfg(test)]
mod tests;
