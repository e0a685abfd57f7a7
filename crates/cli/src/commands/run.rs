//! `aims run`: a ticket from the server, a launch by the node, three pipes in between.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread::{self, JoinHandle};

use aims_client::{Client, ClientError};
use aims_node::run::{RunEvent, RunRequest, events, send};
use aims_types::Secret;
use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::failure::NotStarted;

#[derive(Deserialize)]
struct Ticket {
    ticket: String,
}

/// Our ends of the program's standard streams; bytes are carried over by threads.
struct Carried {
    stdout: JoinHandle<io::Result<u64>>,
    stderr: JoinHandle<io::Result<u64>>,
}

pub(super) async fn run(
    mut client: Client,
    task: &str,
    agent: &str,
    command: Vec<String>,
) -> Result<ExitCode> {
    let body = serde_json::json!({"task": task, "agent": agent});
    let ticket: Ticket = match client.post("/v1/runs", &body).await {
        Err(ClientError::Refused(problem)) => {
            let (code, reason) = (problem.code, problem.detail);
            return Err(NotStarted { code, reason }.into());
        }
        answered => answered?,
    };
    let cwd = std::env::current_dir()?.display().to_string();
    let request = RunRequest::new(&Secret::new(ticket.ticket), resolve(command)?, cwd);
    let socket = client.profile().node_socket.clone();
    tokio::task::spawn_blocking(move || {
        let stream = UnixStream::connect(&socket)
            .with_context(|| format!("the node does not answer at `{}`", socket.display()))?;
        expect_own_node(&stream)?;
        launch(stream, &request)
    })
    .await?
}

/// The ticket and the program's streams go to a node of root's or of one's own, and to nobody who
/// only sits at its place.
fn expect_own_node(stream: &UnixStream) -> Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?.uid;
    anyhow::ensure!(
        peer.is_root() || peer == rustix::process::geteuid(),
        "the node's socket belongs to uid {}, neither root nor you; nothing was sent to it",
        peer.as_raw()
    );
    Ok(())
}

fn launch(stream: UnixStream, request: &RunRequest) -> Result<ExitCode> {
    let ([stdin, stdout, stderr], carried) = streams()?;
    send(
        &stream,
        request,
        [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
    )?;
    drop((stdin, stdout, stderr));
    for event in events(stream) {
        match event? {
            RunEvent::Started { instance } => {
                tracing::debug!(%instance, "started");
            }
            RunEvent::Refused { code, reason, gaps } => {
                let lines = gaps.iter().map(ToString::to_string);
                let lines: Vec<String> = std::iter::once(reason).chain(lines).collect();
                let reason = lines.join("\n  ");
                return Err(NotStarted { code, reason }.into());
            }
            RunEvent::Ended { code } => {
                carried.finish();
                return Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)));
            }
        }
    }
    bail!("the node went away; the program was ended with it")
}

/// Three pipes: the program's ends, and threads that carry bytes to and from ours.
fn streams() -> Result<([OwnedFd; 3], Carried)> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let ((stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr)) =
        (pipe()?, pipe()?, pipe()?);
    // Ends with the command: nobody waits for the keyboard.
    thread::spawn(move || carry(io::stdin().lock(), std::fs::File::from(to_stdin)));
    let carried = Carried {
        stdout: thread::spawn(move || carry(std::fs::File::from(from_stdout), io::stdout())),
        stderr: thread::spawn(move || carry(std::fs::File::from(from_stderr), io::stderr())),
    };
    Ok(([stdin, stdout, stderr], carried))
}

fn carry(mut from: impl Read, mut to: impl Write) -> io::Result<u64> {
    let copied = io::copy(&mut from, &mut to);
    to.flush()?;
    copied
}

impl Carried {
    /// Waits until everything that the program wrote is carried over.
    fn finish(self) {
        for stream in [self.stdout, self.stderr] {
            // A reader that went away is no failure of the program.
            drop(stream.join());
        }
    }
}

/// The program as an absolute path: a bare name is looked up as a shell would.
fn resolve(mut command: Vec<String>) -> Result<Vec<String>> {
    let Some(program) = command.first_mut() else {
        bail!("the command names no program")
    };
    if !program.contains('/') {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&paths)
            .map(|dir| dir.join(&*program))
            .find(|path| path.is_file());
        let found = found.with_context(|| format!("`{program}` is not in the search path"))?;
        *program = found.display().to_string();
    }
    Ok(command)
}
