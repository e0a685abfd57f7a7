//! Calls: what goes through does so unchanged, what does not is taught.

use std::time::Duration;

use aims_crypto::sha256;
use aims_json::Value;
use aims_model::{EventKind, Record};
use aims_types::Clock;

use super::wide;
use crate::testing::agent::Agent;
use crate::testing::{POLICY, World, limits, materials};

fn text<'v>(value: &'v Value, path: &[&str]) -> &'v str {
    let found = path.iter().try_fold(value, |value, name| value.get(name));
    found.and_then(Value::as_str).unwrap_or_default()
}

#[tokio::test]
async fn arguments_arrive_byte_for_byte_and_the_result_comes_back_so() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let arguments = r#"{ "path" : "/srv/a\u002fb" ,"n":7 }"#;
    let answer = agent.call(42, "echo", arguments).await;
    assert_eq!(
        answer.texts,
        [
            r#"{"jsonrpc":"2.0","id":42,"result":{"content":[{"type":"text","text":"done"}],  "kept": 1.50}}"#
        ]
    );
    let seen = world.bench.seen.lock().unwrap().clone();
    let call = seen
        .iter()
        .find(|line| line.contains("tools/call"))
        .unwrap();
    assert!(call.contains(arguments), "{call}");
    assert!(
        !call.contains("\"p42\"") && !call.contains("\"id\":42"),
        "{call}"
    );
    let intents = world.bodies(EventKind::CallIntent);
    let outcomes = world.bodies(EventKind::CallOutcome);
    let [intent] = intents.as_slice() else {
        panic!("{intents:?}")
    };
    let [outcome] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    assert_eq!(
        text(intent, &["arguments"]),
        sha256(arguments.as_bytes()).to_string()
    );
    assert_eq!(text(intent, &["agent"]), "spiffe://aims.test/agent/notes");
    assert_eq!(text(intent, &["subject", "name"]), "alice");
    assert_eq!(text(intent, &["resource", "tool"]), "echo");
    assert_eq!(text(intent, &["decision"]), "permit");
    assert_eq!(
        text(intent, &["decision_id"]),
        text(outcome, &["decision_id"])
    );
    assert_eq!(text(outcome, &["outcome"]), "ok");
    let principals = intent.get("principals").unwrap().as_array().unwrap();
    let names: Vec<&str> = principals
        .iter()
        .map(|one| text(one, &["principal"]))
        .collect();
    assert_eq!(names, ["person:alice", "agent:notes"]);
}

#[tokio::test]
async fn the_intent_is_durable_before_the_tool_sees_the_call() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let response = agent.begin(1, "hang", "{}").await;
    world.bench.hanging.notified().await;
    assert_eq!(world.bodies(EventKind::CallIntent).len(), 1);
    assert_eq!(world.bodies(EventKind::CallOutcome).len(), 0);
    world.bench.release.notify_one();
    let answer = crate::testing::agent::Answer::read(response).await;
    assert!(answer.result().is_some());
    assert_eq!(
        world.bodies(EventKind::CallOutcome).len(),
        1,
        "durable before the answer"
    );
}

#[tokio::test]
async fn what_a_decision_used_is_on_disk_only_under_the_key_of_its_task() {
    const MARKER: &str = "marker-in-an-argument";
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let arguments = format!(r#"{{"path":"/srv/{MARKER}"}}"#);
    assert!(agent.call(1, "echo", &arguments).await.result().is_some());
    let files = std::fs::read_dir(world.dir.path().join("wal")).unwrap();
    let files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let written: Vec<u8> = files.flatten().collect();
    let holds = |bytes: &[u8]| written.windows(bytes.len()).any(|window| window == bytes);
    assert!(holds(b"call.intent") && !holds(MARKER.as_bytes()));
    assert!(!holds(materials().expose()));
    let intent = world.gateway.durable().into_iter();
    let mut intent = intent.filter_map(|one| Some((one.material?, one.record)));
    let (sealed, record) = intent.next().unwrap();
    let body = Record::decode(&record).unwrap().event.body;
    let commitment = text(&Value::from(body), &["materials"]).parse().unwrap();
    let used = materials()
        .open(task.grant.task, &commitment, &sealed)
        .unwrap();
    assert!(!holds(&used.salt), "the salt is as secret");
    assert!(String::from_utf8(used.bytes).unwrap().contains(MARKER));
}

#[tokio::test]
async fn progress_comes_under_the_agents_own_token() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let answer = agent.call(5, "progress", "{}").await;
    let tokens: Vec<&str> = answer.messages[..3]
        .iter()
        .map(|message| text(message, &["params", "progressToken"]))
        .collect();
    assert_eq!(tokens, ["p5"; 3]);
    assert_eq!(
        answer.messages[3].get("id").and_then(Value::as_u64),
        Some(5)
    );
}

