//! Delegations, approvals, kills, freezing and owners.

use aims_json::Value;
use aims_model::EventKind;

use super::super::body::{Body, shown};
use super::super::{
    Answer, Approval, ApprovalEnd, Delegation, DelegationRefusal, Erasure, Freeze, Kill,
    KillReceipt, KilledPoint, Owner, UnknownEffect, words,
};
use super::parts::{agent_name, other};
use super::{Telling, Told};

impl Telling {
    pub(super) fn delegated(&mut self, one: &Told) {
        let mut delegation = delegation(one);
        delegation.parent_delegation = delegation.parent.and_then(|parent| {
            let root = self.story.start.iter().map(|it| (it.grant, &it.delegation));
            let hops = self.story.delegations.iter();
            let mut known = root.chain(hops.map(|it| (it.grant, &it.delegation)));
            let found = known.find(|(grant, _)| *grant == Some(parent));
            found.and_then(|(_, delegation)| delegation.clone())
        });
        self.story.delegations.push(delegation);
    }

    /// A record of a request for approval, whose first record may not be here.
    pub(super) fn approval(&mut self, one: &Told, kind: EventKind) {
        let Some(id) = one.body().raw("approval") else {
            self.story.other.push(other(one));
            return;
        };
        let at = self.story.approvals.len();
        let at = *self.approvals.entry(id.to_owned()).or_insert(at);
        if at == self.story.approvals.len() {
            self.story.approvals.push(asked(one));
        }
        let Some(approval) = self.story.approvals.get_mut(at) else {
            return;
        };
        match kind {
            EventKind::ApprovalAnswered if approval.answer.is_none() => {
                approval.answer = Some(answer(one));
            }
            EventKind::ApprovalEnded if approval.end.is_none() => approval.end = Some(ended(one)),
            EventKind::ApprovalAsked if approval.resource.is_none() => {
                let (answer, end) = (approval.answer.take(), approval.end.take());
                *approval = Approval {
                    answer,
                    end,
                    ..asked(one)
                };
            }
            EventKind::ApprovalAsked if approval.place == one.place() => {}
            _ => self.story.other.push(other(one)),
        }
    }

    pub(super) fn kill_completed(&mut self, one: &Told) {
        let (subject, revision) = (subject(one.body()), one.body().number("revision"));
        let receipt = receipt(one);
        let kill = self.story.kills.iter_mut().find(|kill| {
            kill.receipt.is_none() && kill.subject == subject && kill.revision == revision
        });
        match kill {
            Some(kill) => kill.receipt = Some(receipt),
            None => self.story.other.push(other(one)),
        }
    }
}

fn delegation(one: &Told) -> Delegation {
    let body = one.body();
    Delegation {
        place: one.place(),
        delegation: body.text("delegation"),
        grant: body.digest("grant_digest"),
        parent: body.digest("parent"),
        parent_delegation: None,
        by: body.text("instance"),
        agent: agent_name(body),
        agent_id: body.text("agent"),
        purpose: body.text("purpose"),
        deadline: body.time("deadline"),
        policy: body.part("policy").text("id"),
        authority: body.raw("grant").and_then(words::of_grant),
    }
}

pub(super) fn delegation_refusal(one: &Told) -> DelegationRefusal {
    let body = one.body();
    DelegationRefusal {
        place: one.place(),
        by: body.text("instance"),
        agent: agent_name(body),
        code: body.text("code"),
        reason: body.text("reason"),
        constraint: body.text("constraint"),
    }
}

fn asked(one: &Told) -> Approval {
    let body = one.body();
    let resource = body.text("server").zip(body.text("tool"));
    Approval {
        place: one.place(),
        approval: body.text("approval"),
        resource: resource.map(|(server, tool)| format!("{server}/{tool}")),
        agent: agent_name(body),
        instance: body.text("instance"),
        requirements: body.texts("requirements"),
        deadline: body.time("deadline"),
        answer: None,
        end: None,
    }
}

fn answer(one: &Told) -> Answer {
    let body = one.body();
    Answer {
        place: one.place(),
        answer: body.text("answer"),
        by: body.text("by"),
        reason: body.text("reason").filter(|reason| !reason.is_empty()),
    }
}

fn ended(one: &Told) -> ApprovalEnd {
    let body = one.body();
    ApprovalEnd {
        place: one.place(),
        how: body.text("how"),
        decision: body.text("decision"),
        why: body.text("why"),
    }
}

pub(super) fn kill(one: &Told) -> Kill {
    let body = one.body();
    Kill {
        place: one.place(),
        subject: subject(body),
        revision: body.number("revision"),
        by: body.text("by"),
        reason: body.text("reason").filter(|reason| !reason.is_empty()),
        receipt: None,
    }
}

/// What was killed, as a kill (`{"kind", "id"}`) or a receipt (`{kind: id}`) writes it.
fn subject(body: Body<'_>) -> String {
    let part = body.part("subject");
    if let (Some(kind), Some(id)) = (part.text("kind"), part.text("id")) {
        return format!("{kind} {id}");
    }
    let only = part.members().into_iter().next();
    only.map_or_else(
        || "something".to_owned(),
        |(kind, id)| format!("{kind} {id}"),
    )
}

fn receipt(one: &Told) -> KillReceipt {
    let body = one.body();
    KillReceipt {
        place: one.place(),
        millis: body.number("millis"),
        lease_millis: body.number("lease_millis"),
        points: body.items("points").iter().map(point).collect(),
        points_more: body.number("points_more").unwrap_or_default(),
        foreign_until: body.time("foreign_until"),
    }
}

fn point(value: &Value) -> KilledPoint {
    let body = Body::of(value);
    let ended = body.part("ended");
    let text = |name| body.text(name).unwrap_or_else(|| "unknown".to_owned());
    let count = |name| ended.number(name).unwrap_or_default();
    KilledPoint {
        point: text("point"),
        how: text("how"),
        millis: body.number("millis"),
        calls: count("calls"),
        servers: count("servers"),
        tunnels: count("tunnels"),
        instances: count("instances"),
        unknown: ended.items("unknown").iter().map(effect).collect(),
        unknown_more: count("unknown_more"),
        untold: body.flag("untold"),
    }
}

fn effect(value: &Value) -> UnknownEffect {
    let body = Body::of(value);
    let text = |name| body.raw(name).map_or_else(|| "unknown".to_owned(), shown);
    UnknownEffect {
        decision: text("decision"),
        what: text("what"),
    }
}

pub(super) fn freeze(one: &Told, frozen: bool) -> Freeze {
    let body = one.body();
    Freeze {
        place: one.place(),
        frozen,
        by: body.text("by"),
        revision: body.number("revision"),
    }
}

pub(super) fn erasure(one: &Told) -> Erasure {
    let body = one.body();
    Erasure {
        place: one.place(),
        by: body.text("by"),
        materials: body.number("materials"),
        reason: body.text("reason"),
    }
}

pub(super) fn owner(one: &Told) -> Owner {
    let body = one.body();
    Owner {
        place: one.place(),
        gateway: body.text("gateway"),
        epoch: body.number("epoch"),
        released: body.get("released").and_then(Value::as_bool) == Some(true),
    }
}
