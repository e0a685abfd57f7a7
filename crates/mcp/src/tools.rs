//! Lists of tools.

use aims_json::{Object, Value, to_canonical_exact};

use crate::limits::{CURSOR_LEN_MAX, TOOL_PAGES_MAX, TOOLS_MAX, TOOLS_PER_PAGE_MAX};
use crate::message::Response;
use crate::method::is_tool_name;
use crate::raw::Raw;

/// The members of a tool that someone acts on: what a model reads, and what a caller or an
/// enforcement point checks against. A change in any of them is another tool.
const PINNED: [&str; 6] = [
    "name",
    "title",
    "description",
    "inputSchema",
    "outputSchema",
    "annotations",
];

/// A tool as its server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    name: String,
    value: Value,
    raw: Raw<'static>,
    pin: Vec<u8>,
}

/// All tools of a server, gathered page by page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolList {
    tools: Vec<Tool>,
    refused: Vec<RefusedTool>,
    pages: usize,
}

/// A tool that is left out, because its description is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedTool {
    /// Its name, if it has one, shortened.
    pub name: Option<String>,
    /// What is wrong.
    pub why: &'static str,
}

/// A server's answer to `tools/list` is no list, or too much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolListError {
    /// The server answered with an error.
    #[error("the server refused `tools/list`: {code} `{message}`")]
    PeerRefused {
        /// The code.
        code: i64,
        /// The message, shortened.
        message: String,
    },
    /// `tools` is no array, or the cursor no string of moderate length.
    #[error("the server's answer to `tools/list` is malformed at `{name}`")]
    PeerMember {
        /// Where.
        name: &'static str,
    },
    /// Two tools of one name: a call could not say which one was meant.
    #[error("the server has two tools called `{name}`")]
    PeerDuplicate {
        /// The name.
        name: String,
    },
    /// More than [`TOOLS_PER_PAGE_MAX`], [`TOOL_PAGES_MAX`] or [`TOOLS_MAX`].
    #[error("the server lists more than {max} {what}")]
    PeerTooMany {
        /// The limit.
        max: usize,
        /// Of what.
        what: &'static str,
    },
}

impl Tool {
    /// The name, by which it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The description for the model, if there is one.
    pub fn description(&self) -> Option<&str> {
        self.value.get("description").and_then(Value::as_str)
    }

    /// The JSON Schema of the arguments; always an object.
    pub fn input_schema(&self) -> &Value {
        self.value.get("inputSchema").unwrap_or(&Value::Null)
    }

    /// The whole description, parsed.
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// The whole description, as it was sent.
    pub const fn raw(&self) -> &Raw<'static> {
        &self.raw
    }

    /// What a pin digests: the canonical text of name, title, description, both schemas and the
    /// annotations. Order of members and white space do not change it; everything else does.
    pub fn pin_bytes(&self) -> &[u8] {
        &self.pin
    }

    /// MCP 2025-11-25, Tools, "Data Types": name and inputSchema, an object of type "object".
    fn read(value: &Value, raw: &[u8]) -> Result<Self, &'static str> {
        let object = value.as_object().ok_or("a tool is an object")?;
        let name = object
            .get("name")
            .and_then(Value::as_str)
            .filter(|name| is_tool_name(name));
        let name = name.ok_or("`name` must be 1 to 128 printable ASCII characters")?;
        if object
            .get("description")
            .is_some_and(|text| text.as_str().is_none())
        {
            return Err("`description` must be a string");
        }
        let schema = object
            .get("inputSchema")
            .filter(|schema| schema.as_object().is_some());
        let schema = schema.ok_or("`inputSchema` must be an object")?;
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err("`inputSchema` must have the type \"object\"");
        }
        let pinned = PINNED
            .iter()
            .filter_map(|name| Some((*name, object.get(name)?)));
        let pinned = pinned.fold(Object::new(), |o, (name, value)| {
            o.with(name, value.clone())
        });
        Ok(Self {
            name: name.to_owned(),
            pin: to_canonical_exact(&pinned.into()).map_err(|_| "nested too deep")?,
            value: value.clone(),
            raw: Raw::trusted(raw.to_vec().into()),
        })
    }
}

impl ToolList {
    /// A list without tools.
    pub const fn new() -> Self {
        Self {
            tools: Vec::new(),
            refused: Vec::new(),
            pages: 0,
        }
    }

    /// Adds a page; gives the cursor of the next one, if there is one. On an error the whole list
    /// is to be thrown away.
    pub fn add_page(&mut self, response: &Response<'_>) -> Result<Option<String>, ToolListError> {
        if let Some(error) = response.error() {
            let message = error.message.chars().take(200).collect();
            return Err(ToolListError::PeerRefused {
                code: error.code,
                message,
            });
        }
        let too_many = |max, what| Err(ToolListError::PeerTooMany { max, what });
        self.pages += 1;
        if self.pages > TOOL_PAGES_MAX {
            return too_many(TOOL_PAGES_MAX, "pages of tools");
        }
        let elements = response.document.elements(&["result", "tools"]);
        let elements = elements.ok_or(ToolListError::PeerMember { name: "tools" })?;
        if elements.len() > TOOLS_PER_PAGE_MAX {
            return too_many(TOOLS_PER_PAGE_MAX, "tools in one page");
        }
        if self.tools.len() + self.refused.len() + elements.len() > TOOLS_MAX {
            return too_many(TOOLS_MAX, "tools");
        }
        for (value, raw) in elements {
            match Tool::read(value, raw) {
                Ok(tool) => self.add(tool)?,
                Err(why) => {
                    let name = value.get("name").and_then(Value::as_str);
                    let name = name.map(|name| name.chars().take(64).collect());
                    self.refused.push(RefusedTool { name, why });
                }
            }
        }
        next_cursor(response)
    }

    /// The tools, sorted by name: the same set is always the same list.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// The tool with this name.
    pub fn get(&self, name: &str) -> Option<&Tool> {
        let index = self
            .tools
            .binary_search_by(|tool| tool.name.as_str().cmp(name))
            .ok()?;
        self.tools.get(index)
    }

    /// What was left out.
    pub fn refused(&self) -> &[RefusedTool] {
        &self.refused
    }

    fn add(&mut self, tool: Tool) -> Result<(), ToolListError> {
        match self
            .tools
            .binary_search_by(|other| other.name.cmp(&tool.name))
        {
            Ok(_) => Err(ToolListError::PeerDuplicate { name: tool.name }),
            Err(place) => {
                self.tools.insert(place, tool);
                Ok(())
            }
        }
    }
}

/// A result of `tools/list`, in one page, holding just these tools, each as its server sent it.
pub fn list_result<'t>(visible: impl IntoIterator<Item = &'t Tool>) -> Raw<'static> {
    let mut out = b"{\"tools\":[".to_vec();
    for (index, tool) in visible.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(tool.raw.as_bytes());
    }
    out.extend_from_slice(b"]}");
    Raw::trusted(out.into())
}

/// MCP 2025-11-25, Pagination: no `nextCursor` means the end.
fn next_cursor(response: &Response<'_>) -> Result<Option<String>, ToolListError> {
    let Some(cursor) = response.document.get(&["result", "nextCursor"]) else {
        return Ok(None);
    };
    match cursor {
        Value::Null => Ok(None),
        Value::String(text) if text.len() <= CURSOR_LEN_MAX => Ok(Some(text.clone())),
        _ => Err(ToolListError::PeerMember { name: "nextCursor" }),
    }
}
