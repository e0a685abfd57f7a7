//! Tasks by consent.

use std::time::Duration;

use aims_jose::{Jws, JwsLimits, SigningHeader, sign};
use aims_links::Control;
use aims_model::grant::{CONSENT_TYP, Consent, Delegator, GRANT_TYP};
use aims_model::{Grant, Role, Subject};
use aims_types::Actor;

use super::world::{START, World, authority, authority_of, kid, launch, signed};
use crate::chain::payload;
use crate::{CONSENT_LEN_MAX, Refused};

#[tokio::test]
async fn the_root_grant_says_exactly_what_the_person_consented_to() {
    let (world, mia) = World::ready().await;
    let consent = world.consent(&mia, "notes");
    let jws = signed(&consent, &mia.key);
    let done = world.plane.task_start(&world.cx(&mia), &jws).await.unwrap();
    let parsed = Jws::parse(&done.value.grant.jws, &JwsLimits::TOKEN).unwrap();
    let key = &world.plane.keyring().grant;
    parsed
        .verify(aims_crypto::Signer::public(&key.signer), GRANT_TYP)
        .unwrap();
    let grant = Grant::from_claims(&payload(&done.value.grant.jws).unwrap()).unwrap();
    assert_eq!(grant.authority, consent.authority);
    assert_eq!(grant.purpose, consent.purpose);
    assert_eq!(grant.expires_at, consent.deadline);
    assert_eq!(grant.revision, done.revision);
    assert_eq!(grant.ancestors, []);
    assert_eq!(grant.parent, None);
    let Delegator::Person {
        id, consent: kept, ..
    } = grant.delegator
    else {
        panic!("a root is from a person")
    };
    assert_eq!((id, kept), (mia.id, jws));
    let chain = world
        .plane
        .chain(done.value.grant.digest)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(chain.person.id, mia.id);
    assert_eq!(chain.hops.len(), 1);
    assert_eq!(chain.hops[0].jws, done.value.grant.jws);
    assert_eq!(chain.hops[0].delegate.name.as_str(), "notes");
    assert!(
        world
            .plane
            .chain(aims_crypto::sha256(b"no"))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_consent_counts_once() {
    let (world, mia) = World::ready().await;
    let jws = signed(&world.consent(&mia, "notes"), &mia.key);
    world.plane.task_start(&world.cx(&mia), &jws).await.unwrap();
    let before = world.revision().await;
    world.clock.forward(Duration::from_secs(299));
    let again = world
        .plane
        .task_start(&world.cx(&mia), &jws)
        .await
        .unwrap_err();
    assert_eq!(again.code(), "consent_replayed");
    assert_eq!(world.refused().await, "consent_replayed");
    assert_eq!(world.revision().await, before);
    world.clock.forward(Duration::from_secs(2));
    let later = world
        .plane
        .task_start(&world.cx(&mia), &jws)
        .await
        .unwrap_err();
    assert_eq!(later.code(), "consent_too_old");
}

#[tokio::test]
async fn a_consent_that_is_not_the_persons_own_now_and_here_is_refused() {
    type Change = fn(&mut Consent);
    let (world, mia) = World::ready().await;
    let before = world.revision().await;
    let changes: [(&str, Change); 12] = [
        ("consent_audience", |c| {
            c.audience = "other.local".parse().unwrap();
        }),
        ("consent_too_old", |c| {
            c.issued_at = START.minus(Duration::from_secs(301));
        }),
        ("consent_from_future", |c| {
            c.issued_at = START.plus(Duration::from_secs(61));
        }),
        ("bad_deadline", |c| c.deadline = START),
        ("bad_deadline", |c| {
            c.deadline = START.plus(Duration::from_secs(24 * 3600 + 1));
        }),
        ("bad_consent", |c| c.jti = String::new()),
        ("bad_consent", |c| c.jti = "a b".to_owned()),
        ("bad_consent", |c| c.jti = "x".repeat(129)),
        ("unknown_agent", |c| c.agent = "nobody".parse().unwrap()),
        ("empty_authority", |c| {
            c.authority = authority_of(r#"{"authorization_details":[],"limits":{}}"#);
        }),
        ("unknown_server", |c| c.authority = tool("svn", "svn_log")),
        ("unknown_tool", |c| c.authority = tool("git", "git_push")),
    ];
    for (code, change) in changes {
        let mut consent = world.consent(&mia, "notes");
        change(&mut consent);
        let refused = world
            .plane
            .task_start(&world.cx(&mia), &signed(&consent, &mia.key))
            .await;
        let error = refused.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(world.refused().await, code);
    }
    assert_eq!(world.revision().await, before);
}

fn tool(server: &str, tool: &str) -> aims_authority::Authority {
    authority_of(&format!(
        r#"{{"authorization_details":[{{"type":"mcp_tool","server":"{server}",
            "actions":["{tool}"],"arguments":{{}}}}],"limits":{{}}}}"#
    ))
}

