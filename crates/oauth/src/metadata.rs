//! Metadata documents (RFC 8414, RFC 9728) and where they are found.

use aims_json::{Limits, Object, ParseError, Value, parse};

/// Most servers that protect one resource.
const AUTHORIZATION_SERVERS_MAX: usize = 16;
/// The algorithms of assertions and proofs.
const SIGNING_ALGS: [&str; 3] = ["ES256", "EdDSA", "Ed25519"];

/// How clients authenticate (RFC 7523 §2.2, draft-ietf-oauth-spiffe-client-auth).
const METHODS: [&str; 3] = ["private_key_jwt", "spiffe_jwt", "spiffe_x509"];

/// A well-known document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WellKnown {
    /// Of an authorization server (RFC 8414 §3).
    AuthorizationServer,
    /// Of a protected resource (RFC 9728 §3).
    ProtectedResource,
}

/// What an authorization server says of itself (RFC 8414 §2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationServerMetadata {
    /// Its issuer identifier.
    pub issuer: String,
    /// Its token endpoint.
    pub token_endpoint: String,
    /// Its keys.
    pub jwks_uri: String,
    /// Where resource servers ask about tokens (RFC 7662).
    pub introspection_endpoint: String,
    /// Where clients give tokens back (RFC 7009).
    pub revocation_endpoint: String,
    /// The types of authority it knows (RFC 9396 §10).
    pub authorization_details_types: Vec<String>,
}

