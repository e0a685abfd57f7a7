//! The `initialize` handshake, toward the agent and toward the tool.

use aims_json::{Object, Value};

use crate::build::request;
use crate::id::RequestId;
use crate::limits::INSTRUCTIONS_LEN_MAX;
use crate::message::Response;
use crate::method::{Params, ParamsError};
use crate::raw::Raw;
use crate::version::ProtocolVersion;

/// What an agent's client says of itself.
#[derive(Debug, Clone, Copy)]
pub struct InitializeParams<'m> {
    /// The revision it asks for; [`ProtocolVersion::negotiate`] gives the answer.
    pub protocol_version: &'m str,
    /// What it says it can do. None of it is offered to a tool: sampling, elicitation and roots
    /// would pass the enforcement point undecided.
    pub capabilities: &'m Object,
    /// The name it *claims*; never an identity.
    pub claimed_name: &'m str,
    /// The version it claims.
    pub claimed_version: &'m str,
}

/// What a tool's server answered, as far as it is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHello {
    /// The revision spoken with it.
    pub version: ProtocolVersion,
    /// Whether it has tools at all.
    pub has_tools: bool,
    /// Whether it tells when its tools change.
    pub tells_tool_changes: bool,
    /// `serverInfo`, as it was sent.
    pub server_info: Object,
    /// `instructions`, as they were sent: text for the model, from an untrusted party.
    pub instructions: Option<String>,
}

/// A tool's server did not answer `initialize` as it has to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitializeError {
    /// It answered with an error.
    #[error("the server refused `initialize`: {code} `{message}`")]
    PeerRefused {
        /// The code.
        code: i64,
        /// The message, shortened.
        message: String,
    },
    /// It wants a revision that is not spoken here.
    #[error("the server speaks protocol version `{version}`, which is not supported")]
    PeerVersion {
        /// The revision, shortened.
        version: String,
    },
    /// A member is absent or of the wrong form.
    #[error("`{name}` of the server's answer to `initialize` is not as it must be")]
    PeerMember {
        /// Which.
        name: &'static str,
    },
}

impl<'m> InitializeParams<'m> {
    /// MCP 2025-11-25, Lifecycle, "Initialization".
    pub(crate) fn read(params: &Params<'m>) -> Result<Self, ParamsError> {
        let object = |name| {
            let value = params.need(name)?;
            value
                .as_object()
                .ok_or_else(|| params.wrong(name, "an object"))
        };
        let info = object("clientInfo")?;
        let text = |name| {
            let text = info.get(name).and_then(Value::as_str);
            text.ok_or_else(|| params.wrong("clientInfo", "an object with name and version"))
        };
        Ok(Self {
            protocol_version: params.text("protocolVersion")?,
            capabilities: object("capabilities")?,
            claimed_name: text("name")?,
            claimed_version: text("version")?,
        })
    }
}

impl ServerHello {
    /// Reads a server's answer to our [`initialize_request`].
    pub fn read(response: &Response<'_>) -> Result<Self, InitializeError> {
        if let Some(error) = response.error() {
            let message = error.message.chars().take(200).collect();
            return Err(InitializeError::PeerRefused {
                code: error.code,
                message,
            });
        }
        let wrong = |name| InitializeError::PeerMember { name };
        let member = |name| response.result().and_then(|result| result.get(name));
        let version = member("protocolVersion").and_then(Value::as_str);
        let version = version.ok_or(wrong("protocolVersion"))?;
        let version =
            ProtocolVersion::known(version).ok_or_else(|| InitializeError::PeerVersion {
                version: version.chars().take(64).collect(),
            })?;
        let capabilities = member("capabilities").and_then(Value::as_object);
        let tools = capabilities.ok_or(wrong("capabilities"))?.get("tools");
        if tools.is_some_and(|tools| tools.as_object().is_none()) {
            return Err(wrong("capabilities.tools"));
        }
        let changes = tools
            .and_then(|tools| tools.get("listChanged"))
            .and_then(Value::as_bool);
        let server_info = member("serverInfo").and_then(Value::as_object);
        let short = |text: &&str| text.len() <= INSTRUCTIONS_LEN_MAX;
        let instructions = member("instructions")
            .map(|text| text.as_str().filter(short).ok_or(wrong("instructions")))
            .transpose()?;
        Ok(Self {
            version,
            has_tools: tools.is_some(),
            tells_tool_changes: changes == Some(true),
            server_info: server_info.ok_or(wrong("serverInfo"))?.clone(),
            instructions: instructions.map(str::to_owned),
        })
    }

    /// The result of `initialize` for the agent. Of the server's capabilities only `tools` is
    /// left, which is what an enforcement point decides on; `listChanged` is always offered, as a
    /// change of policy changes the list too.
    pub fn result_for_agent(&self, version: ProtocolVersion) -> Raw<'static> {
        let tools = Object::new().with("listChanged", true);
        let capabilities = if self.has_tools {
            Object::new().with("tools", tools)
        } else {
            Object::new()
        };
        let result = Object::new()
            .with("protocolVersion", version.as_str())
            .with("capabilities", capabilities)
            .with("serverInfo", self.server_info.clone());
        let result = match &self.instructions {
            Some(text) => result.with("instructions", text.as_str()),
            None => result,
        };
        Raw::from(&Value::from(result))
    }
}

/// Our `initialize` toward a tool's server: the newest revision, no capabilities.
pub fn initialize_request(id: &RequestId, name: &str, version: &str) -> Vec<u8> {
    let params = Object::new()
        .with("protocolVersion", ProtocolVersion::LATEST.as_str())
        .with("capabilities", Object::new())
        .with(
            "clientInfo",
            Object::new().with("name", name).with("version", version),
        );
    request(id, "initialize", Some(&Raw::from(&Value::from(params))))
}
