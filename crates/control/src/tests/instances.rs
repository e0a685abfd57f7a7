//! Attestation, renewal and the end of instances.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aims_links::{Attestation, Control, EndedInstance, EnforceError};
use aims_model::{EventKind, Record, Subject};
use aims_oauth::{WorkloadIdentity, WorkloadIdentityExpect};
use aims_types::{Digest, Id};

use super::world::{Running, World, evidence, jwk, kid, launch, new_key, posture};
use crate::tokens::TrustedKeys;
use crate::{LAUNCH_SECS_MAX, WIT_TTL_SECS};

fn result<'a>(record: &'a Record, check: &str) -> &'a str {
    let check = record.event.body.get(check).unwrap();
    check.get("result").unwrap().as_str().unwrap()
}

fn ended(world: &World, running: &Running) -> EndedInstance {
    EndedInstance {
        node: world.node.id,
        instance: running.grant.instance,
        how: "exited 0".to_owned(),
    }
}

#[tokio::test]
async fn an_attested_instance_gets_an_identity_bound_to_its_key() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let mut reader = world.parts.store.read().await.unwrap();
    let purpose = aims_model::KeyPurpose::Token;
    let keys = TrustedKeys::load(reader.as_mut(), purpose, world.now())
        .await
        .unwrap();
    let trust_domain = &"aims.local".parse().unwrap();
    let expect = WorkloadIdentityExpect {
        trust_domain,
        now: world.now(),
    };
    let wit = WorkloadIdentity::verify(&running.grant.wit, &keys, &expect).unwrap();
    assert_eq!(wit.claims().instance, running.grant.instance);
    assert_eq!(
        wit.claims().subject.as_str(),
        "spiffe://aims.local/agent/notes"
    );
    assert_eq!(wit.claims().key, *aims_crypto::Signer::public(&running.key));
    let life = Duration::from_secs(WIT_TTL_SECS);
    assert_eq!(running.grant.expires_at, world.now().plus(life));
    let view = world
        .plane
        .task(&world.cx(&mia), running.task)
        .await
        .unwrap();
    assert_eq!(view.instances[0].jkt, kid(&running.key));
    assert_eq!(view.grant.jws, running.grant.grant);
    let records = world.records_of(EventKind::InstanceAttested).await;
    for check in ["attestation", "environment", "policy"] {
        assert_eq!(result(&records[0], check), "ok");
    }
}

#[tokio::test]
async fn each_check_refuses_on_its_own_and_the_record_shows_all_three() {
    type Change = fn(&mut Attestation);
    let (world, mia) = World::ready().await;
    let changes: [(&str, [&str; 3], Change); 4] = [
        ("evidence_mismatch", ["refused", "ok", "ok"], |a| {
            a.posture.evidence.program.digest = Digest::from_bytes([9; 32]);
        }),
        ("environment_refused", ["ok", "refused", "ok"], |a| {
            a.posture.host_uid = 0;
        }),
        ("environment_refused", ["ok", "refused", "ok"], |a| {
            a.node = Id::from_u128(3);
        }),
        ("evidence_mismatch", ["refused", "refused", "ok"], |a| {
            a.posture.evidence.trees.clear();
            a.posture.host_uid = 0;
        }),
    ];
    let task = world.start(&mia, "notes").await.task.id;
    for (code, results, change) in changes {
        let run = world.redeem(&mia, task).await;
        let mut attestation = world.attestation(run, &new_key());
        change(&mut attestation);
        let before = world.revision().await;
        let refusal = world
            .plane
            .instance_attest(attestation)
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(refusal.code, code);
        assert_eq!(world.revision().await, before);
        let records = world.records_of(EventKind::InstanceRefused).await;
        let record = records.last().unwrap();
        let found = ["attestation", "environment", "policy"].map(|check| result(record, check));
        assert_eq!(found, results);
        assert_eq!(record.event.task, Some(task));
    }
    let view = world.plane.task(&world.cx(&mia), task).await.unwrap();
    assert_eq!(view.instances, []);
}

