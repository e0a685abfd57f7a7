//! Joining with a single-use token and the proof that the key is held.

use aims_crypto::sha256;
use aims_links::{JoinAsk, Joined};
use aims_model::{EventKind, JoinToken, Point, PointKind};
use aims_types::{Cx, SpiffeIdError};
use aims_x509::{IdMismatch, ParseRequestError, SvidRequest};

use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::init::key_body;
use crate::joins::key_of;
use crate::keyring::enrolled;
use crate::recording::event;
use crate::svids::{self, SvidError, spiffe_id_of};
use crate::{ControlPlane, Fault};

/// Why a process was not admitted.
#[derive(Debug, thiserror::Error)]
pub(super) enum JoinError {
    /// One answer for all of them: whoever guesses learns nothing.
    #[error(
        "the join token is unknown, used, too old, or for something else; ask an operator for \
         another one"
    )]
    Token,
    #[error("the certificate request is refused: {0}")]
    Request(#[from] ParseRequestError),
    #[error("the certificate request is refused: {0}; leave the name to the server")]
    Name(#[from] IdMismatch),
    #[error("the key is or was enrolled already; make a new one and join with that")]
    KeyTaken,
    #[error(transparent)]
    Svid(#[from] SvidError),
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(JoinError);

impl From<SpiffeIdError> for JoinError {
    fn from(error: SpiffeIdError) -> Self {
        Self::Svid(error.into())
    }
}

impl Refused for JoinError {
    fn code(&self) -> &'static str {
        match self {
            Self::Token => "join_refused",
            Self::Request(_) | Self::Name(_) => "bad_certificate_request",
            Self::KeyTaken => "key_taken",
            Self::Svid(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// Uses the token up, enrols the key and issues its first certificate, all or nothing.
pub(super) async fn join(
    plane: &ControlPlane,
    cx: &Cx,
    ask: &JoinAsk,
    host: &str,
) -> Result<Joined, JoinError> {
    let mut txn = plane.store().begin().await?;
    let digest = sha256(ask.token.expose().as_bytes());
    let works = |token: &JoinToken| {
        token.kind == ask.kind && token.used_by.is_none() && cx.now < token.expires_at
    };
    let token = txn.join_token(&digest).await?.filter(works);
    let mut token = token.ok_or(JoinError::Token)?;
    let request = SvidRequest::parse(&ask.csr)?;
    let point = match ask.kind {
        PointKind::Gateway => Point::Gateway(cx.id()?),
        PointKind::Node => Point::Node(cx.id()?),
    };
    let spiffe_id = spiffe_id_of(plane.trust_domain(), point)?;
    request.expect_id(&spiffe_id)?;
    let (purpose, owner) = key_of(point);
    let key = enrolled(request.public(), purpose, owner, cx.now);
    if txn.key(&key.kid).await?.is_some() {
        return Err(JoinError::KeyTaken);
    }
    let (svid, issued) = svids::issue(plane, cx, (request.public(), &spiffe_id), &[])?;
    token.used_by = Some(point);
    let revision = txn.revision_next().await?;
    txn.key_insert(&key).await?;
    txn.join_token_update(&token).await?;
    let body = key_body(&key)
        .with("host", host)
        .with("join_token", digest.to_string())
        .with("allowed_by", token.made_by.to_string());
    let events = vec![event(cx, EventKind::KeyEnrolled, body), issued];
    txn.commit(events).await?;
    plane.publish(revision).await;
    Ok(Joined {
        point,
        trust_domain: plane.trust_domain().clone(),
        issuer: plane.parts().config.issuer.clone(),
        resource: plane.parts().config.resource.clone(),
        svid,
    })
}
