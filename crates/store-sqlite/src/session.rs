//! One transaction on one connection: a snapshot to read from, or a change under way.

use std::sync::Arc;

use aims_model::{
    Agent, Approval, CutOff, EnrolledKey, Event, Instance, JoinToken, KeyPurpose, LeaseRow, Person,
    Point, PolicyVersion, RecordName, Run, Service, ServiceInstance, Task, ToolServer, TreeOwner,
    Upstream,
};
use aims_store::{
    Domain, Error, LogEntry, LogHead, MaterialKeyRow, Reader, ReplayKind, SEALED_KEY_LEN,
    SealedMaterial, SourceHead, StoredCredential, StoredGrant, Txn,
};
use aims_types::{self as types, Digest, Id, Name, Revision, Timestamp};
use async_trait::async_trait;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::disk::Disk;
use crate::journal::Journal;
use crate::sql::{failed, uncommitted};
use crate::tables::{
    agents, approvals, cutoffs, grants, heads, instances, join_tokens, keys, leases, log,
    materials, people, policies, replays, runs, servers, services, tasks, tree_owners, upstreams,
};

/// A transaction. Dropping it rolls back.
pub(crate) struct Session {
    tx: Transaction<'static, Sqlite>,
    /// The revision, once taken.
    revision: Option<Revision>,
    /// Whether the transaction is known to be open and whole. False while a statement runs, so that
    /// a dropped call leaves it false.
    usable: bool,
    /// How many operations were done, rows of the log counted one by one.
    operations: u64,
    disk: Disk,
    /// Where a change is counted; none of a look-up.
    journal: Option<Arc<Journal>>,
}

/// A statement failed before, so the transaction may be gone or incomplete.
#[derive(Debug, thiserror::Error)]
#[error("the transaction failed before and is over; begin another one")]
struct Over;

/// Runs one operation of a table on the session's connection.
macro_rules! run {
    ($self:ident, $operation:path $(, $argument:expr)*) => {{
        let result = $operation($self.enter()? $(, $argument)*).await;
        $self.leave(result)
    }};
}

impl Session {
    /// A snapshot of what is committed now.
    pub(crate) async fn reading(pool: &SqlitePool, disk: &Disk) -> Result<Self, Error> {
        let tx = pool.begin_with("BEGIN DEFERRED").await.map_err(failed)?;
        let mut session = Self::new(tx, disk, None);
        // SQLite takes the snapshot at the first look-up, not at BEGIN.
        session.revision().await?;
        Ok(session)
    }

    /// A change. Waits for the one under way.
    pub(crate) async fn writing(
        pool: &SqlitePool,
        disk: &Disk,
        journal: Arc<Journal>,
    ) -> Result<Self, Error> {
        let begun = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed);
        let tx = begun.inspect_err(|error| disk.judge(error))?;
        Ok(Self::new(tx, disk, Some(journal)))
    }

    fn new(tx: Transaction<'static, Sqlite>, disk: &Disk, journal: Option<Arc<Journal>>) -> Self {
        Self {
            tx,
            revision: None,
            usable: true,
            operations: 0,
            disk: disk.clone(),
            journal,
        }
    }

    fn enter(&mut self) -> Result<&mut SqliteConnection, Error> {
        if !self.usable {
            return Err(Error::Unavailable(Box::new(Over)));
        }
        self.usable = false;
        self.operations += 1;
        Ok(&mut self.tx)
    }

    fn leave<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        use Error::{Broken, Duplicate, Raced};
        if let Err(error) = &result {
            self.disk.judge(error);
        }
        self.usable = matches!(
            result,
            Ok(_) | Err(Broken { .. } | Duplicate { .. } | Raced)
        );
        result
    }
}

#[async_trait]
impl Reader for Session {
    async fn domain(&mut self) -> Result<Option<Domain>, Error> {
        run!(self, heads::domain)
    }

    async fn revision(&mut self) -> Result<Revision, Error> {
        run!(self, heads::revision)
    }

    async fn person(&mut self, id: Id<types::Person>) -> Result<Option<Person>, Error> {
        run!(self, people::by_id, id)
    }

    async fn person_by_name(&mut self, name: &Name) -> Result<Option<Person>, Error> {
        run!(self, people::by_name, name)
    }

    async fn people(&mut self) -> Result<Vec<Person>, Error> {
        run!(self, people::all)
    }

    async fn key(&mut self, kid: &str) -> Result<Option<EnrolledKey>, Error> {
        run!(self, keys::by_kid, kid)
    }

