//! What a request or a notification asks, as far as an enforcement point must know.

use aims_json::{Object, Value};

use crate::code;
use crate::id::{ProgressToken, RequestId};
use crate::initialize::InitializeParams;
use crate::limits::{CURSOR_LEN_MAX, REASON_LEN_MAX, TOOL_NAME_LEN_MAX};
use crate::message::{Notification, Request};
use crate::raw::Raw;

/// A request by its method. What is not listed is [`Method::Other`], and refused by default.
#[derive(Debug, Clone)]
pub enum Method<'m> {
    /// `initialize`.
    Initialize(InitializeParams<'m>),
    /// `ping`.
    Ping,
    /// `tools/list`.
    ToolsList {
        /// Where to go on.
        cursor: Option<&'m str>,
    },
    /// `tools/call`.
    ToolsCall(ToolCall<'m>),
    /// `logging/setLevel`.
    LoggingSetLevel {
        /// The level.
        level: &'m str,
    },
    /// `resources/list`.
    ResourcesList {
        /// Where to go on.
        cursor: Option<&'m str>,
    },
    /// `resources/templates/list`.
    ResourceTemplatesList {
        /// Where to go on.
        cursor: Option<&'m str>,
    },
    /// `resources/read`.
    ResourcesRead {
        /// What.
        uri: &'m str,
    },
    /// `resources/subscribe`.
    ResourcesSubscribe {
        /// To what.
        uri: &'m str,
    },
    /// `resources/unsubscribe`.
    ResourcesUnsubscribe {
        /// From what.
        uri: &'m str,
    },
    /// `prompts/list`.
    PromptsList {
        /// Where to go on.
        cursor: Option<&'m str>,
    },
    /// `prompts/get`.
    PromptsGet {
        /// Which.
        name: &'m str,
    },
    /// `completion/complete`: a side door to the names of prompts and resources.
    CompletionComplete,
    /// `server/discover`: the probe of a client of 2026-07-28; see [`crate::modern`].
    ServerDiscover,
    /// `sampling/createMessage`, from a server.
    SamplingCreateMessage,
    /// `elicitation/create`, from a server.
    ElicitationCreate,
    /// `roots/list`, from a server.
    RootsList,
    /// Anything else, by the name it was sent under.
    Other(&'m str),
}

/// A call of a tool.
#[derive(Debug, Clone)]
pub struct ToolCall<'m> {
    /// The tool's name.
    pub name: &'m str,
    /// The exact text of `arguments`, if there is one: this goes on, byte for byte.
    pub arguments: Option<Raw<'m>>,
    /// The same, parsed; always an object.
    pub arguments_value: Option<&'m Value>,
    /// By which token the agent wants to hear of progress.
    pub progress_token: Option<ProgressToken>,
    /// The other members of `_meta`, each with its exact text.
    pub meta: Vec<(&'m str, Raw<'m>)>,
}

/// A notification by its method. What is not listed is [`Notice::Other`], and dropped by default.
#[derive(Debug, Clone)]
pub enum Notice<'m> {
    /// `notifications/initialized`.
    Initialized,
    /// `notifications/cancelled`.
    Cancelled {
        /// Which request.
        request_id: RequestId,
        /// Why, in words.
        reason: Option<&'m str>,
    },
    /// `notifications/progress`.
    Progress(Progress<'m>),
    /// `notifications/message`: a line of the server's log.
    LogMessage,
    /// `notifications/tools/list_changed`.
    ToolsListChanged,
    /// `notifications/resources/list_changed`.
    ResourcesListChanged,
    /// `notifications/resources/updated`.
    ResourcesUpdated,
    /// `notifications/prompts/list_changed`.
    PromptsListChanged,
    /// `notifications/roots/list_changed`.
    RootsListChanged,
    /// Anything else, by the name it was sent under.
    Other(&'m str),
}

/// How far a request has come.
#[derive(Debug, Clone)]
pub struct Progress<'m> {
    /// The token that the request carried.
    pub token: ProgressToken,
    /// What it is about, in words.
    pub message: Option<&'m str>,
}

/// The parameters of a method are not as it needs them. Answered with
/// [`code::INVALID_PARAMS`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// A member that the method must have is absent.
    #[error("`{method}` needs the parameter `{name}`")]
    Absent {
        /// The method.
        method: &'static str,
        /// The parameter.
        name: &'static str,
    },
    /// A member is of the wrong type, empty or too long.
    #[error("the parameter `{name}` of `{method}` must be {expected}")]
    Wrong {
        /// The method.
        method: &'static str,
        /// The parameter.
        name: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// A member that the method does not have in the revisions spoken here.
    #[error("`{method}` has no parameter `{name}`")]
    Unknown {
        /// The method.
        method: &'static str,
        /// The parameter, shortened.
        name: String,
    },
}

impl ParamsError {
    /// The JSON-RPC code of the answer.
    pub const fn code(&self) -> i64 {
        code::INVALID_PARAMS
    }
}

impl Request<'_> {
    /// The typed view. A notification's name in a request is [`Method::Other`].
    pub fn method(&self) -> Result<Method<'_>, ParamsError> {
        let params = |method| Params {
            method,
            object: self.params(),
        };
        Ok(match self.method_name() {
            "initialize" => Method::Initialize(InitializeParams::read(&params("initialize"))?),
            "ping" => Method::Ping,
            "tools/list" => Method::ToolsList {
                cursor: params("tools/list").cursor()?,
            },
            "tools/call" => Method::ToolsCall(self.tool_call(&params("tools/call"))?),
            "logging/setLevel" => Method::LoggingSetLevel {
                level: params("logging/setLevel").text("level")?,
            },
            "resources/list" => Method::ResourcesList {
                cursor: params("resources/list").cursor()?,
            },
            "resources/templates/list" => {
                let cursor = params("resources/templates/list").cursor()?;
                Method::ResourceTemplatesList { cursor }
            }
            "resources/read" => Method::ResourcesRead {
                uri: params("resources/read").text("uri")?,
            },
            "resources/subscribe" => Method::ResourcesSubscribe {
                uri: params("resources/subscribe").text("uri")?,
            },
            "resources/unsubscribe" => Method::ResourcesUnsubscribe {
                uri: params("resources/unsubscribe").text("uri")?,
            },
            "prompts/list" => Method::PromptsList {
                cursor: params("prompts/list").cursor()?,
            },
            "prompts/get" => Method::PromptsGet {
                name: params("prompts/get").text("name")?,
            },
            "completion/complete" => Method::CompletionComplete,
            "server/discover" => Method::ServerDiscover,
            "sampling/createMessage" => Method::SamplingCreateMessage,
            "elicitation/create" => Method::ElicitationCreate,
            "roots/list" => Method::RootsList,
            other => Method::Other(other),
        })
    }

    /// MCP 2025-11-25, Tools, "Calling Tools". Parameters of other revisions (`task`,
    /// `inputResponses`, `requestState`) are refused rather than dropped: a call must not mean
    /// less, or more, behind the enforcement point than before it.
    fn tool_call<'m>(&'m self, params: &Params<'m>) -> Result<ToolCall<'m>, ParamsError> {
        params.only(&["name", "arguments", "_meta"])?;
        let name = params.text("name")?;
        if !is_tool_name(name) {
            return Err(params.wrong("name", "1 to 128 printable ASCII characters"));
        }
        let arguments_value = params.get("arguments");
        if arguments_value.is_some_and(|value| value.as_object().is_none()) {
            return Err(params.wrong("arguments", "an object"));
        }
        let members = self
            .document
            .members(&["params", "_meta"])
            .unwrap_or_default();
        let others = members
            .into_iter()
            .filter(|(name, _)| *name != "progressToken");
        Ok(ToolCall {
            name,
            arguments: Raw::of(&self.document, &["params", "arguments"]),
            arguments_value,
            progress_token: params.progress_token()?,
            meta: others
                .map(|(name, raw)| (name, Raw::trusted(raw.into())))
                .collect(),
        })
    }
}

