//! What every part of the gateway shares.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aims_authority::Call;
use aims_decision::{Budgets, Case, Decision, Denied, Findings, Needed, Reason, Reserved, decide};
use aims_json::Object;
use aims_links::Control;
use aims_model::{Assurance, Event, EventKind};
use aims_types::{self as types, Clock, Entropy, Id, Timestamp};
use aims_wal::Class;
use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authn::{Authn, AuthnError, Caller, cut_off};
use crate::config::GatewayConfig;
use crate::denials::{Denials, Principal};
use crate::journal::{Journal, JournalError};
use crate::live::LiveSet;
use crate::mcp::registry::Sessions;
use crate::records::{self, Action};
use crate::state::State;
use crate::tool::ToolHost;

/// Everything that requests need.
pub(crate) struct Core {
    pub(crate) config: GatewayConfig,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The state in force; without one everything is denied.
    pub(crate) state: ArcSwapOption<State>,
    pub(crate) journal: Journal,
    pub(crate) budgets: Mutex<Budgets>,
    pub(crate) uses: Uses,
    pub(crate) authn: Authn,
    pub(crate) live: LiveSet,
    pub(crate) sessions: Sessions,
    pub(crate) denials: Denials,
    /// The rights to a tunnel that are left.
    pub(crate) tunnels: Arc<Semaphore>,
    pub(crate) tools: Arc<dyn ToolHost>,
    pub(crate) tasks: TaskTracker,
    /// Nothing new starts.
    pub(crate) stopping: CancellationToken,
    /// The log has stopped or lost records: everything is denied until a restart.
    pub(crate) failed: Arc<AtomicBool>,
}

/// How many calls each instance was permitted.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<HashMap<Id<types::Instance>, Arc<Mutex<u32>>>>);

/// A permitted action with its uses set aside.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) findings: Findings,
    pub(crate) reserved: Reserved,
    /// How many calls were permitted before.
    pub(crate) calls: u32,
}

/// An action that is not permitted.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Denied.
    Denied(Denied),
    /// Something is needed first.
    Needed(Needed),
}

impl Core {
    /// The state in force, if anything may be decided at all.
    pub(crate) fn state(&self) -> Option<Arc<State>> {
        if self.failed.load(Ordering::Acquire) || self.stopping.is_cancelled() {
            return None;
        }
        self.state.load_full()
    }

    /// Decides and sets uses aside. One instance's decisions are made one after the other, so that
    /// a policy on the number of calls counts exactly; no lock is held across I/O.
    pub(crate) fn admit(
        &self,
        caller: &Caller,
        state: &State,
        call: Call<'_>,
        now: Timestamp,
    ) -> Result<Admitted, Refusal> {
        let uses = self.uses.of(caller.token.instance);
        let mut calls = uses.lock().unwrap_or_else(PoisonError::into_inner);
        let agents = caller.chain.agent_facts();
        let case = Case {
            chain: &caller.chain.verified,
            call,
            policies: &state.policies,
            agents: &agents,
            calls: *calls,
            assurance: Assurance::Confined,
            subjects: &caller.subjects,
            minted: caller.token.revision,
            cutoffs: &state.cutoffs,
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
        match self.budgets().reserve(&permit, now) {
            Ok(reserved) => {
                let before = *calls;
                *calls = before.saturating_add(1);
                Ok(Admitted {
                    findings,
                    reserved,
                    calls: before,
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

    /// Looks at cut-offs, validity and the gateway's own state once more, right before an effect.
    pub(crate) fn look_again(&self, caller: &Caller) -> Result<(), AuthnError> {
        let state = self
            .state()
            .ok_or(AuthnError::NoChain("nothing can be decided now"))?;
        cut_off(&state, &caller.subjects, caller.token.revision)?;
        Ok(caller.chain.verified.check_time(self.clock.now())?)
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
    ) -> Result<(), JournalError> {
        let intended = self
            .try_intend(caller, state, action, admitted, arguments)
            .await;
        if intended.is_err() {
            self.budgets().release(&admitted.reserved);
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
    ) -> Result<(), JournalError> {
        let body = records::decision(caller, state, action, "permit", &admitted.findings);
        let body = records::permitted(body, &admitted.findings);
        let mut body = records::reserved(body, &admitted.reserved);
        let used = records::material(caller, state, action, arguments, admitted.calls);
        let material = used.map(|used| self.journal.material(used)).transpose()?;
        if let Some(material) = &material {
            body = body.with("materials", material.commitment().to_string());
        }
        let event = Event::new(EventKind::CallIntent, self.clock.now(), body);
        let event = event.of_task(caller.token.task);
        self.journal
            .append_with(Class::Intent, event, material)
            .await?;
        metrics::counter!("aims_gateway_decisions_total", "decision" => "permit").increment(1);
        Ok(())
    }

    /// Makes an outcome durable. The action has happened, or may have: its uses stay taken.
    pub(crate) async fn conclude(
        &self,
        caller: &Caller,
        reserved: &Reserved,
        body: Object,
    ) -> Result<(), JournalError> {
        self.budgets().settle(reserved);
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
            Refusal::Needed(needed) => {
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

    pub(crate) fn budgets(&self) -> MutexGuard<'_, Budgets> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Uses {
    /// The counts that a log remembers.
    pub(crate) fn new(before: HashMap<Id<types::Instance>, u32>) -> Self {
        let counts = before
            .into_iter()
            .map(|(id, count)| (id, Arc::new(Mutex::new(count))));
        Self(Mutex::new(counts.collect()))
    }

    /// Forgets instances that have ended.
    pub(crate) fn forget(&self, ended: impl Iterator<Item = Id<types::Instance>>) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for instance in ended {
            uses.remove(&instance);
        }
    }

    fn of(&self, instance: Id<types::Instance>) -> Arc<Mutex<u32>> {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(uses.entry(instance).or_default())
    }
}
