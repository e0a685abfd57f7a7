//! Walls around a program: what it may see and use, measured, built from nothing, and ended as one.
//!
//! The same builder serves agents (`aims run`) and tool servers (the gateway). A single-threaded
//! re-execution of the program makes the namespaces and starts PID 1 in them; PID 1 builds a root
//! on a fresh tmpfs, puts itself behind every fence, and only then starts the program.
//!
//! # In scope
//! - measuring files, trees and the libraries a program needs ([`measure`], [`runtime`]);
//! - a content-addressed store of measured files that a reserved uid can read ([`stage`]);
//! - building walls from a [`Plan`], starting, waiting, killing ([`Launcher`]).
//!
//! # Out of scope
//! - what is registered, who may start it, what the door leads to (node and gateway);
//! - limits on memory and processor time: they need a cgroup that the service manager delegates.
//!
//! # Specifications
//! - Linux: `namespaces(7)`, `user_namespaces(7)`, `pid_namespaces(7)`, `capabilities(7)`,
//!   `landlock(7)` up to ABI 7, `seccomp(2)`; the System V ABI (ELF) as read by `ld.so(8)`.
//!
//! # Limits
//! - the session keyring of the caller stays attached, but every system call on keys is refused
//!   and `/proc/keys` is masked: joining a new one has no safe interface;
//! - programs that are bound the same file can signal to each other by locking it, and any two
//!   programs by what they leave in the caches of the processor and of the kernel;
//! - scoping of abstract sockets on the host's network needs Landlock ABI 6 (Linux 6.12);
//! - supplementary groups of an unprivileged caller stay attached (`setgroups` is denied in a user
//!   namespace without help): they matter only for files that the plan binds.

use std::ffi::OsString;
use std::process::ExitCode;

mod descriptors;
mod fault;
pub mod init;
pub mod launcher;
pub mod measure;
pub mod plan;
pub mod runtime;
mod spawn;
pub mod stage;
mod wire;

pub use fault::{BuildError, Fault, Feature, StartError};
pub use plan::{Bind, CopyIn, Door, Limits, Network, Plan, PlanError, Symlink};
pub use spawn::{Exit, Launcher, Running, Stdio3, Walled};

/// The first argument of the program when it is re-executed as the launcher.
pub const LAUNCHER_ARG: &str = "__aims-launcher";
/// The first argument of the program when it is re-executed as PID 1.
pub const INIT_ARG: &str = "__aims-init";

/// Takes over if this process is a launcher or a PID 1. `args` are those of the process, with its
/// name first; call it at the very top of `main`, before any thread exists.
pub fn reexec_entry(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    let first = args.next()?;
    if first == LAUNCHER_ARG {
        Some(launcher::main(args))
    } else if first == INIT_ARG {
        Some(init::main())
    } else {
        None
    }
}
