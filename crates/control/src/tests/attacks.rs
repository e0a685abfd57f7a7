//! What somebody with a part of the secrets tries.

use std::time::Duration;

use aims_links::{Control, TokenCall};
use aims_model::{EventKind, Role};
use aims_types::{Actor, Id};

use super::authn::{assertion, form, log_in};
use super::tokens::{asking, exchanged, send};
use super::world::{ISSUER, World, agent, evidence, jwk, launch, new_key, server, signed, text};
use crate::{
    ControlPlane, EnrolPerson, Refused, RequestRun, STRANGERS_RECORDED_MAX, TICKET_PREFIX,
};

#[tokio::test]
async fn a_node_that_did_not_take_up_a_launch_can_not_vouch_for_it() {
    let (world, mia) = World::ready().await;
    let other = world.other_node().await;
    let task = world.start(&mia, "notes").await.task.id;
    let run = world.redeem(&mia, task).await;
    let mut stolen = world.attestation(run, &new_key());
    stolen.node = other.id;
    let refused = world.plane.instance_attest(stolen).await.unwrap();
    let refusal = refused.unwrap_err();
    assert_eq!(refusal.code, "environment_refused");
    assert!(
        refusal.reason.contains("another node"),
        "{}",
        refusal.reason
    );
    let view = world.plane.task(&world.cx(&mia), task).await.unwrap();
    assert!(view.instances.is_empty());
    // The node that took it up still can, and keeps it.
    let good = world.attestation(run, &new_key());
    let grant = world.plane.instance_attest(good).await.unwrap().unwrap();
    let renewed = world
        .plane
        .instance_renew(other.id, grant.instance, evidence());
    assert_eq!(renewed.await.unwrap().unwrap_err().code, "foreign_node");
}

#[tokio::test]
async fn only_who_took_up_a_launch_says_why_it_was_refused() {
    let (world, mia) = World::ready().await;
    let task = world.start(&mia, "notes").await.task.id;
    let run = world.redeem(&mia, task).await;
    let refusal = || aims_links::Refusal {
        code: "not_there".into(),
        reason: "a lie".to_owned(),
        gaps: Vec::new(),
    };
    let before = world.records().await.len();
    for (node, run) in [(Id::from_u128(9), run), (world.node.id, Id::from_u128(9))] {
        assert!(world.plane.run_refused(node, run, refusal()).await.is_err());
    }
    assert_eq!(world.records().await.len(), before);
    let own = world.plane.run_refused(world.node.id, run, refusal());
    own.await.unwrap();
    assert_eq!(world.records().await.len(), before + 1);
}

#[tokio::test]
async fn a_launch_dies_with_whoever_asked_for_it() {
    let (world, mia) = World::ready().await;
    let oscar = world.enrol("oscar", Role::Operator).await;
    let task = world.start(&mia, "notes").await.task.id;
    let run = world.redeem(&oscar, task).await;
    let cx = world.cx(&world.operator);
    let name = "oscar".parse().unwrap();
    world.plane.person_remove(&cx, &name).await.unwrap();
    let attested = world
        .plane
        .instance_attest(world.attestation(run, &new_key()));
    assert_eq!(attested.await.unwrap().unwrap_err().code, "person_removed");
}

