//! What a check finds, and that it finds nothing in a good log.

mod apart;
mod borders;

use aims_json::{Object, Value};
use aims_model::grant::Delegator;
use aims_model::{Event, EventKind};
use aims_proof::{GrantProblem, KeyProblem, PermitProblem, Problem};
use aims_tlog::{NoteSigner, TilePath};

use super::*;
use crate::testing::{
    Log, authority, consent, decision, denial, enrolments, event, gateway, gateway_events, grant,
    id, intent, key_body, keys, kid, late, launches, outcome, records, root_grant, server_events,
    signed_consent, signer, started, started_event, task,
};

type Checked = Result<LogReport, CheckError<aims_tlog::TileMissing>>;

fn check(log: &Log) -> Checked {
    check_log(&log.files, &log.checkpoint, signer().verifier_key())
}

fn check_events(server: &[Event], gateway_events: &[Event]) -> Checked {
    check(&Log::of_events(server, gateway_events))
}

/// What is wrong with which entry.
fn problem(checked: Checked) -> (u64, Problem) {
    match checked {
        Err(CheckError::Entry { index, problem }) => (index, problem),
        other => panic!("{other:?}"),
    }
}

fn good() -> Vec<Vec<u8>> {
    let mut all = records(Source::Server, &server_events());
    all.extend(records(Source::Gateway(gateway()), &gateway_events()));
    all
}

#[test]
fn a_good_log_is_reported() {
    let report = check(&Log::of(&good())).unwrap();
    let size = u64::try_from(good().len()).unwrap();
    assert_eq!(
        (report.origin.as_str(), report.size),
        (crate::testing::ORIGIN, size)
    );
    assert_eq!(
        (
            report.claimed.grants_verified,
            report.claimed.permits_verified
        ),
        (1, 2)
    );
    let open = id::<aims_types::Decision>(3).to_string();
    assert_eq!(
        report.claimed.open_intents.into_iter().collect::<Vec<_>>(),
        [open]
    );
    assert_eq!(
        report.claimed.keys[&kid(aims_crypto::Signer::public(&keys().grant))],
        "grant"
    );
    assert_eq!(
        (
            report.claimed.kinds["call.intent"],
            report.claimed.kinds["key.enrolled"]
        ),
        (2, 3)
    );
    assert_eq!(report.sources.len(), 2);
}

#[test]
fn every_flipped_bit_of_every_file_is_found() {
    let log = Log::of(&good());
    let paths: Vec<TilePath> = log.files.keys().copied().collect();
    assert_eq!(paths.len(), 2);
    let mut changed = log;
    for path in paths {
        for place in 0..changed.files[&path].len() * 8 {
            let flip = |log: &mut Log| {
                log.files.get_mut(&path).unwrap()[place / 8] ^= 1 << (place % 8);
            };
            flip(&mut changed);
            assert!(check(&changed).is_err(), "bit {place} of {path}");
            flip(&mut changed);
        }
    }
    check(&changed).unwrap();
}

#[test]
fn flipped_bits_are_found_in_full_tiles_and_on_every_level() {
    let denials: Vec<Event> = (0..300).map(|n| denial(n + 1000)).collect();
    let mut log = Log::of_events(&server_events(), &denials);
    check(&log).unwrap();
    let paths: Vec<TilePath> = log.files.keys().copied().collect();
    assert_eq!(
        paths.len(),
        5,
        "full and partial, entries and two levels of hashes"
    );
    for path in paths {
        let bits = log.files[&path].len() * 8;
        for place in (0..bits).step_by(bits / 64 + 1) {
            let flip = |log: &mut Log| {
                log.files.get_mut(&path).unwrap()[place / 8] ^= 1 << (place % 8);
            };
            flip(&mut log);
            assert!(check(&log).is_err(), "bit {place} of {path}");
            flip(&mut log);
        }
    }
    check(&log).unwrap();
}

#[test]
fn a_file_that_is_missing_or_cut_is_found() {
    let log = Log::of(&good());
    for path in log.files.keys() {
        let mut changed = Log::of(&good());
        changed.files.remove(path);
        assert!(check(&changed).is_err(), "{path} missing");
        let mut bytes = log.files[path].clone();
        bytes.pop();
        changed.files.insert(*path, bytes);
        assert!(check(&changed).is_err(), "{path} cut");
    }
}

