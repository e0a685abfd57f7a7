//! What the log's own key signs, and what still is no proof: each attack is in the log, at its
//! place, under a good checkpoint.

use aims_authority::Authority;
use aims_json::{Limits, Object, Value, parse};
use aims_model::EventKind;

use crate::testing::{Grown, Plan, World, verified};
use crate::{FactError, RerunError, SelectError, VerifyError};

fn said(world: &World) -> String {
    verified(&world.bytes()).unwrap_err().to_string()
}

#[test]
fn a_record_left_out_or_added_is_named() {
    let world = World::new();
    let good = world.proof();
    for place in 0..good.records.len() {
        let mut proof = good.clone();
        let left_out = proof.records.remove(place);
        let kind = left_out.record.event.kind;
        let checked = verified(&proof.to_bytes().unwrap());
        if kind == EventKind::CallOutcome {
            // It may not be recorded yet; then the proof says nothing of it.
            assert_eq!(checked.unwrap().outcome, None);
            continue;
        }
        let error = checked.unwrap_err();
        let missing = matches!(
            error,
            VerifyError::Select(SelectError::Missing(ref name)) if name.kind() == kind
        );
        assert!(missing, "{kind}: {error}");
    }
    // Carol is enrolled, and has nothing to do with it.
    let grown = world.grown();
    let carol = (0..grown.records.len())
        .find(|place| good.records.iter().all(|one| one.index != *place as u64));
    let mut proof = good.clone();
    proof.records.push(grown.included(carol.unwrap()));
    proof.records.sort_by_key(|one| one.index);
    let error = verified(&proof.to_bytes().unwrap()).unwrap_err();
    assert!(
        matches!(error, VerifyError::Select(SelectError::NotNeeded(_))),
        "{error}"
    );
}

#[test]
fn records_out_of_order_twice_or_of_another_place_are_refused() {
    let good = World::new().proof();
    let mut swapped = good.clone();
    swapped.records.swap(3, 4);
    let mut twice = good.clone();
    twice.records.insert(3, good.records[3].clone());
    for proof in [swapped, twice] {
        let error = verified(&proof.to_bytes().unwrap()).unwrap_err();
        assert!(matches!(error, VerifyError::Order(_)), "{error}");
    }
    let mut elsewhere = good.clone();
    elsewhere.records[3].index += 1;
    elsewhere.records.remove(4);
    let error = verified(&elsewhere.to_bytes().unwrap()).unwrap_err();
    assert!(matches!(error, VerifyError::Inclusion { .. }), "{error}");
}

#[test]
fn a_checkpoint_of_another_log_or_with_a_line_nobody_checks_is_refused() {
    let world = World::new();
    let mut proof = world.proof();
    let other = Grown::of(world.grown().records[..20].to_vec());
    proof.checkpoint = other.checkpoint;
    let error = verified(&proof.to_bytes().unwrap()).unwrap_err();
    assert!(matches!(error, VerifyError::Inclusion { .. }), "{error}");

    let mut proof = world.proof();
    let line = "\u{2014} witness.test AAAAAAAA\n";
    let text = format!("{}{line}", proof.checkpoint);
    if let Ok(note) = text.parse() {
        proof.checkpoint = note;
        let error = verified(&proof.to_bytes().unwrap()).unwrap_err();
        assert!(
            matches!(error, VerifyError::UnknownSignature { .. }),
            "{error}"
        );
    }
}

#[test]
fn a_hop_wider_than_the_one_above_is_refused_though_everybody_signed_it() {
    let plan = Plan {
        child: r#"{"authorization_details":[{"type":"mcp_tool","server":"fs",
            "actions":["write_file"],"arguments":{"path":{"path_prefix":"/"}}}],
            "limits":{"uses":2,"depth":0}}"#,
        ..Plan::default()
    };
    let said = said(&World::of(&plan));
    assert!(said.contains("wider than its parent"), "{said}");
}

#[test]
fn a_grant_that_says_more_than_was_asked_for_is_refused() {
    let widen = |grant: &mut aims_model::Grant| {
        let text = br#"{"authorization_details":[{"type":"mcp_tool","server":"fs",
            "actions":["read_file","write_file"],"arguments":{"path":{"path_prefix":"/srv"}}}],
            "limits":{"uses":2,"depth":0}}"#;
        grant.authority = Authority::from_value(&parse(text, &Limits::TOKEN).unwrap()).unwrap();
    };
    let plan = Plan {
        grant: widen,
        ..Plan::default()
    };
    let said = said(&World::of(&plan));
    assert!(said.contains("`authority`"), "{said}");
}

