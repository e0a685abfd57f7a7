//! Requests to the token endpoint (RFC 6749 §4.5, RFC 7523 §2, RFC 8693 §2.1).

use aims_json::Value;
use aims_types::Secret;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::details::{AuthorizationDetailsError, parse_authorization_details};
use crate::error_response::{ErrorCode, ErrorResponse};
use crate::form::{Form, FormError};
use crate::token_type::TokenType;

/// `grant_type` of a token exchange (RFC 8693 §2.1).
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// `grant_type` of an assertion as a grant (RFC 7523 §2.1).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// `grant_type` of a client that asks for itself (RFC 6749 §4.4).
const CLIENT_CREDENTIALS: &str = "client_credentials";
/// The parameter that names the task a client works on.
const TASK: &str = "aims_task";
/// `client_assertion_type` of a JWT (RFC 7523 §2.2).
const CLIENT_ASSERTION_JWT: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// `client_assertion_type` of a JWT-SVID (draft-ietf-oauth-spiffe-client-auth).
const CLIENT_ASSERTION_SVID: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
/// Longest `resource`, `audience`, `client_id`, `scope`.
const VALUE_LEN_MAX: usize = 2048;

/// The grants there are.
#[derive(Debug)]
pub enum TokenRequest {
    /// A token for a token.
    Exchange(Box<TokenExchange>),
    /// A token for a client that works on a task (RFC 6749 §4.4).
    ClientCredentials(Box<ClientCredentials>),
    /// A token for a signed assertion of a person.
    JwtBearer {
        /// The assertion.
        assertion: Secret<String>,
        /// The scope asked for.
        scope: Option<String>,
    },
}

/// A token with its type.
#[derive(Debug, Clone)]
pub struct TypedToken {
    /// The token.
    pub token: Secret<String>,
    /// What it is.
    pub token_type: TokenType,
}

/// A token exchange (RFC 8693 §2.1). At most one `resource` and one `audience`: a token is for
/// one resource.
#[derive(Debug)]
pub struct TokenExchange {
    /// On whose behalf.
    pub subject: TypedToken,
    /// Who acts; required by policy where actor and subject differ.
    pub actor: Option<TypedToken>,
    /// What is asked for; an access token if it is missing.
    pub requested_token_type: Option<TokenType>,
    /// The resource the token is for, an absolute URI (RFC 8707 §2).
    pub resource: Option<String>,
    /// The logical name of the resource (RFC 8693 §2.1).
    pub audience: Option<String>,
    /// The scope asked for.
    pub scope: Option<String>,
    /// The authority asked for (RFC 9396 §6), in its right form.
    pub authorization_details: Option<Value>,
}

/// A client that asks for a token to work on a task with.
#[derive(Debug)]
pub struct ClientCredentials {
    /// The task, by its id (`aims_task`).
    pub task: Option<String>,
    /// The resource the token is for (RFC 8707 §2).
    pub resource: Option<String>,
    /// The scope asked for.
    pub scope: Option<String>,
    /// The authority asked for (RFC 9396 §6), in its right form.
    pub authorization_details: Option<Value>,
}

/// How the client authenticates.
#[derive(Debug)]
pub struct ClientCredential {
    /// The client's name, if it is given apart from the assertion.
    pub client_id: Option<String>,
    /// The assertion (RFC 7523 §2.2).
    pub assertion: Secret<String>,
}

/// How a client authenticates, as it arrived.
#[derive(Debug)]
pub enum ReceivedClient {
    /// By a JWT that it signed itself (`private_key_jwt`, RFC 7523 §2.2).
    Jwt(ClientCredential),
    /// By a JWT-SVID (`spiffe_jwt`).
    JwtSvid {
        /// The client's name, which such a client has to say.
        client_id: String,
        /// The JWT-SVID.
        svid: Secret<String>,
    },
    /// By its name alone: what proves it, if anything, is the connection (`spiffe_x509`).
    Named {
        /// The client's name.
        client_id: String,
    },
}

impl ReceivedClient {
    /// The JWT that the client signed itself. A name alone is no authentication.
    pub fn into_jwt(self) -> Result<Option<ClientCredential>, TokenRequestError> {
        match self {
            Self::Jwt(credential) => Ok(Some(credential)),
            Self::JwtSvid { .. } => Err(TokenRequestError::UnsupportedClientAuthentication),
            Self::Named { .. } => Ok(None),
        }
    }
}