#[tokio::test]
async fn what_was_used_before_a_restart_is_used() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let consent = signed(&world.consent(&mia, "notes"), &mia.key);
    let started = world.plane.task_start(&world.cx(&mia), &consent).await;
    started.unwrap();
    let token = log_in(&world, &mia).await;
    let proof = world.proof_for(
        &mia.key,
        ("GET", &format!("{ISSUER}/v1/tasks")),
        Some(&token),
    );
    let first = world
        .plane
        .authenticate(&token, &proof, "GET", "/v1/tasks")
        .await;
    first.unwrap();
    let login = form(assertion(&world, &mia, "one"), None);
    let dpop = world.proof(&mia.key);
    let call = |dpop: &str| TokenCall {
        form: login.clone(),
        dpop: dpop.to_owned(),
    };
    assert_eq!(world.plane.token(call(&dpop)).await.unwrap().status, 200);

    let plane = ControlPlane::open(world.parts.clone()).await.unwrap();
    let again = plane.task_start(&world.cx(&mia), &consent).await;
    assert_eq!(again.unwrap_err().code(), "consent_replayed");
    let again = plane.authenticate(&token, &proof, "GET", "/v1/tasks").await;
    assert_eq!(again.map(drop).unwrap_err().code(), "invalid_dpop_proof");
    let again = plane.token(call(&world.proof(&mia.key))).await.unwrap();
    assert_eq!(again.status, 400);
    assert_eq!(world.refused().await, "assertion_replayed");
    let fresh = form(assertion(&world, &mia, "two"), None);
    let again = plane.token(TokenCall { form: fresh, dpop }).await.unwrap();
    assert_eq!(again.status, 400);
    assert_eq!(world.refused().await, "proof_replayed");
    assert!(!running.grant.wit.is_empty());
}

#[tokio::test]
async fn a_clock_that_goes_back_brings_nothing_back() {
    let (world, mia) = World::ready().await;
    let (token, tasks) = (log_in(&world, &mia).await, format!("{ISSUER}/v1/tasks"));
    let proof = world.proof_for(&mia.key, ("GET", &tasks), Some(&token));
    let consent = signed(&world.consent(&mia, "notes"), &mia.key);
    let started = world.plane.task_start(&world.cx(&mia), &consent).await;
    let task = started.unwrap().value.task.id;
    let ask = || world.plane.authenticate(&token, &proof, "GET", "/v1/tasks");
    ask().await.unwrap();
    // The clock jumps far ahead, the store forgets what expired, and the clock comes back.
    world.clock.forward(Duration::from_mins(90));
    for _ in 0..3 {
        log_in(&world, &mia).await;
    }
    let server = world.plane.cx(Actor::Server).unwrap();
    assert!(world.plane.expire(&server).await.unwrap().is_some());
    world.clock.back(Duration::from_mins(90));
    let again = ask().await.map(drop).unwrap_err();
    assert_eq!(again.code(), "invalid_dpop_proof");
    let again = world.plane.task_start(&world.cx(&mia), &consent).await;
    assert_eq!(again.unwrap_err().code(), "consent_replayed");
    // What ended meanwhile stays ended.
    let launch = world.plane.run_request(&world.cx(&mia), launch(task)).await;
    assert_eq!(launch.unwrap_err().code(), "task_ended");
}

#[tokio::test]
async fn nothing_is_issued_for_a_suspended_agent_or_a_removed_person() {
    for removed in [false, true] {
        let (world, mia) = World::ready().await;
        let running = world.running(&mia, "notes").await;
        let ticket = world
            .plane
            .run_request(&world.cx(&mia), launch(running.task))
            .await;
        let run = world.redeem(&mia, running.task).await;
        let cx = world.cx(&world.operator);
        if removed {
            let mia = "mia".parse().unwrap();
            world.plane.person_remove(&cx, &mia).await.unwrap();
        } else {
            let notes = "notes".parse().unwrap();
            world.plane.agent_suspend(&cx, &notes).await.unwrap();
        }
        assert_eq!(send(&world, asking(&world, &running)).await.status, 400);
        let (node, instance) = (world.node.id, running.grant.instance);
        let renewed = world.plane.instance_renew(node, instance, evidence()).await;
        assert!(renewed.unwrap().is_err());
        let attested = world
            .plane
            .instance_attest(world.attestation(run, &new_key()));
        assert!(attested.await.unwrap().is_err());
        let ticket = ticket.unwrap().ticket;
        let redeemed = world
            .plane
            .run_redeem(aims_links::RequestedRun { node, ticket });
        assert!(redeemed.await.unwrap().is_err());
        let asked = world.plane.run_request(&cx, launch(running.task)).await;
        assert!(asked.is_err());
        assert!(world.records_of(EventKind::TokenIssued).await.is_empty());
    }
}

