//! The receipt of a kill, once it is complete.

use std::time::Duration;

use aims_json::{Object, Value};
use aims_model::receipt::{How, PointReceipt};
use aims_model::{Event, EventKind, Receipt, Subject};
use aims_store::Reader;
use aims_types::{BootTime, Cx, Timestamp};

use super::Killed;
use crate::recording::value;
use crate::svids::SVID_LIFE;
use crate::tokens::ACCESS_TOKEN_TTL_SECS;
use crate::{ControlPlane, Fault};

/// Most points that the record of a receipt names.
const POINTS_RECORDED_MAX: usize = 128;
/// Most effects that the record of a receipt lists one by one; the rest is counted in it.
const EFFECTS_RECORDED_MAX: usize = 64;

/// Waits until every point has the kill in force or has no lease, and writes the receipt.
pub(super) async fn complete(
    plane: &ControlPlane,
    cx: &Cx,
    killed: Killed,
    started: BootTime,
) -> Result<Receipt, Fault> {
    let points = if killed.doors {
        plane.complete_with_doors(killed.revision).await?
    } else {
        plane.complete(killed.revision).await
    };
    let took = plane.parts().clock.boot().since(started);
    let services = plane.parts().config.services.longest();
    let mut reader = plane.store().read().await?;
    let foreign_until = foreign_until(reader.as_mut(), (cx.now, services), &killed).await?;
    drop(reader);
    let receipt = Receipt {
        subject: killed.subject.clone(),
        revision: killed.revision,
        asked_at: cx.now,
        millis: millis(took),
        lease_millis: millis(plane.parts().config.lease.length()),
        points,
        foreign_until,
    };
    let at = plane.parts().clock.now();
    plane
        .commit_alone(completed_event(cx, at, &killed, &receipt)?)
        .await?;
    Ok(receipt)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The record of a receipt: it is the body, with as many points as a record can hold, those first
/// that did not acknowledge. How many more there were is said besides.
fn completed_event(
    cx: &Cx,
    at: Timestamp,
    killed: &Killed,
    receipt: &Receipt,
) -> Result<Event, Fault> {
    let mut points = receipt.points.clone();
    points.sort_by_key(|point| point.how == How::Acknowledged);
    let more = points.len().saturating_sub(POINTS_RECORDED_MAX);
    points.truncate(POINTS_RECORDED_MAX);
    let part = Receipt {
        points: recordable(points),
        ..receipt.clone()
    };
    let mut body = object(&part)?;
    if more > 0 {
        body = body.with("points_more", u64::try_from(more).unwrap_or(u64::MAX));
    }
    let mut event = Event::new(EventKind::KillCompleted, at, body).caused_by(cx.request);
    event.task = killed.task;
    Ok(event)
}

/// The points with no more effects in all than a record can hold.
fn recordable(points: Vec<PointReceipt>) -> Vec<PointReceipt> {
    let mut room = EFFECTS_RECORDED_MAX;
    let shortened = points.into_iter().map(|mut point| {
        let ended = &mut point.ended;
        let more = ended.unknown.len().saturating_sub(room);
        ended.unknown.truncate(room);
        room -= ended.unknown.len();
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        ended.unknown_more = ended.unknown_more.saturating_add(more);
        point
    });
    shortened.collect()
}

fn object(receipt: &Receipt) -> Result<Object, Fault> {
    match value(receipt)? {
        Value::Object(object) => Ok(object),
        _ => Err(Fault::Inconsistent("a receipt is no object".to_owned())),
    }
}

/// Until when others may accept what was issued under the subject, at the latest. Never too early:
/// where it is not known whether anything lives, it says that something may.
async fn foreign_until(
    reader: &mut dyn Reader,
    (asked_at, to_services): (Timestamp, Duration),
    killed: &Killed,
) -> Result<Option<Timestamp>, Fault> {
    let credential = Duration::from_secs(ACCESS_TOKEN_TTL_SECS.max(crate::WIT_TTL_SECS));
    let latest = asked_at.plus(credential.max(to_services));
    let Some(task) = killed.task else {
        return Ok(match &killed.subject {
            Subject::Key(kid) => of_key(reader, kid, asked_at, latest).await?,
            _ => Some(latest),
        });
    };
    let instances = reader.instances_of_task(task).await?;
    let task = reader.task(task).await?;
    let deadline = task.map_or(latest, |task| task.deadline);
    let any = !instances.is_empty() && asked_at < deadline;
    Ok(any.then_some(latest.min(deadline)))
}

async fn of_key(
    reader: &mut dyn Reader,
    kid: &str,
    asked_at: Timestamp,
    latest: Timestamp,
) -> Result<Option<Timestamp>, Fault> {
    use aims_model::KeyPurpose::{Agent, Ca, Gateway, Grant, JwtSvid, Log, Node, Person, Token};
    let purpose = reader.key(kid).await?.map(|key| key.purpose);
    Ok(match purpose {
        // Signatures outside of the log that nobody but AIMS reads.
        Some(Grant | Log) => None,
        Some(Ca | Node | Gateway) => Some(asked_at.plus(SVID_LIFE)),
        Some(Token | JwtSvid | Person | Agent) | None => Some(latest),
    })
}
