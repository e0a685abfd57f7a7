//! The configuration of a node or gateway on a host of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use aims_model::PointKind;
use aims_server::{ConfigError, EgressConfig, LeaseConfig, PemFiles};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// How a node or gateway is set up. It has a table `node` or a table `gateway`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PointConfig {
    /// Where the server's links are (`host:port`).
    pub(crate) server: String,
    /// Its membership, its encrypted key, a gateway's log. Readable by AIMS only.
    pub(crate) data_dir: PathBuf,
    /// Measured copies of what agents or tools run. Readable by their uids.
    pub(crate) stage_dir: PathBuf,
    /// The key that the key is encrypted under; outside `data_dir`, mode 600. Made when it joins.
    pub(crate) master_key_file: PathBuf,
    /// Its lease; the same as the server's.
    #[serde(default)]
    pub(crate) lease: LeaseConfig,
    /// A gateway's connections to hosts outside.
    #[serde(default)]
    pub(crate) egress: EgressConfig,
    node: Option<NodeSection>,
    gateway: Option<GatewaySection>,
}

/// What only a node has.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeSection {
    /// Where its Unix socket is.
    runtime_dir: PathBuf,
    /// The gateway that its agents' requests go to (`host:port`).
    pub(crate) gateway: String,
    /// First of the host uids reserved for agents; used as root only.
    #[serde(default = "agents_uid_base")]
    pub(crate) uid_base: u32,
    /// How many uids are reserved.
    #[serde(default = "uid_count")]
    pub(crate) uid_count: u32,
}

/// What only a gateway has.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GatewaySection {
    /// Where it listens for nodes and other gateways.
    #[serde(default = "listen")]
    pub(crate) listen: SocketAddr,
    /// Where they reach it (`host:port`).
    pub(crate) address: String,
    /// How long one tool call may take, in seconds.
    #[serde(default = "call_secs_max")]
    pub(crate) call_secs_max: u64,
    /// First of the host uids reserved for tools; used as root only.
    #[serde(default = "tools_uid_base")]
    pub(crate) uid_base: u32,
    /// Where it listens for agents that run elsewhere; absent where there are none.
    pub(crate) agents: Option<AgentsSection>,
}

/// A gateway's listener for agents that run elsewhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentsSection {
    /// Where it listens, over HTTPS.
    pub(crate) listen: SocketAddr,
    /// The certificate that agents are shown.
    pub(crate) tls: PemFiles,
}

const fn listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8710)
}

fn call_secs_max() -> u64 {
    aims_server::GatewayConfig::default().call_secs_max
}

/// Tools have the first half of the reserved uids, agents the second.
fn tools_uid_base() -> u32 {
    aims_server::GatewayConfig::default().uid_base
}

fn agents_uid_base() -> u32 {
    tools_uid_base() + uid_count()
}

fn uid_count() -> u32 {
    aims_server::GatewayConfig::default().uid_count / 2
}

impl PointConfig {
    /// Reads a configuration, with overrides from the environment.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let config: Self = aims_server::load(path, std::env::vars())?;
        if config.master_key_file.starts_with(&config.data_dir) {
            return Err(ConfigError::MasterKeyInside.into());
        }
        ensure!(
            config.node.is_some() != config.gateway.is_some(),
            "`{}` describes one node or one gateway: it has a table `node` or a table `gateway`",
            path.display()
        );
        Ok(config)
    }

    /// What it describes.
    pub(crate) const fn kind(&self) -> PointKind {
        if self.node.is_some() {
            PointKind::Node
        } else {
            PointKind::Gateway
        }
    }

    /// The node that it describes.
    pub(crate) fn node(&self) -> Result<&NodeSection> {
        let node = self.node.as_ref();
        node.context("this configuration has no table `node`; it describes a gateway")
    }

    /// The gateway that it describes.
    pub(crate) fn gateway(&self) -> Result<&GatewaySection> {
        let gateway = self.gateway.as_ref();
        gateway.context("this configuration has no table `gateway`; it describes a node")
    }

    /// The node's Unix socket.
    pub(crate) fn node_socket(&self) -> Result<PathBuf> {
        Ok(self.node()?.runtime_dir.join("node.sock"))
    }
}
