//! What the server does for nodes and gateways.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use aims_model::approval::Asked;
use aims_model::{
    Agent, Approval, CutOff, EnrolledKey, Evidence, EvidenceGap, MaterialKey, Person, Point,
    PolicyVersion, Posture, Task, ToolServer, Unaccounted, Upstream,
};
use aims_types::{self as types, Digest, Gateway, Id, Node, Revision, Secret, Timestamp};
use async_trait::async_trait;
use bytes::Bytes;

use crate::LinkError;

/// A launch that a node wants to take up.
#[derive(Debug)]
pub struct RequestedRun {
    /// The node that will build the walls.
    pub node: Id<Node>,
    /// The single-use ticket that the person's command got.
    pub ticket: Secret<String>,
}

/// What the node is to launch, after the server checked ticket, person, agent and task.
#[derive(Debug, Clone)]
pub struct LaunchOrder {
    /// The launch.
    pub run: Id<types::Run>,
    /// The agent as registered, with the evidence that must be seen.
    pub agent: Agent,
    /// The task it will serve.
    pub task: Task,
    /// The delegation that its instance will act under.
    pub delegation: Id<types::Delegation>,
}

/// An instance that hands on a part of its authority to an agent, which is to be started here.
#[derive(Debug, Clone)]
pub struct DelegateCall {
    /// The node that holds the instance's key and will build the walls.
    pub node: Id<Node>,
    /// The instance that delegates.
    pub instance: Id<types::Instance>,
    /// What it asks for: [`aims_model::DelegationRequest`], signed with its key (compact JWS).
    pub request: String,
    /// The workload identity token that binds the key to it.
    pub wit: String,
}

/// What a node saw when it built the walls, and the key that it holds for the instance.
#[derive(Debug, Clone)]
pub struct Attestation {
    /// The node that vouches for it.
    pub node: Id<Node>,
    /// The launch it belongs to.
    pub run: Id<types::Run>,
    /// What was seen.
    pub posture: Posture,
    /// The public key (canonical JWK) whose private half the node holds for the instance.
    pub jwk: String,
}

/// What an attested instance is given.
#[derive(Debug, Clone)]
pub struct InstanceGrant {
    /// The instance.
    pub instance: Id<types::Instance>,
    /// Its workload identity token (`wit+jwt`), bound to the node's key for it.
    pub wit: String,
    /// When the workload identity token ends; the node renews before half its life.
    pub expires_at: Timestamp,
    /// The leaf grant (compact JWS) of the authority that it acts under.
    pub grant: String,
    /// The issuer to ask for tokens, and the audience that assertions name.
    pub issuer: String,
    /// The resource (audience) of the gateway's endpoints.
    pub resource: String,
    /// When the task ends by itself.
    pub deadline: Timestamp,
}

/// Why nothing was issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Stable code: `unknown_ticket`, `task_ended`, `evidence_mismatch`, `policy_denied`, …
    pub code: Cow<'static, str>,
    /// What happened, why, what next.
    pub reason: String,
    /// What was expected and what was seen, where evidence did not hold.
    pub gaps: Vec<EvidenceGap>,
}

/// The end of an instance.
#[derive(Debug, Clone)]
pub struct EndedInstance {
    /// The node that vouched for it.
    pub node: Id<Node>,
    /// The instance.
    pub instance: Id<types::Instance>,
    /// How: `exited 0`, `killed by signal 9`.
    pub how: String,
}

/// A request to the token endpoint, as HTTP carries it. It holds credentials: `Debug` hides it.
#[derive(Clone)]
pub struct TokenCall {
    /// The form body.
    pub form: Bytes,
    /// The `DPoP` header's value.
    pub dpop: String,
}

/// The token endpoint's answer, as HTTP carries it. The body may be a token: `Debug` hides it.
#[derive(Clone)]
pub struct TokenReply {
    /// HTTP status.
    pub status: u16,
    /// JSON body.
    pub body: Bytes,
}

