//! Delegation: narrowing, chains of several hops, and what ends with what.

use std::time::Duration;

use aims_authority::Authority;
use aims_crypto::{Signer, SigningKey};
use aims_jose::{Jws, JwsLimits, SigningHeader, sign};
use aims_links::{Attestation, Control, DelegateCall, EndedInstance, LaunchOrder, Refusal};
use aims_model::grant::{CHAIN_LEN_MAX, DELEGATION_TYP, Delegator, GRANT_TYP, grant_digest};
use aims_model::{DelegationRequest, EventKind, Grant, KeyPurpose, Role, Subject};
use aims_oauth::{AccessToken, TokenExpect, VerifiedAccessToken};
use aims_types::Id;

use super::tokens::{asking, exchanged, send};
use super::world::{
    Host, ISSUER, RESOURCE, Running, Somebody, World, authority_of, jwk, new_key, posture, signed,
    text,
};
use crate::chain::payload;
use crate::tokens::TrustedKeys;

/// The authority to read the log of one repository, with further hops and a number of uses.
pub(super) fn deep(depth: usize, uses: u64) -> Authority {
    authority_of(&format!(
        r#"{{"authorization_details":[{{"type":"mcp_tool","server":"git","actions":["git_log"],
            "arguments":{{"repo_path":{{"equals":"/srv/repo"}}}}}}],
            "limits":{{"uses":{uses},"depth":{depth}}}}}"#
    ))
}

/// An instance of `notes` whose task may be delegated so many hops further.
pub(super) async fn root(world: &World, person: &Somebody, depth: usize) -> Running {
    let mut consent = world.consent(person, "notes");
    consent.authority = deep(depth, 10);
    let jws = signed(&consent, &person.key);
    let started = world.plane.task_start(&world.cx(person), &jws).await;
    world.instance(person, started.unwrap().value.task.id).await
}

/// A good request of the instance for a sub-agent.
pub(super) fn request(world: &World, parent: &Running, agent: &str) -> DelegationRequest {
    let held = Grant::from_claims(&payload(&parent.grant.grant).unwrap()).unwrap();
    let depth = usize::from(held.authority.limits().depth());
    DelegationRequest {
        instance: parent.grant.instance,
        audience: "aims.local".parse().unwrap(),
        jti: world.jti(),
        issued_at: world.now(),
        parent: grant_digest(&parent.grant.grant),
        agent: agent.parse().unwrap(),
        purpose: "look at the log".parse().unwrap(),
        deadline: held.expires_at,
        authority: deep(depth.saturating_sub(1), 5),
    }
}

pub(super) fn signed_request(request: &DelegationRequest, key: &SigningKey) -> String {
    let header = SigningHeader::new(DELEGATION_TYP);
    sign(&header, &request.to_claims().unwrap(), key).unwrap()
}

pub(super) fn call(world: &World, parent: &Running, request: &DelegationRequest) -> DelegateCall {
    DelegateCall {
        node: world.node.id,
        instance: parent.grant.instance,
        request: signed_request(request, &parent.key),
        wit: parent.grant.wit.clone(),
    }
}

async fn delegated(world: &World, call: DelegateCall) -> Result<LaunchOrder, Refusal> {
    world.plane.delegate(call).await.unwrap()
}

/// The sub-agent's attested instance.
pub(super) async fn started(world: &World, order: &LaunchOrder) -> Running {
    let key = new_key();
    let attestation = Attestation {
        node: world.node.id,
        run: order.run,
        posture: posture(),
        jwk: jwk(&key),
    };
    let grant = world.plane.instance_attest(attestation).await.unwrap();
    Running {
        grant: grant.unwrap(),
        key,
        task: order.task.id,
    }
}

/// Delegates to an agent and starts it.
pub(super) async fn sub(world: &World, parent: &Running, agent: &str) -> Running {
    let request = request(world, parent, agent);
    let order = delegated(world, call(world, parent, &request)).await;
    started(world, &order.unwrap()).await
}

async fn stage() -> (World, Somebody) {
    let (world, mia) = World::ready().await;
    world.agent("reader", "mia").await;
    world.enrol("max", Role::Member).await;
    world.agent("helper", "max").await;
    (world, mia)
}

async fn end(world: &World, running: &Running) {
    let ended = EndedInstance {
        node: world.node.id,
        instance: running.grant.instance,
        how: "exited 0".to_owned(),
    };
    world.plane.instance_ended(ended).await.unwrap().unwrap();
}

async fn token_status(world: &World, running: &Running) -> u16 {
    send(world, asking(world, running)).await.status
}