#[tokio::test]
async fn a_denial_teaches_and_is_durable() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let answer = agent.call(1, "echo", r#"{"path":"/etc/passwd"}"#).await;
    assert_eq!(answer.code(), aims_mcp::code::DENIED);
    assert_eq!(answer.rule(), "argument_outside_path");
    let data = answer.error().unwrap().get("data").unwrap();
    assert_eq!(text(data, &["argument"]), "path");
    assert!(text(data, &["would_allow"]).contains("/srv"), "{data}");
    assert!(!text(data, &["how_to_ask"]).is_empty());
    let denials = world.bodies(EventKind::CallDenied);
    assert_eq!(
        text(&denials[0], &["decision_id"]),
        text(data, &["decision_id"])
    );
    let unknown = agent.call(2, "echo", r#"{"other":1}"#).await;
    assert_eq!(unknown.rule(), "argument_not_allowed");
}

#[tokio::test]
async fn a_tool_outside_the_task_is_answered_as_one_that_does_not_exist() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    assert!(!agent.tools().await.contains(&"secret".to_owned()));
    let hidden = agent.call(1, "secret", "{}").await;
    let absent = agent.call(1, "absent", "{}").await;
    assert_eq!((hidden.code(), absent.code()), (-32602, -32602));
    let shape = |answer: &crate::testing::agent::Answer, tool: &str| {
        let decision = text(
            answer.error().unwrap().get("data").unwrap(),
            &["decision_id"],
        );
        answer.texts[0]
            .replace(decision, "ID")
            .replace(tool, "TOOL")
    };
    assert_eq!(shape(&hidden, "secret"), shape(&absent, "absent"));
    assert_eq!(world.bodies(EventKind::CallDenied).len(), 2);
}

