//! What a node does for the server.

use aims_model::receipt::Ended;
use aims_types::{Id, Instance, Revision};
use async_trait::async_trait;

use crate::LinkError;

/// Instances that are cut off, and the revision at which they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The revision that is in force when the node has ended them.
    pub revision: Revision,
    /// Those of this node that live and are cut off; others that it is told of are ignored.
    pub instances: Vec<Id<Instance>>,
}

/// A node, as the server sees it.
#[async_trait]
pub trait Vouch: Send + Sync {
    /// Ends the walls of instances. When it returns, no process of theirs exists and nothing that
    /// the node holds for them is used any more. Gives what it ended.
    async fn end(&self, cut: Cut) -> Result<Ended, LinkError>;
}