#[tokio::test]
async fn a_chain_of_three_hops_is_signed_hop_by_hop_and_its_token_names_all() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 2).await;
    let second = sub(&world, &first, "reader").await;
    let third = sub(&world, &second, "helper").await;
    let leaf = grant_digest(&third.grant.grant);
    let chain = world.plane.chain(leaf).await.unwrap().unwrap();
    assert_eq!(chain.person.id, mia.id);
    let names: Vec<_> = chain
        .hops
        .iter()
        .map(|hop| hop.delegate.name.as_str())
        .collect();
    assert_eq!(names, ["notes", "reader", "helper"]);
    assert_eq!(chain.hops[2].delegate.owner.as_str(), "max");
    let mut above: Vec<Grant> = Vec::new();
    for (hop, running) in chain.hops.iter().zip([&first, &second, &third]) {
        assert_eq!(hop.jws, running.grant.grant);
        let parsed = Jws::parse(&hop.jws, &JwsLimits::TOKEN).unwrap();
        let key = Signer::public(&world.plane.keyring().grant.signer);
        parsed.verify(key, GRANT_TYP).unwrap();
        let grant = Grant::from_claims(&payload(&hop.jws).unwrap()).unwrap();
        let ids: Vec<_> = above.iter().map(|grant| grant.id).collect();
        assert_eq!(grant.ancestors, ids);
        if let Delegator::Agent { request, .. } = &grant.delegator {
            let given = DelegationRequest::from_claims(&payload(request).unwrap()).unwrap();
            assert_eq!(given.authority, grant.authority);
        }
        above.push(grant);
    }
    let token = exchanged(&world, &third).await;
    let mut reader = world.parts.store.read().await.unwrap();
    let keys = TrustedKeys::load(reader.as_mut(), KeyPurpose::Token, world.now()).await;
    let expect = TokenExpect {
        issuer: ISSUER,
        audience: RESOURCE,
        now: world.now(),
    };
    let verified = VerifiedAccessToken::verify(&token, &keys.unwrap(), &expect).unwrap();
    let AccessToken::Instance(read) = verified.into_inner() else {
        panic!("a person's token")
    };
    assert_eq!(read.subject, mia.id.to_string());
    assert_eq!(read.common.client_id, "spiffe://aims.local/agent/helper");
    let act = read.act.unwrap();
    assert_eq!(act.current().sub, read.common.client_id);
    let prior: Vec<_> = act
        .prior_for_records()
        .iter()
        .map(|a| a.sub.as_str())
        .collect();
    assert_eq!(
        prior,
        [
            "spiffe://aims.local/agent/reader",
            "spiffe://aims.local/agent/notes"
        ]
    );
    let digests = [&first, &second, &third].map(|one| grant_digest(&one.grant.grant));
    assert_eq!(read.chain.grants(), digests);
}

#[tokio::test]
async fn a_granted_delegation_is_on_record_with_everything_that_it_rests_on() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 1).await;
    let request = request(&world, &first, "reader");
    let call = call(&world, &first, &request);
    let jws = call.request.clone();
    let order = delegated(&world, call).await.unwrap();
    assert_eq!(order.agent.name.as_str(), "reader");
    assert_eq!(order.task.id, first.task);
    let records = world.records_of(EventKind::DelegationGranted).await;
    let [record] = records.as_slice() else {
        panic!("{records:?}")
    };
    assert_eq!(record.event.task, Some(first.task));
    assert_eq!(text(record, "delegation"), order.delegation.to_string());
    assert_eq!(text(record, "instance"), first.grant.instance.to_string());
    assert_eq!(
        text(record, "parent"),
        grant_digest(&first.grant.grant).to_string()
    );
    assert_eq!(text(record, "request"), jws);
    assert_eq!(text(record, "agent"), "spiffe://aims.local/agent/reader");
    assert_eq!(text(record, "by"), world.node.id.to_string());
    assert_eq!(text(record, "run"), order.run.to_string());
    let taken_up = world.records_of(EventKind::RunRedeemed).await;
    assert_eq!(text(taken_up.last().unwrap(), "run"), order.run.to_string());
    let running = started(&world, &order).await;
    let held = Grant::from_claims(&payload(&running.grant.grant).unwrap()).unwrap();
    assert_eq!(
        (held.id, held.authority),
        (order.delegation, request.authority)
    );
    let attested = world.records_of(EventKind::InstanceAttested).await;
    let delegation = text(attested.last().unwrap(), "delegation");
    assert_eq!(delegation, order.delegation.to_string());
}

