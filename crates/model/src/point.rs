//! Points: the nodes and gateways that a kill has to reach, what they hold, and how they join.

use std::fmt;
use std::str::FromStr;

use aims_types::{Digest, Gateway, Id, IdParseError, Node, Person, Revision, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a text that starts a join token is followed by: 32 random bytes as base64url.
pub const JOIN_TOKEN_PREFIX: &str = "aims_jt_";
/// How long a join token works, in seconds.
pub const JOIN_TOKEN_LIFE_SECS: u64 = 10 * 60;

/// A node or a gateway: whatever acts on what the server says and holds a lease for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// An enforcement point.
    Gateway(Id<Gateway>),
    /// A node agent.
    Node(Id<Node>),
}

/// Which kind of point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointKind {
    /// An enforcement point.
    Gateway,
    /// A node agent.
    Node,
}

/// The durable side of a lease: written before a point is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRow {
    /// Whose lease.
    pub point: Point,
    /// Which boot of the server's host `until` is counted in (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// Until when it may run at the latest, in nanoseconds of that host's `CLOCK_BOOTTIME`.
    pub until: u64,
    /// The newest revision that the point has acknowledged.
    pub acknowledged: Revision,
    /// Where other gateways and nodes reach a gateway (`host:port`); absent in one process.
    pub address: Option<String>,
}

/// A single-use permission to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinToken {
    /// SHA-256 of the token, which itself is kept nowhere.
    pub digest: Digest,
    /// What may join with it.
    pub kind: PointKind,
    /// Who made it.
    pub made_by: Id<Person>,
    /// After this it is worthless.
    pub expires_at: Timestamp,
    /// What joined with it.
    pub used_by: Option<Point>,
}

/// Which gateway owns the delegation tree of a task: its budgets and single-use approvals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeOwner {
    /// The task, whose root delegation is the root of the tree.
    pub task: Id<aims_types::Task>,
    /// The owner.
    pub gateway: Id<Gateway>,
    /// How often the tree has had a new owner; grows by one each time.
    pub epoch: u64,
    /// Whether the owner gave it back, with everything that it recorded about it handed over.
    pub released: bool,
    /// How many uses of the tree the owner may have recorded that the server has not got.
    pub window: u32,
    /// Earlier owners, each once, whose logs may hold uses of the tree that the server has not got.
    pub unaccounted: Vec<Unaccounted>,
}

/// What a gateway may have recorded about a tree that was taken over from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unaccounted {
    /// The gateway that owned the tree.
    pub gateway: Id<Gateway>,
    /// Most uses that it may have recorded.
    pub uses: u32,
    /// The revision of the last take-over from it. What was delegated later was not used by it, and
    /// the end of its log that it tells with this revision in force comes after all of it.
    pub since: Revision,
}

impl Point {
    /// Which kind of point this is.
    pub const fn kind(&self) -> PointKind {
        match self {
            Self::Gateway(_) => PointKind::Gateway,
            Self::Node(_) => PointKind::Node,
        }
    }
}

impl PointKind {
    /// The kind as people and records write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Node => "node",
        }
    }
}

/// The id of the node or gateway, whose prefix says which it is.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(id) => fmt::Display::fmt(id, f),
            Self::Node(id) => fmt::Display::fmt(id, f),
        }
    }
}

impl FromStr for Point {
    type Err = IdParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(id) => Ok(Self::Gateway(id)),
            Err(_) => text.parse().map(Self::Node),
        }
    }
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_by_its_id() {
        let points = [
            Point::Gateway(Id::from_u128(1)),
            Point::Node(Id::from_u128(1)),
        ];
        for point in points {
            assert_eq!(point.to_string().parse::<Point>().unwrap(), point);
        }
        assert!("per_00000000000000000000000001".parse::<Point>().is_err());
    }
}
