//! Approvals that were used: what the records of gateways say.

use aims_json::{Object, Value};
use aims_links::ShippedRecord;
use aims_model::approval::Stage;
use aims_model::{Approval, Event, EventKind, Record};
use aims_store::Txn;
use aims_types::{self as types, Cx, Decision, Digest, Id, Revision, Task, Timestamp};

use super::over::end;
use crate::{ControlPlane, Fault};

/// An intent that rests on an approval.
pub(super) struct Intent {
    pub(super) approval: Id<types::Approval>,
    pub(super) digest: Digest,
    pub(super) decision: Id<Decision>,
    pub(super) at: Timestamp,
    task: Option<Id<Task>>,
}

/// The uses of approvals that records tell of, each with the record's number.
pub(crate) struct Uses(Vec<(u64, Intent)>);

impl Uses {
    /// Reads what records that are about to be taken over say of approvals.
    pub(crate) fn of(records: &[ShippedRecord]) -> Self {
        let used = |one: &ShippedRecord| Some((one.seq, intent_of(&one.record)?));
        Self(records.iter().filter_map(used).collect())
    }

    /// Those of records up to this number.
    pub(crate) fn up_to(mut self, last: u64) -> Option<Self> {
        self.0.retain(|(seq, _)| *seq <= last);
        (!self.0.is_empty()).then_some(self)
    }
}

/// The intent that a canonical record tells of, if it rests on an approval.
pub(super) fn intent_of(bytes: &[u8]) -> Option<Intent> {
    let text = std::str::from_utf8(bytes).ok()?;
    // Most records are none, and reading one costs much more than this.
    if !text.contains("\"approval\":{") {
        return None;
    }
    let event = Record::decode(bytes).ok()?.event;
    if event.kind != EventKind::CallIntent {
        return None;
    }
    let approval = event.body.get("approval")?.as_object()?;
    let text = |object: &Object, name: &str| {
        let text = object.get(name).and_then(Value::as_str);
        text.map(str::to_owned)
    };
    Some(Intent {
        approval: text(approval, "id")?.parse().ok()?,
        digest: text(approval, "digest")?.parse().ok()?,
        decision: text(&event.body, "decision_id")?.parse().ok()?,
        at: event.at,
        task: event.task,
    })
}

/// Marks as used what was used; gives the revision if anything changed. What is not open any more
/// stays as it is, so that records that come twice change nothing.
pub(crate) async fn use_up(
    plane: &ControlPlane,
    cx: &Cx,
    uses: Uses,
) -> Result<Option<Revision>, Fault> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let mut events = Vec::new();
    for (_, intent) in uses.0 {
        let Some(approval) = txn.approval(intent.approval).await? else {
            tracing::warn!(approval = %intent.approval, "an unknown approval was used");
            continue;
        };
        let same = approval.digest == intent.digest && Some(approval.asked.task) == intent.task;
        match &approval.stage {
            Stage::Used { decision, .. } if *decision == intent.decision => {}
            Stage::Approved { .. } if same => {
                let how = (intent.at, intent.decision);
                events.push(used(txn.as_mut(), cx, approval, how).await?);
            }
            stage => tracing::warn!(
                approval = %approval.id, decision = %intent.decision, stage = stage.as_str(),
                "an approval was used that is not for this, or not open"
            ),
        }
    }
    if events.is_empty() {
        return Ok(None);
    }
    txn.commit(events).await?;
    Ok(Some(revision))
}

/// Writes that an approval was used.
pub(super) async fn used(
    txn: &mut dyn Txn,
    cx: &Cx,
    approval: Approval,
    (at, decision): (Timestamp, Id<Decision>),
) -> Result<Event, Fault> {
    let body = Object::new()
        .with("how", "used")
        .with("decision", decision.to_string());
    end(txn, cx, approval, (Stage::Used { at, decision }, body)).await
}
