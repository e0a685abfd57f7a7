//! Keys that sign something: each is enrolled and retired by a record of the log.

use aims_types::{Gateway, Id, Node, Person, Timestamp};
use serde::{Deserialize, Serialize};

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPurpose {
    /// Certificates of servers, nodes and gateways (X.509-SVIDs).
    Ca,
    /// JWT-SVIDs of services.
    JwtSvid,
    /// Access tokens and instance credentials.
    Token,
    /// Grants.
    Grant,
    /// Checkpoints of the log.
    Log,
    /// What a node says about itself and its instances.
    Node,
    /// What an enforcement point says about itself and its log.
    Gateway,
    /// What a person asks for and consents to.
    Person,
    /// What an agent that runs elsewhere asks for.
    Agent,
}

impl KeyPurpose {
    /// The purpose as records write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::JwtSvid => "jwt_svid",
            Self::Token => "token",
            Self::Grant => "grant",
            Self::Log => "log",
            Self::Node => "node",
            Self::Gateway => "gateway",
            Self::Person => "person",
            Self::Agent => "agent",
        }
    }
}

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyOwner {
    /// The server's own.
    Server,
    /// A node's.
    Node(Id<Node>),
    /// A gateway's.
    Gateway(Id<Gateway>),
    /// A person's.
    Person(Id<Person>),
    /// An agent's that runs elsewhere.
    Agent(Id<aims_types::Agent>),
}

/// A public key that AIMS accepts signatures of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolledKey {
    /// RFC 7638 thumbprint, base64url; names the key everywhere (`kid`).
    pub kid: String,
    /// The public key as canonical JWK text (RFC 7517).
    pub jwk: String,
    /// What it signs.
    pub purpose: KeyPurpose,
    /// Whose it is.
    pub owner: KeyOwner,
    /// When it was enrolled.
    pub enrolled_at: Timestamp,
    /// When it was retired; signatures made later are refused.
    pub retired_at: Option<Timestamp>,
    /// The self-signed certificate of a CA's key, as base64 of its DER form; absent for others.
    #[serde(default)]
    pub certificate: Option<String>,
}
