//! The node's life: taking up launches until it is drained.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aims_crypto::Signer;
use aims_edge::Enrolled;
use aims_lease::Terms;
use aims_links::{Control, Cut, Endpoint, LinkError, Refusal, Vouch};
use aims_model::Point;
use aims_model::receipt::Ended;
use aims_types::{Clock, Entropy, Id, Instance, Node as NodeKind, Revision, SpiffeId};
use aims_walls::stage::Stage;
use aims_walls::{Launcher, Stdio3};
use aims_workload::WorkloadApi;
use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::callers::{Admission, Admissions, Caller};
use crate::credentials::NodeIdentity;
use crate::doors::Doors;
use crate::launch::Workshop;
use crate::lease::Lease;
use crate::lives::Lives;
use crate::run::{RunEvent, receive};
use crate::starting::{LaunchError, internal};
use crate::uids::Uids;

/// How long the command may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a program whose time is up may still hear at its door that it is, before it is ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

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
    /// The terms of its lease, the same as the server's.
    pub terms: Terms,
    /// Which gateways' keys are enrolled: kept by the node as the server says, for the way to a
    /// gateway that is elsewhere.
    pub enrolled: Enrolled,
}

/// One host's node.
pub struct Node {
    pub(crate) config: NodeConfig,
    pub(crate) identity: Arc<NodeIdentity>,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) gateway: Arc<dyn Endpoint>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) workshop: Workshop,
    pub(crate) uids: Arc<Uids>,
    pub(crate) admissions: Arc<Admissions>,
    pub(crate) lives: Lives,
    pub(crate) doors: Doors,
    pub(crate) lease: Lease,
    /// The SPIFFE Workload API, where it is served.
    pub(crate) workloads: OnceLock<WorkloadApi>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
}

impl Node {
    /// A node with its own key, linked to server and gateway. It starts nothing before it holds a
    /// lease, which [`Node::serve`] keeps renewing.
    pub fn new(
        config: NodeConfig,
        key: Arc<dyn Signer>,
        links: (Arc<dyn Control>, Arc<dyn Endpoint>),
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
        let lease = Lease::new(
            Point::Node(config.id),
            config.terms,
            Arc::clone(&control),
            (Arc::clone(&clock), entropy.as_ref()),
        )?;
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
            lives: Lives::default(),
            doors: Doors::default(),
            lease,
            workloads: OnceLock::new(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }))
    }

    /// The server's state at `revision` is the first that this node acts on: it was linked at it.
    pub fn joined(&self, revision: Revision) {
        self.lease.is_in_force(revision);
    }

    /// Whether it may start something: it holds a lease, and what that needs is in force.
    pub fn is_ready(&self) -> bool {
        !self.stopping.is_cancelled() && self.lease.check().is_ok()
    }

    /// Serves `aims run` on `listener` and keeps the lease until [`Node::drain`].
    pub async fn serve(self: Arc<Self>, listener: UnixListener) {
        let stopping = self.stopping.clone();
        let node = Arc::clone(&self);
        let (renewing, until) = (Arc::clone(&self), self.stopping.clone());
        self.tasks.spawn(async move {
            until.run_until_cancelled(renewing.lease.renew()).await;
        });
        let until = self.stopping.clone();
        self.tasks.spawn(async move {
            until
                .run_until_cancelled(node.lease.guard(&node.lives, &node.workloads))
                .await;
        });
        let accepting = async {
            loop {
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "a connection can't be accepted");
                        sleep(ACCEPT_PAUSE).await;
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
        if let Some(workloads) = self.workloads.get() {
            workloads.drain().await;
        }
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
                    instance: live.instance(),
                };
                // Whether the command is still there or not, the instance is watched to its end.
                drop(write_event(&mut stream, &started).await);
                let (mut reader, mut writer) = stream.split();
                let gone = async {
                    let mut rest = [0_u8; 1];
                    drop(reader.read(&mut rest).await);
                };
                let code = self.watch(live, gone).await;
                return write_event(&mut writer, &RunEvent::Ended { code }).await;
            }
            Err(error) => refused(error),
        };
        write_event(&mut stream, &event).await
    }

    /// Who asks, if this node serves them and not too much is under way for them.
    fn admitted(&self, stream: &UnixStream) -> Result<(Caller, Admission), LaunchError> {
        let caller = Caller::of(stream).map_err(internal)?;
        if !caller.is_served() {
            let reason = "this node runs as another user; start the agent as that user, or have \
                          an administrator run the node as root";
            let refusal = Refusal {
                code: Cow::Borrowed("not_served"),
                reason: reason.to_owned(),
                gaps: Vec::new(),
            };
            return Err(refusal.into());
        }
        let admission = self.admissions.admit(caller);
        let many = || busy("launches of yours are under way");
        Ok((caller, admission.ok_or_else(many)?))
    }
}

#[async_trait]
impl Vouch for Node {
    async fn end(&self, cut: Cut) -> Result<Ended, LinkError> {
        let now = self.lease.wall().unwrap_or_else(|| self.clock.now());
        let processes = self.workloads.get();
        let processes = processes.map_or(0, |workloads| workloads.cut(&cut.instances));
        let (ended, over) = self.lives.end(&cut.instances, now).await;
        if !over.is_empty() {
            let stopping = self.stopping.clone();
            self.tasks.spawn(async move {
                stopping.run_until_cancelled(sleep(LAST_WORDS)).await;
                over.iter().for_each(CancellationToken::cancel);
            });
        }
        if cut.doors {
            self.doors.reset().await;
        }
        let gateways = cut.gateways.into_iter().collect();
        self.config.enrolled.replace(cut.revision, gateways).await;
        self.lease.is_in_force(cut.revision);
        Ok(Ended {
            instances: u32::try_from(ended + processes).unwrap_or(u32::MAX),
            ..Ended::default()
        })
    }

    async fn held(&self) -> Result<Vec<Id<Instance>>, LinkError> {
        Ok(self.lives.held())
    }
}

/// Too much is under way for one user or instance.
pub(crate) fn busy(what: &str) -> Refusal {
    Refusal {
        code: Cow::Borrowed("busy"),
        reason: format!("too many {what}; try again when one is done"),
        gaps: Vec::new(),
    }
}

async fn write_event(
    stream: &mut (impl AsyncWriteExt + Unpin),
    event: &RunEvent,
) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    Ok(stream.write_all(&line).await?)
}

fn refused(error: LaunchError) -> RunEvent {
    match error {
        LaunchError::Refused(refusal) => RunEvent::Refused {
            code: refusal.code.into_owned(),
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
