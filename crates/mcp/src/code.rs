//! Error codes: JSON-RPC 2.0 §5.1, MCP, and ours.

/// The bytes are not acceptable JSON.
pub const PARSE_ERROR: i64 = -32700;
/// JSON, but not a request.
pub const INVALID_REQUEST: i64 = -32600;
/// No such method, or none that the enforcement point lets pass.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The method's parameters are not as they must be. Also for a tool that does not exist, or that
/// the caller may not see.
pub const INVALID_PARAMS: i64 = -32602;
/// The enforcement point failed.
pub const INTERNAL_ERROR: i64 = -32603;
/// MCP 2026-07-28: a protocol version that the server does not speak; `data` lists those it does.
pub const UNSUPPORTED_PROTOCOL_VERSION: i64 = -32022;
/// Ours: the call was decided and denied. Within the range -32000 to -32019 that MCP leaves to
/// implementations, away from the codes that client libraries use themselves.
pub const DENIED: i64 = -32010;
/// Ours: the call needs an approval or a wider scope first.
pub const STEP_UP_REQUIRED: i64 = -32011;
/// Ours: the tool's server ended, timed out or answered what is no answer.
pub const UPSTREAM_FAILED: i64 = -32012;
