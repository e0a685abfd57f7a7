//! The token endpoint: tokens for instances by exchange, for people by a signed assertion.

mod client;
mod credentials;
mod exchange;
mod mint;
mod narrow;
mod person;
mod refusal;

use std::time::Duration;

use aims_crypto::{PublicKey, sha256};
use aims_jose::KeySource;
use aims_json::Object;
use aims_links::{TokenCall, TokenReply};
use aims_model::{Event, EventKind, KeyPurpose};
use aims_oauth::dpop::{Expect, PROOF_WINDOW, Proof, VerifiedProof};
use aims_oauth::{
    AccessToken, CreateAccessTokenError, ReceivedClient, ReceivedTokenRequest, TokenCommon,
    TokenRequest, TokenResponse,
};
use aims_store::{Reader, ReplayKind, Txn};
use aims_types::{Actor, Cx, Id, Task, Timestamp};
use aims_x509::PeerId;
use bytes::Bytes;

pub(crate) use self::client::{AgentClient, Once, Shown, agent_client};
pub use self::credentials::REMOTE_INSTANCES_MAX;
pub(crate) use self::refusal::TokenError;
use crate::fault::Refused;
use crate::keyring::parse_jwk;
use crate::recording::{Attempt, event};
use crate::{ControlPlane, Fault};

/// How long an access token lives, in seconds.
pub const ACCESS_TOKEN_TTL_SECS: u64 = 5 * 60;
pub use aims_oauth::ADMIN_SCOPE;

/// Public keys of one purpose that are in force, by their thumbprints.
pub(crate) struct TrustedKeys(Vec<(String, PublicKey)>);

impl TrustedKeys {
    pub(crate) async fn load(
        reader: &mut dyn Reader,
        purpose: KeyPurpose,
        now: Timestamp,
    ) -> Result<Self, Fault> {
        let mut keys = Vec::new();
        for key in reader.keys(purpose).await? {
            if key.retired_at.is_some_and(|at| at <= now) {
                continue;
            }
            let public = parse_jwk(&key.jwk).map_err(|e| Fault::Inconsistent(e.to_string()))?;
            keys.push((key.kid, public));
        }
        Ok(Self(keys))
    }
}

impl KeySource for TrustedKeys {
    fn key(&self, kid: &str) -> Option<PublicKey> {
        self.0
            .iter()
            .find(|(known, _)| known == kid)
            .map(|(_, key)| *key)
    }
}

/// Who asks, as far as it is known, and for which task.
struct Caller {
    cx: Cx,
    task: Option<Id<Task>>,
}

/// A token that is to be issued: what the answer and the records say of it.
struct Issued {
    response: TokenResponse,
    events: Vec<Event>,
}

/// Where a request comes from.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    /// People's commands on this host, and nodes.
    Inside,
    /// The network: agents that run elsewhere, with the certificate that the connection proved.
    Network(Option<PeerId>),
}

/// Answers a request to the token endpoint. The caller learns which kind of thing was wrong; what
/// exactly is in the record of the refusal.
pub(crate) async fn answer(
    plane: &ControlPlane,
    door: Door,
    call: &TokenCall,
) -> Result<TokenReply, Fault> {
    // Until somebody has authenticated, the server speaks of its own refusal.
    let cx = plane.cx(Actor::Server)?;
    let mut caller = Caller { cx, task: None };
    let done = issue(plane, door, &mut caller, call).await;
    let mut attempt = Attempt::new("token", "token endpoint");
    attempt.task = caller.task;
    match recorded(plane, &caller.cx, attempt, done).await {
        Ok(response) => Ok(TokenReply {
            status: 200,
            body: Bytes::from(response.to_body().expose().clone()),
        }),
        Err(error) => refusal(error),
    }
}

/// Records a refusal; those of callers who did not authenticate up to a bound.
pub(crate) async fn recorded<T>(
    plane: &ControlPlane,
    cx: &Cx,
    mut attempt: Attempt,
    done: Result<T, TokenError>,
) -> Result<T, TokenError> {
    let stranger = cx.actor == Actor::Server;
    match done {
        Err(error) if stranger && !error.is_internal() => match plane.strangers().record(cx.now) {
            Some(left_out) => {
                attempt.left_out = left_out;
                plane.recorded(cx, attempt, Err(error)).await
            }
            None => Err(error),
        },
        done => plane.recorded(cx, attempt, done).await,
    }
}

/// The answer to a request that is refused.
pub(crate) fn refusal(error: TokenError) -> Result<TokenReply, Fault> {
    if let TokenError::Internal(fault) = error {
        return Err(fault);
    }
    let response = error.to_response();
    Ok(TokenReply {
        status: response.code().status(),
        body: Bytes::from(response.to_value().to_string()),
    })
}

