//! The traits and the values that only storage has.

use aims_model::{
    Agent, Approval, CutOff, EnrolledKey, Event, Instance, JoinToken, KeyPurpose, LeaseRow, Person,
    Point, PolicyVersion, RecordName, Run, Service, ServiceInstance, Source, Task, ToolServer,
    TreeOwner, Upstream,
};
use aims_types::{self as types, Digest, Id, Name, Revision, Timestamp, TrustDomain};
use async_trait::async_trait;

use crate::Error;

/// The trust domain that a store belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its name.
    pub trust_domain: TrustDomain,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A signed grant as it was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredGrant {
    /// Identity of the hop.
    pub id: Id<types::Delegation>,
    /// SHA-256 of the JWS; how a token's chain names it.
    pub digest: Digest,
    /// The task it serves.
    pub task: Id<types::Task>,
    /// The compact JWS.
    pub jws: String,
}

/// The credential of an upstream: sealed under a data key, which is sealed under the master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCredential {
    /// The upstream.
    pub upstream: Id<types::Upstream>,
    /// Its version.
    pub version: u32,
    /// The data key, sealed.
    pub wrapped_key: Vec<u8>,
    /// The credential, sealed under the data key for [`Upstream::binding`].
    pub sealed: Vec<u8>,
}

/// What a single-use value was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayKind {
    /// `jti` of a client assertion or authorization grant (RFC 7523 §3).
    Assertion,
    /// `jti` of a DPoP proof (RFC 9449 §11.1).
    DpopProof,
    /// `jti` of a consent.
    Consent,
    /// `jti` of an instance's request to delegate.
    Delegation,
}

/// The newest checkpoint of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHead {
    /// Number of entries.
    pub size: u64,
    /// Merkle root (RFC 6962) over them.
    pub root: Digest,
    /// The signed checkpoint note.
    pub checkpoint: String,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Index in the tree, from 0.
    pub index: u64,
    /// Who wrote the record.
    pub source: Source,
    /// Its number within its source.
    pub seq: u64,
    /// The task it belongs to.
    pub task: Option<Id<types::Task>>,
    /// The record's canonical bytes: the leaf.
    pub record: Vec<u8>,
}

/// How far the log has taken in one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceHead {
    /// Whose records.
    pub source: Source,
    /// The last number that is in the log.
    pub seq: u64,
    /// Digest of that record.
    pub digest: Digest,
}

/// What a decision used, sealed under the key of its task; kept apart from the log so that it can
/// be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedMaterial {
    /// The task that it belongs to; the key of erasure.
    pub task: Id<types::Task>,
    /// The salted commitment that the record carries.
    pub commitment: Digest,
    /// Salt and canonical bytes, sealed.
    pub sealed: Vec<u8>,
}

/// The key of a task's materials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaterialKeyRow {
    /// It is here: [`SEALED_KEY_LEN`] bytes, sealed under the server's master key.
    Kept([u8; SEALED_KEY_LEN]),
    /// It was erased, for good.
    Erased,
}

/// Length of a sealed key: 32 bytes with a nonce of 12 and a tag of 16.
pub const SEALED_KEY_LEN: usize = 60;

/// Durable state.
#[async_trait]
pub trait Store: Send + Sync {
    /// A consistent view of the newest committed state: everything that was committed before the
    /// call is in it, and it does not change while it is held.
    async fn read(&self) -> Result<Box<dyn Reader>, Error>;
    /// A transaction. Dropping it undoes everything.
    async fn begin(&self) -> Result<Box<dyn Txn>, Error>;
    /// Makes keys that were erased before the call go from the engine's files. `false` if something
    /// that is under way still needs them there: nothing is lost, ask again.
    async fn scrub(&self) -> Result<bool, Error>;
}

