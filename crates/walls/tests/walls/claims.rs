//! What a program inside can't see, reach or call.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixListener};

use aims_walls::{Bind, Door};
use nix::sys::signal::{SigSet, Signal};

use crate::Claim;
use crate::world::{HOST_UID, World};

pub(crate) const ALL: &[Claim] = &[
    ("sees_nothing_of_the_host", sees_nothing_of_the_host),
    (
        "reaches_no_unix_socket_of_the_host",
        reaches_no_unix_socket_of_the_host,
    ),
    (
        "reaches_no_network_of_the_host",
        reaches_no_network_of_the_host,
    ),
    (
        "opens_no_other_kind_of_socket",
        opens_no_other_kind_of_socket,
    ),
    (
        "has_no_terminal_and_types_into_none",
        has_no_terminal_and_types_into_none,
    ),
    ("inherits_three_descriptors", inherits_three_descriptors),
    (
        "has_exactly_the_planned_environment",
        has_exactly_the_planned_environment,
    ),
    ("makes_no_nested_namespace", makes_no_nested_namespace),
    ("calls_nothing_that_leads_out", calls_nothing_that_leads_out),
    ("sees_only_its_own_processes", sees_only_its_own_processes),
    (
        "cannot_touch_the_first_process",
        cannot_touch_the_first_process,
    ),
    (
        "cannot_write_what_is_read_only",
        cannot_write_what_is_read_only,
    ),
    ("every_mount_allows_as_little_as_planned", every_mount),
    ("cannot_run_what_it_wrote", cannot_run_what_it_wrote),
    ("gains_nothing_from_setuid", gains_nothing_from_setuid),
    ("has_no_capability", has_no_capability),
    (
        "starts_with_no_signal_blocked",
        starts_with_no_signal_blocked,
    ),
    (
        "landlock_stands_behind_the_mounts",
        landlock_stands_behind_the_mounts,
    ),
    ("host_uid_is_reserved", host_uid_is_reserved),
    ("limits_hold", limits_hold),
    (
        "writes_only_to_writable_binds",
        writes_only_to_writable_binds,
    ),
    (
        "the_door_works_and_nothing_else",
        the_door_works_and_nothing_else,
    ),
];

fn sees_nothing_of_the_host(world: &World) {
    world.holds(
        r"
for path in ['/root', '/home', '/run', '/var', '/etc/shadow', '/etc/ssh', '/sys', '/boot', '/bin/sh',
             '/dev/shm', '/dev/pts', '/dev/tty', '/dev/kvm', '/proc/1/root/etc']:
    assert not os.path.exists(path), path
allowed = {'dev', 'etc', 'lib', 'lib64', 'proc', 'probe.py', 'tmp', 'usr'}
assert set(os.listdir('/')) <= allowed, os.listdir('/')
assert sorted(os.listdir('/dev')) == ['null', 'random', 'urandom', 'zero']
assert os.listdir('/tmp') == []
open('/dev/null', 'w').write('x')
assert len(open('/dev/urandom', 'rb').read(8)) == 8
assert set(os.listdir('/etc')) <= {'passwd', 'group', 'hosts', 'ld.so.cache', 'python3.11'}
assert os.getuid() == 1000 and os.getgid() == 1000
assert socket.gethostname() == 'aims'
assert '/home' not in open('/etc/passwd').read()
for name in ['keys', 'kallsyms']:
    assert fails(open, '/proc/' + name) or open('/proc/' + name).read() == '', name
",
    );
}

fn reaches_no_unix_socket_of_the_host(world: &World) {
    let dir = world.fresh("sockets");
    let path = dir.join("open.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    let name = format!("aims-walls-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    world.holds(&format!(
        r"
def connect(address):
    socket.socket(socket.AF_UNIX).connect(address)
assert fails(connect, '{}') == errno.ENOENT
assert fails(connect, '\0{name}') == errno.ECONNREFUSED
",
        path.display()
    ));
}

fn reaches_no_network_of_the_host(world: &World) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    world.holds(&format!(
        r"
def connect(address):
    socket.create_connection(address, timeout=5)
assert fails(connect, ('127.0.0.1', {port})) == errno.ECONNREFUSED
for host in ['203.0.113.1', '169.254.169.254', '10.0.0.1']:
    assert fails(connect, (host, 80)) == errno.ENETUNREACH, host
interfaces = [line.split(':')[0].strip() for line in open('/proc/net/dev') if ':' in line]
assert interfaces == ['lo'], interfaces
",
    ));
}