/// How a request is spoilt.
type Other = fn(&mut DelegationRequest);

/// How a call is spoilt.
type Change<'a> = Box<dyn Fn(&mut DelegateCall) + 'a>;

/// What is wrong with a request, and with which code and constraint it is refused.
type Spoil = (&'static str, &'static str, Other);

#[tokio::test]
async fn what_is_wider_is_refused_with_the_constraint_that_failed_and_what_is_allowed() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 1).await;
    let cases: [Spoil; 9] = [
        ("wider_depth", "wider_depth", |r| r.authority = deep(1, 5)),
        ("wider_uses", "wider_uses", |r| r.authority = deep(0, 11)),
        ("wider_tool", "`git/git_show`", |r| {
            r.authority = one_tool("git_show", r#""repo_path":{"equals":"/srv/repo"}"#);
        }),
        ("wider_tool", "`svn/svn_log`", |r| {
            r.authority = authority_of(
                r#"{"authorization_details":[{"type":"mcp_tool","server":"svn",
                    "actions":["svn_log"],"arguments":{}}],"limits":{"uses":1}}"#,
            );
        }),
        (
            "wider_argument_values",
            "argument `repo_path` of `git/git_log`",
            |r| {
                r.authority = one_tool("git_log", r#""repo_path":{"equals":"/etc"}"#);
            },
        ),
        (
            "wider_argument_named",
            "argument `max` of `git/git_log`",
            |r| {
                r.authority = one_tool(
                    "git_log",
                    r#""repo_path":{"equals":"/srv/repo"},"max":"any""#,
                );
            },
        ),
        ("wider_host", "`pypi.org:443`", |r| {
            r.authority = authority_of(
                r#"{"authorization_details":[{"type":"https_connect","host":"pypi.org",
                    "port":443}],"limits":{"uses":1}}"#,
            );
        }),
        ("wider_deadline", "the deadline", |r| {
            r.deadline = r.deadline.plus(Duration::from_millis(1));
        }),
        ("wider_deadline", "the deadline", |r| {
            r.deadline = r.issued_at;
        }),
    ];
    let before = world.revision().await;
    for (code, constraint, spoil) in cases {
        let mut request = request(&world, &first, "reader");
        spoil(&mut request);
        let refused = delegated(&world, call(&world, &first, &request))
            .await
            .unwrap_err();
        assert_eq!(refused.code, code, "{}", refused.reason);
        assert!(refused.reason.contains("allowed:"), "{}", refused.reason);
        let records = world.records_of(EventKind::DelegationRefused).await;
        let record = records.last().unwrap();
        assert_eq!(text(record, "code"), code);
        assert_eq!(text(record, "constraint"), constraint);
        assert!(!text(record, "allowed").is_empty());
        assert_eq!(text(record, "instance"), first.grant.instance.to_string());
        assert_eq!(text(record, "agent"), "reader");
        assert_eq!(record.event.task, Some(first.task));
    }
    assert_eq!(world.revision().await, before);
    assert!(
        world
            .records_of(EventKind::DelegationGranted)
            .await
            .is_empty()
    );
}

fn one_tool(tool: &str, arguments: &str) -> Authority {
    authority_of(&format!(
        r#"{{"authorization_details":[{{"type":"mcp_tool","server":"git","actions":["{tool}"],
            "arguments":{{{arguments}}}}}],"limits":{{"uses":1}}}}"#
    ))
}

#[tokio::test]
async fn a_request_that_is_not_the_instances_own_here_and_now_is_refused() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 1).await;
    let cases: [(&str, Other); 9] = [
        ("delegation_foreign_instance", |r| {
            r.instance = Id::from_u128(1);
        }),
        ("delegation_audience", |r| {
            r.audience = "other.local".parse().unwrap();
        }),
        ("bad_delegation", |r| r.jti = String::new()),
        ("bad_delegation", |r| r.jti = "a b".to_owned()),
        ("delegation_too_old", |r| {
            r.issued_at = r.issued_at.minus(Duration::from_secs(61));
        }),
        ("delegation_from_future", |r| {
            r.issued_at = r.issued_at.plus(Duration::from_secs(61));
        }),
        ("delegation_foreign_parent", |r| {
            r.parent = aims_crypto::sha256(b"other");
        }),
        ("unknown_agent", |r| r.agent = "nobody".parse().unwrap()),
        ("empty_authority", |r| {
            r.authority = authority_of(r#"{"authorization_details":[],"limits":{"uses":1}}"#);
        }),
    ];
    for (code, spoil) in cases {
        let mut request = request(&world, &first, "reader");
        spoil(&mut request);
        let refused = delegated(&world, call(&world, &first, &request)).await;
        assert_eq!(refused.unwrap_err().code, code);
    }
}

