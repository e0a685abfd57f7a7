//! What every part of the gateway shares.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aims_authority::Call;
use aims_decision::{Case, Decision, Denied, Findings, Needed, Reason, Reserved, decide};
use aims_json::Object;
use aims_lease::{Held, NotHeld};
use aims_links::Control;
use aims_model::{Event, EventKind, RecordError};
use aims_types::{self as types, Clock, Entropy, Id, Timestamp};
use aims_wal::Class;
use arc_swap::ArcSwapOption;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::approvals::{Approvals, Taken, Unaskable};
use crate::authn::{Authn, AuthnError, Caller};
use crate::config::GatewayConfig;
use crate::denials::{Denials, Principal};
use crate::forward::Peers;
use crate::journal::{Journal, JournalError};
use crate::lease::Lease;
use crate::live::LiveSet;
use crate::mcp::registry::Sessions;
use crate::records::{self, Action, Made};
use crate::state::State;
use crate::tool::ToolHost;
use crate::trees::Trees;
use crate::trees::ahead::{self, Behind};
use crate::upstream::Upstreams;

/// Everything that requests need.
pub(crate) struct Core {
    pub(crate) config: GatewayConfig,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The state in force; without one everything is denied.
    pub(crate) state: InForce,
    /// The lease; without one everything is denied.
    pub(crate) lease: Arc<Lease>,
    pub(crate) journal: Journal,
    pub(crate) trees: Trees,
    /// The last record that the server has.
    pub(crate) shipped: watch::Sender<u64>,
    pub(crate) approvals: Approvals,
    /// The other gateways.
    pub(crate) peers: Peers,
    pub(crate) authn: Authn,
    pub(crate) live: LiveSet,
    pub(crate) sessions: Sessions,
    pub(crate) denials: Denials,
    /// The rights to a tunnel that are left.
    pub(crate) tunnels: Arc<Semaphore>,
    /// What requests to upstreams need.
    pub(crate) upstreams: Upstreams,
    pub(crate) tools: Arc<dyn ToolHost>,
    pub(crate) tasks: TaskTracker,
    /// Nothing new starts.
    pub(crate) stopping: CancellationToken,
    /// The log has stopped or lost records: everything is denied until a restart.
    pub(crate) failed: Arc<AtomicBool>,
}

/// The state in force, and the news that there is another one.
pub(crate) struct InForce {
    state: ArcSwapOption<State>,
    changed: watch::Sender<()>,
}

/// How many calls each instance was permitted.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    counts: Mutex<HashMap<Id<types::Instance>, Arc<Mutex<u32>>>>,
    /// How many more each may have been permitted by earlier owners of its tree.
    lost: u32,
}

/// A permitted action with its uses set aside.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) findings: Findings,
    pub(crate) reserved: Reserved,
    /// When it was decided, and after how many others.
    pub(crate) made: Made,
    /// The approval that it rests on, set aside for it.
    pub(crate) approval: Option<Taken>,
}

/// An action that is not permitted.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Denied.
    Denied(Denied),
    /// Something is needed first.
    Needed(Needed),
    /// A person's approval is needed first, and nobody can be asked for it.
    Unaskable(Needed, Unaskable),
}

/// Why a permitted action does not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotIntended {
    /// Its intent is not durable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Too much of what was recorded before is not at the server.
    #[error(transparent)]
    Behind(#[from] Behind),
}

/// Why nothing may be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReady {
    /// It is ending.
    #[error("the gateway is stopping: nothing is allowed any more")]
    Stopping,
    /// Its log can't be trusted or written.
    #[error("the log can't be written: nothing is allowed; an operator has to look")]
    Failed,
    /// It does not know what the server cut off last.
    #[error("the gateway has no lease, so nothing is allowed; it asks the server for one: {0}")]
    NotHeld(#[from] NotHeld),
    /// There is nothing to decide on.
    #[error("the gateway has no usable state: nothing is allowed")]
    NoState,
}

