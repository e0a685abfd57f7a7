//! Tool servers: MCP servers that a gateway starts inside walls.

use std::collections::BTreeMap;
use std::fmt;

use aims_types::{Digest, Id, Name, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Text;
use crate::evidence::Measured;

/// Most tools of one server.
pub const TOOLS_MAX: usize = 256;

/// How a gateway starts a tool server over stdio. Everything not named is out of its reach.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSpec {
    /// Program and arguments; the program is an absolute path.
    pub argv: Vec<String>,
    /// Environment, exactly. Its values may be secret: `Debug` shows the names alone.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Programs and trees it runs from, digested at registration, bound read-only.
    pub trees: Vec<Measured>,
    /// Paths it works on.
    #[serde(default)]
    pub paths: Vec<DataPath>,
    /// Whether it may use the host's network.
    #[serde(default)]
    pub network: bool,
}

/// A path that a tool server works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataPath {
    /// Absolute path, outside and inside the walls.
    pub path: String,
    /// Whether it may change it.
    #[serde(default)]
    pub writable: bool,
}

/// One tool as it was when the server was registered. A tool that changed is not offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolPin {
    /// The tool's name.
    pub name: String,
    /// Digest of its canonical definition.
    pub digest: Digest,
    /// Its `inputSchema` as canonical JSON text.
    pub input_schema: String,
    /// Its description, as the server claims it.
    pub description: String,
}

/// A registered tool server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolServer {
    /// Identity.
    pub id: Id<aims_types::Server>,
    /// Name, unique for ever; the path segment of its endpoint.
    pub name: Name,
    /// What it is for, in words.
    pub purpose: Text,
    /// How to start it.
    pub spec: ServerSpec,
    /// Its tools, pinned.
    pub tools: Vec<ToolPin>,
    /// When it was registered.
    pub registered_at: Timestamp,
}

impl fmt::Debug for ServerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.env.keys().collect();
        f.debug_struct("ServerSpec")
            .field("argv", &self.argv)
            .field("env", &names)
            .field("trees", &self.trees)
            .field("paths", &self.paths)
            .field("network", &self.network)
            .finish()
    }
}
