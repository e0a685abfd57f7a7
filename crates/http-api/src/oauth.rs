//! The OAuth endpoints for agents that run elsewhere, served over HTTPS.

use std::sync::Arc;

use aims_control::{ControlPlane, Fault};
use aims_links::{TokenCall, TokenReply};
use aims_oauth::{ErrorCode, ErrorResponse, NonceError, Nonces};
use aims_tls::PeerId;
use aims_types::EntropyError;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderName, StatusCode};

use crate::body;
use crate::caller::{DPOP, single};
use crate::serve::Peer;

/// The content type of a form (RFC 6749 Appendix B).
const FORM: &str = "application/x-www-form-urlencoded";
/// How long metadata and keys may be kept, in seconds: a killed key is to be forgotten soon.
const PUBLISHED_CACHE: HeaderValue = HeaderValue::from_static("public, max-age=60");
/// The header that gives a client the nonce of its next proof (RFC 9449 §8).
static DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The OAuth endpoints over a control plane. Cheap to clone.
#[derive(Clone)]
pub struct OAuth {
    plane: ControlPlane,
    nonces: Arc<Nonces>,
}

impl OAuth {
    /// The endpoints of `plane`.
    pub fn new(plane: ControlPlane) -> Result<Self, EntropyError> {
        let nonces = Nonces::new(plane.parts().entropy.as_ref())?;
        Ok(Self {
            plane,
            nonces: Arc::new(nonces),
        })
    }

    /// The router; its routes are those of [`crate::OAUTH_ROUTES`].
    pub fn router(self) -> Router {
        Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/jwks.json", get(keys))
            .route("/token", post(token))
            .route("/introspect", post(introspect))
            .route("/revoke", post(revoke))
            .with_state(self)
    }

    /// Puts the nonce for the next proof on an answer of the token endpoint (RFC 9449 §8.2).
    fn with_nonce(&self, mut response: Response) -> Response {
        let nonce = self.nonces.give(self.plane.parts().clock.now());
        if let Ok(nonce) = HeaderValue::from_str(&nonce) {
            response.headers_mut().insert(&DPOP_NONCE, nonce);
        }
        response
    }
}

/// RFC 8414 §3.
async fn metadata(State(oauth): State<OAuth>) -> Response {
    published(oauth.plane.oauth_metadata().to_value().to_string())
}

/// RFC 7517 §5.
async fn keys(State(oauth): State<OAuth>) -> Response {
    match oauth.plane.oauth_keys().await {
        Ok(keys) => published(keys.to_value().to_string()),
        Err(fault) => unavailable(&fault),
    }
}

/// RFC 6749 §3.2. The nonce is looked at first: it is why most requests are made a second time.
async fn token(State(oauth): State<OAuth>, request: Request) -> Response {
    let answer = issued(&oauth, request)
        .await
        .unwrap_or_else(|answer| answer);
    oauth.with_nonce(answer)
}

async fn issued(oauth: &OAuth, request: Request) -> Result<Response, Response> {
    let dpop = single(request.headers(), &DPOP)
        .ok_or_else(|| {
            refused(
                ErrorCode::InvalidDpopProof,
                "send exactly one `DPoP` header",
            )
        })?
        .to_owned();
    let peer = peer_of(&request);
    let form = form(request).await?;
    let now = oauth.plane.parts().clock.now();
    oauth.nonces.check(&dpop, now).map_err(no_nonce)?;
    Ok(reply(
        oauth
            .plane
            .oauth_token(TokenCall { form, dpop }, peer)
            .await,
    ))
}

/// RFC 7662 §2.
async fn introspect(State(oauth): State<OAuth>, request: Request) -> Response {
    let peer = peer_of(&request);
    match form(request).await {
        Ok(form) => reply(oauth.plane.oauth_introspect(form, peer).await),
        Err(answer) => answer,
    }
}

/// RFC 7009 §2.
async fn revoke(State(oauth): State<OAuth>, request: Request) -> Response {
    let peer = peer_of(&request);
    match form(request).await {
        Ok(form) => reply(oauth.plane.oauth_revoke(form, peer).await),
        Err(answer) => answer,
    }
}

/// Who the connection is from, as its handshake proved it. A header that says so is one more header
/// that nobody reads.
fn peer_of(request: &Request) -> Option<PeerId> {
    let peer = request.extensions().get::<Peer>();
    peer.and_then(|peer| peer.0.clone())
}

async fn form(request: Request) -> Result<Bytes, Response> {
    let kind = single(request.headers(), &CONTENT_TYPE).unwrap_or_default();
    // Libraries name the charset, which a form has none of (WHATWG URL §5).
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(FORM) {
        let text = "send a form: `application/x-www-form-urlencoded`";
        return Err(refused(ErrorCode::InvalidRequest, text));
    }
    body::read(request)
        .await
        .map_err(IntoResponse::into_response)
}

fn no_nonce(error: NonceError) -> Response {
    refused(ErrorCode::UseDpopNonce, &error.to_string())
}

fn refused(code: ErrorCode, text: &str) -> Response {
    let body = ErrorResponse::new(code, text).to_value().to_string();
    secret(code.status(), body.into())
}

fn reply(reply: Result<TokenReply, Fault>) -> Response {
    match reply {
        Ok(reply) => secret(reply.status, reply.body),
        Err(fault) => unavailable(&fault),
    }
}

/// An answer that nobody may keep (RFC 6749 §5.1).
fn secret(status: u16, body: Bytes) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let is_empty = body.is_empty();
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    if is_empty {
        headers.remove(CONTENT_TYPE);
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn published(body: String) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, PUBLISHED_CACHE);
    response
}

/// A fault is told to the log: whoever asks here may be anybody.
fn unavailable(fault: &Fault) -> Response {
    tracing::error!(%fault, "an OAuth request can't be answered");
    let mut response = secret(503, Bytes::new());
    let retry = HeaderValue::from_static("5");
    response
        .headers_mut()
        .insert(http::header::RETRY_AFTER, retry);
    response
}
