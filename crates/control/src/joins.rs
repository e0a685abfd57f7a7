//! Nodes and gateways that join: those of this process, and those that an operator's token admits.

mod gateway;
mod node;
mod token;

pub use gateway::JoinGatewayError;
pub use node::JoinNodeError;
pub(crate) use node::end_instances_of;
pub use token::{AllowJoinError, AllowedJoin};

use aims_json::Object;
use aims_model::{EnrolledKey, KeyOwner, KeyPurpose, Point};
use aims_store::{Error, Reader};
use aims_types::{Id, Node};

/// The node or gateway that an enrolled key speaks for.
pub(crate) fn point_of(key: &EnrolledKey) -> Option<Point> {
    if key.retired_at.is_some() {
        return None;
    }
    match (key.purpose, key.owner) {
        (KeyPurpose::Node, KeyOwner::Node(node)) => Some(Point::Node(node)),
        (KeyPurpose::Gateway, KeyOwner::Gateway(gateway)) => Some(Point::Gateway(gateway)),
        _ => None,
    }
}

/// The node that an enrolled key speaks for.
pub(crate) fn node_of(key: &EnrolledKey) -> Option<Id<Node>> {
    match point_of(key) {
        Some(Point::Node(node)) => Some(node),
        _ => None,
    }
}

/// The purpose and owner of a point's key.
pub(crate) const fn key_of(point: Point) -> (KeyPurpose, KeyOwner) {
    match point {
        Point::Node(node) => (KeyPurpose::Node, KeyOwner::Node(node)),
        Point::Gateway(gateway) => (KeyPurpose::Gateway, KeyOwner::Gateway(gateway)),
    }
}

/// Whether a node or gateway has an enrolled key.
pub(crate) async fn is_enrolled_point(
    reader: &mut dyn Reader,
    point: Point,
) -> Result<bool, Error> {
    let keys = reader.keys(key_of(point).0).await?;
    Ok(keys.iter().any(|key| point_of(key) == Some(point)))
}

/// Whether a node has an enrolled key.
pub(crate) async fn is_enrolled_node(
    reader: &mut dyn Reader,
    node: Id<Node>,
) -> Result<bool, Error> {
    is_enrolled_point(reader, Point::Node(node)).await
}

pub(crate) fn unknown_node(node: &Id<Node>) -> String {
    format!("node `{node}` is not enrolled; let it join first")
}

/// What the record of a point's key says besides the key.
fn with_host(body: Object, host: &str) -> Object {
    body.with("host", host)
}
