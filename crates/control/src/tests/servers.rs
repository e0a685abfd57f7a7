//! Registration of tool servers and policies.

use std::sync::atomic::Ordering;

use super::world::{POLICY, World, server};
use crate::{ActivatePolicyError, ControlPlane, Refused, RegisterServer, RulesError};

#[tokio::test]
async fn a_server_is_registered_with_the_tools_that_a_gateway_saw() {
    let (world, mia) = World::ready().await;
    let servers = world.plane.servers(&world.cx(&mia)).await.unwrap();
    let names: Vec<&str> = servers[0]
        .tools
        .iter()
        .map(|pin| pin.name.as_str())
        .collect();
    assert_eq!(names, ["git_log", "git_show"]);
    assert_eq!(
        *world.gateway.newest().servers,
        world
            .parts
            .store
            .read()
            .await
            .unwrap()
            .servers()
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn what_can_not_be_a_server_is_refused_before_anything_starts() {
    type Change = fn(&mut RegisterServer);
    let (world, _) = World::ready().await;
    let cx = world.cx(&world.operator);
    let (before, seen) = (
        world.revision().await,
        world.gateway.inspections.load(Ordering::SeqCst),
    );
    let changes: [(&str, Change); 6] = [
        ("name_taken", |r| r.name = "git".to_owned()),
        ("bad_name", |r| r.name = "Git".to_owned()),
        ("bad_purpose", |r| r.purpose.clear()),
        ("bad_spec", |r| r.spec.argv.clear()),
        ("bad_spec", |r| r.spec.argv[0] = "git-mcp".to_owned()),
        ("bad_spec", |r| r.spec.trees[0].path = "lib".to_owned()),
    ];
    for (code, change) in changes {
        let mut request = server("files");
        change(&mut request);
        let error = world.plane.server_register(&cx, request).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(world.refused().await, code);
    }
    assert_eq!(world.gateway.inspections.load(Ordering::SeqCst), seen);
    world.gateway.no_server.store(true, Ordering::SeqCst);
    let error = world
        .plane
        .server_register(&cx, server("files"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "inspection_failed");
    assert_eq!(world.revision().await, before);
    let lonely = ControlPlane::open(world.parts.clone()).await.unwrap();
    let error = lonely
        .server_register(&cx, server("files"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "no_gateway");
}

#[tokio::test]
async fn a_policy_comes_into_force_at_every_gateway() {
    let (world, mia) = World::ready().await;
    let text = format!(
        "{POLICY}@id(\"none\")\nforbid (principal, action == Action::\"git/git_show\", resource);\n"
    );
    let cx = world.cx(&world.operator);
    let done = world.plane.policy_activate(&cx, &text).await.unwrap();
    assert_eq!(world.gateway.newest().policy.text, text);
    assert_eq!(
        world.plane.policy(&world.cx(&mia)).await.unwrap(),
        done.value
    );
    assert_eq!(done.value.author, Some(world.operator.id));
}

#[tokio::test]
async fn a_policy_with_mistakes_is_refused_with_their_places() {
    let (world, _) = World::ready().await;
    let cx = world.cx(&world.operator);
    let before = world.revision().await;
    let text = format!(
        "{POLICY}@id(\"bad\")\npermit (principal, action == Action::\"git/nothing\", resource);\n"
    );
    let error = world.plane.policy_activate(&cx, &text).await.unwrap_err();
    let ActivatePolicyError::Invalid(RulesError::Text(errors)) = &error else {
        panic!("{error}");
    };
    assert!(errors.iter().any(|one| one.line >= 3), "{errors:?}");
    assert_eq!(world.revision().await, before);
    assert_eq!(world.refused().await, "invalid_policy");
    assert_eq!(world.plane.policy(&cx).await.unwrap().text, POLICY);
}