fn opens_no_other_kind_of_socket(world: &World) {
    world.holds(
        r"
STREAM, DGRAM, RAW, SEQPACKET = 1, 2, 3, 5
for family, kind, protocol in [
        (40, STREAM, 0), (40, DGRAM, 0), (40, SEQPACKET, 0),    # vsock
        (16, RAW, 0), (16, DGRAM, 0), (17, RAW, 0), (17, DGRAM, 0),   # netlink, packet
        (38, SEQPACKET, 0), (44, RAW, 0), (31, RAW, 1), (29, RAW, 1), (30, SEQPACKET, 0),
        (2, RAW, 1), (10, RAW, 58), (2, DGRAM, 1), (2, STREAM, 262), (2, STREAM, 132)]:
    assert call('socket', family, kind, protocol) == errno.ENOSYS, (family, kind, protocol)
    high = family | (1 << 32)
    assert call('socket', high, kind, protocol) == errno.ENOSYS, (high, kind, protocol)
for family in [1, 2, 10]:
    for kind in [STREAM, DGRAM]:
        assert call('socket', family, kind | 0o2000000, 0) in [0, errno.EAFNOSUPPORT]
",
    );
}

fn has_no_terminal_and_types_into_none(world: &World) {
    world.holds(
        r"
import fcntl, termios
assert fails(os.open, '/dev/tty', os.O_RDWR) == errno.ENOENT
for command in [termios.TIOCSTI, 0x541c, termios.TIOCSETD]:
    assert fails(fcntl.ioctl, 0, command, b'x') == errno.ENOSYS, hex(command)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
assert libc.ioctl(0, (1 << 32) | termios.TIOCSTI, None) == -1
assert ctypes.get_errno() == errno.ENOSYS
assert open('/proc/self/stat').read().rsplit(')', 1)[1].split()[4] == '0'   # tty_nr
assert os.getsid(0) == 1
",
    );
}

fn inherits_three_descriptors(world: &World) {
    let leaked = File::open("/etc/hostname")
        .or_else(|_| File::open("/etc/passwd"))
        .unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    assert!(leaked.as_raw_fd() > 2);
    world.holds(
        r"
open_now = []
for fd in range(1024):
    if fails(os.fstat, fd) == 0:
        open_now.append(fd)
assert open_now == [0, 1, 2], open_now
",
    );
}

fn has_exactly_the_planned_environment(world: &World) {
    let mut plan = world.plan();
    plan.env.insert("PURPOSE".to_owned(), "a = b".to_owned());
    plan.env.insert("HTTPS_PROXY".to_owned(), String::new());
    world.plan_holds(
        plan,
        r"
found = open('/proc/self/environ', 'rb').read()
assert found == b'HTTPS_PROXY=\0PURPOSE=a = b\0', found
",
    );
    world.holds("assert open('/proc/self/environ', 'rb').read() == b''");
}

fn makes_no_nested_namespace(world: &World) {
    world.holds(
        r"
for flag in [0x10000000, 0x20000, 0x20000000, 0x40000000, 0x08000000, 0x04000000, 0x02000000, 0x80]:
    assert call('unshare', flag) == errno.ENOSYS, hex(flag)
    if flag != 0x80:
        assert call('clone', flag | 17, 0, 0, 0, 0) == errno.ENOSYS, hex(flag)
assert call('clone3', 0, 0) == errno.ENOSYS
assert call('setns', 0, 0) == errno.ENOSYS
child = os.fork()
if child == 0:
    os._exit(7)
assert os.waitpid(child, 0)[1] == 7 << 8
",
    );
}

fn calls_nothing_that_leads_out(world: &World) {
    world.holds(
        r"
for name in ['keyctl', 'add_key', 'request_key', 'io_uring_setup', 'ptrace', 'process_vm_readv',
             'process_vm_writev', 'mount', 'umount2', 'pivot_root', 'chroot', 'fsopen', 'open_tree',
             'bpf', 'perf_event_open', 'userfaultfd', 'kexec_load', 'finit_module',
             'open_by_handle_at', 'pidfd_getfd', 'setns']:
    assert call(name, 0, 0, 0, 0, 0) == errno.ENOSYS, name
",
    );
}

fn sees_only_its_own_processes(world: &World) {
    world.holds(
        r"
numbers = sorted(int(name) for name in os.listdir('/proc') if name.isdigit())
assert numbers == [1, os.getpid()], numbers
assert os.getppid() == 1
assert fails(os.kill, 1, 9) == 0      # the first process ignores its children's signals
assert os.getppid() == 1
assert fails(open, '/proc/sys/kernel/hostname', 'w') != 0
",
    );
}

fn cannot_touch_the_first_process(world: &World) {
    world.holds(
        r"
for name in ['mem', 'environ', 'maps', 'auxv', 'syscall']:
    assert fails(lambda: open('/proc/1/' + name, 'rb').read()) in [errno.EACCES, errno.EPERM], name
for name in ['exe', 'cwd', 'root', 'fd/0']:
    assert fails(os.readlink, '/proc/1/' + name) in [errno.EACCES, errno.EPERM], name
assert fails(os.listdir, '/proc/1/fd') == errno.EACCES
",
    );
}

