//! What single records say.

use aims_json::Value;

use super::super::body::{Body, brief, shown};
use super::super::{
    Call, Flood, Gap, Hop, Instance, LaunchRefusal, Measured, Other, Place, Principal,
    RequestRefusal, Requirement, Session, Start, UsedApproval, Verdict, WouldAllow, words,
};
use super::Told;

pub(super) fn start(one: &Told) -> Start {
    let body = one.body();
    let initiator = body.part("initiator");
    Start {
        place: one.place(),
        person: initiator.text("name"),
        person_id: initiator.text("id"),
        agent: agent_name(body),
        agent_id: body.text("agent"),
        purpose: body.text("purpose"),
        deadline: body.time("deadline"),
        delegation: body.text("delegation"),
        grant: body.digest("grant_digest"),
        policy: body.part("policy").text("id"),
        authority: body.raw("grant").and_then(words::of_grant),
    }
}

/// The agent's name out of its identifier, or whatever stands there.
pub(super) fn agent_name(body: Body<'_>) -> Option<String> {
    let agent = body.raw("agent").unwrap_or_default();
    let name = agent.rsplit_once("/agent/").map(|(_, name)| shown(name));
    name.or_else(|| body.text("agent"))
}

pub(super) fn instance(one: &Told) -> Instance {
    let body = one.body();
    let posture = body.part("posture");
    let evidence = posture.part("evidence");
    Instance {
        place: one.place(),
        instance: body.text("instance"),
        agent: agent_name(body),
        delegation: body.text("delegation"),
        run: body.text("run"),
        node: body.text("node"),
        host: posture.text("host"),
        host_uid: posture.number("host_uid"),
        assurance: posture.text("assurance"),
        program: measured(evidence.part("program")),
        interpreter: measured(evidence.part("interpreter")),
        files: evidence.count("files"),
        trees: evidence.count("trees"),
        arguments: evidence.texts("arguments"),
        renewed_at: Vec::new(),
        tokens: Vec::new(),
        refusals: Vec::new(),
        ended: None,
    }
}

fn measured(body: Body<'_>) -> Option<Measured> {
    Some(Measured {
        path: body.text("path")?,
        digest: body.digest("digest"),
    })
}

pub(super) fn launch_refusal(one: &Told) -> LaunchRefusal {
    let body = one.body();
    let attestation = body.part("attestation");
    let gaps = if body.has("gaps") { body } else { attestation };
    let count = gaps.count("gaps");
    let mut reasons = body.part("environment").texts("reasons");
    reasons.extend(body.part("policy").text("reason"));
    let derived = match (reasons.is_empty(), count) {
        (false, _) => Some(reasons.join("; ")),
        (true, 0) => None,
        (true, _) => Some("what was seen is not as registered".to_owned()),
    };
    LaunchRefusal {
        place: one.place(),
        code: body.text("code"),
        reason: body.text("reason").or(derived),
        gaps: gaps.items("gaps").iter().map(gap).collect(),
        gap_count: body.number("gap_count").unwrap_or(count),
    }
}

fn gap(value: &Value) -> Gap {
    let body = Body::of(value);
    let text = |name| body.text(name).unwrap_or_else(|| "unknown".to_owned());
    Gap {
        part: text("part"),
        expected: text("expected"),
        seen: text("seen"),
    }
}

pub(super) fn request_refused(one: &Told) -> RequestRefusal {
    let body = one.body();
    let mut reasons: Vec<String> = body.text("reason").into_iter().collect();
    reasons.extend(body.texts("reasons"));
    RequestRefusal {
        place: one.place(),
        by: body.text("by"),
        operation: body.text("operation"),
        subject: body.text("subject").or_else(|| body.text("resource")),
        code: body.text("code"),
        reasons,
    }
}

