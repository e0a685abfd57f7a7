//! Attesting a process: which services it is a process of.

use aims_json::Object;
use aims_links::{ServiceAttestation, ServiceGrant};
use aims_model::evidence::ARGUMENT_LEN_MAX;
use aims_model::instance::Stage;
use aims_model::service::CGROUP_LEN_MAX;
use aims_model::{Assurance, Event, EventKind, ProcessSeen, Service, ServiceInstance};
use aims_store::Reader;
use aims_types::{Cx, Revision};

use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::joins::is_enrolled_node;
use crate::kill::KILLED;
use crate::recording::{event, value};
use crate::{ControlPlane, Fault};

/// Most processes of one service that live at a time.
pub const PROCESSES_OF_SERVICE_MAX: usize = 1024;
/// Longest name of a boot, in bytes.
const BOOT_LEN_MAX: usize = 64;

/// Why a process has no identity.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttestProcessError {
    /// The node can't vouch for anybody.
    #[error("the node is not enrolled; let it join first")]
    NotEnrolled,
    /// What was seen can't be recorded.
    #[error("what was seen of the process is too long or not a path")]
    Seen,
    /// No service is registered that it fits. What is registered is not told.
    #[error(
        "no service is registered for `{path}` with the digest {digest} as user {uid} on this node"
    )]
    NoService {
        /// What it runs.
        path: String,
        /// With which digest.
        digest: String,
        /// As whom.
        uid: u32,
    },
    /// It was killed as an instance: what is killed never comes back.
    #[error("the process was killed as an instance; start it again")]
    Killed,
    /// The service has too many of them.
    #[error("{PROCESSES_OF_SERVICE_MAX} processes of service `{0}` live already")]
    TooMany(String),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(AttestProcessError);

impl Refused for AttestProcessError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotEnrolled => "not_enrolled",
            Self::Seen => "bad_evidence",
            Self::NoService { .. } => "no_service",
            Self::Killed => "cut_off",
            Self::TooMany(_) => "too_many_processes",
            Self::Internal(_) => INTERNAL,
        }
    }
}

/// Makes the process an instance of every service that it fits; gives the revision, if one of them
/// is new.
pub(super) async fn attest(
    plane: &ControlPlane,
    cx: &Cx,
    attestation: &ServiceAttestation,
) -> Result<(Vec<ServiceGrant>, Option<Revision>), AttestProcessError> {
    check_seen(&attestation.seen)?;
    // Whoever fits nothing takes no revision: anybody on the host may ask.
    let mut reader = plane.store().read().await?;
    fitting(reader.as_mut(), attestation).await?;
    drop(reader);
    let mut txn = plane.store().begin().await?;
    let next = txn.revision_next().await?;
    let services = fitting(txn.as_mut(), attestation).await?;
    let process = attestation.seen.process(attestation.node);
    let known = txn.service_instances_of_process(&process).await?;
    if known.iter().any(was_killed) {
        return Err(AttestProcessError::Killed);
    }
    let live = txn.service_instances_live().await?;
    let (mut grants, mut events) = (Vec::new(), Vec::new());
    for service in services {
        let is_it = |one: &&ServiceInstance| {
            one.service == service.id && one.stage.is_live() && one.seen == attestation.seen
        };
        let instance = if let Some(known) = known.iter().find(is_it) {
            known.clone()
        } else {
            let of_service = live.iter().filter(|one| one.service == service.id);
            if of_service.count() >= PROCESSES_OF_SERVICE_MAX {
                return Err(AttestProcessError::TooMany(service.name.to_string()));
            }
            let instance = new_instance(cx, &service, attestation)?;
            txn.service_instance_insert(&instance).await?;
            events.push(attested(cx, (&service, &instance), next)?);
            instance
        };
        grants.push(ServiceGrant {
            instance: instance.id,
            spiffe_id: service.spiffe_id,
            hint: service.name.to_string(),
        });
    }
    if events.is_empty() {
        return Ok((grants, None));
    }
    txn.commit(events).await?;
    Ok((grants, Some(next)))
}

fn was_killed(instance: &ServiceInstance) -> bool {
    matches!(&instance.stage, Stage::Ended { how, .. } if how == KILLED)
}

/// The services that the process fits, oldest first: at least one.
async fn fitting(
    reader: &mut dyn Reader,
    attestation: &ServiceAttestation,
) -> Result<Vec<Service>, AttestProcessError> {
    let seen = &attestation.seen;
    if !is_enrolled_node(reader, attestation.node).await? {
        return Err(AttestProcessError::NotEnrolled);
    }
    let mut fitting = Vec::new();
    for service in reader.services().await? {
        let fits = service.node == attestation.node && service.gaps(seen).is_empty();
        if fits && may_have(reader, &service).await? {
            fitting.push(service);
        }
    }
    if fitting.is_empty() {
        return Err(AttestProcessError::NoService {
            path: seen.executable.path.clone(),
            digest: seen.executable.digest.to_string(),
            uid: seen.host_uid,
        });
    }
    Ok(fitting)
}

/// Whether anything may be issued for a service: it is active, and somebody answers for it.
pub(crate) async fn may_have(
    reader: &mut dyn Reader,
    service: &Service,
) -> Result<bool, aims_store::Error> {
    if !service.stage.is_active() {
        return Ok(false);
    }
    let owner = reader.person(service.owner).await?;
    Ok(owner.is_some_and(|owner| owner.removed_at.is_none()))
}

pub(super) fn check_seen(seen: &ProcessSeen) -> Result<(), AttestProcessError> {
    let (path, cgroup) = (&seen.executable.path, &seen.cgroup);
    let boot = seen.boot.len() <= BOOT_LEN_MAX;
    if !boot || path.len() > ARGUMENT_LEN_MAX || cgroup.len() > CGROUP_LEN_MAX {
        return Err(AttestProcessError::Seen);
    }
    Ok(())
}

fn new_instance(
    cx: &Cx,
    service: &Service,
    attestation: &ServiceAttestation,
) -> Result<ServiceInstance, AttestProcessError> {
    Ok(ServiceInstance {
        id: cx.id()?,
        service: service.id,
        node: attestation.node,
        seen: attestation.seen.clone(),
        keys: Vec::new(),
        stage: Stage::Live { since: cx.now },
    })
}

fn attested(
    cx: &Cx,
    (service, instance): (&Service, &ServiceInstance),
    revision: Revision,
) -> Result<Event, aims_store::Error> {
    let body = Object::new()
        .with("instance", instance.id.to_string())
        .with("service", service.id.to_string())
        .with("spiffe_id", service.spiffe_id.as_str())
        .with("node", instance.node.to_string())
        .with("assurance", Assurance::Observed.as_str())
        .with("seen", value(&instance.seen)?)
        .with("revision", revision.number());
    Ok(event(cx, EventKind::ServiceAttested, body))
}
