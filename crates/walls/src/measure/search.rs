//! Where `ld.so(8)` looks for a library.

use std::fs;
use std::path::{Path, PathBuf};

use super::elf::{Needs, needs};

/// Where distributions without `/etc/ld.so.conf` entries of their own keep libraries.
const STANDARD: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// Tuples under which Debian keeps the libraries of an architecture; its `ld.so` knows them itself.
const TUPLES: [&str; 3] = ["x86_64-linux-gnu", "aarch64-linux-gnu", "riscv64-linux-gnu"];
const CONFIGURATION: &str = "/etc/ld.so.conf";
const CACHE: &str = "/etc/ld.so.cache";
/// Deepest nesting of `include` in the configuration.
const INCLUDE_DEPTH_MAX: usize = 8;

/// The directories of this host.
pub(super) struct Search {
    standard: Vec<PathBuf>,
    configured: Vec<PathBuf>,
    /// Whether a library was found only because the configuration names its directory.
    pub(super) used_configured: bool,
}

impl Search {
    pub(super) fn of_host() -> Self {
        let tuples = TUPLES.iter().flat_map(|tuple| {
            [
                Path::new("/lib").join(tuple),
                Path::new("/usr/lib").join(tuple),
            ]
        });
        let standard = tuples.chain(STANDARD.iter().map(PathBuf::from)).collect();
        let mut configured = Vec::new();
        read_configuration(Path::new(CONFIGURATION), 0, &mut configured);
        Self {
            standard,
            configured,
            used_configured: false,
        }
    }

    /// The cache of `ldconfig(8)`, through which libraries of configured directories are found.
    pub(super) fn cache() -> Option<PathBuf> {
        Path::new(CACHE).is_file().then(|| PathBuf::from(CACHE))
    }

    /// The first file that fits: RPATH unless there is a RUNPATH, RUNPATH, standard directories,
    /// configured ones. `named` are the paths under which the file that needs it is known.
    pub(super) fn find(&mut self, library: &str, named: [&Path; 2], of: &Needs) -> Option<PathBuf> {
        if library.contains('/') {
            return Some(PathBuf::from(library))
                .filter(|path| path.is_absolute() && path.is_file());
        }
        let lists = if of.runpath.is_empty() {
            &of.rpath
        } else {
            &of.runpath
        };
        let own = lists
            .iter()
            .flat_map(|list| list.split(':'))
            .flat_map(|directory| {
                named
                    .iter()
                    .filter_map(move |path| expand(directory, path.parent()?))
            });
        if let Some(found) = first(own, library, of) {
            return Some(found);
        }
        if let Some(found) = first(self.standard.iter().cloned(), library, of) {
            return Some(found);
        }
        let found = first(self.configured.iter().cloned(), library, of);
        self.used_configured |= found.is_some();
        found
    }
}

fn first(
    mut directories: impl Iterator<Item = PathBuf>,
    library: &str,
    of: &Needs,
) -> Option<PathBuf> {
    directories.find_map(|directory| {
        let path = directory.join(library);
        let found = needs(&path.canonicalize().ok()?).ok()??;
        (found.machine == of.machine && found.wide == of.wide).then_some(path)
    })
}

/// An entry of RPATH or RUNPATH with `$ORIGIN` replaced; entries with other tokens are left out.
fn expand(directory: &str, origin: &Path) -> Option<PathBuf> {
    let origin = origin.to_str()?;
    let text = directory
        .replace("${ORIGIN}", origin)
        .replace("$ORIGIN", origin);
    let absolute = text.starts_with('/') && !text.contains('$');
    absolute.then(|| tidy(Path::new(&text)))
}

/// `path` without `.` and `..` in its text, so that it can be declared.
fn tidy(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

fn read_configuration(file: &Path, depth: usize, directories: &mut Vec<PathBuf>) {
    if depth == INCLUDE_DEPTH_MAX {
        return;
    }
    let Ok(text) = fs::read_to_string(file) else {
        return;
    };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line.strip_prefix("include") {
            for included in matching(file, pattern.trim()) {
                read_configuration(&included, depth + 1, directories);
            }
        } else if line.starts_with('/') {
            directories.push(PathBuf::from(line));
        }
    }
}

/// The files of an `include`, whose last part may have one `*`.
fn matching(file: &Path, pattern: &str) -> Vec<PathBuf> {
    let pattern = file.parent().unwrap_or(Path::new("/")).join(pattern);
    let (Some(directory), Some(name)) = (pattern.parent(), pattern.file_name()) else {
        return Vec::new();
    };
    let name = name.to_string_lossy();
    let Some((before, after)) = name.split_once('*') else {
        return vec![pattern.clone()];
    };
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.len() >= before.len() + after.len()
            && name.starts_with(before)
            && name.ends_with(after)
    };
    let listed = fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<_> = listed
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(fits)
        .collect();
    files.sort_unstable();
    files
}