/// Look-ups. Each returns what is committed, or, in a [`Txn`], also what it changed itself.
#[async_trait]
pub trait Reader: Send {
    /// The trust domain; `None` before initialisation.
    async fn domain(&mut self) -> Result<Option<Domain>, Error>;
    /// The newest revision.
    async fn revision(&mut self) -> Result<Revision, Error>;
    /// A person by id.
    async fn person(&mut self, id: Id<types::Person>) -> Result<Option<Person>, Error>;
    /// A person by name.
    async fn person_by_name(&mut self, name: &Name) -> Result<Option<Person>, Error>;
    /// Everybody, oldest first.
    async fn people(&mut self) -> Result<Vec<Person>, Error>;
    /// A key by its thumbprint.
    async fn key(&mut self, kid: &str) -> Result<Option<EnrolledKey>, Error>;
    /// All keys of a purpose, retired ones too, oldest first.
    async fn keys(&mut self, purpose: KeyPurpose) -> Result<Vec<EnrolledKey>, Error>;
    /// An agent by id.
    async fn agent(&mut self, id: Id<types::Agent>) -> Result<Option<Agent>, Error>;
    /// An agent by name, retired ones too.
    async fn agent_by_name(&mut self, name: &Name) -> Result<Option<Agent>, Error>;
    /// All agents, oldest first.
    async fn agents(&mut self) -> Result<Vec<Agent>, Error>;
    /// A tool server by name.
    async fn server_by_name(&mut self, name: &Name) -> Result<Option<ToolServer>, Error>;
    /// All tool servers, oldest first.
    async fn servers(&mut self) -> Result<Vec<ToolServer>, Error>;
    /// A service by id.
    async fn service(&mut self, id: Id<types::Service>) -> Result<Option<Service>, Error>;
    /// A service by name, retired ones too.
    async fn service_by_name(&mut self, name: &Name) -> Result<Option<Service>, Error>;
    /// All services, oldest first.
    async fn services(&mut self) -> Result<Vec<Service>, Error>;
    /// A process of a service by id.
    async fn service_instance(
        &mut self,
        id: Id<types::Instance>,
    ) -> Result<Option<ServiceInstance>, Error>;
    /// What a process ([`aims_model::ProcessSeen::process`]) is or was an instance of, oldest
    /// first.
    async fn service_instances_of_process(
        &mut self,
        process: &str,
    ) -> Result<Vec<ServiceInstance>, Error>;
    /// The processes of services that have not ended, oldest first.
    async fn service_instances_live(&mut self) -> Result<Vec<ServiceInstance>, Error>;
    /// An upstream by name, retired ones too.
    async fn upstream_by_name(&mut self, name: &Name) -> Result<Option<Upstream>, Error>;
    /// An upstream by id.
    async fn upstream(&mut self, id: Id<types::Upstream>) -> Result<Option<Upstream>, Error>;
    /// All upstreams, oldest first.
    async fn upstreams(&mut self) -> Result<Vec<Upstream>, Error>;
    /// The sealed credential of an upstream.
    async fn credential(
        &mut self,
        upstream: Id<types::Upstream>,
    ) -> Result<Option<StoredCredential>, Error>;
    /// The policy version in force.
    async fn policy_current(&mut self) -> Result<Option<PolicyVersion>, Error>;
    /// A policy version by id.
    async fn policy(&mut self, id: Id<types::Policy>) -> Result<Option<PolicyVersion>, Error>;
    /// A task by id.
    async fn task(&mut self, id: Id<types::Task>) -> Result<Option<Task>, Error>;
    /// The newest tasks, newest first, at most `limit`.
    async fn tasks(&mut self, limit: u32) -> Result<Vec<Task>, Error>;
    /// A grant by the digest of its JWS.
    async fn grant(&mut self, digest: &Digest) -> Result<Option<StoredGrant>, Error>;
    /// A grant by the id of its hop.
    async fn grant_by_id(
        &mut self,
        id: Id<types::Delegation>,
    ) -> Result<Option<StoredGrant>, Error>;
    /// A launch by id.
    async fn run(&mut self, id: Id<types::Run>) -> Result<Option<Run>, Error>;
    /// A launch by the digest of its ticket.
    async fn run_by_ticket(&mut self, ticket: &Digest) -> Result<Option<Run>, Error>;
    /// An instance by id.
    async fn instance(&mut self, id: Id<types::Instance>) -> Result<Option<Instance>, Error>;
    /// The instances of a task, oldest first.
    async fn instances_of_task(&mut self, task: Id<types::Task>) -> Result<Vec<Instance>, Error>;
    /// The instances that have not ended, oldest first.
    async fn instances_live(&mut self) -> Result<Vec<Instance>, Error>;
    /// The grants of a task, oldest first.
    async fn grants_of_task(&mut self, task: Id<types::Task>) -> Result<Vec<StoredGrant>, Error>;
    /// A request for approval by id.
    async fn approval(&mut self, id: Id<types::Approval>) -> Result<Option<Approval>, Error>;
    /// The requests for approval that are pending, or approved and not used, oldest first.
    async fn approvals_open(&mut self) -> Result<Vec<Approval>, Error>;
    /// The newest requests for approval of all stages, newest first, at most `limit`.
    async fn approvals(&mut self, limit: u32) -> Result<Vec<Approval>, Error>;
    /// A join token by its digest.
    async fn join_token(&mut self, digest: &Digest) -> Result<Option<JoinToken>, Error>;
    /// The lease of a node or gateway.
    async fn lease(&mut self, point: Point) -> Result<Option<LeaseRow>, Error>;
    /// All leases, in the order of their points.
    async fn leases(&mut self) -> Result<Vec<LeaseRow>, Error>;
    /// Who owns the delegation tree of a task.
    async fn tree_owner(&mut self, task: Id<types::Task>) -> Result<Option<TreeOwner>, Error>;
    /// The owners of the trees for which a gateway is unaccounted, in the order of their tasks, at
    /// most `limit`.
    async fn tree_owners_without(
        &mut self,
        gateway: Id<types::Gateway>,
        limit: u32,
    ) -> Result<Vec<TreeOwner>, Error>;
    /// All cut-offs.
    async fn cutoffs(&mut self) -> Result<Vec<CutOff>, Error>;
    /// Records of the server's own outbox after number `after`, in order, at most `limit`.
    async fn outbox_after(&mut self, after: u64, limit: u32) -> Result<Vec<(u64, Vec<u8>)>, Error>;
    /// The newest checkpoint; `None` while the log is empty.
    async fn log_head(&mut self) -> Result<Option<LogHead>, Error>;
    /// How far each source is in the log.
    async fn log_sources(&mut self) -> Result<Vec<SourceHead>, Error>;
    /// Entries from index `from`, in order, at most `limit`.
    async fn log_entries(&mut self, from: u64, limit: u32) -> Result<Vec<LogEntry>, Error>;
    /// The first entry with the name; with a task, the first of that task. What
    /// [`RecordName::all_of`] says of its record are the names of an entry, whoever appended it.
    async fn log_entry_named(
        &mut self,
        name: &RecordName,
        task: Option<Id<types::Task>>,
    ) -> Result<Option<LogEntry>, Error>;
    /// The entries of a task from index `from`, in order, at most `limit`.
    async fn log_entries_of_task(
        &mut self,
        task: Id<types::Task>,
        from: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, Error>;
    /// The entries of a task that gateways wrote, in order, after the first `skip` of them, at most
    /// `limit`.
    async fn log_entries_of_gateways(
        &mut self,
        task: Id<types::Task>,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, Error>;
    /// What a decision used, by its commitment; `None` if it never was or is erased.
    async fn material(&mut self, commitment: &Digest) -> Result<Option<SealedMaterial>, Error>;
    /// The key of a task's materials; `None` if there never was one.
    async fn material_key(
        &mut self,
        task: Id<types::Task>,
    ) -> Result<Option<MaterialKeyRow>, Error>;
}

/// Changes. `insert` fails with [`Error::Duplicate`] if an id, name or other key is taken, and with
/// [`Error::Dangling`] if it refers to a person, agent, task or launch that is not there. `update`
/// replaces the row with the same id and fails with [`Error::Raced`] if there is none, or if the
/// stored one has another name or refers to other things: these never change.
///
/// After [`Error::Duplicate`], [`Error::Raced`] and [`Error::Broken`] the transaction is as it was
/// before the call and can go on. After any other error, and after a call whose future was dropped,
/// it can't: every further call fails, nothing of it is ever committed.
#[async_trait]
pub trait Txn: Reader {
    /// Takes the next revision, locking it until the transaction ends. Further calls return the
    /// same number.
    async fn revision_next(&mut self) -> Result<Revision, Error>;
    /// Creates the trust domain; once.
    async fn domain_insert(&mut self, domain: &Domain) -> Result<(), Error>;
    /// Enrols a person.
    async fn person_insert(&mut self, person: &Person) -> Result<(), Error>;
    /// Changes a person.
    async fn person_update(&mut self, person: &Person) -> Result<(), Error>;
    /// Enrols a key.
    async fn key_insert(&mut self, key: &EnrolledKey) -> Result<(), Error>;
    /// Changes a key, that is, retires it.
    async fn key_update(&mut self, key: &EnrolledKey) -> Result<(), Error>;
    /// Registers an agent.
    async fn agent_insert(&mut self, agent: &Agent) -> Result<(), Error>;
    /// Changes an agent.
    async fn agent_update(&mut self, agent: &Agent) -> Result<(), Error>;
    /// Registers a tool server.
    async fn server_insert(&mut self, server: &ToolServer) -> Result<(), Error>;
    /// Registers a service.
    async fn service_insert(&mut self, service: &Service) -> Result<(), Error>;
    /// Changes a service.
    async fn service_update(&mut self, service: &Service) -> Result<(), Error>;
    /// Stores a process of a service.
    async fn service_instance_insert(&mut self, instance: &ServiceInstance) -> Result<(), Error>;
    /// Changes a process of a service.
    async fn service_instance_update(&mut self, instance: &ServiceInstance) -> Result<(), Error>;
    /// Registers an upstream.
    async fn upstream_insert(&mut self, upstream: &Upstream) -> Result<(), Error>;
    /// Changes an upstream, that is, counts its credential on or retires it.
    async fn upstream_update(&mut self, upstream: &Upstream) -> Result<(), Error>;
    /// Stores the credential of an upstream, in place of the one before.
    async fn credential_put(&mut self, credential: &StoredCredential) -> Result<(), Error>;
    /// Forgets the credential of an upstream; nothing happens if there is none.
    async fn credential_remove(&mut self, upstream: Id<types::Upstream>) -> Result<(), Error>;
    /// Brings a policy version into force.
    async fn policy_insert(&mut self, policy: &PolicyVersion) -> Result<(), Error>;
    /// Starts a task.
    async fn task_insert(&mut self, task: &Task) -> Result<(), Error>;
    /// Changes a task.
    async fn task_update(&mut self, task: &Task) -> Result<(), Error>;
    /// Stores a signed grant.
    async fn grant_insert(&mut self, grant: &StoredGrant) -> Result<(), Error>;
    /// Stores a launch.
    async fn run_insert(&mut self, run: &Run) -> Result<(), Error>;
    /// Changes a launch.
    async fn run_update(&mut self, run: &Run) -> Result<(), Error>;
    /// Stores an instance.
    async fn instance_insert(&mut self, instance: &Instance) -> Result<(), Error>;
    /// Changes an instance.
    async fn instance_update(&mut self, instance: &Instance) -> Result<(), Error>;
    /// Stores a request for approval. At most one with the same digest is pending or approved:
    /// a second one fails with [`Error::Duplicate`].
    async fn approval_insert(&mut self, approval: &Approval) -> Result<(), Error>;
    /// Changes a request for approval that is pending or approved; fails with [`Error::Raced`] if
    /// it is not any more. Its digest and what is asked never change. A digest that is not that of
    /// what is asked is [`Error::Unstorable`].
    async fn approval_update(&mut self, approval: &Approval) -> Result<(), Error>;
    /// Stores a join token.
    async fn join_token_insert(&mut self, token: &JoinToken) -> Result<(), Error>;
    /// Changes a join token, that is, uses it up; fails with [`Error::Raced`] if it was used.
    async fn join_token_update(&mut self, token: &JoinToken) -> Result<(), Error>;
    /// Stores a lease, or replaces the one of the same point.
    async fn lease_put(&mut self, lease: &LeaseRow) -> Result<(), Error>;
    /// Forgets the lease of a point; nothing happens if there is none.
    async fn lease_remove(&mut self, point: Point) -> Result<(), Error>;
    /// Stores who owns a tree, or replaces the owner: fails with [`Error::Raced`] unless the new
    /// epoch is that of the stored row (the same owner, released), or one more. The first is 1.
    async fn tree_owner_put(&mut self, owner: &TreeOwner) -> Result<(), Error>;
    /// Forgets that a gateway is unaccounted for in the tree of a task; fails with
    /// [`Error::Raced`] if it is not.
    async fn tree_accounted(
        &mut self,
        task: Id<types::Task>,
        gateway: Id<types::Gateway>,
    ) -> Result<(), Error>;
    /// Adds a cut-off. Cut-offs are never changed or removed.
    async fn cutoff_insert(&mut self, cutoff: &CutOff) -> Result<(), Error>;
    /// Remembers a single-use value until `expires_at`, inclusive; `false` if it was used before.
    /// Forgets what expired before `now`.
    async fn replay_insert(
        &mut self,
        kind: ReplayKind,
        value: &Digest,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<bool, Error>;
    /// Moves the log from `expected` to `head` with `entries`, which continue it; compare-and-swap:
    /// fails with [`Error::Raced`] if the newest checkpoint is not `expected`, and with
    /// [`Error::Broken`] if the entries do not continue the log and each of its sources
    /// ([`crate::chain::extend`]).
    async fn log_append(
        &mut self,
        expected: Option<&LogHead>,
        entries: &[LogEntry],
        head: &LogHead,
    ) -> Result<(), Error>;
    /// Keeps the key of a task's materials; once, and never again after it was erased.
    async fn material_key_insert(
        &mut self,
        task: Id<types::Task>,
        sealed: &[u8; SEALED_KEY_LEN],
    ) -> Result<(), Error>;
    /// Keeps what a decision used. Keeping the same commitment again changes nothing. Fails with
    /// [`Error::Raced`] if the task has no key, or had one that was erased.
    async fn material_insert(&mut self, material: &SealedMaterial) -> Result<(), Error>;
    /// Erases the key of a task's materials, the materials, and its requests for approval with the
    /// arguments that people were asked about; for good, also where there was nothing. Gives how
    /// many materials there were, or `None` if it was erased before.
    async fn task_erase(&mut self, task: Id<types::Task>) -> Result<Option<u64>, Error>;
    /// Makes everything durable at once, with the records of what happened: each event becomes the
    /// next record of the server's own sequence, in the order given. If it fails with
    /// [`Error::InDoubt`], or its future is dropped, the change may have happened or not; after
    /// any other error it has not.
    async fn commit(self: Box<Self>, events: Vec<Event>) -> Result<(), Error>;
}
