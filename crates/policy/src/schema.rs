//! The Cedar schema of the tools that exist.

mod shape;
mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use aims_json::Value;
use aims_types::Name;
use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};

pub(crate) use self::shape::Shape;

/// Most tools in one schema: validation looks at each policy once per tool and kind of principal.
pub const TOOLS_MAX: usize = 2048;
/// Most arguments of one tool, and members of one object, that policies see; others are untyped.
pub const ARGUMENTS_MAX: usize = 128;
/// Deepest nesting of objects and arrays in an argument that policies see.
pub const NESTING_MAX: usize = 8;

/// The tools from which a schema is generated.
#[derive(Debug, Clone, Default)]
pub struct SchemaSource {
    /// The servers.
    pub servers: Vec<ServerTools>,
}

/// The tools of one server.
#[derive(Debug, Clone)]
pub struct ServerTools {
    /// The server's name.
    pub server: Name,
    /// Its tools.
    pub tools: Vec<ToolShape>,
}

/// What a tool takes.
#[derive(Debug, Clone)]
pub struct ToolShape {
    /// The tool's name.
    pub name: String,
    /// Its `inputSchema` (MCP 2025-11-25, tools).
    pub input_schema: Value,
}

/// A Cedar schema. Cheap to clone.
#[derive(Clone)]
pub struct Schema(Arc<Inner>);

/// Why there is no schema for a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The same server twice.
    #[error("server `{server}` is given twice")]
    DuplicateServer {
        /// The server.
        server: Name,
    },
    /// The same tool twice in one server.
    #[error("tool `{tool}` of server `{server}` is given twice")]
    DuplicateTool {
        /// The server.
        server: Name,
        /// The tool.
        tool: String,
    },
    /// More tools than one schema can hold.
    #[error("{count} tools where at most {TOOLS_MAX} are accepted; register fewer servers")]
    TooManyTools {
        /// How many there are.
        count: usize,
    },
    /// Cedar refused what we generated.
    #[error("the generated schema is not accepted: {why}")]
    NotAccepted {
        /// Cedar's reason.
        why: String,
    },
}

/// Everything a request needs, made once.
pub(crate) struct Inner {
    pub(crate) cedar: cedar_policy::Schema,
    pub(crate) types: Types,
    pub(crate) connect: ActionEntities,
    pub(crate) request: ActionEntities,
    text: String,
    tools: HashMap<Name, HashMap<String, Tool>>,
}

/// The names of the entity types, parsed once.
pub(crate) struct Types {
    pub(crate) agent: EntityTypeName,
    pub(crate) person: EntityTypeName,
    pub(crate) task: EntityTypeName,
    pub(crate) host: EntityTypeName,
    pub(crate) upstream: EntityTypeName,
    server: EntityTypeName,
    tool: EntityTypeName,
    action: EntityTypeName,
}

/// An action and the entities that do not change from request to request.
pub(crate) struct ActionEntities {
    pub(crate) action: EntityUid,
    pub(crate) entities: Vec<Entity>,
}

/// One tool as policies see it.
pub(crate) struct Tool {
    pub(crate) call: ActionEntities,
    pub(crate) resource: EntityUid,
    pub(crate) arguments: Shape,
    untyped: Vec<String>,
}

impl Schema {
    /// The schema of these tools.
    pub fn generate(source: &SchemaSource) -> Result<Self, SchemaError> {
        let count = source.servers.iter().map(|server| server.tools.len()).sum();
        if count > TOOLS_MAX {
            return Err(SchemaError::TooManyTools { count });
        }
        let mut shapes: BTreeMap<(&Name, &str), (Shape, Vec<String>)> = BTreeMap::new();
        let mut servers = BTreeSet::new();
        for ServerTools { server, tools } in &source.servers {
            if !servers.insert(server) {
                return Err(SchemaError::DuplicateServer {
                    server: server.clone(),
                });
            }
            for tool in tools {
                let shape = Shape::of_input(&tool.input_schema);
                if shapes.insert((server, &tool.name), shape).is_some() {
                    let (server, tool) = (server.clone(), tool.name.clone());
                    return Err(SchemaError::DuplicateTool { server, tool });
                }
            }
        }
        let arguments = shapes
            .iter()
            .map(|(name, (shape, _))| (action_id(name.0, name.1), shape));
        let text = text::schema(arguments).to_string();
        let cedar = cedar_policy::Schema::from_json_str(&text).map_err(not_accepted)?;
        let types = Types::new()?;
        let mut tools: HashMap<Name, HashMap<String, Tool>> = HashMap::new();
        for ((server, name), (arguments, untyped)) in shapes {
            let tool = types.tool(server, name, arguments, untyped)?;
            tools
                .entry(server.clone())
                .or_default()
                .insert(name.to_owned(), tool);
        }
        let (connect, request) = (types.alone("connect"), types.alone("request"));
        Ok(Self(Arc::new(Inner {
            cedar,
            types,
            connect,
            request,
            text,
            tools,
        })))
    }