async fn issue(
    plane: &ControlPlane,
    door: Door,
    caller: &mut Caller,
    call: &TokenCall,
) -> Result<TokenResponse, TokenError> {
    let received = ReceivedTokenRequest::parse(&call.form)?;
    let expect = Expect {
        htm: "POST",
        htu: plane.token_endpoint(),
        now: caller.cx.now,
        access_token: None,
        jkt: None,
        window: PROOF_WINDOW,
    };
    let proof = Proof::verify(&call.dpop, &expect)?;
    let mut txn = plane.store().begin().await?;
    // INVARIANT: the revision is read before anything that it vouches for. A cut-off that commits
    // after this moment has a later revision and so covers the token. A new instance takes the next
    // one, so that a cut-off commits before and is seen, or after and covers the instance as well.
    let makes = matches!(received.request, TokenRequest::ClientCredentials(_))
        && !credentials::runs(txn.as_mut(), &proof).await?;
    let revision = if makes {
        txn.revision_next().await?
    } else {
        txn.revision().await?
    };
    let client = received.client;
    let signed = |client: Option<ReceivedClient>| client.map(ReceivedClient::into_jwt).transpose();
    let Issued { response, events } = match (door, received.request) {
        (Door::Inside, TokenRequest::Exchange(exchange)) => {
            let asked = exchange::Asked {
                exchange: *exchange,
                client: signed(client)?.flatten(),
            };
            exchange::exchange(plane, caller, txn.as_mut(), (asked, &proof, revision)).await?
        }
        (Door::Inside, TokenRequest::JwtBearer { assertion, scope }) => {
            if signed(client)?.flatten().is_some() {
                return Err(TokenError::UnexpectedClient);
            }
            let asked = (&assertion, scope, &proof);
            person::admin(plane, &mut caller.cx, txn.as_mut(), asked).await?
        }
        (Door::Network(peer), TokenRequest::ClientCredentials(asked)) => {
            let asked = credentials::Asked {
                asked: *asked,
                client: Shown { client, peer },
            };
            credentials::issue(plane, caller, txn.as_mut(), (asked, &proof, revision)).await?
        }
        (Door::Network(peer), TokenRequest::Exchange(exchange)) => {
            let asked = narrow::Asked {
                exchange: *exchange,
                client: Shown { client, peer },
            };
            narrow::exchange(plane, caller, txn.as_mut(), (asked, &proof, revision)).await?
        }
        (Door::Network(_), TokenRequest::JwtBearer { .. })
        | (Door::Inside, TokenRequest::ClientCredentials(_)) => {
            return Err(TokenError::OtherDoor);
        }
    };
    txn.commit(events).await?;
    if makes {
        plane.publish_to_gateways(revision).await;
    }
    Ok(response)
}

/// Takes note of an assertion and a proof; refuses what was used before (RFC 7523 §3, item 7;
/// RFC 9449 §11.1).
async fn use_once(
    plane: &ControlPlane,
    txn: &mut dyn Txn,
    cx: &Cx,
    (subject, jti, until): (&str, &str, Timestamp),
    proof: &VerifiedProof,
) -> Result<(), TokenError> {
    assertion_once(plane, txn, cx, (subject, jti, until)).await?;
    if !plane.proof_is_new(txn, proof, cx.now).await? {
        return Err(TokenError::ProofReplayed);
    }
    Ok(())
}

/// The same of what an agent shows; there is no proof where only a token is asked about.
pub(crate) async fn use_client(
    plane: &ControlPlane,
    txn: &mut dyn Txn,
    cx: &Cx,
    (once, proof): (Option<&Once>, Option<&VerifiedProof>),
) -> Result<(), TokenError> {
    if let Some(once) = once {
        let used = (once.owner.as_str(), once.jti.as_str(), once.until);
        assertion_once(plane, txn, cx, used).await?;
    }
    match proof {
        Some(proof) if !plane.proof_is_new(txn, proof, cx.now).await? => {
            Err(TokenError::ProofReplayed)
        }
        _ => Ok(()),
    }
}

async fn assertion_once(
    plane: &ControlPlane,
    txn: &mut dyn Txn,
    cx: &Cx,
    (subject, jti, until): (&str, &str, Timestamp),
) -> Result<(), TokenError> {
    let value = sha256(format!("{subject} {jti}").as_bytes());
    let value = (ReplayKind::Assertion, &value);
    if plane.use_once(txn, value, (cx.now, until)).await? {
        Ok(())
    } else {
        Err(TokenError::AssertionReplayed)
    }
}

/// Signs a token; gives the text, its life and the record of it.
fn sign(
    plane: &ControlPlane,
    cx: &Cx,
    token: &AccessToken,
    more: Object,
) -> Result<(String, Duration, Event), TokenError> {
    let key = &plane.keyring().token;
    let text = token
        .create(&key.signer, &key.kid)
        .map_err(|error| match error {
            CreateAccessTokenError::InternalSign(error) => Fault::Sign(error).into(),
            error => TokenError::NotIssuable(error),
        })?;
    let TokenCommon {
        issued_at,
        expires_at,
        token: jti,
        jkt,
        audience,
        ..
    } = token.common();
    let body = more
        .with("jti", jti.to_string())
        .with("sha256", sha256(text.as_bytes()).to_string())
        .with("audience", audience.as_str())
        .with("jkt", jkt.to_string())
        .with("expires_at", expires_at.unix_millis());
    let life = expires_at.since(*issued_at);
    Ok((text, life, event(cx, EventKind::TokenIssued, body)))
}
