//! Replacing the credential of an upstream, and retiring an upstream: what was asked with the
//! credential that is gone has ended at every gateway when either returns.

use aims_model::upstream::{CredentialError, check_credential};
use aims_model::{EventKind, Upstream};
use aims_store::Txn;
use aims_types::{Cx, Name, Secret};

use crate::access::{AccessError, Operator};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::recording::{Attempt, event};
use crate::{Committed, ControlPlane, Fault};

/// Why an upstream was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeUpstreamError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no such upstream.
    #[error("there is no upstream `{0}`")]
    Unknown(Name),
    /// It is retired.
    #[error("the upstream `{0}` is retired; register another one under another name")]
    Retired(Name),
    /// The text can't be a credential.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(ChangeUpstreamError);

impl Refused for ChangeUpstreamError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_upstream",
            Self::Retired(_) => "upstream_retired",
            Self::Credential(_) => "bad_credential",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Replaces the credential of an upstream. The one before is nowhere any more, and what was
    /// under way with it has ended, when this returns. Operators only.
    pub async fn upstream_rotate(
        &self,
        cx: &Cx,
        name: &Name,
        secret: Secret<Vec<u8>>,
    ) -> Result<Committed<Upstream>, ChangeUpstreamError> {
        let (cx, name) = (cx.clone(), name.clone());
        self.to_the_end(|plane| async move {
            let done = rotate(&plane, &cx, &name, &secret).await;
            let attempt = Attempt::new("upstream_rotate", name.as_str());
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }

    /// Retires an upstream for ever. Its credential is nowhere any more, and what was under way to
    /// it has ended, when this returns. Operators only.
    pub async fn upstream_retire(
        &self,
        cx: &Cx,
        name: &Name,
    ) -> Result<Committed<Upstream>, ChangeUpstreamError> {
        let (cx, name) = (cx.clone(), name.clone());
        self.to_the_end(|plane| async move {
            let done = retire(&plane, &cx, &name).await;
            let attempt = Attempt::new("upstream_retire", name.as_str());
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }
}

async fn rotate(
    plane: &ControlPlane,
    cx: &Cx,
    name: &Name,
    secret: &Secret<Vec<u8>>,
) -> Result<Committed<Upstream>, ChangeUpstreamError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let mut upstream = active(cx, txn.as_mut(), name).await?;
    check_credential(secret.expose())?;
    let version = upstream.version.checked_add(1);
    upstream.version =
        version.ok_or_else(|| Fault::Inconsistent("too many versions".to_owned()))?;
    upstream.rotated_at = Some(cx.now);
    let parts = plane.parts();
    let sealed = super::seal::seal(&parts.keys, parts.entropy.as_ref(), &upstream, secret)?;
    txn.upstream_update(&upstream).await?;
    txn.credential_put(&sealed).await?;
    let body = super::body(&upstream);
    txn.commit(vec![event(cx, EventKind::UpstreamRotated, body)])
        .await?;
    Ok(plane.published(upstream, revision).await)
}

async fn retire(
    plane: &ControlPlane,
    cx: &Cx,
    name: &Name,
) -> Result<Committed<Upstream>, ChangeUpstreamError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let mut upstream = active(cx, txn.as_mut(), name).await?;
    upstream.retired_at = Some(cx.now);
    txn.upstream_update(&upstream).await?;
    txn.credential_remove(upstream.id).await?;
    let body = super::body(&upstream);
    txn.commit(vec![event(cx, EventKind::UpstreamRetired, body)])
        .await?;
    Ok(plane.published(upstream, revision).await)
}

/// The upstream of that name, for an operator.
async fn active(cx: &Cx, txn: &mut dyn Txn, name: &Name) -> Result<Upstream, ChangeUpstreamError> {
    Operator::admit(cx, txn).await?;
    let found = txn.upstream_by_name(name).await?;
    let upstream = found.ok_or_else(|| ChangeUpstreamError::Unknown(name.clone()))?;
    if upstream.is_active() {
        Ok(upstream)
    } else {
        Err(ChangeUpstreamError::Retired(name.clone()))
    }
}