#[tokio::test]
async fn an_evidence_mismatch_says_what_was_expected_and_seen() {
    let (world, mia) = World::ready().await;
    let task = world.start(&mia, "notes").await.task.id;
    let run = world.redeem(&mia, task).await;
    let mut attestation = world.attestation(run, &new_key());
    let seen = Digest::from_bytes([9; 32]);
    attestation.posture.evidence.program.digest = seen;
    let refusal = world
        .plane
        .instance_attest(attestation)
        .await
        .unwrap()
        .unwrap_err();
    let registered = Digest::from_bytes([2; 32]).to_string();
    assert!(refusal.gaps[0].expected.contains(&registered));
    assert!(refusal.gaps[0].seen.contains(&seen.to_string()));
    let records = world.records_of(EventKind::InstanceRefused).await;
    let record = format!("{:?}", records.last().unwrap().event.body);
    assert!(record.contains(&registered) && record.contains(&seen.to_string()));
}

#[tokio::test]
async fn authority_that_ended_between_launch_and_attestation_gives_nothing() {
    let (world, mia) = World::ready().await;
    let task = world.start(&mia, "notes").await.task.id;
    let run = world.redeem(&mia, task).await;
    world.plane.task_end(&world.cx(&mia), task).await.unwrap();
    let refused = world
        .plane
        .instance_attest(world.attestation(run, &new_key()))
        .await
        .unwrap();
    assert_eq!(refused.unwrap_err().code, "task_ended");
    let records = world.records_of(EventKind::InstanceRefused).await;
    let found = ["attestation", "environment", "policy"].map(|check| result(&records[0], check));
    assert_eq!(found, ["ok", "ok", "refused"]);
}

#[tokio::test]
async fn a_launch_gives_one_instance_soon_with_a_key_of_its_own() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let attest = |attestation| async {
        world
            .plane
            .instance_attest(attestation)
            .await
            .unwrap()
            .unwrap_err()
            .code
    };
    assert_eq!(
        attest(world.attestation(Id::from_u128(1), &new_key())).await,
        "unknown_run"
    );
    let ticket = world
        .plane
        .run_request(&world.cx(&mia), launch(running.task))
        .await
        .unwrap();
    assert_eq!(
        attest(world.attestation(ticket.run, &new_key())).await,
        "not_redeemed"
    );
    let run = world.redeem(&mia, running.task).await;
    for taken in [&running.key, &world.node.key, &mia.key] {
        assert_eq!(attest(world.attestation(run, taken)).await, "key_taken");
    }
    let mut bad = world.attestation(run, &new_key());
    bad.jwk = "{}".to_owned();
    assert_eq!(attest(bad).await, "bad_key");
    let mut large = world.attestation(run, &new_key());
    large.posture.evidence.arguments = vec!["x".repeat(4096); 9];
    assert_eq!(attest(large).await, "posture_too_large");
    let key = new_key();
    world
        .plane
        .instance_attest(world.attestation(run, &key))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        attest(world.attestation(run, &new_key())).await,
        "already_attested"
    );
    let run = world.redeem(&mia, running.task).await;
    world
        .clock
        .forward(Duration::from_secs(LAUNCH_SECS_MAX + 1));
    assert_eq!(
        attest(world.attestation(run, &new_key())).await,
        "launch_too_late"
    );
}

#[tokio::test]
async fn a_live_instance_is_renewed_on_the_same_evidence() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    world.clock.forward(Duration::from_mins(2));
    let (node, instance) = (world.node.id, running.grant.instance);
    let again = world
        .plane
        .instance_renew(node, instance, evidence())
        .await
        .unwrap()
        .unwrap();
    assert!(again.expires_at > running.grant.expires_at);
    assert_ne!(again.wit, running.grant.wit);
    let stranger = world
        .plane
        .instance_renew(Id::from_u128(3), instance, evidence())
        .await;
    assert_eq!(stranger.unwrap().unwrap_err().code, "foreign_node");
    let unknown = world
        .plane
        .instance_renew(node, Id::from_u128(3), evidence())
        .await;
    assert_eq!(unknown.unwrap().unwrap_err().code, "unknown_instance");
    world
        .plane
        .task_end(&world.cx(&mia), running.task)
        .await
        .unwrap();
    let dead = world
        .plane
        .instance_renew(node, instance, evidence())
        .await
        .unwrap();
    assert_eq!(dead.unwrap_err().code, "task_ended");
}

