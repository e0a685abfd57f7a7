//! The record of a refused delegation: what was asked, which constraint failed.

use aims_json::{Limits, Object, Value};
use aims_links::DelegateCall;
use aims_model::EventKind;
use aims_types::Cx;

use super::error::DelegateError;
use crate::chain::payload;
use crate::fault::Refused;
use crate::recording::{event, plain, shown};
use crate::{ControlPlane, Fault};

/// Longest reason that is recorded, in characters.
const REASON_LEN_MAX: usize = 1024;

/// Records a refusal.
pub(crate) async fn refused(
    plane: &ControlPlane,
    cx: &Cx,
    call: &DelegateCall,
    error: &DelegateError,
) -> Result<(), Fault> {
    let instance = plane.store().read().await?.instance(call.instance).await?;
    // Nobody writes into the records of a task that is not theirs.
    let own = instance.filter(|instance| instance.node == Some(call.node));
    let reason = plain(&error.to_string(), REASON_LEN_MAX);
    tracing::info!(instance = %call.instance, code = error.code(), %reason, "delegation refused");
    let mut body = Object::new()
        .with("instance", call.instance.to_string())
        .with("agent", asked_agent(&call.request))
        .with("code", error.code())
        .with("reason", reason);
    if let Some(constraint) = error.constraint() {
        body = body
            .with("constraint", constraint.which)
            .with("asked", constraint.asked)
            .with("allowed", constraint.allowed);
    }
    let mut event = event(cx, EventKind::DelegationRefused, body);
    event.task = own.map(|instance| instance.task);
    plane.commit_alone(event).await
}

/// The agent that a request names, as far as it can be read; nothing of it is verified.
fn asked_agent(request: &str) -> String {
    let claims = payload(request).and_then(|claims| aims_json::parse(&claims, &Limits::TOKEN).ok());
    let agent = claims.as_ref().and_then(|claims| claims.get("agent"));
    shown(agent.and_then(Value::as_str).unwrap_or_default())
}
