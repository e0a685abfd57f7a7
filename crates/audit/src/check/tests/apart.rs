//! What a check finds of delegations, approvals, kills and trees.

use aims_crypto::Signer;
use aims_json::{Object, Value};
use aims_model::{Event, EventKind, Source};
use aims_types::{Digest, Id, Instance};

use super::{Checked, check, check_events, problem};
use aims_proof::{ApprovalProblem, GrantProblem, KeyProblem, PermitProblem, Problem};

use crate::check::CheckError;
use crate::testing::apart::{
    Handing, answer_event, approved, approved_permit, asked_event, attested, authority, before,
    digest_in, ended_event, granted, killed, more, owned, people, permit, receipt, root_event,
    server,
};
use crate::testing::{
    AGENT, Log, at, erasure, event, gateway, id, key_body, keys, kid, records, task,
};

/// The member that is found to differ, and the change of it.
type Change<T> = (&'static str, fn(&mut T));

fn with_more(more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    let mut events = server();
    events.extend(more);
    events
}

/// What is wrong with the last permit.
fn permit_problem(checked: Checked) -> PermitProblem {
    match problem(checked).1 {
        Problem::Permit { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_log_of_delegations_approvals_and_kills_is_reported() {
    let instance = id::<Instance>(7).to_string();
    let events = with_more([
        owned(gateway(), 1, false),
        asked_event(),
        approved(),
        killed("instance", &instance),
        receipt("instance", &instance),
        killed("key", "some-thumbprint"),
        ended_event("used", 2),
    ]);
    let report = check_events(&events, &[permit(1, 6)]);
    let report = report.unwrap();
    assert_eq!(
        (
            report.claimed.grants_verified,
            report.claimed.permits_verified
        ),
        (2, 1)
    );
    assert_eq!(report.claimed.answers_verified, 1);
    let open: Vec<_> = report.claimed.open_kills.into_iter().collect();
    assert_eq!(open, ["key some-thumbprint"]);
    let events = with_more([asked_event(), approved(), ended_event("used", 2)]);
    check_events(&events, &[permit(1, 7), approved_permit(2)]).unwrap();
}

/// What is wrong with a delegation that is recorded after these.
fn grant_problem(mut events: Vec<Event>, granted: Event) -> GrantProblem {
    events.push(granted);
    let (index, found) = problem(check_events(&events, &[]));
    assert_eq!(index + 1, events.len() as u64);
    match found {
        Problem::Grant { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

fn handed(change: impl FnOnce(&mut Handing)) -> GrantProblem {
    let mut handing = Handing::new();
    change(&mut handing);
    grant_problem(before(), handing.event())
}

#[test]
fn a_delegation_that_does_not_continue_its_parent_is_found() {
    let missing = Digest::from_bytes([4; 32]);
    assert_eq!(
        handed(|it| it.request.parent = missing),
        GrantProblem::Parent
    );
    let links: [Change<aims_model::Grant>; 5] = [
        ("ancestors", |grant| grant.ancestors.clear()),
        ("ancestors", |grant| grant.ancestors.push(id(8))),
        ("issuer", |grant| {
            grant.issuer = "other.test".parse().unwrap();
        }),
        ("revision", |grant| {
            grant.revision = aims_types::Revision::new(3);
        }),
        ("deadline", |grant| grant.expires_at = at(4000)),
    ];
    for (member, change) in links {
        let found = handed(|it| it.change = change);
        assert_eq!(found, GrantProblem::Link(member));
    }
    let wider = r#"{"authorization_details":[{"type":"mcp_tool","server":"fs",
        "actions":["write_file"],"arguments":{"path":"any"}}],"limits":{"uses":2}}"#;
    let found = handed(|it| it.request.authority = authority(wider));
    assert!(matches!(found, GrantProblem::Wider(_)), "{found:?}");
    let unlimited = r#"{"authorization_details":[],"limits":{}}"#;
    let found = handed(|it| it.request.authority = authority(unlimited));
    assert!(matches!(found, GrantProblem::Wider(_)), "{found:?}");
}

#[test]
fn a_delegation_that_nobody_asked_for_is_found() {
    let found = handed(|it| it.signed_by = &more().scribe);
    let signature = |found| {
        matches!(
            found,
            GrantProblem::Signature {
                part: "request",
                ..
            }
        )
    };
    assert!(signature(found));
    // Whoever makes up an identity has no token key.
    for vouched_by in [&more().notes, &keys().grant, &more().bob] {
        let found = handed(|it| it.vouched_by = vouched_by);
        assert!(matches!(found, GrantProblem::Identity(_)), "{found:?}");
    }
    let found = handed(|it| {
        it.identity.issued_at = at(1);
        it.identity.expires_at = at(2);
    });
    assert!(matches!(found, GrantProblem::Identity(_)), "{found:?}");
    let found = handed(|it| it.identity.instance = id(7));
    assert_eq!(found, GrantProblem::IdentityOf("instance"));
    let found = handed(|it| it.identity.subject = "spiffe://aims.test/agent/x".parse().unwrap());
    assert_eq!(found, GrantProblem::IdentityOf("agent"));
    let differs: [Change<Handing>; 6] = [
        ("instance", |it| it.request.instance = id(7)),
        ("audience", |it| {
            it.request.audience = "other.test".parse().unwrap();
        }),
        ("purpose", |it| {
            it.change = |grant| grant.purpose = "other".parse().unwrap();
        }),
        ("deadline", |it| {
            it.change = |grant| grant.expires_at = at(700);
        }),
        ("time", |it| it.request.issued_at = at(120)),
        ("authority", |it| {
            it.change = |grant| {
                let details = grant.authority.details().to_vec();
                let limits = grant.authority.limits().clone().with_uses(1).unwrap();
                grant.authority = aims_authority::Authority::new(details, limits).unwrap();
            };
        }),
    ];
    for (member, change) in differs {
        assert_eq!(handed(change), GrantProblem::Request(member));
    }
    let mut again = Handing::new();
    again.change = |grant| grant.id = id(202);
    let found = grant_problem(server(), again.event());
    assert_eq!(found, GrantProblem::RequestTwice);
}

#[test]
fn a_delegation_by_an_instance_that_may_not_is_found() {
    let instance = id::<Instance>(6).to_string();
    let rooted = || {
        let mut events = people();
        events.push(root_event());
        events
    };
    let with = |event: Event| {
        let mut events = rooted();
        events.push(event);
        events
    };
    for events in [
        rooted(),
        with(attested(6, &more().notes, 999, AGENT)),
        with(attested(6, &more().scribe, 105, AGENT)),
        with(attested(
            6,
            &more().notes,
            105,
            "spiffe://aims.test/agent/x",
        )),
        with(attested(6, &more().notes, 105, AGENT).of_task(id(9))),
    ] {
        let found = grant_problem(events, granted());
        assert_eq!(found, GrantProblem::Instance(instance.clone()));
    }
    let ended = Object::new()
        .with("instance", instance.as_str())
        .with("cut_off", 6_u64);
    let stage = Object::new()
        .with("agent", id::<aims_types::Agent>(2).to_string())
        .with("cut_off", 6_u64);
    let frozen = Object::new()
        .with("task", task().to_string())
        .with("revision", 6_u64);
    for event in [
        event(EventKind::InstanceEnded, 19, ended).of_task(task()),
        event(EventKind::AgentStageChanged, 19, stage),
        event(EventKind::TaskFrozen, 19, frozen).of_task(task()),
        killed("task", &task().to_string()),
        killed("delegation", &id::<aims_types::Delegation>(105).to_string()),
        killed("key", &kid(more().notes.public())),
    ] {
        let mut events = before();
        events.push(event);
        let found = grant_problem(events, granted());
        assert!(matches!(found, GrantProblem::Dead(_)), "{found:?}");
    }
}

#[test]
fn a_record_that_differs_from_its_delegation_is_found() {
    for (member, value) in [
        ("instance", id::<Instance>(7).to_string()),
        ("parent", Digest::from_bytes([1; 32]).to_string()),
        ("agent", AGENT.to_owned()),
        ("purpose", "other".to_owned()),
    ] {
        let mut event = granted();
        event.body = event.body.with(member, value);
        assert_eq!(grant_problem(before(), event), GrantProblem::Record(member));
    }
    // A root can't be passed off as handed on, nor the other way round.
    let mut root = root_event();
    root.kind = EventKind::DelegationGranted;
    let found = grant_problem(people(), root);
    assert_eq!(found, GrantProblem::Record("delegator"));
    let mut child = granted();
    child.kind = EventKind::TaskStarted;
    let found = grant_problem(before(), child);
    assert_eq!(found, GrantProblem::Record("delegator"));
}

#[test]
fn a_permit_whose_chain_is_not_linked_is_found() {
    let root = digest_in(&root_event());
    let child = digest_in(&granted());
    let chain = |digests: &[Digest]| {
        let digests = digests.iter().map(|one| Value::from(one.to_string()));
        let mut event = permit(1, 7);
        event.body = event.body.with("chain", digests.collect::<Vec<_>>());
        event
    };
    for (event, expected) in [
        (chain(&[child]), PermitProblem::NotLinked(child)),
        (chain(&[child, root]), PermitProblem::NotLinked(child)),
        (chain(&[root, root]), PermitProblem::NotLinked(root)),
        (
            chain(&[root]),
            PermitProblem::OtherAgent(crate::testing::apart::SCRIBE.to_owned()),
        ),
    ] {
        assert_eq!(permit_problem(check_events(&server(), &[event])), expected);
    }
    let ungranted = permit_problem(check_events(&before(), &[permit(1, 7)]));
    assert_eq!(ungranted, PermitProblem::UnknownGrant(child));
    // An instance of the right agent that was attested under another delegation.
    let mut events = before();
    events.push(granted());
    let scribe = crate::testing::apart::SCRIBE;
    events.push(attested(7, &more().scribe, 202, scribe));
    let found = permit_problem(check_events(&events, &[permit(1, 7)]));
    let instance = id::<Instance>(7).to_string();
    assert_eq!(found, PermitProblem::OtherDelegation(instance));
}

#[test]
fn a_permit_under_what_its_gateway_knew_to_be_dead_is_found() {
    let subjects = [
        ("task", task().to_string()),
        ("instance", id::<Instance>(7).to_string()),
        // The sub-agent's authority ends with the instance that handed it on.
        ("instance", id::<Instance>(6).to_string()),
        ("delegation", id::<aims_types::Delegation>(201).to_string()),
        ("delegation", id::<aims_types::Delegation>(105).to_string()),
        ("agent", id::<aims_types::Agent>(2).to_string()),
        ("agent", id::<aims_types::Agent>(3).to_string()),
        ("person", id::<aims_types::Person>(1).to_string()),
        ("policy", id::<aims_types::Policy>(1).to_string()),
        ("key", kid(more().scribe.public())),
        ("key", kid(more().notes.public())),
        ("key", kid(keys().grant.public())),
    ];
    for (kind, subject) in &subjects {
        let events = with_more([killed(kind, subject)]);
        let found = permit_problem(check_events(&events, &[permit(1, 7)]));
        assert!(
            matches!(found, PermitProblem::Dead { .. }),
            "{kind} {found:?}"
        );
        // A gateway that had not taken it over yet did nothing wrong.
        let mut early = permit(1, 7);
        early.body = early.body.with("revision", 7_u64).with("minted", 7_u64);
        check_events(&events, &[early]).unwrap();
    }
    for (kind, subject) in subjects {
        // What lives again does so with new tokens only; the rest never does.
        let lives_again = matches!(kind, "agent" | "person" | "policy" | "key");
        let mut later = permit(1, 7);
        later.body = later.body.with("revision", 9_u64).with("minted", 9_u64);
        let checked = check_events(&with_more([killed(kind, &subject)]), &[later]);
        assert_eq!(checked.is_ok(), lives_again, "{kind}");
    }
    let frozen = Object::new()
        .with("task", task().to_string())
        .with("revision", 8_u64);
    let frozen = event(EventKind::TaskFrozen, 40, frozen).of_task(task());
    let found = permit_problem(check_events(&with_more([frozen]), &[permit(1, 7)]));
    assert!(matches!(found, PermitProblem::Frozen { .. }), "{found:?}");
}

#[test]
fn more_uses_than_a_hop_allows_are_found_over_all_gateways() {
    // The child allows two uses, the root four.
    let of = |gateways: &[(u128, &[Event])]| {
        let mut all = records(Source::Server, &server());
        for (gateway, events) in gateways {
            all.extend(records(Source::Gateway(id(*gateway)), events));
        }
        check(&Log::of(&all))
    };
    let two = [permit(1, 7), permit(2, 7)];
    of(&[(77, &two), (78, &[permit(3, 6), permit(4, 6)])]).unwrap();
    let found = permit_problem(of(&[(77, &two), (78, &[permit(3, 7)])]));
    let over = |delegation: u128, max| PermitProblem::OverUses {
        delegation: id::<aims_types::Delegation>(delegation).to_string(),
        max,
    };
    assert_eq!(found, over(201, 2));
    let more = [permit(3, 6), permit(4, 6), permit(5, 6)];
    let found = permit_problem(of(&[(77, &two), (78, &more)]));
    assert_eq!(found, over(105, 4));
}

#[test]
fn an_answer_that_does_not_hold_is_found() {
    let bob = &more().bob;
    let approval_problem = |events: Vec<Event>| match problem(check_events(&events, &[])).1 {
        Problem::Approval { problem, .. } => problem,
        other => panic!("{other:?}"),
    };
    let answered = |event| approval_problem(with_more([asked_event(), event]));
    let differs: [Change<aims_model::approval::Answer>; 5] = [
        ("by", |answer| answer.person = id(1)),
        ("audience", |answer| {
            answer.audience = "other.test".parse().unwrap();
        }),
        ("approval", |answer| answer.approval = id(2)),
        ("digest", |answer| {
            answer.digest = Digest::from_bytes([0; 32]);
        }),
        ("reason", |answer| answer.reason.clear()),
    ];
    for (member, change) in differs {
        let found = answered(answer_event(4, bob, change));
        assert_eq!(found, ApprovalProblem::Differs(member));
    }
    let mut turned = answer_event(4, bob, |answer| answer.approve = false);
    turned.body = turned.body.with("answer", "approve");
    assert_eq!(answered(turned), ApprovalProblem::Differs("answer"));
    // Alice may approve, but not for herself; nobody may in another's name.
    let own = answer_event(1, &keys().person, |_| {});
    assert_eq!(answered(own), ApprovalProblem::Initiator);
    let in_bobs_name = answered(answer_event(4, &keys().person, |_| {}));
    assert!(matches!(in_bobs_name, ApprovalProblem::ForeignKey(_)));
    let person = id::<aims_types::Person>(4).to_string();
    let removed = Object::new().with("person", person.as_str());
    let removed = event(EventKind::PersonRemoved, 24, removed);
    let found = approval_problem(with_more([asked_event(), removed, approved()]));
    assert_eq!(found, ApprovalProblem::Person(person));
    assert_eq!(
        approval_problem(with_more([approved()])),
        ApprovalProblem::Unknown
    );
    let over = |events: Vec<Event>| assert_eq!(approval_problem(events), ApprovalProblem::Over);
    over(with_more([asked_event(), approved(), approved()]));
    over(with_more([
        asked_event(),
        ended_event("timed_out", 1),
        approved(),
    ]));
    let twice = [asked_event(), approved(), ended_event("used", 1)];
    over(with_more(twice.into_iter().chain([ended_event("used", 1)])));
    let unapproved = with_more([asked_event(), ended_event("used", 1)]);
    assert_eq!(approval_problem(unapproved), ApprovalProblem::NotApproved);
    let twice = approval_problem(with_more([asked_event(), asked_event()]));
    assert_eq!(twice, ApprovalProblem::Twice);
}

#[test]
fn a_permit_without_the_approval_that_it_needs_is_found() {
    let approval = id::<aims_types::Approval>(1).to_string();
    let given = || with_more([asked_event(), approved()]);
    let found = |events: &[Event], permits: &[Event]| permit_problem(check_events(events, permits));
    let mut without = approved_permit(1);
    without.body.remove("approval").unwrap();
    assert_eq!(found(&given(), &[without]), PermitProblem::ApprovalMissing);
    let denied = answer_event(4, &more().bob, |answer| answer.approve = false);
    for events in [
        server(),
        with_more([asked_event()]),
        with_more([asked_event(), denied]),
    ] {
        let found = found(&events, &[approved_permit(1)]);
        assert_eq!(found, PermitProblem::NotApproved(approval.clone()));
    }
    let twice = [approved_permit(1), approved_permit(2)];
    let used_twice = PermitProblem::ApprovalTwice(approval.clone());
    assert_eq!(found(&given(), &twice), used_twice);
    // The server had recorded another use of it.
    let mut events = given();
    events.push(ended_event("used", 9));
    assert_eq!(found(&events, &[approved_permit(1)]), used_twice);
    let other = |member: &'static str| PermitProblem::OtherQuestion {
        approval: approval.clone(),
        member,
    };
    let changed = |change: &dyn Fn(Object) -> Object| {
        let mut permit = approved_permit(1);
        permit.body = change(permit.body);
        found(&given(), &[permit])
    };
    let bob = killed("person", &id::<aims_types::Person>(4).to_string());
    let events: Vec<Event> = given().into_iter().chain([bob]).collect();
    let dead = found(&events, &[approved_permit(1)]);
    assert!(matches!(dead, PermitProblem::Dead { .. }), "{dead:?}");
    let other_arguments = aims_crypto::sha256(b"{}").to_string();
    let arguments = changed(&|body| body.with("arguments", other_arguments.as_str()));
    assert_eq!(arguments, other("arguments"));
    let policy = id::<aims_types::Policy>(2).to_string();
    let policy = changed(&|body| body.with("policy", Object::new().with("id", policy.as_str())));
    assert_eq!(policy, other("arguments"));
}

#[test]
fn a_tree_with_two_owners_and_a_gateway_that_was_none_are_found() {
    let other = id(78);
    for (owners, good) in [
        (
            vec![owned(gateway(), 1, false), owned(gateway(), 1, true)],
            true,
        ),
        (
            vec![owned(gateway(), 1, false), owned(other, 2, false)],
            true,
        ),
        (vec![owned(gateway(), 2, false)], false),
        (
            vec![owned(gateway(), 1, false), owned(other, 1, false)],
            false,
        ),
        (
            vec![owned(gateway(), 1, false), owned(other, 3, false)],
            false,
        ),
        (
            vec![owned(gateway(), 1, true), owned(gateway(), 1, false)],
            false,
        ),
    ] {
        let checked = check_events(&with_more(owners), &[permit(1, 6)]);
        match checked {
            Ok(_) => assert!(good),
            Err(CheckError::Entry {
                problem: Problem::Tree(_),
                ..
            }) => assert!(!good),
            other => panic!("{other:?}"),
        }
    }
    let events = with_more([owned(other, 1, false)]);
    let found = permit_problem(check_events(&events, &[permit(1, 6)]));
    assert_eq!(found, PermitProblem::NotOwner(Source::Gateway(gateway())));
}

/// A take-over of the good log's tree by another gateway, as the server records it, and changed.
fn taken(members: &[(&'static str, Value)]) -> Event {
    let lost = Object::new()
        .with("gateway", gateway().to_string())
        .with("uses", 4_u64)
        .with("since", 9_u64);
    let mut event = owned(id(12), 2, false);
    event.body = event
        .body
        .with("window", 2_u64)
        .with("taken_from", gateway().to_string())
        .with("unaccounted", vec![Value::from(lost)]);
    for (name, value) in members {
        event.body = event.body.with(*name, value.clone());
    }
    event
}

fn first_owner() -> Event {
    let mut event = owned(gateway(), 1, false);
    event.body = event.body.with("window", 4_u64);
    event
}

fn accounted(gateway: Id<aims_types::Gateway>, head: u64) -> Event {
    let body = Object::new()
        .with("task", task().to_string())
        .with("gateway", gateway.to_string())
        .with("head", head);
    event(EventKind::TreeAccounted, 19, body).of_task(task())
}

#[test]
fn a_take_over_that_does_not_write_down_what_may_be_lost_is_found() {
    let lost = |gateway: Id<aims_types::Gateway>, uses: u64| {
        let lost = Object::new()
            .with("gateway", gateway.to_string())
            .with("uses", uses)
            .with("since", 9_u64);
        vec![Value::from(lost)]
    };
    check_events(&with_more([first_owner(), taken(&[])]), &[permit(1, 6)]).unwrap();
    let bad = [
        ("unaccounted", Value::from(Vec::<Value>::new())),
        ("unaccounted", lost(gateway(), 3).into()),
        ("unaccounted", lost(id(12), 4).into()),
        (
            "taken_from",
            id::<aims_types::Gateway>(12).to_string().into(),
        ),
        ("taken_from", Value::Null),
        ("epoch", 3_u64.into()),
    ];
    for change in bad {
        let (_, found) = problem(check_events(
            &with_more([first_owner(), taken(std::slice::from_ref(&change))]),
            &[],
        ));
        assert!(matches!(found, Problem::Tree(_)), "{change:?}: {found:?}");
    }
    // What was given back, or never owned, is not taken.
    let mut back = first_owner();
    back.body = back.body.with("released", true);
    for events in [vec![first_owner(), back, taken(&[])], vec![taken(&[])]] {
        let (_, found) = problem(check_events(&with_more(events), &[]));
        assert!(matches!(found, Problem::Tree(_)), "{found:?}");
    }
    // Who is unaccounted for stays so whoever owns the tree, until it is said otherwise.
    let mut again = taken(&[("epoch", 3_u64.into()), ("taken_from", Value::Null)]);
    check_events(&with_more([first_owner(), taken(&[]), again.clone()]), &[]).unwrap();
    again.body = again.body.with("unaccounted", Vec::<Value>::new());
    let forgets = with_more([first_owner(), taken(&[]), again]);
    let (_, found) = problem(check_events(&forgets, &[]));
    assert!(matches!(found, Problem::Tree(_)), "{found:?}");
}

#[test]
fn a_lost_gateway_is_accounted_for_once_and_when_its_records_are_there() {
    let lost = || vec![first_owner(), taken(&[])];
    let with = |event: Event| with_more([lost(), vec![event]].concat());
    check_events(&with(accounted(gateway(), 0)), &[]).unwrap();
    for events in [
        with(accounted(gateway(), 1)),
        with(accounted(id(12), 0)),
        with_more([first_owner(), accounted(gateway(), 0)]),
        with_more(
            [
                lost(),
                vec![accounted(gateway(), 0), accounted(gateway(), 0)],
            ]
            .concat(),
        ),
    ] {
        let (_, found) = problem(check_events(&events, &[]));
        assert!(matches!(found, Problem::Accounted { .. }), "{found:?}");
    }
}

#[test]
fn an_approval_that_outlives_a_take_over_is_found() {
    let withdrawn = || {
        let mut event = ended_event("withdrawn", 2);
        event.body = event.body.with("why", "taken over");
        event
    };
    let kept = with_more([first_owner(), asked_event(), approved(), taken(&[])]);
    let (_, found) = problem(check_events(&kept, &[]));
    let kept = ApprovalProblem::Kept;
    assert!(matches!(&found, Problem::Approval { problem, .. } if *problem == kept));
    let events = with_more([
        first_owner(),
        asked_event(),
        approved(),
        withdrawn(),
        taken(&[]),
    ]);
    let at_epoch = |epoch: u64| {
        let mut event = approved_permit(2);
        event.body = event.body.with("epoch", epoch);
        [permit(1, 7), event]
    };
    // What the lost owner recorded comes late, and is no second use.
    check_events(&events, &at_epoch(1)).unwrap();
    let found = permit_problem(check_events(&events, &at_epoch(2)));
    assert!(matches!(found, PermitProblem::ApprovalVoid(_)), "{found:?}");
}

#[test]
fn an_erasure_before_the_end_or_twice_is_found() {
    let erased = || event(EventKind::TaskErased, 96, erasure(task())).of_task(task());
    let ended = || {
        let body = Object::new().with("why", "asked for");
        event(EventKind::TaskEnded, 90, body.with("cut_off", 90_u64)).of_task(task())
    };
    check_events(&with_more([ended(), erased()]), &[]).unwrap();
    let of_other = event(EventKind::TaskErased, 96, erasure(id(99))).of_task(task());
    let (kind, member) = (EventKind::TaskErased, "task");
    for (events, expected) in [
        (vec![erased()], Problem::ErasedBeforeEnd),
        (vec![erased(), ended()], Problem::ErasedBeforeEnd),
        (vec![ended(), erased(), erased()], Problem::ErasedTwice),
        (vec![ended(), of_other], Problem::Member { kind, member }),
    ] {
        assert_eq!(problem(check_events(&with_more(events), &[])).1, expected);
    }
}

#[test]
fn a_receipt_without_its_kill_is_found() {
    let instance = id::<Instance>(7).to_string();
    let (kill, receipt) = (
        || killed("instance", &instance),
        || receipt("instance", &instance),
    );
    check_events(&with_more([kill(), receipt()]), &[]).unwrap();
    for (events, expected) in [
        (vec![receipt()], Problem::ReceiptWithoutKill),
        (
            vec![kill(), receipt(), receipt()],
            Problem::ReceiptWithoutKill,
        ),
        (vec![kill(), kill()], Problem::KillTwice),
    ] {
        assert_eq!(problem(check_events(&with_more(events), &[])).1, expected);
    }
}

#[test]
fn keys_belong_to_who_may_have_them_and_an_authority_comes_with_its_certificate() {
    let key = aims_crypto::SigningKey::generate(aims_crypto::Alg::Es256).unwrap();
    let node = id::<aims_types::Node>(8).to_string();
    let gateway = gateway().to_string();
    let certificate = |domain: &str, key: &aims_crypto::SigningKey| {
        let validity = aims_x509::Validity::new(at(0), at(1000)).unwrap();
        let serial = aims_x509::Serial::from_random([7; 16]);
        let domain = domain.parse().unwrap();
        let made = aims_x509::CaCertificate::issue(key, &domain, validity, &serial).unwrap();
        aims_crypto::base64url::encode(made.der())
    };
    let of = |purpose, owner: &str, certificate: Option<String>| {
        let mut body = key_body(key.public(), purpose, owner);
        if let Some(certificate) = certificate {
            body = body.with("certificate", certificate);
        }
        let checked = check_events(&with_more([event(EventKind::KeyEnrolled, 2, body)]), &[]);
        match checked {
            Ok(_) => None,
            Err(CheckError::Entry {
                problem: Problem::Key { problem, .. },
                ..
            }) => Some(problem),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of("node", &node, None), None);
    assert_eq!(of("gateway", &gateway, None), None);
    for (purpose, owner) in [
        ("node", &*gateway),
        ("gateway", &node),
        ("gateway", "server"),
        ("grant", &node),
        ("person", "server"),
        ("other", "server"),
    ] {
        assert_eq!(
            of(purpose, owner, None),
            Some(KeyProblem::Owner),
            "{purpose}"
        );
    }
    assert_eq!(
        of("ca", "server", Some(certificate("aims.test", &key))),
        None
    );
    for bad in [
        certificate("other.test", &key),
        certificate("aims.test", &more().token),
        "AAAA".to_owned(),
    ] {
        assert_eq!(of("ca", "server", Some(bad)), Some(KeyProblem::Certificate));
    }
}

#[test]
fn serial_numbers_and_join_tokens_are_taken_once() {
    let svid = || {
        let body = Object::new().with("serial", "01");
        event(EventKind::SvidIssued, 3, body)
    };
    let token = || {
        let body = Object::new().with("digest", Digest::from_bytes([1; 32]).to_string());
        event(EventKind::JoinAllowed, 3, body)
    };
    check_events(&with_more([svid(), token()]), &[]).unwrap();
    let serial = problem(check_events(&with_more([svid(), svid()]), &[])).1;
    assert_eq!(serial, Problem::SerialTwice("01".to_owned()));
    let join = problem(check_events(&with_more([token(), token()]), &[])).1;
    assert!(matches!(join, Problem::JoinTwice(_)));
}
