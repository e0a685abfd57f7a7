//! How much of a text is read at all.

/// Deepest nesting that any [`Limits`] can allow. It keeps recursion within a small part of a
/// thread's stack, and is below the limit of `serde_json`, so that [`crate::from_slice`] has one
/// rule.
pub const DEPTH_MAX: usize = 96;

/// Longest text of a number. The longest exact `f64` written by common encoders has 24 bytes.
pub const NUMBER_LEN_MAX: usize = 128;

/// Bounds on one JSON text. All are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of the text in bytes.
    pub bytes: usize,
    /// Arrays and objects inside each other; a scalar has depth 0. More than [`DEPTH_MAX`] counts
    /// as [`DEPTH_MAX`].
    pub depth: usize,
    /// Values of all kinds in the text: bounds the memory that a short text of many small values
    /// takes.
    pub nodes: usize,
}

impl Limits {
    /// One protocol message.
    pub const MESSAGE: Self = Self {
        bytes: 1 << 20,
        depth: 64,
        nodes: 100_000,
    };
    /// A header or a claims set of a token, a grant, a signature's payload.
    pub const TOKEN: Self = Self {
        bytes: 64 << 10,
        depth: 32,
        nodes: 4_096,
    };
    /// A document that an operator or our own server hands over: exports, snapshots, bundles.
    pub const DOCUMENT: Self = Self {
        bytes: 16 << 20,
        depth: 64,
        nodes: 1_000_000,
    };
}