impl Notification<'_> {
    /// The typed view. A request's name in a notification is [`Notice::Other`].
    pub fn notice(&self) -> Result<Notice<'_>, ParamsError> {
        let params = |method| Params {
            method,
            object: self.params(),
        };
        Ok(match self.method_name() {
            "notifications/initialized" => Notice::Initialized,
            "notifications/cancelled" => params("notifications/cancelled").cancelled()?,
            "notifications/progress" => params("notifications/progress").progress()?,
            "notifications/message" => Notice::LogMessage,
            "notifications/tools/list_changed" => Notice::ToolsListChanged,
            "notifications/resources/list_changed" => Notice::ResourcesListChanged,
            "notifications/resources/updated" => Notice::ResourcesUpdated,
            "notifications/prompts/list_changed" => Notice::PromptsListChanged,
            "notifications/roots/list_changed" => Notice::RootsListChanged,
            other => Notice::Other(other),
        })
    }
}

/// Whether a text can be the name of a tool: printable ASCII without space, so that what a person
/// reads in a policy or an approval is what is called. The specification recommends a subset of
/// this (2025-11-25, Tools, "Tool Names").
pub(crate) fn is_tool_name(name: &str) -> bool {
    (1..=TOOL_NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
}

/// The parameters of one method.
pub(crate) struct Params<'m> {
    pub(crate) method: &'static str,
    pub(crate) object: Option<&'m Object>,
}

