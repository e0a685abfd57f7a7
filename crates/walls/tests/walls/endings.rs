//! How what is inside ends, and what is refused before it begins.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Stdio;

use aims_walls::{Bind, BuildError, Exit, Fault, Network, StartError};

use crate::Claim;
use crate::world::{World, holder, on_terminal};

pub(crate) const ALL: &[Claim] = &[
    (
        "the_end_of_the_program_is_reported",
        the_end_of_the_program_is_reported,
    ),
    (
        "a_kill_ends_every_descendant_before_it_returns",
        a_kill_ends_every_descendant,
    ),
    (
        "the_end_of_the_program_ends_its_daemons",
        the_end_of_the_program_ends_its_daemons,
    ),
    ("dropping_ends_everything", dropping_ends_everything),
    (
        "a_kill_is_complete_even_without_the_launcher",
        a_kill_without_the_launcher,
    ),
    (
        "the_parents_death_ends_everything",
        the_parents_death_ends_everything,
    ),
    (
        "a_program_that_never_started_leaves_nothing",
        never_started_leaves_nothing,
    ),
    (
        "an_edited_copy_is_reported_by_digest",
        an_edited_copy_is_reported_by_digest,
    ),
    ("a_missing_program_is_named", a_missing_program_is_named),
    (
        "a_bind_through_a_link_is_refused",
        a_bind_through_a_link_is_refused,
    ),
    (
        "a_terminal_of_its_own_is_its_controlling_one",
        a_terminal_of_its_own,
    ),
    (
        "the_hosts_network_is_reached_only_if_planned",
        the_hosts_network_only_if_planned,
    ),
];

/// A program with a child, and a daemon in a session of its own; all hold standard output.
pub(crate) const DAEMONS: &str = r"
import signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for sig in [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]:
            signal.signal(sig, signal.SIG_IGN)
        os.write(1, b'd')
        while True:
            signal.pause()
    os._exit(0)
if os.fork() == 0:
    os.write(1, b'c')
    signal.pause()
os.write(1, b'p')
while True:
    signal.pause()
";

fn ready(output: &mut File) {
    let mut bytes = [0; 3];
    output.read_exact(&mut bytes).unwrap();
    bytes.sort_unstable();
    assert_eq!(&bytes, b"cdp", "{}", String::from_utf8_lossy(&bytes));
}

/// Nobody holds the other end any more, and that is known without waiting.
fn closed(output: &mut File) {
    rustix::fs::fcntl_setfl(&*output, rustix::fs::OFlags::NONBLOCK).unwrap();
    assert_eq!(output.read(&mut [0; 16]).unwrap(), 0);
}

fn the_end_of_the_program_is_reported(world: &World) {
    for (code, exit) in [
        ("sys.exit(0)", Exit::Code(0)),
        ("sys.exit(7)", Exit::Code(7)),
        ("os.kill(os.getpid(), 15)", Exit::Signal(15)),
        ("os.abort()", Exit::Signal(6)),
    ] {
        assert_eq!(world.run_plan(world.plan(), code).exit, exit, "{code}");
    }
}

fn a_kill_ends_every_descendant(world: &World) {
    let (running, mut output) = world.start(world.plan(), DAEMONS);
    ready(&mut output);
    assert_eq!(running.kill().unwrap(), Exit::Signal(9));
    closed(&mut output);
    assert_eq!(running.kill().unwrap(), Exit::Signal(9));
    assert_eq!(running.wait().unwrap(), Exit::Signal(9));
}

fn the_end_of_the_program_ends_its_daemons(world: &World) {
    let code = DAEMONS.replace("os.write(1, b'p')\n", "os.write(1, b'p')\nos._exit(3)\n");
    let (running, mut output) = world.start(world.plan(), &code);
    assert_eq!(running.wait().unwrap(), Exit::Code(3));
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    assert!(rest.contains(&b'p'));
}

fn dropping_ends_everything(world: &World) {
    let (running, mut output) = world.start(world.plan(), DAEMONS);
    ready(&mut output);
    drop(running);
    closed(&mut output);
}

/// Somebody else may end the launcher; PID 1 is then nobody's child that we know.
fn a_kill_without_the_launcher(world: &World) {
    let (running, mut output) = world.start(world.plan(), DAEMONS);
    ready(&mut output);
    let status = World::status(running.init_pidfd());
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:\t"))
        .unwrap();
    let launcher = nix::unistd::Pid::from_raw(parent.parse().unwrap());
    nix::sys::signal::kill(launcher, nix::sys::signal::Signal::SIGKILL).unwrap();
    running.kill().unwrap();
    closed(&mut output);
}

fn the_parents_death_ends_everything(_: &World) {
    let (read, write) = std::io::pipe().unwrap();
    let mut child = holder()
        .stdin(Stdio::null())
        .stdout(write)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = File::from(OwnedFd::from(read));
    ready(&mut output);
    child.kill().unwrap();
    child.wait().unwrap();
    // Nobody is left to say that it is over but the kernel, which closes the pipe.
    assert_eq!(output.read(&mut [0; 16]).unwrap(), 0);
}

fn never_started_leaves_nothing(world: &World) {
    let (walled, mut output) = world.build(world.plan(), "print('ran')").unwrap();
    drop(walled);
    closed(&mut output);
}

fn an_edited_copy_is_reported_by_digest(world: &World) {
    let (walled, _output) = world.build(world.plan(), "print(1)").unwrap();
    let [registered] = walled.copied[..] else {
        panic!("one copy")
    };
    let mut plan = world.plan();
    plan.copies[0].expected = Some(registered);
    let (walled, _output) = world.build(plan.clone(), "print(1)").unwrap();
    assert_eq!(walled.copied, [registered]);
    let error = world.build(plan, "print(2)").map(drop).unwrap_err();
    let BuildError::Walls(Fault::Edited {
        to,
        expected,
        found,
    }) = error
    else {
        panic!("{error}")
    };
    assert_eq!((to.to_str(), expected), (Some("/probe.py"), registered));
    assert_ne!(found, registered);
}

fn a_missing_program_is_named(world: &World) {
    let mut plan = world.plan();
    plan.argv[0] = String::from("/usr/bin/absent");
    let (walled, _output) = world.build(plan, "").unwrap();
    let error = walled.start().map(drop).unwrap_err();
    let StartError::Program(Fault::Path { path, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(path.to_str(), Some("/usr/bin/absent"));
}

fn a_bind_through_a_link_is_refused(world: &World) {
    let dir = world.fresh("links");
    std::os::unix::fs::symlink("/etc", dir.join("sly")).unwrap();
    for from in [dir.join("sly"), dir.join("sly/passwd"), dir.join("absent")] {
        let mut plan = world.plan();
        let to = "/opt/sly".into();
        plan.binds.push(Bind {
            from: from.clone(),
            to,
            writable: false,
            executable: false,
        });
        let error = world.build(plan, "").map(drop).unwrap_err();
        let BuildError::Walls(Fault::Path { path, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!(path, from);
    }
}

fn a_terminal_of_its_own(_: &World) {
    let output = on_terminal().output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn the_hosts_network_only_if_planned(world: &World) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut plan = world.plan();
    plan.network = Network::Host;
    let name = format!("aims-walls-host-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    // The abstract sockets of the host's network namespace stay out of reach even then.
    world.plan_holds(
        plan,
        &format!(
            r"
socket.create_connection(('127.0.0.1', {port}))
assert fails(lambda: socket.socket(socket.AF_UNIX).connect('\0{name}')) == errno.EPERM
"
        ),
    );
}
