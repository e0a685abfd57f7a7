//! The next certificate of a point, for the same key.

use aims_jose::Thumbprint;
use aims_links::Svid;
use aims_model::Point;
use aims_types::Cx;
use aims_x509::{IdMismatch, ParseRequestError, SvidRequest};

use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::joins::point_of;
use crate::svids::{self, SvidError, spiffe_id_of};
use crate::{ControlPlane, Fault};

/// Why no further certificate was issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenewSvidError {
    #[error("the key is not enrolled for `{0}`, or it was retired; join again with a new key")]
    NotEnrolled(Point),
    #[error("the certificate request is refused: {0}")]
    Request(#[from] ParseRequestError),
    #[error("the certificate request is refused: {0}")]
    Name(#[from] IdMismatch),
    #[error(transparent)]
    Svid(#[from] SvidError),
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(RenewSvidError);

impl Refused for RenewSvidError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotEnrolled(_) => "not_enrolled",
            Self::Request(_) | Self::Name(_) => "bad_certificate_request",
            Self::Svid(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

pub(super) async fn renew(
    plane: &ControlPlane,
    cx: &Cx,
    point: Point,
    csr: &[u8],
) -> Result<Svid, RenewSvidError> {
    let request = SvidRequest::parse(csr)?;
    let spiffe_id = spiffe_id_of(plane.trust_domain(), point).map_err(SvidError::from)?;
    request.expect_id(&spiffe_id)?;
    let kid = Thumbprint::of(request.public()).to_string();
    // The record is committed in the transaction that saw the key: none is issued to a retired one.
    let mut txn = plane.store().begin().await?;
    let key = txn.key(&kid).await?;
    if key.and_then(|key| point_of(&key)) != Some(point) {
        return Err(RenewSvidError::NotEnrolled(point));
    }
    let (svid, event) = svids::issue(plane, cx, (request.public(), &spiffe_id), &[])?;
    txn.commit(vec![event]).await?;
    Ok(svid)
}