#[test]
fn a_dropped_or_moved_record_is_found_although_the_log_was_signed_again() {
    let all = good();
    let server = server_events().len();
    for dropped in 0..all.len() {
        let mut records = all.clone();
        records.remove(dropped);
        let is_last = dropped + 1 == server || dropped + 1 == all.len();
        match check(&Log::of(&records)) {
            Err(CheckError::Entry {
                index,
                problem: Problem::Chain { .. },
            }) if !is_last => {
                assert_eq!(index, u64::try_from(dropped).unwrap());
            }
            // Without the token, which is the server's last record, the permits have none.
            Err(CheckError::Entry {
                problem: Problem::Permit { .. },
                ..
            }) if is_last => {}
            Ok(report) if dropped + 1 == all.len() => assert_eq!(report.size + 1, all.len() as u64),
            other => panic!("{dropped}: {other:?}"),
        }
    }
    for first in 0..all.len() - 1 {
        let mut records = all.clone();
        records.swap(first, first + 1);
        assert!(check(&Log::of(&records)).is_err(), "{first}");
    }
}

#[test]
fn a_cut_or_rewritten_tail_is_found_by_an_earlier_checkpoint() {
    let all = good();
    let key = signer().verifier_key().clone();
    let newest = Log::of(&all);
    for size in 1..=all.len() {
        let older = Log::of(&all[..size]);
        check_extends(&newest.files, &older.checkpoint, &newest.checkpoint, &key).unwrap();
        if size < all.len() {
            let cut = check_extends(&older.files, &newest.checkpoint, &older.checkpoint, &key);
            assert!(matches!(cut, Err(ExtendsError::Shorter { .. })), "{size}");
            // The files of the shorter log can't pass for the longer one.
            assert!(
                check_log(&older.files, &newest.checkpoint, &key).is_err(),
                "{size}"
            );
        }
    }
    let mut events = gateway_events();
    events[2] = denial(9);
    let rewritten = Log::of_events(&server_events(), &events);
    check(&rewritten).unwrap();
    let grown = [
        &all[..],
        &records(Source::Gateway(id(78)), &[denial(8)])[..],
    ]
    .concat();
    for (older, newer) in [(&newest, &rewritten), (&rewritten, &Log::of(&grown))] {
        let extends = check_extends(&newer.files, &older.checkpoint, &newer.checkpoint, &key);
        assert!(
            matches!(extends, Err(ExtendsError::Rewritten(_))),
            "{extends:?}"
        );
    }
}

#[test]
fn another_logs_key_is_not_believed() {
    let log = Log::of(&good());
    let other = aims_crypto::SigningKey::generate(aims_crypto::Alg::Ed25519).unwrap();
    let other = NoteSigner::new(
        crate::testing::ORIGIN.parse().unwrap(),
        std::sync::Arc::new(other),
    )
    .unwrap();
    let checked = check_log(&log.files, &log.checkpoint, other.verifier_key());
    assert!(
        matches!(checked, Err(CheckError::Checkpoint(_))),
        "{checked:?}"
    );

    // A log that is signed with a key that it does not enrol, or retired, or enrolled for
    // something else.
    let log_key = aims_crypto::Signer::public(keys().log.as_ref());
    let mut not_enrolled = server_events();
    not_enrolled.remove(1);
    let mut retired = server_events();
    retired.push(event(
        EventKind::KeyRetired,
        90,
        key_body(log_key, "log", "server"),
    ));
    let mut for_tokens = server_events();
    for_tokens[1] = event(
        EventKind::KeyEnrolled,
        0,
        key_body(log_key, "token", "server"),
    );
    for events in [not_enrolled, retired, for_tokens] {
        let checked = check_events(&events, &[]);
        assert!(
            matches!(checked, Err(CheckError::ForeignKey)),
            "{checked:?}"
        );
    }
}

#[test]
fn what_is_not_a_record_is_found() {
    let mut all = good();
    all.push(b"{}".to_vec());
    let (index, problem) = problem(check(&Log::of(&all)));
    assert_eq!(index + 1, all.len() as u64);
    assert!(matches!(problem, Problem::Record(_)));
}

#[test]
fn a_source_that_says_what_is_not_for_it_is_found() {
    let enrolment = enrolments().remove(1);
    let forged = problem(check_events(&server_events(), &[enrolment])).1;
    let kind = EventKind::KeyEnrolled;
    assert_eq!(
        forged,
        Problem::Source {
            origin: Source::Gateway(gateway()),
            kind
        }
    );
    let mut events = server_events();
    events.push(intent(1, "read_file"));
    let forged = problem(check_events(&events, &[])).1;
    let kind = EventKind::CallIntent;
    assert_eq!(
        forged,
        Problem::Source {
            origin: Source::Server,
            kind
        }
    );
}

