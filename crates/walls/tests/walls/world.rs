//! What the claims share: a measured Python, and ways to run a probe in walls.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use aims_walls::runtime::{self, DeclaredPath};
use aims_walls::{BuildError, CopyIn, Exit, Launcher, Plan, Running, Stdio3, Walled};
use nix::libc;

/// The reserved uid when the claims run as root.
pub(crate) const HOST_UID: u32 = 1_900_001;
const HOLD: &str = "--hold";
const TERMINAL: &str = "--terminal";

/// Python before each probe: numbers of system calls, and `refused`.
const PRELUDE: &str = r"
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    ctypes.set_errno(0)
    longs = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = libc.syscall(ctypes.c_long(NR[name]), *longs)
    return 0 if result >= 0 else ctypes.get_errno()
def fails(function, *args, **named):
    try:
        function(*args, **named)
    except OSError as error:
        return error.errno
    return 0
";

pub(crate) struct World {
    pub(crate) launcher: Launcher,
    pub(crate) python: PathBuf,
    pub(crate) paths: Vec<PathBuf>,
    declared: Vec<DeclaredPath>,
    dir: tempfile::TempDir,
}

pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) text: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let (python, trees) = python();
        let mut paths = vec![python.clone()];
        paths.extend(trees);
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        Self {
            launcher: Launcher::new(std::env::current_exe().unwrap()),
            python,
            declared: runtime::closure(&paths).unwrap(),
            paths,
            dir,
        }
    }

    pub(crate) fn root() -> bool {
        rustix::process::geteuid().is_root()
    }

    /// The uid that programs have on the host.
    pub(crate) fn outside_uid() -> u32 {
        if Self::root() {
            HOST_UID
        } else {
            rustix::process::geteuid().as_raw()
        }
    }

    /// What the host says about the first process inside.
    pub(crate) fn status(pidfd: BorrowedFd<'_>) -> String {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
        let pid = info
            .lines()
            .find_map(|line| line.strip_prefix("Pid:\t"))
            .unwrap();
        fs::read_to_string(format!("/proc/{pid}/status")).unwrap()
    }

    /// A fresh directory that the reserved uid can walk.
    pub(crate) fn fresh(&self, name: &str) -> PathBuf {
        let path = self.dir.path().canonicalize().unwrap().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A plan that runs `/probe.py`, which is the one copied file.
    pub(crate) fn plan(&self) -> Plan {
        let python = self.python.to_str().unwrap().to_owned();
        let argv = [&python, "-I", "-B", "/probe.py"].map(str::to_owned);
        let mut plan = Plan::new(argv.to_vec());
        runtime::declare(&mut plan, &self.declared);
        plan.copies.push(CopyIn {
            to: "/probe.py".into(),
            executable: false,
            expected: None,
        });
        plan.host_uid = Self::root().then_some(HOST_UID);
        plan
    }

    pub(crate) fn source(&self, code: &str) -> OwnedFd {
        let file = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        fs::write(
            file.path(),
            format!("NR = {}\n{PRELUDE}\n{code}", numbers()),
        )
        .unwrap();
        File::open(file.path()).unwrap().into()
    }

    /// Builds walls for `plan` with `code` as the probe; what it prints can be read from the file.
    pub(crate) fn build(&self, plan: Plan, code: &str) -> Result<(Walled, File), BuildError> {
        let (read, write) = std::io::pipe().unwrap();
        let write = OwnedFd::from(write);
        let stdio = Stdio3 {
            stdin: OwnedFd::from(std::io::pipe().unwrap().0),
            stdout: write.try_clone().unwrap(),
            stderr: write,
        };
        let walled = self.launcher.build(plan, vec![self.source(code)], stdio)?;
        Ok((walled, File::from(OwnedFd::from(read))))
    }

    pub(crate) fn start(&self, plan: Plan, code: &str) -> (Running, File) {
        let (walled, output) = self.build(plan, code).unwrap();
        (walled.start().unwrap(), output)
    }

    pub(crate) fn run_plan(&self, plan: Plan, code: &str) -> Outcome {
        let (running, mut output) = self.start(plan, code);
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        Outcome {
            exit: running.wait().unwrap(),
            text,
        }
    }

    /// Runs `code`, whose assertions must all hold.
    pub(crate) fn holds(&self, code: &str) {
        self.plan_holds(self.plan(), code);
    }

    pub(crate) fn plan_holds(&self, plan: Plan, code: &str) {
        let outcome = self.run_plan(plan, &format!("{code}\nprint('held')"));
        assert_eq!(outcome.exit, Exit::Code(0), "{}", outcome.text);
        assert!(outcome.text.ends_with("held\n"), "{}", outcome.text);
    }
}

