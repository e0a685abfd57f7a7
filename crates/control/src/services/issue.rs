//! Issuing SVIDs to an attested process, on evidence seen again for this call.

use aims_jose::{SigningHeader, Thumbprint, sign, typ};
use aims_json::{Object, Value, to_canonical};
use aims_links::{JwtSvid, ServiceCall, Svid};
use aims_model::{Assurance, CertifiedKey, Event, EventKind, Service, ServiceInstance};
use aims_oauth::PROCESS_CLAIM;
use aims_store::{Reader, Txn};
use aims_types::{self as types, Cx, Id, Revision, Secret, Timestamp};
use aims_x509::{IdMismatch, ParseRequestError, SvidRequest};

use super::all_ended;
use super::attest::may_have;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::joins::is_enrolled_node;
use crate::recording::{event, value};
use crate::svids::{self, SvidError};
use crate::{ControlPlane, Fault};

/// Most audiences of one JWT-SVID. One is what the standard recommends.
pub const AUDIENCES_MAX: usize = 8;
/// Longest audience, in bytes.
pub const AUDIENCE_LEN_MAX: usize = 512;

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueProcessError {
    /// There is no such process, or another node vouches for it.
    #[error("there is no such process of a service on this node")]
    Unknown,
    /// It ended.
    #[error("the process has ended, or was cut off")]
    Ended,
    /// The node can't vouch for anybody.
    #[error("the node is not enrolled; let it join first")]
    NotEnrolled,
    /// Its service was retired, or nobody answers for it.
    #[error("the service was retired, or its owner was removed")]
    NoService,
    /// It is not what was attested any more; it has ended with that.
    #[error("the process is not what was attested: {0}")]
    Changed(String, Revision),
    /// The audience can't be an audience.
    #[error(
        "an audience is 1 to {AUDIENCES_MAX} texts of 1 to {AUDIENCE_LEN_MAX} bytes without \
         control characters"
    )]
    Audience,
    /// The request for a certificate can't be used.
    #[error("the certificate request is refused: {0}")]
    Request(#[from] ParseRequestError),
    /// It names something else.
    #[error("the certificate request is refused: {0}")]
    Name(#[from] IdMismatch),
    /// The certificate was not issued.
    #[error(transparent)]
    Svid(#[from] SvidError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(IssueProcessError);

impl Refused for IssueProcessError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown_instance",
            Self::Ended => "instance_ended",
            Self::NotEnrolled => "not_enrolled",
            Self::NoService => "no_service",
            Self::Changed(..) => "evidence_mismatch",
            Self::Audience => "bad_audience",
            Self::Request(_) | Self::Name(_) => "bad_certificate_request",
            Self::Svid(error) => error.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// Issues a certificate; the record says that its key leaves the node.
pub(super) async fn x509(
    plane: &ControlPlane,
    cx: &Cx,
    call: &ServiceCall,
    csr: &[u8],
) -> Result<Svid, IssueProcessError> {
    let request = SvidRequest::parse(csr)?;
    let (mut txn, service, mut process) = live(plane, cx, call).await?;
    request.expect_id(&service.spiffe_id)?;
    let life = plane.parts().config.services.x509();
    let named = (request.public(), &service.spiffe_id);
    let (svid, issued) = svids::issue_for(plane, cx, named, (&[], life))?;
    let key = CertifiedKey {
        kid: Thumbprint::of(request.public()).to_string(),
        not_after: svid.expires_at,
    };
    process.certify(key, cx.now);
    txn.service_instance_update(&process).await?;
    let mut body = issued.body.clone();
    body.remove("by");
    let exported = exported(cx, EventKind::KeyExported, (call, &service), body)?;
    txn.commit(vec![issued, exported]).await?;
    Ok(svid)
}

/// Issues a JWT-SVID (SPIFFE JWT-SVID §3): `sub`, `aud`, `exp`, and when and as what it was issued;
/// one for this server alone says which process it was issued to as well.
pub(super) async fn jwt(
    plane: &ControlPlane,
    cx: &Cx,
    call: &ServiceCall,
    audience: &[String],
) -> Result<JwtSvid, IssueProcessError> {
    check_audience(audience)?;
    let (txn, service, process) = live(plane, cx, call).await?;
    let life = plane.parts().config.services.jwt();
    let expires_at = Timestamp::from_unix_secs(cx.now.plus(life).unix_secs());
    let (jti, key): (Id<types::Token>, _) = (cx.id()?, &plane.keyring().jwt);
    let texts: Vec<Value> = audience.iter().map(|one| one.as_str().into()).collect();
    let mut claims = Object::new()
        .with("sub", service.spiffe_id.as_str())
        .with("aud", texts.clone())
        .with("iat", cx.now.unix_secs())
        .with("exp", expires_at.unix_secs())
        .with("jti", jti.to_string());
    if audience == [plane.parts().config.issuer.as_str()] {
        claims = claims.with(PROCESS_CLAIM, process.id.to_string());
    }
    let claims = to_canonical(&claims.into());
    let claims = claims.map_err(|error| Fault::Inconsistent(error.to_string()))?;
    let header = SigningHeader::new(typ::JWT).kid(key.kid.as_str());
    let token = sign(&header, &claims, &key.signer)?;
    let body = Object::new()
        .with("spiffe_id", service.spiffe_id.as_str())
        .with("aud", texts)
        .with("jti", jti.to_string())
        .with("expires_at", expires_at.unix_millis());
    let issued = exported(cx, EventKind::JwtSvidIssued, (call, &service), body)?;
    txn.commit(vec![issued]).await?;
    let token = Secret::new(token);
    Ok(JwtSvid { token, expires_at })
}

fn check_audience(audience: &[String]) -> Result<(), IssueProcessError> {
    let good = |text: &String| {
        (1..=AUDIENCE_LEN_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
    };
    if (1..=AUDIENCES_MAX).contains(&audience.len()) && audience.iter().all(good) {
        return Ok(());
    }
    Err(IssueProcessError::Audience)
}

/// The transaction that saw that everything holds now, the service and the process.
async fn live(
    plane: &ControlPlane,
    cx: &Cx,
    call: &ServiceCall,
) -> Result<(Box<dyn Txn>, Service, ServiceInstance), IssueProcessError> {
    let mut txn = plane.store().begin().await?;
    let (service, instance) = found(txn.as_mut(), call).await?;
    let mut gaps = service.gaps(&call.seen);
    if gaps.is_empty() && instance.seen == call.seen {
        return Ok((txn, service, instance));
    }
    let what = gaps
        .pop()
        .map_or_else(|| "it is another process".to_owned(), |gap| gap.to_string());
    let revision = txn.revision_next().await?;
    let how = (revision, "what it runs changed");
    let events = all_ended(txn.as_mut(), cx, vec![instance], how).await?;
    txn.commit(events).await?;
    Err(IssueProcessError::Changed(what, revision))
}

async fn found(
    reader: &mut dyn Reader,
    call: &ServiceCall,
) -> Result<(Service, ServiceInstance), IssueProcessError> {
    if !is_enrolled_node(reader, call.node).await? {
        return Err(IssueProcessError::NotEnrolled);
    }
    let instance = reader.service_instance(call.instance).await?;
    let instance = instance.filter(|instance| instance.node == call.node);
    let instance = instance.ok_or(IssueProcessError::Unknown)?;
    if !instance.stage.is_live() {
        return Err(IssueProcessError::Ended);
    }
    let missing = || Fault::Inconsistent(format!("`{}` has no service", instance.id));
    let service = reader.service(instance.service).await?;
    let service = service.ok_or_else(missing)?;
    if !may_have(reader, &service).await? {
        return Err(IssueProcessError::NoService);
    }
    Ok((service, instance))
}

/// The record of something that leaves the node in the open.
fn exported(
    cx: &Cx,
    kind: EventKind,
    (call, service): (&ServiceCall, &Service),
    body: Object,
) -> Result<Event, aims_store::Error> {
    let body = body
        .with("instance", call.instance.to_string())
        .with("service", service.id.to_string())
        .with("node", call.node.to_string())
        .with("assurance", Assurance::Observed.as_str())
        .with("seen", value(&call.seen)?);
    Ok(event(cx, kind, body))
}
