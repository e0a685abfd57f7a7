//! The tools that policies are compiled against.

use std::fmt;

use aims_crypto::sha256;
use aims_json::{CanonicalError, Limits, Object, Value, to_canonical};
use aims_model::ToolServer;
use aims_policy::{
    PolicyErrors, PolicySet, Schema, SchemaError, SchemaSource, ServerTools, ToolShape,
};
use aims_types::{Digest, Name};

/// The names and input schemas of all registered tools, in one canonical form: what Cedar's schema
/// is generated from. The record of a decision commits to its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools(Vec<Server>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    name: Name,
    /// Name and `inputSchema` as canonical JSON text, in the order of registration.
    tools: Vec<(String, String)>,
}

/// Why policies don't fit these tools.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// An input schema is not JSON.
    #[error("the schema of tool `{tool}` of `{server}` is not JSON: {why}")]
    InputSchema {
        /// The server.
        server: Name,
        /// The tool.
        tool: String,
        /// What is wrong.
        why: aims_json::ParseError,
    },
    /// No schema can be made of them.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The policies are not valid for them.
    #[error("{}", listed(.0))]
    Policies(PolicyErrors),
}

fn listed(errors: &PolicyErrors) -> impl fmt::Display {
    errors.to_string()
}

impl Tools {
    /// The tools of these servers.
    pub fn of(servers: &[ToolServer]) -> Self {
        let mut servers: Vec<Server> = servers
            .iter()
            .map(|server| Server {
                name: server.name.clone(),
                tools: server
                    .tools
                    .iter()
                    .map(|pin| (pin.name.clone(), pin.input_schema.clone()))
                    .collect(),
            })
            .collect();
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        Self(servers)
    }

    /// The form that the digest is of: `[{"name", "tools": [{"name", "input_schema"}]}]`, servers
    /// in the order of their names.
    pub fn to_value(&self) -> Value {
        let tool = |(name, schema): &(String, String)| {
            let tool = Object::new().with("name", name.as_str());
            Value::from(tool.with("input_schema", schema.as_str()))
        };
        let server = |server: &Server| {
            let tools: Vec<Value> = server.tools.iter().map(tool).collect();
            Value::from(
                Object::new()
                    .with("name", server.name.as_str())
                    .with("tools", tools),
            )
        };
        Value::Array(self.0.iter().map(server).collect())
    }

    /// Reads the form.
    pub fn from_value(value: &Value) -> Option<Self> {
        let text = |value: &Value, name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let exactly = |value: &Value, count: usize| {
            value
                .as_object()
                .is_some_and(|object| object.len() == count)
        };
        let tool = |value: &Value| {
            let tool = (text(value, "name")?, text(value, "input_schema")?);
            exactly(value, 2).then_some(tool)
        };
        let server = |value: &Value| {
            let tools = value.get("tools")?.as_array()?;
            let server = Server {
                name: text(value, "name")?.parse().ok()?,
                tools: tools.iter().map(tool).collect::<Option<_>>()?,
            };
            exactly(value, 2).then_some(server)
        };
        let servers: Vec<Server> = value
            .as_array()?
            .iter()
            .map(server)
            .collect::<Option<_>>()?;
        servers
            .is_sorted_by(|a, b| a.name < b.name)
            .then_some(Self(servers))
    }

    /// SHA-256 of the canonical form.
    pub fn digest(&self) -> Result<Digest, CanonicalError> {
        Ok(sha256(&to_canonical(&self.to_value())?))
    }

    /// Compiles policies against these tools.
    pub fn compile(&self, policies: &str) -> Result<PolicySet, CompileError> {
        let servers = self.0.iter().map(shapes).collect::<Result<_, _>>()?;
        let schema = Schema::generate(&SchemaSource { servers })?;
        PolicySet::compile(policies, &schema).map_err(CompileError::Policies)
    }
}

fn shapes(server: &Server) -> Result<ServerTools, CompileError> {
    let shape = |(name, schema): &(String, String)| {
        let parsed = aims_json::parse(schema.as_bytes(), &Limits::DOCUMENT);
        let input_schema = parsed.map_err(|why| CompileError::InputSchema {
            server: server.name.clone(),
            tool: name.clone(),
            why,
        })?;
        Ok(ToolShape {
            name: name.clone(),
            input_schema,
        })
    };
    let tools: Result<_, CompileError> = server.tools.iter().map(shape).collect();
    Ok(ServerTools {
        server: server.name.clone(),
        tools: tools?,
    })
}
