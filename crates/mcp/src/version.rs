//! Protocol revisions.

use std::fmt;

/// The revisions of MCP that are spoken here: those with the `initialize` handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// 2025-03-26. Its batches are not spoken: a batch is refused in every revision.
    V2025_03_26,
    /// 2025-06-18.
    V2025_06_18,
    /// 2025-11-25.
    V2025_11_25,
}

impl ProtocolVersion {
    /// The newest.
    pub const LATEST: Self = Self::V2025_11_25;

    /// What a client speaks that sends no `MCP-Protocol-Version` (2025-11-25, Transports,
    /// "Protocol Version Header").
    pub const ASSUMED: Self = Self::V2025_03_26;

    /// All, newest first.
    pub const ALL: [Self; 3] = [Self::V2025_11_25, Self::V2025_06_18, Self::V2025_03_26];

    /// The revision with this name, if it is spoken here.
    pub fn known(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
    }

    /// The answer to a client that asks for `requested`: the same if it is spoken here, else the
    /// newest, which the client may turn down (2025-11-25, Lifecycle, "Version Negotiation").
    pub fn negotiate(requested: &str) -> Self {
        Self::known(requested).unwrap_or(Self::LATEST)
    }

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
