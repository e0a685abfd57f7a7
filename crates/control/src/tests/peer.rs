//! A gateway as a small peer of its own: it keeps what it was given and fails when told to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aims_crypto::sha256;
use aims_links::{
    Body, ConnectReply, ControlState, Enforce, EnforceError, InspectError, LinkError,
};
use aims_model::{ServerSpec, Subject, ToolPin};
use aims_types::{Name, Revision};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

/// A gateway that keeps every state that it was given.
#[derive(Default)]
pub(super) struct Peer {
    states: Mutex<Vec<Arc<ControlState>>>,
    pub(super) silent: AtomicBool,
    /// How many more states it does not answer.
    pub(super) misses: AtomicU64,
    pub(super) unusable: AtomicBool,
    pub(super) inspections: AtomicU64,
    pub(super) no_server: AtomicBool,
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
    async fn http(&self, _: http::Request<Bytes>) -> Result<http::Response<Body>, LinkError> {
        Err(no_answer())
    }

    async fn connect(&self, _: http::Request<()>) -> Result<ConnectReply, LinkError> {
        Err(no_answer())
    }

    async fn inspect(&self, _: Name, _: ServerSpec) -> Result<Vec<ToolPin>, InspectError> {
        self.inspections.fetch_add(1, Ordering::SeqCst);
        if self.no_server.load(Ordering::SeqCst) {
            return Err(InspectError::Start("no such file".to_owned()));
        }
        Ok(vec![pin("git_log"), pin("git_show")])
    }

    async fn apply(&self, state: Arc<ControlState>) -> Result<Revision, EnforceError> {
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
        Ok(revision)
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
