//! Running a program and noting by which calls it changes files, in one order.

#[cfg(target_arch = "x86_64")]
mod tracer;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use nix::errno::Errno;

/// Whether programs can be traced here: their registers are known on x86-64 alone.
pub const SUPPORTED: bool = cfg!(target_arch = "x86_64");

/// Which files matter.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'a> {
    /// The directory at the top; without symbolic links in its path.
    pub top: &'a Path,
    /// Names with these endings are shared memory, not files.
    pub volatile: &'a [&'a str],
}

/// A call by which a program changes files, or says something. Paths are below [`Watch::top`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A file that was not there.
    Create {
        /// Its name.
        path: PathBuf,
    },
    /// A directory that was not there.
    MakeDir {
        /// Its name.
        path: PathBuf,
    },
    /// Bytes.
    Write {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Another length.
    Truncate {
        /// The file.
        path: PathBuf,
        /// The length.
        len: u64,
    },
    /// Until this returns, nothing of the file or directory is sure to last.
    Sync {
        /// The file or directory.
        path: PathBuf,
    },
    /// One name less.
    Remove {
        /// The name.
        path: PathBuf,
    },
    /// Another name, perhaps in the place of a file.
    Rename {
        /// The name before.
        from: PathBuf,
        /// The name after.
        to: PathBuf,
    },
    /// A line on standard output.
    Say {
        /// Without its end.
        line: String,
    },
}

/// A call, and with which error it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was called.
    pub call: Call,
    /// The error that was made up for it.
    pub failed: Option<Errno>,
}

/// What a program did.
#[derive(Debug)]
pub struct Noted {
    /// Every call that changed something, in order.
    pub steps: Vec<Step>,
    /// Its exit code; none if a signal ended it.
    pub exit: Option<i32>,
}

/// Runs `command` until it ends. The program must read one byte from its standard input before it
/// does anything. `fault` sees each call before it happens, and may name an error for it instead.
pub fn trace(
    command: &mut Command,
    watch: Watch<'_>,
    fault: impl FnMut(&Call) -> Option<Errno>,
) -> Result<Noted> {
    #[cfg(target_arch = "x86_64")]
    {
        tracer::trace(command, watch, fault)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (command, watch, fault);
        anyhow::bail!("programs can't be traced on this kind of machine")
    }
}