pub(super) fn session(one: &Told) -> Session {
    let body = one.body();
    let mut details = Vec::new();
    for name in ["why", "fault", "how"] {
        details.extend(body.text(name).map(|text| format!("{name}: {text}")));
    }
    let tool = |value: &Value| {
        let body = Body::of(value);
        let (tool, how) = (body.text("tool")?, body.text("how")?);
        Some(format!("tool `{tool}`: {how}"))
    };
    details.extend(body.items("tools").iter().filter_map(tool));
    Session {
        place: one.place(),
        session: body.text("session"),
        server: body.text("server"),
        what: body.text("what"),
        details,
    }
}

/// A decision; a denial says itself whether something else would help.
pub(super) fn call(place: Place, body: Body<'_>, verdict: Option<Verdict>) -> Call {
    let stepped = body.raw("decision") == Some("step_up");
    let denied = if stepped {
        Verdict::StepUp
    } else {
        Verdict::Denied
    };
    let authority = body.items("authority");
    Call {
        place,
        verdict: verdict.unwrap_or(denied),
        decision: body.text("decision_id"),
        person: body.part("subject").text("name"),
        agent: body.text("agent"),
        instance: body.text("instance"),
        resource: resource(body),
        action: body.text("action"),
        arguments: body.digest("arguments"),
        reasons: body.texts("reasons"),
        would_allow: authority.iter().filter_map(would_allow).collect(),
        principals: body
            .items("principals")
            .iter()
            .filter_map(principal)
            .collect(),
        hops: authority.iter().filter_map(hop).collect(),
        requirements: body
            .items("requirements")
            .iter()
            .filter_map(requirement)
            .collect(),
        approval: used_approval(body.part("approval")),
        policy: body.part("policy").text("id"),
        revision: body.number("revision"),
        outcome: None,
        late: Vec::new(),
    }
}

fn used_approval(body: Body<'_>) -> Option<UsedApproval> {
    Some(UsedApproval {
        approval: body.text("id")?,
        by: body.text("by"),
    })
}

fn resource(body: Body<'_>) -> String {
    let named = body.part("resource");
    let text = |name| named.text(name);
    if let (Some(upstream), Some(method), Some(path)) =
        (text("upstream"), text("method"), text("path"))
    {
        return format!("{method} {upstream}{path}");
    }
    match (
        text("server"),
        text("tool"),
        text("host"),
        named.number("port"),
    ) {
        (Some(server), Some(tool), _, _) => format!("{server}/{tool}"),
        (_, _, Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(one), ..) | (_, Some(one), ..) | (_, _, Some(one), _) => one,
        _ => body
            .get("resource")
            .map_or_else(|| "something".to_owned(), brief),
    }
}

fn would_allow(value: &Value) -> Option<WouldAllow> {
    let body = Body::of(value);
    Some(WouldAllow {
        argument: body.text("argument"),
        allowed: body.text("would_allow")?,
    })
}

fn principal(value: &Value) -> Option<Principal> {
    let body = Body::of(value);
    Some(Principal {
        principal: body.text("principal")?,
        decision: body.text("decision")?,
        policies: body.texts("policies"),
    })
}

fn hop(value: &Value) -> Option<Hop> {
    let body = Body::of(value);
    Some(Hop {
        delegation: body.text("delegation")?,
        refused: body.text("refused"),
    })
}

fn requirement(value: &Value) -> Option<Requirement> {
    let body = Body::of(value);
    Some(Requirement {
        policy: body.text("policy")?,
        kind: body.text("kind")?,
        met: body.get("met").and_then(Value::as_bool).unwrap_or(false),
    })
}

pub(super) fn flood(one: &Told) -> Flood {
    let body = one.body();
    let example = |name| {
        let example = body.part(name);
        let at = example.time("at").unwrap_or(one.at);
        let place = Place { at, ..one.place() };
        example.0.map(|_| call(place, example, None))
    };
    Flood {
        place: one.place(),
        principal: body.text("principal"),
        count: body.number("count").unwrap_or_default(),
        first: example("first"),
        last: example("last"),
    }
}

pub(super) fn other(one: &Told) -> Other {
    let kind = match &one.kind {
        Ok(kind) => kind.as_str().to_owned(),
        Err(kind) => kind.clone(),
    };
    Other {
        place: one.place(),
        kind,
        members: one.body().members(),
    }
}