impl std::fmt::Debug for TokenCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCall").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for TokenReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenReply")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// What a gateway decides against: one consistent state at one revision.
#[derive(Debug, Clone)]
pub struct ControlState {
    /// The revision that this state is at.
    pub revision: Revision,
    /// The issuer whose tokens are accepted.
    pub issuer: String,
    /// The policy in force.
    pub policy: Arc<PolicyVersion>,
    /// The registered tool servers with their pins.
    pub servers: Arc<Vec<ToolServer>>,
    /// The upstreams that may be asked, without those that are retired.
    pub upstreams: Arc<Vec<Upstream>>,
    /// The keys whose signatures count.
    pub keys: Arc<Vec<EnrolledKey>>,
    /// What is cut off.
    pub cutoffs: Arc<Vec<CutOff>>,
    /// The approvals that were given and not used.
    pub approvals: Arc<Vec<Approval>>,
}

/// A node or gateway that asks for its lease to be extended.
#[derive(Debug, Clone)]
pub struct LeaseAsk {
    /// Who asks.
    pub point: Point,
    /// The revision that is in force there: everything that it cuts off has ended. Read before the
    /// end of the log.
    pub in_force: Revision,
    /// The end of a gateway's own log: its last record's number and digest.
    pub head: Option<(u64, Digest)>,
    /// Where other nodes and gateways reach a gateway (`host:port`).
    pub address: Option<String>,
    /// Which telling of the end of its log this is.
    pub telling: Option<Telling>,
}

/// The place of a request among those of the same process, so that one that was overtaken on its
/// way is not taken for news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telling {
    /// Drawn at random when the process started.
    pub process: u64,
    /// Greater than in every request that the process sent before.
    pub number: u64,
}

/// An extended lease. Its holder counts it from before it asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseGrant {
    /// How long it is.
    pub length: Duration,
    /// The revision in force at the server, read after the request had arrived: the lease counts
    /// only where this revision is in force.
    pub revision: Revision,
    /// The server's wall time.
    pub server_time: Timestamp,
}

/// A tree that a gateway owns, as it was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnedTree {
    /// The task.
    pub task: Id<types::Task>,
    /// The epoch that the claim was answered with.
    pub epoch: u64,
}

/// A tree as its new owner gets it. What was recorded about the task before
/// ([`Control::task_records`]) and what is unaccounted for are the state of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeGrant {
    /// How often the tree has had a new owner.
    pub epoch: u64,
    /// Whether it was the owner before, so that it knows the state already.
    pub before: bool,
    /// How many uses of the tree the owner may have recorded, or be about to, that the server has
    /// not acknowledged.
    pub window: u32,
    /// The revision in force at the server: approvals count from a state of this or a later one.
    pub revision: Revision,
    /// What earlier owners may have used besides. It is charged to everything that was delegated
    /// before.
    pub unaccounted: Vec<Unaccounted>,
}

/// The answer to a gateway that wants to own the delegation tree of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeClaim {
    /// It is the owner.
    Owned(TreeGrant),
    /// Another gateway is; requests are forwarded to it.
    Elsewhere {
        /// Which.
        gateway: Id<Gateway>,
        /// Where it is reached (`host:port`).
        address: String,
    },
    /// Nobody can own it now: why, and what to do.
    Unavailable {
        /// In words.
        why: String,
    },
}

/// A gateway that wants to ask an upstream and lacks its credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialAsk {
    /// The upstream.
    pub upstream: Id<types::Upstream>,
    /// The version that is in force at the gateway.
    pub version: u32,
}

/// The credential of an upstream, as a gateway gets it for as long as its lease lasts. It opens for
/// [`Upstream::binding`] alone, so that it can't go out to another host.
#[derive(Debug, Clone)]
pub struct CredentialLease {
    /// The credential, sealed under `key`.
    pub sealed: Vec<u8>,
    /// The data key.
    pub key: Secret<Vec<u8>>,
}

/// One hop of a chain with the facts that policies ask about its delegate.
#[derive(Debug, Clone)]
pub struct ChainHop {
    /// The signed grant.
    pub jws: String,
    /// The delegate.
    pub delegate: PrincipalFacts,
}

/// A delegation chain, root first.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The person at its root.
    pub person: Person,
    /// The hops.
    pub hops: Vec<ChainHop>,
    /// The key that seals what decisions under it use. It is the task's; a gateway holds it in
    /// memory alone, so that its log can be read by nobody after the server erased the key.
    pub materials: MaterialKey,
}

/// What policies ask about an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalFacts {
    /// The agent.
    pub id: Id<types::Agent>,
    /// Its name.
    pub name: types::Name,
    /// Its identifier.
    pub spiffe_id: types::SpiffeId,
    /// Its owner's name.
    pub owner: types::Name,
    /// Where it runs.
    pub environment: types::Name,
}

