//! Tool servers inside walls of their own.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aims_model::ServerSpec;
use aims_types::Name;
use aims_walls::runtime::{Declared, DeclaredPath, closure, declare_staged};
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
    uid: Option<TakenUid>,
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
        let uid = match &self.uids {
            Some(uids) => Some(uids.take().ok_or(StartFault::Busy)?),
            None => None,
        };
        let plan = self.plan(spec, uid.as_ref().map(TakenUid::uid))?;
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
        let declared = closure(&paths).map_err(walls)?;
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
        let started = spawn_blocking(move || host.start_blocking(&spec)).await;
        let (process, ends) = started.map_err(walls)??;
        Ok(ToolChild {
            stdin: Box::new(pipe::Sender::from_owned_fd(ends.stdin).map_err(walls)?),
            stdout: Box::new(pipe::Receiver::from_owned_fd(ends.stdout).map_err(walls)?),
            stderr: Box::new(pipe::Receiver::from_owned_fd(ends.stderr).map_err(walls)?),
            process: Box::new(process),
        })
    }
}

#[async_trait]
impl ToolProcess for WalledProcess {
    async fn end(self: Box<Self>) -> io::Result<String> {
        let Self { running, uid } = *self;
        let ended = spawn_blocking(move || running.kill()).await;
        drop(uid);
        match ended.map_err(io::Error::other)?? {
            Exit::Code(code) => Ok(format!("exited {code}")),
            Exit::Signal(signal) => Ok(format!("killed by signal {signal}")),
        }
    }
}

/// Everything registered is there with its digest, and everything that will be bound is
/// registered: what a program loads is part of what it is.
fn check_measured(spec: &ServerSpec, declared: &[DeclaredPath]) -> Result<(), StartFault> {
    let mut seen: BTreeMap<&Path, String> = BTreeMap::new();
    for entry in declared {
        let digest = match &entry.what {
            Declared::File { digest, .. } => digest,
            Declared::Tree(tree) => &tree.digest,
            Declared::Link { .. } => continue,
        };
        seen.insert(&entry.path, digest.to_string());
    }
    for registered in &spec.trees {
        let real = measure::resolve(Path::new(&registered.path))
            .map_err(walls)?
            .real;
        let expected = registered.digest.to_string();
        // A path within another registered tree is part of that tree's digest.
        let within = |path: &&Path| *real.as_path() != **path && real.starts_with(path);
        if seen.keys().any(within) {
            continue;
        }
        let found = seen.get(real.as_path());
        if found != Some(&expected) {
            let seen = found.map_or_else(|| "nothing".to_owned(), Clone::clone);
            return Err(StartFault::Changed {
                path: registered.path.clone(),
                expected,
                seen,
            });
        }
    }
    let registered: Vec<PathBuf> = spec
        .trees
        .iter()
        .filter_map(|m| {
            measure::resolve(Path::new(&m.path))
                .ok()
                .map(|resolved| resolved.real)
        })
        .collect();
    match seen
        .iter()
        .find(|(path, _)| !registered.iter().any(|r| r == *path))
    {
        None => Ok(()),
        Some((path, digest)) => Err(StartFault::Changed {
            path: path.display().to_string(),
            expected: "nothing: it is needed and not registered; register it too".to_owned(),
            seen: digest.clone(),
        }),
    }
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