#[tokio::test]
async fn what_callers_write_can_not_forge_lines_of_records() {
    let (world, mia) = World::ready().await;
    let bad = "x\n{\"kind\":\"forged\"}\u{1b}[2J\u{202e}\u{2028}\u{e0041}";
    let cx = world.cx(&world.operator);
    let mut named = agent("fresh", "mia");
    named.name = bad.to_owned();
    assert!(world.plane.agent_register(&cx, named).await.is_err());
    let mut owned = agent("fresh", "mia");
    owned.owner = Some(bad.to_owned());
    assert!(world.plane.agent_register(&cx, owned).await.is_err());
    let mut meant = agent("fresh", "mia");
    meant.purpose = Some("reads \u{202e}setirw".to_owned());
    let error = world.plane.agent_register(&cx, meant).await.unwrap_err();
    assert_eq!(error.code(), "bad_purpose");
    let person = EnrolPerson {
        name: bad.to_owned(),
        role: Role::Member,
        jwk: jwk(&new_key()),
    };
    assert!(world.plane.person_enrol(&cx, person).await.is_err());
    let mut tool = server("files");
    tool.spec.argv = vec![bad.to_owned()];
    assert!(world.plane.server_register(&cx, tool).await.is_err());
    assert!(world.plane.policy_activate(&cx, bad).await.is_err());
    let task = world.start(&mia, "notes").await.task.id;
    let agent = bad.to_owned();
    let run = RequestRun { task, agent };
    assert!(world.plane.run_request(&world.cx(&mia), run).await.is_err());
    let run = world.redeem(&mia, task).await;
    let mut attestation = world.attestation(run, &new_key());
    attestation.posture.evidence.program.path = bad.to_owned();
    assert!(
        world
            .plane
            .instance_attest(attestation)
            .await
            .unwrap()
            .is_err()
    );
    let refusals = world.records_of(EventKind::RequestRefused).await;
    assert_eq!(refusals.len(), 7);
    for record in refusals
        .iter()
        .chain(&world.records_of(EventKind::InstanceRefused).await)
    {
        for name in ["reason", "subject", "code"] {
            let text = text(record, name);
            assert!(!text.chars().any(aims_model::text::misleads), "{text:?}");
            assert!(text.chars().count() <= 1024);
        }
    }
}

#[tokio::test]
async fn secrets_are_in_no_record_and_no_debug_output() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let reply = send(&world, asking(&world, &running)).await;
    let body = String::from_utf8(reply.body.to_vec()).unwrap();
    let token = exchanged(&world, &running).await;
    assert!(body.contains("access_token"));
    assert!(!format!("{reply:?}").contains("access_token"));
    let admin = log_in(&world, &mia).await;
    let ticket = world
        .plane
        .run_request(&world.cx(&mia), launch(running.task))
        .await;
    let ticket = ticket.unwrap();
    assert!(ticket.ticket.expose().starts_with(TICKET_PREFIX));
    assert!(!format!("{ticket:?}").contains(TICKET_PREFIX));
    assert!(!format!("{:?}", world.gateway.newest()).contains("hush"));
    assert!(!format!("{:?}", server("git")).contains("hush"));
    let records = format!("{:?}", world.records().await);
    for secret in [&token, &admin, ticket.ticket.expose(), "hush"] {
        assert!(!records.contains(secret));
    }
}

#[tokio::test]
async fn strangers_can_not_fill_the_log() {
    let (world, _) = World::ready().await;
    let before = world.records().await.len();
    let knock = || async {
        let (form, dpop) = (bytes::Bytes::from_static(b"x"), String::new());
        world.plane.token(TokenCall { form, dpop }).await.unwrap()
    };
    let most = usize::try_from(STRANGERS_RECORDED_MAX).unwrap();
    for _ in 0..most + 7 {
        assert_eq!(knock().await.status, 400);
    }
    assert_eq!(world.records().await.len(), before + most);
    world.clock.forward(Duration::from_mins(1));
    knock().await;
    let records = world.records().await;
    assert_eq!(records.len(), before + most + 1);
    let left_out = records.last().unwrap().event.body.get("left_out").cloned();
    assert_eq!(left_out.unwrap().as_u64(), Some(7));
}