/// The denial of what a token does not carry: the hop that it acts under is narrower by it.
fn not_carried(caller: &Caller, refusal: aims_authority::Refusal) -> Refusal {
    let leaf = caller.chain.verified.leaf();
    let reason = match leaf.map(|hop| hop.grant().id) {
        Some(delegation) => Reason::Authority {
            delegation,
            refusal,
        },
        None => Reason::Principals,
    };
    Refusal::Denied(Denied {
        findings: Findings::default(),
        reasons: vec![reason],
    })
}

impl Core {
    /// The state in force, if anything may be decided at all.
    pub(crate) fn state(&self) -> Option<Arc<State>> {
        self.ready().ok()
    }

    /// The state in force, or why nothing may be decided.
    pub(crate) fn ready(&self) -> Result<Arc<State>, NotReady> {
        if self.stopping.is_cancelled() {
            return Err(NotReady::Stopping);
        }
        if self.failed.load(Ordering::Acquire) {
            return Err(NotReady::Failed);
        }
        self.lease.holds()?;
        self.state.load_full().ok_or(NotReady::NoState)
    }

    /// Decides and sets uses aside. One instance's decisions are made one after the other, so that
    /// a policy on the number of calls counts exactly; no lock is held across I/O. The approval is
    /// one that answers exactly this question; it is given back if the action is refused.
    pub(crate) fn admit(
        &self,
        caller: &Caller,
        state: &State,
        call: Call<'_>,
        approval: Option<Taken>,
    ) -> Result<Admitted, Refusal> {
        let now = self.now();
        if let Err(refusal) = caller.carries(&call, now) {
            return Err(not_carried(caller, refusal));
        }
        let uses = caller.tree.uses.of(caller.token.instance);
        let mut calls = uses.lock().unwrap_or_else(PoisonError::into_inner);
        let agents = caller.chain.agent_facts(caller.assurance);
        let case = Case {
            chain: &caller.chain.verified,
            call,
            policies: &state.policies,
            agents: &agents,
            calls: *calls,
            assurance: caller.assurance,
            subjects: &caller.subjects,
            minted: caller.token.revision,
            cutoffs: &state.cutoffs,
            approval: approval.as_ref().map(Taken::approved),
            now,
        };
        let began = self.clock.boot();
        let decision = decide(&case);
        let took = self.clock.boot().since(began).as_secs_f64();
        metrics::histogram!("aims_gateway_decision_seconds").record(took);
        let permit = match decision {
            Decision::Permit(permit) => permit,
            Decision::Deny(denied) => return Err(Refusal::Denied(denied)),
            Decision::StepUp(needed) => return Err(Refusal::Needed(needed)),
        };
        let findings = permit.findings().clone();
        match caller.tree.budgets().reserve(&permit, now) {
            Ok(reserved) => {
                let before = *calls;
                *calls = before.saturating_add(1);
                Ok(Admitted {
                    findings,
                    reserved,
                    made: Made {
                        at: now,
                        calls: before,
                    },
                    approval,
                })
            }
            Err(over) => {
                let (delegation, refusal) = (over.delegation, over.refusal);
                let reasons = vec![Reason::Authority {
                    delegation,
                    refusal,
                }];
                Err(Refusal::Denied(Denied { findings, reasons }))
            }
        }
    }

    /// Looks at the lease, cut-offs, the policy in force, validity, the gateway's own state and who
    /// owns the task once more, right before an effect: enough of the lease has to be left for it
    /// to begin. Right after it, [`Lease::look_back`] finds out whether it came too late.
    pub(crate) fn look_again(&self, caller: &Caller) -> Result<Held, AuthnError> {
        let held = self.look_on(caller)?;
        let (task, tree) = (caller.token.task, &caller.tree);
        if self.trees.is_mine(task, tree, held.term()) {
            return Ok(held);
        }
        Err(AuthnError::NoChain(
            "the task is not this gateway's any more",
        ))
    }

