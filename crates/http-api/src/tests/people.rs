//! Every route by every role, and what each leaves on record.

use crate::{Access, ROUTES, Route};
use aims_model::{EventKind, Receipt, Role, Subject};
use http::StatusCode;

use super::stage::Stage;
use super::world::Somebody;

/// What the auditor, a member who owns nothing, and the owner of the agent are told.
fn answers(route: &Route) -> [Option<(u16, &'static str)>; 3] {
    const ROLE: Option<(u16, &str)> = Some((403, "role_not_allowed"));
    const OWNER: Option<(u16, &str)> = Some((403, "not_owner"));
    const UNKNOWN: Option<(u16, &str)> = Some((404, "unknown_task"));
    match (route.method, route.path) {
        ("GET", "/v1/people" | "/v1/points") => [None, ROLE, ROLE],
        // There is no such permit here; who may see one is held by the use case's own tests.
        ("GET", "/v1/decisions/{id}/proof") => [Some((404, "unknown_decision")); 3],
        ("GET", "/v1/approvals/{id}") => [None, Some((404, "unknown_approval")), None],
        ("GET", "/v1/tasks/{id}" | "/v1/tasks/{id}/trace") => [None, UNKNOWN, None],
        ("GET", _) => [None, None, None],
        ("POST", "/v1/tasks") => [ROLE, OWNER, None],
        (
            "POST",
            "/v1/tasks/{id}/end"
            | "/v1/tasks/{id}/freeze"
            | "/v1/tasks/{id}/resume"
            | "/v1/kills"
            | "/v1/tasks/{id}/erase"
            | "/v1/runs",
        ) => [ROLE, UNKNOWN, None],
        _ => [ROLE, ROLE, ROLE],
    }
}

/// What a change leaves on record, and whether it takes a revision.
fn event(route: &Route) -> (EventKind, bool) {
    match route.path {
        "/token" => (EventKind::TokenIssued, false),
        "/v1/people" => (EventKind::PersonEnrolled, true),
        "/v1/people/{name}/remove" => (EventKind::PersonRemoved, true),
        "/v1/agents" => (EventKind::AgentRegistered, true),
        "/v1/servers" => (EventKind::ServerRegistered, true),
        "/v1/upstreams" => (EventKind::UpstreamRegistered, true),
        "/v1/upstreams/{name}/rotate" => (EventKind::UpstreamRotated, true),
        "/v1/upstreams/{name}/retire" => (EventKind::UpstreamRetired, true),
        "/v1/services" => (EventKind::ServiceRegistered, true),
        "/v1/services/{name}/retire" => (EventKind::ServiceRetired, true),
        "/v1/policy" => (EventKind::PolicyActivated, true),
        "/v1/tasks" => (EventKind::TaskStarted, true),
        "/v1/tasks/{id}/end" => (EventKind::TaskEnded, true),
        "/v1/tasks/{id}/freeze" => (EventKind::TaskFrozen, true),
        "/v1/tasks/{id}/resume" => (EventKind::TaskResumed, true),
        "/v1/tasks/{id}/erase" => (EventKind::TaskErased, false),
        "/v1/kills" => (EventKind::Killed, true),
        "/v1/approvals/{id}/answer" => (EventKind::ApprovalAnswered, true),
        "/v1/join-tokens" => (EventKind::JoinAllowed, false),
        "/v1/runs" => (EventKind::RunRequested, false),
        path if path.starts_with("/v1/agents/") => (EventKind::AgentStageChanged, true),
        path => panic!("`{path}` is not in this table"),
    }
}

#[tokio::test]
async fn every_route_is_open_to_exactly_the_roles_of_the_table() {
    let mut refused = 0;
    for route in ROUTES.iter().filter(|route| route.access == Access::Person) {
        let stage = Stage::new().await;
        let ada = stage.world.enrol("ada", Role::Auditor).await;
        let max = stage.world.enrol("max", Role::Member).await;
        let people: [&Somebody; 3] = [&ada, &max, &stage.mia];
        for (person, expected) in people.into_iter().zip(answers(route)) {
            let token = stage.world.log_in(person).await;
            let (revision, records) = stage.world.state().await;
            let answer = stage.call(route, person, &token).await;
            let Some((status, code)) = expected else {
                assert_eq!(answer.status, StatusCode::OK, "{route:?} {answer:?}");
                continue;
            };
            refused += 1;
            let found = (answer.status.as_u16(), answer.code());
            assert_eq!(found, (status, code.to_owned()), "{route:?}");
            // A refused change is on record, and nothing else is different.
            let after = stage.world.records().await;
            assert_eq!(
                after.len(),
                records + usize::from(route.mutates),
                "{route:?}"
            );
            assert_eq!(stage.world.state().await.0, revision, "{route:?}");
            if route.mutates {
                assert_eq!(after[records].event.kind, EventKind::RequestRefused);
            }
        }
    }
    assert!(refused > 20, "{refused}");
}

#[tokio::test]
async fn every_change_leaves_its_record_once_and_no_look_leaves_any() {
    for route in ROUTES.iter().filter(|route| route.access == Access::Person) {
        let stage = Stage::new().await;
        let operator = &stage.world.operator;
        let token = stage.world.log_in(operator).await;
        let (revision, records) = stage.world.state().await;
        let answer = stage.call(route, operator, &token).await;
        // Nothing was permitted here that could be proven.
        let proves = route.path == "/v1/decisions/{id}/proof";
        let expect = if proves {
            StatusCode::NOT_FOUND
        } else {
            StatusCode::OK
        };
        assert_eq!(answer.status, expect, "{route:?} {answer:?}");
        let after = stage.world.records().await;
        let new = &after[records..];
        if !route.mutates {
            assert!(new.is_empty(), "{route:?}");
            continue;
        }
        let (kind, moves) = event(route);
        let of_kind = new.iter().filter(|record| record.event.kind == kind);
        assert_eq!(of_kind.count(), 1, "{route:?}");
        let refusals = new
            .iter()
            .filter(|one| one.event.kind == EventKind::RequestRefused);
        assert_eq!(refusals.count(), 0, "{route:?}");
        let request = new[0].event.request;
        assert!(request.is_some() && new.iter().all(|one| one.event.request == request));
        let revisions = stage.world.state().await.0.number() - revision.number();
        assert_eq!(revisions, u64::from(moves), "{route:?}");
        let header = answer.headers.get("aims-revision");
        assert_eq!(header.is_some(), moves, "{route:?}");
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!format!("{new:?}").contains("hush"), "{route:?}");
        assert!(!format!("{new:?}").contains(&token), "{route:?}");
        if let "/v1/runs" | "/v1/join-tokens" = route.path {
            assert_eq!(answer.headers["cache-control"], "no-store");
            let shown: serde_json::Value = serde_json::from_str(&body).unwrap();
            let secret = shown["ticket"].as_str().or(shown["token"].as_str());
            assert!(!format!("{after:?}").contains(secret.unwrap()));
        }
    }
}