#[tokio::test]
async fn a_consent_signed_by_another_key_is_refused() {
    let (world, mia) = World::ready().await;
    let max = world.enrol("max", Role::Member).await;
    let consent = world.consent(&mia, "notes");
    let claims = consent.to_claims().unwrap();
    let with_kid = |typ, key: &aims_crypto::SigningKey, name: String| {
        sign(&SigningHeader::new(typ).kid(name), &claims, key).unwrap()
    };
    let cx = world.cx(&mia);
    for (code, jws) in [
        // Somebody else's key, under its own name and under that of the person.
        ("consent_foreign_key", signed(&consent, &max.key)),
        (
            "consent_signature",
            with_kid(CONSENT_TYP, &max.key, kid(&mia.key)),
        ),
        ("consent_foreign_key", signed(&consent, &world.node.key)),
        (
            "consent_signature",
            with_kid(GRANT_TYP, &mia.key, kid(&mia.key)),
        ),
        (
            "consent_foreign_key",
            sign(&SigningHeader::new(CONSENT_TYP), &claims, &mia.key).unwrap(),
        ),
        ("bad_consent", "a.b.c".to_owned()),
        ("bad_consent", "x".repeat(CONSENT_LEN_MAX + 1)),
        // Somebody else's consent with one's own signature.
        (
            "consent_foreign_person",
            signed(&world.consent(&max, "notes"), &mia.key),
        ),
    ] {
        let error = world.plane.task_start(&cx, &jws).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
    // Somebody else presents the good consent.
    let good = signed(&consent, &mia.key);
    let error = world
        .plane
        .task_start(&world.cx(&world.operator), &good)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "consent_foreign_key");
    world.plane.task_start(&cx, &good).await.unwrap();
}

#[tokio::test]
async fn claims_in_another_encoding_are_no_consent() {
    let (world, mia) = World::ready().await;
    let claims = world.consent(&mia, "notes").to_claims().unwrap();
    let spaced = [b" ".as_slice(), &claims].concat();
    let header = SigningHeader::new(CONSENT_TYP).kid(kid(&mia.key));
    let jws = sign(&header, &spaced, &mia.key).unwrap();
    let error = world
        .plane
        .task_start(&world.cx(&mia), &jws)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "bad_consent");
}

#[tokio::test]
async fn only_an_active_agent_gets_a_task() {
    let (world, mia) = World::ready().await;
    let (cx, notes) = (world.cx(&world.operator), "notes".parse().unwrap());
    world.plane.agent_suspend(&cx, &notes).await.unwrap();
    let jws = signed(&world.consent(&mia, "notes"), &mia.key);
    let error = world
        .plane
        .task_start(&world.cx(&mia), &jws)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "agent_not_active");
    world.plane.agent_activate(&cx, &notes).await.unwrap();
    // The refusal did not use the consent up.
    world.plane.task_start(&world.cx(&mia), &jws).await.unwrap();
}

