//! Named bounds.

use aims_json::Limits;

/// One message from an agent. 1 MiB is the default bound of common clients and servers.
pub const AGENT_MESSAGE: Limits = Limits {
    bytes: 1 << 20,
    depth: 64,
    nodes: 100_000,
};

/// One message from a tool: results carry images and file contents.
pub const TOOL_MESSAGE: Limits = Limits {
    bytes: 4 << 20,
    depth: 64,
    nodes: 400_000,
};

/// Longest request id or progress token that is a string, in bytes.
pub const ID_LEN_MAX: usize = 256;

/// Longest name of a method, in bytes.
pub const METHOD_LEN_MAX: usize = 128;

/// Longest name of a tool, in bytes; the specification recommends at most 128 characters
/// (2025-11-25, Tools, "Tool Names").
pub const TOOL_NAME_LEN_MAX: usize = 128;

/// Longest pagination cursor, in bytes.
pub const CURSOR_LEN_MAX: usize = 4096;

/// Longest `reason` of a cancellation that is kept, in bytes.
pub const REASON_LEN_MAX: usize = 1024;

/// Longest `instructions` of a server, in bytes.
pub const INSTRUCTIONS_LEN_MAX: usize = 64 << 10;

/// Most tools in one page of `tools/list`.
pub const TOOLS_PER_PAGE_MAX: usize = 1000;

/// Most pages of one `tools/list`.
pub const TOOL_PAGES_MAX: usize = 64;

/// Most tools of one server.
pub const TOOLS_MAX: usize = 4096;

/// Longest `Mcp-Session-Id`, in bytes.
pub const SESSION_ID_LEN_MAX: usize = 512;