    async fn keys(&mut self, purpose: KeyPurpose) -> Result<Vec<EnrolledKey>, Error> {
        run!(self, keys::by_purpose, purpose)
    }

    async fn agent(&mut self, id: Id<types::Agent>) -> Result<Option<Agent>, Error> {
        run!(self, agents::by_id, id)
    }

    async fn agent_by_name(&mut self, name: &Name) -> Result<Option<Agent>, Error> {
        run!(self, agents::by_name, name)
    }

    async fn agents(&mut self) -> Result<Vec<Agent>, Error> {
        run!(self, agents::all)
    }

    async fn server_by_name(&mut self, name: &Name) -> Result<Option<ToolServer>, Error> {
        run!(self, servers::by_name, name)
    }

    async fn servers(&mut self) -> Result<Vec<ToolServer>, Error> {
        run!(self, servers::all)
    }

    async fn service(&mut self, id: Id<types::Service>) -> Result<Option<Service>, Error> {
        run!(self, services::by_id, id)
    }

    async fn service_by_name(&mut self, name: &Name) -> Result<Option<Service>, Error> {
        run!(self, services::by_name, name)
    }

    async fn services(&mut self) -> Result<Vec<Service>, Error> {
        run!(self, services::all)
    }

    async fn service_instance(
        &mut self,
        id: Id<types::Instance>,
    ) -> Result<Option<ServiceInstance>, Error> {
        run!(self, services::instance, id)
    }

    async fn service_instances_of_process(
        &mut self,
        process: &str,
    ) -> Result<Vec<ServiceInstance>, Error> {
        run!(self, services::instances_of_process, process)
    }

    async fn service_instances_live(&mut self) -> Result<Vec<ServiceInstance>, Error> {
        run!(self, services::instances_live)
    }

    async fn upstream_by_name(&mut self, name: &Name) -> Result<Option<Upstream>, Error> {
        run!(self, upstreams::by_name, name)
    }

    async fn upstream(&mut self, id: Id<types::Upstream>) -> Result<Option<Upstream>, Error> {
        run!(self, upstreams::by_id, id)
    }

    async fn upstreams(&mut self) -> Result<Vec<Upstream>, Error> {
        run!(self, upstreams::all)
    }

    async fn credential(
        &mut self,
        upstream: Id<types::Upstream>,
    ) -> Result<Option<StoredCredential>, Error> {
        run!(self, upstreams::credential, upstream)
    }

    async fn policy_current(&mut self) -> Result<Option<PolicyVersion>, Error> {
        run!(self, policies::current)
    }

    async fn policy(&mut self, id: Id<types::Policy>) -> Result<Option<PolicyVersion>, Error> {
        run!(self, policies::by_id, id)
    }

    async fn task(&mut self, id: Id<types::Task>) -> Result<Option<Task>, Error> {
        run!(self, tasks::by_id, id)
    }

    async fn tasks(&mut self, limit: u32) -> Result<Vec<Task>, Error> {
        run!(self, tasks::newest, limit)
    }

    async fn grant(&mut self, digest: &Digest) -> Result<Option<StoredGrant>, Error> {
        run!(self, grants::by_digest, digest)
    }

    async fn grant_by_id(
        &mut self,
        id: Id<types::Delegation>,
    ) -> Result<Option<StoredGrant>, Error> {
        run!(self, grants::by_id, id)
    }

    async fn run(&mut self, id: Id<types::Run>) -> Result<Option<Run>, Error> {
        run!(self, runs::by_id, id)
    }

    async fn run_by_ticket(&mut self, ticket: &Digest) -> Result<Option<Run>, Error> {
        run!(self, runs::by_ticket, ticket)
    }

    async fn instance(&mut self, id: Id<types::Instance>) -> Result<Option<Instance>, Error> {
        run!(self, instances::by_id, id)
    }

    async fn instances_of_task(&mut self, task: Id<types::Task>) -> Result<Vec<Instance>, Error> {
        run!(self, instances::of_task, task)
    }

    async fn instances_live(&mut self) -> Result<Vec<Instance>, Error> {
        run!(self, instances::live)
    }

    async fn grants_of_task(&mut self, task: Id<types::Task>) -> Result<Vec<StoredGrant>, Error> {
        run!(self, grants::of_task, task)
    }

    async fn approval(&mut self, id: Id<types::Approval>) -> Result<Option<Approval>, Error> {
        run!(self, approvals::by_id, id)
    }

    async fn approvals_open(&mut self) -> Result<Vec<Approval>, Error> {
        run!(self, approvals::open)
    }