    /// The same, for what another gateway decides.
    pub(crate) fn look_on(&self, caller: &Caller) -> Result<Held, AuthnError> {
        let state = self
            .state()
            .ok_or(AuthnError::NoChain("nothing can be decided now"))?;
        caller.check_cut_offs(&state)?;
        if !caller.is_under(&state) {
            let why = "another policy came into force meanwhile; make the call again";
            return Err(AuthnError::NoChain(why));
        }
        caller.chain.verified.check_time(self.now())?;
        let cleared = self.lease.clears();
        cleared.map_err(|_| AuthnError::NoChain("the gateway's lease is about to end"))
    }

    /// The time that expiry and deadlines count on: the server's, where it was told.
    pub(crate) fn now(&self) -> Timestamp {
        self.lease.wall().unwrap_or_else(|| self.clock.now())
    }

    /// Makes an intent durable with its reservation and what it used. If it is not durable, the
    /// uses are given back: it certainly does not happen.
    pub(crate) async fn intend(
        &self,
        caller: &Caller,
        state: &State,
        action: &Action,
        admitted: &Admitted,
        arguments: Option<&[u8]>,
    ) -> Result<(), NotIntended> {
        let intended = self
            .try_intend(caller, state, action, admitted, arguments)
            .await;
        match (&intended, &admitted.approval) {
            (Ok(()), Some(approval)) => approval.keep(),
            (Ok(()), None) => {}
            // An approval is given back with the rest when it is dropped.
            (Err(_), _) => {
                caller.tree.budgets().release(&admitted.reserved);
                caller.tree.uses.give_back(caller.token.instance);
            }
        }
        intended
    }

    async fn try_intend(
        &self,
        caller: &Caller,
        state: &State,
        action: &Action,
        admitted: &Admitted,
        arguments: Option<&[u8]>,
    ) -> Result<(), NotIntended> {
        let place = ahead::place(self, caller, state).await?;
        let appended = self
            .append_intent(caller, state, action, admitted, arguments)
            .await;
        if let Some(place) = place {
            place.recorded(&appended);
        }
        appended?;
        metrics::counter!("aims_gateway_decisions_total", "decision" => "permit").increment(1);
        Ok(())
    }

    async fn append_intent(
        &self,
        caller: &Caller,
        state: &State,
        action: &Action,
        admitted: &Admitted,
        arguments: Option<&[u8]>,
    ) -> Result<u64, JournalError> {
        let body = records::decision(caller, state, action, "permit", &admitted.findings);
        let body = body.with("reasons", admitted.findings.reasons());
        let mut body = records::reserved(body, &admitted.reserved);
        body = body.with("epoch", caller.tree.epoch());
        if let Some(approval) = &admitted.approval {
            body = body.with("approval", approval.describe());
        }
        let used = records::material(caller, state, action, arguments, admitted.made)
            .map_err(|error| RecordError::Encoding(error.to_string()))?;
        let sealed_for = (caller.token.task, &caller.chain.materials);
        let material = self.journal.seal(sealed_for, used)?;
        body = body.with("materials", material.commitment.to_string());
        let event = Event::new(EventKind::CallIntent, self.clock.now(), body);
        let event = event.of_task(caller.token.task);
        self.journal
            .append_with(Class::Intent, event, Some(material))
            .await
    }

    /// Waits until the server has everything that is recorded here now, and no longer than this.
    pub(crate) async fn handed_over(&self, longest: Duration) {
        let head = self.journal.wal().head().seq;
        let mut shipped = self.shipped.subscribe();
        // Whoever waits goes on either way.
        let _ = timeout(longest, shipped.wait_for(|seq| *seq >= head)).await;
    }

    /// Makes an outcome durable. The action has happened, or may have: its uses stay taken.
    pub(crate) async fn conclude(
        &self,
        caller: &Caller,
        reserved: &Reserved,
        body: Object,
    ) -> Result<(), JournalError> {
        caller.tree.budgets().settle(reserved);
        let event = Event::new(EventKind::CallOutcome, self.clock.now(), body);
        self.journal
            .append(Class::Outcome, event.of_task(caller.token.task))
            .await
            .map(drop)
    }

