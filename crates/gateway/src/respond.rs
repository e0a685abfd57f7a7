//! Answers over HTTP.

use aims_decision::{Denied, Needed, PrincipalName, Reason};
use aims_json::{Object, Value};
use aims_links::Body;
use aims_mcp::build::{self, ErrorAnswer};
use aims_mcp::{RequestId, code, http as mcp_http};
use aims_oauth::{Challenge, ChallengeError, WellKnown, well_known};
use aims_types::{self as types, Id};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};

use crate::approvals::Unaskable;
use crate::authn::AuthnError;
use crate::records::{policy_words, words};
use crate::stream::Stream;
use aims_decision::short;

/// Header that keeps proxies on the way from holding events back.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What is told to the agent of a denial.
#[derive(Debug, Clone)]
pub(crate) struct Lesson {
    code: i64,
    rule: String,
    message: String,
    argument: Option<String>,
    would_allow: Option<String>,
    how_to_ask: String,
}

/// An answer with these bytes.
pub(crate) fn bytes(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let body = Full::new(Bytes::from(body))
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// One message of the protocol.
pub(crate) fn message(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    bytes(status, mcp_http::JSON, body)
}

/// An error of the protocol.
pub(crate) fn error(
    status: StatusCode,
    id: Option<&RequestId>,
    code: i64,
    text: &str,
) -> Response<Body> {
    let error = ErrorAnswer {
        code,
        message: text.to_owned(),
        data: None,
    };
    message(status, build::error(id, &error))
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = bytes(status, "text/plain", Vec::new());
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

/// An answer in the form of problem details (RFC 9457), with more members.
pub(crate) fn problem(status: StatusCode, title: &str, members: Object) -> Response<Body> {
    let members = members
        .with("title", title)
        .with("status", u64::from(status.as_u16()));
    let body = Value::from(members).to_string();
    bytes(status, "application/problem+json", body.into_bytes())
}

/// What is not there, and what is not for the caller: one answer.
pub(crate) fn not_found() -> Response<Body> {
    error(
        StatusCode::NOT_FOUND,
        None,
        code::INVALID_REQUEST,
        "there is nothing here",
    )
}

/// The session is not there, or not the caller's: one answer.
pub(crate) fn no_session() -> Response<Body> {
    let text = "there is no such session: start with `initialize`";
    error(StatusCode::NOT_FOUND, None, code::INVALID_REQUEST, text)
}

/// The methods that the endpoint has.
pub(crate) fn method_not_allowed() -> Response<Body> {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("POST, DELETE"));
    response
}

/// Nothing can be decided or recorded now.
pub(crate) fn unavailable(id: Option<&RequestId>, text: &str) -> Response<Body> {
    error(
        StatusCode::SERVICE_UNAVAILABLE,
        id,
        code::INTERNAL_ERROR,
        text,
    )
}

/// Marks an answer whose bytes pass a gate already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gated;

/// A stream of events.
pub(crate) fn events(stream: Stream) -> Response<Body> {
    let mut response = Response::new(stream.boxed_unsync());
    response.extensions_mut().insert(Gated);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(mcp_http::EVENT_STREAM),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(NO_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// The status and challenge for a caller who is not believed.
pub(crate) fn challenge(error: &AuthnError, resource: &str) -> (StatusCode, Option<HeaderValue>) {
    let (challenge, description) = match error {
        AuthnError::Presentation(error) => (error.challenge_error(), error.to_string()),
        AuthnError::Header(_) => (Some(ChallengeError::InvalidRequest), error.to_string()),
        AuthnError::NotAnInstance => (Some(ChallengeError::InsufficientScope), error.to_string()),
        AuthnError::CutOff(_) | AuthnError::Chain(_) | AuthnError::NoChain(_) => {
            (Some(ChallengeError::InvalidToken), error.to_string())
        }
        AuthnError::Expired => (Some(ChallengeError::InvalidToken), error.to_string()),
        AuthnError::Link(_) => return (StatusCode::SERVICE_UNAVAILABLE, None),
    };
    let metadata = well_known(WellKnown::ProtectedResource, resource).unwrap_or_default();
    let challenge = Challenge {
        error: challenge,
        description: challenge.is_some().then_some(description.as_str()),
        scope: None,
        resource_metadata: &metadata,
    };
    let status = StatusCode::from_u16(challenge.status()).unwrap_or(StatusCode::UNAUTHORIZED);
    (
        status,
        HeaderValue::from_str(&challenge.header_value()).ok(),
    )
}

/// The challenge to a caller whose token does not carry enough (RFC 6750 §3.1). What would be
/// enough is said by the body: a scope has no words for it.
pub(crate) fn insufficient(resource: &str) -> Option<HeaderValue> {
    let metadata = well_known(WellKnown::ProtectedResource, resource).unwrap_or_default();
    let challenge = Challenge {
        error: Some(ChallengeError::InsufficientScope),
        description: Some("the token's authority or a policy does not allow this request"),
        scope: None,
        resource_metadata: &metadata,
    };
    HeaderValue::from_str(&challenge.header_value()).ok()
}

/// The answer to a caller who is not believed.
pub(crate) fn unauthenticated(failure: &AuthnError, resource: &str) -> Response<Body> {
    let (status, header) = challenge(failure, resource);
    let text = failure.to_string();
    let mut response = error(status, None, code::INVALID_REQUEST, &text);
    if let Some(header) = header {
        response.headers_mut().insert(WWW_AUTHENTICATE, header);
    }
    response
}

impl Lesson {
    /// What a denial teaches, by its decisive reason.
    pub(crate) fn denied(denied: &Denied) -> Self {
        let Some(reason) = denied.reasons.first() else {
            return Self::plain("denied", "denied");
        };
        match reason {
            Reason::Authority { refusal, .. } => Self {
                code: code::DENIED,
                rule: refusal.rule().code().to_owned(),
                message: short(&refusal.to_string()),
                argument: refusal.argument().map(short),
                would_allow: refusal.allowed().map(short),
                how_to_ask: "ask the person who started the task to start one whose authority \
                             allows this call"
                    .to_owned(),
            },
            Reason::Policy { principal, reason } => {
                let who = match principal {
                    PrincipalName::Person(name) => format!("the person `{name}`"),
                    PrincipalName::Agent(name) => format!("the agent `{name}`"),
                };
                let why = policy_words(reason);
                let message = format!("the organisation's policy denies this for {who}: {why}");
                let mut lesson = Self::plain("policy", &message);
                "ask an operator whether the policy should permit it"
                    .clone_into(&mut lesson.how_to_ask);
                lesson
            }
            Reason::CutOff(_) => Self::plain("cut_off", &words(reason)),
            Reason::Chain(_) | Reason::Principals => Self::plain("chain", &words(reason)),
        }
    }

    /// What is needed first.
    pub(crate) fn needed(needed: &Needed) -> Self {
        let kinds = needed.requirements.iter().map(|requirement| {
            format!(
                "{} (required by `{}`)",
                requirement.kind, requirement.policy
            )
        });
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        Self {
            code: code::STEP_UP_REQUIRED,
            rule: "requirement".to_owned(),
            message: format!("the call needs this first: {kinds}"),
            argument: None,
            would_allow: Some(kinds),
            how_to_ask: "ask an operator: no approval is taken from an agent".to_owned(),
        }
    }

    /// A person would have to be asked, and can't be.
    pub(crate) fn unaskable(needed: &Needed, why: &Unaskable) -> Self {
        let lesson = Self::needed(needed);
        Self {
            message: format!("{}, and nobody can be asked: {why}", lesson.message),
            how_to_ask: "make a call that a person can be asked about".to_owned(),
            ..lesson
        }
    }

    /// The body of the answer. A tool that the caller may not see is answered as one that does
    /// not exist.
    pub(crate) fn answer(
        &self,
        id: &RequestId,
        decision: Id<types::Decision>,
        task: Id<types::Task>,
    ) -> Vec<u8> {
        let text = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::from);
        let data = Object::new()
            .with("code", "denied")
            .with("rule", self.rule.as_str())
            .with("argument", text(&self.argument))
            .with("would_allow", text(&self.would_allow))
            .with("how_to_ask", self.how_to_ask.as_str())
            .with("decision_id", decision.to_string())
            .with("trace", format!("aims trace {task}"));
        let error = ErrorAnswer {
            code: self.code,
            message: self.message.clone(),
            data: Some(data.into()),
        };
        build::error(Some(id), &error)
    }

    /// The members of the problem that answers a request to an upstream (RFC 9457).
    pub(crate) fn problem(&self, decision: Id<types::Decision>, task: Id<types::Task>) -> Object {
        let text = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::from);
        Object::new()
            .with("code", "denied")
            .with("detail", self.message.as_str())
            .with("rule", self.rule.as_str())
            .with("argument", text(&self.argument))
            .with("would_allow", text(&self.would_allow))
            .with("how_to_ask", self.how_to_ask.as_str())
            .with("decision_id", decision.to_string())
            .with("trace", format!("aims trace {task}"))
    }

    /// The text of the refusal of a connection.
    pub(crate) fn text(&self, decision: Id<types::Decision>) -> String {
        let allowed = self
            .would_allow
            .as_deref()
            .map(|text| format!("; allowed: {text}"));
        let (message, how) = (&self.message, &self.how_to_ask);
        format!(
            "{message}{}; {how}; decision {decision}\n",
            allowed.unwrap_or_default()
        )
    }

    fn plain(rule: &str, message: &str) -> Self {
        Self {
            code: code::DENIED,
            rule: rule.to_owned(),
            message: short(message),
            argument: None,
            would_allow: None,
            how_to_ask: "ask the person who started the task for a new one".to_owned(),
        }
    }
}

/// The answer to a call of a tool that does not exist, is not as registered, or that the caller
/// may not see: one answer for all, which names no other tool.
pub(crate) fn unknown_tool(id: &RequestId, tool: &str, decision: Id<types::Decision>) -> Vec<u8> {
    let data = Object::new()
        .with("code", "unknown_tool")
        .with(
            "how_to_ask",
            "list the tools; for another one, ask the person who started the task for a task whose \
             authority names it",
        )
        .with("decision_id", decision.to_string());
    let error = ErrorAnswer {
        code: code::INVALID_PARAMS,
        message: format!("unknown tool: `{}`", short(tool)),
        data: Some(data.into()),
    };
    build::error(Some(id), &error)
}
