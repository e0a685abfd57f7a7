//! A disk that fails a sync ends the process, and nothing is acknowledged after it.
//!
//! The real server runs under a tracer that makes one sync fail (`aims-powerloss`).

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use aims_powerloss::{Call, SUPPORTED, Watch, trace};
use anyhow::{Result, ensure};
use nix::errno::Errno;
use tempfile::TempDir;

const AIMS: &str = env!("CARGO_BIN_EXE_aims");

/// Waits for the server, arms the fault, and changes things until the server has ended. A process of
/// its own: the tracer takes the end of any child of the test for one that it follows.
const CLIENT: &str = r#"
for _ in $(seq 600); do
  "$AIMS" --profile alice.toml person list >ready 2>&1 && break
  sleep 0.1
done
touch armed
for _ in $(seq 600); do
  "$AIMS" --profile alice.toml point allow node >last 2>&1
  echo $? >last.code
  grep -q 3 last.code && exit
  sleep 0.1
done
kill -9 "$(cat pid)"
"#;

/// Waits for its tracer, which writes one line, and becomes the server.
const SERVER: &str = r#"read -r _ && echo $$ >pid && exec "$AIMS" server --config aims.toml"#;

/// Waits for the server, changes something, and checks the log.
const AFTERWARDS: &str = r#"
for _ in $(seq 600); do
  "$AIMS" --profile alice.toml point allow node && break
  sleep 0.1
done
"$AIMS" --profile alice.toml log check
"#;

struct World(TempDir);

impl World {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let at = dir.path().canonicalize()?;
        let at = at.display();
        // The profile says where the log is read.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = format!(
            "trust_domain = \"aims.local\"\ndata_dir = \"{at}/data\"\nstage_dir = \"{at}/stage\"\n\
             runtime_dir = \"{at}/run\"\nmaster_key_file = \"{at}/master.key\"\n\n\
             [api]\nlisten = \"127.0.0.1:{port}\"\n\n\
             [links]\nlisten = \"127.0.0.1:0\"\n"
        );
        fs::write(dir.path().join("aims.toml"), config)?;
        let world = Self(dir);
        let init = world
            .shell(r#""$AIMS" init --config aims.toml --operator alice --profile alice.toml"#)
            .output()?;
        ensure!(init.status.success(), "{init:?}");
        Ok(world)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn shell(&self, script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).env("AIMS", AIMS);
        shell.current_dir(self.path());
        shell
    }
}

/// A sync of the store's journal, or of the log's tiles.
fn is_sync_of(call: &Call, part: &str) -> bool {
    matches!(call, Call::Sync { path } if path.to_string_lossy().contains(part))
}

fn fails_and_stops(part: &str, says: &str) -> Result<()> {
    let world = World::new()?;
    let armed = world.path().join("armed");
    let mut client = world.shell(CLIENT).stdin(Stdio::null()).spawn()?;
    let log = File::create(world.path().join("server.log"))?;
    let top = world.path().join("data").canonicalize()?;
    let watch = Watch {
        top: &top,
        volatile: &["-shm"],
    };
    let mut failed = 0;
    let noted = trace(world.shell(SERVER).stderr(log), watch, |call| {
        let fails = failed == 0 && armed.exists() && is_sync_of(call, part);
        failed += u32::from(fails);
        fails.then_some(Errno::EIO)
    })?;
    // The tracer may have taken its end.
    let _ = client.wait();
    let told = fs::read_to_string(world.path().join("server.log"))?;
    ensure!(failed == 1, "no sync of {part} came");
    ensure!(noted.exit == Some(2), "{:?}: {told}", noted.exit);
    ensure!(told.contains(says), "{told}");
    goes_on(&world)
}

/// The next process reads what is really there.
fn goes_on(world: &World) -> Result<()> {
    let mut server = world.shell(SERVER);
    let server = server.stdin(Stdio::piped()).stderr(Stdio::null());
    let mut server = server.spawn()?;
    if let Some(input) = &mut server.stdin {
        input.write_all(b"\n")?;
    }
    let done = world.shell(AFTERWARDS).output();
    server.kill()?;
    server.wait()?;
    let done = done?;
    ensure!(done.status.success(), "{done:?}");
    Ok(())
}

#[test]
fn a_disk_that_fails_a_sync_ends_the_server_and_the_next_one_goes_on() -> Result<()> {
    if !SUPPORTED {
        return Ok(());
    }
    fails_and_stops("aims.db-wal", "the store can't be written")?;
    fails_and_stops("log/", "the log's tiles can't be synced")
}
