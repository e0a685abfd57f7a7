//! Which source may write which kind of record.

use aims_model::{EventKind, Source};

/// Whether `source` may say this: a gateway records what it decides, never who is enrolled or what
/// is authorised; the server never records a decision in a gateway's place.
pub const fn may_write(source: Source, kind: EventKind) -> bool {
    let (server, gateway) = match kind {
        EventKind::DomainCreated
        | EventKind::KeyEnrolled
        | EventKind::KeyRetired
        | EventKind::PersonEnrolled
        | EventKind::PersonRemoved
        | EventKind::AgentRegistered
        | EventKind::AgentStageChanged
        | EventKind::ServerRegistered
        | EventKind::UpstreamRegistered
        | EventKind::UpstreamRotated
        | EventKind::UpstreamRetired
        | EventKind::UpstreamLeased
        | EventKind::PolicyActivated
        | EventKind::SvidIssued
        | EventKind::JoinAllowed
        | EventKind::ServiceRegistered
        | EventKind::ServiceRetired
        | EventKind::ServiceAttested
        | EventKind::ServiceEnded
        | EventKind::KeyExported
        | EventKind::JwtSvidIssued
        | EventKind::TaskStarted
        | EventKind::TaskEnded
        | EventKind::TaskFrozen
        | EventKind::TaskResumed
        | EventKind::TaskErased
        | EventKind::DelegationGranted
        | EventKind::DelegationRefused
        | EventKind::ApprovalAsked
        | EventKind::ApprovalAnswered
        | EventKind::ApprovalEnded
        | EventKind::Killed
        | EventKind::KillCompleted
        | EventKind::TreeOwned
        | EventKind::TreeAccounted
        | EventKind::RunRequested
        | EventKind::RunRedeemed
        | EventKind::InstanceAttested
        | EventKind::InstanceRefused
        | EventKind::InstanceEnded
        | EventKind::TokenIssued => (true, false),
        EventKind::CallIntent
        | EventKind::CallOutcome
        | EventKind::EffectLate
        | EventKind::CallDenied
        | EventKind::CallDeniedMany
        | EventKind::ServerSession => (false, true),
        EventKind::RequestRefused | EventKind::GatewayStarted => (true, true),
    };
    match source {
        Source::Server => server,
        Source::Gateway(_) => gateway,
    }
}
