//! Attesting an instance: evidence, environment and authority are checked at this moment.

use std::time::Duration;

use aims_crypto::PublicKey;
use aims_jose::{Jwk, Thumbprint};
use aims_json::{Object, to_canonical};
use aims_links::{Attestation, InstanceGrant, Refusal};
use aims_model::instance::Stage;
use aims_model::{Event, EventKind, Instance, PolicyVersion, Posture, Run};
use aims_store::{Reader, Txn};
use aims_types::{Cx, Revision};

use super::checks::{Checks, Failed, Voucher};
use super::credential::credential;
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::joins::is_enrolled_node;
use crate::keyring::{BadKey, canonical_jwk, parse_jwk};
use crate::liveness::{LiveChain, NotLive};
use crate::policies::policy_body;
use crate::recording::{event, value};
use crate::runs::LAUNCH_SECS_MAX;
use crate::{ControlPlane, Fault};

/// Longest canonical form of a posture, in bytes: it has to fit into a record.
const POSTURE_LEN_MAX: usize = 32 << 10;

/// Why no instance was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttestError {
    /// There is no such launch.
    #[error("there is no such launch")]
    UnknownRun,
    /// Nobody took it up.
    #[error("the launch was not taken up")]
    NotRedeemed,
    /// It was taken up too long ago.
    #[error("the launch was taken up more than {LAUNCH_SECS_MAX} seconds ago; ask for a new one")]
    TooLate,
    /// It has its instance.
    #[error("the launch has its instance already; ask for a new one")]
    AlreadyAttested,
    /// The instance's key can't be used.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The key is somebody else's too.
    #[error("the instance's key is used for something else; make a new one")]
    KeyTaken,
    /// The posture can't be recorded.
    #[error("the posture takes more than {POSTURE_LEN_MAX} bytes")]
    TooLarge,
    /// One of the three checks failed.
    #[error("{}", .0.reason())]
    Checks(Box<Failed>, Object),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(AttestError);

impl Refused for AttestError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownRun => "unknown_run",
            Self::NotRedeemed => "not_redeemed",
            Self::TooLate => "launch_too_late",
            Self::AlreadyAttested => "already_attested",
            Self::Key(_) => "bad_key",
            Self::KeyTaken => "key_taken",
            Self::TooLarge => "posture_too_large",
            Self::Checks(refusal, _) => refusal.code(),
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl AttestError {
    /// What the node is told, and what the record says besides.
    pub(crate) fn into_refusal(self) -> (Refusal, Object) {
        match self {
            Self::Checks(failed, results) => (failed.into_refusal(), results),
            other => {
                let (code, reason) = (other.code(), other.to_string());
                (
                    Refusal {
                        code: code.into(),
                        reason,
                        gaps: Vec::new(),
                    },
                    Object::new(),
                )
            }
        }
    }
}

/// Checks an attestation and makes the instance with its credential.
pub(crate) async fn attest(
    plane: &ControlPlane,
    cx: &Cx,
    attestation: Attestation,
) -> Result<(InstanceGrant, Revision), AttestError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let run = launchable(txn.as_mut(), cx, &attestation).await?;
    let key = own_key(txn.as_mut(), &attestation.jwk).await?;
    check_size(&attestation.posture)?;
    // A ticket makes the node that redeemed it answer for the launch; knowing its id does not.
    let node = Voucher {
        enrolled: is_enrolled_node(txn.as_mut(), attestation.node).await?,
        took_it_up: run.redeemed_by == Some(attestation.node),
    };
    let missing = || Fault::Inconsistent(format!("run `{}` has no agent", run.id));
    let agent = txn.agent(run.agent).await?.ok_or_else(missing)?;
    let mut checks = Checks::of(&agent, &attestation.posture, node);
    let live = match LiveChain::find(txn.as_mut(), (run.task, run.delegation), cx.now).await {
        Ok(live) => {
            check_requester(txn.as_mut(), &run, &mut checks).await?;
            Some(live)
        }
        Err(NotLive::Internal(fault)) => return Err(fault.into()),
        Err(error) => {
            checks.against(&error);
            None
        }
    };
    let policy = txn.policy_current().await?;
    let policy = policy.ok_or_else(|| Fault::Inconsistent("no policy is in force".to_owned()))?;
    let (live, refusal) = (live, checks.refusal());
    let (Some(live), None) = (live, &refusal) else {
        let results = checks
            .to_body(Object::new())?
            .with("in_force", policy_body(&policy));
        let refusal = refusal.ok_or_else(|| Fault::Inconsistent("no reason".to_owned()))?;
        return Err(AttestError::Checks(Box::new(refusal), results));
    };
    let (node, posture) = (attestation.node, attestation.posture);
    let instance = Instance {
        id: cx.id()?,
        agent: agent.id,
        task: run.task,
        run: run.id,
        node: Some(node),
        posture: Some(posture.clone()),
        process: None,
        jkt: Thumbprint::of(&key).to_string(),
        jwk: canonical_jwk(&Jwk::new(key)),
        stage: Stage::Live { since: cx.now },
    };
    let (grant, wit) = credential(plane, cx, &live, (instance.id, key))?;
    let body = checks
        .to_body(Object::new())?
        .with("wit", wit)
        .with("revision", revision.number());
    let body = body
        .with("node", node.to_string())
        .with("posture", value(&posture)?);
    let made = made_event(cx, &instance, (&live, &policy), body);
    insert(txn, &instance, made).await?;
    Ok((grant, revision))
}

