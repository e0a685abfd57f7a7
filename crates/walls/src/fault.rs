//! What can go wrong, said by the side where it went wrong.

use std::io;
use std::path::PathBuf;

use aims_types::Digest;
use serde::{Deserialize, Serialize};

use crate::plan::PlanError;

/// A kernel feature without which walls are not built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// `CLONE_NEWUSER`.
    #[error("user namespaces")]
    UserNamespaces,
    /// `CLONE_NEWNS`.
    #[error("mount namespaces")]
    MountNamespaces,
    /// `CLONE_NEWPID`.
    #[error("PID namespaces")]
    PidNamespaces,
    /// `CLONE_NEWNET`.
    #[error("network namespaces")]
    NetworkNamespaces,
    /// `CLONE_NEWIPC`.
    #[error("IPC namespaces")]
    IpcNamespaces,
    /// `CLONE_NEWUTS`.
    #[error("UTS namespaces")]
    UtsNamespaces,
    /// `CLONE_NEWCGROUP`.
    #[error("cgroup namespaces")]
    CgroupNamespaces,
    /// `pidfd_open`.
    #[error("pidfd")]
    Pidfd,
    /// tmpfs mounted by an unprivileged user.
    #[error("tmpfs in user namespaces")]
    Tmpfs,
    /// A proc of its own, mounted by an unprivileged user.
    #[error("proc in user namespaces")]
    Proc,
    /// `pivot_root`.
    #[error("pivot_root")]
    PivotRoot,
    /// A loopback interface that comes up.
    #[error("a loopback interface in network namespaces")]
    Loopback,
    /// Capability sets that can be emptied.
    #[error("capability sets")]
    Capabilities,
    /// `PR_SET_NO_NEW_PRIVS`.
    #[error("no_new_privs")]
    NoNewPrivileges,
    /// Landlock.
    #[error("landlock")]
    Landlock,
    /// `SECCOMP_SET_MODE_FILTER`.
    #[error("seccomp")]
    Seccomp,
}

/// Why walls could not be built, or the program in them not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The kernel lacks or refuses a feature; nothing weaker is built.
    #[error("this kernel refuses {feature}: {reason}")]
    Feature {
        /// Which one.
        feature: Feature,
        /// What the kernel said.
        reason: String,
    },
    /// Something that the plan names could not be placed.
    #[error("could not {doing} `{path}`: {reason}")]
    Path {
        /// What was attempted.
        doing: String,
        /// Which path of the plan.
        path: PathBuf,
        /// What the kernel said.
        reason: String,
    },
    /// A copied file is not the one that was registered.
    #[error("`{to}` was expected to be {expected} but is {found}")]
    Edited {
        /// The path inside.
        to: PathBuf,
        /// What the plan expects.
        expected: Digest,
        /// What was copied.
        found: Digest,
    },
    /// A step that needs no rare feature failed.
    #[error("could not {doing}: {reason}")]
    Step {
        /// What was attempted.
        doing: String,
        /// What the kernel said.
        reason: String,
    },
}

impl Fault {
    pub(crate) fn feature(feature: Feature, reason: impl std::fmt::Display) -> Self {
        Self::Feature {
            feature,
            reason: reason.to_string(),
        }
    }

    pub(crate) fn path(
        doing: &str,
        path: impl Into<PathBuf>,
        reason: impl std::fmt::Display,
    ) -> Self {
        Self::Path {
            doing: doing.to_owned(),
            path: path.into(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn step(doing: &str, reason: impl std::fmt::Display) -> Self {
        Self::Step {
            doing: doing.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// Why [`Launcher::build`](crate::Launcher::build) built nothing.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The plan contradicts itself or its caller.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The launcher could not be started or talked to.
    #[error("the launcher could not be started or reached")]
    Launcher(#[from] io::Error),
    /// The walls could not be built.
    #[error(transparent)]
    Walls(#[from] Fault),
    /// The launcher ended without a word.
    #[error("the launcher ended before the walls stood; was it killed?")]
    Gone,
}

/// Why [`Walled::start`](crate::Walled::start) started nothing.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program could not be started.
    #[error(transparent)]
    Program(#[from] Fault),
    /// The walls ended before the program started.
    #[error("the walls ended before the program started")]
    Gone,
}