#[tokio::test]
async fn a_call_with_another_key_identity_or_node_is_refused() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 1).await;
    let other = root(&world, &mia, 1).await;
    let good = request(&world, &first, "reader");
    let spoils: [(&str, Change<'_>); 6] = [
        (
            "unknown_instance",
            Box::new(|c| c.instance = Id::from_u128(1)),
        ),
        ("unknown_node", Box::new(|c| c.node = Id::from_u128(1))),
        (
            "delegation_signature",
            Box::new(|c| c.request = signed_request(&good, &other.key)),
        ),
        (
            "delegation_identity_differs",
            Box::new(|c| c.wit = other.grant.wit.clone()),
        ),
        (
            "delegation_identity",
            Box::new(|c| c.wit = first.grant.grant.clone()),
        ),
        // The other instance's request, key and identity, in the name of this one.
        (
            "delegation_signature",
            Box::new(|c| {
                c.request = signed_request(&request(&world, &other, "reader"), &other.key);
                c.wit = other.grant.wit.clone();
            }),
        ),
    ];
    for (code, spoil) in spoils {
        let mut call = call(&world, &first, &good);
        spoil(&mut call);
        assert_eq!(delegated(&world, call).await.unwrap_err().code, code);
    }
    let Host { id: node, .. } = world.other_node().await;
    let mut foreign = call(&world, &first, &good);
    foreign.node = node;
    let refused = delegated(&world, foreign).await.unwrap_err();
    assert_eq!(refused.code, "foreign_node");
    // Nobody writes into the records of a task that is not theirs.
    let records = world.records_of(EventKind::DelegationRefused).await;
    assert_eq!(records.last().unwrap().event.task, None);
    delegated(&world, call(&world, &first, &good))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_request_counts_once() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 1).await;
    let request = request(&world, &first, "reader");
    delegated(&world, call(&world, &first, &request))
        .await
        .unwrap();
    let again = delegated(&world, call(&world, &first, &request))
        .await
        .unwrap_err();
    assert_eq!(again.code, "delegation_replayed");
    world.clock.forward(Duration::from_secs(62));
    let later = delegated(&world, call(&world, &first, &request))
        .await
        .unwrap_err();
    assert_eq!(later.code, "delegation_too_old");
}

#[tokio::test]
async fn a_chain_has_no_more_hops_than_everybody_reads() {
    let (world, mia) = stage().await;
    let mut last = root(&world, &mia, CHAIN_LEN_MAX).await;
    for _ in 1..CHAIN_LEN_MAX {
        last = sub(&world, &last, "reader").await;
    }
    assert_eq!(token_status(&world, &last).await, 200);
    let one_more = request(&world, &last, "reader");
    let refused = delegated(&world, call(&world, &last, &one_more))
        .await
        .unwrap_err();
    assert_eq!(refused.code, "chain_too_long");
}

