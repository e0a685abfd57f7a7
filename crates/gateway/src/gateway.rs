//! The gateway as nodes and the server see it: start, state, requests, end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aims_json::Object;
use aims_links::{
    Body, ConnectReply, Control, ControlState, Enforce, EnforceError, InspectError, LinkError,
};
use aims_model::{Event, EventKind, ServerSpec, Source, Subject, ToolPin};
use aims_oauth::ReplayCache;
use aims_types::{Clock, Entropy, Name, Revision};
use aims_wal::{Class, Wal};
use aims_walls::stage::Stage;
use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authn::{Authn, Chains};
use crate::config::GatewayConfig;
use crate::core::{Core, Uses};
use crate::denials::Denials;
use crate::journal::Journal;
use crate::live::LiveSet;
use crate::mcp::registry::Sessions;
use crate::recover::{Before, read};
use crate::ship::Shipping;
use crate::state::State;
use crate::tool::ToolHost;
use crate::tool::uids::Uids;
use crate::tool::walled::WalledHost;
use crate::{egress, inspect, mcp, records};

/// Uids beyond those of sessions, for servers that are inspected.
const UIDS_EXTRA: u32 = 16;
/// How often counts of denials and ended delegations are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// An enforcement point.
pub struct Gateway {
    core: Arc<Core>,
    /// The newest revision that was offered, usable or not.
    offered: tokio::sync::Mutex<Option<Revision>>,
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
            budgets,
            uses,
            unfinished,
        } = before;
        let limits = config.limits.clone();
        let core = Arc::new(Core {
            authn: Authn {
                resource: config.resource.clone(),
                trust_domain: config.trust_domain.clone(),
                chains: Chains::new(limits.chains),
                replays: Mutex::new(ReplayCache::new(limits.proofs)),
            },
            sessions: Sessions::new(limits.sessions, limits.sessions_per_instance),
            tunnels: Arc::new(Semaphore::new(limits.tunnels)),
            denials: Denials::new(limits.denials_per_window, limits.denial_window),
            config,
            control,
            clock,
            entropy,
            state: ArcSwapOption::empty(),
            journal,
            budgets: Mutex::new(budgets),
            uses: Uses::new(uses),
            live: LiveSet::default(),
            tools,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            failed: Arc::new(AtomicBool::new(false)),
        });
        note_start(&core, &recovered).await?;
        for call in unfinished {
            let body = records::outcome(call.decision, "unknown_after_restart", None, 0, 0);
            let event = Event::new(EventKind::CallOutcome, core.clock.now(), body);
            let event = match call.task {
                Some(task) => event.of_task(task),
                None => event,
            };
            core.journal.append(Class::Outcome, event).await?;
        }
        let shipping = Shipper::start(&core);
        core.tasks.spawn(housekeeping(Arc::clone(&core)));
        core.tasks.spawn(alarm(Arc::clone(&core)));
        Ok(Arc::new(Self {
            core,
            offered: tokio::sync::Mutex::new(None),
            shipping,
        }))
    }

    /// Lets nothing new start, ends what is under way, records it, and hands the log over, for at
    /// most `deadline`. Returns whether everything was handed over.
    pub async fn drain(&self, deadline: Duration) -> bool {
        let drained = async {
            self.core.stopping.cancel();
            self.core.live.cut_all().await;
            self.core.tasks.close();
            self.core.tasks.wait().await;
            self.core.record_counts(true).await;
            self.shipping.finish.cancel();
            self.shipping.tasks.close();
            self.shipping.tasks.wait().await;
        };
        tokio::time::timeout(deadline, drained).await.is_ok()
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

    /// The revision in force; `None` while everything is denied.
    pub fn revision(&self) -> Option<Revision> {
        self.core.state().map(|state| state.revision)
    }
}

#[async_trait]
impl Enforce for Gateway {
    async fn http(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, LinkError> {
        Ok(mcp::endpoint::answer(&self.core, request).await)
    }

    async fn connect(&self, request: http::Request<()>) -> Result<ConnectReply, LinkError> {
        Ok(egress::connect(&self.core, request).await)
    }

    async fn inspect(&self, name: Name, spec: ServerSpec) -> Result<Vec<ToolPin>, InspectError> {
        if self.core.stopping.is_cancelled() {
            return Err(InspectError::Start("the gateway is stopping".to_owned()));
        }
        inspect::inspect(&self.core, name, spec).await
    }

    async fn apply(&self, control: Arc<ControlState>) -> Result<Revision, EnforceError> {
        let mut offered = self.offered.lock().await;
        let before = self.core.state.load_full();
        if let Some(newest) = offered.filter(|newest| control.revision <= *newest) {
            // Without a usable state the same one may be tried again, but no older one.
            match &before {
                Some(state) => return Ok(state.revision),
                None if control.revision < newest => {
                    let reason = "a newer one was not usable".to_owned();
                    return Err(EnforceError::Unusable {
                        revision: control.revision,
                        reason,
                    });
                }
                None => {}
            }
        }
        *offered = Some(control.revision);
        let compiled = if control.issuer == self.core.config.issuer {
            State::compile(&control, before.as_deref())
        } else {
            Err(format!("its issuer is `{}`, not ours", control.issuer))
        };
        match compiled {
            Ok(state) => {
                let state = Arc::new(state);
                self.core.state.store(Some(Arc::clone(&state)));
                let cut = self.core.live.cut(&state.cutoffs).await;
                self.core
                    .uses
                    .forget(control.cutoffs.iter().filter_map(|cut| match cut.subject {
                        Subject::Instance(id) => Some(id),
                        _ => None,
                    }));
                tracing::debug!(revision = %state.revision, cut, "a state is in force");
                Ok(state.revision)
            }
            Err(reason) => {
                self.core.state.store(None);
                self.core.live.cut_all().await;
                metrics::counter!("aims_gateway_unusable_states_total").increment(1);
                tracing::error!(revision = %control.revision, reason, "everything is denied");
                Err(EnforceError::Unusable {
                    revision: control.revision,
                    reason,
                })
            }
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
        };
        tasks.spawn(shipping.run());
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

/// Records counts of denials that are over, and forgets what has ended.
async fn housekeeping(core: Arc<Core>) {
    loop {
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            () = tokio::time::sleep(HOUSEKEEPING) => {}
        }
        core.record_counts(false).await;
        let now = core.clock.now();
        core.budgets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .forget_expired(now);
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
