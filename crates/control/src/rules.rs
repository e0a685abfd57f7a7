//! The organisation's policies, compiled against the tools that are registered.

use std::collections::BTreeSet;

use aims_authority::{Authority, Detail};
use aims_json::{Limits, Object};
use aims_model::{Agent, Person, ToolServer};
use aims_policy::{
    Action, AgentFacts, Decision, DenyReason, PolicyErrors, PolicySet, Posture, Principal, Request,
    Schema, SchemaError, SchemaSource, ServerTools, Session, TaskFacts, ToolShape, evaluate,
};
use aims_types::{Id, Name, Task};

/// Why a policy text is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// The schema of the registered tools can't be made.
    #[error("no schema can be made of the registered tools: {0}")]
    Schema(#[from] SchemaError),
    /// A tool's `inputSchema` is not JSON.
    #[error("the input schema of tool `{tool}` of `{server}` is not acceptable JSON: {reason}")]
    InputSchema {
        /// The server.
        server: Name,
        /// The tool.
        tool: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The text has mistakes, each with its line and column.
    #[error("{}", first_of(.0))]
    Text(PolicyErrors),
}

impl From<PolicyErrors> for RulesError {
    fn from(errors: PolicyErrors) -> Self {
        Self::Text(errors)
    }
}

fn first_of(errors: &PolicyErrors) -> String {
    let count = errors.iter().count();
    let more = if count > 1 {
        format!(" (and {} more)", count - 1)
    } else {
        String::new()
    };
    errors.iter().next().map_or_else(String::new, |first| {
        format!(
            "line {}, column {}: {}{more}",
            first.line, first.column, first.message
        )
    })
}

/// Validates a policy text against the tools of `servers`.
pub(crate) fn compile(text: &str, servers: &[ToolServer]) -> Result<PolicySet, RulesError> {
    Ok(PolicySet::compile(text, &schema(servers)?)?)
}

/// The schema of the tools of `servers`.
pub(crate) fn schema(servers: &[ToolServer]) -> Result<Schema, RulesError> {
    let servers = servers.iter().map(tools_of).collect::<Result<_, _>>()?;
    Ok(Schema::generate(&SchemaSource { servers })?)
}

fn tools_of(server: &ToolServer) -> Result<ServerTools, RulesError> {
    let shape = |pin: &aims_model::ToolPin| {
        let parsed = aims_json::parse(pin.input_schema.as_bytes(), &Limits::MESSAGE);
        match parsed {
            Ok(input_schema) => Ok(ToolShape {
                name: pin.name.clone(),
                input_schema,
            }),
            Err(error) => Err(RulesError::InputSchema {
                server: server.name.clone(),
                tool: pin.name.clone(),
                reason: error.to_string(),
            }),
        }
    };
    let tools = server.tools.iter().map(shape).collect::<Result<_, _>>()?;
    Ok(ServerTools {
        server: server.name.clone(),
        tools,
    })
}

/// Who and what a hop of authority is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hop<'a> {
    pub(crate) person: &'a Person,
    /// The agents of the hops above, each with its owner.
    pub(crate) above: &'a [(Agent, Person)],
    /// The delegate.
    pub(crate) agent: &'a Agent,
    pub(crate) owner: &'a Person,
    pub(crate) task: Id<Task>,
    pub(crate) purpose: &'a str,
    pub(crate) authority: &'a Authority,
}

/// What the policies have against a hop of authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Objection {
    pub(crate) principal: String,
    pub(crate) resource: String,
    pub(crate) reason: String,
}

