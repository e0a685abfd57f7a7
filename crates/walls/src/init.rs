//! PID 1 inside: builds the root, steps behind every fence, starts the program, reaps, reports.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use rustix::process::{DumpableBehavior, Pid, WaitOptions};

use crate::descriptors;
use crate::fault::{Fault, Feature};
use crate::plan::{Door, HOSTNAME, Network, Plan};
use crate::spawn::Exit;
use crate::wire::{self, Order, Report};

mod fences;
mod filter;
mod loopback;
mod root;

/// Runs PID 1. The control socket is standard input.
pub fn main() -> ExitCode {
    let Ok(control) = descriptors::control() else {
        return ExitCode::FAILURE;
    };
    match run(&control) {
        Ok(exit) => {
            drop(wire::send(&control, &Report::Exited(exit)));
            let code = match exit {
                Exit::Code(code) => code,
                Exit::Signal(signal) => 128 + signal,
            };
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
        Err(Some(fault)) => {
            drop(wire::send(&control, &Report::Failed(fault)));
            ExitCode::FAILURE
        }
        Err(None) => ExitCode::FAILURE,
    }
}

/// `Err(None)`: the parent has gone, there is nobody to tell.
fn run(control: &UnixStream) -> Result<Exit, Option<Fault>> {
    descriptors::close_others(control).map_err(|error| Fault::step("close descriptors", error))?;
    let (plan, stdio) = prepare(control)?;
    match wire::receive(control) {
        Ok(Some(Order::Go)) => {}
        _ => return Err(None),
    }
    let watched = control
        .try_clone()
        .map_err(|error| Fault::step("share the control", error))?;
    watch(watched)?;
    let pid = spawn(&plan, stdio)?;
    wire::send(control, &Report::Started).map_err(|_| None)?;
    reap(pid).map_err(Some)
}

/// Everything up to the point where only the program is missing.
fn prepare(control: &UnixStream) -> Result<(Plan, [OwnedFd; 3]), Option<Fault>> {
    let Ok(Some(Order::Build(plan))) = wire::receive(control) else {
        return Err(None);
    };
    let mut fds = wire::receive_fds(control, 3 + plan.copies.len()).map_err(|_| None)?;
    let sources = fds.split_off(3);
    let stdio: [OwnedFd; 3] = fds.try_into().map_err(|_| None)?;
    let copied = root::build(&plan, sources)?;
    let door = inside(&plan, &stdio)?;
    root::seal()?;
    fences::raise(&plan)?;
    let ready = Report::Ready { copied };
    let sent = wire::send(control, &ready).and_then(|()| match &door {
        Some((tcp, unix)) => wire::send_fds(control, &[tcp.as_fd(), unix.as_fd()]),
        None => Ok(()),
    });
    // The listeners leave PID 1 here: the guard outside holds the only copies.
    sent.map(|()| (*plan, stdio)).map_err(|_| None)
}

/// What is set up once the root is the root: network, name, session, door.
fn inside(plan: &Plan, stdio: &[OwnedFd; 3]) -> Result<Option<(TcpListener, UnixListener)>, Fault> {
    if plan.network == Network::None {
        loopback::up().map_err(|error| Fault::feature(Feature::Loopback, error))?;
    }
    nix::unistd::sethostname(HOSTNAME).map_err(|error| Fault::step("name the host", error))?;
    rustix::process::setsid().map_err(|error| Fault::step("start a session", error))?;
    if plan.terminal {
        let [input, ..] = stdio;
        rustix::process::ioctl_tiocsctty(input)
            .map_err(|error| Fault::step("take standard input as terminal", error))?;
    }
    if !fs::metadata(&plan.workdir).is_ok_and(|found| found.is_dir()) {
        return Err(Fault::path(
            "start in",
            &plan.workdir,
            "it is not a directory inside",
        ));
    }
    plan.door.as_ref().map(listen).transpose()
}

fn listen(door: &Door) -> Result<(TcpListener, UnixListener), Fault> {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, door.tcp_port))
        .map_err(|error| Fault::step("listen on the door's port", error))?;
    let unix = UnixListener::bind(&door.unix_path)
        .map_err(|error| Fault::path("listen on", &door.unix_path, error))?;
    Ok((tcp, unix))
}

/// Ends PID 1, and with it everything, when the parent ends. The thread starts behind the fences
/// and so is behind them too.
fn watch(mut control: UnixStream) -> Result<(), Fault> {
    thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || {
            // The parent has nothing more to say: a byte, an end and an error all end the walls.
            drop(control.read(&mut [0]));
            std::process::exit(1)
        })
        .map(drop)
        .map_err(|error| Fault::step("watch the parent", error))
}

fn spawn(plan: &Plan, [stdin, stdout, stderr]: [OwnedFd; 3]) -> Result<Pid, Fault> {
    let program = plan.program();
    let child = Command::new(program)
        .args(plan.argv.iter().skip(1))
        .env_clear()
        .envs(&plan.env)
        .current_dir(&plan.workdir)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr))
        .spawn()
        .map_err(|error| Fault::path("start", program, error))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| Fault::path("start", program, "its number is out of range"))
}

/// Reaps whatever ends, until the program does.
fn reap(program: Pid) -> Result<Exit, Fault> {
    loop {
        let waited = rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::empty()));
        let waited = waited.map_err(|error| Fault::step("wait for the program", error))?;
        let Some((pid, status)) = waited else {
            continue;
        };
        if pid != program {
            continue;
        }
        if let Some(code) = status.exit_status() {
            return Ok(Exit::Code(code));
        }
        if let Some(signal) = status.terminating_signal() {
            return Ok(Exit::Signal(signal));
        }
    }
}

/// Makes `/proc/1` unreadable for the program, which has the same uid.
fn hide_self() -> Result<(), Fault> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| Fault::step("hide PID 1", error))
}
