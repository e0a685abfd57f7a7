//! From an order to an instance that runs, and to its end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aims_crypto::{Alg, SigningKey};
use aims_lease::NotHeld;
use aims_links::{
    Attestation, EndedInstance, InstanceGrant, LaunchOrder, LinkError, Refusal, RequestedRun,
};
use aims_model::{Assurance, Posture};
use aims_types::{Id, Instance};
use aims_walls::{Exit, Running, Stdio3, Walled};
use anyhow::Context;
use tokio::net::UnixListener;
use tokio::net::unix::pipe::Receiver;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::callers::Caller;
use crate::credentials::{Credentials, jwk_text};
use crate::door::{Door, SUBAGENTS_MAX};
use crate::launch::{Asked, Built, Seen};
use crate::lives::Life;
use crate::node::Node;
use crate::run::RunRequest;
use crate::uids::HostUid;

/// First and longest pause between attempts to tell the server that an instance ended.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// What `aims run` exits with when nothing was started, as `env` and `timeout` do.
const EXIT_KILLED: i32 = 128;

/// Why a launch came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// It was refused; the person may see why.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another part of AIMS did not answer.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The server does not vouch for this node now.
    #[error("this node may start nothing now: {0}; try again when the server answers it")]
    NoLease(#[from] NotHeld),
    /// This host failed.
    #[error("the node failed: {0}")]
    Internal(anyhow::Error),
}

/// What is to be started, and with whose rights its files are read.
pub(crate) struct Launch {
    pub(crate) argv: Vec<String>,
    pub(crate) cwd: String,
    pub(crate) stdio: Stdio3,
    pub(crate) caller: Caller,
    /// Ends the instance when it is cancelled: the node's own end, or that of the instance that
    /// delegated.
    pub(crate) parent: CancellationToken,
}

/// An instance that runs.
pub(crate) struct Live {
    life: Life,
    running: Running,
    /// Closes the door when dropped, and with it every connection, credential and sub-agent.
    door: DropGuard,
    /// Cancelled when it is to end, by whatever started it.
    ended: CancellationToken,
    /// Nobody else's until everything inside has ended.
    host_uid: Option<HostUid>,
}

impl Live {
    pub(crate) const fn instance(&self) -> Id<Instance> {
        self.life.instance()
    }
}

impl Node {
    /// Takes up what a person asked for.
    pub(crate) async fn launch(
        self: &Arc<Self>,
        request: RunRequest,
        stdio: Stdio3,
        caller: Caller,
    ) -> Result<Live, LaunchError> {
        self.lease.wait().await?;
        let redeemed = RequestedRun {
            node: self.config.id,
            ticket: request.ticket(),
        };
        let order = self.control.run_redeem(redeemed).await??;
        let launch = Launch {
            argv: request.argv,
            cwd: request.cwd,
            stdio,
            caller,
            parent: self.stopping.clone(),
        };
        self.start(order, launch).await
    }

    /// Builds walls, has what was seen attested, and starts the program in them.
    pub(crate) async fn start(
        self: &Arc<Self>,
        order: LaunchOrder,
        launch: Launch,
    ) -> Result<Live, LaunchError> {
        let uid = self.host_uid()?;
        let number = uid.as_ref().map(HostUid::number);
        let (caller, parent, run) = (launch.caller, launch.parent.clone(), order.run);
        let (walled, seen) = match self.build(launch, order, number).await? {
            Ok(built) => built,
            Err(refusal) => {
                self.control
                    .run_refused(self.config.id, run, refusal.clone())
                    .await?;
                return Err(refusal.into());
            }
        };
        let key = SigningKey::generate(Alg::Es256).map_err(internal)?;
        let attestation = Attestation {
            node: self.config.id,
            run,
            posture: self.posture(&seen, number),
            jwk: jwk_text(&key),
        };
        let (starting, term) = (self.lives.starting(), self.lease.term()?);
        let granted = self.control.instance_attest(attestation).await??;
        let life = starting.enter(granted.instance, granted.deadline);
        let opened = self
            .open(walled, granted, (key, seen), (&life, term, caller, &parent))
            .await;
        match opened {
            Ok((running, ended)) => Ok(Live {
                life,
                running,
                door: ended.clone().drop_guard(),
                ended,
                host_uid: uid,
            }),
            Err(error) => {
                let instance = life.instance();
                // Nothing of it runs: whoever waits for its end may go on.
                drop(life);
                self.report_end(instance, "it could not be started").await;
                Err(error)
            }
        }
    }

    /// Builds the walls on a thread of its own: it measures, copies and waits.
    async fn build(
        self: &Arc<Self>,
        launch: Launch,
        order: LaunchOrder,
        host_uid: Option<u32>,
    ) -> Result<Result<(Walled, Arc<Seen>), Refusal>, LaunchError> {
        let node = Arc::clone(self);
        let work = move || {
            let asked = Asked {
                argv: &launch.argv,
                cwd: Path::new(&launch.cwd),
                caller: launch.caller,
                host_uid,
            };
            let built = node.workshop.build(&order, asked, launch.stdio);
            built.map(|Built { walled, seen }| (walled, Arc::new(seen)))
        };
        tokio::task::spawn_blocking(work).await.map_err(internal)
    }

    fn posture(&self, seen: &Seen, host_uid: Option<u32>) -> Posture {
        Posture {
            evidence: seen.evidence.clone(),
            assurance: Assurance::Confined,
            host_uid: host_uid.unwrap_or_else(|| rustix::process::geteuid().as_raw()),
            host: self.config.host.clone(),
        }
    }

