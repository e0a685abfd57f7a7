//! The server as a gateway sees it, in memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aims_json::Value;
use aims_lease::Terms;
use aims_links::{
    Attestation, Chain, Control, CredentialAsk, CredentialLease, DelegateCall, EndedInstance,
    InstanceGrant, LaunchOrder, LeaseAsk, LeaseGrant, LinkError, OwnedTree, Refusal, RequestedRun,
    ShippedRecord, TokenCall, TokenReply, TreeClaim, TreeGrant,
};
use aims_model::approval::{APPROVAL_LIFE_SECS, Asked, Stage};
use aims_model::{Approval, Event, EventKind, Evidence, Record};
use aims_types::{self as types, Clock, Digest, Id, Revision};
use async_trait::async_trait;

use super::FakeClock;
use super::book::Book;

/// The server: chains, records, and requests for approval.
#[derive(Default)]
pub(crate) struct FakeControl {
    pub(crate) chains: Mutex<Vec<(Digest, Chain)>>,
    pub(crate) records: Mutex<Vec<Vec<u8>>>,
    pub(crate) approvals: Mutex<Vec<Approval>>,
    pub(crate) down: AtomicBool,
    /// The clock that the whole domain goes by.
    pub(crate) clock: Arc<FakeClock>,
    /// Who owns what, if there are several gateways.
    pub(crate) book: Mutex<Option<Book>>,
    revision: AtomicU64,
    /// The credentials of upstreams, by what is asked for.
    pub(crate) credentials: Mutex<Vec<(CredentialAsk, CredentialLease)>>,
    /// How often one was asked for.
    pub(crate) leased: AtomicU64,
}

impl FakeControl {
    /// The newest state is at this revision.
    pub(crate) fn note_revision(&self, revision: Revision) {
        self.revision.store(revision.number(), Ordering::SeqCst);
    }

    /// An approval that an intent used is worth nothing any more.
    fn note_use(&self, event: &Event) {
        let text = |value: &Value, name: &str| value.get(name)?.as_str().map(str::to_owned);
        let body = Value::from(event.body.clone());
        let id = body.get("approval").and_then(|used| text(used, "id"));
        if let (EventKind::CallIntent, Some(id)) = (event.kind, id) {
            let mut approvals = self.approvals.lock().unwrap();
            let used = approvals.iter_mut().find(|one| one.id.to_string() == id);
            used.unwrap().stage = Stage::Used {
                at: event.at,
                decision: text(&body, "decision_id").unwrap().parse().unwrap(),
            };
        }
    }

    fn up(&self) -> Result<(), LinkError> {
        if self.down.load(Ordering::SeqCst) {
            return unused();
        }
        Ok(())
    }
}

pub(super) fn unused<T>() -> Result<T, LinkError> {
    Err(LinkError {
        peer: "server",
        reason: "nobody answers".to_owned(),
    })
}

#[async_trait]
impl Control for FakeControl {
    async fn run_redeem(&self, _: RequestedRun) -> Result<Result<LaunchOrder, Refusal>, LinkError> {
        unused()
    }

    async fn run_refused(
        &self,
        _: Id<types::Node>,
        _: Id<types::Run>,
        _: Refusal,
    ) -> Result<(), LinkError> {
        unused()
    }

    async fn delegate(&self, _: DelegateCall) -> Result<Result<LaunchOrder, Refusal>, LinkError> {
        unused()
    }

    async fn instance_attest(
        &self,
        _: Attestation,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        unused()
    }

    async fn instance_renew(
        &self,
        _: Id<types::Node>,
        _: Id<types::Instance>,
        _: Evidence,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        unused()
    }

    async fn instance_ended(&self, _: EndedInstance) -> Result<Result<(), Refusal>, LinkError> {
        unused()
    }

    async fn token(&self, _: TokenCall) -> Result<TokenReply, LinkError> {
        unused()
    }

    async fn chain(&self, leaf: Digest) -> Result<Option<Chain>, LinkError> {
        let chains = self.chains.lock().unwrap();
        Ok(chains
            .iter()
            .find(|(digest, _)| *digest == leaf)
            .map(|(_, chain)| chain.clone()))
    }

    async fn records_ship(
        &self,
        gateway: Id<types::Gateway>,
        shipped: Vec<ShippedRecord>,
    ) -> Result<u64, LinkError> {
        self.up()?;
        if let Some(book) = self.book.lock().unwrap().as_mut() {
            book.hears(gateway)?;
            return Ok(book.ship(gateway, shipped));
        }
        let mut records = self.records.lock().unwrap();
        for record in shipped {
            assert_eq!(
                record.seq,
                records.len() as u64 + 1,
                "no gap, nothing twice"
            );
            self.note_use(&Record::decode(&record.record).unwrap().event);
            records.push(record.record);
        }
        Ok(records.len() as u64)
    }

