//! From records to the tree.

mod later;
mod parts;

use std::collections::HashMap;

use aims_json::{Limits, Object, Value};
use aims_model::record::RECORD_VERSION;
use aims_model::{EventKind, Record, RecordError, Source};
use aims_types::{Id, Task, Timestamp};

use super::body::{Body, shown};
use super::{
    Call, End, Ended, Instance, LateEffect, Launch, Other, Outcome, Place, STORY_RECORDS_MAX,
    Story, StoryError, Token, Verdict,
};
use parts::{call, flood, instance, launch_refusal, other, request_refused, session, start};

/// A record as it is told: known kinds, and kinds of a later release.
struct Told {
    source: Source,
    seq: u64,
    at: Timestamp,
    task: Option<Id<Task>>,
    kind: Result<EventKind, String>,
    body: Object,
}

pub(super) fn read<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Result<Story, StoryError> {
    let mut told = Vec::new();
    for (place, bytes) in records.into_iter().enumerate() {
        if place >= STORY_RECORDS_MAX {
            return Err(StoryError::TooMany);
        }
        told.push(Told::read(bytes).map_err(|reason| StoryError::Record { place, reason })?);
    }
    if told.is_empty() {
        return Err(StoryError::Empty);
    }
    let task = told.iter().find_map(|one| one.task);
    let task = task.ok_or(StoryError::OtherTask { place: 0 })?;
    let belongs = |one: &Told| one.task.map_or(one.is_of_a_kill(), |its| its == task);
    if let Some(place) = told.iter().position(|one| !belongs(one)) {
        return Err(StoryError::OtherTask { place });
    }
    // Each source is in its own order already; a stable sort keeps that where instants are equal.
    told.sort_by_key(|one| one.at);
    let mut telling = Telling::new(task, told.len());
    for one in &told {
        telling.tell(one);
    }
    // Clocks differ, and may go back: what follows on an intent may seem to come before it.
    telling.follow_up();
    Ok(telling.story)
}

impl Told {
    fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        match Record::decode(bytes) {
            Ok(Record {
                source, seq, event, ..
            }) => Ok(Self {
                source,
                seq,
                at: event.at,
                task: event.task,
                kind: Ok(event.kind),
                body: event.body,
            }),
            Err(reason @ RecordError::Member("kind")) => Self::unknown(bytes).ok_or(reason),
            Err(reason) => Err(reason),
        }
    }

    /// A canonical record of this version whose kind is of a later release.
    fn unknown(bytes: &[u8]) -> Option<Self> {
        let value = aims_json::parse_canonical(bytes, &Limits::MESSAGE).ok()?;
        if value.get("v")?.as_u64()? != RECORD_VERSION {
            return None;
        }
        let task = value.get("task").and_then(Value::as_str);
        Some(Self {
            source: value.get("source")?.as_str()?.parse().ok()?,
            seq: value.get("seq")?.as_u64()?,
            at: Timestamp::from_unix_millis(value.get("at")?.as_u64()?),
            task: task.and_then(|text| text.parse().ok()),
            kind: Err(shown(value.get("kind")?.as_str()?)),
            body: value.get("body")?.as_object()?.clone(),
        })
    }

    /// A kill may concern tasks that its record does not name.
    const fn is_of_a_kill(&self) -> bool {
        matches!(self.kind, Ok(EventKind::Killed | EventKind::KillCompleted))
    }

    const fn body(&self) -> Body<'_> {
        Body(Some(&self.body))
    }

    fn place(&self) -> Place {
        Place {
            source: self.source.to_string(),
            seq: self.seq,
            at: self.at,
        }
    }
}

/// The story so far, with where things are in it.
struct Telling {
    story: Story,
    launches: HashMap<String, usize>,
    instances: HashMap<String, usize>,
    calls: HashMap<String, usize>,
    approvals: HashMap<String, usize>,
    outcomes: Vec<(String, Outcome, Other)>,
    late: Vec<(String, LateEffect, Other)>,
}

impl Telling {
    fn new(task: Id<Task>, records: usize) -> Self {
        let story = Story {
            task,
            start: None,
            delegations: Vec::new(),
            delegation_refusals: Vec::new(),
            launches: Vec::new(),
            instances: Vec::new(),
            sessions: Vec::new(),
            approvals: Vec::new(),
            calls: Vec::new(),
            floods: Vec::new(),
            refusals: Vec::new(),
            kills: Vec::new(),
            freezes: Vec::new(),
            erasures: Vec::new(),
            owners: Vec::new(),
            end: None,
            other: Vec::new(),
            records: u64::try_from(records).unwrap_or(u64::MAX),
        };
        Self {
            story,
            launches: HashMap::new(),
            instances: HashMap::new(),
            calls: HashMap::new(),
            approvals: HashMap::new(),
            outcomes: Vec::new(),
            late: Vec::new(),
        }
    }

