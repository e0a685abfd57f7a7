//! Decisions as lines.

use super::super::{Answer, Approval, ApprovalEnd, Call, Flood, Outcome, Verdict};
use super::node::{Node, Paint};
use super::{Known, maybe, or_unknown, short};

pub(super) fn call<'a>(call: &'a Call, known: &Known<'a>) -> Node {
    let (paint, verdict) = match call.verdict {
        Verdict::Permit => (Paint::Good, "permit"),
        Verdict::Denied => (Paint::Bad, "denied"),
        Verdict::StepUp => (Paint::Bad, "denied (step_up)"),
    };
    let arguments = maybe("  arguments ", call.arguments.as_ref().map(short));
    let by = maybe(
        "  by ",
        call.instance.as_ref().filter(|_| !known.one_instance),
    );
    let (seq, at) = (call.place.seq, known.time(call.place.at));
    let text = format!("#{seq} {at} {verdict} {}{arguments}{by}", call.resource);
    let mut node = Node::new(paint, text);
    // Why a call was permitted is what policies and hops say, below.
    for reason in call
        .reasons
        .iter()
        .filter(|_| call.verdict != Verdict::Permit)
    {
        node.add(Paint::Bad, format!("reason: {reason}"));
    }
    for would in &call.would_allow {
        let argument = would.argument.as_ref().map(|name| format!("`{name}`"));
        let argument = maybe(" ", argument);
        node.add(
            Paint::Plain,
            format!("would be allowed:{argument} {}", would.allowed),
        );
    }
    findings(&mut node, call);
    if let Some(used) = &call.approval {
        let by = maybe(" by ", used.by.as_ref().map(|by| known.who(Some(by))));
        node.add(
            Paint::Plain,
            format!("approval {}{by}, used", used.approval),
        );
    }
    if call.verdict == Verdict::Permit {
        node.below.push(outcome(call.outcome.as_ref()));
    }
    for late in &call.late {
        let by = maybe(" ", late.millis.map(|millis| format!("{millis} ms")));
        let text = format!(
            "late effect: {}{by} after the lease of its gateway had ended",
            late.what
        );
        node.add(Paint::Bad, text);
    }
    node
}

/// What requirements, policies and hops say.
fn findings(node: &mut Node, call: &Call) {
    for one in &call.requirements {
        let (paint, met) = if one.met {
            (Paint::Plain, "met")
        } else {
            (Paint::Bad, "not met")
        };
        node.add(
            paint,
            format!("requirement {} ({}): {met}", one.policy, one.kind),
        );
    }
    for one in &call.principals {
        let by = Some(one.policies.join(", ")).filter(|by| !by.is_empty());
        let by = maybe(" by ", by);
        node.add(
            Paint::Plain,
            format!("policy for {}: {}{by}", one.principal, one.decision),
        );
    }
    for hop in &call.hops {
        let said = match &hop.refused {
            Some(rule) => format!("does not allow ({rule})"),
            None => "allows".to_owned(),
        };
        node.add(
            Paint::Plain,
            format!("authority {}: {said}", hop.delegation),
        );
    }
}

fn outcome(outcome: Option<&Outcome>) -> Node {
    let Some(outcome) = outcome else {
        return Node::new(Paint::Faint, "outcome: not recorded; under way, or unknown");
    };
    let paint = if outcome.outcome == "ok" {
        Paint::Good
    } else {
        Paint::Bad
    };
    let after = maybe(
        " after ",
        outcome.millis.map(|millis| format!("{millis} ms")),
    );
    let bytes = outcome.bytes.filter(|bytes| *bytes > 0);
    let bytes = maybe(", ", bytes.map(|bytes| format!("{bytes} bytes")));
    let result = maybe(" ", outcome.result.as_ref().map(short));
    let fault = maybe(": ", outcome.fault.as_ref());
    Node::new(
        paint,
        format!("outcome: {}{after}{bytes}{result}{fault}", outcome.outcome),
    )
}

pub(super) fn flood<'a>(flood: &'a Flood, known: &Known<'a>) -> Node {
    let who = or_unknown(flood.principal.as_ref());
    let (count, at) = (flood.count, known.time(flood.place.at));
    let mut node = Node::new(Paint::Bad, format!("{at} denied {count} times to {who}"));
    node.group("first", flood.first.iter().map(|one| call(one, known)));
    node.group("last", flood.last.iter().map(|one| call(one, known)));
    node
}

pub(super) fn approval<'a>(approval: &'a Approval, known: &Known<'a>) -> Node {
    let at = known.time(approval.place.at);
    let id = or_unknown(approval.approval.as_ref());
    let what = maybe(" for ", approval.resource.as_ref());
    let agent = maybe(" by agent ", approval.agent.as_ref());
    let instance = maybe(", ", approval.instance.as_ref());
    let mut node = Node::new(
        Paint::Plain,
        format!("{at} {id} asked{what}{agent}{instance}"),
    );
    if !approval.requirements.is_empty() {
        let names = approval.requirements.join(", ");
        node.add(Paint::Plain, format!("required by {names}"));
    }
    node.below
        .extend(approval.answer.as_ref().map(|one| answer(one, known)));
    node.below.push(match (&approval.end, &approval.answer) {
        (Some(end), _) => approval_end(end, known),
        (None, Some(_)) => return node,
        (None, None) => Node::new(Paint::Faint, "no answer is recorded"),
    });
    node
}

fn answer<'a>(answer: &'a Answer, known: &Known<'a>) -> Node {
    let (paint, word) = match answer.answer.as_deref() {
        Some("approve") => (Paint::Good, "approved"),
        Some("deny") => (Paint::Bad, "denied"),
        _ => (Paint::Plain, "answered"),
    };
    let at = known.time(answer.place.at);
    let by = known.who(answer.by.as_ref());
    let reason = maybe(": ", answer.reason.as_ref());
    Node::new(paint, format!("{at} {word} by {by}{reason}"))
}

fn approval_end(end: &ApprovalEnd, known: &Known<'_>) -> Node {
    let (paint, word) = match end.how.as_deref() {
        Some("used") => (Paint::Good, "used"),
        Some("timed_out") => (Paint::Bad, "timed out"),
        Some(other) => (Paint::Bad, other),
        None => (Paint::Plain, "ended"),
    };
    let at = known.time(end.place.at);
    let decision = maybe(" by ", end.decision.as_ref());
    let why = maybe(": ", end.why.as_ref());
    Node::new(paint, format!("{at} {word}{decision}{why}"))
}
