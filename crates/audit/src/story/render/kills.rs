//! Kills with their receipts, freezing, erasures and owners as lines.

use super::super::{Erasure, Freeze, Kill, KillReceipt, KilledPoint, Owner};
use super::node::{Node, Paint};
use super::{Known, maybe, or_unknown};

pub(super) fn kill<'a>(kill: &'a Kill, known: &Known<'a>) -> Node {
    let at = known.time(kill.place.at);
    let by = maybe(" by ", kill.by.as_ref().map(|by| known.who(Some(by))));
    let revision = maybe(" at revision ", kill.revision);
    let reason = maybe(": ", kill.reason.as_ref());
    let text = format!("{at} {} killed{by}{revision}{reason}", kill.subject);
    let mut node = Node::new(Paint::Bold, text);
    match &kill.receipt {
        Some(receipt) => receipted(&mut node, receipt, known),
        None => node.add(
            Paint::Bad,
            "no receipt is recorded; not complete, or unknown",
        ),
    }
    node
}

fn receipted(node: &mut Node, receipt: &KillReceipt, known: &Known<'_>) {
    let at = known.time(receipt.place.at);
    let after = maybe(
        " after ",
        receipt.millis.map(|millis| format!("{millis} ms")),
    );
    let lease = receipt.lease_millis;
    let lease = maybe(
        ", leases last at most ",
        lease.map(|millis| format!("{millis} ms")),
    );
    node.add(Paint::Good, format!("{at} complete{after}{lease}"));
    node.below.extend(receipt.points.iter().map(point));
    if receipt.points_more > 0 {
        let text = format!("and {} more that acknowledged", receipt.points_more);
        node.add(Paint::Faint, text);
    }
    node.add(
        Paint::Plain,
        match receipt.foreign_until {
            Some(at) => format!("others may accept credentials until {}", known.time(at)),
            None => "no credential that others could still accept".to_owned(),
        },
    );
}

fn point(point: &KilledPoint) -> Node {
    let after = maybe(" after ", point.millis.map(|millis| format!("{millis} ms")));
    let ended = [
        (point.calls, "calls"),
        (point.servers, "tool servers"),
        (point.tunnels, "connections"),
        (point.instances, "instances"),
    ];
    let ended = ended.iter().filter(|(count, _)| *count > 0);
    let ended: Vec<_> = ended.map(|(count, of)| format!("{count} {of}")).collect();
    let ended = Some(ended.join(", ")).filter(|ended| !ended.is_empty());
    let ended = maybe("; ended ", ended);
    let color = if point.how == "acknowledged" {
        Paint::Good
    } else {
        Paint::Plain
    };
    let text = format!("{} {}{after}{ended}", point.point, point.how);
    let mut node = Node::new(color, text);
    for one in &point.unknown {
        let text = format!("effect unknown: {} ({})", one.what, one.decision);
        node.add(Paint::Bad, text);
    }
    if point.untold {
        node.add(Paint::Bad, "what it ended was not told".to_owned());
    }
    if point.unknown_more > 0 {
        let text = format!("and {} more of unknown effect", point.unknown_more);
        node.add(Paint::Bad, text);
    }
    node
}

pub(super) fn freeze<'a>(freeze: &'a Freeze, known: &Known<'a>) -> Node {
    let at = known.time(freeze.place.at);
    let word = if freeze.frozen { "frozen" } else { "resumed" };
    let by = maybe(" by ", freeze.by.as_ref().map(|by| known.who(Some(by))));
    let revision = maybe(" at revision ", freeze.revision);
    Node::new(Paint::Bold, format!("{at} {word}{by}{revision}"))
}

pub(super) fn erasure<'a>(erasure: &'a Erasure, known: &Known<'a>) -> Node {
    let at = known.time(erasure.place.at);
    let by = maybe(" by ", erasure.by.as_ref().map(|by| known.who(Some(by))));
    let reason = maybe(": ", erasure.reason.as_ref());
    let mut node = Node::new(Paint::Bold, format!("{at} erased{by}{reason}"));
    let of = maybe(" of ", erasure.materials);
    let text = format!("what decisions used is gone{of}: verifiable, not re-runnable");
    node.add(Paint::Plain, text);
    node
}

pub(super) fn owner(owner: &Owner, known: &Known<'_>) -> Node {
    let at = known.time(owner.place.at);
    let gateway = or_unknown(owner.gateway.as_ref());
    let word = if owner.released {
        "gave it back"
    } else {
        "owns it"
    };
    let epoch = maybe(", epoch ", owner.epoch);
    Node::new(Paint::Plain, format!("{at} {gateway} {word}{epoch}"))
}
