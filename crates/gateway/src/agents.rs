//! The gateway's face to agents that run elsewhere: what is asked of them beyond what every caller
//! is asked for, and where they learn how to get a token.

use std::sync::Arc;

use aims_links::{Body, ConnectReply, Endpoint, LinkError};
use aims_oauth::{
    Challenge, ChallengeError, NonceError, Nonces, ProtectedResourceMetadata, WellKnown, well_known,
};
use aims_types::{Clock, Entropy, EntropyError, Name};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use crate::Gateway;
use crate::respond;

/// Where metadata of protected resources are (RFC 9728 §3).
const METADATA: &str = "/.well-known/oauth-protected-resource";
/// Where the endpoints are.
const ENDPOINTS: &str = "/mcp/";
/// The header of proofs (RFC 9449 §4.1).
const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The header that gives a client the nonce of its next proof (RFC 9449 §9).
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// The headers of an agent that are looked at; nothing else gets in, and nothing that only
/// gateways tell each other.
const HEADERS: [HeaderName; 8] = [
    ACCEPT,
    AUTHORIZATION,
    CONTENT_TYPE,
    DPOP,
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("mcp-method"),
    HeaderName::from_static("mcp-protocol-version"),
    HeaderName::from_static("mcp-session-id"),
];
/// The types of authority that tokens carry (RFC 9728 §2).
const DETAILS_TYPES: [&str; 1] = ["mcp_tool"];
/// How long the metadata may be kept.
const METADATA_CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// A gateway as agents see it that come over HTTPS with a token and a key of their own.
///
/// Their proofs carry a nonce (RFC 9449 §9): a proof can't be made long before it is used, not
/// even by somebody who had the key for a moment. Token, proof and chain are checked behind it, as
/// everybody's.
pub struct Agents {
    gateway: Arc<Gateway>,
    resource: String,
    issuer: String,
    nonces: Nonces,
    clock: Arc<dyn Clock>,
}

impl Agents {
    /// The face of `gateway`.
    pub fn new(
        gateway: Arc<Gateway>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Result<Self, EntropyError> {
        let (resource, issuer) = gateway.names();
        Ok(Self {
            resource: resource.to_owned(),
            issuer: issuer.to_owned(),
            nonces: Nonces::new(entropy)?,
            gateway,
            clock,
        })
    }

    /// The metadata of the resource that `path` is about (RFC 9728 §3.1). Whether there is such a
    /// tool server, it does not say.
    fn metadata(&self, path: &str) -> Option<Response<Body>> {
        let below = path.strip_prefix(METADATA)?;
        let endpoint = || below.strip_prefix(ENDPOINTS)?.parse::<Name>().ok();
        if !below.is_empty() && endpoint().is_none() {
            return Some(respond::not_found());
        }
        let metadata = ProtectedResourceMetadata {
            resource: format!("{}{below}", self.resource),
            authorization_servers: vec![self.issuer.clone()],
            authorization_details_types: DETAILS_TYPES.map(str::to_owned).to_vec(),
        };
        let body = metadata.to_value().to_string().into_bytes();
        let mut response = respond::bytes(StatusCode::OK, "application/json", body);
        response.headers_mut().insert(CACHE_CONTROL, METADATA_CACHE);
        Some(response)
    }

    /// What is wrong with the nonce of a request that presents a token with one proof. Anything
    /// else that is wrong with it is said behind this face.
    fn nonce_fault(&self, headers: &HeaderMap) -> Option<NonceError> {
        let mut proofs = headers.get_all(DPOP).iter();
        let (proof, more) = (proofs.next()?, proofs.next());
        if !headers.contains_key(AUTHORIZATION) || more.is_some() {
            return None;
        }
        let proof = proof.to_str().ok()?;
        self.nonces.check(proof, self.clock.now()).err()
    }

    fn ask_for_nonce(&self, fault: NonceError, path: &str) -> Response<Body> {
        let resource = format!("{}{path}", self.resource);
        let metadata = well_known(WellKnown::ProtectedResource, &resource).unwrap_or_default();
        let text = fault.to_string();
        let challenge = Challenge {
            error: Some(ChallengeError::UseDpopNonce),
            description: Some(&text),
            scope: None,
            resource_metadata: &metadata,
        };
        let mut response = respond::empty(StatusCode::UNAUTHORIZED);
        if let Ok(value) = HeaderValue::from_str(&challenge.header_value()) {
            response.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
        response
    }

    fn with_nonce(&self, mut response: Response<Body>) -> Response<Body> {
        let nonce = self.nonces.give(self.clock.now());
        if let Ok(nonce) = HeaderValue::from_str(&nonce) {
            response.headers_mut().insert(DPOP_NONCE, nonce);
        }
        response
    }
}

#[async_trait]
impl Endpoint for Agents {
    async fn http(&self, request: Request<Bytes>) -> Result<Response<Body>, LinkError> {
        let path = request.uri().path().to_owned();
        if request.method() == Method::GET
            && let Some(response) = self.metadata(&path)
        {
            return Ok(response);
        }
        if let Some(fault) = self.nonce_fault(request.headers()) {
            return Ok(self.with_nonce(self.ask_for_nonce(fault, &path)));
        }
        let (mut head, body) = request.into_parts();
        head.headers = known(&head.headers);
        let response = self.gateway.http(Request::from_parts(head, body)).await?;
        Ok(self.with_nonce(response))
    }

    /// There are no tunnels for agents that run elsewhere.
    async fn connect(&self, _: Request<()>) -> Result<ConnectReply, LinkError> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        Ok(ConnectReply {
            response,
            tunnel: None,
        })
    }
}

/// The headers that are looked at, each as often as it came.
fn known(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in HEADERS {
        for value in headers.get_all(&name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}
