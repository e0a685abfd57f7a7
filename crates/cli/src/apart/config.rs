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
    /// Health and metrics.
    #[serde(default)]
    api: PointApi,
    node: Option<NodeSection>,
    gateway: Option<GatewaySection>,
}

/// Where it shows health and metrics, plain HTTP, to whoever reaches it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PointApi {
    /// Where it listens; each kind of point has a default of its own.
    listen: Option<SocketAddr>,
}

/// What only a node has.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeSection {
    /// Where its Unix socket is.
    runtime_dir: PathBuf,
    /// The socket of the SPIFFE Workload API; `workload.sock` beside it unless it is said.
    workload_socket: Option<PathBuf>,
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
    on_loopback(8710)
}

const fn on_loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Health and metrics of a point; the server's are at 8700.
const fn default_listen(kind: PointKind) -> SocketAddr {
    match kind {
        PointKind::Gateway => on_loopback(8702),
        PointKind::Node => on_loopback(8703),
    }
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
        aims_server::load::<Self>(path, std::env::vars())?.checked(path)
    }

    /// The configuration of `path`, if its parts work together.
    pub(crate) fn checked(self, path: &Path) -> Result<Self> {
        if self.master_key_file.starts_with(&self.data_dir) {
            return Err(ConfigError::MasterKeyInside.into());
        }
        ensure!(
            self.node.is_some() != self.gateway.is_some(),
            "`{}` describes one node or one gateway: it has a table `node` or a table `gateway`",
            path.display()
        );
        self.lease.terms()?;
        self.egress.check()?;
        Ok(self.with_defaults())
    }

    /// With the defaults that depend on what it describes.
    fn with_defaults(mut self) -> Self {
        let listen = self.api_listen();
        self.api.listen = Some(listen);
        self
    }

    /// Where it shows health and metrics.
    pub(crate) fn api_listen(&self) -> SocketAddr {
        self.api.listen.unwrap_or(default_listen(self.kind()))
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

    /// The socket of the SPIFFE Workload API.
    pub(crate) fn workload_socket(&self) -> Result<PathBuf> {
        let node = self.node()?;
        let default = || node.runtime_dir.join(aims_server::WORKLOAD_SOCKET);
        Ok(node.workload_socket.clone().unwrap_or_else(default))
    }

    /// The node's Unix socket.
    pub(crate) fn node_socket(&self) -> Result<PathBuf> {
        Ok(self.node()?.runtime_dir.join("node.sock"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str = r#"
        server = "server.example.org:8701"
        data_dir = "/var/lib/aims/data"
        stage_dir = "/var/lib/aims/stage"
        master_key_file = "/etc/aims/master.key"
    "#;
    const NODE: &str = "[node]\nruntime_dir = \"/run/aims\"\ngateway = \"g:8710\"\n";
    const GATEWAY: &str = "[gateway]\naddress = \"g:8710\"\n";

    fn load(rest: &str) -> Result<PointConfig> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("point.toml");
        std::fs::write(&path, format!("{COMMON}{rest}")).unwrap();
        PointConfig::load(&path)
    }

    #[test]
    fn each_kind_shows_its_health_at_a_port_of_its_own() {
        let listen = |rest: &str| load(rest).unwrap().api_listen().to_string();
        assert_eq!(listen(GATEWAY), "127.0.0.1:8702");
        assert_eq!(listen(NODE), "127.0.0.1:8703");
        let other = format!("{NODE}[api]\nlisten = \"127.0.0.1:0\"\n");
        assert_eq!(listen(&other), "127.0.0.1:0");
    }

    #[test]
    fn a_point_is_one_thing_and_says_nothing_unknown() {
        let both = format!("{NODE}{GATEWAY}");
        let unknown = format!("{NODE}uid_bass = 1\n");
        let lease = format!("{NODE}[lease]\nlength_millis = 1\n");
        for bad in [both.as_str(), "", &unknown, &lease] {
            assert!(load(bad).is_err(), "{bad}");
        }
    }
}
