//! What a node does for the server.

use aims_model::receipt::Ended;
use aims_types::{Id, Instance, Revision};
use async_trait::async_trait;

use crate::LinkError;

/// Instances that are cut off, gateways that are not, and the revision that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The revision that is in force when the node has ended them.
    pub revision: Revision,
    /// Those of this node that live and are cut off; others that it is told of are ignored.
    pub instances: Vec<Id<Instance>>,
    /// Whether what was cut off may go on inside walls that stay: the node first resets every
    /// connection of its doors that was open when it was told.
    pub doors: bool,
    /// The thumbprints of the keys of gateways that are enrolled at this revision: the node goes
    /// on with no gateway that has another one.
    pub gateways: Vec<String>,
}

/// A node, as the server sees it.
#[async_trait]
pub trait Vouch: Send + Sync {
    /// Ends the walls of instances. When it returns, no process of theirs exists, nothing that the
    /// node holds for them is used any more, nothing goes on with a gateway that is not enrolled,
    /// and no connection of a door that was to be reset sends a further byte. Gives what it ended.
    async fn end(&self, cut: Cut) -> Result<Ended, LinkError>;

    /// The instances that this process of the node has. What an earlier one had is gone.
    async fn held(&self) -> Result<Vec<Id<Instance>>, LinkError>;
}
