//! Policy versions: validated, then in force.

mod activate;
mod current;

use aims_json::Object;
use aims_model::{Event, EventKind, PolicyVersion};
use aims_types::Cx;

pub use activate::ActivatePolicyError;
pub use current::PolicyError;

use crate::recording::event;

/// The record of a policy version that comes into force. The text is kept beside the log and named
/// by its digest.
pub(crate) fn activated_event(cx: &Cx, policy: &PolicyVersion) -> Event {
    let body = Object::new()
        .with("policy", policy.id.to_string())
        .with("digest", policy.digest.to_string())
        .with(
            "bytes",
            u64::try_from(policy.text.len()).unwrap_or(u64::MAX),
        );
    event(cx, EventKind::PolicyActivated, body)
}

/// What records say of the policy that something was decided under.
pub(crate) fn policy_body(policy: &PolicyVersion) -> Object {
    Object::new()
        .with("id", policy.id.to_string())
        .with("digest", policy.digest.to_string())
}
