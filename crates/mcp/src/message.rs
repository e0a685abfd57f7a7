//! JSON-RPC messages, read strictly.

use std::ops::Range;

use aims_json::{Document, Limits, Object, ParseError, Value};

use crate::code;
use crate::id::RequestId;
use crate::limits::METHOD_LEN_MAX;
use crate::raw::Raw;

/// One message. Batches are none: they were removed in 2025-06-18, and one that is let through is
/// a message that was never decided upon.
#[derive(Debug, Clone)]
pub enum Message<'a> {
    /// Wants an answer.
    Request(Request<'a>),
    /// Wants none.
    Notification(Notification<'a>),
    /// Is the answer.
    Response(Response<'a>),
}

/// A request (JSON-RPC 2.0 §4).
#[derive(Debug, Clone)]
pub struct Request<'a> {
    pub(crate) document: Document<'a>,
    id: RequestId,
    method: String,
}

/// A notification (JSON-RPC 2.0 §4.1).
#[derive(Debug, Clone)]
pub struct Notification<'a> {
    pub(crate) document: Document<'a>,
    method: String,
}

/// A response (JSON-RPC 2.0 §5).
#[derive(Debug, Clone)]
pub struct Response<'a> {
    pub(crate) document: Document<'a>,
    id: Option<RequestId>,
    outcome: Outcome,
}

/// An error that a peer answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerError<'m> {
    /// The code.
    pub code: i64,
    /// The message.
    pub message: &'m str,
    /// More, in the peer's own form.
    pub data: Option<&'m Value>,
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not acceptable JSON, or beyond a limit.
    #[error(transparent)]
    Json(#[from] ParseError),
    /// An array: a batch.
    #[error("batches are not accepted: send one message at a time")]
    Batch,
    /// JSON, but no object.
    #[error("a message is an object")]
    NotAnObject,
    /// `jsonrpc` is absent or not `"2.0"`.
    #[error("`jsonrpc` must be \"2.0\"")]
    Version,
    /// A member that JSON-RPC does not have at this place.
    #[error("a {kind} has no member `{name}`")]
    UnknownMember {
        /// What kind of message it would be.
        kind: &'static str,
        /// The member.
        name: String,
    },
    /// The id is null, a fraction, too long, or of another type; or it is absent from a result.
    #[error("`id` must be a string of moderate length or a whole number")]
    Id,
    /// The method's name is no string, empty or too long.
    #[error("`method` must be a string of 1 to {METHOD_LEN_MAX} bytes")]
    Method,
    /// Neither method nor result nor error.
    #[error("the message is no request, no notification and no response")]
    Kind,
    /// Both a result and an error.
    #[error("a response has a result or an error, not both")]
    ResultAndError,
    /// The result is no object (MCP 2025-11-25, Base Protocol, "Responses").
    #[error("the result of a response must be an object")]
    ResultObject,
    /// The error has no whole number `code` or no string `message`.
    #[error("the error of a response has a whole number `code` and a string `message`")]
    ErrorObject,
    /// `params` is no object, or its `_meta` is none (MCP has no positional parameters).
    #[error("`params` and `params._meta` must be objects where they are given")]
    Params,
}

/// A message that was refused, with the id to answer to if the message had a good one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    /// Why.
    #[source]
    pub error: MessageError,
    /// The id, where it could be read. Only a request's id is ever given: a malformed response
    /// is not answered.
    pub id: Option<RequestId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Result,
    Error { code: i64 },
}

impl MessageError {
    /// The JSON-RPC code of the answer. Over HTTP its status is 400.
    pub const fn code(&self) -> i64 {
        match self {
            Self::Json(_) => code::PARSE_ERROR,
            Self::Params => code::INVALID_PARAMS,
            _ => code::INVALID_REQUEST,
        }
    }
}

impl<'a> Message<'a> {
    /// Reads one message. Its bytes are kept: what was decided upon is what goes on.
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self, Refused> {
        let refused = |error| Refused { error, id: None };
        let document = Document::parse(bytes, limits).map_err(|error| refused(error.into()))?;
        let members = match document.root() {
            Value::Object(members) => members,
            Value::Array(_) => return Err(refused(MessageError::Batch)),
            _ => return Err(refused(MessageError::NotAnObject)),
        };
        let is_call = members.contains("method");
        match Head::read(members) {
            Ok(head) => Ok(head.with(document)),
            Err(error) => {
                let id = members.get("id").and_then(RequestId::from_value);
                Err(Refused {
                    error,
                    id: id.filter(|_| is_call),
                })
            }
        }
    }

    /// The message as it was read.
    pub const fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Request(request) => request.document.bytes(),
            Self::Notification(notification) => notification.document.bytes(),
            Self::Response(response) => response.document.bytes(),
        }
    }
}

impl<'a> Request<'a> {
    /// The id, to be answered as it is.
    pub const fn id(&self) -> &RequestId {
        &self.id
    }

    /// The method's name as it was sent; [`Request::method`] is the typed view.
    pub fn method_name(&self) -> &str {
        &self.method
    }

    /// The parameters, if there are any.
    pub fn params(&self) -> Option<&Object> {
        self.document.get(&["params"]).and_then(Value::as_object)
    }

    /// The exact text of the parameters.
    pub fn raw_params(&self) -> Option<Raw<'a>> {
        Raw::of(&self.document, &["params"])
    }

    /// The whole message as it was read.
    pub const fn bytes(&self) -> &'a [u8] {
        self.document.bytes()
    }
}

