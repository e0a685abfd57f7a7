//! Tool servers as processes and as peers.

pub(crate) mod peer;
pub(crate) mod uids;
pub(crate) mod walled;

use std::io;

use aims_model::ServerSpec;
use aims_types::Name;
use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// Where tool servers are started.
#[async_trait]
pub(crate) trait ToolHost: Send + Sync {
    /// Starts a server; nothing of it runs on after the child was ended.
    async fn start(&self, name: &Name, spec: &ServerSpec) -> Result<ToolChild, StartFault>;
}

/// A tool server that runs.
pub(crate) struct ToolChild {
    /// What it reads.
    pub(crate) stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// What it says.
    pub(crate) stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Texts that its log may hold and ours may not: the values of its environment.
    pub(crate) hidden: Vec<String>,
    /// What it logs.
    pub(crate) stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// How it is ended.
    pub(crate) process: Box<dyn ToolProcess>,
}

/// The process of a tool server. Dropping it ends it as well, without a word.
#[async_trait]
pub(crate) trait ToolProcess: Send + Sync {
    /// Kills it and everything it started; returns how it ended when all of it is reaped.
    async fn end(self: Box<Self>) -> io::Result<String>;
}

/// Why a tool server did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StartFault {
    /// What it runs is not what was registered.
    #[error("`{path}` is not as registered: expected {expected}, saw {seen}")]
    Changed {
        /// Which program or tree.
        path: String,
        /// Its digest at registration.
        expected: String,
        /// What is there now.
        seen: String,
    },
    /// The walls could not be built, or the program in them not be started.
    #[error("the tool server could not be started: {0}")]
    Walls(String),
    /// Nothing is free for it.
    #[error("too many tool servers run already")]
    Busy,
}
