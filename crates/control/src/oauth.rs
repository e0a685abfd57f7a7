//! The OAuth endpoints on the network, for agents that run elsewhere and hold their own keys.

mod introspect;
mod revoke;

pub(crate) use introspect::counting;

use aims_crypto::PublicKey;
use aims_jose::{Jwk, Jwks, KeySource};
use aims_links::{TokenCall, TokenReply};
use aims_model::{CutOff, EnrolledKey, KeyPurpose, Subject};
use aims_oauth::{ACCESS_TOKEN_LIFE_MAX, AuthorizationServerMetadata, CLOCK_LEEWAY};
use aims_store::Reader;
use aims_types::{Actor, Cx, Timestamp};
use aims_x509::PeerId;
use bytes::Bytes;

use crate::keyring::parse_jwk;
use crate::recording::Attempt;
use crate::tokens::{self, Door, TokenError};
use crate::{ControlPlane, Fault};

/// The types of authority that tokens carry (RFC 9396 §10).
const DETAILS_TYPES: [&str; 3] = ["mcp_tool", "http_request", "https_connect"];

impl ControlPlane {
    /// The metadata document (RFC 8414 §2). Every URL is below the issuer identifier.
    pub fn oauth_metadata(&self) -> AuthorizationServerMetadata {
        let issuer = &self.parts().config.issuer;
        let below = |path: &str| format!("{issuer}{path}");
        AuthorizationServerMetadata {
            issuer: issuer.clone(),
            token_endpoint: below("/token"),
            jwks_uri: below("/jwks.json"),
            introspection_endpoint: below("/introspect"),
            revocation_endpoint: below("/revoke"),
            authorization_details_types: DETAILS_TYPES.map(str::to_owned).to_vec(),
        }
    }

    /// The keys that verify access tokens (RFC 9068 §4): one that was retired stays as long as a
    /// token that it signed may live, unless it was killed.
    pub async fn oauth_keys(&self) -> Result<Jwks, Fault> {
        let mut reader = self.store().read().await?;
        let now = self.parts().clock.now();
        let keys = Verifying::load(reader.as_mut(), now).await?;
        let jwks = keys
            .0
            .into_iter()
            .map(|(kid, key)| Jwk::new(key).with_alg().with_kid(kid));
        Jwks::new(jwks.collect()).map_err(|error| Fault::Inconsistent(error.to_string()))
    }

    /// Answers a request to the token endpoint (RFC 6749 §4.4). `peer` is who the connection is
    /// from, if its handshake proved that; likewise below.
    pub async fn oauth_token(
        &self,
        call: TokenCall,
        peer: Option<PeerId>,
    ) -> Result<TokenReply, Fault> {
        let door = Door::Network(peer);
        self.to_the_end(|plane| async move { tokens::answer(&plane, door, &call).await })
            .await
    }

    /// Answers a request to the introspection endpoint (RFC 7662).
    pub async fn oauth_introspect(
        &self,
        form: Bytes,
        peer: Option<PeerId>,
    ) -> Result<TokenReply, Fault> {
        self.to_the_end(|plane| async move {
            let mut cx = plane.cx(Actor::Server)?;
            let done = introspect::introspect(&plane, &mut cx, (&form, peer)).await;
            plane.replied(&cx, "introspect", done).await
        })
        .await
    }

    /// Answers a request to the revocation endpoint (RFC 7009). When it returns, no enforcement
    /// point honours the token, nor any other of the same run.
    pub async fn oauth_revoke(
        &self,
        form: Bytes,
        peer: Option<PeerId>,
    ) -> Result<TokenReply, Fault> {
        self.to_the_end(|plane| async move {
            let mut cx = plane.cx(Actor::Server)?;
            let done = revoke::revoke(&plane, &mut cx, (&form, peer)).await;
            plane.replied(&cx, "revoke", done).await
        })
        .await
    }

    /// The answer to a request about a token; a refusal goes on record, of strangers not every one.
    async fn replied(
        &self,
        cx: &Cx,
        operation: &'static str,
        done: Result<Bytes, TokenError>,
    ) -> Result<TokenReply, Fault> {
        let attempt = Attempt::new(operation, &format!("{operation} endpoint"));
        match tokens::recorded(self, cx, attempt, done).await {
            Ok(body) => Ok(TokenReply { status: 200, body }),
            Err(error) => tokens::refusal(error),
        }
    }
}

/// Keys that verify access tokens, by their thumbprints.
pub(crate) struct Verifying(Vec<(String, PublicKey)>);

impl Verifying {
    async fn load(reader: &mut dyn Reader, now: Timestamp) -> Result<Self, Fault> {
        let cutoffs = reader.cutoffs().await?;
        let mut keys = Vec::new();
        for key in reader.keys(KeyPurpose::Token).await? {
            if verifies(&key, &cutoffs, now) {
                let public = parse_jwk(&key.jwk).map_err(|e| Fault::Inconsistent(e.to_string()))?;
                keys.push((key.kid, public));
            }
        }
        Ok(Self(keys))
    }
}

impl KeySource for Verifying {
    fn key(&self, kid: &str) -> Option<PublicKey> {
        let known = self.0.iter().find(|(known, _)| known == kid);
        known.map(|(_, key)| *key)
    }
}

/// Whether a token that the key signed may count at `now`.
fn verifies(key: &EnrolledKey, cutoffs: &[CutOff], now: Timestamp) -> bool {
    let Some(retired_at) = key.retired_at else {
        return true;
    };
    let killed = Subject::Key(key.kid.clone());
    let last = retired_at.plus(ACCESS_TOKEN_LIFE_MAX).plus(CLOCK_LEEWAY);
    now < last && !cutoffs.iter().any(|cut| cut.subject == killed)
}