    /// Opens the door and starts the program. What is returned ends it when it is cancelled.
    async fn open(
        self: &Arc<Self>,
        mut walled: Walled,
        granted: InstanceGrant,
        (key, seen): (SigningKey, Arc<Seen>),
        (life, term, caller, parent): (&Life, u64, Caller, &CancellationToken),
    ) -> Result<(Running, CancellationToken), LaunchError> {
        let (tcp, unix) = walled
            .door
            .take()
            .context("the walls have no door")
            .map_err(LaunchError::Internal)?;
        let ended = parent.child_token();
        let guard = ended.clone().drop_guard();
        let credentials = Credentials::new(
            granted,
            (Arc::new(key), seen),
            Arc::clone(&self.identity),
            Arc::clone(&self.control),
            (Arc::clone(&self.clock), Arc::clone(&self.entropy)),
        );
        let door = Arc::new(Door {
            credentials,
            gateway: Arc::clone(&self.gateway),
            node: Arc::clone(self),
            caller,
            subagents: Arc::new(tokio::sync::Semaphore::new(SUBAGENTS_MAX)),
            tasks: self.tasks.clone(),
            ended: ended.clone(),
        });
        let listeners = (|| {
            tcp.set_nonblocking(true)?;
            unix.set_nonblocking(true)?;
            Ok::<_, std::io::Error>((
                tokio::net::TcpListener::from_std(tcp)?,
                UnixListener::from_std(unix)?,
            ))
        })();
        let (tcp, unix) = listeners.map_err(internal)?;
        door.open(tcp, unix);
        // Looked at after it was entered: a cut that comes before finds this, a later one finds
        // the entry and waits for its end.
        if life.cut().is_cancelled() || ended.is_cancelled() {
            let cut = anyhow::anyhow!("it was cut off before it started");
            return Err(LaunchError::Internal(cut));
        }
        if self.lease.term()? != term {
            let gap = anyhow::anyhow!("the lease was interrupted while it was being started");
            return Err(LaunchError::Internal(gap));
        }
        let started = tokio::task::spawn_blocking(move || walled.start())
            .await
            .map_err(internal)?;
        let running = started.map_err(internal)?;
        guard.disarm();
        Ok((running, ended))
    }

    /// Waits until the first process ends, `gone` completes, or the instance is to end; then ends
    /// everything that it had before anybody hears of its end. Gives its code as a shell says it.
    pub(crate) async fn watch(&self, live: Live, gone: impl Future<Output = ()>) -> i32 {
        let instance = live.instance();
        let cut = tokio::select! {
            () = exited(&live.running) => false,
            () = gone => false,
            () = live.ended.cancelled() => false,
            () = live.life.cut().cancelled() => true,
        };
        drop(live.door);
        let (running, host_uid, entry) = (live.running, live.host_uid, live.life);
        let end = move || {
            let exit = running.kill();
            if exit.is_err() {
                // Something may live on: its uid is never given out again, and whoever waits for
                // its end waits on.
                std::mem::forget((host_uid, entry));
            }
            exit
        };
        let exit = tokio::task::spawn_blocking(end).await;
        let (code, how) = match exit {
            Ok(Ok(Exit::Code(code))) => (code, format!("exited {code}")),
            Ok(Ok(Exit::Signal(signal))) => {
                (EXIT_KILLED + signal, format!("killed by signal {signal}"))
            }
            _ => (EXIT_KILLED, "ended in an unknown way".to_owned()),
        };
        let how = if cut { "cut off" } else { how.as_str() };
        self.report_end(instance, how).await;
        code
    }

    /// Tells the server until it answers: the end of an instance must not be lost. Less and less
    /// often, as it may be away for long. A node that stops gives up when its lease is over, as the
    /// server knows the end from that.
    async fn report_end(&self, instance: Id<Instance>, how: &str) {
        let ended = EndedInstance {
            node: self.config.id,
            instance,
            how: how.to_owned(),
        };
        let mut pause = RETRY_PAUSES.0;
        loop {
            match self.control.instance_ended(ended.clone()).await {
                Ok(Ok(())) => return,
                Ok(Err(refusal)) => {
                    metrics::counter!("aims_node_ends_refused_total").increment(1);
                    let Refusal { code, reason, .. } = refusal;
                    tracing::error!(%instance, %code, reason, "the server refuses to note the end");
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, %instance, "the server does not know of the end yet");
                }
            }
            if self.stopping.is_cancelled() && self.lease.check().is_err() {
                return;
            }
            self.stopping.run_until_cancelled(sleep(pause)).await;
            if self.stopping.is_cancelled() {
                sleep(RETRY_PAUSES.0).await;
            }
            pause = (pause * 2).min(RETRY_PAUSES.1);
        }
    }

    /// A uid of its own for an instance, as root; an unprivileged node has only its own.
    fn host_uid(&self) -> Result<Option<HostUid>, LaunchError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let taken = self.uids.take().context("every reserved uid is in use");
        taken.map(Some).map_err(LaunchError::Internal)
    }
}

/// Completes when everything inside the walls has ended. Holds no thread: with one for each
/// instance, many instances would leave none to end any of them.
async fn exited(running: &Running) {
    let watched = async {
        let pidfd = running.init_pidfd().try_clone_to_owned()?;
        // Of what the runtime can wait for without `unsafe`, the one that looks at nothing but
        // readiness.
        Receiver::from_owned_fd_unchecked(pidfd)?.readable().await?;
        Ok::<_, std::io::Error>(())
    };
    if let Err(error) = watched.await {
        tracing::error!(%error, "an instance can't be watched and is ended");
    }
}

pub(crate) fn internal(error: impl Into<anyhow::Error>) -> LaunchError {
    LaunchError::Internal(error.into())
}
