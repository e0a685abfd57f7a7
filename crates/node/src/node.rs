//! The node's life: taking up launches, watching instances, ending what they had.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aims_crypto::{Alg, Signer, SigningKey};
use aims_links::{
    Attestation, Control, EndedInstance, Enforce, InstanceGrant, LaunchOrder, LinkError, Refusal,
    RequestedRun,
};
use aims_model::{Assurance, Posture};
use aims_types::{Clock, Entropy, Id, Instance, Node as NodeKind, SpiffeId};
use aims_walls::stage::Stage;
use aims_walls::{Exit, Launcher, Running, Stdio3, Walled};
use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::callers::{Admission, Admissions, Caller, LAUNCHES_UNDER_WAY_MAX};
use crate::credentials::{Credentials, NodeIdentity, jwk_text};
use crate::door::Door;
use crate::launch::{Asked, Built, Seen, Workshop};
use crate::run::{RunEvent, RunRequest, receive};
use crate::uids::{HostUid, Uids};

/// How long the command may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between attempts to tell the server that an instance ended.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// What `aims run` exits with when nothing was started, as `env` and `timeout` do.
const EXIT_KILLED: i32 = 128;

/// What a node is made of.
pub struct NodeConfig {
    /// Its identity, given when its key was enrolled.
    pub id: Id<NodeKind>,
    /// Its identifier.
    pub spiffe_id: SpiffeId,
    /// Its host's name, for records.
    pub host: String,
    /// Where measured files are staged: readable for the uids of instances.
    pub stage_dir: PathBuf,
    /// The `aims` binary, which is re-executed as launcher and bound into walls as bridge.
    pub self_exe: PathBuf,
    /// First of the host uids that are reserved for instances; used as root only.
    pub uid_base: u32,
    /// How many uids are reserved.
    pub uid_count: u32,
}

/// One host's node.
pub struct Node {
    config: NodeConfig,
    identity: Arc<NodeIdentity>,
    control: Arc<dyn Control>,
    gateway: Arc<dyn Enforce>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    workshop: Workshop,
    uids: Arc<Uids>,
    admissions: Arc<Admissions>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// Why a launch came to nothing.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    /// It was refused; the person may see why.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another part of AIMS did not answer.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// This host failed.
    #[error("the node failed: {0}")]
    Internal(anyhow::Error),
}

/// An instance that runs.
struct Live {
    instance: Id<Instance>,
    running: Running,
    /// Closes the door when dropped, and with it every connection and credential.
    door: DropGuard,
    /// Nobody else's until everything inside has ended.
    host_uid: Option<HostUid>,
}

