//! What neither an agent nor a local user can do.

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aims_links::{Cut, Vouch};
use aims_node::LAUNCHES_UNDER_WAY_MAX;
use aims_node::door::CONNECTIONS_MAX;
use aims_node::evidence::measure_file;
use aims_node::run::RunEvent;
use aims_types::Revision;

use crate::peers::{RESOURCE, TICKET, TOKEN, WIT};
use crate::world::{NOBODY, World, ask, is_root, on_a_thread};

type Claim = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

pub(crate) const ALL: &[Claim] = &[
    ("an_agent_forges_no_identity_and_finds_none", || {
        Box::pin(an_agent_forges_no_identity())
    }),
    ("tunnels_count_as_connections", || {
        Box::pin(tunnels_count_as_connections())
    }),
    ("a_caller_lends_the_node_its_rights", || {
        Box::pin(a_caller_lends_the_node_its_rights())
    }),
    ("a_refused_launch_leaves_no_copy", || {
        Box::pin(a_refused_launch_leaves_no_copy())
    }),
    ("the_interpreter_is_seen_where_it_runs", || {
        Box::pin(the_interpreter_is_seen_where_it_runs())
    }),
    ("what_could_not_be_started_is_reported_as_ended", || {
        Box::pin(what_could_not_be_started_is_reported())
    }),
    ("a_program_that_is_a_pipe_holds_nobody_up", || {
        Box::pin(a_pipe_holds_nobody_up())
    }),
    ("silent_connections_hold_up_their_user_alone", || {
        Box::pin(silent_connections_hold_up_their_user_alone())
    }),
    ("a_command_that_went_away_ends_its_instance", || {
        Box::pin(a_command_that_went_away_ends_its_instance())
    }),
    ("many_instances_end_at_once_and_share_no_uid", || {
        Box::pin(many_instances_end_at_once())
    }),
    (
        "what_an_instance_runs_from_is_seen_again_at_renewal",
        || Box::pin(what_it_runs_from_is_seen_again()),
    ),
    ("a_sub_agent_is_an_instance_of_its_own", || {
        Box::pin(a_sub_agent_is_an_instance_of_its_own())
    }),
    ("a_sub_agent_ends_with_the_one_that_asked", || {
        Box::pin(a_sub_agent_ends_with_the_one_that_asked())
    }),
    (
        "a_sub_agent_that_is_being_started_when_its_parent_is_cut_off_is_ended_and_reported",
        || Box::pin(a_sub_agent_starts_while_its_parent_ends()),
    ),
    (
        "what_the_server_cuts_off_is_gone_when_the_cut_returns",
        || Box::pin(what_is_cut_off_is_gone()),
    ),
    (
        "what_waits_in_a_door_for_a_slow_reader_is_never_read_after_doors_were_reset",
        || Box::pin(doors_are_reset()),
    ),
    (
        "an_end_that_the_server_refuses_for_ever_is_given_up_and_what_runs_is_told",
        || Box::pin(an_end_that_is_refused_is_given_up()),
    ),
    ("a_node_without_a_lease_runs_nothing", || {
        Box::pin(a_node_without_a_lease_runs_nothing())
    }),
    ("draining_ends_every_instance_and_every_request", || {
        Box::pin(draining_ends_everything())
    }),
];

const WAIT: &str = "import signal\nprint('runs', flush=True)\nwhile True: signal.pause()\n";

