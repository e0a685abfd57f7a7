//! The gateway as nodes and the server see it: start, state, requests, end.

mod offered;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aims_json::Object;
use aims_links::{
    Applied, Body, ConnectReply, Control, ControlState, Endpoint, Enforce, EnforceError,
    InspectError, LinkError,
};
use aims_model::receipt::Ended;
use aims_model::{Event, EventKind, ServerSpec, Source, Subject, ToolPin};
use aims_oauth::ReplayCache;
use aims_types::{Clock, Entropy, Id, Instance, Name, Revision};
use aims_wal::{Class, Wal};
use aims_walls::stage::Stage;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::approvals::Approvals;
use crate::authn::{Authn, Chains};
use crate::config::GatewayConfig;
use crate::core::{Core, InForce};
use crate::denials::Denials;
use crate::forward::Peers;
use crate::journal::Journal;
use crate::lease::Lease;
use crate::live::LiveSet;
use crate::mcp::registry::Sessions;
use crate::recover::{Before, Unfinished, read};
use crate::ship::Shipping;
use crate::state::State;
use crate::tool::ToolHost;
use crate::tool::uids::Uids;
use crate::tool::walled::WalledHost;
use crate::trees::Trees;
use crate::upstream::Upstreams;
use crate::{egress, inspect, lease, mcp, points, records, trees, upstream};
use offered::Offered;

/// Uids beyond those of sessions, for servers that are inspected.
const UIDS_EXTRA: u32 = 16;
/// How often counts of denials and ended delegations are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// An enforcement point.
pub struct Gateway {
    core: Arc<Core>,
    offered: tokio::sync::Mutex<Offered>,
    shipping: Shipper,
}

/// The task that hands records over.
struct Shipper {
    finish: CancellationToken,
    tasks: TaskTracker,
}

