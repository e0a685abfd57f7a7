//! People who answer.

use std::sync::Arc;

use aims_crypto::SigningKey;
use aims_jose::{SigningHeader, sign};
use aims_model::Approval;
use aims_model::approval::{APPROVAL_TYP, Answer, Stage};
use aims_types::{self as types, Clock, Id};

use super::{World, approver, domain, kid};

impl World {
    /// The `n`-th request for approval, when it has been made.
    pub(crate) async fn asked(&self, n: usize) -> Approval {
        loop {
            if let Some(approval) = self.control.approvals.lock().unwrap().get(n) {
                return approval.clone();
            }
            tokio::task::yield_now().await;
        }
    }

    /// How many requests for approval there were.
    pub(crate) fn questions(&self) -> usize {
        self.control.approvals.lock().unwrap().len()
    }

    /// What a person says who approves.
    pub(crate) fn answer(&self, to: &Approval, by: Id<types::Person>) -> Answer {
        Answer {
            person: by,
            audience: domain(),
            issued_at: self.clock.now(),
            approval: to.id,
            digest: to.digest,
            approve: true,
            reason: String::new(),
        }
    }

    /// The server takes an approval over as it stands, and tells the gateway of those that are
    /// approved.
    pub(crate) async fn set(&self, id: Id<types::Approval>, stage: Stage) {
        let approved: Vec<Approval> = {
            let mut approvals = self.control.approvals.lock().unwrap();
            approvals.iter_mut().find(|one| one.id == id).unwrap().stage = stage;
            let approved = approvals
                .iter()
                .filter(|one| matches!(one.stage, Stage::Approved { .. }));
            approved.cloned().collect()
        };
        self.change(|state| state.approvals = Arc::new(approved))
            .await;
    }

    /// The approver approves.
    pub(crate) async fn approve(&self, approval: &Approval) {
        let by = approver();
        let answer = self.answer(approval, by);
        self.approve_with(approval, by, &answer, &self.keys.approver)
            .await;
    }

    /// The server says that `by` approved with this answer, signed with this key.
    pub(crate) async fn approve_with(
        &self,
        approval: &Approval,
        by: Id<types::Person>,
        answer: &Answer,
        key: &SigningKey,
    ) {
        let header = SigningHeader::new(APPROVAL_TYP).kid(kid(key));
        let answer = sign(&header, &answer.to_claims().unwrap(), key).unwrap();
        let at = self.clock.now();
        self.set(approval.id, Stage::Approved { at, by, answer })
            .await;
    }
}