/// Asks the policies about every tool, request and host that an authority names, for each distinct
/// principal of the chain: the person and every agent.
///
/// A host is known completely, so it has to be permitted. Arguments of tools come with each call,
/// and so do the paths of requests below the one named; here only a tool that is forbidden when
/// asked without arguments is objected to, which is what would never be listed to the agent, and a
/// request that is forbidden at the path named.
pub(crate) fn objection(policies: &PolicySet, hop: &Hop<'_>) -> Option<Objection> {
    let principals = principals(hop);
    let details = hop.authority.details().iter();
    details
        .flat_map(|detail| principals.iter().map(move |who| (detail, who)))
        .find_map(|(detail, (who, principal))| {
            let (resource, reason) = refusal_of(policies, hop, *principal, detail)?;
            Some(Objection {
                principal: who.clone(),
                resource,
                reason,
            })
        })
}

/// The person and every agent of the chain, each once.
fn principals<'a>(hop: &Hop<'a>) -> Vec<(String, Principal<'a>)> {
    let person = format!("person `{}`", hop.person.name);
    let mut principals = vec![(person, Principal::Person(&hop.person.name))];
    let above = hop.above.iter().map(|(agent, owner)| (agent, owner));
    let mut seen = BTreeSet::new();
    for (agent, owner) in above.chain([(hop.agent, hop.owner)]) {
        if seen.insert(agent.id) {
            let who = format!("agent `{}`", agent.name);
            principals.push((who, Principal::Agent(facts(agent, owner))));
        }
    }
    principals
}

/// What is refused of one detail to one principal, and why.
fn refusal_of(
    policies: &PolicySet,
    hop: &Hop<'_>,
    principal: Principal<'_>,
    detail: &Detail,
) -> Option<(String, String)> {
    match detail {
        Detail::Egress(egress) => {
            let (host, port) = (egress.host().as_str(), egress.port());
            let reason = denial(ask(
                policies,
                hop,
                principal,
                Action::Connect { host, port },
            ))?;
            Some((format!("{host}:{port}"), reason))
        }
        Detail::Http(http) => http.methods().iter().find_map(|method| {
            let (upstream, path) = (http.upstream(), http.path().as_str());
            let action = Action::Request {
                upstream,
                method: method.as_str(),
                path,
            };
            let reason = forbidden(ask(policies, hop, principal, action))?;
            Some((format!("{method} {upstream}{path}"), reason))
        }),
        Detail::Tools(tools) => tools.actions().iter().find_map(|tool| {
            let (server, tool, arguments) = (tools.server(), tool.as_str(), Object::new());
            let action = Action::CallTool {
                server,
                tool,
                arguments: &arguments,
            };
            let reason = forbidden(ask(policies, hop, principal, action))?;
            Some((format!("{server}/{tool}"), reason))
        }),
    }
}

fn ask(
    policies: &PolicySet,
    hop: &Hop<'_>,
    principal: Principal<'_>,
    action: Action<'_>,
) -> Decision {
    let request = Request {
        principal,
        action,
        task: TaskFacts {
            id: hop.task,
            purpose: hop.purpose,
        },
        session: Session { calls: 0 },
        posture: Posture {
            assurance: hop.agent.assurance.as_str(),
        },
    };
    evaluate(policies, &request).decision
}

fn facts<'a>(agent: &'a Agent, owner: &'a Person) -> AgentFacts<'a> {
    AgentFacts {
        name: &agent.name,
        owner: &owner.name,
        environment: agent.environment.as_str(),
        assurance: agent.assurance.as_str(),
    }
}

fn denial(decision: Decision) -> Option<String> {
    match decision {
        Decision::Permit { .. } => None,
        Decision::Deny {
            reason: DenyReason::NoPermit,
        } => Some("no policy permits it".to_owned()),
        other @ Decision::Deny { .. } => {
            forbidden(other).or_else(|| Some("a policy failed".to_owned()))
        }
    }
}

fn forbidden(decision: Decision) -> Option<String> {
    match decision {
        Decision::Deny {
            reason: DenyReason::ForbiddenBy(policies),
        } => {
            let names: Vec<&str> = policies.iter().map(Name::as_str).collect();
            Some(format!("forbidden by policy `{}`", names.join("`, `")))
        }
        _ => None,
    }
}
