//! What can be looked up: each look-up, handed to the table that answers it.

use aims_model::{
    Agent, Approval, CutOff, EnrolledKey, Instance, JoinToken, KeyPurpose, LeaseRow, Person, Point,
    PolicyVersion, RecordName, Run, Service, ServiceInstance, Task, ToolServer, TreeOwner,
    Upstream,
};
use aims_store::{
    Domain, Error, LogEntry, LogHead, MaterialKeyRow, Reader, SealedMaterial, SourceHead,
    StoredCredential, StoredGrant,
};
use aims_types::{self as types, Digest, Id, Name, Revision};
use async_trait::async_trait;

use super::Session;
use crate::tables::{
    agents, approvals, cutoffs, grants, heads, instances, join_tokens, keys, leases, log,
    materials, people, policies, runs, servers, services, tasks, tree_owners, upstreams,
};

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