#[test]
fn a_key_that_is_not_what_it_says_is_found() {
    let grant_key = aims_crypto::Signer::public(&keys().grant);
    let body = key_body(grant_key, "grant", "server");
    let of = |kind, body: Object| event(kind, 50, body);
    let cases = [
        (of(EventKind::KeyEnrolled, body.clone()), KeyProblem::Twice),
        (
            of(EventKind::KeyEnrolled, body.clone().with("kid", "another")),
            KeyProblem::NotItsThumbprint,
        ),
        (
            of(EventKind::KeyEnrolled, body.clone().with("jwk", "{}")),
            KeyProblem::Unreadable,
        ),
        (
            of(EventKind::KeyRetired, body.with("kid", "another")),
            KeyProblem::NotEnrolled,
        ),
    ];
    for (event, expected) in cases {
        let mut events = server_events();
        events.push(event);
        let (index, found) = problem(check_events(&events, &[]));
        assert_eq!(index + 1, events.len() as u64);
        assert!(
            matches!(found, Problem::Key { problem, .. } if problem == expected),
            "{found:?}"
        );
    }
    let mut events = server_events();
    events.push(enrolments().remove(4));
    assert!(matches!(
        problem(check_events(&events, &[])).1,
        Problem::PersonTwice(_)
    ));
}