async fn an_agent_forges_no_identity() {
    let world = World::new(
        r#"
import os, socket, sys
def ask(text):
    door = socket.create_connection(("127.0.0.1", 8710))
    door.sendall(text.replace("\n", "\r\n").encode())
    said = door.recv(65536)
    while b"\r\n" not in said: said += door.recv(65536) or sys.exit(text)
    print(said.decode().splitlines()[0], flush=True)
forged = "Authorization: DPoP mine\nDPoP: mine\nHost: evil.test\nForwarded: for=x\nX-A: 1\n"
ask("POST /mcp/files?q=1 HTTP/1.1\nAccept: a/b\n" + forged + "Content-Length: 2\n\nhi")
ask("POST /mcp/files HTTP/1.1\n" + forged + "Content-Length: 9\nTransfer-Encoding: chunked\n\n"
    "2\nhi\n0\n\n")
for target in ["*", "//mcp/files", "/mcp/../files", "/mcp/%66iles", "http://evil.test/mcp/files"]:
    ask("POST " + target + " HTTP/1.1\n" + forged + "Content-Length: 0\n\n")
ask("CONNECT me@evil.test:443 HTTP/1.1\n" + forged + "\n")
ask("CONNECT evil.test HTTP/1.1\n" + forged + "\n")
ask("POST /mcp/files HTTP/1.1\n" + "".join("Y-%d: 1\n" % n for n in range(80)) + "\n")
print(sorted(os.environ))
for folder, _, names in os.walk("/"):
    for name in names:
        path = os.path.join(folder, name)
        # The bridge is this test's own binary, which knows the words that are looked for.
        if folder.startswith(("/usr/lib", "/usr/share")) or path == "/usr/bin/aims":
            continue
        if not os.path.isfile(path):
            continue
        try:
            content = open(path, "rb").read(1 << 20) if not name.startswith("kmsg") else b""
        except OSError:
            continue
        assert b"aims." + b"secret" not in content, path
"#,
    );
    let told = world.launch(world.argv()).await;
    assert_eq!(told.code(), 0, "{}", told.output);
    for secret in [TOKEN, WIT, TICKET] {
        assert!(!told.output.contains(secret), "{}", told.output);
    }
    let lines: Vec<&str> = told.output.lines().collect();
    let answers: Vec<&str> = lines[..10]
        .iter()
        .map(|line| line.split(' ').nth(1).unwrap())
        .collect();
    let refused = ["400"; 7];
    assert_eq!(answers[..2], ["200", "200"]);
    assert_eq!(answers[2..9], refused);
    assert_eq!(answers[9], "431");
    let requests = std::mem::take(&mut *world.gateway.requests.lock().unwrap());
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.uri().to_string(), format!("{RESOURCE}/mcp/files"));
        assert_eq!(request.body().as_ref(), b"hi");
        let headers = request.headers();
        let values: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(values, [format!("DPoP {TOKEN}").as_str()]);
        assert_eq!(headers.get_all("dpop").iter().count(), 1);
        assert_ne!(headers["dpop"], "mine");
        let passed = ["accept", "authorization", "content-type", "dpop"];
        assert!(
            headers.keys().all(|name| passed.contains(&name.as_str())),
            "{headers:?}"
        );
        assert!(!format!("{headers:?}").contains(TOKEN));
    }
    assert!(world.gateway.tunnels.lock().unwrap().is_empty());
    world.drain().await;
}

async fn tunnels_count_as_connections() {
    let world = World::new(
        r#"
import socket
held = []
for _ in range(80):
    door = socket.create_connection(("127.0.0.1", 8710))
    door.settimeout(2)
    door.sendall(b"CONNECT host.test:443 HTTP/1.1\r\n\r\n")
    try:
        assert door.recv(12) == b"HTTP/1.1 200"
    except TimeoutError:
        break
    held.append(door)
print(len(held))
held.pop().close()
assert door.recv(12) == b"HTTP/1.1 200"
"#,
    );
    let told = world.launch(world.argv()).await;
    assert_eq!(told.output, format!("{CONNECTIONS_MAX}\n"));
    assert_eq!(told.code(), 0);
    world.drain().await;
}

/// Whoever may register agents could otherwise read every file of the host.
async fn a_caller_lends_the_node_its_rights() {
    let world = World::new("print('read')");
    let secret = world.root.join("secret");
    fs::write(&secret, "of the administrator").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    world.register(std::slice::from_ref(&secret));
    if is_root() {
        let told = world.launch_as(NOBODY, TICKET).await;
        assert_eq!(told.refusal(), "evidence_unreadable");
        assert_eq!(world.kept(), [] as [std::path::PathBuf; 0]);
        let digest = measure_file(&secret).unwrap().digest;
        assert!(!format!("{told:?}").contains(&digest.to_hex()));
        let store = world.root.join("stage");
        assert_eq!(
            fs::metadata(store).unwrap().permissions().mode() & 0o777,
            0o700
        );
        fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(world.launch_as(NOBODY, TICKET).await.output, "read\n");
    }
    let told = world.launch(world.argv()).await;
    assert_eq!((told.code(), told.output.as_str()), (0, "read\n"));
    world.drain().await;
}

