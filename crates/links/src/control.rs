//! What the server does for nodes and gateways.

use std::sync::Arc;

use aims_model::{
    Agent, CutOff, EnrolledKey, Evidence, EvidenceGap, Person, PolicyVersion, Posture, Task,
    ToolServer,
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
    pub code: &'static str,
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
    /// The keys whose signatures count.
    pub keys: Arc<Vec<EnrolledKey>>,
    /// What is cut off.
    pub cutoffs: Arc<Vec<CutOff>>,
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
    /// What a decision used: salt and canonical bytes, committed to by the record.
    pub material: Option<([u8; 16], Vec<u8>)>,
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

    /// Ends an instance; returns when no gateway honours its credentials any more.
    async fn instance_ended(&self, ended: EndedInstance) -> Result<(), LinkError>;

    /// The token endpoint (RFC 8693, RFC 7523).
    async fn token(&self, call: TokenCall) -> Result<TokenReply, LinkError>;

    /// The chain that ends in the grant with this digest; `None` if there is none.
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
}