#[tokio::test]
async fn a_hop_that_the_policy_forbids_is_not_made() {
    let (world, mia) = World::ready().await;
    let cx = world.cx(&world.operator);
    let forbid = |condition: &str| {
        format!(
            "{}@id(\"no\")\nforbid ({condition});\n",
            super::world::POLICY
        )
    };
    let start = || async {
        let jws = signed(&world.consent(&mia, "notes"), &mia.key);
        world.plane.task_start(&world.cx(&mia), &jws).await
    };
    for condition in [
        r#"principal is Agent, action == Action::"git/git_log", resource"#,
        r#"principal is Person, action in Action::"call", resource"#,
    ] {
        world
            .plane
            .policy_activate(&cx, &forbid(condition))
            .await
            .unwrap();
        let error = start().await.unwrap_err();
        assert_eq!(error.code(), "policy_denied");
        assert!(error.to_string().contains("`no`"), "{error}");
    }
    let other = r#"principal, action == Action::"git/git_show", resource"#;
    world
        .plane
        .policy_activate(&cx, &forbid(other))
        .await
        .unwrap();
    start().await.unwrap();
}

#[tokio::test]
async fn a_host_has_to_be_permitted_to_both() {
    let (world, mia) = World::ready().await;
    let cx = world.cx(&world.operator);
    let policy = r#"@id("tools") permit (principal, action in Action::"call", resource);
        @id("index") permit (principal is Agent, action == Action::"connect", resource);"#;
    world.plane.policy_activate(&cx, policy).await.unwrap();
    let mut consent = world.consent(&mia, "notes");
    consent.authority = authority_of(
        r#"{"authorization_details":[{"type":"https_connect","host":"pypi.org","port":443}],
            "limits":{}}"#,
    );
    let jws = signed(&consent, &mia.key);
    let error = world
        .plane
        .task_start(&world.cx(&mia), &jws)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "policy_denied");
    assert!(error.to_string().contains("person `mia`"), "{error}");
}

#[tokio::test]
async fn ending_a_task_cuts_it_off_and_happens_once() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let minted = world.revision().await;
    world
        .plane
        .task_end(&world.cx(&mia), running.task)
        .await
        .unwrap();
    assert!(world.gateway.cuts(&Subject::Task(running.task), minted));
    let again = world
        .plane
        .task_end(&world.cx(&mia), running.task)
        .await
        .unwrap_err();
    assert_eq!(again.code(), "invalid_transition");
    let run = world
        .plane
        .run_request(&world.cx(&mia), launch(running.task))
        .await
        .unwrap_err();
    assert_eq!(run.code(), "task_ended");
    let unknown = world
        .plane
        .task_end(&world.cx(&mia), aims_types::Id::from_u128(1))
        .await;
    assert_eq!(unknown.unwrap_err().code(), "unknown_task");
}

#[tokio::test]
async fn the_initiator_ends_what_they_started_and_the_owner_what_runs_as_their_agent() {
    let (world, mia) = World::ready().await;
    // The operator starts a task for mia's agent; mia, the owner, ends it.
    let task = world.start(&world.operator, "notes").await.task;
    world
        .plane
        .task_end(&world.cx(&mia), task.id)
        .await
        .unwrap();
    let task = world.start(&mia, "notes").await.task;
    world
        .plane
        .task_end(&world.cx(&world.operator), task.id)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_task_past_its_deadline_is_ended_by_housekeeping() {
    let (world, mia) = World::ready().await;
    let task = world.start(&mia, "notes").await.task;
    let server = |world: &World| world.plane.cx(Actor::Server).unwrap();
    assert!(world.plane.expire(&server(&world)).await.unwrap().is_none());
    world.clock.forward(Duration::from_hours(1));
    let run = world
        .plane
        .run_request(&world.cx(&mia), launch(task.id))
        .await
        .unwrap_err();
    assert_eq!(run.code(), "task_ended");
    let minted = world.revision().await;
    let expired = world.plane.expire(&server(&world)).await.unwrap().unwrap();
    assert_eq!(expired.value[0].id, task.id);
    assert!(world.gateway.cuts(&Subject::Task(task.id), minted));
    assert!(world.plane.expire(&server(&world)).await.unwrap().is_none());
    assert_ne!(authority().details(), []);
}
