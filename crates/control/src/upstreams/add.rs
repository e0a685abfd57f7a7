//! Registering an upstream with its credential.

use aims_model::upstream::{CredentialError, check_credential};
use aims_model::{EventKind, TextError, Upstream, UpstreamSpec};
use aims_types::{Cx, Secret};

use crate::access::{AccessError, Operator};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::identity::{self, IdentityError, Kind};
use crate::recording::{Attempt, event};
use crate::{Committed, ControlPlane, Fault};

/// An upstream to be registered. `Debug` does not show the credential.
#[derive(Debug)]
pub struct AddUpstream {
    /// Its name, unique for ever.
    pub name: String,
    /// What it is for, in words.
    pub purpose: String,
    /// Where it is and what may be asked of it.
    pub spec: UpstreamSpec,
    /// Its credential.
    pub secret: Secret<Vec<u8>>,
}

/// Why an upstream was not registered.
#[derive(Debug, thiserror::Error)]
pub enum AddUpstreamError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The name is not its own.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The purpose is not a line of words.
    #[error("the purpose: {0}")]
    Purpose(#[from] TextError),
    /// The text can't be a credential.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(AddUpstreamError);

impl Refused for AddUpstreamError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Identity(error) => error.code(),
            Self::Purpose(_) => "bad_purpose",
            Self::Credential(_) => "bad_credential",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Registers an upstream; its credential is sealed before it is stored. Operators only.
    pub async fn upstream_add(
        &self,
        cx: &Cx,
        request: AddUpstream,
    ) -> Result<Committed<Upstream>, AddUpstreamError> {
        let (cx, attempt) = (cx.clone(), Attempt::new("upstream_add", &request.name));
        self.to_the_end(|plane| async move {
            let done = add(&plane, &cx, request).await;
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }
}

async fn add(
    plane: &ControlPlane,
    cx: &Cx,
    request: AddUpstream,
) -> Result<Committed<Upstream>, AddUpstreamError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    Operator::admit(cx, txn.as_mut()).await?;
    let name = identity::own_name(txn.as_mut(), Kind::Upstream, &request.name).await?;
    check_credential(request.secret.expose())?;
    let upstream = Upstream {
        id: cx.id()?,
        name,
        purpose: request.purpose.parse()?,
        spec: request.spec,
        version: 1,
        registered_at: cx.now,
        rotated_at: None,
        retired_at: None,
    };
    let parts = plane.parts();
    let entropy = parts.entropy.as_ref();
    let sealed = super::seal::seal(&parts.keys, entropy, &upstream, &request.secret)?;
    txn.upstream_insert(&upstream).await?;
    txn.credential_put(&sealed).await?;
    let body = super::body(&upstream).with("purpose", upstream.purpose.as_str());
    txn.commit(vec![event(cx, EventKind::UpstreamRegistered, body)])
        .await?;
    Ok(plane.published(upstream, revision).await)
}
