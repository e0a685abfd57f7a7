//! Kills: of everything, by whom, complete with a receipt, and against delegations that race.

use aims_links::Control;
use aims_model::grant::grant_digest;
use aims_model::receipt::How;
use aims_model::{EventKind, Grant, KeyPurpose, Point, Receipt, Role, Subject, agent, task};
use aims_types::{Actor, Id};
use futures_util::future::{join, join_all};

use super::delegations::{call, request, root, sub};
use super::races::in_order;
use super::tokens::{asking, exchanged, send};
use super::world::{Running, Somebody, World, evidence, jwk, kid, new_key, signed, text};
use crate::chain::payload;
use crate::{Kill, KillError, KillTarget, Refused};

async fn stage() -> (World, Somebody) {
    let (world, mia) = World::ready().await;
    world.agent("reader", "mia").await;
    (world, mia)
}

pub(super) fn killing(kind: &str, id: &str) -> Kill {
    Kill {
        target: KillTarget::parse(kind, id).unwrap(),
        reason: "it went astray".to_owned(),
    }
}

async fn kill(world: &World, by: &Somebody, kind: &str, id: &str) -> Result<Receipt, KillError> {
    world.plane.kill(&world.cx(by), killing(kind, id)).await
}

fn leaf(running: &Running) -> Grant {
    Grant::from_claims(&payload(&running.grant.grant).unwrap()).unwrap()
}

async fn token_status(world: &World, running: &Running) -> u16 {
    send(world, asking(world, running)).await.status
}

#[tokio::test]
async fn whatever_is_killed_takes_everything_below_it_along_and_gives_a_receipt() {
    for kind in ["task", "agent", "instance", "delegation", "key", "person"] {
        let (world, mia) = stage().await;
        let first = root(&world, &mia, 1).await;
        let second = sub(&world, &first, "reader").await;
        exchanged(&world, &second).await;
        let id = match kind {
            "task" => first.task.to_string(),
            "agent" => leaf(&first).delegate.to_string(),
            "instance" => first.grant.instance.to_string(),
            "delegation" => leaf(&first).id.to_string(),
            "key" => kid(&first.key),
            _ => mia.id.to_string(),
        };
        let minted = world.revision().await;
        let receipt = kill(&world, &world.operator, kind, &id).await.unwrap();
        assert!(receipt.revision > minted, "{kind}");
        assert!(world.gateway.cuts(&receipt.subject, minted), "{kind}");
        assert!(receipt.foreign_until.is_some(), "{kind}");
        for running in [&first, &second] {
            assert_eq!(token_status(&world, running).await, 400, "{kind}");
        }
        let records = world.records_of(EventKind::Killed).await;
        let [record] = records.as_slice() else {
            panic!("{kind}: {records:?}")
        };
        let subject = record.event.body.get("subject").unwrap();
        assert_eq!(subject.get("kind").unwrap().as_str(), Some(kind));
        assert_eq!(subject.get("id").unwrap().as_str(), Some(id.as_str()));
        assert_eq!(text(record, "reason"), "it went astray");
        let completed = world.records_of(EventKind::KillCompleted).await;
        let [completed] = completed.as_slice() else {
            panic!("{kind}: {completed:?}")
        };
        let bytes = aims_json::to_canonical(&completed.event.body.clone().into()).unwrap();
        let read = aims_json::from_slice::<Receipt>(&bytes, &aims_json::Limits::MESSAGE);
        assert_eq!(read.ok(), Some(receipt), "{kind}");
        assert_eq!(completed.event.request, record.event.request);
    }
}

