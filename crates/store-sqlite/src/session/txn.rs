//! What can be changed: each change, handed to the table that makes it.

use aims_model::{
    Agent, Approval, CutOff, EnrolledKey, Event, Instance, JoinToken, LeaseRow, Person, Point,
    PolicyVersion, Run, Service, ServiceInstance, Task, ToolServer, TreeOwner, Upstream,
};
use aims_store::{
    Domain, Error, LogEntry, LogHead, ReplayKind, SEALED_KEY_LEN, SealedMaterial, StoredCredential,
    StoredGrant, Txn,
};
use aims_types::{self as types, Digest, Id, Revision, Timestamp};
use async_trait::async_trait;

use super::Session;
use crate::sql::uncommitted;
use crate::tables::{
    agents, approvals, cutoffs, grants, heads, instances, join_tokens, keys, leases, log,
    materials, people, policies, replays, runs, servers, services, tasks, tree_owners, upstreams,
};

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
