//! What the control plane records is what an auditor accepts.

use std::sync::Arc;

use aims_audit::{Sequencer, TileDir, check_log};
use aims_links::Control;
use aims_model::Role;
use aims_model::approval::Answer;
use aims_tlog::NoteSigner;

use super::approvals::{asked, signed_answer};
use super::delegations::{root, sub};
use super::kill::killing;
use super::tokens::exchanged;
use super::world::World;
use crate::log_key;

#[tokio::test]
async fn a_log_of_delegations_answers_freezes_kills_and_erasures_is_good() {
    let (world, mia) = World::ready().await;
    world.agent("reader", "mia").await;
    let judge = world.enrol("judge", Role::Approver).await;
    let (plane, cx) = (&world.plane, world.cx(&world.operator));
    let first = root(&world, &mia, 2).await;
    let second = sub(&world, &first, "reader").await;
    let third = sub(&world, &second, "notes").await;
    exchanged(&world, &third).await;
    let question = asked(&world, &mia, &first).await;
    let gateway = world.gateway_id;
    let approval = plane
        .approval_ask(gateway, question)
        .await
        .unwrap()
        .unwrap();
    let answer = Answer {
        person: judge.id,
        audience: "aims.local".parse().unwrap(),
        issued_at: world.now(),
        approval: approval.id,
        digest: approval.digest,
        approve: true,
        reason: "as discussed".to_owned(),
    };
    let jws = signed_answer(&answer, &judge.key);
    let judge = world.cx(&judge);
    plane
        .approval_answer(&judge, approval.id, &jws)
        .await
        .unwrap();
    let instance = second.grant.instance.to_string();
    plane
        .kill(&cx, killing("instance", &instance))
        .await
        .unwrap();
    plane.task_freeze(&cx, first.task).await.unwrap();
    plane.task_resume(&cx, first.task).await.unwrap();
    let next = world.instance(&mia, first.task).await;
    sub(&world, &next, "reader").await;
    for (kind, id) in [
        ("task", first.task.to_string()),
        ("task", first.task.to_string()),
        ("agent", "reader".to_owned()),
        ("person", "mia".to_owned()),
    ] {
        plane.kill(&cx, killing(kind, &id)).await.unwrap();
    }
    plane
        .task_erase(&cx, first.task, "mia asked for it")
        .await
        .unwrap();
    let store = world.parts.store.clone();
    let key = log_key(store.as_ref(), &world.parts.keys).await.unwrap();
    let signer = NoteSigner::new("aims.local/log".parse().unwrap(), Arc::new(key)).unwrap();
    let verifier = signer.verifier_key().clone();
    let tiles = || TileDir::new(world.directory().join("log"));
    let log = Sequencer::open(store, signer, tiles(), plane.vault())
        .await
        .unwrap();
    let head = log.fold().await.unwrap().unwrap();
    let checkpoint = head.checkpoint.parse().unwrap();
    check_log(&tiles(), &checkpoint, &verifier).unwrap();
}
