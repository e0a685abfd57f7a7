//! Stopping a program at each call, and letting it go on.

mod tracee;

use std::io::Write;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{Call, Noted, Step, Watch};
use tracee::Tracee;

/// See [`crate::trace()`].
pub(super) fn trace(
    command: &mut Command,
    watch: Watch<'_>,
    fault: impl FnMut(&Call) -> Option<Errno>,
) -> Result<Noted> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let noted = run(&mut child, watch, fault);
    // Best effort after an error: the program is of no use any more.
    let _ = child.kill();
    noted
}

fn run(
    child: &mut Child,
    watch: Watch<'_>,
    fault: impl FnMut(&Call) -> Option<Errno>,
) -> Result<Noted> {
    let first = Pid::from_raw(i32::try_from(child.id())?);
    let options =
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    ptrace::seize(first, options).context("the program can't be traced")?;
    ptrace::interrupt(first)?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(b"\n")?;
    drop(input);
    let mut tracer = Tracer {
        first,
        watch,
        fault,
        steps: Vec::new(),
    };
    let exit = tracer.follow()?;
    let steps = tracer.steps;
    Ok(Noted { steps, exit })
}

struct Tracer<'a, F> {
    first: Pid,
    watch: Watch<'a>,
    fault: F,
    steps: Vec<Step>,
}

impl<F: FnMut(&Call) -> Option<Errno>> Tracer<'_, F> {
    /// Lets every thread go on until the program ends; its exit code.
    fn follow(&mut self) -> Result<Option<i32>> {
        loop {
            // Other threads end by themselves; only the first one's end is the program's.
            match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::__WALL))? {
                WaitStatus::Exited(pid, code) if pid == self.first => return Ok(Some(code)),
                WaitStatus::Signaled(pid, ..) if pid == self.first => return Ok(None),
                WaitStatus::PtraceSyscall(pid) => match self.called(pid) {
                    // It was ended with the program while it stood there.
                    Err(_) if Tracee::is_gone(pid) => {}
                    result => result?,
                },
                WaitStatus::PtraceEvent(pid, ..) => go_on(pid, None)?,
                WaitStatus::Stopped(pid, signal) => go_on(pid, Some(signal))?,
                _ => {}
            }
        }
    }

    /// A thread stands before a call, or after one that does not matter. One that matters is made
    /// while the other threads' calls wait, so that there is one order.
    fn called(&mut self, pid: Pid) -> Result<()> {
        let mut tracee = Tracee::at(pid)?;
        let Some(mut call) = tracee.call(self.watch)? else {
            return go_on(pid, None);
        };
        let failed = (self.fault)(&call);
        if failed.is_some() {
            tracee.skip()?;
        }
        if !finish(pid)? {
            return Ok(());
        }
        let mut tracee = Tracee::at(pid)?;
        if let Some(errno) = failed {
            tracee.fail(errno)?;
        } else {
            let Some(done) = tracee.returned() else {
                return go_on(pid, None);
            };
            if let Call::Write { bytes, .. } = &mut call {
                bytes.truncate(usize::try_from(done)?);
            }
        }
        self.steps.push(Step { call, failed });
        go_on(pid, None)
    }
}

/// Lets a thread go on to its next call, with the signal it was sent.
fn go_on(pid: Pid, signal: Option<Signal>) -> Result<()> {
    match ptrace::syscall(pid, signal) {
        // It was killed meanwhile.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes the call that a thread stands before; false if the thread ended instead.
fn finish(pid: Pid) -> Result<bool> {
    go_on(pid, None)?;
    match waitpid(pid, Some(WaitPidFlag::__WALL)) {
        Ok(WaitStatus::PtraceSyscall(_)) => Ok(true),
        Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD) => Ok(false),
        other => bail!("a call did not return: {other:?}"),
    }
}
