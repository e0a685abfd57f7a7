//! What a story tells.

mod apart;

use aims_json::{Object, Value};
use aims_model::{Event, EventKind, Source};
use proptest::prelude::*;

use super::*;
use crate::testing::{
    decision, event, gateway, gateway_events, id, intent, late, launches, outcome, records,
    started_event, task,
};

fn of(server: &[Event], gateway_events: &[Event]) -> Vec<Vec<u8>> {
    let mut all = records(Source::Server, server);
    all.extend(records(Source::Gateway(gateway()), gateway_events));
    all
}

fn read(records: &[Vec<u8>]) -> Result<Story, StoryError> {
    Story::read(records.iter().map(Vec::as_slice))
}

fn whole() -> Vec<Vec<u8>> {
    let mut server = vec![started_event()];
    server.extend(launches());
    let refused = Object::new()
        .with("operation", "task_end")
        .with("subject", task().to_string())
        .with("code", "not_yours")
        .with("reason", "the task is somebody else's");
    let ended = Object::new()
        .with("instance", id::<aims_types::Instance>(6).to_string())
        .with("how", "exited 0");
    server.extend([
        event(EventKind::RequestRefused, 30, refused).of_task(task()),
        event(EventKind::InstanceEnded, 31, ended).of_task(task()),
        event(EventKind::TaskEnded, 32, Object::new().with("why", "ended")).of_task(task()),
    ]);
    let mut events = gateway_events();
    let started = Object::new().with("server", "fs").with("what", "started");
    events.insert(
        0,
        event(EventKind::ServerSession, 19, started).of_task(task()),
    );
    let example =
        |n| decision(n, "deny", "write_file").with("reasons", vec![Value::from("unknown_tool")]);
    let many = Object::new()
        .with("principal", id::<aims_types::Instance>(6).to_string())
        .with("count", 41_u64)
        .with("first", example(10))
        .with("last", example(11));
    events.push(event(EventKind::CallDeniedMany, 25, many).of_task(task()));
    of(&server, &events)
}

#[test]
fn the_story_tells_who_let_whom_do_what_and_what_came_of_it() {
    let story = read(&whole()).unwrap();
    let start = story.start.as_ref().unwrap();
    assert_eq!(start.person.as_deref(), Some("alice"));
    assert_eq!(start.agent.as_deref(), Some("notes"));
    assert_eq!(story.launches.len(), 2);
    assert_eq!(
        (
            story.launches[0].refusals[0].gaps.len(),
            story.launches[0].refusals[0].gap_count
        ),
        (1, 3)
    );
    let [instance] = story.instances.as_slice() else {
        panic!("{:?}", story.instances)
    };
    assert_eq!((instance.trees, instance.tokens.len()), (2, 1));
    assert_eq!(
        instance.ended.as_ref().unwrap().how.as_deref(),
        Some("exited 0")
    );
    let verdicts: Vec<_> = story.calls.iter().map(|call| call.verdict).collect();
    assert_eq!(
        verdicts,
        [Verdict::Permit, Verdict::Permit, Verdict::Denied]
    );
    assert_eq!(story.calls[0].outcome.as_ref().unwrap().millis, Some(12));
    assert_eq!(story.calls[1].outcome, None);
    assert_eq!(
        (
            story.floods[0].count,
            story.sessions.len(),
            story.refusals.len()
        ),
        (41, 1, 1)
    );
    assert!(story.end.is_some() && story.other.is_empty());
    assert_eq!(story.records, whole().len() as u64);
}