/// A request as it arrived.
#[derive(Debug)]
pub struct ReceivedTokenRequest {
    /// The grant.
    pub request: TokenRequest,
    /// The client's authentication, if there is one.
    pub client: Option<ReceivedClient>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRequestError {
    /// The body is not a form.
    #[error(transparent)]
    Form(#[from] FormError),
    /// A required parameter is missing.
    #[error("the parameter `{0}` is missing")]
    Missing(&'static str),
    /// A parameter has the wrong form.
    #[error("the parameter `{0}` is malformed")]
    Malformed(&'static str),
    /// Two parameters come together or not at all.
    #[error("the parameters `{0}` and `{1}` come together or not at all")]
    Unpaired(&'static str, &'static str),
    /// RFC 6749 §5.2.
    #[error("this grant type is not supported here; the metadata names those that are")]
    UnsupportedGrantType,
    /// RFC 7521 §4.2.1: this is no way in which clients authenticate here.
    #[error("clients authenticate as the metadata say, with a signed JWT (`private_key_jwt`)")]
    UnsupportedClientAuthentication,
    /// RFC 6749 §3.3.
    #[error("the scope is malformed")]
    Scope,
    /// RFC 8707 §2.
    #[error("`{0}` must be one target, as an absolute URI without fragment for `resource`")]
    Target(&'static str),
    /// RFC 9396 §5.
    #[error(transparent)]
    Details(#[from] AuthorizationDetailsError),
}

impl ReceivedTokenRequest {
    /// Reads the body of a request to the token endpoint. Unknown parameters are ignored
    /// (RFC 6749 §3.2); repeated ones are refused.
    pub fn parse(body: &[u8]) -> Result<Self, TokenRequestError> {
        let form = Form::parse(body).map_err(|error| match error {
            FormError::Repeated(name) if name == "resource" => {
                TokenRequestError::Target("resource")
            }
            FormError::Repeated(name) if name == "audience" => {
                TokenRequestError::Target("audience")
            }
            error => error.into(),
        })?;
        let request = match form.get("grant_type") {
            Some(TOKEN_EXCHANGE) => TokenRequest::Exchange(Box::new(exchange(&form)?)),
            Some(CLIENT_CREDENTIALS) => {
                TokenRequest::ClientCredentials(Box::new(client_credentials(&form)?))
            }
            Some(JWT_BEARER) => TokenRequest::JwtBearer {
                assertion: secret(&form, "assertion")?,
                scope: scope(&form)?,
            },
            Some(_) => return Err(TokenRequestError::UnsupportedGrantType),
            None => return Err(TokenRequestError::Missing("grant_type")),
        };
        Ok(Self {
            request,
            client: client(&form)?,
        })
    }
}

impl TokenRequest {
    /// The body of a request, as a client sends it.
    pub fn to_form(&self, client: Option<&ClientCredential>) -> Secret<String> {
        let mut form = Serializer::new(String::new());
        match self {
            Self::Exchange(exchange) => exchange.write(&mut form),
            Self::ClientCredentials(asked) => asked.write(&mut form),
            Self::JwtBearer { assertion, scope } => {
                form.append_pair("grant_type", JWT_BEARER);
                form.append_pair("assertion", assertion.expose());
                append(&mut form, "scope", scope.as_deref());
            }
        }
        if let Some(client) = client {
            append(&mut form, "client_id", client.client_id.as_deref());
            form.append_pair("client_assertion_type", CLIENT_ASSERTION_JWT);
            form.append_pair("client_assertion", client.assertion.expose());
        }
        Secret::new(form.finish())
    }
}

impl TokenExchange {
    fn write(&self, form: &mut Serializer<'_, String>) {
        form.append_pair("grant_type", TOKEN_EXCHANGE);
        form.append_pair("subject_token", self.subject.token.expose());
        form.append_pair("subject_token_type", self.subject.token_type.as_str());
        if let Some(actor) = &self.actor {
            form.append_pair("actor_token", actor.token.expose());
            form.append_pair("actor_token_type", actor.token_type.as_str());
        }
        append(
            form,
            "requested_token_type",
            self.requested_token_type.map(TokenType::as_str),
        );
        append(form, "resource", self.resource.as_deref());
        append(form, "audience", self.audience.as_deref());
        append(form, "scope", self.scope.as_deref());
        if let Some(details) = &self.authorization_details {
            form.append_pair("authorization_details", &details.to_string());
        }
    }
}

impl ClientCredentials {
    fn write(&self, form: &mut Serializer<'_, String>) {
        form.append_pair("grant_type", CLIENT_CREDENTIALS);
        append(form, TASK, self.task.as_deref());
        append(form, "resource", self.resource.as_deref());
        append(form, "scope", self.scope.as_deref());
        if let Some(details) = &self.authorization_details {
            form.append_pair("authorization_details", &details.to_string());
        }
    }
}

impl TokenRequestError {
    /// The answer of the token endpoint (RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 8707 §2,
    /// RFC 9396 §5).
    pub fn to_response(&self) -> ErrorResponse {
        let code = match self {
            Self::Form(_) | Self::Missing(_) | Self::Malformed(_) | Self::Unpaired(..) => {
                ErrorCode::InvalidRequest
            }
            Self::UnsupportedGrantType => ErrorCode::UnsupportedGrantType,
            Self::UnsupportedClientAuthentication => ErrorCode::InvalidClient,
            Self::Scope => ErrorCode::InvalidScope,
            Self::Target(_) => ErrorCode::InvalidTarget,
            Self::Details(_) => ErrorCode::InvalidAuthorizationDetails,
        };
        ErrorResponse::new(code, &self.to_string())
    }
}

fn exchange(form: &Form) -> Result<TokenExchange, TokenRequestError> {
    let subject = typed(form, "subject_token", "subject_token_type")?;
    Ok(TokenExchange {
        subject: subject.ok_or(TokenRequestError::Missing("subject_token"))?,
        actor: typed(form, "actor_token", "actor_token_type")?,
        requested_token_type: token_type(form, "requested_token_type")?,
        resource: resource(form)?,
        audience: short(form, "audience")?,
        scope: scope(form)?,
        authorization_details: details(form)?,
    })
}

fn client_credentials(form: &Form) -> Result<ClientCredentials, TokenRequestError> {
    Ok(ClientCredentials {
        task: short(form, TASK)?,
        resource: resource(form)?,
        scope: scope(form)?,
        authorization_details: details(form)?,
    })
}

fn details(form: &Form) -> Result<Option<Value>, TokenRequestError> {
    let details = form
        .get("authorization_details")
        .map(parse_authorization_details);
    Ok(details.transpose()?)
}

/// RFC 8693 §2.1: a token and its type come together.
fn typed(
    form: &Form,
    token: &'static str,
    name: &'static str,
) -> Result<Option<TypedToken>, TokenRequestError> {
    match (form.get(token), token_type(form, name)?) {
        (None, None) => Ok(None),
        (Some(text), Some(token_type)) => Ok(Some(TypedToken {
            token: Secret::new(text.to_owned()),
            token_type,
        })),
        _ => Err(TokenRequestError::Unpaired(token, name)),
    }
}

fn token_type(form: &Form, name: &'static str) -> Result<Option<TokenType>, TokenRequestError> {
    let parsed = form.get(name).map(str::parse).transpose();
    parsed.map_err(|_| TokenRequestError::Malformed(name))
}

fn secret(form: &Form, name: &'static str) -> Result<Secret<String>, TokenRequestError> {
    let text = form.get(name).ok_or(TokenRequestError::Missing(name))?;
    Ok(Secret::new(text.to_owned()))
}

fn short(form: &Form, name: &'static str) -> Result<Option<String>, TokenRequestError> {
    match form.get(name) {
        Some(text) if text.len() > VALUE_LEN_MAX => Err(TokenRequestError::Malformed(name)),
        text => Ok(text.map(str::to_owned)),
    }
}

/// RFC 8707 §2: an absolute URI without fragment.
fn resource(form: &Form) -> Result<Option<String>, TokenRequestError> {
    let Some(text) = form.get("resource") else {
        return Ok(None);
    };
    let is_uri = text.len() <= VALUE_LEN_MAX
        && text.bytes().all(|b| b.is_ascii_graphic())
        && !text.contains('#')
        && Url::parse(text).is_ok();
    if is_uri {
        Ok(Some(text.to_owned()))
    } else {
        Err(TokenRequestError::Target("resource"))
    }
}

/// RFC 6749 §3.3: words of visible characters but `"` and `\`, with one space between them.
fn scope(form: &Form) -> Result<Option<String>, TokenRequestError> {
    let Some(text) = form.get("scope") else {
        return Ok(None);
    };
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
    };
    if text.len() <= VALUE_LEN_MAX && text.split(' ').all(is_word) {
        Ok(Some(text.to_owned()))
    } else {
        Err(TokenRequestError::Scope)
    }
}

/// How the client authenticates, if it does.
pub(crate) fn client(form: &Form) -> Result<Option<ReceivedClient>, TokenRequestError> {
    const ASSERTION: &str = "client_assertion";
    const ASSERTION_TYPE: &str = "client_assertion_type";
    if form.get("client_secret").is_some() {
        return Err(TokenRequestError::UnsupportedClientAuthentication);
    }
    let client_id = short(form, "client_id")?;
    match (form.get(ASSERTION), form.get(ASSERTION_TYPE)) {
        (None, None) => Ok(client_id.map(|client_id| ReceivedClient::Named { client_id })),
        (Some(assertion), Some(CLIENT_ASSERTION_JWT)) => {
            Ok(Some(ReceivedClient::Jwt(ClientCredential {
                client_id,
                assertion: Secret::new(assertion.to_owned()),
            })))
        }
        (Some(svid), Some(CLIENT_ASSERTION_SVID)) => Ok(Some(ReceivedClient::JwtSvid {
            client_id: client_id.ok_or(TokenRequestError::Missing("client_id"))?,
            svid: Secret::new(svid.to_owned()),
        })),
        (Some(_), Some(_)) => Err(TokenRequestError::UnsupportedClientAuthentication),
        _ => Err(TokenRequestError::Unpaired(ASSERTION, ASSERTION_TYPE)),
    }
}

fn append(form: &mut Serializer<'_, String>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        form.append_pair(name, value);
    }
}

#[cfg(test)]
mod tests;