async fn a_refused_launch_leaves_no_copy() {
    let world = World::new("print('ran')");
    let data = world.root.join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("text"), "as registered").unwrap();
    world.register(std::slice::from_ref(&data));
    fs::write(data.join("text"), "edited").unwrap();
    let told = world.launch(world.argv()).await;
    assert_eq!(told.refusal(), "evidence_mismatch");
    let [RunEvent::Refused { gaps, .. }] = &told.events[..] else {
        panic!("{told:?}")
    };
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(world.server.refused.lock().unwrap().len(), 1);
    assert_eq!(world.kept(), [] as [std::path::PathBuf; 0]);
    // Other words of the command line are not read at all.
    for program in ["-c", "/dev/stdin", "/proc/self/fd/3", "/", "/etc/passwd"] {
        let mut argv = world.argv();
        program.clone_into(&mut argv[1]);
        let told = world.launch(argv).await;
        assert_eq!(told.refusal(), "evidence_mismatch", "{program}");
    }
    assert_eq!(world.server.uids.lock().unwrap().len(), 0);
    world.drain().await;
}

/// A registration that measures an interpreter but does not declare it must not run another.
async fn the_interpreter_is_seen_where_it_runs() {
    let world = World::new("print('ran')");
    let mut expected = world.expected();
    let interpreter = expected.interpreter.clone().unwrap();
    expected.trees.retain(|tree| tree.path != interpreter.path);
    world.expect(expected.clone());
    let told = world.launch(world.argv()).await;
    assert_eq!(told.refusal(), "evidence_mismatch");
    world.register(&[]);
    assert_eq!(world.launch(world.argv()).await.output, "ran\n");
    world.drain().await;
}

/// It was attested and has credentials by then.
async fn what_could_not_be_started_is_reported() {
    let world = World::new("");
    let text = world.root.join("text");
    fs::write(&text, "no program").unwrap();
    world.register(std::slice::from_ref(&text));
    let mut expected = world.expected();
    expected.interpreter = Some(measure_file(&text).unwrap());
    world.expect(expected);
    let told = world.launch(world.argv()).await;
    assert_eq!(told.refusal(), "unavailable");
    let ended = world.server.ended.lock().unwrap().clone();
    assert_eq!(ended, ["it could not be started"]);
    world.drain().await;
}

async fn a_pipe_holds_nobody_up() {
    let world = World::new("print('ran')");
    let mut expected = world.expected();
    let program = world.root.join("agent.py");
    fs::remove_file(&program).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &program,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    let told = world.launch(world.argv()).await;
    assert_eq!(told.refusal(), "evidence_unreadable");
    expected.files.push(expected.program.clone());
    world.expect(expected);
    assert_eq!(
        world.launch(world.argv()).await.refusal(),
        "evidence_unreadable"
    );
    world.drain().await;
}

async fn silent_connections_hold_up_their_user_alone() {
    let world = World::new("print('ran')");
    let socket = world.socket();
    let connect = move || -> Vec<UnixStream> {
        (0..LAUNCHES_UNDER_WAY_MAX)
            .map(|_| UnixStream::connect(&socket).unwrap())
            .collect()
    };
    let silent = on_a_thread(connect).await;
    let told = world.launch(world.argv()).await;
    assert_eq!(told.refusal(), "busy");
    if is_root() {
        let told = world.launch_as(NOBODY, "aims_rt_guessed").await;
        assert_eq!(told.refusal(), "unknown_ticket");
    }
    drop(silent);
    while world.launch(world.argv()).await.events.len() < 2 {}
    world.drain().await;
}

async fn a_command_that_went_away_ends_its_instance() {
    let world = World::new(WAIT);
    let (socket, argv) = (world.socket(), world.argv());
    // It goes away before anything is built.
    let mut output = on_a_thread(move || ask(&socket, TICKET, argv).1).await;
    world.ended(1).await;
    let rest = on_a_thread(move || {
        let mut rest = Vec::new();
        output.read_to_end(&mut rest).unwrap();
        rest
    });
    // Nobody holds the other end any more: nothing of it runs.
    assert!(rest.await.len() < 10);
    world.drain().await;
}