    /// Records a refusal, alone or in a count; a refusal recorded alone is durable on return.
    pub(crate) async fn refuse(
        &self,
        caller: &Caller,
        state: &State,
        action: &Action,
        refusal: &Refusal,
    ) -> Result<(), JournalError> {
        let body = match refusal {
            Refusal::Denied(denied) => {
                let body = records::decision(caller, state, action, "deny", &denied.findings);
                records::reasons(body, &denied.reasons)
            }
            Refusal::Needed(needed) | Refusal::Unaskable(needed, _) => {
                records::decision(caller, state, action, "step_up", &needed.findings)
            }
        };
        self.deny(caller, body).await
    }

    /// Records a denial with this body.
    pub(crate) async fn deny(&self, caller: &Caller, body: Object) -> Result<(), JournalError> {
        let event = Event::new(EventKind::CallDenied, self.clock.now(), body);
        let event = event.of_task(caller.token.task);
        self.note_denial(Principal::Instance(caller.token.instance), event)
            .await
    }

    /// Records a denial of a principal.
    pub(crate) async fn note_denial(
        &self,
        principal: Principal,
        event: Event,
    ) -> Result<(), JournalError> {
        metrics::counter!("aims_gateway_decisions_total", "decision" => "deny").increment(1);
        match self.denials.note(principal, self.clock.boot(), event) {
            Some(event) => self.journal.append(Class::Denial, event).await.map(drop),
            None => Ok(()),
        }
    }

    /// Records the counts of denials that are over, or all of them.
    pub(crate) async fn record_counts(&self, all: bool) {
        for event in self.denials.take(self.clock.boot(), self.clock.now(), all) {
            // The journal raises the alarm; nothing more can be done with a count.
            let _ = self.journal.append(Class::Denial, event).await;
        }
    }

    /// Records something about a tool server's session.
    pub(crate) async fn note_session(
        &self,
        class: Class,
        task: Option<Id<types::Task>>,
        body: Object,
    ) -> Result<(), JournalError> {
        let event = Event::new(EventKind::ServerSession, self.clock.now(), body);
        let event = match task {
            Some(task) => event.of_task(task),
            None => event,
        };
        self.journal.append(class, event).await.map(drop)
    }

    /// A new id.
    pub(crate) fn id<K: types::Kind>(&self) -> Result<Id<K>, types::EntropyError> {
        Id::new(self.clock.now(), self.entropy.as_ref())
    }
}

impl Default for InForce {
    fn default() -> Self {
        Self {
            state: ArcSwapOption::empty(),
            changed: watch::Sender::new(()),
        }
    }
}

impl InForce {
    /// The state as it was taken over, whether or not anything may be decided on it now.
    pub(crate) fn load_full(&self) -> Option<Arc<State>> {
        self.state.load_full()
    }

    /// Puts another state in force, or none.
    pub(crate) fn store(&self, state: Option<Arc<State>>) {
        self.state.store(state);
        self.changed.send_replace(());
    }

    /// Tells of every state from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

impl Uses {
    /// The counts that a log remembers, of which each may lack as many as were `lost`. A policy
    /// that counts calls is told the most that there can have been since it is in force.
    pub(crate) fn new(before: HashMap<Id<types::Instance>, u32>, lost: u32) -> Self {
        let counts = before.into_iter().map(|(id, count)| {
            let count = count.saturating_add(lost);
            (id, Arc::new(Mutex::new(count)))
        });
        let counts = Mutex::new(counts.collect());
        Self { counts, lost }
    }

    /// One that was permitted was not made.
    fn give_back(&self, instance: Id<types::Instance>) {
        let count = self.of(instance);
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_sub(1);
    }

    /// Forgets instances that have ended.
    pub(crate) fn forget(&self, ended: impl Iterator<Item = Id<types::Instance>>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for instance in ended {
            counts.remove(&instance);
        }
    }

    fn of(&self, instance: Id<types::Instance>) -> Arc<Mutex<u32>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts
            .entry(instance)
            .or_insert_with(|| Arc::new(Mutex::new(self.lost)));
        Arc::clone(count)
    }
}