#[test]
fn an_answer_by_the_initiator_to_another_question_or_of_no_is_refused() {
    type Change = fn(&mut aims_model::approval::Answer);
    let changes: [(Change, &str); 3] = [
        (|answer| answer.approve = false, "answer"),
        (
            |answer| answer.digest = aims_crypto::sha256(b"other"),
            "digest",
        ),
        (
            |answer| answer.audience = "other.test".parse().unwrap(),
            "audience",
        ),
    ];
    for (answer, member) in changes {
        let world = World::of(&Plan {
            answer,
            ..Plan::default()
        });
        let said = said(&world);
        assert!(said.contains("approval") && said.contains(member), "{said}");
    }
}

/// A change of one record that is in the log as it is, and what the refusal says.
type Rewritten = (EventKind, fn(Object) -> Object, &'static str);

const REWRITTEN: [Rewritten; 12] = [
    (
        EventKind::AgentRegistered,
        |body| body.with("spiffe_id", "spiffe://aims.test/agent/x"),
        "registered as another",
    ),
    (
        EventKind::InstanceAttested,
        |body| body.with("jkt", "x"),
        "instance",
    ),
    (
        EventKind::InstanceAttested,
        |body| body.with("attestation", Object::new().with("result", "refused")),
        "a check of the server failed",
    ),
    (
        EventKind::TokenIssued,
        |body| body.with("chain", vec![Value::from("x")]),
        "for another chain",
    ),
    (
        EventKind::TokenIssued,
        |body| body.with("expires_at", 1_u64),
        "it had expired",
    ),
    (
        EventKind::TokenIssued,
        |body| body.with("revision", 9_u64),
        "another revision",
    ),
    (
        EventKind::PolicyActivated,
        |body| body.with("digest", aims_crypto::sha256(b"x").to_string()),
        "not the one activated",
    ),
    (
        EventKind::ServerRegistered,
        |body| body.with("tools", Vec::new()),
        "not as it was pinned",
    ),
    (
        EventKind::TreeOwned,
        |body| body.with("gateway", "gtw_x"),
        "did not own the task",
    ),
    (
        EventKind::TreeOwned,
        |body| body.with("released", true),
        "did not own the task",
    ),
    (
        EventKind::CallIntent,
        |body| body.with("reasons", Vec::new()),
        "another `reasons`",
    ),
    (
        EventKind::CallIntent,
        |body| body.with("reserved", Vec::new()),
        "not charged",
    ),
];

#[test]
fn each_record_that_does_not_fit_the_others_is_refused() {
    for (kind, change, expected) in REWRITTEN {
        let mut world = World::new();
        world.change(kind, change);
        let said = said(&world);
        assert!(said.contains(expected), "{kind}: {said}");
    }
}

#[test]
fn evidence_that_is_not_as_registered_is_refused_with_the_difference() {
    let mut world = World::new();
    world.change(EventKind::AgentRegistered, |body| {
        let mut text =
            String::from_utf8(aims_json::to_canonical(&Value::from(body)).unwrap()).unwrap();
        text = text.replacen("sha256:01", "sha256:02", 1);
        let Ok(Value::Object(body)) = parse(text.as_bytes(), &Limits::DOCUMENT) else {
            panic!("an object");
        };
        body
    });
    let error = verified(&world.bytes()).unwrap_err();
    assert!(
        matches!(error, VerifyError::Fact(FactError::Evidence { .. })),
        "{error}"
    );
}

#[test]
fn a_permit_that_the_policies_deny_is_refused_when_it_is_decided_again() {
    // The gateway lies: it records a permit and its grounds, but the policy that it names forbids.
    let forbidding = r#"@id("calls") permit (principal, action in Action::"call", resource);
@id("never") forbid (principal, action == Action::"fs/write_file", resource);
"#;
    let honest = World::new();
    let lying = World::of(&Plan {
        calls: 4,
        ..Plan::default()
    });
    let mut proof = honest.proof();
    proof.used = Some(lying.materials.clone());
    let error = verified(&proof.to_bytes().unwrap()).unwrap_err();
    assert!(
        matches!(error, VerifyError::Rerun(RerunError::Commitment)),
        "{error}"
    );

    let mut proof = honest.proof();
    forbidding.clone_into(&mut proof.policy);
    let error = verified(&proof.to_bytes().unwrap()).unwrap_err();
    assert!(matches!(error, VerifyError::Policy), "{error}");

    let mut world = World::new();
    world.lie(forbidding);
    let error = verified(&world.bytes()).unwrap_err();
    assert!(
        matches!(error, VerifyError::Rerun(RerunError::NotPermitted(_))),
        "{error}"
    );
}