    async fn records_head(&self, gateway: Id<types::Gateway>) -> Result<u64, LinkError> {
        self.up()?;
        if let Some(book) = self.book.lock().unwrap().as_ref() {
            book.hears(gateway)?;
            return Ok(book.head(gateway));
        }
        Ok(self.records.lock().unwrap().len() as u64)
    }

    async fn lease_renew(&self, ask: LeaseAsk) -> Result<Result<LeaseGrant, Refusal>, LinkError> {
        self.up()?;
        if let Some(book) = self.book.lock().unwrap().as_mut() {
            book.renew(&ask, self.clock.boot())?;
        }
        Ok(Ok(LeaseGrant {
            length: Terms::default().length(),
            revision: Revision::new(self.revision.load(Ordering::SeqCst)),
            server_time: self.clock.now(),
        }))
    }

    async fn approval_ask(
        &self,
        _: Id<types::Gateway>,
        asked: Asked,
    ) -> Result<Result<Approval, Refusal>, LinkError> {
        self.up()?;
        let digest = asked.digest().unwrap();
        let mut approvals = self.approvals.lock().unwrap();
        let open = |one: &&Approval| one.digest == digest && one.stage.is_open();
        if let Some(same) = approvals.iter().find(open) {
            return Ok(Ok(same.clone()));
        }
        let approval = Approval {
            id: Id::from_u128(5_000 + approvals.len() as u128),
            digest,
            asked,
            asked_at: self.clock.now(),
            deadline: self
                .clock
                .now()
                .plus(Duration::from_secs(APPROVAL_LIFE_SECS)),
            stage: Stage::Pending {},
        };
        approvals.push(approval.clone());
        Ok(Ok(approval))
    }

    async fn approval(&self, id: Id<types::Approval>) -> Result<Option<Approval>, LinkError> {
        self.up()?;
        let approvals = self.approvals.lock().unwrap();
        Ok(approvals.iter().find(|one| one.id == id).cloned())
    }

    async fn credential_lease(
        &self,
        _: Id<types::Gateway>,
        ask: CredentialAsk,
    ) -> Result<Result<CredentialLease, Refusal>, LinkError> {
        self.up()?;
        self.leased.fetch_add(1, Ordering::SeqCst);
        let credentials = self.credentials.lock().unwrap();
        let found = credentials.iter().find(|(of, _)| *of == ask);
        Ok(found.map(|(_, lease)| lease.clone()).ok_or(Refusal {
            code: "old_version".into(),
            reason: "that version is not in force".to_owned(),
            gaps: Vec::new(),
        }))
    }

    async fn tree_claim(
        &self,
        gateway: Id<types::Gateway>,
        task: Id<types::Task>,
    ) -> Result<TreeClaim, LinkError> {
        self.up()?;
        if let Some(book) = self.book.lock().unwrap().as_mut() {
            let revision = Revision::new(self.revision.load(Ordering::SeqCst));
            return book.claim((gateway, task), self.clock.boot(), revision);
        }
        // There is one gateway, which owns every tree.
        Ok(TreeClaim::Owned(TreeGrant {
            epoch: 1,
            before: true,
            window: aims_lease::WINDOW_MAX,
            revision: Revision::ZERO,
            unaccounted: Vec::new(),
        }))
    }

    async fn tree_release(
        &self,
        gateway: Id<types::Gateway>,
        trees: Vec<OwnedTree>,
    ) -> Result<(), LinkError> {
        self.up()?;
        if let Some(book) = self.book.lock().unwrap().as_mut() {
            book.hears(gateway)?;
            book.release(gateway, &trees);
        }
        Ok(())
    }

    async fn task_records(
        &self,
        _: Id<types::Gateway>,
        task: Id<types::Task>,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, LinkError> {
        self.up()?;
        if let Some(book) = self.book.lock().unwrap().as_ref() {
            return Ok(book.task_records(task, skip, limit));
        }
        let records = self.records.lock().unwrap();
        let about = |record: &&Vec<u8>| Record::decode(record).unwrap().event.task == Some(task);
        let about = records.iter().filter(about).cloned();
        let (skip, limit) = (
            usize::try_from(skip).unwrap(),
            usize::try_from(limit).unwrap(),
        );
        Ok(about.skip(skip).take(limit).collect())
    }
}