impl<'m> Params<'m> {
    pub(crate) fn get(&self, name: &str) -> Option<&'m Value> {
        self.object.and_then(|object| object.get(name))
    }

    pub(crate) fn need(&self, name: &'static str) -> Result<&'m Value, ParamsError> {
        self.get(name).ok_or(ParamsError::Absent {
            method: self.method,
            name,
        })
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<&'m str, ParamsError> {
        self.need(name)?
            .as_str()
            .ok_or_else(|| self.wrong(name, "a string"))
    }

    pub(crate) const fn wrong(&self, name: &'static str, expected: &'static str) -> ParamsError {
        ParamsError::Wrong {
            method: self.method,
            name,
            expected,
        }
    }

    fn only(&self, known: &[&str]) -> Result<(), ParamsError> {
        let mut members = self.object.into_iter().flat_map(Object::iter);
        match members.find(|(name, _)| !known.contains(name)) {
            None => Ok(()),
            Some((name, _)) => Err(ParamsError::Unknown {
                method: self.method,
                name: name.chars().take(64).collect(),
            }),
        }
    }

    fn cursor(&self) -> Result<Option<&'m str>, ParamsError> {
        let short = |text: &&str| text.len() <= CURSOR_LEN_MAX;
        let wrong = || self.wrong("cursor", "a string of moderate length");
        let cursor = self.get("cursor");
        cursor
            .map(|value| value.as_str().filter(short).ok_or_else(wrong))
            .transpose()
    }

    fn progress_token(&self) -> Result<Option<ProgressToken>, ParamsError> {
        let token = self.get("_meta").and_then(|meta| meta.get("progressToken"));
        let wrong = || self.wrong("_meta.progressToken", "a string or a whole number");
        token
            .map(|value| ProgressToken::from_value(value).ok_or_else(wrong))
            .transpose()
    }

    /// MCP 2025-11-25, Cancellation.
    fn cancelled(&self) -> Result<Notice<'m>, ParamsError> {
        let request_id = RequestId::from_value(self.need("requestId")?)
            .ok_or_else(|| self.wrong("requestId", "a string or a whole number"))?;
        let short = |text: &&str| text.len() <= REASON_LEN_MAX;
        let wrong = || self.wrong("reason", "a string of moderate length");
        let reason = self.get("reason");
        let reason = reason.map(|value| value.as_str().filter(short).ok_or_else(wrong));
        Ok(Notice::Cancelled {
            request_id,
            reason: reason.transpose()?,
        })
    }

    /// MCP 2025-11-25, Progress.
    fn progress(&self) -> Result<Notice<'m>, ParamsError> {
        let token = ProgressToken::from_value(self.need("progressToken")?)
            .ok_or_else(|| self.wrong("progressToken", "a string or a whole number"))?;
        if self.need("progress")?.as_number().is_none() {
            return Err(self.wrong("progress", "a number"));
        }
        if self
            .get("total")
            .is_some_and(|total| total.as_number().is_none())
        {
            return Err(self.wrong("total", "a number"));
        }
        let wrong = || self.wrong("message", "a string");
        let message = self
            .get("message")
            .map(|value| value.as_str().ok_or_else(wrong));
        Ok(Notice::Progress(Progress {
            token,
            message: message.transpose()?,
        }))
    }
}