fn cannot_write_what_is_read_only(world: &World) {
    world.holds(
        r"
refusals = [errno.EROFS, errno.EACCES, errno.EPERM]
library = os.__file__
for path in [library, '/probe.py', '/etc/passwd', sys.executable]:
    assert fails(open, path, 'a') in refusals, path
    assert fails(os.chmod, path, 0o777) in refusals, path
    assert fails(os.unlink, path) in refusals, path
for path in ['/x', '/etc/x', '/dev/x', os.path.dirname(library) + '/x', '/proc/x', '/usr/x']:
    assert fails(os.mkdir, path) in refusals + [errno.ENOENT], path
assert fails(os.rename, '/probe.py', '/tmp/probe.py') in refusals + [errno.EXDEV]
open('/tmp/x', 'w').write('mine')
assert open('/tmp/x').read() == 'mine'
",
    );
}

/// The second fence would hide a mount that allows too much.
fn every_mount(world: &World) {
    let mut plan = world.plan();
    let from = world.fresh("data");
    plan.binds.push(Bind {
        from,
        to: "/data".into(),
        writable: false,
        executable: false,
    });
    world.plan_holds(
        plan,
        r"
seen = set()
for line in open('/proc/self/mountinfo'):
    fields = line.split()
    point, flags = fields[4], set(fields[5].split(','))
    device = point.startswith('/dev/')
    assert 'nosuid' in flags, line
    assert device or 'nodev' in flags, line
    assert ('ro' in flags) == (point != '/tmp' and not device), line
    if device or point.startswith('/proc') or point in ['/tmp', '/data']:
        assert 'noexec' in flags, line
    seen.add(point)
assert {'/', '/tmp', '/proc', '/data', '/dev/null'} <= seen, seen
",
    );
}

fn cannot_run_what_it_wrote(world: &World) {
    world.holds(
        r"
import mmap, shutil, subprocess
real = os.path.realpath(sys.executable)
shutil.copyfile(real, '/tmp/program')
os.chmod('/tmp/program', 0o755)
assert fails(os.execv, '/tmp/program', ['program']) == errno.EACCES
with open('/tmp/script', 'w') as script:
    script.write('#!' + real + '\n')
os.chmod('/tmp/script', 0o755)
assert fails(os.execv, '/tmp/script', ['script']) == errno.EACCES
with open('/tmp/program', 'rb') as file:
    assert fails(mmap.mmap, file.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
for flags in [0, 1, 0x10]:
    assert call('memfd_create', ctypes.c_char_p(b'x'), flags) == errno.ENOSYS, flags
assert call('memfd_create', ctypes.c_char_p(b'x'), 8) == 0
loader = '/lib64/ld-linux-x86-64.so.2'
if os.path.exists(loader):
    assert subprocess.run([loader, '/tmp/program', '-c', ''], capture_output=True).returncode != 0
    assert subprocess.run([loader, real, '-c', ''], capture_output=True).returncode == 0
",
    );
}

fn gains_nothing_from_setuid(world: &World) {
    let dir = world.fresh("setuid");
    let program = dir.join("python");
    fs::copy(&world.python, &program).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o6755)).unwrap();
    let mut plan = world.plan();
    let to = "/opt/setuid".into();
    plan.binds.push(Bind {
        from: dir,
        to,
        writable: false,
        executable: true,
    });
    world.plan_holds(
        plan,
        r"
import subprocess, stat
assert os.stat('/opt/setuid/python').st_mode & stat.S_ISUID
say = 'import os; print(os.getresuid(), os.getresgid())'
found = subprocess.run(['/opt/setuid/python', '-I', '-c', say], capture_output=True, text=True)
assert found.stdout == '(1000, 1000, 1000) (1000, 1000, 1000)\n', found
for wanted in [0, 1, 65534]:
    assert fails(os.setuid, wanted) in [errno.EPERM, errno.EINVAL], wanted
",
    );
}

fn has_no_capability(world: &World) {
    world.holds(
        r"
for who in ['self', '1']:
    lines = open('/proc/' + who + '/status').read().splitlines()
    found = dict(line.split(':\t', 1) for line in lines if ':\t' in line)
    for name in ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']:
        assert int(found[name], 16) == 0, (who, name, found[name])
    assert found['NoNewPrivs'] == '1' and found['Seccomp'] == '2', (who, found)
",
    );
}

fn starts_with_no_signal_blocked(world: &World) {
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGUSR1);
    blocked.add(Signal::SIGCHLD);
    blocked.thread_block().unwrap();
    let (running, mut output) = world.start(
        world.plan(),
        "print([line for line in open('/proc/self/status') if line.startswith('SigBlk')])",
    );
    blocked.thread_unblock().unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    running.wait().unwrap();
    assert_eq!(text, "['SigBlk:\\t0000000000000000\\n']\n");
}