/// What is wrong with a log in which the task is started like this.
fn grant_problem(started: Event, before: Vec<Event>) -> GrantProblem {
    let mut events = enrolments();
    events.extend(before);
    events.push(started);
    let (index, found) = problem(check_events(&events, &[]));
    assert_eq!(index + 1, events.len() as u64);
    match found {
        Problem::Grant { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

fn with_consent(change: fn(&mut aims_model::grant::Consent)) -> Event {
    let mut consent = consent("c-1");
    change(&mut consent);
    started(
        &grant(task(), signed_consent(&consent, &keys().person)),
        &keys().grant,
    )
}

fn with_body(change: impl FnOnce(Object) -> Object) -> Event {
    let mut started = started_event();
    started.body = change(started.body);
    started
}

#[test]
fn a_grant_that_the_server_did_not_sign_is_found() {
    let keys = keys();
    let given = signed_consent(&consent("c-1"), &keys.person);
    let forged = started(&grant(task(), given.clone()), &keys.log);
    let foreign = GrantProblem::ForeignKey {
        part: "grant",
        kid: kid(aims_crypto::Signer::public(keys.log.as_ref())),
    };
    assert_eq!(grant_problem(forged, Vec::new()), foreign);
    let body = key_body(aims_crypto::Signer::public(&keys.grant), "grant", "server");
    let retired = vec![event(EventKind::KeyRetired, 1, body)];
    let found = grant_problem(started_event(), retired);
    assert!(
        matches!(found, GrantProblem::ForeignKey { part: "grant", .. }),
        "{found:?}"
    );
    let other = root_grant()
        .replace("sha256:", "sha256:0")
        .chars()
        .take(71)
        .collect::<String>();
    let renamed = with_body(|body| body.with("grant_digest", other));
    assert_eq!(grant_problem(renamed, Vec::new()), GrantProblem::Digest);
    let twice = grant_problem(started_event(), vec![started_event()]);
    assert_eq!(twice, GrantProblem::Twice);
    let jws = started_event()
        .body
        .get("grant")
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned();
    let broken = format!("{}AAAA", jws.split_at(jws.len() - 4).0);
    let digest = aims_model::grant::grant_digest(&broken).to_string();
    let broken = with_body(|body| body.with("grant", broken).with("grant_digest", digest));
    let found = grant_problem(broken, Vec::new());
    assert!(
        matches!(found, GrantProblem::Signature { part: "grant", .. }),
        "{found:?}"
    );
}

#[test]
fn a_record_that_differs_from_its_grant_is_found() {
    let cases = [
        (
            "purpose",
            with_body(|body| body.with("purpose", "something else")),
        ),
        (
            "agent",
            with_body(|body| body.with("agent", "spiffe://aims.test/agent/other")),
        ),
        ("deadline", with_body(|body| body.with("deadline", 1_u64))),
        ("revision", with_body(|body| body.with("revision", 5_u64))),
        (
            "delegation",
            with_body(|body| body.with("delegation", id::<aims_types::Delegation>(1).to_string())),
        ),
        ("task", started_event().of_task(id(6))),
        (
            "initiator",
            with_body(|body| {
                let initiator = Object::new().with("id", id::<aims_types::Person>(1).to_string());
                body.with("initiator", initiator.with("name", "mallory"))
            }),
        ),
    ];
    for (member, started) in cases {
        assert_eq!(
            grant_problem(started, Vec::new()),
            GrantProblem::Record(member)
        );
    }
}

#[test]
fn a_grant_without_the_persons_own_consent_is_found() {
    let differing = |started| grant_problem(started, Vec::new());
    let cases = [
        ("person", with_consent(|consent| consent.person = id(7))),
        (
            "audience",
            with_consent(|consent| consent.audience = "other.test".parse().unwrap()),
        ),
        (
            "agent",
            with_consent(|consent| consent.agent = "other".parse().unwrap()),
        ),
        (
            "purpose",
            with_consent(|consent| consent.purpose = "other".parse().unwrap()),
        ),
        (
            "deadline",
            with_consent(|consent| consent.deadline = crate::testing::at(99)),
        ),
        (
            "authority",
            with_consent(|consent| {
                let details = authority().details()[..1].to_vec();
                let limits = authority().limits().clone();
                consent.authority = aims_authority::Authority::new(details, limits).unwrap();
            }),
        ),
    ];
    for (member, started) in cases {
        assert_eq!(differing(started), GrantProblem::Consent(member));
    }
}

#[test]
fn a_consent_that_was_not_the_persons_or_was_used_before_is_found() {
    let differing = |started| grant_problem(started, Vec::new());
    let by_other = signed_consent(&consent("c-1"), &keys().grant);
    let found = differing(started(&grant(task(), by_other), &keys().grant));
    assert!(
        matches!(
            found,
            GrantProblem::ForeignKey {
                part: "consent",
                ..
            }
        ),
        "{found:?}"
    );
    let found = differing(started(
        &grant(task(), "no.such.consent".to_owned()),
        &keys().grant,
    ));
    assert!(
        matches!(
            found,
            GrantProblem::Unreadable {
                part: "consent",
                ..
            }
        ),
        "{found:?}"
    );

    let given = signed_consent(&consent("c-1"), &keys().person);
    let again = started(&grant(id(6), given.clone()), &keys().grant);
    assert_eq!(
        grant_problem(again, vec![started_event()]),
        GrantProblem::ConsentTwice
    );
    let mut other = grant(task(), given);
    let Delegator::Person { name, .. } = &mut other.delegator else {
        panic!("a root is from a person");
    };
    *name = "mallory".parse().unwrap();
    let found = differing(started(&other, &keys().grant));
    assert_eq!(found, GrantProblem::Person("mallory".to_owned()));
    let person = Object::new().with("person", id::<aims_types::Person>(1).to_string());
    let removed = vec![event(EventKind::PersonRemoved, 1, person)];
    let found = grant_problem(started_event(), removed);
    assert_eq!(found, GrantProblem::Person("alice".to_owned()));
}

#[test]
fn a_permit_that_rests_on_nothing_recorded_is_found() {
    let permit = |change: &dyn Fn(Object) -> Object| {
        let body = change(decision(1, "permit", "read_file"));
        let intent = event(EventKind::CallIntent, 20, body).of_task(task());
        match problem(check_events(&server_events(), &[intent])).1 {
            Problem::Permit { problem, .. } => problem,
            other => panic!("{other:?}"),
        }
    };
    let unknown = Digest::from_bytes([5; 32]);
    let root: Digest = root_grant().parse().unwrap();
    let person = id::<aims_types::Person>(3).to_string();
    let instance = id::<aims_types::Instance>(3).to_string();
    let (token, jti) = (
        Object::new().with("sha256", unknown.to_string()),
        id::<aims_types::Token>(9).to_string(),
    );
    let tool = Object::new()
        .with("server", "fs")
        .with("tool", "write_file");
    let host = Object::new()
        .with("host", "evil.example")
        .with("port", 443_u64);
    let chain = |digest: Digest| vec![Value::from(digest.to_string())];
    let found = [
        permit(&|body| body.with("chain", chain(unknown))),
        permit(&|body| body.with("agent", "spiffe://aims.test/agent/other")),
        permit(&|body| body.with("subject", Object::new().with("id", person.as_str()))),
        permit(&|body| body.with("instance", instance.as_str())),
        permit(&|body| body.with("token", token.clone().with("jti", jti.as_str()))),
        permit(&|body| body.with("resource", tool.clone())),
        permit(&|body| body.with("resource", host.clone())),
    ];
    let expected = [
        PermitProblem::UnknownGrant(unknown),
        PermitProblem::OtherAgent("spiffe://aims.test/agent/other".to_owned()),
        PermitProblem::OtherPerson(person.clone()),
        PermitProblem::UnknownInstance(instance.clone()),
        PermitProblem::UnknownToken(jti.clone()),
        PermitProblem::NotGranted(root),
        PermitProblem::NotGranted(root),
    ];
    assert_eq!(found, expected);
    let elsewhere = intent(1, "read_file").of_task(id(6));
    let found = problem(check_events(&server_events(), &[elsewhere])).1;
    let expected = PermitProblem::OtherTask(root);
    assert!(matches!(found, Problem::Permit { problem, .. } if problem == expected));
    let twice = [intent(1, "read_file"), outcome(1), intent(1, "read_file")];
    let found = problem(check_events(&server_events(), &twice)).1;
    assert!(matches!(
        found,
        Problem::Permit {
            problem: PermitProblem::Twice,
            ..
        }
    ));
    // A connection that the grant names is good.
    let host = Object::new().with("host", "pypi.org").with("port", 443_u64);
    let body = decision(1, "permit", "").with("resource", host);
    let connect = event(EventKind::CallIntent, 20, body).of_task(task());
    check_events(&server_events(), &[connect]).unwrap();
}

#[test]
fn an_outcome_without_its_permit_is_found() {
    let decision = id::<aims_types::Decision>(1).to_string();
    let expected = Problem::OutcomeWithoutIntent { decision };
    let alone = [outcome(1)];
    let twice = [intent(1, "read_file"), outcome(1), outcome(1)];
    let of_another_task = [intent(1, "read_file"), outcome(1).of_task(id(6))];
    for events in [&alone[..], &twice, &of_another_task] {
        assert_eq!(problem(check_events(&server_events(), events)).1, expected);
    }
    let mut by_another = records(Source::Server, &server_events());
    by_another.extend(records(
        Source::Gateway(gateway()),
        &[intent(1, "read_file")],
    ));
    by_another.extend(records(Source::Gateway(id(78)), &[outcome(1)]));
    assert_eq!(problem(check(&Log::of(&by_another))).1, expected);
}

#[test]
fn a_late_effect_without_its_permit_is_found() {
    let decision = id::<aims_types::Decision>(1).to_string();
    let expected = Problem::LateWithoutIntent { decision };
    let good = [intent(1, "read_file"), late(1), outcome(1), late(1)];
    check_events(&server_events(), &good).unwrap();
    let of_another_task = [intent(1, "read_file"), late(1).of_task(id(6))];
    for events in [&[late(1)][..], &of_another_task] {
        assert_eq!(problem(check_events(&server_events(), events)).1, expected);
    }
    for (member, value) in [
        ("what", Value::from("thought")),
        ("late_millis", Value::Null),
    ] {
        let mut wrong = late(1);
        wrong.body = wrong.body.with(member, value);
        let found = problem(check_events(
            &server_events(),
            &[intent(1, "read_file"), wrong],
        ))
        .1;
        let kind = EventKind::EffectLate;
        assert_eq!(found, Problem::Member { kind, member });
    }
}

#[test]
fn instances_and_tokens_belong_to_one_task_and_one_instance() {
    let launches = launches();
    let (attested, token) = (launches[5].clone(), launches[6].clone());
    let mut events = server_events();
    events.push(attested.clone());
    check_events(&events, &[]).unwrap();
    events.push(attested.of_task(id(6)));
    assert!(matches!(
        problem(check_events(&events, &[])).1,
        Problem::InstanceTwice(_)
    ));
    let mut events = server_events();
    events.push(token);
    assert!(matches!(
        problem(check_events(&events, &[])).1,
        Problem::TokenTwice(_)
    ));
}

#[test]
fn a_member_that_is_missing_is_named() {
    for member in [
        "decision_id",
        "chain",
        "agent",
        "subject",
        "instance",
        "token",
        "resource",
    ] {
        let mut body = decision(1, "permit", "read_file");
        body.remove(member).unwrap();
        let intent = event(EventKind::CallIntent, 20, body).of_task(task());
        let found = problem(check_events(&server_events(), &[intent])).1;
        assert_eq!(
            found,
            Problem::Member {
                kind: EventKind::CallIntent,
                member
            }
        );
    }
}
