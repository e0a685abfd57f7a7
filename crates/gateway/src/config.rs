//! What an operator sets, and every bound that has a number.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aims_edge::Enrolled;
use aims_lease::Terms;
use aims_tls::{Identity, Trust};
use aims_types::{Gateway, Id, TrustDomain};

/// How a gateway is set up.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Its identity; names its records.
    pub id: Id<Gateway>,
    /// The trust domain whose grants count.
    pub trust_domain: TrustDomain,
    /// The resource that tokens must be for, without a slash at the end; endpoints are below it.
    pub resource: String,
    /// The issuer whose tokens are accepted.
    pub issuer: String,
    /// Where the durable log is.
    pub wal_dir: PathBuf,
    /// Where measured programs and trees are staged.
    pub stage_dir: PathBuf,
    /// The program that is re-executed as the walls' launcher.
    pub self_exe: PathBuf,
    /// As root, the first of the reserved host uids that tools get; `None` without privileges.
    pub uid_base: Option<u32>,
    /// What connections out may reach.
    pub egress: EgressConfig,
    /// The terms of its lease: the server's.
    pub lease: Terms,
    /// Where others reach it and how it knows them; `None` if it is the only gateway.
    pub edge: Option<EdgeConfig>,
    /// The bounds.
    pub limits: GatewayLimits,
    /// The log's bounds.
    pub wal: aims_wal::Limits,
}

/// How gateways reach each other: a request about a task goes to the one that owns its tree.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Where nodes and other gateways reach it (`host:port`).
    pub address: String,
    /// What it shows them.
    pub identity: Arc<Identity>,
    /// Who vouches for them.
    pub trust: Arc<Trust>,
    /// Whose keys are enrolled; the gateway keeps it as its state says.
    pub enrolled: Enrolled,
}

/// What connections out may reach besides public addresses.
#[derive(Debug, Clone, Default)]
pub struct EgressConfig {
    /// Names that an operator resolves, instead of DNS; their addresses may be loopback,
    /// link-local or private ones, which no other name may lead to.
    pub hosts: BTreeMap<String, IpAddr>,
}

/// Bounds on time, space and number.
#[derive(Debug, Clone)]
pub struct GatewayLimits {
    /// Longest body of a request, in bytes.
    pub body_bytes: usize,
    /// Most client sessions.
    pub sessions: usize,
    /// Most client sessions of one instance.
    pub sessions_per_instance: usize,
    /// Most calls in flight in one session.
    pub calls_per_session: usize,
    /// A session that is not used for this long is ended.
    pub session_idle: Duration,
    /// How long a tool server may take to start and answer `initialize` and `tools/list`.
    pub tool_start: Duration,
    /// How long one call may take.
    pub call: Duration,
    /// How long a call waits for a person's approval before it is answered that it can be made
    /// again.
    pub approval_wait: Duration,
    /// How often a stream without news carries a comment.
    pub keep_alive: Duration,
    /// Most messages that a tool may send unasked within one second.
    pub tool_messages_per_sec: u32,
    /// Denials of one principal recorded one by one within [`Self::denial_window`]; more of them
    /// are counted.
    pub denials_per_window: u32,
    /// The window of the count.
    pub denial_window: Duration,
    /// Most tunnels.
    pub tunnels: usize,
    /// Most requests to upstreams at a time.
    pub requests: usize,
    /// How long resolving and connecting may take.
    pub connect: Duration,
    /// How long the first bytes of a tunnel may take.
    pub client_hello: Duration,
    /// A tunnel without bytes for this long is ended.
    pub tunnel_idle: Duration,
    /// Longest life of a tunnel.
    pub tunnel_life: Duration,
    /// Most chains kept verified.
    pub chains: usize,
    /// Most proofs remembered against replay.
    pub proofs: usize,
    /// Most tasks whose owner is remembered.
    pub trees: usize,
    /// A task about which nothing was asked for this long, and nothing of which is under way, is
    /// given back, so that another gateway may own its tree.
    pub tree_idle: Duration,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            body_bytes: aims_mcp::limits::AGENT_MESSAGE.bytes,
            sessions: 256,
            sessions_per_instance: 8,
            calls_per_session: 32,
            session_idle: Duration::from_mins(30),
            tool_start: Duration::from_mins(1),
            call: Duration::from_mins(2),
            approval_wait: Duration::from_secs(25),
            keep_alive: Duration::from_secs(15),
            tool_messages_per_sec: 500,
            denials_per_window: 20,
            denial_window: Duration::from_secs(10),
            tunnels: 256,
            requests: 256,
            connect: Duration::from_secs(15),
            client_hello: Duration::from_secs(10),
            tunnel_idle: Duration::from_mins(5),
            tunnel_life: Duration::from_hours(1),
            chains: 4096,
            proofs: 200_000,
            trees: 65_536,
            tree_idle: Duration::from_mins(10),
        }
    }
}
