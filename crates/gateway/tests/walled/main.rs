//! A real tool server, in real walls, from registration to a call to its end.
//!
//! This binary is its own launcher and its own PID 1, so it has no test harness.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a claim fails by panicking, and the binary has no test harness"
)]

mod domain;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use aims_gateway::{EgressConfig, Gateway, GatewayConfig, GatewayLimits};
use aims_links::{ControlState, Enforce, InspectError};
use aims_model::evidence::Measured;
use aims_model::receipt::Ended;
use aims_model::server::DataPath;
use aims_model::{CutOff, ServerSpec, Subject, ToolServer};
use aims_types::Id;
use aims_types::ambient::{SystemClock, SystemEntropy};
use aims_walls::runtime::closure;
use domain::Domain;

const SERVER: &str = include_str!("server.py");

fn main() -> ExitCode {
    if let Some(code) = aims_walls::reexec_entry(std::env::args_os()) {
        return code;
    }
    let name = "a_real_server_serves_from_behind_its_walls_and_ends_with_its_authority";
    if std::env::args().any(|arg| arg == "--list") {
        say(&format!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(claim());
    say(&format!("test {name} ... ok"));
    ExitCode::SUCCESS
}

fn say(line: &str) {
    drop(writeln!(io::stdout(), "{line}"));
}

/// The system's Python and the script, measured as a registration measures them.
fn spec(script: &Path, data: &Path) -> ServerSpec {
    let ask = "import os, sys, sysconfig; \
               print(os.path.realpath(sys.executable), sysconfig.get_paths()['stdlib'])";
    let output = Command::new("/usr/bin/python3")
        .args(["-I", "-c", ask])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut paths: Vec<PathBuf> = text.split_whitespace().map(PathBuf::from).collect();
    let python = paths.first().unwrap().display().to_string();
    paths.push(script.to_owned());
    let measured = |declared: aims_walls::runtime::DeclaredPath| Measured {
        path: declared.path.display().to_string(),
        digest: declared.digest(),
    };
    let trees = closure(&paths).unwrap().into_iter().map(measured).collect();
    ServerSpec {
        argv: ["-I", "-S", "-B"]
            .into_iter()
            .fold(vec![python], |mut argv, arg| {
                argv.push(arg.to_owned());
                argv
            })
            .into_iter()
            .chain([script.display().to_string()])
            .collect(),
        env: [("REGISTERED".to_owned(), "yes".to_owned())].into(),
        trees,
        paths: vec![DataPath {
            path: data.display().to_string(),
            writable: false,
        }],
        network: false,
    }
}

async fn claim() {
    // Not below /tmp, which is the walls' own.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.path(), open).unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (script, data) = (root.join("server.py"), root.join("data"));
    fs::write(&script, SERVER).unwrap();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("note.txt"), "from the host").unwrap();
    fs::write(root.join("secret.txt"), "not registered").unwrap();
    let domain = Arc::new(Domain::new());
    let gateway = start(&root, Arc::clone(&domain)).await;

    let spec = spec(&script, &data);
    let pins = gateway
        .inspect("small".parse().unwrap(), spec.clone())
        .await
        .unwrap();
    let names: Vec<&str> = pins.iter().map(|pin| pin.name.as_str()).collect();
    assert_eq!(names, ["read", "whoami"]);

    let server = ToolServer {
        id: Id::from_u128(1),
        name: "small".parse().unwrap(),
        purpose: "tests".parse().unwrap(),
        spec: spec.clone(),
        tools: pins,
        registered_at: domain.now(),
    };
    let mut state = domain.state(server);
    domain.note_revision(state.revision);
    gateway.apply(Arc::new(state.clone())).await.unwrap();
    gateway.leased().await;
    let session = domain.initialize(&gateway).await;
    serves(&domain, &gateway, &session, &root).await;

    let ended = cut(&domain, &gateway, &mut state).await;
    assert_eq!((ended.servers, ended.unknown), (1, Vec::new()));
    assert_eq!(
        processes_of(&script),
        0,
        "reaped when the cut-off is acknowledged"
    );

    fs::write(&script, SERVER.replace("reads a file", "does as it likes")).unwrap();
    let changed = gateway.inspect("small".parse().unwrap(), spec).await;
    let Err(InspectError::Start(why)) = changed else {
        panic!("{changed:?}")
    };
    assert!(
        why.contains("server.py") && why.contains("expected"),
        "{why}"
    );
    assert!(gateway.drain(Duration::from_secs(20)).await);
    assert!(domain.shipped() > 0);
}

async fn serves(domain: &Domain, gateway: &Gateway, session: &str, root: &Path) {
    let read = |name: &str| format!(r#"{{"path":"{}"}}"#, root.join(name).display());
    let answer = domain
        .call(gateway, session, "read", &read("data/note.txt"))
        .await;
    assert!(answer.contains("from the host"), "{answer}");
    for hidden in ["secret.txt", "wal", "../../etc/shadow"] {
        let answer = domain.call(gateway, session, "read", &read(hidden)).await;
        assert!(answer.contains("error 2"), "{hidden}: {answer}");
    }
    let seen = domain.call(gateway, session, "whoami", "{}").await;
    assert!(
        seen.contains("REGISTERED") && !seen.contains("HOME"),
        "{seen}"
    );
    assert!(!seen.contains("\\\"uid\\\": 0,"), "{seen}");
}

async fn start(root: &Path, domain: Arc<Domain>) -> Arc<Gateway> {
    let uid_base = rustix::process::geteuid().is_root().then_some(1_800_000);
    let config = GatewayConfig {
        id: Id::from_u128(1),
        trust_domain: domain::trust_domain(),
        resource: domain::RESOURCE.to_owned(),
        issuer: domain::ISSUER.to_owned(),
        wal_dir: root.join("wal"),
        stage_dir: root.join("stage"),
        self_exe: std::env::current_exe().unwrap(),
        uid_base,
        egress: EgressConfig::default(),
        lease: aims_lease::Terms::default(),
        edge: None,
        limits: GatewayLimits::default(),
        wal: aims_wal::Limits::default(),
    };
    Gateway::start(
        config,
        domain,
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
    )
    .await
    .unwrap()
}

/// Cuts the instance off, and says what that ended.
async fn cut(domain: &Domain, gateway: &Gateway, state: &mut ControlState) -> Ended {
    state.revision = state.revision.next();
    let cut = CutOff {
        subject: Subject::Instance(domain::INSTANCE),
        at_or_before: state.revision,
    };
    state.cutoffs = Arc::new(vec![cut]);
    domain.note_revision(state.revision);
    let applied = gateway.apply(Arc::new(state.clone())).await.unwrap();
    applied.ended
}

/// How many processes of the host run this script.
fn processes_of(script: &Path) -> usize {
    let script = script.display().to_string();
    let runs = |entry: fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&script)
    };
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(runs)
        .filter(|run| *run)
        .count()
}
