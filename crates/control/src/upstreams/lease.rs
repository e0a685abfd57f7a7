//! Handing a credential to a gateway that is about to use it.

use aims_links::{CredentialAsk, CredentialLease};
use aims_model::{EventKind, Point, Upstream};
use aims_types::{Cx, Gateway, Id};

use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::recording::event;
use crate::{ControlPlane, Fault};

/// Why a gateway does not get a credential.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseCredentialError {
    #[error("the gateway holds no lease, so nothing is allowed there")]
    NoLease,
    #[error("there is no such upstream, or it is retired")]
    Unknown,
    #[error("version {0} of the credential is not in force any more")]
    OldVersion(u32),
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(LeaseCredentialError);

impl Refused for LeaseCredentialError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoLease => "no_lease",
            Self::Unknown => "unknown_upstream",
            Self::OldVersion(_) => "old_version",
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// Hands over the credential in force; who got it is on record before anybody has it.
pub(crate) async fn lease(
    plane: &ControlPlane,
    cx: &Cx,
    gateway: Id<Gateway>,
    ask: CredentialAsk,
) -> Result<CredentialLease, LeaseCredentialError> {
    let mut txn = plane.store().begin().await?;
    let row = txn.lease(Point::Gateway(gateway)).await?;
    let now = plane.parts().clock.boot();
    if row.is_none_or(|row| plane.leases().book.has_ended(&row, now)) {
        return Err(LeaseCredentialError::NoLease);
    }
    let upstream = txn.upstream(ask.upstream).await?;
    let upstream = upstream
        .filter(Upstream::is_active)
        .ok_or(LeaseCredentialError::Unknown)?;
    if upstream.version != ask.version {
        return Err(LeaseCredentialError::OldVersion(ask.version));
    }
    let stored = txn.credential(upstream.id).await?;
    let stored = stored.filter(|stored| stored.version == upstream.version);
    let missing = || {
        let name = &upstream.name;
        Fault::Inconsistent(format!("the credential of upstream `{name}` is not stored"))
    };
    let lease = super::seal::open(&plane.parts().keys, &upstream, stored.ok_or_else(missing)?)?;
    let body = super::body(&upstream).with("gateway", gateway.to_string());
    txn.commit(vec![event(cx, EventKind::UpstreamLeased, body)])
        .await?;
    Ok(lease)
}