    async fn approvals(&mut self, limit: u32) -> Result<Vec<Approval>, Error> {
        run!(self, approvals::newest, limit)
    }

    async fn join_token(&mut self, digest: &Digest) -> Result<Option<JoinToken>, Error> {
        run!(self, join_tokens::by_digest, digest)
    }

    async fn lease(&mut self, point: Point) -> Result<Option<LeaseRow>, Error> {
        run!(self, leases::by_point, point)
    }

    async fn leases(&mut self) -> Result<Vec<LeaseRow>, Error> {
        run!(self, leases::all)
    }

    async fn tree_owner(&mut self, task: Id<types::Task>) -> Result<Option<TreeOwner>, Error> {
        run!(self, tree_owners::by_task, task)
    }

    async fn tree_owners_without(
        &mut self,
        gateway: Id<types::Gateway>,
        limit: u32,
    ) -> Result<Vec<TreeOwner>, Error> {
        run!(self, tree_owners::without, gateway, limit)
    }

    async fn cutoffs(&mut self) -> Result<Vec<CutOff>, Error> {
        run!(self, cutoffs::all)
    }

    async fn outbox_after(&mut self, after: u64, limit: u32) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        run!(self, heads::outbox_after, after, limit)
    }

    async fn log_head(&mut self) -> Result<Option<LogHead>, Error> {
        run!(self, log::head)
    }

    async fn log_sources(&mut self) -> Result<Vec<SourceHead>, Error> {
        run!(self, log::sources)
    }

    async fn log_entries(&mut self, from: u64, limit: u32) -> Result<Vec<LogEntry>, Error> {
        run!(self, log::entries, from, limit)
    }

    async fn log_entry_named(
        &mut self,
        name: &RecordName,
        task: Option<Id<types::Task>>,
    ) -> Result<Option<LogEntry>, Error> {
        run!(self, log::entry_named, name, task)
    }

    async fn log_entries_of_task(
        &mut self,
        task: Id<types::Task>,
        from: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, Error> {
        run!(self, log::entries_of_task, task, from, limit)
    }

    async fn log_entries_of_gateways(
        &mut self,
        task: Id<types::Task>,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, Error> {
        run!(self, log::entries_of_gateways, task, skip, limit)
    }

    async fn material(&mut self, commitment: &Digest) -> Result<Option<SealedMaterial>, Error> {
        run!(self, materials::by_commitment, commitment)
    }

    async fn material_key(
        &mut self,
        task: Id<types::Task>,
    ) -> Result<Option<MaterialKeyRow>, Error> {
        run!(self, materials::key, task)
    }
}

#[async_trait]
impl Txn for Session {
    async fn revision_next(&mut self) -> Result<Revision, Error> {
        if let Some(revision) = self.revision {
            return Ok(revision);
        }
        let revision = run!(self, heads::revision_next)?;
        self.revision = Some(revision);
        Ok(revision)
    }

    async fn domain_insert(&mut self, domain: &Domain) -> Result<(), Error> {
        run!(self, heads::domain_insert, domain)
    }

    async fn person_insert(&mut self, person: &Person) -> Result<(), Error> {
        run!(self, people::insert, person)
    }

    async fn person_update(&mut self, person: &Person) -> Result<(), Error> {
        run!(self, people::update, person)
    }

    async fn key_insert(&mut self, key: &EnrolledKey) -> Result<(), Error> {
        run!(self, keys::insert, key)
    }

    async fn key_update(&mut self, key: &EnrolledKey) -> Result<(), Error> {
        run!(self, keys::update, key)
    }

    async fn agent_insert(&mut self, agent: &Agent) -> Result<(), Error> {
        run!(self, agents::insert, agent)
    }

    async fn agent_update(&mut self, agent: &Agent) -> Result<(), Error> {
        run!(self, agents::update, agent)
    }

    async fn server_insert(&mut self, server: &ToolServer) -> Result<(), Error> {
        run!(self, servers::insert, server)
    }

    async fn service_insert(&mut self, service: &Service) -> Result<(), Error> {
        run!(self, services::insert, service)
    }

    async fn service_update(&mut self, service: &Service) -> Result<(), Error> {
        run!(self, services::update, service)
    }

    async fn service_instance_insert(&mut self, instance: &ServiceInstance) -> Result<(), Error> {
        run!(self, services::instance_insert, instance)
    }

    async fn service_instance_update(&mut self, instance: &ServiceInstance) -> Result<(), Error> {
        run!(self, services::instance_update, instance)
    }

    async fn upstream_insert(&mut self, upstream: &Upstream) -> Result<(), Error> {
        run!(self, upstreams::insert, upstream)
    }

    async fn upstream_update(&mut self, upstream: &Upstream) -> Result<(), Error> {
        run!(self, upstreams::update, upstream)
    }

    async fn credential_put(&mut self, credential: &StoredCredential) -> Result<(), Error> {
        run!(self, upstreams::put, credential)
    }

    async fn credential_remove(&mut self, upstream: Id<types::Upstream>) -> Result<(), Error> {
        run!(self, upstreams::forget, upstream)
    }

    async fn policy_insert(&mut self, policy: &PolicyVersion) -> Result<(), Error> {
        run!(self, policies::insert, policy)
    }

    async fn task_insert(&mut self, task: &Task) -> Result<(), Error> {
        run!(self, tasks::insert, task)
    }

    async fn task_update(&mut self, task: &Task) -> Result<(), Error> {
        run!(self, tasks::update, task)
    }

    async fn grant_insert(&mut self, grant: &StoredGrant) -> Result<(), Error> {
        run!(self, grants::insert, grant)
    }

    async fn run_insert(&mut self, run: &Run) -> Result<(), Error> {
        run!(self, runs::insert, run)
    }

    async fn run_update(&mut self, run: &Run) -> Result<(), Error> {
        run!(self, runs::update, run)
    }

    async fn instance_insert(&mut self, instance: &Instance) -> Result<(), Error> {
        run!(self, instances::insert, instance)
    }

    async fn instance_update(&mut self, instance: &Instance) -> Result<(), Error> {
        run!(self, instances::update, instance)
    }

    async fn approval_insert(&mut self, approval: &Approval) -> Result<(), Error> {
        run!(self, approvals::insert, approval)
    }

    async fn approval_update(&mut self, approval: &Approval) -> Result<(), Error> {
        run!(self, approvals::update, approval)
    }

    async fn join_token_insert(&mut self, token: &JoinToken) -> Result<(), Error> {
        run!(self, join_tokens::insert, token)
    }

    async fn join_token_update(&mut self, token: &JoinToken) -> Result<(), Error> {
        run!(self, join_tokens::update, token)
    }

    async fn lease_put(&mut self, lease: &LeaseRow) -> Result<(), Error> {
        run!(self, leases::put, lease)
    }

    async fn lease_remove(&mut self, point: Point) -> Result<(), Error> {
        run!(self, leases::remove, point)
    }

    async fn tree_owner_put(&mut self, owner: &TreeOwner) -> Result<(), Error> {
        run!(self, tree_owners::put, owner)
    }

    async fn tree_accounted(
        &mut self,
        task: Id<types::Task>,
        gateway: Id<types::Gateway>,
    ) -> Result<(), Error> {
        run!(self, tree_owners::accounted, task, gateway)
    }

    async fn cutoff_insert(&mut self, cutoff: &CutOff) -> Result<(), Error> {
        run!(self, cutoffs::insert, cutoff)
    }

    async fn replay_insert(
        &mut self,
        kind: ReplayKind,
        value: &Digest,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<bool, Error> {
        run!(self, replays::insert, kind, value, now, expires_at)
    }

    async fn log_append(
        &mut self,
        expected: Option<&LogHead>,
        entries: &[LogEntry],
        head: &LogHead,
    ) -> Result<(), Error> {
        self.operations = self.operations.saturating_add(entries.len() as u64);
        run!(self, log::append, expected, entries, head)
    }

    async fn material_key_insert(
        &mut self,
        task: Id<types::Task>,
        sealed: &[u8; SEALED_KEY_LEN],
    ) -> Result<(), Error> {
        run!(self, materials::insert_key, task, sealed)
    }

    async fn material_insert(&mut self, material: &SealedMaterial) -> Result<(), Error> {
        run!(self, materials::insert, material)
    }

    async fn task_erase(&mut self, task: Id<types::Task>) -> Result<Option<u64>, Error> {
        run!(self, materials::erase, task)
    }

    async fn commit(mut self: Box<Self>, events: Vec<Event>) -> Result<(), Error> {
        run!(self, heads::outbox_append, &events)?;
        let committed = self.tx.commit().await.map_err(uncommitted);
        match (&committed, &self.journal) {
            (Ok(()), Some(journal)) => journal.grown(self.operations),
            (Ok(()), None) => {}
            (Err(error), _) => self.disk.judge(error),
        }
        committed
    }
}