#[tokio::test]
async fn a_kill_changes_what_belongs_to_its_subject() {
    let (world, mia) = stage().await;
    let operator = &world.operator;
    let cx = world.cx(operator);
    let running = root(&world, &mia, 0).await;
    kill(
        &world,
        operator,
        "instance",
        &running.grant.instance.to_string(),
    )
    .await
    .unwrap();
    let view = world.plane.task(&cx, running.task).await.unwrap();
    assert!(!view.instances[0].stage.is_live());
    assert!(matches!(view.task.stage, task::Stage::Open { .. }));
    kill(&world, operator, "task", &running.task.to_string())
        .await
        .unwrap();
    let view = world.plane.task(&cx, running.task).await.unwrap();
    assert!(matches!(view.task.stage, task::Stage::Ended { .. }));
    kill(&world, operator, "agent", "notes").await.unwrap();
    let agents = world.plane.agents(&cx).await.unwrap();
    let notes = agents
        .iter()
        .find(|agent| agent.name.as_str() == "notes")
        .unwrap();
    assert!(matches!(notes.stage, agent::Stage::Suspended { .. }));
    kill(&world, operator, "key", &kid(&mia.key)).await.unwrap();
    let mut reader = world.parts.store.read().await.unwrap();
    assert!(
        reader
            .key(&kid(&mia.key))
            .await
            .unwrap()
            .unwrap()
            .retired_at
            .is_some()
    );
    drop(reader);
    kill(&world, operator, "person", "mia").await.unwrap();
    let people = world.plane.people(&cx).await.unwrap();
    assert!(people.iter().all(|person| person.removed_at.is_none()));
    let policy = world.plane.policy(&cx).await.unwrap().id.to_string();
    let receipt = kill(&world, operator, "policy", &policy).await.unwrap();
    assert!(world.gateway.cuts(&receipt.subject, receipt.revision));
}

#[tokio::test]
async fn to_kill_the_dead_gives_a_new_receipt_and_changes_nothing_else() {
    for kind in [
        "task",
        "agent",
        "instance",
        "delegation",
        "key",
        "person",
        "policy",
    ] {
        let (world, mia) = stage().await;
        let first = root(&world, &mia, 0).await;
        let policy = world.plane.policy(&world.cx(&mia)).await.unwrap().id;
        let id = match kind {
            "task" => first.task.to_string(),
            "agent" => "notes".to_owned(),
            "instance" => first.grant.instance.to_string(),
            "delegation" => leaf(&first).id.to_string(),
            "key" => kid(&mia.key),
            "person" => "mia".to_owned(),
            _ => policy.to_string(),
        };
        let once = kill(&world, &world.operator, kind, &id).await.unwrap();
        let before = world.records().await.len();
        let again = kill(&world, &world.operator, kind, &id).await.unwrap();
        assert_eq!(again.subject, once.subject, "{kind}");
        assert!(again.revision > once.revision, "{kind}");
        let kinds: Vec<_> = world.records().await[before..]
            .iter()
            .map(|record| record.event.kind)
            .collect();
        assert_eq!(
            kinds,
            [EventKind::Killed, EventKind::KillCompleted],
            "{kind}"
        );
    }
}

#[tokio::test]
async fn what_a_node_vouched_for_is_dead_when_the_kill_of_its_key_returns() {
    let (world, mia) = stage().await;
    let running = root(&world, &mia, 0).await;
    let minted = world.revision().await;
    let node = Point::Node(world.node.id);
    world.renew(node, minted).await.unwrap();
    let id = kid(&world.node.key);
    let receipt = kill(&world, &world.operator, "key", &id).await.unwrap();
    let instance = Subject::Instance(running.grant.instance);
    assert!(world.gateway.cuts(&instance, minted));
    assert_eq!(world.walls.ended(), [running.grant.instance]);
    assert_eq!(world.revision().await, receipt.revision);
    let refused = world.renew(node, receipt.revision).await.unwrap_err();
    assert_eq!(refused.code, "not_enrolled");
}

#[tokio::test]
async fn a_node_ends_what_rests_on_the_signature_of_a_key_that_is_killed() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 1).await;
    let second = sub(&world, &first, "reader").await;
    let id = kid(&mia.key);
    kill(&world, &world.operator, "key", &id).await.unwrap();
    let ended = world.walls.ended();
    for running in [&first, &second] {
        assert!(ended.contains(&running.grant.instance), "{ended:?}");
    }
}

#[tokio::test]
async fn a_receipt_names_every_point_and_how_it_is_known() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 1).await;
    let second = sub(&world, &first, "reader").await;
    world.gateway.ended.lock().unwrap().calls = 3;
    let task = first.task.to_string();
    let receipt = kill(&world, &mia, "task", &task).await.unwrap();
    let gateway = Point::Gateway(world.gateway_id);
    let node = Point::Node(world.node.id);
    let found = |point| {
        receipt
            .points
            .iter()
            .find(|one| one.point == point)
            .unwrap()
    };
    assert_eq!(
        (found(gateway).how, found(gateway).ended.calls),
        (How::Acknowledged, 3)
    );
    assert_eq!(
        (found(node).how, found(node).ended.instances),
        (How::Acknowledged, 2)
    );
    let mut told = world.walls.ended();
    told.sort_unstable();
    let mut expected = [&first, &second].map(|one| one.grant.instance);
    expected.sort_unstable();
    assert_eq!(told, expected);
    let lease = world.parts.config.lease.length().as_millis();
    assert_eq!(u128::from(receipt.lease_millis), lease);
}

