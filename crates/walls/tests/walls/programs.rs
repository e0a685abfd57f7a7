//! Ordinary programs work behind the fences.

use std::fs::Permissions;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use aims_walls::stage::Stage;
use aims_walls::{Bind, Exit, Plan, Stdio3, runtime};

use crate::Claim;
use crate::world::{HOST_UID, World};

pub(crate) const ALL: &[Claim] = &[
    ("python_threads_processes_and_json_work", python_works),
    ("git_commits_in_a_bound_workspace", git_works),
    ("node_evaluates_and_serves_itself", node_works),
    (
        "a_staged_tree_runs_for_the_reserved_uid",
        a_staged_tree_runs,
    ),
];

fn python_works(world: &World) {
    world.holds(
        r"
import asyncio, json, subprocess, tempfile, threading, sqlite3, hashlib
done = []
threads = [threading.Thread(target=done.append, args=(n,)) for n in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert sorted(done) == list(range(8))
found = subprocess.run([sys.executable, '-I', '-c', 'print(6 * 7)'], capture_output=True, text=True)
assert found.stdout == '42\n', found
async def serve():
    server = await asyncio.start_server(lambda r, w: w.close(), '127.0.0.1', 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection('localhost', port)
    assert await reader.read() == b''
asyncio.run(serve())
base = sqlite3.connect('/tmp/base')
base.execute('create table t (n)')
base.commit()
assert tempfile.gettempdir() == '/tmp'
",
    );
}

/// Runs `argv` with everything that `paths` need, and expects success.
fn runs(world: &World, paths: &[&str], argv: &[&str], change: impl FnOnce(&mut Plan)) -> String {
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    let declared = runtime::closure(&paths).unwrap();
    let mut plan = Plan::new(argv.iter().map(|arg| (*arg).to_owned()).collect());
    runtime::declare(&mut plan, &declared);
    plan.host_uid = World::root().then_some(HOST_UID);
    change(&mut plan);
    let (read, write) = std::io::pipe().unwrap();
    let write = OwnedFd::from(write);
    let stdio = Stdio3 {
        stdin: OwnedFd::from(std::io::pipe().unwrap().0),
        stdout: write.try_clone().unwrap(),
        stderr: write,
    };
    let running = world
        .launcher
        .build(plan, Vec::new(), stdio)
        .unwrap()
        .start()
        .unwrap();
    let mut text = String::new();
    std::fs::File::from(OwnedFd::from(read))
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(running.wait().unwrap(), Exit::Code(0), "{text}");
    text
}

fn git_works(world: &World) {
    if !Path::new("/usr/bin/git").exists() {
        return;
    }
    let dir = world.fresh("repository");
    if World::root() {
        chown(&dir, Some(HOST_UID), Some(HOST_UID)).unwrap();
    }
    let git = |args: &[&str]| {
        let argv: Vec<&str> = ["/usr/bin/git"].iter().chain(args).copied().collect();
        runs(world, &["/usr/bin/git"], &argv, |plan| {
            let (from, to) = (dir.clone(), "/work".into());
            plan.binds.push(Bind {
                from,
                to,
                writable: true,
                executable: false,
            });
            plan.workdir = "/work".into();
            plan.env.insert("HOME".to_owned(), "/tmp".to_owned());
        })
    };
    git(&["init", "--quiet", "--template="]);
    std::fs::write(dir.join("file"), "text").unwrap();
    git(&["add", "file"]);
    let identity = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.org",
        "-c",
        "gc.auto=0",
    ];
    git(&[&identity[..], &["commit", "--quiet", "-m", "first"]].concat());
    assert!(git(&["log", "--oneline"]).contains("first"));
}

fn node_works(world: &World) {
    let Some(node) = ["/usr/bin/node", "/usr/local/bin/node"]
        .iter()
        .find(|p| Path::new(p).exists())
    else {
        return;
    };
    let code = "const http = require('http'); const os = require('os'); os.cpus(); \
        const s = http.createServer((q, r) => r.end('served')).listen(0, '127.0.0.1', () => \
        http.get({port: s.address().port}, r => r.on('data', d => { \
        process.stdout.write(d); process.exit(0) })))";
    assert_eq!(runs(world, &[node], &[node, "-e", code], |_| {}), "served");
}

/// As an installation in a private home: the reserved uid could never walk there.
fn a_staged_tree_runs(world: &World) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let home = dir.path().join("home");
    let package = home.join("lib/package");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(package.join("__init__.py"), "said = 'from the staged tree'").unwrap();
    std::fs::copy(&world.python, home.join("lib/interpreter")).unwrap();
    std::os::unix::fs::symlink("package", home.join("lib/alias")).unwrap();
    std::fs::set_permissions(&home, Permissions::from_mode(0o700)).unwrap();
    let stage = Stage::open(world.fresh("store")).unwrap();
    let paths = [&world.paths[..], &[home.join("lib")]].concat();
    let declared = runtime::closure(&paths).unwrap();
    let mut plan = world.plan();
    (plan.binds, plan.symlinks) = (Vec::new(), Vec::new());
    runtime::declare_staged(&mut plan, &declared, &stage).unwrap();
    let again = plan.clone();
    (plan.binds, plan.symlinks) = (Vec::new(), Vec::new());
    runtime::declare_staged(&mut plan, &declared, &stage).unwrap();
    assert_eq!(plan, again);
    plan.argv[0] = format!("{}/lib/interpreter", home.display());
    world.plan_holds(
        plan,
        &format!(
            r"
sys.path.insert(0, '{}')
import alias
assert alias.said == 'from the staged tree'
assert fails(open, alias.__file__, 'a') in [errno.EROFS, errno.EACCES]
",
            home.join("lib").display()
        ),
    );
}