/// Whoever asked for the launch has to be there still, as when it was taken up.
async fn check_requester(
    reader: &mut dyn Reader,
    run: &Run,
    checks: &mut Checks,
) -> Result<(), aims_store::Error> {
    let asked = reader.person(run.requested_by).await?;
    if asked.is_none_or(|person| person.removed_at.is_some()) {
        checks.against(&NotLive::PersonRemoved);
    }
    Ok(())
}

async fn insert(
    mut txn: Box<dyn Txn>,
    instance: &Instance,
    made: Event,
) -> Result<(), aims_store::Error> {
    txn.instance_insert(instance).await?;
    txn.commit(vec![made]).await
}

/// A launch that was taken up a moment ago and has no instance yet.
async fn launchable(
    reader: &mut dyn Reader,
    cx: &Cx,
    attestation: &Attestation,
) -> Result<Run, AttestError> {
    let run = reader
        .run(attestation.run)
        .await?
        .ok_or(AttestError::UnknownRun)?;
    let redeemed_at = run.redeemed_at.ok_or(AttestError::NotRedeemed)?;
    if cx.now.since(redeemed_at) > Duration::from_secs(LAUNCH_SECS_MAX) {
        return Err(AttestError::TooLate);
    }
    let instances = reader.instances_of_task(run.task).await?;
    if instances.iter().any(|instance| instance.run == run.id) {
        return Err(AttestError::AlreadyAttested);
    }
    Ok(run)
}

/// A key that is nobody else's: a key that two instances share would let one act as the other.
async fn own_key(reader: &mut dyn Reader, jwk: &str) -> Result<PublicKey, AttestError> {
    let key = parse_jwk(jwk)?;
    let jkt = Thumbprint::of(&key).to_string();
    let enrolled = reader.key(&jkt).await?.is_some();
    let live = reader.instances_live().await?;
    if enrolled || live.iter().any(|instance| instance.jkt == jkt) {
        return Err(AttestError::KeyTaken);
    }
    Ok(key)
}

fn check_size(posture: &Posture) -> Result<(), AttestError> {
    match to_canonical(&value(posture)?) {
        Ok(bytes) if bytes.len() <= POSTURE_LEN_MAX => Ok(()),
        _ => Err(AttestError::TooLarge),
    }
}

/// The record of a new instance.
pub(crate) fn made_event(
    cx: &Cx,
    instance: &Instance,
    (live, policy): (&LiveChain, &PolicyVersion),
    body: Object,
) -> Event {
    let body = body
        .with("instance", instance.id.to_string())
        .with("agent", live.leaf.agent.spiffe_id.as_str())
        .with("run", instance.run.to_string())
        .with("delegation", live.leaf.grant.id.to_string())
        .with("jkt", instance.jkt.as_str())
        .with("jwk", instance.jwk.as_str())
        .with("in_force", policy_body(policy));
    event(cx, EventKind::InstanceAttested, body).of_task(instance.task)
}
