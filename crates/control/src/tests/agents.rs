//! Registration and life cycle of agents.

use aims_model::evidence::Arguments;
use aims_model::{Expected, Role, Subject};
use aims_types::Name;

use super::world::{World, agent, launch};
use crate::{Proof, Refused, RegisterAgent, SHARED_NAMES};

fn evidence(request: &mut RegisterAgent) -> &mut Expected {
    match &mut request.evidence {
        Proof::Program(expected) => expected,
        Proof::Keys { .. } | Proof::Service { .. } => panic!("an agent without a program"),
    }
}

#[tokio::test]
async fn what_is_missing_or_borrowed_is_refused_with_the_reason_and_recorded() {
    type Change = fn(&mut RegisterAgent);
    let (world, _) = World::ready().await;
    world.enrol("ada", Role::Auditor).await;
    let cx = world.cx(&world.operator);
    let notes: Name = "notes".parse().unwrap();
    world.plane.agent_retire(&cx, &notes).await.unwrap();
    let before = world.revision().await;
    let changes: [(&str, Change); 20] = [
        ("missing_owner", |r| r.owner = None),
        ("missing_owner", |r| r.owner = Some("  ".to_owned())),
        ("missing_purpose", |r| r.purpose = None),
        ("missing_environment", |r| r.environment = None),
        ("missing_evidence", |r| evidence(r).program.path.clear()),
        ("bad_owner", |r| r.owner = Some("nobody-here".to_owned())),
        ("bad_owner", |r| r.owner = Some("ada".to_owned())),
        ("bad_owner", |r| {
            r.owner = Some("Not A Name\u{1b}".to_owned());
        }),
        ("bad_purpose", |r| r.purpose = Some("two\nlines".to_owned())),
        ("bad_environment", |r| {
            r.environment = Some("Production!".to_owned());
        }),
        ("bad_name", |r| r.name = "No Name".to_owned()),
        ("borrowed_identity", |r| r.name = "mia".to_owned()),
        ("borrowed_identity", |r| r.name = "git".to_owned()),
        ("borrowed_identity", |r| r.name = SHARED_NAMES[0].to_owned()),
        ("name_taken", |r| r.name = "notes".to_owned()),
        ("bad_evidence", |r| {
            evidence(r).program.path = "agent.py".to_owned();
        }),
        ("bad_evidence", |r| {
            let program = evidence(r).program.clone();
            evidence(r).files.push(program);
        }),
        ("bad_evidence", |r| {
            evidence(r).files = vec![evidence(r).program.clone(); 65];
        }),
        ("bad_evidence", |r| {
            evidence(r).arguments = Arguments::Exactly(vec![String::new(); 257]);
        }),
        ("bad_evidence", |r| {
            evidence(r).arguments = Arguments::Exactly(vec!["x".repeat(4096); 16]);
        }),
    ];
    for (code, change) in changes {
        let mut request = agent("fresh", "mia");
        change(&mut request);
        let error = world.plane.agent_register(&cx, request).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(world.refused().await, code);
    }
    assert_eq!(world.revision().await, before);
    assert_eq!(world.plane.agents(&cx).await.unwrap().len(), 1);
    world
        .plane
        .agent_register(&cx, agent("fresh", "mia"))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_interpreter_may_be_one_of_the_trees() {
    let (world, _) = World::ready().await;
    let mut request = agent("system-wide", "mia");
    let expected = evidence(&mut request);
    expected.interpreter = expected.trees.first().cloned();
    assert!(expected.interpreter.is_some());
    let cx = world.cx(&world.operator);
    world.plane.agent_register(&cx, request).await.unwrap();
}

#[tokio::test]
async fn an_owner_is_named_by_name_or_id() {
    let (world, mia) = World::ready().await;
    let by_id = world.agent("by-id", &mia.id.to_string()).await;
    let by_name = world.agent("by-name", "mia").await;
    assert_eq!((by_id.owner, by_name.owner), (mia.id, mia.id));
    assert_eq!(by_id.spiffe_id.as_str(), "spiffe://aims.local/agent/by-id");
}

#[tokio::test]
async fn a_name_is_never_used_again_after_retirement() {
    let (world, _) = World::ready().await;
    let (cx, notes) = (world.cx(&world.operator), "notes".parse().unwrap());
    world.plane.agent_retire(&cx, &notes).await.unwrap();
    let error = world
        .plane
        .agent_register(&cx, agent("notes", "mia"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("retired"), "{error}");
    let tombstone = world.plane.agents(&cx).await.unwrap();
    assert_eq!(tombstone[0].stage.as_str(), "retired");
    for error in [
        world
            .plane
            .agent_activate(&cx, &notes)
            .await
            .unwrap_err()
            .code(),
        world
            .plane
            .agent_suspend(&cx, &notes)
            .await
            .unwrap_err()
            .code(),
        world
            .plane
            .agent_retire(&cx, &notes)
            .await
            .unwrap_err()
            .code(),
    ] {
        assert_eq!(error, "invalid_transition");
    }
}

#[tokio::test]
async fn suspending_and_retiring_cut_the_agent_off_for_what_was_minted_before() {
    let (world, mia) = World::ready().await;
    let (cx, notes) = (world.cx(&world.operator), "notes".parse().unwrap());
    let task = world.start(&mia, "notes").await;
    let id = task.task.agent;
    let minted = world.revision().await;
    let done = world.plane.agent_suspend(&cx, &notes).await.unwrap();
    assert!(world.gateway.cuts(&Subject::Agent(id), minted));
    assert!(
        !world
            .gateway
            .cuts(&Subject::Agent(id), done.revision.next())
    );
    world.plane.agent_activate(&cx, &notes).await.unwrap();
    // The old task stays dead; a new one lives.
    let dead = world
        .plane
        .run_request(&world.cx(&mia), launch(task.task.id))
        .await
        .unwrap_err();
    assert_eq!(dead.code(), "cut_off");
    world.running(&mia, "notes").await;
    let minted = world.revision().await;
    world.plane.agent_retire(&cx, &notes).await.unwrap();
    assert!(world.gateway.cuts(&Subject::Agent(id), minted));
    let unknown = world
        .plane
        .agent_retire(&cx, &"zoe".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), "unknown_agent");
}