#[test]
fn the_text_has_the_words_that_a_reader_looks_for() {
    let text = render(&read(&whole()).unwrap(), Style::default());
    for words in [
        "alice",
        "notes",
        "summarise the notes",
        "read_file",
        "list_directory",
        "write_file",
        "permit",
        "denied",
        "refused evidence_mismatch",
        "expected `/srv/agent.py`",
        "seen",
        "reason: the argument is not a path within the directory allowed",
        "would be allowed: `path` `/srv/notes` or a normalised path below it",
        "policy for person:alice: permit by default",
        "policy for agent:notes",
        "at most 10 uses",
        "connections to pypi.org:443",
        "path: `/srv/notes`",
        "program /srv/agent.py sha256:010101010101…",
        "interpreter /usr/bin/python3",
        "2 trees",
        "assurance confined, host uid 100123 on box",
        "token tok_",
        "outcome: ok after 12 ms, 532 bytes",
        "not recorded",
        "denied 41 times",
        "and 2 more",
        "ended: exited 0",
        "task ended",
        "refused task_end not_yours",
        "fs started",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    assert!(text.contains("├─ ") && text.contains("└─ ") && text.contains("│  "));
}

#[test]
fn the_story_is_json_too() {
    let json = serde_json::to_value(read(&whole()).unwrap()).unwrap();
    assert_eq!(json["start"]["person"], "alice");
    assert_eq!(json["calls"][2]["verdict"], "denied");
    assert_eq!(json["calls"][2]["would_allow"][0]["argument"], "path");
}

#[test]
fn a_part_of_the_records_is_told_as_far_as_it_goes() {
    let all = whole();
    for from in 0..all.len() {
        let story = read(&all[from..=from]).unwrap();
        assert_eq!(story.records, 1);
        assert!(!render(&story, Style::default()).is_empty());
    }
    let alone = read(&of(&[], &[outcome(1)])).unwrap();
    assert_eq!(alone.other.len(), 1, "an outcome of nothing is still shown");
}

#[test]
fn an_outcome_is_told_with_its_permit_whatever_the_clocks_say() {
    let mut early = outcome(1);
    early.at = Timestamp::from_unix_secs(1);
    let story = read(&of(&[], &[intent(1, "read_file"), early])).unwrap();
    assert!(story.calls[0].outcome.is_some());
}

#[test]
fn a_late_effect_is_told_with_its_call() {
    let mut early = late(1);
    early.at = Timestamp::from_unix_secs(1);
    let records = of(&[], &[intent(1, "read_file"), early, outcome(1), late(2)]);
    let story = read(&records).unwrap();
    let [call] = story.calls.as_slice() else {
        panic!("{story:?}");
    };
    assert_eq!(call.late.len(), 1);
    assert_eq!(story.other.len(), 1, "what belongs to no call is told, too");
    let text = render(&story, Style::default());
    let expected = "late effect: sent 120 ms after the lease of its gateway had ended";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_step_up_is_a_denial_that_says_what_is_needed() {
    let requirement = Object::new()
        .with("policy", "four-eyes")
        .with("kind", "approval")
        .with("met", false);
    let body =
        decision(1, "step_up", "read_file").with("requirements", vec![Value::from(requirement)]);
    let story = read(&of(
        &[],
        &[event(EventKind::CallDenied, 1, body).of_task(task())],
    ))
    .unwrap();
    assert_eq!(story.calls[0].verdict, Verdict::StepUp);
    let text = render(&story, Style::default());
    assert!(text.contains("denied (step_up)"), "{text}");
    assert!(
        text.contains("requirement four-eyes (approval): not met"),
        "{text}"
    );
}

#[test]
fn a_kind_of_a_later_release_is_shown_generically() {
    let body = Object::new().with("colour", "green");
    let event = event(EventKind::GatewayStarted, 1, body).of_task(task());
    let record = String::from_utf8(of(&[event], &[]).remove(0)).unwrap();
    let later = record
        .replace("gateway.started", "gateway.painted")
        .into_bytes();
    let story = read(&[later]).unwrap();
    assert_eq!(story.other[0].kind, "gateway.painted");
    assert!(render(&story, Style::default()).contains("colour: green"));
}

#[test]
fn what_is_no_story_is_refused() {
    assert_eq!(read(&[]), Err(StoryError::Empty));
    let other = of(&[started_event(), intent(1, "x").of_task(id(6))], &[]);
    assert_eq!(read(&other), Err(StoryError::OtherTask { place: 1 }));
    let mut without = started_event();
    without.task = None;
    assert_eq!(
        read(&of(&[without], &[])),
        Err(StoryError::OtherTask { place: 0 })
    );
    let bad = vec![b"{}".to_vec()];
    assert!(matches!(
        read(&bad),
        Err(StoryError::Record { place: 0, .. })
    ));
    let record = of(&[], &[outcome(1)]).remove(0);
    let many = std::iter::repeat_n(record.as_slice(), STORY_RECORDS_MAX + 1);
    assert_eq!(Story::read(many), Err(StoryError::TooMany));
}

#[test]
fn colours_are_used_only_when_asked_for() {
    let story = read(&whole()).unwrap();
    let coloured = render(
        &story,
        Style {
            color: true,
            ..Style::default()
        },
    );
    assert!(coloured.contains("\u{1b}[32m") && coloured.contains("\u{1b}[31m"));
    let mut plain = coloured;
    for code in ["0", "1", "2", "31", "32"] {
        plain = plain.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_eq!(plain, render(&story, Style::default()));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..1_u64 << 53).prop_map(Value::from),
        "\\PC{0,12}|[\u{0}-\u{20}\u{7f}-\u{9f}\u{202a}-\u{202e}]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let names = prop::sample::select(vec![
            "tool",
            "server",
            "host",
            "port",
            "argument",
            "would_allow",
            "principal",
            "decision",
            "policies",
            "path",
            "digest",
            "evidence",
            "program",
            "gaps",
            "part",
            "id",
            "name",
            "point",
            "ended",
            "unknown",
            "calls",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..4).prop_map(object),
        ]
    })
}

fn object(members: Vec<(&'static str, Value)>) -> Value {
    Value::from(
        members
            .into_iter()
            .fold(Object::new(), |all, (name, value)| all.with(name, value)),
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    let names = prop::sample::select(vec![
        "run",
        "instance",
        "decision_id",
        "decision",
        "resource",
        "reasons",
        "authority",
        "gaps",
        "principals",
        "requirements",
        "subject",
        "initiator",
        "grant",
        "deadline",
        "posture",
        "outcome",
        "millis",
        "first",
        "last",
        "count",
        "tools",
        "why",
        "by",
        "code",
        "agent",
        "approval",
        "answer",
        "how",
        "points",
        "revision",
        "delegation",
        "policy",
    ]);
    let members = prop::collection::vec((names, any_value()), 0..8);
    (prop::sample::select(EventKind::ALL), members, 0..u64::MAX).prop_map(|(kind, members, at)| {
        let body = members
            .into_iter()
            .fold(Object::new(), |all, (name, value)| all.with(name, value));
        Event::new(kind, Timestamp::from_unix_millis(at % (1 << 53)), body).of_task(task())
    })
}

proptest! {
    #[test]
    fn whatever_records_say_the_text_is_safe_and_within_its_width(
        events in prop::collection::vec(any_event(), 1..12),
        width in 0_usize..160,
    ) {
        let story = read(&of(&events, &[])).unwrap();
        prop_assert_eq!(story.records, events.len() as u64);
        let text = render(&story, Style { width, color: false });
        for line in text.lines() {
            prop_assert!(line.chars().count() <= width.max(WIDTH_MIN), "{}", line);
            prop_assert!(line.chars().all(body::is_harmless), "{line:?}");
        }
        prop_assert!(serde_json::to_string(&story).is_ok());
    }
}