/// A durable record of an enforcement point, with what it keeps apart.
#[derive(Debug, Clone)]
pub struct ShippedRecord {
    /// Its number within the gateway.
    pub seq: u64,
    /// The canonical record.
    pub record: Vec<u8>,
    /// What a decision used, committed to by the record and sealed under the key of its task
    /// ([`MaterialKey::seal`]).
    pub material: Option<Vec<u8>>,
}

/// The server, as nodes and gateways see it.
#[async_trait]
pub trait Control: Send + Sync {
    /// Takes up a launch; a ticket works once.
    async fn run_redeem(
        &self,
        run: RequestedRun,
    ) -> Result<Result<LaunchOrder, Refusal>, LinkError>;

    /// Records that a launch was refused before there was evidence to check (for example, a
    /// program that is not there), with what was expected and seen.
    async fn run_refused(
        &self,
        node: Id<Node>,
        run: Id<types::Run>,
        refusal: Refusal,
    ) -> Result<(), LinkError>;

    /// Hands on a part of an instance's authority: checks the signed request, that it is narrower,
    /// and policy, grants it, and orders the launch.
    async fn delegate(&self, call: DelegateCall)
    -> Result<Result<LaunchOrder, Refusal>, LinkError>;

    /// Checks evidence, environment and policy, and makes the instance.
    async fn instance_attest(
        &self,
        attestation: Attestation,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError>;

    /// Renews the workload identity token of a live instance, on evidence seen again now.
    async fn instance_renew(
        &self,
        node: Id<Node>,
        instance: Id<types::Instance>,
        evidence: Evidence,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError>;

    /// Ends an instance; returns when no gateway honours its credentials any more. A refusal is
    /// for ever: the instance is not this node's, or the node is not heard any more.
    async fn instance_ended(&self, ended: EndedInstance) -> Result<Result<(), Refusal>, LinkError>;

    /// The token endpoint (RFC 8693, RFC 7523).
    async fn token(&self, call: TokenCall) -> Result<TokenReply, LinkError>;

    /// The chain that ends in the grant with this digest; `None` if there is none, or if what
    /// belongs to its task was erased.
    async fn chain(&self, leaf: Digest) -> Result<Option<Chain>, LinkError>;

    /// Takes over records of a gateway's log, in order; returns the last number taken over.
    /// Records that are already there are skipped; a gap or a broken chain is refused.
    async fn records_ship(
        &self,
        gateway: Id<Gateway>,
        records: Vec<ShippedRecord>,
    ) -> Result<u64, LinkError>;

    /// The last number of this gateway's records that the server has.
    async fn records_head(&self, gateway: Id<Gateway>) -> Result<u64, LinkError>;

    /// Extends a lease. A point that is not enrolled, or whose log went backwards, is refused.
    async fn lease_renew(&self, ask: LeaseAsk) -> Result<Result<LeaseGrant, Refusal>, LinkError>;

    /// Parks an action until a person answers. Asking again while the same request is open gives
    /// the same one.
    async fn approval_ask(
        &self,
        gateway: Id<Gateway>,
        asked: Asked,
    ) -> Result<Result<Approval, Refusal>, LinkError>;

    /// A request for approval as it stands.
    async fn approval(&self, id: Id<types::Approval>) -> Result<Option<Approval>, LinkError>;

    /// Hands the credential of an upstream to a gateway that holds a lease, on record. A version
    /// that is not in force any more is refused.
    async fn credential_lease(
        &self,
        gateway: Id<Gateway>,
        ask: CredentialAsk,
    ) -> Result<Result<CredentialLease, Refusal>, LinkError>;

    /// Makes the gateway the owner of a task's delegation tree, or says who is.
    async fn tree_claim(
        &self,
        gateway: Id<Gateway>,
        task: Id<types::Task>,
    ) -> Result<TreeClaim, LinkError>;

    /// Gives back trees; everything recorded about them was shipped before. A tree that has had
    /// another owner since, or the same one anew, stays where it is.
    async fn tree_release(
        &self,
        gateway: Id<Gateway>,
        trees: Vec<OwnedTree>,
    ) -> Result<(), LinkError>;

    /// Canonical records about a task that gateways wrote, in the order of the log, after the
    /// first `skip` of them, at most `limit`.
    async fn task_records(
        &self,
        gateway: Id<Gateway>,
        task: Id<types::Task>,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, LinkError>;
}
