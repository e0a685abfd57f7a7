//! A node in real walls between doubles of server and gateway, and commands that ask it.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use aims_crypto::{Alg, SigningKey};
use aims_edge::Enrolled;
use aims_lease::Terms;
use aims_model::Expected;
use aims_model::evidence::Arguments;
use aims_node::evidence::{measure_closure, measure_file};
use aims_node::run::{RunEvent, RunRequest, events, send};
use aims_node::{Node, NodeConfig};
use aims_types::ambient::{SystemClock, SystemEntropy};
use aims_types::{Id, Secret};
use tokio::net::UnixListener;
use tokio_util::task::TaskTracker;

use crate::peers::{Gateway, Server, TICKET};

/// An account without rights.
pub(crate) const NOBODY: u32 = 65_534;
const CLIENT: &str = "--client";

pub(crate) struct World {
    pub(crate) server: Arc<Server>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) node: Arc<Node>,
    pub(crate) root: PathBuf,
    serving: TaskTracker,
    _dir: tempfile::TempDir,
}

/// How a launch went, as the command saw it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) events: Vec<RunEvent>,
    pub(crate) output: String,
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl World {
    /// A world whose agent is the Python program `code`.
    pub(crate) fn new(code: &str) -> Self {
        // Not below /tmp, which is the walls' own.
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::write(root.join("agent.py"), code).unwrap();
        let (server, gateway) = (Arc::new(Server::default()), Arc::new(Gateway::default()));
        let id = Id::from_u128(9);
        let config = NodeConfig {
            id,
            spiffe_id: format!("spiffe://aims.test/node/{id}").parse().unwrap(),
            host: "test".to_owned(),
            stage_dir: root.join("stage"),
            self_exe: std::env::current_exe().unwrap(),
            uid_base: 1_900_100,
            uid_count: 64,
            terms: Terms::default(),
            enrolled: Enrolled::default(),
        };
        let key = Arc::new(SigningKey::generate(Alg::Es256).unwrap());
        let links = (Arc::clone(&server) as _, Arc::clone(&gateway) as _);
        let clocks = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let node = Node::new(config, key, links, clocks.0, clocks.1).unwrap();
        let listener = UnixListener::bind(root.join("node.sock")).unwrap();
        fs::set_permissions(root.join("node.sock"), Permissions::from_mode(0o666)).unwrap();
        let serving = TaskTracker::new();
        serving.spawn(Arc::clone(&node).serve(listener));
        let world = Self {
            server,
            gateway,
            node,
            root,
            serving,
            _dir: dir,
        };
        world.register(&[]);
        world
    }

    /// Registers the agent as it lies on disk, with these trees besides its interpreter's.
    pub(crate) fn register(&self, trees: &[PathBuf]) {
        let ask = "import os, sys, sysconfig; \
                   print(os.path.realpath(sys.executable), sysconfig.get_paths()['stdlib'])";
        let output = Command::new("/usr/bin/python3")
            .args(["-I", "-c", ask])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut paths: Vec<PathBuf> = text.split_whitespace().map(PathBuf::from).collect();
        let interpreter = measure_file(&paths[0]).unwrap();
        paths.extend_from_slice(trees);
        self.expect(Expected {
            interpreter: Some(interpreter),
            program: measure_file(&self.root.join("agent.py")).unwrap(),
            files: Vec::new(),
            trees: measure_closure(&paths).unwrap(),
            arguments: Arguments::Any,
        });
    }

    pub(crate) fn expected(&self) -> Expected {
        self.server.expected.lock().unwrap().clone().unwrap()
    }

    pub(crate) fn expect(&self, expected: Expected) {
        *self.server.expected.lock().unwrap() = Some(expected);
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join("node.sock")
    }

    pub(crate) fn argv(&self) -> Vec<String> {
        let expected = self.expected();
        let interpreter = expected.interpreter.map(|found| found.path);
        interpreter
            .into_iter()
            .chain([expected.program.path])
            .collect()
    }

    /// Launches `argv` and waits for its end.
    pub(crate) async fn launch(&self, argv: Vec<String>) -> Told {
        let socket = self.socket();
        on_a_thread(move || command(&socket, TICKET, argv)).await
    }

    /// The same by another user, as root.
    pub(crate) async fn launch_as(&self, uid: u32, ticket: &str) -> Told {
        let program = self.root.join("command");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let mut command = Command::new(program);
        command
            .args([CLIENT, &self.socket().display().to_string(), ticket])
            .args(self.argv())
            .uid(uid)
            .gid(uid)
            .current_dir("/")
            .stdin(Stdio::null());
        let output = on_a_thread(move || command.output().unwrap()).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let (events, output) = text.split_once('\n').unwrap();
        Told {
            events: serde_json::from_str(events).unwrap(),
            output: output.to_owned(),
        }
    }

    /// Waits until the server knows of `count` ends.
    pub(crate) async fn ended(&self, count: usize) {
        while self.server.ended.lock().unwrap().len() < count {
            self.server.changed.notified().await;
        }
    }

    /// What the store keeps.
    pub(crate) fn kept(&self) -> Vec<PathBuf> {
        let kept = fs::read_dir(self.root.join("stage/kept")).unwrap();
        kept.map(|entry| entry.unwrap().path()).collect()
    }

    /// One text file of a tree in the store that nothing needs to run.
    pub(crate) fn kept_file(&self) -> PathBuf {
        let mut open = self.kept();
        while let Some(path) = open.pop() {
            if path.is_dir() {
                let inside = fs::read_dir(&path).unwrap();
                open.extend(inside.map(|entry| entry.unwrap().path()));
            } else if path.file_name().is_some_and(|name| name == "this.py") {
                return path;
            }
        }
        panic!("the store holds no tree of Python's library");
    }

    pub(crate) async fn drain(self) {
        self.node.drain().await;
        self.serving.close();
        self.serving.wait().await;
    }
}