#[tokio::test]
async fn people_kill_what_is_theirs_and_learn_nothing_of_the_rest() {
    let (world, mia) = stage().await;
    let max = world.enrol("max", Role::Member).await;
    world.agent("helper", "max").await;
    let first = root(&world, &mia, 1).await;
    let second = sub(&world, &first, "helper").await;
    let task = first.task.to_string();
    let ids = [
        ("task", task.clone(), "unknown_task"),
        (
            "instance",
            first.grant.instance.to_string(),
            "unknown_instance",
        ),
        (
            "delegation",
            leaf(&first).id.to_string(),
            "unknown_delegation",
        ),
    ];
    for (kind, id, code) in &ids {
        let refused = kill(&world, &max, kind, id).await.unwrap_err();
        assert_eq!(refused.code(), *code);
        assert_eq!(world.refused().await, *code);
    }
    for (kind, id) in [
        ("agent", "notes".to_owned()),
        ("agent", "nothing-like-this".to_owned()),
        ("person", "olga".to_owned()),
        ("person", mia.id.to_string()),
        ("key", kid(&mia.key)),
        ("policy", Id::<aims_types::Policy>::from_u128(1).to_string()),
    ] {
        let refused = kill(&world, &mia, kind, &id).await.unwrap_err();
        assert_eq!(refused.code(), "role_not_allowed", "{kind}");
    }
    // Whose agent it is that received something ends that, and not what is above.
    let instance = second.grant.instance.to_string();
    kill(&world, &max, "instance", &instance).await.unwrap();
    assert_eq!(token_status(&world, &first).await, 200);
    for (kind, id, _) in &ids {
        kill(&world, &mia, kind, id).await.unwrap();
    }
}

#[tokio::test]
async fn what_does_not_exist_is_not_killed() {
    let (world, _) = stage().await;
    let before = world.revision().await;
    for (kind, id, code) in [
        (
            "task",
            Id::<aims_types::Task>::from_u128(1).to_string(),
            "unknown_task",
        ),
        (
            "instance",
            Id::<aims_types::Instance>::from_u128(1).to_string(),
            "unknown_instance",
        ),
        (
            "delegation",
            Id::<aims_types::Delegation>::from_u128(1).to_string(),
            "unknown_delegation",
        ),
        (
            "agent",
            Id::<aims_types::Agent>::from_u128(1).to_string(),
            "unknown_agent",
        ),
        ("agent", "nobody".to_owned(), "unknown_agent"),
        (
            "person",
            Id::<aims_types::Person>::from_u128(1).to_string(),
            "unknown_person",
        ),
        ("person", "nobody".to_owned(), "unknown_person"),
        (
            "policy",
            Id::<aims_types::Policy>::from_u128(1).to_string(),
            "unknown_policy",
        ),
        ("key", kid(&new_key()), "unknown_key"),
    ] {
        let refused = kill(&world, &world.operator, kind, &id).await.unwrap_err();
        assert_eq!(refused.code(), code, "{kind}");
    }
    assert_eq!(world.revision().await, before);
    for (kind, id) in [
        ("task", "x"),
        ("key", "a b"),
        ("key", ""),
        ("host", "x"),
        ("agent", "A b"),
    ] {
        assert!(KillTarget::parse(kind, id).is_err(), "{kind} {id}");
    }
    let wordless = Kill {
        reason: " ".to_owned(),
        ..killing("agent", "notes")
    };
    let refused = world.plane.kill(&world.cx(&world.operator), wordless).await;
    assert_eq!(refused.unwrap_err().code(), "bad_reason");
}