async fn many_instances_end_at_once() {
    let world = World::new(WAIT);
    let mut running = Vec::new();
    for _ in 0..6 {
        let (socket, argv) = (world.socket(), world.argv());
        let started = move || {
            let (stream, mut output) = ask(&socket, TICKET, argv);
            output.read_exact(&mut [0; 5]).unwrap();
            (stream, output)
        };
        running.push(on_a_thread(started).await);
    }
    drop(running);
    world.ended(6).await;
    let uids = world.server.uids.lock().unwrap().clone();
    let distinct: std::collections::BTreeSet<u32> = uids.iter().copied().collect();
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(distinct.len(), if is_root() { 6 } else { 1 });
    assert_eq!(uids.contains(&own), !is_root());
    world.drain().await;
}

async fn what_it_runs_from_is_seen_again() {
    let world = World::new(
        r#"
import socket
for _ in range(1000):
    door = socket.create_connection(("127.0.0.1", 8710))
    door.sendall(b"POST /mcp/files HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
    status = door.recv(65536).split()[1].decode()
    print(status, flush=True)
    if status != "200":
        break
"#,
    );
    world.server.brief.store(true, Ordering::Relaxed);
    let tampering = async {
        // The first look is good.
        while world.server.renewed.lock().unwrap().is_empty() {
            world.server.changed.notified().await;
        }
        let file = world.kept_file();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        fs::write(&file, "changed").unwrap();
    };
    let (told, ()) = tokio::join!(world.launch(world.argv()), tampering);
    assert_eq!(told.code(), 0, "{}", told.output);
    let answers: Vec<&str> = told.output.lines().collect();
    assert_eq!((answers[0], *answers.last().unwrap()), ("200", "403"));
    let renewed = world.server.renewed.lock().unwrap().clone();
    assert_eq!(renewed[0], []);
    let gaps = renewed.last().unwrap();
    assert!(
        gaps.iter().all(|gap| gap.part == "tree") && !gaps.is_empty(),
        "{gaps:?}"
    );
    world.drain().await;
}

async fn draining_ends_everything() {
    let world = World::new(WAIT);
    let (socket, argv) = (world.socket(), world.argv());
    let silent = UnixStream::connect(&socket).unwrap();
    let (stream, _output) = on_a_thread(move || {
        let (stream, mut output) = ask(&socket, TICKET, argv);
        output.read_exact(&mut [0; 5]).unwrap();
        (stream, output)
    })
    .await;
    let server = std::sync::Arc::clone(&world.server);
    world.drain().await;
    assert_eq!(server.ended.lock().unwrap()[..], ["killed by signal 9"]);
    let told = on_a_thread(move || aims_node::run::events(stream).last()).await;
    assert_eq!(told.unwrap().unwrap(), RunEvent::Ended { code: 137 });
    drop(silent);
}

/// A program that starts itself as a sub-agent and says what became of it.
const DELEGATOR: &str = r#"
import json, os, signal, sys, urllib.request, urllib.error
if sys.argv[1:] == ["child"]:
    print("child read", sys.stdin.read(), os.getpid(), flush=True)
    print("to stderr", file=sys.stderr, flush=True)
    sys.exit(7)
if sys.argv[1:] == ["waiting child"]:
    print("waits", flush=True)
    while True: signal.pause()
def ask(agent, words):
    body = {"agent": agent, "purpose": "read the log", "seconds": 60, "stdin": "ä",
            "authority": {"authorization_details": [], "limits": {}},
            "command": [sys.executable, os.path.abspath(sys.argv[0])] + words}
    request = urllib.request.Request("http://127.0.0.1:8710/delegations",
                                     json.dumps(body).encode(), {"content-type": "application/json"})
    return urllib.request.urlopen(request)
if sys.argv[1:] == ["forbidden"]:
    try: ask("forbidden", [])
    except urllib.error.HTTPError as error: print(error.code, json.load(error)["detail"])
elif sys.argv[1:] == ["leave"]:
    answer = ask("reader", ["waiting child"])
    print(answer.readline(), answer.readline(), flush=True)
else:
    answer = ask("reader", ["child"])
    print(answer.status, answer.headers["content-type"])
    for line in answer:
        event = json.loads(line)
        print(event["event"], event.get("text"), event.get("code"), flush=True)
"#;

async fn a_sub_agent_is_an_instance_of_its_own() {
    let world = World::new(DELEGATOR);
    let told = world.launch(world.argv()).await;
    assert_eq!(told.code(), 0, "{}", told.output);
    for said in [
        "201 application/x-ndjson",
        "started None None",
        "stdout child read ä",
        "stderr to stderr",
        "exited None 7",
    ] {
        assert!(told.output.contains(said), "{said}: {}", told.output);
    }
    let attested = world.server.attested.lock().unwrap().clone();
    assert_eq!(attested.len(), 2);
    let asked = world.server.delegated.lock().unwrap().pop().unwrap();
    assert_eq!(asked.instance, attested[0]);
    if is_root() {
        let uids = world.server.uids.lock().unwrap().clone();
        assert!(uids[0] != uids[1], "{uids:?}");
    }
    let mut argv = world.argv();
    argv.push("forbidden".to_owned());
    let told = world.launch(argv).await;
    let refused = "403 argument `path`: `/` is not below `/work`";
    assert!(told.output.contains(refused), "{}", told.output);
    assert_eq!(world.server.attested.lock().unwrap().len(), 3);
    world.drain().await;
}

async fn a_sub_agent_ends_with_the_one_that_asked() {
    let world = World::new(DELEGATOR);
    let mut argv = world.argv();
    argv.push("leave".to_owned());
    let told = world.launch(argv).await;
    assert!(told.output.contains("waits"), "{}", told.output);
    world.ended(2).await;
    assert_eq!(world.server.attested.lock().unwrap().len(), 2);
    world.drain().await;
}

async fn a_sub_agent_starts_while_its_parent_ends() {
    let world = World::new(DELEGATOR);
    world.server.slow.store(true, Ordering::Relaxed);
    let (socket, argv) = (world.socket(), world.argv());
    let asked = on_a_thread(move || ask(&socket, TICKET, argv)).await;
    while world.server.attested.lock().unwrap().len() < 2 {
        world.server.changed.notified().await;
    }
    let instances = world.server.attested.lock().unwrap().clone();
    let cut = |instances| Cut {
        revision: Revision::new(3),
        instances,
        gateways: Vec::new(),
        doors: false,
    };
    let ended = world.node.end(cut(instances)).await.unwrap();
    assert_eq!(ended.instances, 1, "the sub-agent was not entered yet");
    world.ended(1).await;
    world.server.released.notify_one();
    // The server has attested it, so it has to hear that it is over.
    world.ended(2).await;
    let ends = world.server.ended.lock().unwrap().clone();
    assert_eq!(ends, ["cut off", "it could not be started"]);
    drop(asked);
    world.drain().await;
}

async fn what_is_cut_off_is_gone() {
    let world = World::new(WAIT);
    let (socket, argv) = (world.socket(), world.argv());
    let (mut stream, mut output) = on_a_thread(move || {
        let (stream, mut output) = ask(&socket, TICKET, argv);
        let mut runs = [0; 5];
        output.read_exact(&mut runs).unwrap();
        (stream, output)
    })
    .await;
    let instances = world.server.attested.lock().unwrap().clone();
    let cut = Cut {
        revision: Revision::new(3),
        instances,
        gateways: Vec::new(),
        doors: false,
    };
    let ended = world.node.end(cut.clone()).await.unwrap();
    assert_eq!(ended.instances, 1);
    // Every process that had the other end of the pipe is gone.
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    assert_eq!(world.node.end(cut).await.unwrap().instances, 0);
    world.ended(1).await;
    let last = on_a_thread(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    assert!(last.await.contains("\"ended\""));
    world.drain().await;
}

/// What is in the reader's own part of the system is all that it gets.
async fn doors_are_reset() {
    let world = World::new(
        r#"
import fcntl, select, socket, struct, termios
def ask(door, text):
    door.sendall(text.replace("\n", "\r\n").encode())
    return door
def tcp(): return socket.create_connection(("127.0.0.1", 8710))
unix = socket.socket(socket.AF_UNIX)
unix.connect("/run/aims/door.sock")
tunnel = ask(tcp(), "CONNECT host.test:443 HTTP/1.1\n\n")
assert tunnel.recv(12) == b"HTTP/1.1 200"
burst = "GET /burst HTTP/1.1\nHost: a\nConnection: close\n\n"
flood = "GET /flood HTTP/1.1\nHost: a\n\n"
doors = [ask(tcp(), burst), ask(tcp(), flood), ask(unix, flood), tunnel]
print("asked", flush=True)
for door in doors:
    poll = select.poll()
    poll.register(door, 0)
    assert poll.poll(60_000), "it was not reset"
    here = struct.unpack("i", fcntl.ioctl(door, termios.FIONREAD, bytes(4)))[0]
    read = 0
    try:
        while some := door.recv(1 << 16): read += len(some)
    except ConnectionResetError:
        pass
    assert read <= here, (read, here)
assert ask(tcp(), "POST /mcp/files HTTP/1.1\nContent-Length: 0\n\n").recv(12) == b"HTTP/1.1 200"
print("goes on", flush=True)
"#,
    );
    let (socket, argv) = (world.socket(), world.argv());
    let (_stream, mut output) = on_a_thread(move || {
        let (stream, mut output) = ask(&socket, TICKET, argv);
        output.read_exact(&mut [0; 6]).unwrap();
        (stream, output)
    })
    .await;
    // More than fits into the part of the system that belongs to a reader.
    while world.gateway.flood.load(Ordering::SeqCst) < 10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let cut = Cut {
        revision: Revision::new(3),
        instances: Vec::new(),
        gateways: Vec::new(),
        doors: true,
    };
    assert_eq!(world.node.end(cut).await.unwrap().instances, 0);
    assert_eq!(Arc::strong_count(&world.gateway.flood), 1);
    let told = on_a_thread(move || {
        let mut told = String::new();
        output.read_to_string(&mut told).unwrap();
        told
    });
    assert_eq!(told.await, "goes on\n");
    world.ended(1).await;
    world.drain().await;
}

async fn an_end_that_is_refused_is_given_up() {
    let world = World::new(WAIT);
    world.server.refuses_ends.store(true, Ordering::Relaxed);
    let (socket, argv) = (world.socket(), world.argv());
    let (stream, output) = on_a_thread(move || {
        let (stream, mut output) = ask(&socket, TICKET, argv);
        output.read_exact(&mut [0; 5]).unwrap();
        (stream, output)
    })
    .await;
    let attested = world.server.attested.lock().unwrap().clone();
    assert_eq!(world.node.held().await.unwrap(), attested);
    drop((stream, output));
    world.ended(1).await;
    let (node, server) = (world.node.clone(), world.server.clone());
    // It returns although the server never notes the end, and the end was told once.
    world.drain().await;
    assert_eq!(server.ended.lock().unwrap().len(), 1);
    assert!(node.held().await.unwrap().is_empty());
}

async fn a_node_without_a_lease_runs_nothing() {
    let world = World::new(WAIT);
    let (socket, argv) = (world.socket(), world.argv());
    let (_stream, mut output) = on_a_thread(move || {
        let (stream, mut output) = ask(&socket, TICKET, argv);
        let mut runs = [0; 5];
        output.read_exact(&mut runs).unwrap();
        (stream, output)
    })
    .await;
    world.server.silent.store(true, Ordering::Relaxed);
    let rest = on_a_thread(move || {
        let mut rest = Vec::new();
        output.read_to_end(&mut rest).unwrap();
        rest
    });
    assert!(rest.await.is_empty());
    world.ended(1).await;
    let told = world.launch(world.argv()).await;
    assert_eq!(told.refusal(), "unavailable");
    // A lease counts only where the revision that it names is in force.
    world.server.revision.store(9, Ordering::Relaxed);
    world.server.silent.store(false, Ordering::Relaxed);
    let told = world.launch(world.argv()).await;
    assert_eq!(told.refusal(), "unavailable");
    world.node.joined(Revision::new(9));
    fs::write(world.root.join("agent.py"), "print('again')").unwrap();
    world.register(&[]);
    assert_eq!(world.launch(world.argv()).await.code(), 0);
    world.drain().await;
}
