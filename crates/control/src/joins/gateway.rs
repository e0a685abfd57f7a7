//! The gateway of this process.

use std::sync::Arc;

use aims_json::Object;
use aims_links::{Enforce, EnforceError};
use aims_model::{EventKind, KeyOwner, KeyPurpose, Point};
use aims_types::{Cx, Gateway, Id, Revision};

use super::point_of;
use crate::access::{AccessError, Itself};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::init::key_enrolled;
use crate::keyring::{BadKey, enrolled, parse_jwk};
use crate::publish::{AttachError, Link};
use crate::recording::{Attempt, event};
use crate::{ControlPlane, Fault};

/// Why a gateway did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinGatewayError {
    /// Only the server itself lets a gateway of its own process join.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The key can't be used.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The key is or was enrolled for something else.
    #[error("the gateway's key is enrolled for something else, or retired; make a new one")]
    KeyTaken,
    /// The gateway did not take over the state.
    #[error(transparent)]
    Enforce(#[from] EnforceError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(JoinGatewayError);

impl Refused for JoinGatewayError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Key(_) => "bad_key",
            Self::KeyTaken => "key_taken",
            Self::Enforce(_) => "gateway_not_ready",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl From<AttachError> for JoinGatewayError {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Enforce(error) => Self::Enforce(error),
            AttachError::Internal(fault) => Self::Internal(fault),
        }
    }
}

impl ControlPlane {
    /// Lets the gateway of this process join under its lasting id: enrols its key, and gives it
    /// the current state before this returns, and every later one.
    pub async fn gateway_join(
        &self,
        cx: &Cx,
        id: Id<Gateway>,
        jwk: &str,
        link: Arc<dyn Enforce>,
    ) -> Result<Id<Gateway>, JoinGatewayError> {
        let (cx, jwk) = (cx.clone(), jwk.to_owned());
        self.to_the_end(move |plane| async move {
            let done = join(&plane, &cx, (id, &jwk), link).await;
            plane
                .recorded(&cx, Attempt::new("gateway_join", &id.to_string()), done)
                .await
        })
        .await
    }
}

async fn join(
    plane: &ControlPlane,
    cx: &Cx,
    (id, jwk): (Id<Gateway>, &str),
    link: Arc<dyn Enforce>,
) -> Result<Id<Gateway>, JoinGatewayError> {
    Itself::admit(cx)?;
    if let Some(revision) = enrol(plane, cx, id, jwk).await? {
        plane.publish(revision).await;
    }
    let at = plane
        .attach(Point::Gateway(id), Link::Gateway(link), Revision::ZERO)
        .await?;
    let body = Object::new()
        .with("gateway", id.to_string())
        .with("revision", at.number());
    plane
        .commit_alone(event(cx, EventKind::GatewayStarted, body))
        .await?;
    Ok(id)
}

/// Enrols a gateway's key; gives the revision if it was not enrolled before.
async fn enrol(
    plane: &ControlPlane,
    cx: &Cx,
    id: Id<Gateway>,
    jwk: &str,
) -> Result<Option<Revision>, JoinGatewayError> {
    let mut txn = plane.store().begin().await?;
    let owner = KeyOwner::Gateway(id);
    let key = enrolled(&parse_jwk(jwk)?, KeyPurpose::Gateway, owner, cx.now);
    if let Some(known) = txn.key(&key.kid).await? {
        return match point_of(&known) {
            Some(Point::Gateway(known)) if known == id => Ok(None),
            _ => Err(JoinGatewayError::KeyTaken),
        };
    }
    let revision = txn.revision_next().await?;
    txn.key_insert(&key).await?;
    txn.commit(vec![key_enrolled(cx, &key)]).await?;
    Ok(Some(revision))
}