impl Told {
    /// The code of the refusal.
    pub(crate) fn refusal(&self) -> &str {
        match &self.events[..] {
            [RunEvent::Refused { code, .. }] => code,
            other => panic!("not refused: {other:?} {}", self.output),
        }
    }

    pub(crate) fn code(&self) -> i32 {
        match &self.events[..] {
            [RunEvent::Started { .. }, RunEvent::Ended { code }] => *code,
            other => panic!("{other:?} {}", self.output),
        }
    }
}

/// Not on a thread of the runtime, whose number the claims limit.
pub(crate) async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (told, answer) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || drop(told.send(work())));
    answer.await.unwrap()
}

/// Asks for a launch; the connection and the program's output.
pub(crate) fn ask(socket: &Path, ticket: &str, argv: Vec<String>) -> (UnixStream, File) {
    let stream = UnixStream::connect(socket).unwrap();
    let (stdin, _) = std::io::pipe().unwrap();
    let (read, write) = std::io::pipe().unwrap();
    let request = RunRequest::new(&Secret::new(ticket.to_owned()), argv, "/".to_owned());
    // A node that refuses at once does not wait for the request.
    drop(send(
        &stream,
        &request,
        [stdin.as_fd(), write.as_fd(), write.as_fd()],
    ));
    (stream, File::from(OwnedFd::from(read)))
}

fn command(socket: &Path, ticket: &str, argv: Vec<String>) -> Told {
    let (stream, mut output) = ask(socket, ticket, argv);
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        text
    });
    // A node that refused without having read the request resets the connection.
    let events = events(stream).map_while(Result::ok).collect();
    Told {
        events,
        output: reader.join().unwrap(),
    }
}

/// The command, when this binary is started as one by another user.
pub(crate) fn entry(args: &[String]) -> Option<ExitCode> {
    let [first, socket, ticket, command_line @ ..] = args else {
        return None;
    };
    if first != CLIENT {
        return None;
    }
    let told = command(Path::new(socket), ticket, command_line.to_vec());
    let events = serde_json::to_string(&told.events).unwrap();
    let text = format!("{events}\n{}", told.output);
    std::io::stdout().write_all(text.as_bytes()).unwrap();
    Some(ExitCode::SUCCESS)
}