impl Gateway {
    /// Opens the log, takes back what it says was used, and starts. Until the first state is
    /// applied everything is denied.
    pub async fn start(
        config: GatewayConfig,
        control: Arc<dyn Control>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> anyhow::Result<Arc<Self>> {
        let stage = Stage::open(&config.stage_dir)?;
        let count = u32::try_from(config.limits.sessions).unwrap_or(u32::MAX);
        let count = count.saturating_add(UIDS_EXTRA);
        let uids = config.uid_base.map(|base| Uids::new(base, count));
        let tools = WalledHost::new(config.self_exe.clone(), stage, uids);
        Self::start_with(config, control, (clock, entropy), Arc::new(tools)).await
    }

    /// The same with another way to start tool servers.
    pub(crate) async fn start_with(
        config: GatewayConfig,
        control: Arc<dyn Control>,
        (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
        tools: Arc<dyn ToolHost>,
    ) -> anyhow::Result<Arc<Self>> {
        let (dir, limits) = (config.wal_dir.clone(), config.wal);
        let opened = tokio::task::spawn_blocking(move || {
            let (wal, recovered) = Wal::open(&dir, limits)?;
            let before = read(&recovered)?;
            anyhow::Ok((wal, recovered, before))
        });
        let (wal, recovered, before) = opened.await??;
        let source = Source::Gateway(config.id);
        let journal = Journal::new(wal, &recovered, source, Arc::clone(&entropy))?;
        let Before {
            approvals,
            unfinished,
        } = before;
        let limits = config.limits.clone();
        let mut first = [0; 8];
        entropy.fill(&mut first)?;
        let lease = Lease::new(config.lease, u64::from_be_bytes(first), Arc::clone(&clock));
        let peers = Peers::new(
            config.edge.clone(),
            &config.trust_domain,
            Arc::clone(&clock),
        );
        let core = Arc::new(Core {
            authn: Authn {
                resource: config.resource.clone(),
                trust_domain: config.trust_domain.clone(),
                chains: Chains::new(limits.chains),
                replays: Mutex::new(ReplayCache::new(limits.proofs)),
            },
            sessions: Sessions::new(limits.sessions, limits.sessions_per_instance),
            tunnels: Arc::new(Semaphore::new(limits.tunnels)),
            upstreams: Upstreams::new(limits.requests),
            denials: Denials::new(limits.denials_per_window, limits.denial_window),
            config,
            control,
            clock,
            entropy,
            state: InForce::default(),
            lease: Arc::new(lease),
            journal,
            trees: Trees::new(limits.trees),
            shipped: watch::Sender::new(0),
            peers,
            approvals: Approvals::new(approvals),
            live: LiveSet::default(),
            tools,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            failed: Arc::new(AtomicBool::new(false)),
        });
        note_start(&core, &recovered).await?;
        note_unfinished(&core, unfinished).await?;
        let shipping = Shipper::start(&core);
        core.tasks.spawn(housekeeping(Arc::clone(&core)));
        core.tasks.spawn(alarm(Arc::clone(&core)));
        core.tasks.spawn(lease::watch(Arc::clone(&core)));
        core.tasks.spawn(lease::renew(Arc::clone(&core)));
        core.tasks.spawn(lease::late::record(Arc::clone(&core)));
        Ok(Arc::new(Self {
            core,
            offered: tokio::sync::Mutex::default(),
            shipping,
        }))
    }

    /// Lets nothing new start, ends what is under way, records it, hands the log over, and gives
    /// back the trees of its tasks, for at most `deadline`. Returns whether everything was handed
    /// over.
    pub async fn drain(&self, deadline: Duration) -> bool {
        let drained = async {
            self.core.stopping.cancel();
            self.core.live.cut_all().await;
            self.core.tasks.close();
            self.core.tasks.wait().await;
            self.core.record_counts(true).await;
            lease::late::record_found(&self.core).await;
            self.shipping.finish.cancel();
            self.shipping.tasks.close();
            self.shipping.tasks.wait().await;
            let complete = *self.core.shipped.borrow() >= self.core.journal.wal().head().seq;
            if complete {
                trees::release_all(&self.core).await;
            }
            complete
        };
        tokio::time::timeout(deadline, drained).await == Ok(true)
    }

    /// Resolves when the log has stopped for good: the process should end then, as nothing is
    /// allowed any more.
    pub async fn failure(&self) -> String {
        let mut poisoned = self.core.journal.wal().poisoned();
        match poisoned.wait_for(Option::is_some).await {
            Ok(reason) => reason.as_ref().map(ToString::to_string).unwrap_or_default(),
            Err(_) => "the log was closed".to_owned(),
        }
    }

    /// Resolves when a lease is granted for the first time: the server knows this gateway.
    pub async fn leased(&self) {
        self.core.lease.begun().await;
    }

    /// The resource that tokens are for, and the issuer whose tokens are accepted.
    pub(crate) fn names(&self) -> (&str, &str) {
        (&self.core.config.resource, &self.core.config.issuer)
    }

    /// The revision in force; `None` while everything is denied.
    pub fn revision(&self) -> Option<Revision> {
        self.core.state().map(|state| state.revision)
    }
}

#[async_trait]
impl Endpoint for Gateway {
    async fn http(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, LinkError> {
        if upstream::is_meant(request.uri()) {
            return Ok(upstream::answer(&self.core, request).await);
        }
        Ok(mcp::endpoint::answer(&self.core, request).await)
    }

    async fn connect(&self, request: http::Request<()>) -> Result<ConnectReply, LinkError> {
        Ok(egress::connect(&self.core, request).await)
    }
}

#[async_trait]
impl Enforce for Gateway {
    async fn inspect(&self, name: Name, spec: ServerSpec) -> Result<Vec<ToolPin>, InspectError> {
        if self.core.stopping.is_cancelled() {
            return Err(InspectError::Start("the gateway is stopping".to_owned()));
        }
        inspect::inspect(&self.core, name, spec).await
    }

    async fn apply(&self, control: Arc<ControlState>) -> Result<Applied, EnforceError> {
        let mut offered = self.offered.lock().await;
        let before = self.core.state.load_full();
        let unusable = |reason: String| EnforceError::Unusable {
            revision: control.revision,
            reason,
        };
        let newest = offered.newest;
        if let Some(newest) = newest.filter(|newest| control.revision <= *newest) {
            // Without a usable state the same one may be tried again, but no older one.
            match &before {
                Some(state) => return Ok(offered.applied(state.revision)),
                None if control.revision < newest => {
                    return Err(unusable("a newer one was not usable".to_owned()));
                }
                None => {}
            }
        }
        offered.newest = Some(control.revision);
        let compiled = if control.issuer != self.core.config.issuer {
            Err(format!("its issuer is `{}`, not ours", control.issuer))
        } else if points::is_retired(&control.keys, self.core.config.id) {
            Err("the key of this gateway is retired; let it join as a new one".to_owned())
        } else {
            State::compile(&control, before.as_deref())
        };
        match compiled {
            Ok(state) => {
                let to = state.revision;
                let mut ended = self.take_over(Arc::new(state), &control).await;
                ended.add(std::mem::take(&mut offered.unheard));
                offered.took(to, ended);
                Ok(offered.applied(to))
            }
            Err(reason) => {
                self.core.state.store(None);
                self.core.upstreams.forget();
                let ended = self.core.live.cut_all().await;
                offered.unheard.add(ended);
                self.keep_enrolled(control.revision, HashSet::new()).await;
                metrics::counter!("aims_gateway_unusable_states_total").increment(1);
                tracing::error!(revision = %control.revision, reason, "everything is denied");
                Err(unusable(reason))
            }
        }
    }
}

impl Gateway {
    /// Puts a state in force. Only when everything has ended that it cuts off does the lease count
    /// for it, and is it acknowledged.
    async fn take_over(&self, state: Arc<State>, control: &ControlState) -> Ended {
        let revision = state.revision;
        self.core.state.store(Some(Arc::clone(&state)));
        self.core.upstreams.took_over(&state);
        let mut ended = self.core.live.cut(&state.cutoffs).await;
        let current = |upstream| state.is_current(upstream);
        ended.add(self.core.live.cut_requests(current).await);
        // What was verified against another state is worth nothing, and the keys of what is cut off
        // go before it is acknowledged.
        self.core.authn.chains.forget();
        let enrolled = points::enrolled(&control.keys);
        self.keep_enrolled(revision, enrolled).await;
        self.core.lease.took_over(revision);
        let instances = control.cutoffs.iter().filter_map(|cut| match cut.subject {
            Subject::Instance(id) => Some(id),
            _ => None,
        });
        let instances: Vec<Id<Instance>> = instances.collect();
        let now = self.core.now();
        self.core.trees.forget_ended(now, &instances);
        tracing::debug!(%revision, ?ended, "a state is in force");
        ended
    }

    /// Carries on with nodes and gateways that have these keys, and with no others.
    async fn keep_enrolled(&self, revision: Revision, keys: HashSet<String>) {
        if let Some(edge) = &self.core.config.edge {
            edge.enrolled.replace(revision, keys).await;
        }
    }
}

impl Shipper {
    fn start(core: &Core) -> Self {
        let (finish, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shipping = Shipping {
            id: core.config.id,
            wal: core.journal.wal(),
            control: Arc::clone(&core.control),
            clock: Arc::clone(&core.clock),
            finish: finish.clone(),
            lost: Arc::clone(&core.failed),
            shipped: core.shipped.clone(),
            lease: Arc::clone(&core.lease),
        };
        let (lease, known) = (Arc::clone(&core.lease), finish.clone());
        tasks.spawn(async move {
            // Before the first lease the server may not know the gateway yet.
            known.run_until_cancelled(lease.begun()).await;
            shipping.run().await;
        });
        Self { finish, tasks }
    }
}

async fn note_start(core: &Core, recovered: &aims_wal::Recovered) -> anyhow::Result<()> {
    let body = Object::new()
        .with("gateway", core.config.id.to_string())
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("records_before", recovered.head().seq)
        .with("torn_bytes", recovered.torn_bytes());
    let event = Event::new(EventKind::GatewayStarted, core.clock.now(), body);
    core.journal.append(Class::Outcome, event).await?;
    Ok(())
}

/// Records that it is not known how actions of an earlier run ended.
async fn note_unfinished(core: &Core, unfinished: Vec<Unfinished>) -> anyhow::Result<()> {
    for call in unfinished {
        let body = records::outcome(call.decision, "unknown_after_restart", None, 0, 0);
        let event = Event::new(EventKind::CallOutcome, core.clock.now(), body);
        let event = match call.task {
            Some(task) => event.of_task(task),
            None => event,
        };
        core.journal.append(Class::Outcome, event).await?;
    }
    Ok(())
}

/// Records counts of denials that are over, and forgets what has ended.
async fn housekeeping(core: Arc<Core>) {
    loop {
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            () = tokio::time::sleep(HOUSEKEEPING) => {}
        }
        core.record_counts(false).await;
        core.trees.forget_ended(core.now(), &[]);
        trees::release_idle(&core).await;
    }
}

/// When the log stops, or lost records, nothing goes on.
async fn alarm(core: Arc<Core>) {
    let mut poisoned = core.journal.wal().poisoned();
    loop {
        let stopped = tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            changed = poisoned.changed() => changed.is_err() || poisoned.borrow().is_some(),
            () = tokio::time::sleep(HOUSEKEEPING) => core.failed.load(Ordering::Acquire),
        };
        if stopped {
            core.failed.store(true, Ordering::Release);
            metrics::gauge!("aims_gateway_log_stopped").set(1.0);
            core.live.cut_all().await;
            return;
        }
    }
}

#[cfg(test)]
impl Gateway {
    /// Its lease.
    pub(crate) fn lease(&self) -> Arc<Lease> {
        Arc::clone(&self.core.lease)
    }

    /// Every record that is durable.
    pub(crate) fn durable(&self) -> Vec<aims_links::ShippedRecord> {
        let wal = self.core.journal.wal();
        if wal.head().seq == 0 {
            return Vec::new();
        }
        Journal::read(&wal, 1, usize::MAX >> 1).unwrap()
    }

    /// The log can't be written any more.
    pub(crate) fn crash_log(&self) {
        self.core.journal.wal().close().unwrap();
    }
}
