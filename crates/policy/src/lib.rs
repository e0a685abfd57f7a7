//! The organisation's policies: Cedar, with a schema generated from the tools that exist.
//!
//! [`Schema::generate`] types every tool's arguments, [`PolicySet::compile`] validates a policy
//! text against it when it is written, [`evaluate`] answers for one principal and one action.
//! Pure: no I/O, no clock; nothing is parsed while a request is evaluated. What a set's policies
//! come down to for one principal and one resource is remembered, so that a decision costs what its
//! few relevant policies cost, however many there are.
//!
//! # In scope
//! - the schema, and the list of arguments that policies cannot see;
//! - annotations: `@id` (needed, a name), `@description`, `@requirement`; others are refused;
//! - requirements: policies of their own kind, evaluated apart, so that no permit lifts one;
//! - default deny, forbid wins, and an error in a forbid or a requirement is a deny (Cedar alone
//!   would skip it).
//!
//! # Out of scope
//! - chains of several principals and meeting requirements (`aims-decision`);
//! - storing and signing policy texts; checking arguments against the whole of JSON Schema.
//!
//! # Specifications
//! - Cedar language 4, strict validation; JSON Schema 2020-12, the part that Cedar can type;
//!   MCP 2025-11-25 (`inputSchema`).
//!
//! # Limits
//! [`TOOLS_MAX`], [`ARGUMENTS_MAX`], [`NESTING_MAX`], [`POLICY_TEXT_LEN_MAX`], [`POLICIES_MAX`],
//! [`POLICY_LEN_MAX`], [`BRANCHES_MAX`], [`OPERATORS_MAX`], [`EXPRESSION_DEPTH_MAX`],
//! [`BRACKETS_DEPTH_MAX`], [`DESCRIPTION_LEN_MAX`].
//!
//! # What a policy sees
//! - principals `Agent` (`name`, `owner`, `environment`, `assurance`) and `Person` (`name`);
//! - resources `Tool` (`name`, `server`) in `Server` (`name`), and `Host` (`name`);
//! - actions `Action::"<server>/<tool>"` in `Action::"call"`, and `Action::"connect"`;
//! - `context.arguments` (all optional), `context.port`, `context.task` (a `Task` with `purpose`),
//!   `context.session.calls`, `context.posture.assurance`.
//!
//! ```
//! use aims_policy::{PolicySet, Schema, SchemaSource};
//!
//! let schema = Schema::generate(&SchemaSource { servers: vec![] })?;
//! let text = r#"
//!     @id("agents-reach-the-index")
//!     permit (principal is Agent, action == Action::"connect", resource == Host::"pypi.org");
//!
//!     @id("a-person-approves-egress")
//!     @requirement("approval")
//!     permit (principal, action == Action::"connect", resource);
//! "#;
//! assert_eq!(PolicySet::compile(text, &schema)?.text(), text);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compile;
mod evaluate;
mod reduce;
mod request;
mod schema;

pub use compile::{
    BRACKETS_DEPTH_MAX, BRANCHES_MAX, DESCRIPTION_LEN_MAX, EXPRESSION_DEPTH_MAX, OPERATORS_MAX,
    POLICIES_MAX, POLICY_LEN_MAX, POLICY_TEXT_LEN_MAX, PolicyError, PolicyErrors, PolicySet,
    RequirementKind,
};
pub use evaluate::{Decision, DenyReason, EvaluationError, Requirement, Verdict, evaluate};
pub use request::{Action, AgentFacts, Posture, Principal, Request, Session, TaskFacts};
pub use schema::{
    ARGUMENTS_MAX, NESTING_MAX, Schema, SchemaError, SchemaSource, ServerTools, TOOLS_MAX,
    ToolShape,
};