impl<'a> Notification<'a> {
    /// The method's name as it was sent; [`Notification::notice`] is the typed view.
    pub fn method_name(&self) -> &str {
        &self.method
    }

    /// The parameters, if there are any.
    pub fn params(&self) -> Option<&Object> {
        self.document.get(&["params"]).and_then(Value::as_object)
    }

    /// The exact text of the parameters.
    pub fn raw_params(&self) -> Option<Raw<'a>> {
        Raw::of(&self.document, &["params"])
    }

    /// The whole message as it was read.
    pub const fn bytes(&self) -> &'a [u8] {
        self.document.bytes()
    }
}

impl<'a> Response<'a> {
    /// The id of the request it answers; absent only from an error whose sender could not read
    /// the request.
    pub const fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// The result, if it is no error.
    pub fn result(&self) -> Option<&Value> {
        self.document.get(&["result"])
    }

    /// The exact text of the result.
    pub fn raw_result(&self) -> Option<Raw<'a>> {
        Raw::of(&self.document, &["result"])
    }

    /// The error, if it is one.
    pub fn error(&self) -> Option<PeerError<'_>> {
        let Outcome::Error { code } = self.outcome else {
            return None;
        };
        let message = self.document.get(&["error", "message"])?.as_str()?;
        Some(PeerError {
            code,
            message,
            data: self.document.get(&["error", "data"]),
        })
    }

    /// The whole message as it was read.
    pub const fn bytes(&self) -> &'a [u8] {
        self.document.bytes()
    }

    /// Where the id stands.
    pub(crate) fn id_span(&self) -> Option<Range<usize>> {
        self.document.span(&["id"])
    }
}

/// What a message is, before it takes its document along.
enum Head {
    Request {
        id: RequestId,
        method: String,
    },
    Notification {
        method: String,
    },
    Response {
        id: Option<RequestId>,
        outcome: Outcome,
    },
}

impl Head {
    fn read(members: &Object) -> Result<Self, MessageError> {
        if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(MessageError::Version);
        }
        match (
            members.get("method"),
            members.get("result"),
            members.get("error"),
        ) {
            (Some(method), _, _) => Self::call(members, method),
            (None, Some(_), Some(_)) => Err(MessageError::ResultAndError),
            (None, Some(result), None) => Self::result(members, result),
            (None, None, Some(error)) => Self::error(members, error),
            (None, None, None) => Err(MessageError::Kind),
        }
    }

    fn call(members: &Object, method: &Value) -> Result<Self, MessageError> {
        only(members, "request", &["jsonrpc", "id", "method", "params"])?;
        let is_name = |name: &&str| (1..=METHOD_LEN_MAX).contains(&name.len());
        let method = method
            .as_str()
            .filter(is_name)
            .ok_or(MessageError::Method)?
            .to_owned();
        let id = members.get("id").map(good_id).transpose()?;
        if let Some(params) = members.get("params") {
            let params = params.as_object().ok_or(MessageError::Params)?;
            if params
                .get("_meta")
                .is_some_and(|meta| meta.as_object().is_none())
            {
                return Err(MessageError::Params);
            }
        }
        Ok(match id {
            Some(id) => Self::Request { id, method },
            None => Self::Notification { method },
        })
    }

    fn result(members: &Object, result: &Value) -> Result<Self, MessageError> {
        only(members, "response", &["jsonrpc", "id", "result"])?;
        let id = good_id(members.get("id").ok_or(MessageError::Id)?)?;
        if result.as_object().is_none() {
            return Err(MessageError::ResultObject);
        }
        Ok(Self::Response {
            id: Some(id),
            outcome: Outcome::Result,
        })
    }

    /// JSON-RPC 2.0 §5: the id of an error is null if the request's could not be read; MCP
    /// 2025-11-25 leaves it out then.
    fn error(members: &Object, error: &Value) -> Result<Self, MessageError> {
        only(members, "response", &["jsonrpc", "id", "error"])?;
        let id = match members.get("id") {
            None | Some(Value::Null) => None,
            Some(id) => Some(good_id(id)?),
        };
        let code = error
            .get("code")
            .and_then(Value::as_i64)
            .ok_or(MessageError::ErrorObject)?;
        error
            .get("message")
            .and_then(Value::as_str)
            .ok_or(MessageError::ErrorObject)?;
        Ok(Self::Response {
            id,
            outcome: Outcome::Error { code },
        })
    }

    fn with(self, document: Document<'_>) -> Message<'_> {
        match self {
            Self::Request { id, method } => Message::Request(Request {
                document,
                id,
                method,
            }),
            Self::Notification { method } => {
                Message::Notification(Notification { document, method })
            }
            Self::Response { id, outcome } => Message::Response(Response {
                document,
                id,
                outcome,
            }),
        }
    }
}

fn good_id(value: &Value) -> Result<RequestId, MessageError> {
    RequestId::from_value(value).ok_or(MessageError::Id)
}

/// Refuses members beyond those given: a member that one side reads and the other does not is a
/// way around the decision.
fn only(members: &Object, kind: &'static str, known: &[&str]) -> Result<(), MessageError> {
    match members.iter().find(|(name, _)| !known.contains(name)) {
        None => Ok(()),
        Some((name, _)) => Err(MessageError::UnknownMember {
            kind,
            name: name.chars().take(64).collect(),
        }),
    }
}