/// What a protected resource says of itself (RFC 9728 §2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedResourceMetadata {
    /// Its resource identifier.
    pub resource: String,
    /// The servers whose tokens it takes.
    pub authorization_servers: Vec<String>,
    /// The types of authority it knows.
    pub authorization_details_types: Vec<String>,
}

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Not acceptable JSON.
    #[error(transparent)]
    Json(#[from] ParseError),
    /// A member is missing or malformed.
    #[error("the member `{0}` of the metadata is missing or malformed")]
    Member(&'static str),
    /// The document is of someone else (RFC 8414 §3.3, RFC 9728 §3.3): nothing of it counts.
    #[error("the metadata is of another `{0}` than was asked for")]
    Other(&'static str),
}

/// The URL of a well-known document: the well-known part goes between host and path
/// (RFC 8414 §3.1, RFC 9728 §3.1), not after them.
///
/// `None` if `identifier` is not an `http` or `https` URL without query and fragment.
pub fn well_known(document: WellKnown, identifier: &str) -> Option<String> {
    let name = match document {
        WellKnown::AuthorizationServer => "oauth-authorization-server",
        WellKnown::ProtectedResource => "oauth-protected-resource",
    };
    let (scheme, rest) = identifier.split_once("://")?;
    if !matches!(scheme, "http" | "https") || identifier.contains(['?', '#']) {
        return None;
    }
    let (host, path) = match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
        Some((host, path)) => (host, path.strip_suffix('/').unwrap_or(path)),
        None => (rest, ""),
    };
    (!host.is_empty()).then(|| format!("{scheme}://{host}/.well-known/{name}{path}"))
}

impl AuthorizationServerMetadata {
    /// The document. There is no authorization endpoint, hence no response type.
    pub fn to_value(&self) -> Value {
        Object::new()
            .with("issuer", self.issuer.as_str())
            .with("token_endpoint", self.token_endpoint.as_str())
            .with("jwks_uri", self.jwks_uri.as_str())
            .with(
                "introspection_endpoint",
                self.introspection_endpoint.as_str(),
            )
            .with("revocation_endpoint", self.revocation_endpoint.as_str())
            .with("response_types_supported", Value::Array(Vec::new()))
            .with(
                "grant_types_supported",
                strings(&[
                    "client_credentials",
                    "urn:ietf:params:oauth:grant-type:token-exchange",
                ]),
            )
            .with("token_endpoint_auth_methods_supported", strings(&METHODS))
            .with(
                "token_endpoint_auth_signing_alg_values_supported",
                strings(&SIGNING_ALGS),
            )
            .with(
                "introspection_endpoint_auth_methods_supported",
                strings(&METHODS),
            )
            .with(
                "introspection_endpoint_auth_signing_alg_values_supported",
                strings(&SIGNING_ALGS),
            )
            .with(
                "revocation_endpoint_auth_methods_supported",
                strings(&METHODS),
            )
            .with(
                "revocation_endpoint_auth_signing_alg_values_supported",
                strings(&SIGNING_ALGS),
            )
            .with("dpop_signing_alg_values_supported", strings(&SIGNING_ALGS))
            .with(
                "authorization_details_types_supported",
                strings(&self.authorization_details_types),
            )
            .into()
    }

    /// Reads the document that was found for `issuer`; compared byte by byte (RFC 8414 §3.3).
    pub fn parse(body: &[u8], issuer: &str) -> Result<Self, MetadataError> {
        let value = parse(body, &Limits::TOKEN)?;
        let found = text(&value, "issuer")?;
        if found != issuer {
            return Err(MetadataError::Other("issuer"));
        }
        Ok(Self {
            issuer: found,
            token_endpoint: text(&value, "token_endpoint")?,
            jwks_uri: text(&value, "jwks_uri")?,
            introspection_endpoint: text(&value, "introspection_endpoint")?,
            revocation_endpoint: text(&value, "revocation_endpoint")?,
            authorization_details_types: texts(&value, "authorization_details_types_supported")?,
        })
    }
}

impl ProtectedResourceMetadata {
    /// The document. Tokens come in the header only and are bound to a key.
    pub fn to_value(&self) -> Value {
        Object::new()
            .with("resource", self.resource.as_str())
            .with(
                "authorization_servers",
                strings(&self.authorization_servers),
            )
            .with("bearer_methods_supported", strings(&["header"]))
            .with("dpop_signing_alg_values_supported", strings(&SIGNING_ALGS))
            .with("dpop_bound_access_tokens_required", true)
            .with(
                "authorization_details_types_supported",
                strings(&self.authorization_details_types),
            )
            .into()
    }

    /// Reads the document that was found for `resource`; compared byte by byte (RFC 9728 §3.3).
    pub fn parse(body: &[u8], resource: &str) -> Result<Self, MetadataError> {
        let value = parse(body, &Limits::TOKEN)?;
        let found = text(&value, "resource")?;
        if found != resource {
            return Err(MetadataError::Other("resource"));
        }
        let authorization_servers = texts(&value, "authorization_servers")?;
        if authorization_servers.len() > AUTHORIZATION_SERVERS_MAX {
            return Err(MetadataError::Member("authorization_servers"));
        }
        Ok(Self {
            resource: found,
            authorization_servers,
            authorization_details_types: texts(&value, "authorization_details_types_supported")?,
        })
    }
}

fn strings<T: AsRef<str>>(texts: &[T]) -> Value {
    Value::Array(
        texts
            .iter()
            .map(|text| Value::from(text.as_ref()))
            .collect(),
    )
}

fn text(value: &Value, name: &'static str) -> Result<String, MetadataError> {
    match value.get(name).and_then(Value::as_str) {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(MetadataError::Member(name)),
    }
}

/// An array of strings that may be missing.
fn texts(value: &Value, name: &'static str) -> Result<Vec<String>, MetadataError> {
    let Some(value) = value.get(name) else {
        return Ok(Vec::new());
    };
    let entries = value.as_array().ok_or(MetadataError::Member(name))?;
    let texts: Option<_> = entries
        .iter()
        .map(|entry| entry.as_str().map(str::to_owned))
        .collect();
    texts.ok_or(MetadataError::Member(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server() -> AuthorizationServerMetadata {
        AuthorizationServerMetadata {
            issuer: "https://aims.example".to_owned(),
            token_endpoint: "https://aims.example/token".to_owned(),
            jwks_uri: "https://aims.example/jwks.json".to_owned(),
            introspection_endpoint: "https://aims.example/introspect".to_owned(),
            revocation_endpoint: "https://aims.example/revoke".to_owned(),
            authorization_details_types: vec!["mcp_tool".to_owned()],
        }
    }

    fn resource() -> ProtectedResourceMetadata {
        ProtectedResourceMetadata {
            resource: "https://gateway.example/mcp".to_owned(),
            authorization_servers: vec!["https://aims.example".to_owned()],
            authorization_details_types: vec!["mcp_tool".to_owned()],
        }
    }

    #[test]
    fn documents_round_trip() {
        let body = server().to_value().to_string();
        let parsed = AuthorizationServerMetadata::parse(body.as_bytes(), "https://aims.example");
        assert_eq!(parsed, Ok(server()));
        let body = resource().to_value().to_string();
        let parsed = ProtectedResourceMetadata::parse(body.as_bytes(), &resource().resource);
        assert_eq!(parsed, Ok(resource()));
    }

    #[test]
    fn trap_26_a_document_of_someone_else_is_refused() {
        let body = server().to_value().to_string();
        for other in [
            "https://aims.example/",
            "https://AIMS.example",
            "https://evil.example",
        ] {
            let parsed = AuthorizationServerMetadata::parse(body.as_bytes(), other);
            assert_eq!(parsed, Err(MetadataError::Other("issuer")));
        }
        let body = resource().to_value().to_string();
        let parsed = ProtectedResourceMetadata::parse(body.as_bytes(), "https://gateway.example/");
        assert_eq!(parsed, Err(MetadataError::Other("resource")));
    }

    #[test]
    fn trap_27_the_well_known_part_is_inserted_and_not_appended() {
        use WellKnown::{AuthorizationServer, ProtectedResource};
        for (document, identifier, expected) in [
            (
                ProtectedResource,
                "https://g.example/mcp",
                Some("https://g.example/.well-known/oauth-protected-resource/mcp"),
            ),
            (
                AuthorizationServer,
                "https://a.example",
                Some("https://a.example/.well-known/oauth-authorization-server"),
            ),
            (
                AuthorizationServer,
                "http://127.0.0.1:8700/tenant/",
                Some("http://127.0.0.1:8700/.well-known/oauth-authorization-server/tenant"),
            ),
            (ProtectedResource, "spiffe://a/b", None),
            (ProtectedResource, "https://a/b?c", None),
            (ProtectedResource, "https:///b", None),
            (ProtectedResource, "mcp", None),
        ] {
            assert_eq!(
                well_known(document, identifier).as_deref(),
                expected,
                "{identifier}"
            );
        }
    }

    #[test]
    fn malformed_documents_are_refused() {
        let good = server().to_value().to_string();
        for (from, to, why) in [
            (r#""token_endpoint":"#, r#""x":"#, "token_endpoint"),
            (
                r#""jwks_uri":"https://aims.example/jwks.json""#,
                r#""jwks_uri":7"#,
                "jwks_uri",
            ),
            (
                r#"["mcp_tool"]"#,
                "[7]",
                "authorization_details_types_supported",
            ),
        ] {
            let bad = good.replacen(from, to, 1);
            let parsed = AuthorizationServerMetadata::parse(bad.as_bytes(), "https://aims.example");
            assert_eq!(parsed, Err(MetadataError::Member(why)), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reading_any_document_never_panics(body: Vec<u8>, identifier: String) {
            prop_assert!(AuthorizationServerMetadata::parse(&body, &identifier).is_err());
            prop_assert!(ProtectedResourceMetadata::parse(&body, &identifier).is_err());
            let _ = well_known(WellKnown::AuthorizationServer, &identifier);
        }
    }
}
