//! The launcher: a re-execution of the program, single-threaded, that gives up its uid, makes the
//! namespaces, and starts PID 1 in them.

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, Stdio};

use caps::{CapSet, Capability};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::SigSet;
use nix::unistd::{Gid, Uid};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags};

use crate::descriptors;
use crate::fault::{Fault, Feature};
use crate::plan::INSIDE_UID;
use crate::wire::{self, Report};
use crate::{INIT_ARG, LAUNCHER_ARG};

/// The running program, whatever directory it lies in: a reserved uid need not be able to walk
/// there.
const SELF_EXE: &str = "/proc/self/exe";
/// What PID 1 needs until it drops everything: mounts and the host name, the loopback interface,
/// and emptying the bounding set.
const NEEDED: [Capability; 3] = [
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_SETPCAP,
];
const HOST_UID: &str = "--host-uid=";
const HOST_NETWORK: &str = "--host-network";

/// The arguments after [`LAUNCHER_ARG`].
pub(crate) fn arguments(host_uid: Option<u32>, host_network: bool) -> Vec<String> {
    let uid = host_uid.map(|uid| format!("{HOST_UID}{uid}"));
    let network = host_network.then(|| HOST_NETWORK.to_owned());
    uid.into_iter().chain(network).collect()
}

/// Runs the launcher; `args` are those after [`LAUNCHER_ARG`]. The control socket is standard
/// input.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let Ok(control) = descriptors::control() else {
        return ExitCode::FAILURE;
    };
    match launch(args, &control) {
        Ok(child) => watch(child, control),
        Err(fault) => {
            drop(wire::send(&control, &Report::Failed(fault)));
            ExitCode::FAILURE
        }
    }
}

fn launch(args: impl Iterator<Item = OsString>, control: &UnixStream) -> Result<Child, Fault> {
    descriptors::close_others(control).map_err(|error| Fault::step("close descriptors", error))?;
    // The parent's thread may have blocked signals, which everything inside would inherit.
    SigSet::empty()
        .thread_set_mask()
        .map_err(|error| Fault::step("unblock signals", error))?;
    let (host_uid, host_network) = parse(args)?;
    if let Some(uid) = host_uid {
        return Err(become_uid(uid, host_network));
    }
    if rustix::process::getuid().is_root() || rustix::process::geteuid().is_root() {
        return Err(Fault::step(
            "build walls",
            "the launcher must not be root at this point",
        ));
    }
    namespaces(host_network)?;
    keep_needed()?;
    spawn_init(control)
}

fn parse(args: impl Iterator<Item = OsString>) -> Result<(Option<u32>, bool), Fault> {
    let bad = |text: &str| Fault::step("read the launcher's arguments", format!("`{text}`"));
    let (mut host_uid, mut host_network) = (None, false);
    for arg in args {
        let text = arg.to_string_lossy();
        if text == HOST_NETWORK {
            host_network = true;
        } else {
            let uid = text.strip_prefix(HOST_UID).and_then(|uid| uid.parse().ok());
            host_uid = Some(uid.ok_or_else(|| bad(&text))?);
        }
    }
    Ok((host_uid, host_network))
}

/// Takes the reserved uid and executes this program again, so that the process is dumpable and may
/// write its own id maps. Returns only if that fails.
fn become_uid(uid: u32, host_network: bool) -> Fault {
    let taken = nix::unistd::setgroups(&[])
        .and_then(|()| {
            let gid = Gid::from_raw(uid);
            nix::unistd::setresgid(gid, gid, gid)
        })
        .and_then(|()| {
            let uid = Uid::from_raw(uid);
            nix::unistd::setresuid(uid, uid, uid)
        });
    if let Err(error) = taken {
        return Fault::step("take the reserved host uid", error);
    }
    let error = Command::new(SELF_EXE)
        .arg(LAUNCHER_ARG)
        .args(arguments(None, host_network))
        .exec();
    Fault::step(
        "execute the launcher again; is the program executable by others?",
        error,
    )
}

fn namespaces(host_network: bool) -> Result<(), Fault> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let mut wanted = vec![
        (CloneFlags::CLONE_NEWUSER, Feature::UserNamespaces),
        (CloneFlags::CLONE_NEWNS, Feature::MountNamespaces),
        (CloneFlags::CLONE_NEWPID, Feature::PidNamespaces),
        (CloneFlags::CLONE_NEWIPC, Feature::IpcNamespaces),
        (CloneFlags::CLONE_NEWUTS, Feature::UtsNamespaces),
        (CloneFlags::CLONE_NEWCGROUP, Feature::CgroupNamespaces),
    ];
    if !host_network {
        wanted.push((CloneFlags::CLONE_NEWNET, Feature::NetworkNamespaces));
    }
    for (flag, feature) in wanted {
        unshare(flag).map_err(|error| Fault::feature(feature, error))?;
    }
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{INSIDE_UID} {uid} 1")),
        ("/proc/self/gid_map", format!("{INSIDE_UID} {gid} 1")),
    ];
    for (path, text) in maps {
        fs::write(path, text).map_err(|error| {
            Fault::feature(
                Feature::UserNamespaces,
                format!("writing `{path}`: {error}"),
            )
        })?;
    }
    Ok(())
}

/// The uid inside is not 0, so only ambient capabilities survive the exec of PID 1.
fn keep_needed() -> Result<(), Fault> {
    let fault = |error| Fault::feature(Feature::Capabilities, error);
    let needed = NEEDED.into_iter().collect();
    caps::set(None, CapSet::Inheritable, &needed).map_err(fault)?;
    caps::set(None, CapSet::Ambient, &needed).map_err(fault)
}

fn spawn_init(control: &UnixStream) -> Result<Child, Fault> {
    let theirs = control
        .try_clone()
        .map_err(|error| Fault::step("share the control", error))?;
    let mut child = Command::new(SELF_EXE)
        .arg(INIT_ARG)
        .env_clear()
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Fault::feature(Feature::PidNamespaces, error))?;
    // The child is not yet waited for, so its number can't have been reused.
    match announce(&child, control) {
        Ok(()) => Ok(child),
        Err(fault) => {
            drop(child.kill());
            drop(child.wait());
            Err(fault)
        }
    }
}

fn announce(child: &Child, control: &UnixStream) -> Result<(), Fault> {
    let fault = |error: rustix::io::Errno| Fault::feature(Feature::Pidfd, error);
    let number = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = number.ok_or_else(|| Fault::step("name PID 1", "its number is out of range"))?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(fault)?;
    wire::send(control, &Report::Spawned)
        .and_then(|()| wire::send_fds(control, &[pidfd.as_fd()]))
        .map_err(|error| Fault::step("report to the parent", error))
}

/// Gives up everything, lets go of the control socket so that only PID 1 holds it, and reaps PID 1.
fn watch(mut child: Child, control: UnixStream) -> ExitCode {
    drop(control);
    let quiet = descriptors::let_go_of_stdin().is_ok()
        && rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok()
        && caps::clear(None, CapSet::Ambient).is_ok()
        && caps::clear(None, CapSet::Inheritable).is_ok()
        && caps::clear(None, CapSet::Effective).is_ok()
        && caps::clear(None, CapSet::Permitted).is_ok();
    if !quiet {
        drop(child.kill());
    }
    match child.wait() {
        Ok(status) if quiet => {
            let code = status
                .code()
                .or_else(|| status.signal().map(|signal| 128 + signal));
            ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
        }
        _ => ExitCode::FAILURE,
    }
}
