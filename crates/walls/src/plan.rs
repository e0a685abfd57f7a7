//! What a set of walls holds: the program, what it may see, and its limits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aims_types::Digest;
use serde::{Deserialize, Serialize};

mod check;

pub use check::PlanError;
pub(crate) use check::{GENERATED, check};

/// Most arguments of a program.
pub const ARGV_MAX: usize = 1024;
/// Most environment variables.
pub const ENV_MAX: usize = 256;
/// Most binds, and most symbolic links.
pub const BINDS_MAX: usize = 4096;
/// Most copied files; each costs one descriptor while the walls are built.
pub const COPIES_MAX: usize = 256;
/// Smallest host uid that may be reserved for an instance: above every account and `nobody`.
pub const HOST_UID_MIN: u32 = 65_536;
/// The uid and gid that the program sees as its own.
pub const INSIDE_UID: u32 = 1000;
/// The host name inside.
pub const HOSTNAME: &str = "aims";

/// Everything that a program inside the walls has and sees; what is not named is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The program, by its absolute path inside, and its arguments.
    pub argv: Vec<String>,
    /// The exact environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Where the program starts, as a path inside.
    pub workdir: PathBuf,
    /// Files and trees of the host that appear inside.
    #[serde(default)]
    pub binds: Vec<Bind>,
    /// The directory of a store that only the caller can walk into; binds from below it are found
    /// all the same.
    #[serde(default)]
    pub stage: Option<PathBuf>,
    /// Files that are copied, and digested while they are, into the read-only root.
    #[serde(default)]
    pub copies: Vec<CopyIn>,
    /// Symbolic links created in the root.
    #[serde(default)]
    pub symlinks: Vec<Symlink>,
    /// The listeners through which the program reaches its guard.
    #[serde(default)]
    pub door: Option<Door>,
    /// Which network the program has.
    #[serde(default)]
    pub network: Network,
    /// What the program may use.
    #[serde(default)]
    pub limits: Limits,
    /// The reserved uid on the host: required when the caller is root, refused otherwise.
    #[serde(default)]
    pub host_uid: Option<u32>,
    /// Standard input is a terminal of the program's own and becomes its controlling terminal.
    #[serde(default)]
    pub terminal: bool,
}

/// A file or tree of the host that appears inside: read-only, nosuid, nodev, noexec unless said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// The real path on the host: no component is a symbolic link.
    pub from: PathBuf,
    /// The path inside.
    pub to: PathBuf,
    /// Whether the program may write there. Never together with `executable`.
    #[serde(default)]
    pub writable: bool,
    /// Whether the program may run or map code from there.
    #[serde(default)]
    pub executable: bool,
}

/// A file copied into the root; its content comes from the open file given at the same position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyIn {
    /// The path inside.
    pub to: PathBuf,
    /// Whether the program may run it.
    #[serde(default)]
    pub executable: bool,
    /// The digest that the content must have; otherwise the walls are not built.
    #[serde(default)]
    pub expected: Option<Digest>,
}

/// A symbolic link in the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Symlink {
    /// The path inside.
    pub at: PathBuf,
    /// What it says.
    pub target: PathBuf,
}

/// The two listeners that exist inside and are accepted on by the guard outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Door {
    /// The port on 127.0.0.1 of the walls' own network namespace; unprivileged.
    pub tcp_port: u16,
    /// The Unix socket, as a path inside.
    pub unix_path: PathBuf,
}

/// Which network a program has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A network namespace of its own with a loopback interface and nothing else.
    #[default]
    None,
    /// The host's network; for tools whose registration says so.
    Host,
}

/// What a program may use. Address space is not limited: JIT compilers reserve far more than they
/// use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Size of the private `/tmp`.
    pub tmp_bytes: u64,
    /// Size of the root, which holds the copied files.
    pub root_bytes: u64,
    /// Open files per process (`RLIMIT_NOFILE`).
    pub open_files: u64,
    /// Processes and threads inside (`RLIMIT_NPROC`).
    pub processes: u64,
    /// Largest file that may be written (`RLIMIT_FSIZE`).
    pub file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tmp_bytes: 256 << 20,
            root_bytes: 256 << 20,
            open_files: 1024,
            processes: 512,
            file_bytes: 1 << 30,
        }
    }
}

impl Plan {
    /// A plan for `argv` that shows it nothing, with no door, in `/tmp`.
    pub fn new(argv: Vec<String>) -> Self {
        Self {
            argv,
            env: BTreeMap::new(),
            workdir: PathBuf::from("/tmp"),
            binds: Vec::new(),
            stage: None,
            copies: Vec::new(),
            symlinks: Vec::new(),
            door: None,
            network: Network::None,
            limits: Limits::default(),
            host_uid: None,
            terminal: false,
        }
    }

    /// The absolute path of the program inside.
    pub(crate) fn program(&self) -> &Path {
        Path::new(self.argv.first().map_or("", String::as_str))
    }
}

#[cfg(test)]
mod tests;