#[tokio::test]
async fn the_keys_that_the_server_signs_with_and_the_last_operators_are_not_killed() {
    let (world, _) = stage().await;
    let mut reader = world.parts.store.read().await.unwrap();
    let mut keys = Vec::new();
    for purpose in [
        KeyPurpose::Ca,
        KeyPurpose::Token,
        KeyPurpose::Grant,
        KeyPurpose::Log,
    ] {
        keys.extend(reader.keys(purpose).await.unwrap());
    }
    drop(reader);
    assert_eq!(keys.len(), 4);
    for key in keys {
        let refused = kill(&world, &world.operator, "key", &key.kid)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), "server_key_in_use");
    }
    let own = kid(&world.operator.key);
    let refused = kill(&world, &world.operator, "key", &own)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "last_operator");
    world.enrol("otto", Role::Operator).await;
    kill(&world, &world.operator, "key", &own).await.unwrap();
    // A node's key is retired: nothing is heard of it any more.
    let otto = world.enrol("oskar", Role::Operator).await;
    kill(&world, &otto, "key", &kid(&world.node.key))
        .await
        .unwrap();
    let (server, key) = (world.plane.cx(Actor::Server).unwrap(), jwk(&world.node.key));
    let again = world
        .plane
        .node_join(&server, &key, "host", world.walls.clone())
        .await;
    assert_eq!(again.unwrap_err().code(), "key_taken");
}

#[tokio::test]
async fn a_delegation_that_wins_against_a_kill_is_dead_when_the_kill_returns() {
    for kind in ["task", "instance", "delegation", "agent", "person"] {
        let (world, mia) = stage().await;
        let first = root(&world, &mia, 1).await;
        let target = target(&mia, &first, kind);
        let asked = call(&world, &first, &request(&world, &first, "reader"));
        let cx = world.cx(&world.operator);
        let killed = world.plane.kill(&cx, killing(kind, &target));
        let (order, receipt) = in_order(&world, world.plane.delegate(asked), killed).await;
        let (order, receipt) = (order.unwrap().unwrap(), receipt.unwrap());
        let mut reader = world.parts.store.read().await.unwrap();
        let stored = reader.grant_by_id(order.delegation).await.unwrap().unwrap();
        drop(reader);
        let granted = Grant::from_claims(&payload(&stored.jws).unwrap()).unwrap();
        assert!(granted.revision < receipt.revision, "{kind}");
        assert!(
            world.gateway.cuts(&receipt.subject, granted.revision),
            "{kind}"
        );
        let attestation = world.attestation(order.run, &new_key());
        let refused = world.plane.instance_attest(attestation).await.unwrap();
        assert!(refused.is_err(), "{kind}");
    }
}

#[tokio::test]
async fn a_kill_that_wins_against_a_delegation_leaves_none() {
    for kind in ["task", "instance", "delegation", "agent", "person"] {
        let (world, mia) = stage().await;
        let first = root(&world, &mia, 1).await;
        let target = target(&mia, &first, kind);
        let asked = call(&world, &first, &request(&world, &first, "reader"));
        let cx = world.cx(&world.operator);
        let killed = world.plane.kill(&cx, killing(kind, &target));
        let (receipt, refused) = in_order(&world, killed, world.plane.delegate(asked)).await;
        receipt.unwrap();
        assert!(refused.unwrap().is_err(), "{kind}");
        assert!(
            world
                .records_of(EventKind::DelegationGranted)
                .await
                .is_empty()
        );
    }
}