/// The real program and the trees of its standard library, as it says itself.
fn python() -> (PathBuf, Vec<PathBuf>) {
    let ask = "import sysconfig, os, sys; p = sysconfig.get_paths(); \
               print(os.path.realpath(sys.executable), p['stdlib'], p['platstdlib'])";
    let output = Command::new(system_python())
        .args(["-I", "-c", ask])
        .env_clear()
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut paths = text
        .split_whitespace()
        .map(|path| Path::new(path).canonicalize().unwrap());
    (paths.next().unwrap(), paths.collect())
}

/// The one that every user can read, if there is one.
fn system_python() -> &'static str {
    let system = "/usr/bin/python3";
    if Path::new(system).exists() {
        system
    } else {
        "python3"
    }
}

/// The numbers of the system calls that probes try, as a Python dictionary.
fn numbers() -> String {
    let calls = [
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("clone", libc::SYS_clone),
        ("clone3", libc::SYS_clone3),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("request_key", libc::SYS_request_key),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("ptrace", libc::SYS_ptrace),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("process_vm_writev", libc::SYS_process_vm_writev),
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("pivot_root", libc::SYS_pivot_root),
        ("chroot", libc::SYS_chroot),
        ("fsopen", libc::SYS_fsopen),
        ("open_tree", libc::SYS_open_tree),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("kexec_load", libc::SYS_kexec_load),
        ("finit_module", libc::SYS_finit_module),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("pidfd_open", libc::SYS_pidfd_open),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("memfd_create", libc::SYS_memfd_create),
        ("socket", libc::SYS_socket),
    ];
    let entries: Vec<String> = calls
        .iter()
        .map(|(name, number)| format!("'{name}': {number}"))
        .collect();
    format!("{{{}}}", entries.join(", "))
}

/// Other things that this binary does when a claim starts it again.
pub(crate) fn entry(args: &[OsString]) -> Option<ExitCode> {
    let first = args.first()?;
    if first == HOLD {
        Some(hold())
    } else if first == TERMINAL {
        Some(terminal())
    } else {
        None
    }
}

/// The command that builds walls around a program and then waits to be killed itself.
pub(crate) fn holder() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(HOLD);
    command
}

/// Holds a program that never ends and has this process's standard output.
fn hold() -> ExitCode {
    let world = World::new();
    let stdio = Stdio3 {
        stdin: std::io::stdin().as_fd().try_clone_to_owned().unwrap(),
        stdout: std::io::stdout().as_fd().try_clone_to_owned().unwrap(),
        stderr: std::io::stderr().as_fd().try_clone_to_owned().unwrap(),
    };
    let source = world.source(crate::endings::DAEMONS);
    let walled = world
        .launcher
        .build(world.plan(), vec![source], stdio)
        .unwrap();
    let running = walled.start().unwrap();
    running.wait().unwrap();
    ExitCode::FAILURE
}

/// The command that runs a probe on a terminal of its own, which Python makes.
pub(crate) fn on_terminal() -> Command {
    let make = "import os, subprocess, sys; leader, follower = os.openpty(); \
                sys.exit(subprocess.call(sys.argv[1:], stdin=follower))";
    let mut command = Command::new(system_python());
    command
        .args(["-I", "-c", make])
        .arg(std::env::current_exe().unwrap())
        .arg(TERMINAL);
    command
}

fn terminal() -> ExitCode {
    let world = World::new();
    let code = r"
assert os.isatty(0)
assert os.tcgetpgrp(0) == os.getpgrp() != 0, os.tcgetpgrp(0)
import fcntl, termios
assert fails(fcntl.ioctl, 0, termios.TIOCSTI, b'x') == errno.ENOSYS
";
    let stdio = Stdio3 {
        stdin: std::io::stdin().as_fd().try_clone_to_owned().unwrap(),
        stdout: std::io::stdout().as_fd().try_clone_to_owned().unwrap(),
        stderr: std::io::stderr().as_fd().try_clone_to_owned().unwrap(),
    };
    let plan = Plan {
        terminal: true,
        ..world.plan()
    };
    let walled = world
        .launcher
        .build(plan, vec![world.source(code)], stdio)
        .unwrap();
    match walled.start().unwrap().wait().unwrap() {
        Exit::Code(0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
