//! Faults of the server, as those who call are told of them.

use aims_links::{LinkError, Refusal};
use tonic::Status;

/// What went wrong within the server is for its log alone: whoever calls may be anybody.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that `map_err` wants"
)]
pub(crate) fn unavailable(error: LinkError) -> Status {
    tracing::warn!(%error, "what a node or gateway asked for was not done");
    Status::unavailable("the server could not do this; its log says why")
}

/// A refusal where there is no message for it.
pub(crate) fn refused(refusal: Refusal) -> Status {
    Status::failed_precondition(refusal.reason)
}