#[tokio::test]
async fn parallel_calls_never_pass_the_budget() {
    let world = World::new().await;
    let task = world.task(1, &wide(r#"{"uses":50}"#));
    let agents = [
        Agent::open(&world, &task, 1).await,
        Agent::open(&world, &task, 2).await,
        Agent::open(&world, &task, 3).await,
    ];
    let calls = (0..66_u64).map(|n| {
        let agent = &agents[usize::try_from(n % 3).unwrap()];
        agent.call(n, "echo", "{}")
    });
    let answers = futures_util::future::join_all(calls).await;
    let allowed = answers
        .iter()
        .filter(|answer| answer.result().is_some())
        .count();
    let exhausted = answers
        .iter()
        .filter(|answer| answer.rule() == "uses_exhausted")
        .count();
    assert_eq!((allowed, exhausted), (50, 16));
    let seen = world.bench.seen.lock().unwrap().clone();
    assert_eq!(
        seen.iter()
            .filter(|line| line.contains("tools/call"))
            .count(),
        50
    );
}

#[tokio::test]
async fn a_call_after_the_deadline_is_refused() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let mut agent = Agent::open(&world, &task, 1).await;
    world.pass(Duration::from_hours(2)).await;
    agent.token.common.issued_at = world.clock.now();
    agent.token.common.expires_at = world.clock.now().plus(Duration::from_mins(5));
    assert_eq!(agent.call(1, "echo", "{}").await.status, 401);
}

#[tokio::test]
async fn policies_forbid_what_authority_allows_and_an_erroring_forbid_denies() {
    let policy = format!(
        r#"{POLICY}
        @id("no-echo") forbid (principal is Agent, action == Action::"bench/echo", resource);
        @id("no-big") forbid (principal, action == Action::"bench/progress", resource)
            when {{ context.arguments has n && context.arguments.n > 3 }};
        @id("broken") forbid (principal, action == Action::"bench/error", resource)
            when {{ context.arguments has n && context.arguments.n * 9223372036854775807 > 0 }};
        @id("confined") @requirement("assurance:confined")
            permit (principal, action == Action::"bench/twice", resource);
        "#
    );
    let world = World::with(limits(), &policy).await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let tools = agent.tools().await;
    assert!(
        !tools.contains(&"echo".to_owned()),
        "forbidden whatever its arguments"
    );
    assert!(tools.contains(&"progress".to_owned()));
    for (tool, arguments, rule) in [
        ("echo", "{}", "policy"),
        ("progress", r#"{"n":4}"#, "policy"),
        ("error", r#"{"n":2}"#, "policy"),
        ("progress", r#"{"n":3}"#, ""),
        ("twice", "{}", ""),
    ] {
        let answer = agent.call(1, tool, arguments).await;
        assert_eq!(answer.rule(), rule, "{tool} {arguments}: {answer:?}");
    }
}

#[tokio::test]
async fn a_policy_on_the_number_of_calls_counts_exactly() {
    let policy = format!(
        "{POLICY} @id(\"few\") forbid (principal, action in Action::\"call\", resource) \
         when {{ context.session.calls >= 5 }};"
    );
    let world = World::with(limits(), &policy).await;
    let task = world.task(1, &wide("{}"));
    let agents = [
        Agent::open(&world, &task, 1).await,
        Agent::open(&world, &task, 1).await,
    ];
    let calls = (0..12_u64).map(|n| agents[usize::try_from(n % 2).unwrap()].call(n, "echo", "{}"));
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.result().is_some())
            .count(),
        5
    );
}

#[tokio::test]
async fn an_agent_that_goes_away_or_cancels_takes_its_call_back() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let response = agent.begin(1, "hang", "{}").await;
    world.bench.hanging.notified().await;
    drop(response);
    let cancelled = |n: usize| {
        let world = &world;
        async move {
            while world.bodies(EventKind::CallOutcome).len() < n {
                tokio::task::yield_now().await;
            }
            text(&world.bodies(EventKind::CallOutcome)[n - 1], &["outcome"]).to_owned()
        }
    };
    assert_eq!(cancelled(1).await, "cancelled");
    world.bench.release.notify_one();
    let response = agent.begin(2, "hang", "{}").await;
    world.bench.hanging.notified().await;
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#;
    assert_eq!(agent.post(note).await.status, 202);
    let answer = crate::testing::agent::Answer::read(response).await;
    assert!(answer.messages.is_empty() && !answer.broken, "{answer:?}");
    assert_eq!(cancelled(2).await, "cancelled");
    world.bench.release.notify_one();
    assert!(
        agent.call(3, "echo", "{}").await.result().is_some(),
        "the session goes on"
    );
    let seen = world.bench.seen.lock().unwrap().join("\n");
    assert!(seen.contains("notifications/cancelled"));
    assert!(
        !seen.contains(r#""requestId":2,"#),
        "the tool knows the gateway's ids"
    );
}

#[tokio::test]
async fn two_requests_of_one_id_are_not_both_under_way() {
    let world = World::new().await;
    let task = world.task(1, &wide("{}"));
    let agent = Agent::open(&world, &task, 1).await;
    let first = agent.begin(1, "hang", "{}").await;
    world.bench.hanging.notified().await;
    assert_eq!(agent.call(1, "echo", "{}").await.code(), -32600);
    world.bench.release.notify_one();
    assert!(
        crate::testing::agent::Answer::read(first)
            .await
            .result()
            .is_some()
    );
    assert!(agent.call(1, "echo", "{}").await.result().is_some());
}
