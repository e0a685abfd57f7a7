//! What a delegation allows, as a value, and the two total functions that ask it.
//!
//! An [`Authority`] is a list of details (tools with constrained arguments, requests to upstreams,
//! hosts that may be reached) and limits (time, uses, rate, sums, depth). [`allows`] answers
//! for one call; [`narrower`] proves that one authority lies within another, or says in what
//! it is wider; a [`Ledger`] counts what the limits count. Pure: no I/O, no clock.
//!
//! # In scope
//! - the forms of authority and their one canonical JSON form;
//! - the decision of one authority on one call, with the reason of a refusal;
//! - containment of one authority in another, sound: what is not proven is refused;
//! - exact counting of uses, rate and sums, calls in flight included.
//!
//! # Out of scope
//! - who holds an authority and whether its delegation is live (`aims-model`);
//! - the organisation's policies (`aims-policy`); the chain of several hops (`aims-decision`);
//! - what a path or a name means at the tool: symbolic links, mounts and DNS are the tool's and
//!   the gateway's concern. Here a path is a list of segments and a host is a text.
//!
//! # Specifications
//! - RFC 9396 (OAuth 2.0 Rich Authorization Requests) §2: `authorization_details`, `type`;
//!   §5: unknown types and members are refused;
//! - RFC 3339 for `not_after`; MCP 2025-11-25 (tools) for tool names.
//!
//! # Limits
//! [`DETAILS_MAX`], [`ACTIONS_MAX`], [`TOOL_NAME_LEN_MAX`], [`ARGUMENTS_MAX`],
//! [`ARGUMENT_NAME_LEN_MAX`], [`SET_LEN_MAX`], [`TEXT_LEN_MAX`], [`GLOB_LEN_MAX`],
//! [`VALUE_TEXT_LEN_MAX`], [`USES_MAX`], [`RATE_COUNT_MAX`], [`RATE_SECS_MAX`], [`SUMS_MAX`],
//! [`DEPTH_MAX`].
//!
//! # Why these forms
//! Every form keeps containment decidable: sets of scalars by inclusion, path prefixes by
//! segments, globs segment by segment with one wildcard, ranges by their ends, lengths by order.
//! Each entry of `authorization_details` stands alone: a call is allowed when one of them allows
//! it wholly, never by the constraints of two; and an entry lies within another authority when,
//! for each of its tools, one entry there contains it wholly.
//!
//! ```
//! use aims_authority::{Authority, Call, allows, narrower};
//! use aims_json::{Limits, Object, Value, parse};
//! use aims_types::{Name, Timestamp};
//!
//! let wire = br#"{
//!   "authorization_details": [{
//!     "type": "mcp_tool", "server": "git", "actions": ["git_log"],
//!     "arguments": {
//!       "repo_path": {"equals": "/srv/repo"},
//!       "max_count": {"range": {"min": "1", "max": "50"}, "optional": true}
//!     }
//!   }],
//!   "limits": {"uses": 10}
//! }"#;
//! let authority = Authority::from_value(&parse(wire, &Limits::MESSAGE)?)?;
//! let server: Name = "git".parse()?;
//! let arguments = Object::new().with("repo_path", "/etc");
//! let call = Call::Tool { server: &server, tool: "git_log", arguments: &arguments };
//! let refusal = allows(&authority, &call, Timestamp::from_unix_secs(0)).unwrap_err();
//! assert_eq!(refusal.rule().code(), "argument_not_equal");
//!
//! // It says nothing of depth, so it may not be handed on, not even in part.
//! let wider = narrower(&authority, &authority).unwrap_err();
//! assert_eq!(wider.rule().code(), "wider_depth");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arguments;
mod authority;
mod call;
mod constraint;
mod detail;
mod glob;
mod http;
mod ledger;
mod limits;
mod narrow;
mod path;
mod problem;
mod range;
mod refusal;
mod scalar;
mod wider;
mod wire;

pub use arguments::Arguments;
pub use authority::{Authority, DETAILS_MAX};
pub use call::{Allowed, Call, allows, may_request, may_see};
pub use constraint::{Argument, Bounds, Constraint};
pub use detail::{
    ACTIONS_MAX, ARGUMENT_NAME_LEN_MAX, ARGUMENTS_MAX, ArgumentName, Detail, Egress, Host,
    TOOL_NAME_LEN_MAX, ToolName, Tools,
};
pub use glob::{GLOB_LEN_MAX, Glob};
pub use http::{Body, Http, HttpCall, HttpMethod, HttpPath, is_http_path};
pub use ledger::{Entry, Ledger, LedgerError, Reservation, ReservationError};
pub use limits::{DEPTH_MAX, Limits, RATE_COUNT_MAX, RATE_SECS_MAX, Rate, SUMS_MAX, Sum, USES_MAX};
pub use narrow::narrower;
pub use path::PathPrefix;
pub use problem::{AuthorityError, Problem};
pub use range::Range;
pub use refusal::{Refusal, Rule};
pub use scalar::{Integer, SET_LEN_MAX, Scalar, ScalarSet, TEXT_LEN_MAX, Text, VALUE_TEXT_LEN_MAX};
pub use wider::{Example, ExampleCall, Widening, Wider};

#[cfg(test)]
mod properties;
