//! The parent's side: build walls, start the program in them, wait, kill.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use aims_types::Digest;
use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::fault::{BuildError, StartError};
use crate::plan::{Network, Plan, check};
use crate::wire::{self, Order, Report};
use crate::{LAUNCHER_ARG, launcher};

/// Builds walls by re-executing this program as a single-threaded launcher.
#[derive(Debug, Clone)]
pub struct Launcher {
    self_exe: PathBuf,
}

/// What the program gets as its standard input, output and error.
#[derive(Debug)]
pub struct Stdio3 {
    /// Standard input.
    pub stdin: OwnedFd,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// Walls that stand, with nothing started in them yet. Dropping them ends them.
#[derive(Debug)]
pub struct Walled {
    /// Digests of what was copied, in the order of the plan.
    pub copied: Vec<Digest>,
    /// The listeners inside, if the plan has a door. They outlive the walls if kept.
    pub door: Option<(TcpListener, UnixListener)>,
    running: Running,
}

/// A program inside its walls. Dropping it kills everything inside.
#[derive(Debug)]
pub struct Running {
    init_pidfd: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    launcher: Child,
    control: UnixStream,
    exit: Option<Exit>,
}

impl Launcher {
    /// A launcher that re-executes `self_exe`, whose `main` calls
    /// [`reexec_entry`](crate::reexec_entry) before anything else.
    pub fn new(self_exe: PathBuf) -> Self {
        Self { self_exe }
    }

    /// Builds the walls of `plan` and starts nothing in them. `sources` are the open files of
    /// `plan.copies`, in their order.
    ///
    /// Blocks until the walls stand or are refused.
    pub fn build(
        &self,
        plan: Plan,
        sources: Vec<OwnedFd>,
        stdio: Stdio3,
    ) -> Result<Walled, BuildError> {
        check(&plan, sources.len(), rustix::process::geteuid().as_raw())?;
        let (control, theirs) = UnixStream::pair()?;
        let child = self.spawn(&plan, theirs)?;
        let mut pending = Pending(Some(child));
        expect_spawned(&control)?;
        let [init_pidfd] = fixed(wire::receive_fds(&control, 1)?)?;
        let has_door = plan.door.is_some();
        order(&control, plan, &sources, &stdio)?;
        drop((sources, stdio));
        let launcher = pending.0.take().ok_or(BuildError::Gone)?;
        let state = Mutex::new(State {
            launcher,
            control,
            exit: None,
        });
        let running = Running { init_pidfd, state };
        running.ready(has_door).map(|(copied, door)| Walled {
            copied,
            door,
            running,
        })
    }

    fn spawn(&self, plan: &Plan, control: UnixStream) -> io::Result<Child> {
        let network = plan.network == Network::Host;
        Command::new(&self.self_exe)
            .arg(LAUNCHER_ARG)
            .args(launcher::arguments(plan.host_uid, network))
            .env_clear()
            .current_dir(plan.stage.as_deref().unwrap_or(Path::new("/")))
            .stdin(Stdio::from(OwnedFd::from(control)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }
}

/// A launcher that is ended if the walls are not finished.
struct Pending(Option<Child>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // The launcher and PID 1 end by themselves when the control socket closes; the signal
            // only spares the wait if the launcher is stuck before that.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn expect_spawned(control: &UnixStream) -> Result<(), BuildError> {
    match wire::receive(control)? {
        Some(Report::Spawned) => Ok(()),
        Some(Report::Failed(fault)) => Err(fault.into()),
        Some(_) => Err(out_of_turn().into()),
        None => Err(BuildError::Gone),
    }
}

fn order(
    control: &UnixStream,
    plan: Plan,
    sources: &[OwnedFd],
    stdio: &Stdio3,
) -> Result<(), BuildError> {
    let mut fds = vec![
        stdio.stdin.as_fd(),
        stdio.stdout.as_fd(),
        stdio.stderr.as_fd(),
    ];
    fds.extend(sources.iter().map(AsFd::as_fd));
    wire::send(control, &Order::Build(Box::new(plan)))?;
    Ok(wire::send_fds(control, &fds)?)
}

fn fixed<const N: usize>(fds: Vec<OwnedFd>) -> io::Result<[OwnedFd; N]> {
    fds.try_into().map_err(|_| out_of_turn())
}

fn out_of_turn() -> io::Error {
    io::Error::other("the launcher spoke out of turn")
}

type Ready = (Vec<Digest>, Option<(TcpListener, UnixListener)>);

impl Running {
    fn ready(&self, has_door: bool) -> Result<Ready, BuildError> {
        let state = self.lock();
        let copied = match wire::receive(&state.control)? {
            Some(Report::Ready { copied }) => copied,
            Some(Report::Failed(fault)) => return Err(fault.into()),
            Some(_) => return Err(out_of_turn().into()),
            None => return Err(BuildError::Gone),
        };
        if !has_door {
            return Ok((copied, None));
        }
        let [tcp, unix] = fixed(wire::receive_fds(&state.control, 2)?)?;
        Ok((
            copied,
            Some((TcpListener::from(tcp), UnixListener::from(unix))),
        ))
    }

    /// The pidfd of PID 1 inside, as the host sees it: readable once everything inside has ended.
    pub fn init_pidfd(&self) -> BorrowedFd<'_> {
        self.init_pidfd.as_fd()
    }

    /// Waits until the program, and with it everything inside, has ended.
    ///
    /// Any number of threads may wait, also while another one kills.
    pub fn wait(&self) -> io::Result<Exit> {
        let mut fds = [PollFd::new(&self.init_pidfd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))?;
        let mut state = self.lock();
        state.launcher.wait()?;
        if let Some(exit) = state.exit {
            return Ok(exit);
        }
        // PID 1 says how the program ended; without a word it was killed itself.
        let mut exit = Exit::Signal(Signal::KILL.as_raw());
        while let Ok(Some(report)) = wire::receive(&state.control) {
            if let Report::Exited(said) = report {
                exit = said;
            }
        }
        state.exit = Some(exit);
        Ok(exit)
    }

    /// Kills everything inside and returns once all of it has ended and is reaped.
    ///
    /// The kernel ends every process of a PID namespace before its PID 1 counts as ended.
    pub fn kill(&self) -> io::Result<Exit> {
        match rustix::process::pidfd_send_signal(&self.init_pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => self.wait(),
            Err(error) => Err(error.into()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

impl Walled {
    /// The pidfd of PID 1 inside, as the host sees it.
    pub fn init_pidfd(&self) -> BorrowedFd<'_> {
        self.running.init_pidfd()
    }

    /// Starts the program.
    pub fn start(self) -> Result<Running, StartError> {
        let report = {
            let state = self.running.lock();
            // A failed send means that PID 1 has ended, which the read below finds out as well.
            drop(wire::send(&state.control, &Order::Go));
            wire::receive(&state.control)
        };
        match report {
            Ok(Some(Report::Started)) => Ok(self.running),
            Ok(Some(Report::Failed(fault))) => Err(fault.into()),
            _ => Err(StartError::Gone),
        }
    }
}