fn target(mia: &Somebody, first: &Running, kind: &str) -> String {
    match kind {
        "task" => first.task.to_string(),
        "instance" => first.grant.instance.to_string(),
        "delegation" => leaf(first).id.to_string(),
        "agent" => "notes".to_owned(),
        _ => mia.id.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_and_delegations_at_once_leave_nothing_that_is_not_covered() {
    let (world, mia) = stage().await;
    for _ in 0..8 {
        let first = root(&world, &mia, 1).await;
        let ask = || call(&world, &first, &request(&world, &first, "reader"));
        // Each runs as a task of its own.
        let asked = join_all((0..4).map(|_| world.plane.delegate(ask())));
        let task = first.task.to_string();
        let killed = kill(&world, &world.operator, "task", &task);
        let (orders, receipt) = join(asked, killed).await;
        let receipt = receipt.unwrap();
        for order in orders {
            let Ok(order) = order.unwrap() else {
                continue;
            };
            let mut reader = world.parts.store.read().await.unwrap();
            let stored = reader.grant_by_id(order.delegation).await.unwrap().unwrap();
            let granted = Grant::from_claims(&payload(&stored.jws).unwrap()).unwrap();
            assert!(granted.revision < receipt.revision);
        }
    }
}

#[tokio::test]
async fn a_frozen_task_issues_nothing_and_goes_on_with_new_instances_only() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 1).await;
    let second = sub(&world, &first, "reader").await;
    let pending = request(&world, &first, "reader");
    let order = world
        .plane
        .delegate(call(&world, &first, &pending))
        .await
        .unwrap()
        .unwrap();
    let cx = world.cx(&mia);
    let minted = world.revision().await;
    let frozen = world.plane.task_freeze(&cx, first.task).await.unwrap();
    assert!(matches!(frozen.value.stage, task::Stage::Frozen { .. }));
    for running in [&first, &second] {
        let instance = Subject::Instance(running.grant.instance);
        assert!(world.gateway.cuts(&instance, minted));
        assert_eq!(token_status(&world, running).await, 400);
    }
    assert!(!world.gateway.cuts(&Subject::Task(first.task), minted));
    let code = |refusal: aims_links::Refusal| refusal.code.into_owned();
    let attest = world
        .plane
        .instance_attest(world.attestation(order.run, &new_key()))
        .await;
    assert_eq!(code(attest.unwrap().unwrap_err()), "task_frozen");
    let launch = world
        .plane
        .run_request(&cx, super::world::launch(first.task))
        .await;
    assert_eq!(launch.unwrap_err().code(), "task_frozen");
    let again = world.plane.task_freeze(&cx, first.task).await.unwrap_err();
    assert_eq!(again.code(), "invalid_transition");
    world.plane.task_resume(&cx, first.task).await.unwrap();
    assert_eq!(token_status(&world, &first).await, 400);
    let renewed = world
        .plane
        .instance_renew(world.node.id, first.grant.instance, evidence());
    assert_eq!(code(renewed.await.unwrap().unwrap_err()), "instance_ended");
    let attest = world
        .plane
        .instance_attest(world.attestation(order.run, &new_key()))
        .await;
    assert_eq!(code(attest.unwrap().unwrap_err()), "delegator_ended");
    let next = world.instance(&mia, first.task).await;
    assert_eq!(
        grant_digest(&next.grant.grant),
        grant_digest(&first.grant.grant)
    );
    assert_eq!(token_status(&world, &next).await, 200);
    let third = sub(&world, &next, "reader").await;
    assert_eq!(token_status(&world, &third).await, 200);
    let resumed = world.plane.task_resume(&cx, first.task).await.unwrap_err();
    assert_eq!(resumed.code(), "invalid_transition");
    for kind in [EventKind::TaskFrozen, EventKind::TaskResumed] {
        let records = world.records_of(kind).await;
        assert_eq!(records.len(), 1);
        assert_eq!(text(&records[0], "task"), first.task.to_string());
    }
}

#[tokio::test]
async fn a_frozen_task_past_its_deadline_is_ended() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 0).await;
    world
        .plane
        .task_freeze(&world.cx(&mia), first.task)
        .await
        .unwrap();
    world.clock.forward(std::time::Duration::from_hours(1));
    let server = world.plane.cx(Actor::Server).unwrap();
    let expired = world.plane.expire(&server).await.unwrap().unwrap();
    assert!(matches!(expired.value[0].stage, task::Stage::Ended { .. }));
}

#[tokio::test]
async fn under_a_policy_that_was_killed_nothing_is_issued_until_another_is_in_force() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 1).await;
    let cx = world.cx(&world.operator);
    let policy = world.plane.policy(&cx).await.unwrap().id.to_string();
    kill(&world, &world.operator, "policy", &policy)
        .await
        .unwrap();
    assert_eq!(token_status(&world, &first).await, 400);
    let consent = signed(&world.consent(&mia, "notes"), &mia.key);
    let refused = world.plane.task_start(&world.cx(&mia), &consent).await;
    assert_eq!(refused.unwrap_err().code(), "cut_off");
    let again = super::world::POLICY;
    world.plane.policy_activate(&cx, again).await.unwrap();
    assert_eq!(token_status(&world, &first).await, 200);
    world
        .plane
        .task_start(&world.cx(&mia), &consent)
        .await
        .unwrap();
}
