//! Renewing the credential of a live instance, on evidence seen again now.

use aims_crypto::sha256;
use aims_json::{Object, to_canonical};
use aims_links::InstanceGrant;
use aims_model::{EventKind, Evidence, EvidenceGap, Instance, Posture};
use aims_types::{self as types, Cx, Id, Node, Revision};

use super::all_ended;
use super::checks::{Checks, Failed, Voucher};
use super::credential::credential;
use crate::approvals;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::joins::is_enrolled_node;
use crate::keyring::parse_jwk;
use crate::liveness::{LiveInstance, NotLive};
use crate::recording::{event, value};
use crate::runs::bounded;
use crate::{ControlPlane, Fault};

/// Why a credential was not renewed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    /// Nothing may be issued to it any more.
    #[error(transparent)]
    NotLive(#[from] NotLive),
    /// Another node vouches for it.
    #[error("another node vouches for this instance")]
    ForeignNode,
    /// What was seen is not what was attested: the instance was ended at this revision.
    #[error("{}", .0.reason())]
    Ended(Box<Failed>, Revision),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(RenewError);

impl Refused for RenewError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotLive(error) => error.code(),
            Self::ForeignNode => "foreign_node",
            Self::Ended(failed, _) => failed.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// Gives a live instance a new credential, if what is seen of it is what was attested. If it is
/// not, the instance ends at once.
pub(crate) async fn renew(
    plane: &ControlPlane,
    cx: &Cx,
    (node, id): (Id<Node>, Id<types::Instance>),
    evidence: Evidence,
) -> Result<InstanceGrant, RenewError> {
    let mut txn = plane.store().begin().await?;
    let LiveInstance { instance, of } = LiveInstance::find(txn.as_mut(), id, cx.now).await?;
    if instance.node != Some(node) {
        return Err(RenewError::ForeignNode);
    }
    let attested = instance.posture.clone().ok_or(RenewError::ForeignNode)?;
    let posture = Posture {
        evidence,
        ..attested.clone()
    };
    let voucher = Voucher {
        enrolled: is_enrolled_node(txn.as_mut(), node).await?,
        took_it_up: true,
    };
    let mut checks = Checks::of(&of.leaf.agent, &posture, voucher);
    checks
        .gaps
        .extend(changed(&attested.evidence, &posture.evidence)?);
    if let Some(refusal) = checks.refusal() {
        drop(txn);
        let revision = end_changed(plane, cx, (instance, node), (&checks, &refusal)).await?;
        return Err(RenewError::Ended(Box::new(refusal), revision));
    }
    let key = parse_jwk(&instance.jwk).map_err(|error| Fault::Inconsistent(error.to_string()))?;
    let (grant, wit) = credential(plane, cx, &of, (id, key))?;
    let body = checks
        .to_body(Object::new())?
        .with("instance", id.to_string())
        .with("agent", of.leaf.agent.spiffe_id.as_str())
        .with("node", node.to_string())
        .with("renewed", true)
        .with("wit", wit);
    txn.commit(vec![
        event(cx, EventKind::InstanceAttested, body).of_task(of.task.id),
    ])
    .await?;
    Ok(grant)
}

/// Anything of the evidence that differs from what was attested, also what the registration leaves
/// open: arguments, environment, plan.
fn changed(attested: &Evidence, seen: &Evidence) -> Result<Option<EvidenceGap>, Fault> {
    if attested == seen {
        return Ok(None);
    }
    let digest = |evidence: &Evidence| -> Result<String, Fault> {
        let bytes = to_canonical(&value(evidence)?);
        let bytes = bytes.map_err(|error| Fault::Inconsistent(error.to_string()))?;
        Ok(sha256(&bytes).to_string())
    };
    Ok(Some(EvidenceGap {
        part: "attested".to_owned(),
        expected: digest(attested)?,
        seen: digest(seen)?,
    }))
}

/// The attested state ended: so does everything of the instance.
async fn end_changed(
    plane: &ControlPlane,
    cx: &Cx,
    (instance, node): (Instance, Id<Node>),
    (checks, failed): (&Checks, &Failed),
) -> Result<Revision, Fault> {
    let mut txn = plane.store().begin().await?;
    let now = txn.revision().await?;
    let revision = txn.revision_next().await?;
    let instance = txn.instance(instance.id).await?.unwrap_or(instance);
    let how = (revision, "what it runs changed");
    let ends = all_ended(txn.as_mut(), cx, vec![instance.clone()], how).await?;
    if ends.is_empty() {
        // It ended in the meantime.
        return Ok(now);
    }
    let body = checks
        .to_body(Object::new())?
        .with("instance", instance.id.to_string())
        .with("node", node.to_string())
        .with("code", failed.code())
        .with("reason", bounded(failed.reason()))
        .with("renewed", false);
    let refused = event(cx, EventKind::InstanceRefused, body).of_task(instance.task);
    let mut events = vec![refused];
    events.extend(ends);
    events.extend(approvals::withdrawn(txn.as_mut(), cx).await?);
    txn.commit(events).await?;
    Ok(revision)
}
