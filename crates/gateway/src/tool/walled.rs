//! Tool servers inside walls of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use aims_model::ServerSpec;
use aims_types::{Digest, Name};
use aims_walls::plan::HOST_UID_MIN;
use aims_walls::runtime::{DeclaredPath, declare_staged, remeasure};
use aims_walls::stage::{Stage, StageError};
use aims_walls::{Bind, Exit, Launcher, Network, Plan, Running, Stdio3, measure};
use async_trait::async_trait;
use tokio::net::unix::pipe;
use tokio::task::spawn_blocking;

use super::uids::{TakenUid, Uids};
use super::{StartFault, ToolChild, ToolHost, ToolProcess};

/// Builds walls around each tool server.
#[derive(Clone)]
pub(crate) struct WalledHost {
    launcher: Launcher,
    stage: Stage,
    uids: Option<Uids>,
}

/// A tool server inside its walls.
struct WalledProcess {
    running: Arc<Running>,
    /// Given back only when everything inside has ended.
    uid: Option<ChildUid>,
}

/// The host uid that a tool server runs under.
enum ChildUid {
    /// One that nobody else has meanwhile.
    Taken(TakenUid),
    /// The owner of the data that it writes.
    Owner(u32),
}

impl ChildUid {
    const fn uid(&self) -> u32 {
        match self {
            Self::Taken(taken) => taken.uid(),
            Self::Owner(uid) => *uid,
        }
    }
}

/// Our ends of a child's standard streams.
struct Ends {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl WalledHost {
    /// A host that re-executes `self_exe`, stages in `stage`, and as root takes uids from `uids`.
    pub(crate) fn new(self_exe: PathBuf, stage: Stage, uids: Option<Uids>) -> Self {
        Self {
            launcher: Launcher::new(self_exe),
            stage,
            uids,
        }
    }

    /// Measures, stages, builds and starts; blocks.
    fn start_blocking(&self, spec: &ServerSpec) -> Result<(WalledProcess, Ends), StartFault> {
        let uid = self
            .uids
            .as_ref()
            .map(|uids| uid_of(spec, uids))
            .transpose()?;
        let plan = self.plan(spec, uid.as_ref().map(ChildUid::uid))?;
        let (theirs, ours) = pipes().map_err(walls)?;
        let walled = self
            .launcher
            .build(plan, Vec::new(), theirs)
            .map_err(walls)?;
        let running = Arc::new(walled.start().map_err(walls)?);
        Ok((WalledProcess { running, uid }, ours))
    }

    fn plan(&self, spec: &ServerSpec, host_uid: Option<u32>) -> Result<Plan, StartFault> {
        let mut plan = Plan::new(spec.argv.clone());
        plan.env.clone_from(&spec.env);
        plan.host_uid = host_uid;
        plan.network = if spec.network {
            Network::Host
        } else {
            Network::None
        };
        let paths: Vec<PathBuf> = spec.trees.iter().map(|m| PathBuf::from(&m.path)).collect();
        let declared = remeasure(&paths).map_err(walls)?;
        check_measured(spec, &declared)?;
        declare_staged(&mut plan, &declared, &self.stage).map_err(staging)?;
        for data in &spec.paths {
            let to = PathBuf::from(&data.path);
            let from = measure::resolve(&to).map_err(walls)?.real;
            plan.binds.push(Bind {
                from,
                to,
                writable: data.writable,
                executable: false,
            });
        }
        Ok(plan)
    }
}

#[async_trait]
impl ToolHost for WalledHost {
    async fn start(&self, _: &Name, spec: &ServerSpec) -> Result<ToolChild, StartFault> {
        let (host, spec) = (self.clone(), spec.clone());
        let hidden = spec.env.values().cloned().collect();
        let started = spawn_blocking(move || host.start_blocking(&spec)).await;
        let (process, ends) = started.map_err(walls)??;
        Ok(ToolChild {
            stdin: Box::new(pipe::Sender::from_owned_fd(ends.stdin).map_err(walls)?),
            stdout: Box::new(pipe::Receiver::from_owned_fd(ends.stdout).map_err(walls)?),
            stderr: Box::new(pipe::Receiver::from_owned_fd(ends.stderr).map_err(walls)?),
            process: Box::new(process),
            hidden,
        })
    }
}

#[async_trait]
impl ToolProcess for WalledProcess {
    async fn end(self: Box<Self>) -> io::Result<String> {
        let Self { running, uid } = *self;
        let ended = spawn_blocking(move || running.kill()).await;
        match ended.map_err(io::Error::other).and_then(|ended| ended) {
            Ok(Exit::Code(code)) => Ok(format!("exited {code}")),
            Ok(Exit::Signal(signal)) => Ok(format!("killed by signal {signal}")),
            Err(error) => {
                // Something may live on: its uid is never given out again.
                std::mem::forget(uid);
                Err(error)
            }
        }
    }
}

/// What lies on disk is exactly what was registered: nothing else, nothing less. What a program
/// loads is part of what it is.
fn check_measured(spec: &ServerSpec, declared: &[DeclaredPath]) -> Result<(), StartFault> {
    let seen: BTreeMap<String, Digest> = declared
        .iter()
        .map(|one| (one.path.display().to_string(), one.digest()))
        .collect();
    let registered: BTreeMap<String, Digest> = spec
        .trees
        .iter()
        .map(|one| (one.path.clone(), one.digest))
        .collect();
    let said =
        |digest: Option<&Digest>| digest.map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let paths: BTreeSet<&String> = seen.keys().chain(registered.keys()).collect();
    for path in paths {
        let (expected, found) = (registered.get(path), seen.get(path));
        if expected != found {
            return Err(StartFault::Changed {
                path: path.clone(),
                expected: said(expected),
                seen: said(found),
            });
        }
    }
    Ok(())
}

/// The host uid of a tool server, as root: the owner of the data that it may write, so that what
/// it writes is its own; otherwise one that nobody else has.
fn uid_of(spec: &ServerSpec, uids: &Uids) -> Result<ChildUid, StartFault> {
    let Some(data) = spec.paths.iter().find(|data| data.writable) else {
        return uids.take().map(ChildUid::Taken).ok_or(StartFault::Busy);
    };
    let owner = std::fs::metadata(&data.path).map_err(walls)?.uid();
    if owner < HOST_UID_MIN {
        return Err(StartFault::Walls(format!(
            "`{}` is written by the tool, so it must belong to a uid from {HOST_UID_MIN} on that \
             no account has; run `chown`",
            data.path
        )));
    }
    Ok(ChildUid::Owner(owner))
}

fn staging(error: StageError) -> StartFault {
    match error {
        StageError::Changed {
            path,
            expected,
            found,
        } => StartFault::Changed {
            path: path.display().to_string(),
            expected: expected.to_string(),
            seen: found.to_string(),
        },
        other => walls(other),
    }
}

fn walls(error: impl std::fmt::Display) -> StartFault {
    StartFault::Walls(error.to_string())
}

fn pipes() -> io::Result<(Stdio3, Ends)> {
    let (child_in, our_in) = io::pipe()?;
    let (our_out, child_out) = io::pipe()?;
    let (our_err, child_err) = io::pipe()?;
    let theirs = Stdio3 {
        stdin: child_in.into(),
        stdout: child_out.into(),
        stderr: child_err.into(),
    };
    Ok((
        theirs,
        Ends {
            stdin: our_in.into(),
            stdout: our_out.into(),
            stderr: our_err.into(),
        },
    ))
}
