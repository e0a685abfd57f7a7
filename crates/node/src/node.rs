//! The node's life: taking up launches, watching instances, ending what they had.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aims_crypto::{Alg, Signer, SigningKey};
use aims_links::{
    Attestation, Control, EndedInstance, Enforce, InstanceGrant, LaunchOrder, LinkError, Refusal,
    RequestedRun,
};
use aims_model::{Assurance, Evidence, Posture};
use aims_types::{Clock, Entropy, Id, Instance, Node as NodeKind, SpiffeId};
use aims_walls::stage::Stage;
use aims_walls::{Exit, Launcher, Running, Stdio3};
use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::credentials::{Credentials, NodeIdentity, jwk_text};
use crate::door::Door;
use crate::launch::{Built, Workshop};
use crate::run::{RunEvent, RunRequest, receive};

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
    next_uid: AtomicU32,
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
    running: Arc<Running>,
    door: CancellationToken,
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
            spiffe_id: config.spiffe_id.clone(),
            key,
        };
        let (control, gateway) = links;
        Ok(Arc::new(Self {
            config,
            identity: Arc::new(identity),
            control,
            gateway,
            clock,
            entropy,
            workshop,
            next_uid: AtomicU32::new(0),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }))
    }

    /// Serves `aims run` on `listener` until [`Node::drain`].
    pub async fn serve(self: Arc<Self>, listener: UnixListener) {
        let stopping = self.stopping.clone();
        let accepting = async {
            while let Ok((stream, _)) = listener.accept().await {
                let node = Arc::clone(&self);
                self.tasks.spawn(async move {
                    if let Err(error) = node.handle(stream).await {
                        tracing::warn!(%error, "a launch ended early");
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

    async fn handle(self: &Arc<Self>, stream: tokio::net::UnixStream) -> anyhow::Result<()> {
        let stream = stream.into_std()?;
        let (stream, request, stdio) =
            tokio::task::spawn_blocking(move || read_request(stream)).await??;
        stream.set_nonblocking(true)?;
        let mut stream = tokio::net::UnixStream::from_std(stream)?;
        let event = match self.launch(&request, stdio).await {
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

    async fn launch(
        self: &Arc<Self>,
        request: &RunRequest,
        stdio: Stdio3,
    ) -> Result<Live, LaunchError> {
        let redeemed = RequestedRun {
            node: self.config.id,
            ticket: request.ticket(),
        };
        let order = self.control.run_redeem(redeemed).await??;
        let built = match self.build(request, order.clone(), stdio).await? {
            Ok(built) => built,
            Err(refusal) => {
                self.control
                    .run_refused(self.config.id, order.run, refusal.clone())
                    .await?;
                return Err(refusal.into());
            }
        };
        let key = SigningKey::generate(Alg::Es256).map_err(internal)?;
        let granted = self.attest(&order, built.1, &key).await??;
        let instance = granted.instance;
        match self.open(built.0, granted, key).await {
            Ok(live) => Ok(live),
            Err(error) => {
                self.report_end(instance, "it could not be started").await;
                Err(error)
            }
        }
    }

    /// Builds the walls on a thread of its own: it measures, copies and waits.
    async fn build(
        self: &Arc<Self>,
        request: &RunRequest,
        order: LaunchOrder,
        stdio: Stdio3,
    ) -> Result<Result<(aims_walls::Walled, (Evidence, Option<u32>)), Refusal>, LaunchError> {
        let node = Arc::clone(self);
        let (argv, cwd) = (request.argv.clone(), PathBuf::from(&request.cwd));
        let host_uid = self.host_uid();
        let work = move || {
            let built = node
                .workshop
                .build(&order, &argv, Path::new(&cwd), stdio, host_uid);
            built.map(|Built { walled, evidence }| (walled, (evidence, host_uid)))
        };
        tokio::task::spawn_blocking(work).await.map_err(internal)
    }

    async fn attest(
        &self,
        order: &LaunchOrder,
        (evidence, host_uid): (Evidence, Option<u32>),
        key: &SigningKey,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        let posture = Posture {
            evidence,
            assurance: Assurance::Confined,
            host_uid: host_uid.unwrap_or_else(|| rustix::process::geteuid().as_raw()),
            host: self.config.host.clone(),
        };
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
        mut walled: aims_walls::Walled,
        granted: InstanceGrant,
        key: SigningKey,
    ) -> Result<Live, LaunchError> {
        let instance = granted.instance;
        let (tcp, unix) = walled
            .door
            .take()
            .context("the walls have no door")
            .map_err(LaunchError::Internal)?;
        let ended = self.stopping.child_token();
        let credentials = Credentials::new(
            granted,
            Arc::new(key),
            Arc::clone(&self.identity),
            Arc::clone(&self.control),
            (Arc::clone(&self.clock), Arc::clone(&self.entropy)),
        );
        let door = Arc::new(Door {
            credentials,
            gateway: Arc::clone(&self.gateway),
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
        let started = tokio::task::spawn_blocking(move || walled.start())
            .await
            .map_err(internal)?;
        let running = started.map_err(|error| {
            ended.cancel();
            internal(error)
        })?;
        Ok(Live {
            instance,
            running: Arc::new(running),
            door: ended,
        })
    }

    /// Waits until the first process ends, the command goes away, or the node stops; then cuts off
    /// everything that the instance had before anybody hears of its end.
    async fn watch(&self, live: Live, stream: &mut tokio::net::UnixStream) -> RunEvent {
        let mut rest = [0_u8; 1];
        let exited = exited(Arc::clone(&live.running));
        tokio::select! {
            () = exited => {}
            _ = stream.read(&mut rest) => {}
            () = self.stopping.cancelled() => {}
        }
        live.door.cancel();
        let running = live.running;
        let exit = tokio::task::spawn_blocking(move || running.kill()).await;
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
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// A uid of its own for an instance, as root; an unprivileged node has only its own.
    fn host_uid(&self) -> Option<u32> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let next = self.next_uid.fetch_add(1, Ordering::Relaxed);
        Some(self.config.uid_base + next % self.config.uid_count.max(1))
    }
}

fn read_request(stream: UnixStream) -> anyhow::Result<(UnixStream, RunRequest, Stdio3)> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    let (request, [stdin, stdout, stderr]) = receive(&stream)?;
    let streams = Stdio3 {
        stdin,
        stdout,
        stderr,
    };
    Ok((stream, request, streams))
}

/// Completes when the first process of the walls has ended. Waits on a thread of its own: there is
/// no safe way to wait for a process descriptor in the runtime.
async fn exited(running: Arc<Running>) {
    match tokio::task::spawn_blocking(move || running.wait()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::error!(%error, "an instance can't be watched and is ended"),
        Err(error) => tracing::error!(%error, "an instance can't be watched and is ended"),
    }
}

async fn write_event(stream: &mut tokio::net::UnixStream, event: &RunEvent) -> anyhow::Result<()> {
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