#[tokio::test]
async fn a_hop_that_the_policy_forbids_to_any_of_the_chain_is_not_made() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 1).await;
    let cx = world.cx(&world.operator);
    for (who, condition) in [
        ("agent `reader`", r#"principal == Agent::"reader""#),
        ("agent `notes`", r#"principal == Agent::"notes""#),
        ("person `mia`", "principal is Person"),
    ] {
        let policy = format!(
            "{}@id(\"no\")\nforbid ({condition}, action == Action::\"git/git_log\", resource);\n",
            super::world::POLICY
        );
        world.plane.policy_activate(&cx, &policy).await.unwrap();
        let request = request(&world, &first, "reader");
        let refused = delegated(&world, call(&world, &first, &request))
            .await
            .unwrap_err();
        assert_eq!(refused.code, "policy_denied");
        assert!(refused.reason.contains(who), "{}", refused.reason);
    }
}

#[tokio::test]
async fn only_an_active_agent_with_an_owner_receives_anything() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 1).await;
    let cx = world.cx(&world.operator);
    let reader = "reader".parse().unwrap();
    world.plane.agent_suspend(&cx, &reader).await.unwrap();
    let request = request(&world, &first, "reader");
    let refused = delegated(&world, call(&world, &first, &request))
        .await
        .unwrap_err();
    assert_eq!(refused.code, "agent_not_active");
    world.plane.agent_activate(&cx, &reader).await.unwrap();
    // The refusal did not use the request up.
    delegated(&world, call(&world, &first, &request))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_an_instance_delegated_ends_with_it_down_to_the_last_hop() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 2).await;
    let second = sub(&world, &first, "reader").await;
    let third = sub(&world, &second, "helper").await;
    let beside = world.instance(&mia, first.task).await;
    // A sub-agent that is to start when its delegator is gone already.
    let late = request(&world, &second, "reader");
    let order = delegated(&world, call(&world, &second, &late))
        .await
        .unwrap();
    end(&world, &first).await;
    let ended = world.records_of(EventKind::InstanceEnded).await;
    let ids: Vec<_> = ended
        .iter()
        .map(|record| text(record, "instance"))
        .collect();
    let expected = [&first, &second, &third].map(|one| one.grant.instance.to_string());
    assert_eq!(ids, expected);
    assert_eq!(text(&ended[0], "how"), "exited 0");
    assert_eq!(
        text(&ended[2], "how"),
        "the instance that delegated to it ended"
    );
    let minted = world.revision().await;
    for running in [&second, &third] {
        let instance = Subject::Instance(running.grant.instance);
        assert!(world.gateway.cuts(&instance, minted));
        assert_eq!(token_status(&world, running).await, 400);
    }
    assert_eq!(token_status(&world, &beside).await, 200);
    let attestation = world.attestation(order.run, &new_key());
    let refused = world.plane.instance_attest(attestation).await.unwrap();
    assert_eq!(refused.unwrap_err().code, "delegator_ended");
}

#[tokio::test]
async fn whatever_a_hop_rests_on_that_is_gone_leaves_nothing_below_it() {
    for gone in ["agent", "owner", "instance", "task", "freeze"] {
        let (world, mia) = stage().await;
        let first = root(&world, &mia, 2).await;
        let second = sub(&world, &first, "reader").await;
        let third = sub(&world, &second, "helper").await;
        let cx = world.cx(&world.operator);
        let plane = &world.plane;
        match gone {
            "agent" => drop(
                plane
                    .agent_suspend(&cx, &"reader".parse().unwrap())
                    .await
                    .unwrap(),
            ),
            "owner" => drop(
                plane
                    .person_remove(&cx, &"max".parse().unwrap())
                    .await
                    .unwrap(),
            ),
            "task" => drop(plane.task_end(&cx, first.task).await.unwrap()),
            "freeze" => drop(plane.task_freeze(&cx, first.task).await.unwrap()),
            _ => end(&world, &second).await,
        }
        assert_eq!(token_status(&world, &third).await, 400, "{gone}");
        let request = request(&world, &third, "reader");
        let refused = delegated(&world, call(&world, &third, &request)).await;
        assert!(refused.is_err(), "{gone}");
        // The hop above lives on where only something below it is gone.
        let above = token_status(&world, &first).await;
        let expected = if matches!(gone, "task" | "freeze") {
            400
        } else {
            200
        };
        assert_eq!(above, expected, "{gone}");
    }
}

#[tokio::test]
async fn the_grant_of_another_hop_gets_no_token() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 1).await;
    let second = sub(&world, &first, "reader").await;
    for (own, foreign) in [(&first, &second), (&second, &first)] {
        let mut asking = asking(&world, own);
        asking.exchange.subject = aims_oauth::TypedToken {
            token: aims_types::Secret::new(foreign.grant.grant.clone()),
            token_type: aims_oauth::TokenType::Jwt,
        };
        assert_eq!(send(&world, asking).await.status, 400);
        assert_eq!(world.refused().await, "foreign_grant");
    }
}

#[tokio::test]
async fn a_delegation_past_its_end_is_dead_while_the_task_goes_on() {
    let (world, mia) = stage().await;
    let first = root(&world, &mia, 1).await;
    let mut asked = request(&world, &first, "reader");
    asked.deadline = world.now().plus(Duration::from_mins(2));
    let order = delegated(&world, call(&world, &first, &asked))
        .await
        .unwrap();
    let second = started(&world, &order).await;
    assert_eq!(second.grant.deadline, asked.deadline);
    assert!(second.grant.expires_at <= asked.deadline);
    world.clock.forward(Duration::from_mins(2));
    let renewed = world
        .plane
        .instance_renew(
            world.node.id,
            second.grant.instance,
            super::world::evidence(),
        )
        .await
        .unwrap();
    assert_eq!(renewed.unwrap_err().code, "delegation_ended");
    assert_eq!(token_status(&world, &first).await, 200);
}
