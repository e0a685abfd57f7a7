//! What a story tells of sub-agents, approvals and kills.

use aims_json::Object;
use aims_model::{Event, EventKind};
use aims_types::{Id, Instance};

use super::super::*;
use super::{of, read};
use crate::testing::apart::{
    SCRIBE, approved, approved_permit, asked_event, attested, ended_event, granted, killed, more,
    owned, receipt, root_event,
};
use crate::testing::{AGENT, erasure, event, gateway, id, task};

fn frozen(kind: EventKind) -> Event {
    let body = Object::new()
        .with("task", task().to_string())
        .with("revision", 9_u64);
    event(kind, 60, body).of_task(task())
}

fn refused() -> Event {
    let body = Object::new()
        .with("instance", id::<Instance>(7).to_string())
        .with("agent", SCRIBE)
        .with("code", "wider_depth")
        .with("reason", "it may not be handed on")
        .with("constraint", "no further delegation");
    event(EventKind::DelegationRefused, 22, body).of_task(task())
}

fn whole() -> Vec<Vec<u8>> {
    let instance = id::<Instance>(7).to_string();
    let server = [
        root_event(),
        attested(6, &more().notes, 105, AGENT),
        owned(gateway(), 1, false),
        granted(),
        attested(7, &more().scribe, 201, SCRIBE),
        refused(),
        asked_event(),
        approved(),
        ended_event("used", 1),
        killed("instance", &instance),
        receipt("instance", &instance),
        killed("task", "another"),
        frozen(EventKind::TaskFrozen),
        frozen(EventKind::TaskResumed),
        event(EventKind::TaskErased, 95, erasure(task())).of_task(task()),
    ];
    of(&server, &[approved_permit(1)])
}

#[test]
fn the_tree_goes_from_the_person_to_the_sub_agent_with_instances_below_their_delegations() {
    let story = read(&whole()).unwrap();
    let hop = &story.delegations[0];
    let root = id::<aims_types::Delegation>(105).to_string();
    assert_eq!(hop.parent_delegation.as_deref(), Some(&*root));
    assert_eq!(hop.agent.as_deref(), Some("scribe"));
    assert_eq!(story.instances[1].delegation, hop.delegation);
    let text = render(&story, Style::default());
    let lines: Vec<&str> = text.lines().collect();
    let indent = |needle: &str| {
        let line = lines.iter().find(|line| line.contains(needle));
        let line = line.unwrap_or_else(|| panic!("{needle}\n{text}"));
        let before: Vec<char> = line.chars().take_while(|c| !c.is_alphanumeric()).collect();
        before.len()
    };
    let path = [
        "on behalf of alice",
        "agent notes, dlg_",
        "agent scribe, dlg_",
        &format!("{} attested", id::<Instance>(7)),
    ];
    let indents: Vec<usize> = path.iter().map(|needle| indent(needle)).collect();
    assert_eq!(indents, [3, 6, 9, 12], "{text}");
    let top = format!("{} attested", id::<Instance>(6));
    assert_eq!(indent(&top), 9, "{text}");
}

#[test]
fn the_text_says_who_authorised_answered_and_was_killed() {
    let story = read(&whole()).unwrap();
    assert_eq!((story.other.len(), story.kills.len()), (0, 2));
    let text = render(
        &story,
        Style {
            width: 200,
            ..Style::default()
        },
    );
    for words in [
        "authorised by alice's consent and policy pol_1",
        "'s signed request and policy pol_2",
        "for: write them down",
        "at most 2 uses",
        "refused ins_",
        "constraint: no further delegation",
        "asked for fs/write_file by agent scribe",
        "required by four-eyes",
        "approved by per_",
        "as discussed",
        "used by dec_",
        "approval apr_",
        "killed by alice at revision 8: it runs away",
        "complete after 3012 ms, leases last at most 3000 ms",
        "acknowledged after 12 ms; ended 1 calls, 1 tool servers",
        "lapsed after 12 ms",
        "effect unknown: fs/write_file (dec_",
        "no receipt is recorded",
        "frozen by alice at revision 9",
        "resumed by alice",
        "owns it, epoch 1",
        "erased by alice: she asked for it",
        "what decisions used is gone of 2: verifiable, not re-runnable",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn how_a_request_ended_is_told() {
    let end = |how| {
        let story = read(&of(
            &[root_event(), asked_event(), ended_event(how, 1)],
            &[],
        ));
        render(&story.unwrap(), Style::default())
    };
    assert!(end("timed_out").contains("timed out"));
    assert!(end("withdrawn").contains("withdrawn"));
    let open = read(&of(&[root_event(), asked_event()], &[])).unwrap();
    assert!(render(&open, Style::default()).contains("no answer is recorded"));
    // What comes before its question is still one story of it.
    let turned = read(&of(&[root_event(), approved(), asked_event()], &[])).unwrap();
    assert_eq!((turned.approvals.len(), turned.other.len()), (1, 0));
    assert!(turned.approvals[0].answer.is_some() && turned.approvals[0].resource.is_some());
}

#[test]
fn a_kill_that_names_no_task_may_be_told_with_it() {
    let agent: Id<aims_types::Agent> = id(2);
    let mut kill = killed("agent", &agent.to_string());
    kill.task = None;
    let mut done = receipt("agent", &agent.to_string());
    done.task = None;
    let story = read(&of(&[kill.clone(), root_event(), done], &[])).unwrap();
    assert_eq!(story.task, task());
    assert!(story.kills[0].receipt.is_some());
    assert_eq!(
        read(&of(&[kill], &[])),
        Err(StoryError::OtherTask { place: 0 })
    );
}

#[test]
fn hops_that_name_each_other_still_make_a_tree() {
    let digest = |n: u8| aims_types::Digest::from_bytes([n; 32]).to_string();
    let hop = |own: u8, parent: u8| {
        let body = Object::new()
            .with(
                "delegation",
                id::<aims_types::Delegation>(own.into()).to_string(),
            )
            .with("grant_digest", digest(own))
            .with("parent", digest(parent));
        event(EventKind::DelegationGranted, 5, body).of_task(task())
    };
    let long: Vec<Event> = (1..200).map(|n| hop(n, n - 1)).collect();
    let knots = vec![hop(1, 1), hop(2, 3), hop(3, 2), hop(2, 2), hop(2, 1)];
    for events in [long, knots] {
        let story = read(&of(&events, &[])).unwrap();
        let text = render(
            &story,
            Style {
                width: 0,
                color: false,
            },
        );
        let hops = text.matches("dlg_").count();
        assert_eq!(hops, events.len(), "{text}");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(WIDTH_MIN), "{text}");
    }
}
