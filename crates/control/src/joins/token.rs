//! Tokens that let one node or gateway of another host join.

use std::time::Duration;

use aims_crypto::{base64url, sha256};
use aims_json::Object;
use aims_model::point::{JOIN_TOKEN_LIFE_SECS, JOIN_TOKEN_PREFIX};
use aims_model::{EventKind, JoinToken, PointKind};
use aims_types::{Cx, Digest, Secret, Timestamp};

use crate::access::{AccessError, Operator};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::recording::{Attempt, event};
use crate::{ControlPlane, Fault};

/// Random bytes of a join token.
const TOKEN_LEN: usize = 32;

/// A permission to join, and what the process that joins needs besides the server's address.
#[derive(Debug)]
pub struct AllowedJoin {
    /// The token; shown once.
    pub token: Secret<String>,
    /// After this it is worthless.
    pub expires_at: Timestamp,
    /// The digest of the CA certificate, to be pinned.
    pub bundle: Digest,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum AllowJoinError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(AllowJoinError);

impl Refused for AllowJoinError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Makes a token with which one node or gateway can join, once and soon.
    pub async fn join_token_create(
        &self,
        cx: &Cx,
        kind: PointKind,
    ) -> Result<AllowedJoin, AllowJoinError> {
        let cx = cx.clone();
        self.to_the_end(move |plane| async move {
            let done = create(&plane, &cx, kind).await;
            let attempt = Attempt::new("join_token_create", kind.as_str());
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }
}

async fn create(
    plane: &ControlPlane,
    cx: &Cx,
    kind: PointKind,
) -> Result<AllowedJoin, AllowJoinError> {
    let mut txn = plane.store().begin().await?;
    let operator = Operator::admit(cx, txn.as_mut()).await?;
    let mut random = [0_u8; TOKEN_LEN];
    cx.entropy.fill(&mut random)?;
    let token = Secret::new(format!("{JOIN_TOKEN_PREFIX}{}", base64url::encode(&random)));
    let row = JoinToken {
        digest: sha256(token.expose().as_bytes()),
        kind,
        made_by: operator.person().id,
        expires_at: cx.now.plus(Duration::from_secs(JOIN_TOKEN_LIFE_SECS)),
        used_by: None,
    };
    txn.join_token_insert(&row).await?;
    let body = Object::new()
        .with("digest", row.digest.to_string())
        .with("kind", kind.as_str())
        .with("expires_at", row.expires_at.unix_millis());
    txn.commit(vec![event(cx, EventKind::JoinAllowed, body)])
        .await?;
    Ok(AllowedJoin {
        token,
        expires_at: row.expires_at,
        bundle: plane.bundle_digest(),
    })
}
