//! What is decided on: one principal, one action, and the facts around them.

use aims_json::Object;
use aims_types::{Id, Name, Task};

/// One request of one principal.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who acts, or on whose authority.
    pub principal: Principal<'a>,
    /// What is done to what.
    pub action: Action<'a>,
    /// The task that it is done for.
    pub task: TaskFacts<'a>,
    /// The session that it is done in.
    pub session: Session,
    /// The state of the instance that acts.
    pub posture: Posture<'a>,
}

/// A principal of a delegation chain.
#[derive(Debug, Clone, Copy)]
pub enum Principal<'a> {
    /// An agent.
    Agent(AgentFacts<'a>),
    /// A person, by name.
    Person(&'a Name),
}

/// What policies know of an agent.
#[derive(Debug, Clone, Copy)]
pub struct AgentFacts<'a> {
    /// Its name, which is never reused.
    pub name: &'a Name,
    /// The person who answers for it.
    pub owner: &'a Name,
    /// Where it runs, for example `production`.
    pub environment: &'a str,
    /// The assurance level of its registration.
    pub assurance: &'a str,
}

/// What policies know of a task.
#[derive(Debug, Clone, Copy)]
pub struct TaskFacts<'a> {
    /// Its id.
    pub id: Id<Task>,
    /// Its purpose in words.
    pub purpose: &'a str,
}

/// What policies know of a session.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    /// How many calls were permitted in it before this one.
    pub calls: u32,
}

/// The attested state of the acting instance.
#[derive(Debug, Clone, Copy)]
pub struct Posture<'a> {
    /// The assurance level at which it runs now.
    pub assurance: &'a str,
}

/// An action and its resource.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// A call of a tool.
    CallTool {
        /// The server.
        server: &'a Name,
        /// The tool's name.
        tool: &'a str,
        /// The arguments, parsed strictly.
        arguments: &'a Object,
    },
    /// An opaque connection.
    Connect {
        /// The host in its one spelling.
        host: &'a str,
        /// The port.
        port: u16,
    },
    /// A request to an upstream.
    Request {
        /// The upstream.
        upstream: &'a Name,
        /// The method.
        method: &'a str,
        /// The path in its one spelling, without the query.
        path: &'a str,
    },
}