impl Node {
    /// A node with its own key, linked to server and gateway.
    pub fn new(
        config: NodeConfig,
        key: Arc<dyn Signer>,
        links: (Arc<dyn Control>, Arc<dyn Enforce>),
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> anyhow::Result<Arc<Self>> {
        let workshop = Workshop {
            launcher: Launcher::new(config.self_exe.clone()),
            stage: Stage::open(&config.stage_dir)?,
            self_exe: config.self_exe.clone(),
        };
        let identity = NodeIdentity {
            id: config.id,
            spiffe_id: config.spiffe_id.clone(),
            key,
        };
        let (control, gateway) = links;
        let uids = Uids::new(config.uid_base, config.uid_count);
        Ok(Arc::new(Self {
            config,
            identity: Arc::new(identity),
            control,
            gateway,
            clock,
            entropy,
            workshop,
            uids,
            admissions: Arc::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }))
    }

    /// Serves `aims run` on `listener` until [`Node::drain`].
    pub async fn serve(self: Arc<Self>, listener: UnixListener) {
        let stopping = self.stopping.clone();
        let accepting = async {
            loop {
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "a connection can't be accepted");
                        sleep(RETRY_PAUSE).await;
                        continue;
                    }
                };
                let (node, admitted) = (Arc::clone(&self), self.admitted(&stream));
                self.tasks.spawn(async move {
                    if let Err(error) = node.handle(stream, admitted).await {
                        tracing::debug!(%error, "a connection ended early");
                    }
                });
            }
        };
        stopping.run_until_cancelled(accepting).await;
    }

    /// Ends every instance, tells the server, and returns when all is done.
    pub async fn drain(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn handle(
        self: &Arc<Self>,
        mut stream: UnixStream,
        admitted: Result<(Caller, Admission), LaunchError>,
    ) -> anyhow::Result<()> {
        let launched = match admitted {
            Err(error) => Err(error),
            Ok((caller, admission)) => {
                let received = timeout(REQUEST_TIMEOUT, receive(&mut stream));
                let Some(received) = self.stopping.run_until_cancelled(received).await else {
                    return Ok(());
                };
                let (request, [stdin, stdout, stderr]) = received??;
                let streams = Stdio3 {
                    stdin,
                    stdout,
                    stderr,
                };
                let launched = self.launch(request, streams, caller).await;
                drop(admission);
                launched
            }
        };
        let event = match launched {
            Ok(live) => {
                let started = RunEvent::Started {
                    instance: live.instance,
                };
                // Whether the command is still there or not, the instance is watched to its end.
                drop(write_event(&mut stream, &started).await);
                self.watch(live, &mut stream).await
            }
            Err(error) => refused(error),
        };
        write_event(&mut stream, &event).await
    }

    /// Who asks, if this node serves them and not too much is under way for them.
    fn admitted(&self, stream: &UnixStream) -> Result<(Caller, Admission), LaunchError> {
        let refusal = |code, reason: String| Refusal {
            code,
            reason,
            gaps: Vec::new(),
        };
        let caller = Caller::of(stream).map_err(internal)?;
        if !caller.is_served() {
            let reason = "this node runs as another user; start the agent as that user, or have \
                          an administrator run the node as root";
            return Err(refusal("not_served", reason.to_owned()).into());
        }
        let admission = self.admissions.admit(caller).ok_or_else(|| {
            let many = format!("{LAUNCHES_UNDER_WAY_MAX} launches of yours are under way");
            refusal("busy", format!("{many}; try again when one has started"))
        })?;
        Ok((caller, admission))
    }

    async fn launch(
        self: &Arc<Self>,
        request: RunRequest,
        stdio: Stdio3,
        caller: Caller,
    ) -> Result<Live, LaunchError> {
        let redeemed = RequestedRun {
            node: self.config.id,
            ticket: request.ticket(),
        };
        let order = self.control.run_redeem(redeemed).await??;
        let uid = self.host_uid()?;
        let rights = (caller, uid.as_ref().map(HostUid::number));
        let built = match self.build(request, order.clone(), stdio, rights).await? {
            Ok(built) => built,
            Err(refusal) => {
                self.control
                    .run_refused(self.config.id, order.run, refusal.clone())
                    .await?;
                return Err(refusal.into());
            }
        };
        let key = SigningKey::generate(Alg::Es256).map_err(internal)?;
        let (walled, seen) = built;
        let posture = self.posture(&seen, rights.1);
        let granted = self.attest(&order, posture, &key).await??;
        let instance = granted.instance;
        match self.open(walled, granted, (key, seen)).await {
            Ok((running, door)) => Ok(Live {
                instance,
                running,
                door,
                host_uid: uid,
            }),
            Err(error) => {
                self.report_end(instance, "it could not be started").await;
                Err(error)
            }
        }
    }

    /// Builds the walls on a thread of its own: it measures, copies and waits.
    async fn build(
        self: &Arc<Self>,
        request: RunRequest,
        order: LaunchOrder,
        stdio: Stdio3,
        (caller, host_uid): (Caller, Option<u32>),
    ) -> Result<Result<(Walled, Arc<Seen>), Refusal>, LaunchError> {
        let node = Arc::clone(self);
        let work = move || {
            let asked = Asked {
                argv: &request.argv,
                cwd: Path::new(&request.cwd),
                caller,
                host_uid,
            };
            let built = node.workshop.build(&order, asked, stdio);
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

    async fn attest(
        &self,
        order: &LaunchOrder,
        posture: Posture,
        key: &SigningKey,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        let attestation = Attestation {
            node: self.config.id,
            run: order.run,
            posture,
            jwk: jwk_text(key),
        };
        self.control.instance_attest(attestation).await
    }

    /// Opens the door and starts the program.
    async fn open(
        &self,
        mut walled: Walled,
        granted: InstanceGrant,
        (key, seen): (SigningKey, Arc<Seen>),
    ) -> Result<(Running, DropGuard), LaunchError> {
        let (tcp, unix) = walled
            .door
            .take()
            .context("the walls have no door")
            .map_err(LaunchError::Internal)?;
        let ended = self.stopping.child_token();
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
            tasks: self.tasks.clone(),
            ended,
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
        let started = tokio::task::spawn_blocking(move || walled.start())
            .await
            .map_err(internal)?;
        Ok((started.map_err(internal)?, guard))
    }

    /// Waits until the first process ends, the command goes away, or the node stops; then cuts off
    /// everything that the instance had before anybody hears of its end.
    async fn watch(&self, live: Live, stream: &mut UnixStream) -> RunEvent {
        let mut rest = [0_u8; 1];
        tokio::select! {
            () = exited(&live.running) => {}
            _ = stream.read(&mut rest) => {}
            () = self.stopping.cancelled() => {}
        }
        drop(live.door);
        let (running, host_uid) = (live.running, live.host_uid);
        let end = move || {
            let exit = running.kill();
            if exit.is_err() {
                // Something may live on: its uid is never given out again.
                std::mem::forget(host_uid);
            }
            exit
        };
        let exit = tokio::task::spawn_blocking(end).await;
        let code = match exit {
            Ok(Ok(Exit::Code(code))) => code,
            Ok(Ok(Exit::Signal(signal))) => EXIT_KILLED + signal,
            _ => EXIT_KILLED,
        };
        let how = match exit {
            Ok(Ok(Exit::Code(code))) => format!("exited {code}"),
            Ok(Ok(Exit::Signal(signal))) => format!("killed by signal {signal}"),
            _ => "ended in an unknown way".to_owned(),
        };
        self.report_end(live.instance, &how).await;
        RunEvent::Ended { code }
    }

    /// Tells the server until it answers: the end of an instance must not be lost.
    async fn report_end(&self, instance: Id<Instance>, how: &str) {
        let ended = EndedInstance {
            node: self.config.id,
            instance,
            how: how.to_owned(),
        };
        while let Err(error) = self.control.instance_ended(ended.clone()).await {
            tracing::warn!(%error, %instance, "the server does not know of the end yet");
            sleep(RETRY_PAUSE).await;
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

async fn write_event(stream: &mut UnixStream, event: &RunEvent) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    Ok(stream.write_all(&line).await?)
}

fn refused(error: LaunchError) -> RunEvent {
    match error {
        LaunchError::Refused(refusal) => RunEvent::Refused {
            code: refusal.code.to_owned(),
            reason: refusal.reason,
            gaps: refusal.gaps,
        },
        other => RunEvent::Refused {
            code: "unavailable".to_owned(),
            reason: other.to_string(),
            gaps: Vec::new(),
        },
    }
}

fn internal(error: impl Into<anyhow::Error>) -> LaunchError {
    LaunchError::Internal(error.into())
}