#[tokio::test]
async fn an_instance_whose_evidence_changed_ends_at_once() {
    let (world, mia) = World::ready().await;
    for change in 0..2 {
        let running = world.running(&mia, "notes").await;
        let minted = world.revision().await;
        let mut seen = evidence();
        if change == 0 {
            seen.files.clear();
        } else {
            // What the registration leaves open is still held to what was attested.
            seen.arguments.push("--more".to_owned());
        }
        let (node, instance) = (world.node.id, running.grant.instance);
        let refused = world
            .plane
            .instance_renew(node, instance, seen)
            .await
            .unwrap();
        assert_eq!(refused.unwrap_err().code, "evidence_mismatch");
        assert!(world.gateway.cuts(&Subject::Instance(instance), minted));
        assert!(world.gateway.cuts(&Subject::Key(kid(&running.key)), minted));
        let dead = world
            .plane
            .instance_renew(node, instance, evidence())
            .await
            .unwrap();
        assert_eq!(dead.unwrap_err().code, "instance_ended");
    }
    assert_eq!(world.records_of(EventKind::InstanceEnded).await.len(), 2);
}

#[tokio::test]
async fn when_the_end_of_an_instance_returns_the_gateway_has_its_cut_off() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let minted = world.revision().await;
    world
        .plane
        .instance_ended(ended(&world, &running))
        .await
        .unwrap()
        .unwrap();
    assert!(
        world
            .gateway
            .cuts(&Subject::Instance(running.grant.instance), minted)
    );
    assert!(world.gateway.cuts(&Subject::Key(kid(&running.key)), minted));
    assert_eq!(world.records_of(EventKind::InstanceEnded).await.len(), 1);
    // Asking again is answered and changes nothing.
    let before = world.revision().await;
    world
        .plane
        .instance_ended(ended(&world, &running))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(world.revision().await, before);
    assert_eq!(world.records_of(EventKind::InstanceEnded).await.len(), 1);
    let mut stranger = ended(&world, &running);
    stranger.node = Id::from_u128(3);
    assert!(world.plane.instance_ended(stranger).await.unwrap().is_err());
    let mut unknown = ended(&world, &running);
    unknown.instance = Id::from_u128(3);
    assert!(world.plane.instance_ended(unknown).await.unwrap().is_err());
}

#[tokio::test]
async fn the_end_of_an_instance_waits_for_a_gateway_that_misses_a_state() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let minted = world.revision().await;
    world.gateway.misses.store(3, Ordering::SeqCst);
    world
        .plane
        .instance_ended(ended(&world, &running))
        .await
        .unwrap()
        .unwrap();
    assert!(
        world
            .gateway
            .cuts(&Subject::Instance(running.grant.instance), minted)
    );
    // A gateway that stays silent without a lease honours nothing; it gets the cut-off later.
    let running = world.running(&mia, "notes").await;
    world.gateway.silent.store(true, Ordering::SeqCst);
    world
        .plane
        .instance_ended(ended(&world, &running))
        .await
        .unwrap()
        .unwrap();
    world.gateway.silent.store(false, Ordering::SeqCst);
    world
        .plane
        .instance_ended(ended(&world, &running))
        .await
        .unwrap()
        .unwrap();
    world.gateway.reaches(world.revision().await).await;
    assert!(
        world
            .gateway
            .cuts(&Subject::Instance(running.grant.instance), minted.next())
    );
    // A gateway that can't use the state denies everything: that is an acknowledgement.
    let running = world.running(&mia, "notes").await;
    world.gateway.unusable.store(true, Ordering::SeqCst);
    world
        .plane
        .instance_ended(ended(&world, &running))
        .await
        .unwrap()
        .unwrap();
    let unusable = EnforceError::Unusable {
        revision: minted,
        reason: String::new(),
    };
    assert!(unusable.to_string().contains("can't use"));
    assert_eq!(posture().host_uid, 70_001);
    assert!(!jwk(&running.key).is_empty());
}
