//! A gateway and a node as small peers of their own: they keep what they were given and fail when
//! told to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aims_crypto::sha256;
use aims_links::{
    Applied, ControlState, Cut, Enforce, EnforceError, InspectError, LinkError, Step, Vouch,
};
use aims_model::receipt::Ended;
use aims_model::{ServerSpec, Subject, ToolPin};
use aims_types::{Id, Instance, Name, Revision};
use async_trait::async_trait;
use tokio::sync::Notify;

/// A gateway that keeps every state that it was given.
#[derive(Default)]
pub(super) struct Peer {
    states: Mutex<Vec<Arc<ControlState>>>,
    pub(super) silent: AtomicBool,
    /// How many more states it does not answer.
    pub(super) misses: AtomicU64,
    pub(super) unusable: AtomicBool,
    /// How often it was given a state, taken over or not.
    pub(super) asked: AtomicU64,
    pub(super) inspections: AtomicU64,
    pub(super) no_server: AtomicBool,
    /// What it says that it ended.
    pub(super) ended: Mutex<Ended>,
    /// What it says that it ended before, once.
    pub(super) earlier: Mutex<Vec<Step>>,
    /// Whether it does not come back from a state until it is released.
    pub(super) hangs: AtomicBool,
    pub(super) released: Notify,
}

impl Peer {
    pub(super) fn states(&self) -> Vec<Arc<ControlState>> {
        self.states.lock().unwrap().clone()
    }

    pub(super) fn newest(&self) -> Arc<ControlState> {
        self.states().pop().unwrap()
    }

    /// Waits until it has a state at `revision`, for one that nobody else waits for.
    pub(super) async fn reaches(&self, revision: Revision) {
        while self.newest().revision < revision {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until it was given more than `before` states.
    pub(super) async fn is_asked_after(&self, before: u64) {
        while self.asked.load(Ordering::SeqCst) <= before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Whether the newest state cuts off what was minted at `minted` under the subject.
    pub(super) fn cuts(&self, subject: &Subject, minted: Revision) -> bool {
        let newest = self.newest();
        newest.cutoffs.iter().any(|cut| cut.covers(subject, minted))
    }
}

fn no_answer() -> LinkError {
    LinkError {
        peer: "gateway",
        reason: "silent".to_owned(),
    }
}

#[async_trait]
impl Enforce for Peer {
    async fn inspect(&self, _: Name, _: ServerSpec) -> Result<Vec<ToolPin>, InspectError> {
        self.inspections.fetch_add(1, Ordering::SeqCst);
        if self.no_server.load(Ordering::SeqCst) {
            return Err(InspectError::Start("no such file".to_owned()));
        }
        Ok(vec![pin("git_log"), pin("git_show")])
    }

    async fn apply(&self, state: Arc<ControlState>) -> Result<Applied, EnforceError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            self.released.notified().await;
        }
        let misses = self.misses.load(Ordering::SeqCst);
        if self.silent.load(Ordering::SeqCst) || misses > 0 {
            self.misses
                .store(misses.saturating_sub(1), Ordering::SeqCst);
            return Err(no_answer().into());
        }
        let revision = state.revision;
        if self.unusable.load(Ordering::SeqCst) {
            let reason = "no".to_owned();
            return Err(EnforceError::Unusable { revision, reason });
        }
        self.states.lock().unwrap().push(state);
        let ended = self.ended.lock().unwrap().clone();
        let earlier = std::mem::take(&mut *self.earlier.lock().unwrap());
        Ok(Applied {
            revision,
            ended,
            earlier,
        })
    }
}

/// A node that keeps every cut that it was told of.
#[derive(Default)]
pub(super) struct Walls {
    cuts: Mutex<Vec<Cut>>,
    /// How often it was told to reset its doors.
    pub(super) resets: AtomicU64,
    /// What it says that it has.
    pub(super) held: Mutex<Vec<Id<Instance>>>,
    /// Whether it does not come back from a cut until it is released.
    pub(super) hangs: AtomicBool,
    pub(super) released: Notify,
}

impl Walls {
    /// The instances that it was told to end, in the order of telling.
    pub(super) fn ended(&self) -> Vec<Id<Instance>> {
        let cuts = self.cuts.lock().unwrap();
        cuts.iter().flat_map(|cut| cut.instances.clone()).collect()
    }

    /// The gateways that it was told of last.
    pub(super) fn gateways(&self) -> Vec<String> {
        self.cuts.lock().unwrap().last().unwrap().gateways.clone()
    }

    /// The revision of the last cut.
    pub(super) fn newest(&self) -> Revision {
        self.cuts.lock().unwrap().last().unwrap().revision
    }
}

#[async_trait]
impl Vouch for Walls {
    async fn end(&self, cut: Cut) -> Result<Ended, LinkError> {
        self.resets.fetch_add(cut.doors.into(), Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            self.released.notified().await;
        }
        let instances = u32::try_from(cut.instances.len()).unwrap();
        self.cuts.lock().unwrap().push(cut);
        Ok(Ended {
            instances,
            ..Ended::default()
        })
    }

    async fn held(&self) -> Result<Vec<Id<Instance>>, LinkError> {
        Ok(self.held.lock().unwrap().clone())
    }
}

pub(super) fn pin(name: &str) -> ToolPin {
    ToolPin {
        name: name.to_owned(),
        digest: sha256(name.as_bytes()),
        input_schema: r#"{"properties":{"repo_path":{"type":"string"}},"type":"object"}"#
            .to_owned(),
        description: format!("the tool {name}"),
    }
}