    /// The schema in Cedar's JSON form: one text for one set of tools.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The arguments of a tool that policies cannot see, as paths such as `options.level`; a
    /// policy that names one does not validate. Empty for a tool that is not in the schema.
    pub fn untyped(&self, server: &Name, tool: &str) -> &[String] {
        self.tool(server, tool).map_or(&[], |tool| &tool.untyped)
    }

    /// Whether the schema has this tool.
    pub fn has(&self, server: &Name, tool: &str) -> bool {
        self.tool(server, tool).is_some()
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn tool(&self, server: &Name, tool: &str) -> Option<&Tool> {
        self.0.tools.get(server)?.get(tool)
    }

    /// All untyped arguments, each with the id of its tool's action.
    pub(crate) fn untyped_everywhere(&self) -> impl Iterator<Item = (&str, String)> {
        let tools =
            self.0.tools.iter().flat_map(|(server, tools)| {
                tools.iter().map(move |(name, tool)| (server, name, tool))
            });
        tools.flat_map(|(server, name, tool)| {
            tool.untyped
                .iter()
                .map(move |path| (path.as_str(), action_id(server, name)))
        })
    }
}

impl Types {
    fn new() -> Result<Self, SchemaError> {
        let name = |text: &str| text.parse::<EntityTypeName>().map_err(not_accepted);
        Ok(Self {
            agent: name("Agent")?,
            person: name("Person")?,
            task: name("Task")?,
            host: name("Host")?,
            upstream: name("Upstream")?,
            server: name("Server")?,
            tool: name("Tool")?,
            action: name("Action")?,
        })
    }

    fn action(&self, id: &str) -> EntityUid {
        uid(&self.action, id)
    }

    /// An action that is in no other.
    fn alone(&self, id: &str) -> ActionEntities {
        let action = self.action(id);
        let entities = vec![Entity::new_no_attrs(action.clone(), HashSet::new())];
        ActionEntities { action, entities }
    }

    /// The tool's entities: itself in its server, and its action in `call`.
    fn tool(
        &self,
        server: &Name,
        name: &str,
        arguments: Shape,
        untyped: Vec<String>,
    ) -> Result<Tool, SchemaError> {
        let id = action_id(server, name);
        let (call, server_uid) = (self.action("call"), uid(&self.server, server.as_str()));
        let (action, resource) = (self.action(&id), uid(&self.tool, &id));
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let attributes = HashMap::from([
            ("name".to_owned(), text(name)),
            (
                "server".to_owned(),
                RestrictedExpression::new_entity_uid(server_uid.clone()),
            ),
        ]);
        let parents = HashSet::from([server_uid.clone()]);
        let server_attributes = HashMap::from([("name".to_owned(), text(server.as_str()))]);
        let entities = vec![
            Entity::new(resource.clone(), attributes, parents).map_err(not_accepted)?,
            Entity::new(server_uid, server_attributes, HashSet::new()).map_err(not_accepted)?,
            Entity::new_no_attrs(action.clone(), HashSet::from([call.clone()])),
            Entity::new_no_attrs(call, HashSet::new()),
        ];
        let call = ActionEntities { action, entities };
        Ok(Tool {
            call,
            resource,
            arguments,
            untyped,
        })
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.0.text).finish()
    }
}

/// The entity of this type with this id, whatever characters the id has.
pub(crate) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// The id of a tool's action and resource. A server's name has no `/`, so it is unambiguous.
fn action_id(server: &Name, tool: &str) -> String {
    format!("{server}/{tool}")
}

fn not_accepted(error: impl fmt::Display) -> SchemaError {
    SchemaError::NotAccepted {
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
