//! A launch that a node refused before there was evidence to check.

use aims_json::Object;
use aims_links::Refusal;
use aims_model::{EventKind, EvidenceGap};
use aims_types::{self as types, Cx, Id, Node};

use crate::recording::{event, plain, shown, value};
use crate::{ControlPlane, Fault};

/// Longest text of a gap that is recorded, in characters.
const GAP_LEN_MAX: usize = 256;
/// Most gaps that are recorded; more are counted.
const GAPS_MAX: usize = 32;

/// A launch that was refused, by whom and why.
pub(crate) struct RefusedLaunch<'a> {
    pub(crate) node: Id<Node>,
    pub(crate) run: Id<types::Run>,
    pub(crate) refusal: &'a Refusal,
}

/// Records a refused launch with what was expected and seen; `more` is what is particular.
pub(crate) async fn refused(
    plane: &ControlPlane,
    cx: &Cx,
    launch: RefusedLaunch<'_>,
    more: Object,
) -> Result<(), Fault> {
    let task = plane
        .store()
        .read()
        .await?
        .run(launch.run)
        .await?
        .map(|run| run.task);
    let refusal = launch.refusal;
    let body = more
        .with("run", launch.run.to_string())
        .with("node", launch.node.to_string())
        .with("code", shown(&refusal.code))
        .with("reason", bounded(&refusal.reason))
        .with("gaps", value(&bounded_gaps(&refusal.gaps))?)
        .with(
            "gap_count",
            u64::try_from(refusal.gaps.len()).unwrap_or(u64::MAX),
        );
    let mut event = event(cx, EventKind::InstanceRefused, body);
    event.task = task;
    tracing::info!(run = %launch.run, code = %shown(&refusal.code), reason = bounded(&refusal.reason), "refused");
    plane.commit_alone(event).await
}

/// What a record can hold of gaps, whatever a node sends.
pub(crate) fn bounded_gaps(gaps: &[EvidenceGap]) -> Vec<EvidenceGap> {
    let bound = |gap: &EvidenceGap| EvidenceGap {
        part: shown(&gap.part),
        expected: bounded(&gap.expected),
        seen: bounded(&gap.seen),
    };
    gaps.iter().take(GAPS_MAX).map(bound).collect()
}

/// What a record can hold of a text, whatever a node sends.
pub(crate) fn bounded(text: &str) -> String {
    plain(text, GAP_LEN_MAX)
}