    fn tell(&mut self, one: &Told) {
        let Ok(kind) = one.kind else {
            self.story.other.push(other(one));
            return;
        };
        let body = one.body();
        match kind {
            EventKind::TaskStarted if self.story.start.is_none() => {
                self.story.start = Some(start(one));
            }
            EventKind::TaskEnded if self.story.end.is_none() => {
                self.story.end = Some(End {
                    place: one.place(),
                    by: body.text("by"),
                    why: body.text("why"),
                });
            }
            EventKind::DelegationGranted => self.delegated(one),
            EventKind::DelegationRefused => {
                self.story
                    .delegation_refusals
                    .push(later::delegation_refusal(one));
            }
            EventKind::ApprovalAsked | EventKind::ApprovalAnswered | EventKind::ApprovalEnded => {
                self.approval(one, kind);
            }
            EventKind::Killed => self.story.kills.push(later::kill(one)),
            EventKind::KillCompleted => self.kill_completed(one),
            EventKind::TaskFrozen => self.story.freezes.push(later::freeze(one, true)),
            EventKind::TaskResumed => self.story.freezes.push(later::freeze(one, false)),
            EventKind::TaskErased => self.story.erasures.push(later::erasure(one)),
            EventKind::TreeOwned => self.story.owners.push(later::owner(one)),
            EventKind::RunRequested => {
                self.launch(one, |launch| launch.requested_by = body.text("by"));
            }
            EventKind::RunRedeemed => self.launch(one, |launch| {
                launch.redeemed_at = Some(one.at);
                launch.node = body.text("node");
                let asked = launch.requested_by.take();
                launch.requested_by = asked.or_else(|| body.text("requested_by"));
            }),
            EventKind::InstanceAttested => self.attested(one),
            EventKind::InstanceRefused => self.instance_refused(one),
            EventKind::InstanceEnded => self.instance_ended(one),
            EventKind::TokenIssued => self.token(one),
            EventKind::RequestRefused => self.story.refusals.push(request_refused(one)),
            EventKind::CallIntent => {
                self.call(call(one.place(), body, Some(Verdict::Permit)), body);
            }
            EventKind::CallDenied => self.call(call(one.place(), body, None), body),
            EventKind::CallOutcome => self.outcome(one),
            EventKind::EffectLate => self.late_effect(one),
            EventKind::CallDeniedMany => self.story.floods.push(flood(one)),
            EventKind::ServerSession => self.story.sessions.push(session(one)),
            _ => self.story.other.push(other(one)),
        }
    }

    /// Changes the launch that a record is about, known or new.
    fn launch(&mut self, one: &Told, change: impl FnOnce(&mut Launch)) {
        let run = one.body().raw("run");
        let known = run.and_then(|run| self.launches.get(run)).copied();
        if let Some(launch) = known.and_then(|at| self.story.launches.get_mut(at)) {
            change(launch);
            return;
        }
        let at = self.story.launches.len();
        self.launches.extend(run.map(|run| (run.to_owned(), at)));
        let mut launch = Launch {
            place: one.place(),
            run: run.map(shown),
            requested_by: None,
            redeemed_at: None,
            node: None,
            refusals: Vec::new(),
        };
        change(&mut launch);
        self.story.launches.push(launch);
    }

    fn instance(&mut self, one: &Told) -> Option<&mut Instance> {
        let at = *self.instances.get(one.body().raw("instance")?)?;
        self.story.instances.get_mut(at)
    }

    fn attested(&mut self, one: &Told) {
        if let Some(instance) = self.instance(one) {
            instance.renewed_at.push(one.at);
            return;
        }
        if let Some(id) = one.body().raw("instance") {
            let at = self.story.instances.len();
            self.instances.insert(id.to_owned(), at);
        }
        self.story.instances.push(instance(one));
    }

    fn instance_refused(&mut self, one: &Told) {
        let refusal = launch_refusal(one);
        match self.instance(one) {
            Some(instance) => instance.refusals.push(refusal),
            None => self.launch(one, |launch| launch.refusals.push(refusal)),
        }
    }

    fn instance_ended(&mut self, one: &Told) {
        let ended = Ended {
            place: one.place(),
            how: one.body().text("how"),
        };
        match self.instance(one) {
            Some(instance) if instance.ended.is_none() => instance.ended = Some(ended),
            _ => self.story.other.push(other(one)),
        }
    }

    fn token(&mut self, one: &Told) {
        let body = one.body();
        let token = Token {
            place: one.place(),
            jti: body.text("jti"),
            audience: body.text("audience"),
            expires_at: body.time("expires_at"),
            sha256: body.digest("sha256"),
        };
        match self.instance(one) {
            Some(instance) => instance.tokens.push(token),
            None => self.story.other.push(other(one)),
        }
    }

    fn call(&mut self, call: Call, body: Body<'_>) {
        if let Some(decision) = body.raw("decision_id") {
            let at = self.story.calls.len();
            self.calls.entry(decision.to_owned()).or_insert(at);
        }
        self.story.calls.push(call);
    }

    fn outcome(&mut self, one: &Told) {
        let body = one.body();
        let outcome = Outcome {
            place: one.place(),
            outcome: body.text("outcome").unwrap_or_else(|| "unknown".to_owned()),
            result: body.digest("result"),
            bytes: body.number("bytes"),
            millis: body.number("millis"),
            fault: body.text("fault"),
        };
        let decision = body.raw("decision_id").unwrap_or_default();
        self.outcomes
            .push((decision.to_owned(), outcome, other(one)));
    }

    fn late_effect(&mut self, one: &Told) {
        let body = one.body();
        let late = LateEffect {
            place: one.place(),
            what: body.text("what").unwrap_or_else(|| "unknown".to_owned()),
            millis: body.number("late_millis"),
            lease_ended_at: body.time("lease_ended_at"),
        };
        let decision = body.raw("decision_id").unwrap_or_default();
        self.late.push((decision.to_owned(), late, other(one)));
    }

    /// Tells with their calls what became of them.
    fn follow_up(&mut self) {
        for (decision, outcome, other) in std::mem::take(&mut self.outcomes) {
            let at = self.calls.get(&decision).copied();
            let call = at.and_then(|at| self.story.calls.get_mut(at));
            match call.filter(|call| call.outcome.is_none()) {
                Some(call) => call.outcome = Some(outcome),
                None => self.story.other.push(other),
            }
        }
        for (decision, late, other) in std::mem::take(&mut self.late) {
            let at = self.calls.get(&decision).copied();
            match at.and_then(|at| self.story.calls.get_mut(at)) {
                Some(call) => call.late.push(late),
                None => self.story.other.push(other),
            }
        }
    }
}
