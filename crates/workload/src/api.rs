//! The Workload API of one node: its processes, and serving them until it is drained.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aims_links::{EndedInstance, ServiceAttestation, Services};
use aims_types::{Clock, Entropy, EntropyError, Id, Instance, Node};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::transport::Server;

use crate::bundle::{Bundle, keep_fresh};
use crate::calls::{Calls, with_header};
use crate::connections::accept;
use crate::digests::Digests;
use crate::peer::{Glance, Peer};
use crate::places::Places;
use crate::process::{Holds, LOOK_EVERY, Process};
use crate::proto::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use crate::{CALLS_OF_USER_MAX, MESSAGE_LEN_MAX, STREAMS_MAX};

/// Most executables that are read at a time.
const MEASURED_AT_ONCE: usize = 2;
/// How often it is asked between two looks whether the process has ended.
const GONE_LOOKS: u32 = 5;
/// How often the server is told of an end before it is left to the lease.
const TELL_TIMES: u32 = 5;
/// Pause before it is told again.
const TELL_PAUSE: Duration = Duration::from_secs(1);
/// How long the last words to the server may take when the node stops.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// How long a call waits for the trust bundle after a start.
const BUNDLE_WAIT: Duration = Duration::from_secs(5);
/// How often a quiet connection is asked whether it lives, and how long it may take to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// What a node's Workload API is made of.
pub struct WorkloadConfig {
    /// The node.
    pub node: Id<Node>,
    /// Which boot of its host it is.
    pub boot: String,
    /// The uids of instances of agents, which get nothing here even if they came this far.
    pub instances: Range<u32>,
    /// Whether the node holds its lease now. Without it nothing is handed out.
    pub is_held: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// The SPIFFE Workload API of one node. Cheap to clone.
#[derive(Clone)]
pub struct WorkloadApi {
    pub(crate) inner: Arc<Inner>,
}

/// The socket can't be served any more.
#[derive(Debug, thiserror::Error)]
#[error("the workload API can't be served: {0}")]
pub struct ServeError(#[from] tonic::transport::Error);

pub(crate) struct Inner {
    pub(crate) config: WorkloadConfig,
    pub(crate) services: Arc<dyn Services>,
    pub(crate) clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    digests: Arc<Digests>,
    measuring: Arc<Semaphore>,
    processes: Mutex<HashMap<ProcessKey, Arc<Process>>>,
    pub(crate) bundle: watch::Sender<Option<Arc<Bundle>>>,
    pub(crate) calls: Places,
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
}

/// A process's number and when it started.
type ProcessKey = (u32, u64);

impl WorkloadApi {
    /// The API of a node that is linked with the server.
    pub fn new(
        config: WorkloadConfig,
        services: Arc<dyn Services>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let inner = Inner {
            config,
            services,
            clock,
            entropy,
            digests: Arc::default(),
            measuring: Arc::new(Semaphore::new(MEASURED_AT_ONCE)),
            processes: Mutex::default(),
            bundle: watch::Sender::new(None),
            calls: Places::new(CALLS_OF_USER_MAX),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Serves callers on `listener` until [`WorkloadApi::drain`].
    pub async fn serve(&self, listener: UnixListener) -> Result<(), ServeError> {
        let (inner, stopping) = (&self.inner, self.inner.stopping.clone());
        let fresh = keep_fresh(Arc::clone(&inner.services), inner.bundle.clone());
        let until = stopping.clone();
        inner
            .tasks
            .spawn(async move { until.run_until_cancelled(fresh).await });
        let (sender, mut receiver) = mpsc::channel(1);
        let until = stopping.clone();
        inner
            .tasks
            .spawn(async move { until.run_until_cancelled(accept(listener, sender)).await });
        let incoming = futures_util::stream::poll_fn(move |cx| {
            receiver
                .poll_recv(cx)
                .map(|connection| connection.map(Ok::<_, std::io::Error>))
        });
        let calls = SpiffeWorkloadApiServer::new(Calls::new(Arc::clone(inner)))
            .max_decoding_message_size(MESSAGE_LEN_MAX);
        Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE))
            .max_concurrent_streams(STREAMS_MAX)
            .add_service(tonic::service::interceptor::InterceptedService::new(
                calls,
                with_header,
            ))
            .serve_with_incoming_shutdown(incoming, stopping.cancelled())
            .await?;
        Ok(())
    }

    /// Takes everything away from the processes that are one of these instances, which were cut
    /// off. When it returns, nothing is handed out to them any more. Gives how many there were.
    pub fn cut(&self, instances: &[Id<Instance>]) -> usize {
        let cut = self.inner.take(|process| process.is_any_of(instances));
        let why = "the service was retired, or the process was cut off";
        for process in &cut {
            process.over(Status::permission_denied(why));
        }
        cut.len()
    }

    /// Takes everything away from everybody: the node can't vouch any more. They may ask again.
    pub fn end_all(&self) -> usize {
        let all = self.inner.take(|_| true);
        for process in &all {
            process.over(Status::unavailable(
                "the node has lost its lease; try again",
            ));
        }
        all.len()
    }

    /// Ends serving, tells the server that the processes are not vouched for any more, and returns
    /// when all is done.
    pub async fn drain(&self) {
        self.inner.stopping.cancel();
        let all = self.inner.take(|_| true);
        let telling = async {
            for process in &all {
                process.over(Status::unavailable("the node is stopping; try again"));
                self.inner.tell(process, "the node stopped").await;
            }
        };
        if timeout(DRAIN_MAX, telling).await.is_err() {
            tracing::warn!("the server was not told of every process; they end with the lease");
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl Inner {
    /// The process at the other end, as an instance: seen now, not remembered.
    pub(crate) async fn identified(
        self: &Arc<Self>,
        peer: Arc<Peer>,
    ) -> Result<Arc<Process>, Status> {
        if self.config.instances.contains(&peer.uid()) {
            return Err(Status::permission_denied("agents get no key"));
        }
        self.check_lease()?;
        let (seen, glance) = self.look(&peer).await?;
        let key = (seen.pid, seen.started);
        let known = self.processes().get(&key).cloned();
        if let Some(known) = known {
            if known.seen == seen && known.glance == glance {
                known.check()?;
                return Ok(known);
            }
            self.ended(&known, CHANGED);
        }
        let attestation = ServiceAttestation {
            node: self.config.node,
            seen: seen.clone(),
        };
        let grants = self.services.service_attest(attestation).await;
        let grants = grants.map_err(|error| Status::unavailable(error.to_string()))?;
        let grants = grants.map_err(|refusal| Status::permission_denied(refusal.reason))?;
        if grants.is_empty() {
            return Err(Status::permission_denied("there is no identity for it"));
        }
        let process = Arc::new(Process::new(peer, (seen, glance), grants));
        let (kept, is_new) = self.keep(key, process);
        if is_new {
            let (inner, watched) = (Arc::clone(self), Arc::clone(&kept));
            self.tasks.spawn(async move { inner.watch(watched).await });
        }
        // The lease may have been lost while the server answered.
        self.check_lease()?;
        kept.check()?;
        Ok(kept)
    }

    /// Refuses everything while the node has no lease.
    pub(crate) fn check_lease(&self) -> Result<(), Status> {
        if (self.config.is_held)() {
            return Ok(());
        }
        Err(Status::unavailable("the node holds no lease; try again"))
    }

    /// The trust bundle; waits for it after a start.
    pub(crate) async fn bundle(&self) -> Result<Arc<Bundle>, Status> {
        let mut newest = self.bundle.subscribe();
        let known = timeout(BUNDLE_WAIT, newest.wait_for(Option::is_some)).await;
        let bundle = known.ok().and_then(Result::ok).and_then(|one| one.clone());
        bundle.ok_or_else(|| Status::unavailable("the trust bundle is not known yet; try again"))
    }

    /// A random byte.
    pub(crate) fn jitter(&self) -> Result<u8, EntropyError> {
        let mut byte = [0];
        self.entropy.fill(&mut byte)?;
        let [byte] = byte;
        Ok(byte)
    }

    async fn look(&self, peer: &Arc<Peer>) -> Result<(aims_model::ProcessSeen, Glance), Status> {
        let unavailable = || Status::unavailable("the executable can't be measured now");
        let place = Arc::clone(&self.measuring).acquire_owned().await;
        let place = place.map_err(|_| unavailable())?;
        let (peer, digests, boot) = (
            Arc::clone(peer),
            Arc::clone(&self.digests),
            self.config.boot.clone(),
        );
        let looked = tokio::task::spawn_blocking(move || {
            let seen = peer.look(&boot, &digests);
            drop(place);
            seen
        });
        match looked.await {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(error)) => {
                tracing::info!(%error, "a caller is not known");
                Err(Status::permission_denied(error.to_string()))
            }
            Err(_) => Err(unavailable()),
        }
    }

    /// Keeps a process, unless another call was first; gives the one that is kept.
    fn keep(&self, key: ProcessKey, process: Arc<Process>) -> (Arc<Process>, bool) {
        let mut processes = self.processes();
        if let Some(first) = processes.get(&key)
            && first.grants == process.grants
            && first.seen == process.seen
        {
            return (Arc::clone(first), false);
        }
        processes.insert(key, Arc::clone(&process));
        (process, true)
    }

    /// Looks at a process until it is over: whether it is what it was, and whether its SVIDs are
    /// due, as long as somebody waits for them.
    async fn watch(self: Arc<Self>, process: Arc<Process>) {
        let mut holds = process.holds.subscribe();
        let over = async {
            let ends = |holds: &Holds| matches!(holds, Holds::Over(_));
            drop(holds.wait_for(ends).await);
        };
        let watching = async {
            loop {
                for _ in 0..GONE_LOOKS {
                    sleep(LOOK_EVERY / GONE_LOOKS).await;
                    if process.peer.is_gone() {
                        return "the process exited";
                    }
                }
                if process.peer.glance().ok().as_ref() != Some(&process.glance) {
                    return CHANGED;
                }
                process.forget(self.clock.now());
                let is_heard = Arc::strong_count(&process.listening) > 1;
                if is_heard && !self.renewed(&process).await {
                    return CHANGED;
                }
            }
        };
        let how = tokio::select! {
            () = over => return,
            how = watching => how,
            () = self.stopping.cancelled() => return,
        };
        self.ended(&process, how);
    }

    /// Renews what is due, on evidence seen again; false if it is not what it was.
    async fn renewed(&self, process: &Process) -> bool {
        let due = match &*process.holds.borrow() {
            Holds::These(issued) => issued.is_due(self.clock.now()),
            Holds::Nothing => true,
            Holds::Over(_) => false,
        };
        if !due || self.check_lease().is_err() {
            return true;
        }
        match self.look(&process.peer).await {
            Ok((seen, glance)) if seen == process.seen && glance == process.glance => {
                if let Err(why) = process.issue(self).await {
                    tracing::warn!(%why, "an SVID was not renewed");
                }
                true
            }
            Ok(_) => false,
            Err(why) => why.code() == tonic::Code::Unavailable,
        }
    }

    /// A process ended, or is not what was attested: everything is taken away, and the server told.
    fn ended(self: &Arc<Self>, process: &Arc<Process>, how: &'static str) {
        let key = (process.seen.pid, process.seen.started);
        {
            let mut processes = self.processes();
            if processes
                .get(&key)
                .is_some_and(|one| Arc::ptr_eq(one, process))
            {
                processes.remove(&key);
            }
        }
        process.over(Status::permission_denied(how));
        let (inner, process) = (Arc::clone(self), Arc::clone(process));
        self.tasks.spawn(async move {
            let stopping = inner.stopping.clone();
            let told = inner.tell(&process, how);
            stopping.run_until_cancelled(told).await;
        });
    }

    async fn tell(&self, process: &Process, how: &str) {
        for grant in &process.grants {
            for _ in 0..TELL_TIMES {
                let ended = EndedInstance {
                    node: self.config.node,
                    instance: grant.instance,
                    how: how.to_owned(),
                };
                match self.services.service_ended(ended).await {
                    Ok(()) => break,
                    Err(error) => tracing::warn!(%error, "the server was not told of an end"),
                }
                sleep(TELL_PAUSE).await;
            }
        }
    }

    /// Takes out the processes that `wanted` says.
    fn take(&self, wanted: impl Fn(&Process) -> bool) -> Vec<Arc<Process>> {
        let mut processes = self.processes();
        let taken = processes.extract_if(|_, process| wanted(process));
        taken.map(|(_, process)| process).collect()
    }

    fn processes(&self) -> MutexGuard<'_, HashMap<ProcessKey, Arc<Process>>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a process ends that goes on as something else.
const CHANGED: &str = "what it runs changed";