/// The mounts alone would answer `ENOTTY`, and let a signal through to anything of the same uid.
fn landlock_stands_behind_the_mounts(world: &World) {
    world.holds(
        r"
import fcntl, termios
device = os.open('/dev/zero', os.O_RDONLY)
assert fails(fcntl.ioctl, device, termios.TCGETS, bytes(64)) == errno.EACCES
assert fails(os.mkfifo, '/tmp/fifo') == 0
assert fails(os.mknod, '/tmp/device', 0o20600, os.makedev(1, 3)) in [errno.EACCES, errno.EPERM]
",
    );
}

fn host_uid_is_reserved(world: &World) {
    let (walled, _output) = world
        .build(world.plan(), "import signal; signal.pause()")
        .unwrap();
    let status = World::status(walled.init_pidfd());
    let uid = World::outside_uid();
    assert!(
        status.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n")),
        "{status}"
    );
    if World::root() {
        assert_eq!(uid, HOST_UID);
        assert!(
            status.contains(&format!("Gid:\t{uid}\t{uid}\t{uid}\t{uid}\n")),
            "{status}"
        );
        assert!(status.contains("Groups:\t \n"), "{status}");
    }
}

fn limits_hold(world: &World) {
    let mut plan = world.plan();
    plan.limits.tmp_bytes = 1 << 20;
    plan.limits.open_files = 64;
    plan.limits.processes = 8;
    plan.limits.file_bytes = 1 << 19;
    world.plan_holds(
        plan,
        r"
import resource, signal
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (64, 64)
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def fill(path, size):
    with open(path, 'wb', buffering=0) as file:
        done = 0
        while done < size:
            done += file.write(bytes(min(1 << 16, size - done)))
assert fails(fill, '/tmp/large', 1 << 20) == errno.EFBIG
os.unlink('/tmp/large')
fill('/tmp/a', 1 << 19)
assert fails(lambda: [fill('/tmp/b%d' % n, 1 << 18) for n in range(4)]) == errno.ENOSPC
children = []
def breed():
    for _ in range(20):
        child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)
assert fails(breed) == errno.EAGAIN
assert len(children) == 7, len(children)
",
    );
}

fn writes_only_to_writable_binds(world: &World) {
    let dir = world.fresh("workspace");
    let uid = World::outside_uid();
    if World::root() {
        chown(&dir, Some(uid), Some(uid)).unwrap();
    }
    let mut plan = world.plan();
    let to = "/work".into();
    plan.binds.push(Bind {
        from: dir.clone(),
        to,
        writable: true,
        executable: false,
    });
    plan.workdir = "/work".into();
    world.plan_holds(
        plan,
        r"
assert os.getcwd() == '/work'
os.mkdir('deep')
open('deep/file', 'w').write('written inside')
os.rename('deep/file', 'file')
os.symlink('/etc/shadow', 'link')
open('run', 'w').write('#!/bin/sh\n')
os.chmod('run', 0o755)
assert fails(os.execv, './run', ['run']) == errno.EACCES
",
    );
    assert_eq!(
        fs::read_to_string(dir.join("file")).unwrap(),
        "written inside"
    );
    assert_eq!(fs::metadata(dir.join("file")).unwrap().uid(), uid);
}

fn the_door_works_and_nothing_else(world: &World) {
    let mut plan = world.plan();
    plan.door = Some(Door {
        tcp_port: 8720,
        unix_path: "/run/aims/door.sock".into(),
    });
    let code = r"
def ask(connection):
    connection.sendall(b'ping')
    answer = connection.recv(4)
    assert answer == b'pong', answer
ask(socket.create_connection(('127.0.0.1', 8720)))
unix = socket.socket(socket.AF_UNIX)
unix.connect('/run/aims/door.sock')
ask(unix)
for port in [22, 80, 8700, 8710, 8721]:
    assert fails(socket.create_connection, ('127.0.0.1', port)) == errno.ECONNREFUSED, port
assert fails(os.unlink, '/run/aims/door.sock') in [errno.EROFS, errno.EACCES]
assert os.listdir('/run') == ['aims'] and os.listdir('/run/aims') == ['door.sock']
print('held')
";
    let (mut walled, mut output) = world.build(plan, code).unwrap();
    let (tcp, unix) = walled.door.take().unwrap();
    let running = walled.start().unwrap();
    let guard = std::thread::spawn(move || {
        answer(tcp.accept().unwrap().0);
        answer(unix.accept().unwrap().0);
    });
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "held\n", "{:?}", running.wait());
    guard.join().unwrap();
}

fn answer(mut stream: impl Read + Write) {
    let mut asked = [0; 4];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"ping");
    stream.write_all(b"pong").unwrap();
}
