//! Records of requests that are refused before anything is decided about an action.

use aims_json::{Object, Value};
use aims_model::{Event, EventKind};

use crate::authn::{AuthnError, Caller};
use crate::core::{Core, NotReady};
use crate::denials::Principal;
use aims_decision::short;

/// Records a request of somebody who is not believed.
pub(crate) async fn note_stranger(
    core: &Core,
    error: &AuthnError,
    resource: &str,
) -> Result<(), ()> {
    if let AuthnError::Link(error) = error {
        tracing::warn!(%error, "a caller could not be checked");
    }
    note_refused(core, error, resource).await
}

async fn note_refused(
    core: &Core,
    error: &(dyn std::error::Error + Sync),
    resource: &str,
) -> Result<(), ()> {
    let body = Object::new()
        .with("decision", "deny")
        .with("resource", short(resource))
        .with("reasons", vec![Value::from(short(&error.to_string()))]);
    let event = Event::new(EventKind::RequestRefused, core.clock.now(), body);
    core.note_denial(Principal::Unknown, event)
        .await
        .map_err(drop)
}

/// Records a request that arrives while nothing is decided, if that can be recorded.
pub(crate) async fn note_not_ready(core: &Core, why: &NotReady, resource: &str) -> Result<(), ()> {
    match why {
        NotReady::Stopping | NotReady::Failed => Ok(()),
        NotReady::NotHeld(_) | NotReady::NoState => note_refused(core, why, resource).await,
    }
}

/// Records a request that can't be decided here now, nor elsewhere.
pub(crate) async fn note_undecided(
    core: &Core,
    caller: &Caller,
    why: &(dyn std::error::Error + Sync),
    resource: &str,
) -> Result<(), ()> {
    tracing::warn!(?why, "a request could not be decided");
    let reason = Value::from(short(&why.to_string()));
    let body = Object::new()
        .with("decision", "deny")
        .with("instance", caller.token.instance.to_string())
        .with("resource", short(resource))
        .with("reasons", vec![reason]);
    core.deny(caller, body).await.map_err(drop)
}
