//! Calls that wait for a person.

use std::time::Duration;

use aims_json::Value;
use aims_model::approval::{Answer as Signed, Stage};
use aims_model::{Approval, EventKind, Subject};
use aims_types::{Clock, Id};

use super::wide;
use crate::GatewayLimits;
use crate::testing::agent::{Agent, Answer};
use crate::testing::{POLICY, World, approver, limits, person};

/// Long enough that a test answers within it.
const LONG: Duration = Duration::from_mins(1);
/// Over before anybody answers.
const SHORT: Duration = Duration::from_millis(1);

fn policy() -> String {
    format!(
        r#"{POLICY} @id("ask-first") @requirement("approval")
        permit (principal, action == Action::"bench/echo", resource);"#
    )
}

fn waiting(approval_wait: Duration) -> GatewayLimits {
    GatewayLimits {
        approval_wait,
        ..limits()
    }
}

async fn world(wait: Duration) -> World {
    World::with(waiting(wait), &policy()).await
}

fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

fn text(value: &Value, path: &[&str]) -> String {
    let found = at(value, path).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

/// The stage that a result tells of a request; empty for the tool's own result.
fn stage(answer: &Answer) -> String {
    let result = answer.result().unwrap_or_else(|| panic!("{answer:?}"));
    let stage = text(result, &["_meta", "aims/approval", "stage"]);
    let is_error = at(result, &["isError"]).and_then(Value::as_bool);
    assert_eq!(is_error == Some(true), !stage.is_empty(), "{answer:?}");
    stage
}

fn intents(world: &World) -> Vec<Value> {
    world.bodies(EventKind::CallIntent)
}

fn reached_the_tool(world: &World) -> usize {
    let seen = world.bench.seen.lock().unwrap();
    seen.iter()
        .filter(|line| line.contains("tools/call"))
        .count()
}

#[tokio::test]
async fn a_call_waits_and_goes_on_within_the_same_request_once_it_is_approved() {
    let world = world(LONG).await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let approving = async {
        let approval = world.asked(0).await;
        assert_eq!(intents(&world).len(), 0);
        world.approve(&approval).await;
        approval
    };
    let (answer, approval) = tokio::join!(agent.call(1, "echo", r#"{"n":1}"#), approving);
    assert_eq!(stage(&answer), "", "the tool's own result");
    let news = answer.messages.first().unwrap();
    assert_eq!(text(news, &["params", "progressToken"]), "p1");
    assert!(text(news, &["params", "message"]).contains(&approval.id.to_string()));
    assert_eq!(approval.asked.arguments, r#"{"n":1}"#);
    assert_eq!(approval.asked.requirements, ["ask-first".parse().unwrap()]);
    let recorded = intents(&world);
    let [intent] = recorded.as_slice() else {
        panic!("{recorded:?}")
    };
    assert_eq!(text(intent, &["approval", "id"]), approval.id.to_string());
    assert_eq!(text(intent, &["approval", "by"]), approver().to_string());
    assert_eq!(
        text(intent, &["approval", "digest"]),
        approval.digest.to_string()
    );
    let denied = world.bodies(EventKind::CallDenied);
    assert_eq!(text(&denied[0], &["decision"]), "step_up");
    assert_eq!(
        text(&denied[0], &["approval", "id"]),
        approval.id.to_string()
    );
    assert_ne!(
        text(&denied[0], &["decision_id"]),
        text(intent, &["decision_id"])
    );
}

#[tokio::test]
async fn a_parked_call_passes_once_when_it_is_repeated_and_the_next_one_is_a_new_question() {
    let world = world(SHORT).await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let parked = agent.call(1, "echo", "{}").await;
    assert_eq!(stage(&parked), "pending");
    let approval = world.asked(0).await;
    let told = text(parked.result().unwrap(), &["_meta", "aims/approval", "id"]);
    assert_eq!(told, approval.id.to_string());
    assert_eq!(stage(&agent.call(2, "echo", "{}").await), "pending");
    assert_eq!(world.questions(), 1, "it joined the same request");
    world.approve(&approval).await;
    assert_eq!(stage(&agent.call(3, "echo", "{}").await), "");
    loop {
        let used = world.asked(0).await;
        if matches!(used.stage, Stage::Used { .. }) {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(stage(&agent.call(4, "echo", "{}").await), "pending");
    assert_eq!((world.questions(), intents(&world).len()), (2, 1));
}

#[tokio::test]
async fn another_byte_another_policy_another_task_is_another_question() {
    let world = world(SHORT).await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    agent.call(1, "echo", r#"{"n":1}"#).await;
    world.approve(&world.asked(0).await).await;
    assert_eq!(
        stage(&agent.call(2, "echo", r#"{"n": 1}"#).await),
        "pending"
    );
    let same = world.task(2, &wide("{}"));
    let other = Agent::open(&world, &same, 2).await;
    assert_eq!(stage(&other.call(3, "echo", r#"{"n":1}"#).await), "pending");
    world
        .change(|state| {
            let mut policy = (*state.policy).clone();
            policy.id = Id::from_u128(301);
            state.policy = policy.into();
        })
        .await;
    assert_eq!(stage(&agent.call(4, "echo", r#"{"n":1}"#).await), "pending");
    assert_eq!((world.questions(), reached_the_tool(&world)), (4, 0));
}

#[tokio::test]
async fn the_next_instance_of_the_same_delegation_asks_the_same_question() {
    let world = world(SHORT).await;
    let task = world.task(1, &wide("{}"));
    let first = Agent::open(&world, &task, 1).await;
    assert_eq!(stage(&first.call(1, "echo", "{}").await), "pending");
    let next = Agent::open(&world, &task, 2).await;
    assert_eq!(stage(&next.call(1, "echo", "{}").await), "pending");
    assert_eq!(world.questions(), 1);
    world.approve(&world.asked(0).await).await;
    world.cut(Subject::Instance(first.instance())).await;
    assert_eq!(stage(&next.call(2, "echo", "{}").await), "");
    let instance = text(&intents(&world)[0], &["instance"]);
    assert_eq!(instance, next.instance().to_string());
}

#[tokio::test]
async fn a_policy_that_changes_while_a_call_waits_ends_the_question() {
    let world = world(LONG).await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let changing = async {
        world.asked(0).await;
        world
            .change(|state| {
                let mut policy = (*state.policy).clone();
                policy.id = Id::from_u128(301);
                state.policy = policy.into();
            })
            .await;
    };
    let (answer, ()) = tokio::join!(agent.call(1, "echo", "{}"), changing);
    assert_eq!(stage(&answer), "changed");
}

#[tokio::test]
async fn racing_identical_calls_use_an_approval_exactly_once() {
    for wait in [SHORT, LONG] {
        let world = world(wait).await;
        let task = world.task(1, &wide("{}"));
        let agent = Agent::open(&world, &task, 1).await;
        let call = |id| agent.call(id, "echo", "{}");
        let answers = if wait == SHORT {
            call(1).await;
            world.approve(&world.asked(0).await).await;
            futures_util::future::join_all([call(2), call(3), call(4)]).await
        } else {
            let calls = futures_util::future::join_all([call(2), call(3), call(4)]);
            let approving = async {
                while world.bodies(EventKind::CallDenied).len() < 3 {
                    tokio::task::yield_now().await;
                }
                world.approve(&world.asked(0).await).await;
                // Whoever is late may find that the server knows of the use, and ask again.
                while world.questions() < 3 && intents(&world).is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            let (answers, ()) = tokio::join!(calls, approving);
            answers
        };
        let passed = answers
            .iter()
            .filter(|answer| stage(answer).is_empty())
            .count();
        assert_eq!((passed, intents(&world).len()), (1, 1), "{answers:?}");
        assert_eq!(reached_the_tool(&world), 1);
    }
}

fn ends(now: aims_types::Timestamp) -> [(Stage, &'static str); 3] {
    let denied = Stage::Denied {
        at: now,
        by: approver(),
        answer: String::new(),
        reason: "not today".to_owned(),
    };
    let withdrawn = Stage::Withdrawn {
        at: now,
        why: "the task has ended".to_owned(),
    };
    [
        (denied, "denied"),
        (Stage::TimedOut { at: now }, "timed_out"),
        (withdrawn, "withdrawn"),
    ]
}

#[tokio::test]
async fn a_refusal_a_deadline_and_a_withdrawal_are_results() {
    let world = world(LONG).await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    for (n, (end, name)) in ends(world.clock.now()).into_iter().enumerate() {
        let ending = async {
            let approval = world.asked(n).await;
            world.set(approval.id, end).await;
        };
        let (answer, ()) = tokio::join!(agent.call(1, "echo", "{}"), ending);
        assert_eq!(stage(&answer), name);
        if name == "denied" {
            assert!(answer.texts.last().unwrap().contains("not today"));
        }
    }
    let denied = world.bodies(EventKind::CallDenied);
    let denied = denied
        .iter()
        .filter(|body| text(body, &["decision"]) == "deny");
    assert_eq!((denied.count(), intents(&world).len()), (3, 0));
}

#[tokio::test]
async fn who_was_not_there_when_it_was_refused_is_told_once_before_anybody_is_asked_again() {
    let world = world(SHORT).await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    for (n, (end, name)) in ends(world.clock.now()).into_iter().enumerate() {
        assert_eq!(stage(&agent.call(1, "echo", "{}").await), "pending");
        let approval = world.asked(n).await;
        world.set(approval.id, end).await;
        assert_eq!(stage(&agent.call(2, "echo", "{}").await), name);
    }
    assert_eq!(world.questions(), 3);
}

#[tokio::test]
async fn an_answer_that_does_not_hold_lets_nothing_happen_whatever_the_server_says() {
    type Case = (&'static str, fn(&mut Signed), bool, bool);
    let cases: [Case; 7] = [
        ("the initiator's own", |_| {}, true, true),
        ("signed by somebody else", |_| {}, false, true),
        ("a refusal", |answer| answer.approve = false, false, false),
        (
            "of another request",
            |answer| answer.approval = Id::from_u128(9),
            false,
            false,
        ),
        (
            "of another call",
            |answer| answer.digest = aims_crypto::sha256(b"other"),
            false,
            false,
        ),
        (
            "in another domain",
            |answer| answer.audience = "b.test".parse().unwrap(),
            false,
            false,
        ),
        (
            "somebody else's",
            |answer| answer.person = person().id,
            false,
            false,
        ),
    ];
    for (what, spoil, own, initiators_key) in cases {
        let world = world(SHORT).await;
        let task = world.task(1, &wide("{}"));
        let agent = Agent::open(&world, &task, 1).await;
        agent.call(1, "echo", "{}").await;
        let approval: Approval = world.asked(0).await;
        let by = if own { person().id } else { approver() };
        let mut answer = world.answer(&approval, by);
        spoil(&mut answer);
        let key = if initiators_key {
            &world.keys.person
        } else {
            &world.keys.approver
        };
        world.approve_with(&approval, by, &answer, key).await;
        assert_eq!(
            stage(&agent.call(2, "echo", "{}").await),
            "invalid",
            "{what}"
        );
        assert_eq!(
            (intents(&world).len(), reached_the_tool(&world)),
            (0, 0),
            "{what}"
        );
    }
}

#[tokio::test]
async fn an_approval_falls_with_its_person_their_key_and_its_deadline() {
    let subjects = |world: &World| {
        let key = crate::testing::kid(&world.keys.approver);
        [Subject::Person(approver()), Subject::Key(key)]
    };
    for n in 0..2 {
        let world = world(SHORT).await;
        let task = world.task(1, &wide("{}"));
        let agent = Agent::open(&world, &task, 1).await;
        agent.call(1, "echo", "{}").await;
        world.approve(&world.asked(0).await).await;
        world.cut(subjects(&world)[n].clone()).await;
        assert_eq!(stage(&agent.call(2, "echo", "{}").await), "invalid");
    }
    let world = world(SHORT).await;
    let task = world.task(1, &wide("{}"));
    let first = Agent::open(&world, &task, 1).await;
    first.call(1, "echo", "{}").await;
    world.approve(&world.asked(0).await).await;
    world.pass(Duration::from_mins(16)).await;
    let mut agent = Agent::new(&world, &task, 1);
    agent.token.common.issued_at = world.clock.now();
    agent.token.common.expires_at = world.clock.now().plus(Duration::from_mins(5));
    let opened = agent.initialize().await;
    let session = opened.headers.get("mcp-session-id").unwrap();
    agent.session = Some(session.to_str().unwrap().to_owned());
    assert_ne!(stage(&agent.call(2, "echo", "{}").await), "");
    assert_eq!(intents(&world).len(), 0);
}

#[tokio::test]
async fn an_approval_that_was_used_stays_used_after_a_restart() {
    let before = world(SHORT).await;
    let task = before.task(1, &wide("{}"));
    let agent = Agent::open(&before, &task, 1).await;
    agent.call(1, "echo", "{}").await;
    let approval = before.asked(0).await;
    before.approve(&approval).await;
    let approved = before.asked(0).await.stage;
    assert_eq!(stage(&agent.call(2, "echo", "{}").await), "");
    drop(agent);
    assert!(before.gateway.drain(Duration::from_secs(30)).await);
    let (keys, parts) = before.into_parts();
    let world = World::start(waiting(SHORT), &policy(), keys, parts).await;
    // A server that lost the use offers the approval again.
    world.set(approval.id, approved).await;
    let again = Agent::open(&world, &task, 1).await;
    assert_eq!(stage(&again.call(1, "echo", "{}").await), "used");
    assert_eq!((world.questions(), intents(&world).len()), (1, 1));
}

#[tokio::test]
async fn a_cut_off_ends_the_wait_at_once_and_nothing_had_gone_out() {
    let world = world(LONG).await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let response = agent.begin(1, "echo", "{}").await;
    let approval = world.asked(0).await;
    let applied = world.kill(Subject::Task(task.id)).await;
    assert_eq!((applied.ended.calls, applied.ended.servers), (1, 1));
    assert_eq!(applied.ended.unknown, []);
    let answer = Answer::read(response).await;
    assert!(answer.broken && answer.result().is_none(), "{answer:?}");
    world.approve(&approval).await;
    assert_eq!((intents(&world).len(), reached_the_tool(&world)), (0, 0));
}

#[tokio::test]
async fn who_takes_the_call_back_or_ends_the_session_waits_no_longer() {
    let world = world(LONG).await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let response = agent.begin(1, "echo", "{}").await;
    world.asked(0).await;
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert_eq!(agent.post(note).await.status, 202);
    let answer = Answer::read(response).await;
    assert!(answer.result().is_none() && !answer.broken, "{answer:?}");
    let response = agent.begin(2, "echo", "{}").await;
    let request = agent.request("DELETE", "");
    assert_eq!(agent.send(request).await.status, 204);
    let answer = Answer::read(response).await;
    assert_eq!(answer.code(), aims_mcp::code::UPSTREAM_FAILED, "{answer:?}");
    assert_eq!((world.questions(), intents(&world).len()), (1, 0));
}

#[tokio::test]
async fn everything_is_decided_again_when_the_approval_comes() {
    let world = world(LONG).await;
    let task = world.task(1, &wide(r#"{"uses":1}"#));
    let agent = Agent::open(&world, &task, 1).await;
    let spending = async {
        let approval = world.asked(0).await;
        assert!(agent.call(2, "progress", "{}").await.result().is_some());
        world.approve(&approval).await;
    };
    let (answer, ()) = tokio::join!(agent.call(1, "echo", "{}"), spending);
    assert_eq!(answer.rule(), "uses_exhausted", "{answer:?}");
    let again = agent.call(3, "echo", "{}").await;
    assert_eq!(
        again.rule(),
        "uses_exhausted",
        "the approval was given back: {again:?}"
    );
    assert_eq!(intents(&world).len(), 1);
    assert!(text(&intents(&world)[0], &["approval", "id"]).is_empty());
}

#[tokio::test]
async fn without_the_server_nobody_is_asked_and_nothing_happens() {
    let world = world(LONG).await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    world
        .control
        .down
        .store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(stage(&agent.call(1, "echo", "{}").await), "not_asked");
    world
        .control
        .down
        .store(false, std::sync::atomic::Ordering::SeqCst);
    let long = format!(r#"{{"n":{}1}}"#, " ".repeat(17 << 10));
    let answer = agent.call(2, "echo", &long).await;
    assert_eq!(
        answer.code(),
        aims_mcp::code::STEP_UP_REQUIRED,
        "{answer:?}"
    );
    assert_eq!((world.questions(), intents(&world).len()), (0, 0));
}