#[tokio::test]
async fn a_login_leaves_its_record_once() {
    let stage = Stage::new().await;
    let (revision, records) = stage.world.state().await;
    stage.world.log_in(&stage.mia).await;
    let after = stage.world.records().await;
    let route = ROUTES.iter().find(|route| route.path == "/token").unwrap();
    assert_eq!(after.len(), records + 1);
    assert_eq!(after[records].event.kind, event(route).0);
    assert_eq!(stage.world.state().await.0, revision);
}

#[tokio::test]
async fn a_kill_is_answered_with_its_receipt() {
    let stage = Stage::new().await;
    let route = ROUTES.iter().find(|route| route.path == "/v1/kills");
    let token = stage.world.log_in(&stage.mia).await;
    let answer = stage.call(route.unwrap(), &stage.mia, &token).await;
    let receipt: Receipt = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(receipt.subject, Subject::Task(stage.task));
    assert_eq!(receipt.revision, stage.world.state().await.0);
    assert_eq!(receipt.points.len(), 2);
}

#[tokio::test]
async fn an_approver_answers_once() {
    let stage = Stage::new().await;
    let judge = stage.world.enrol("judge", Role::Approver).await;
    let path = "/v1/approvals/{id}/answer";
    let route = ROUTES.iter().find(|route| route.path == path).unwrap();
    let token = stage.world.log_in(&judge).await;
    let answer = stage.call(route, &judge, &token).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let approval: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(approval["stage"]["stage"], "approved");
    let again = stage.call(route, &judge, &token).await;
    assert_eq!(again.code(), "invalid_transition");
}
