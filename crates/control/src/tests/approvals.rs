//! Approvals: asked once, answered by somebody else, used once.

use std::sync::Arc;
use std::time::Duration;

use aims_crypto::{SigningKey, sha256};
use aims_jose::{SigningHeader, sign};
use aims_json::Object;
use aims_links::{Control, EndedInstance, Refusal, ShippedRecord};
use aims_model::approval::{APPROVAL_ARGUMENTS_MAX, APPROVAL_TYP, Answer, Asked, Stage};
use aims_model::grant::grant_digest;
use aims_model::record::FIRST_PREV;
use aims_model::{Approval, Event, EventKind, Grant, Role, Source};
use aims_types::{self as types, Actor, Id};
use async_trait::async_trait;

use super::kill::killing;
use super::peer::pin;
use super::world::{Running, Somebody, World, kid, text};
use crate::chain::payload;
use crate::{APPROVALS_OPEN_MAX, Committed, ControlPlane, RecordSink, RecordSinkError, Refused};

/// How something good is spoilt.
type Change<T> = fn(&mut T);

/// A world with an instance of mia's task, and an approver.
struct Court {
    world: World,
    mia: Somebody,
    judge: Somebody,
    running: Running,
}

impl Court {
    async fn new() -> Self {
        let (world, mia) = World::ready().await;
        let judge = world.enrol("judge", Role::Approver).await;
        let running = world.running(&mia, "notes").await;
        Self {
            world,
            mia,
            judge,
            running,
        }
    }

    async fn asked(&self) -> Asked {
        asked(&self.world, &self.mia, &self.running).await
    }

    async fn ask(&self, asked: Asked) -> Result<Approval, Refusal> {
        let plane = &self.world.plane;
        plane
            .approval_ask(self.world.gateway_id, asked)
            .await
            .unwrap()
    }

    async fn open(&self) -> Approval {
        self.ask(self.asked().await).await.unwrap()
    }

    fn answer(&self, approval: &Approval, by: &Somebody) -> Answer {
        Answer {
            person: by.id,
            audience: "aims.local".parse().unwrap(),
            issued_at: self.world.now(),
            approval: approval.id,
            digest: approval.digest,
            approve: true,
            reason: "as discussed".to_owned(),
        }
    }

    /// Gives `answer`, signed with a key of `by`, to the request.
    async fn give(
        &self,
        approval: &Approval,
        by: &Somebody,
        answer: &Answer,
    ) -> Result<Committed<Approval>, crate::AnswerApprovalError> {
        let jws = signed_answer(answer, &by.key);
        self.world
            .plane
            .approval_answer(&self.world.cx(by), approval.id, &jws)
            .await
    }

    async fn approved(&self) -> Approval {
        let approval = self.open().await;
        let answer = self.answer(&approval, &self.judge);
        self.give(&approval, &self.judge, &answer)
            .await
            .unwrap()
            .value
    }

    async fn stage(&self, id: Id<types::Approval>) -> Stage {
        self.world.plane.approval(id).await.unwrap().unwrap().stage
    }

    async fn ended(&self) -> (String, String) {
        let records = self.world.records_of(EventKind::ApprovalEnded).await;
        let last = records.last().unwrap();
        (text(last, "how"), text(last, "why"))
    }
}

/// What a gateway asks for an instance of `notes` that wants to read the log.
pub(super) async fn asked(world: &World, initiator: &Somebody, running: &Running) -> Asked {
    let leaf = Grant::from_claims(&payload(&running.grant.grant).unwrap()).unwrap();
    let mut reader = world.parts.store.read().await.unwrap();
    Asked {
        task: running.task,
        initiator: initiator.id,
        agent: leaf.delegate_spiffe_id.clone(),
        instance: running.grant.instance,
        delegation: leaf.id,
        leaf: grant_digest(&running.grant.grant),
        server: "git".parse().unwrap(),
        tool: "git_log".to_owned(),
        pin: pin("git_log").digest,
        arguments: r#"{"repo_path":"/srv/repo"}"#.to_owned(),
        policy: reader.policy_current().await.unwrap().unwrap().id,
        requirements: vec!["ask-first".parse().unwrap()],
    }
}

pub(super) fn signed_answer(answer: &Answer, key: &SigningKey) -> String {
    let header = SigningHeader::new(APPROVAL_TYP).kid(kid(key));
    sign(&header, &answer.to_claims().unwrap(), key).unwrap()
}

#[tokio::test]
async fn the_same_question_is_one_request_while_it_is_open() {
    let court = Court::new().await;
    let approval = court.open().await;
    assert_eq!(approval.digest, court.asked().await.digest().unwrap());
    assert_eq!(court.open().await, approval);
    let mut other = court.asked().await;
    other.arguments.push(' ');
    let other = court.ask(other).await.unwrap();
    assert_ne!(other.id, approval.id);
    let records = court.world.records_of(EventKind::ApprovalAsked).await;
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].event.task, Some(court.running.task));
    assert_eq!(text(&records[0], "approval"), approval.id.to_string());
    assert_eq!(text(&records[0], "digest"), approval.digest.to_string());
    assert_eq!(text(&records[0], "tool"), "git_log");
    assert_eq!(text(&records[0], "by"), court.world.gateway_id.to_string());
    // Approved and unused it is still the same; a refusal is an end, and asking is new.
    let answer = court.answer(&approval, &court.judge);
    court.give(&approval, &court.judge, &answer).await.unwrap();
    assert_eq!(court.open().await.id, approval.id);
    let mut denial = court.answer(&other, &court.judge);
    denial.approve = false;
    court.give(&other, &court.judge, &denial).await.unwrap();
    let asked = other.asked.clone();
    assert_ne!(court.ask(asked).await.unwrap().id, other.id);
}

#[tokio::test]
async fn a_question_that_is_not_about_what_the_server_knows_is_not_put() {
    let court = Court::new().await;
    let cases: [(&str, Change<Asked>); 13] = [
        ("approval_differs", |a| a.task = Id::from_u128(1)),
        ("approval_differs", |a| a.initiator = Id::from_u128(1)),
        ("approval_differs", |a| {
            a.agent = "spiffe://aims.local/agent/x".parse().unwrap();
        }),
        ("unknown_instance", |a| a.instance = Id::from_u128(1)),
        ("approval_differs", |a| a.delegation = Id::from_u128(1)),
        ("approval_differs", |a| a.leaf = sha256(b"other")),
        ("approval_tool", |a| a.server = "svn".parse().unwrap()),
        ("approval_tool", |a| a.tool = "git_push".to_owned()),
        ("approval_tool", |a| a.pin = sha256(b"other")),
        ("policy_changed", |a| a.policy = Id::from_u128(1)),
        ("bad_requirements", |a| a.requirements.clear()),
        ("bad_arguments", |a| a.arguments = "[]".to_owned()),
        ("arguments_too_long", |a| {
            a.arguments = format!(r#"{{"a":"{}"}}"#, "x".repeat(APPROVAL_ARGUMENTS_MAX));
        }),
    ];
    for (code, spoil) in cases {
        let mut asked = court.asked().await;
        spoil(&mut asked);
        let refused = court.ask(asked).await.unwrap_err();
        assert_eq!(refused.code, code, "{}", refused.reason);
        assert_eq!(court.world.refused().await, code);
    }
    assert!(
        court
            .world
            .records_of(EventKind::ApprovalAsked)
            .await
            .is_empty()
    );
    let unknown = court
        .world
        .plane
        .approval_ask(Id::from_u128(1), court.asked().await)
        .await;
    unknown.unwrap_err();
}

#[tokio::test]
async fn one_instance_can_not_bury_people_in_questions() {
    let court = Court::new().await;
    for n in 0..APPROVALS_OPEN_MAX {
        let mut asked = court.asked().await;
        asked.arguments = format!(r#"{{"n":{n}}}"#);
        court.ask(asked).await.unwrap();
    }
    let refused = court.ask(court.asked().await).await.unwrap_err();
    assert_eq!(refused.code, "too_many_approvals");
}

#[tokio::test]
async fn nobody_answers_for_what_is_done_on_their_own_behalf() {
    let court = Court::new().await;
    let running = court.world.running(&court.world.operator, "notes").await;
    let own = asked(&court.world, &court.world.operator, &running).await;
    let own = court.ask(own).await.unwrap();
    let answer = court.answer(&own, &court.world.operator);
    let refused = court
        .give(&own, &court.world.operator, &answer)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "own_request");
    let answer = court.answer(&own, &court.judge);
    court.give(&own, &court.judge, &answer).await.unwrap();
    // The initiator's role does not include it anyway; another operator's does.
    let approval = court.open().await;
    let answer = court.answer(&approval, &court.mia);
    let refused = court
        .give(&approval, &court.mia, &answer)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "role_not_allowed");
    let answer = court.answer(&approval, &court.world.operator);
    court
        .give(&approval, &court.world.operator, &answer)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_answer_counts_for_exactly_one_request_by_the_one_who_signed_it() {
    let court = Court::new().await;
    let approval = court.open().await;
    let cases: [(&str, Change<Answer>); 9] = [
        ("answer_to_other", |a| a.person = Id::from_u128(1)),
        ("answer_to_other", |a| {
            a.audience = "other.local".parse().unwrap();
        }),
        ("answer_to_other", |a| a.approval = Id::from_u128(1)),
        ("answer_to_other", |a| a.digest = sha256(b"other")),
        ("answer_too_old", |a| {
            a.issued_at = a.issued_at.minus(Duration::from_secs(301));
        }),
        ("answer_from_future", |a| {
            a.issued_at = a.issued_at.plus(Duration::from_secs(61));
        }),
        ("bad_answer", |a| a.reason = "x".repeat(513)),
        ("bad_answer", |a| a.reason = "a\nb".to_owned()),
        ("bad_answer", |a| a.reason = "a\u{202e}b".to_owned()),
    ];
    for (code, spoil) in cases {
        let mut answer = court.answer(&approval, &court.judge);
        spoil(&mut answer);
        let refused = court
            .give(&approval, &court.judge, &answer)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert_eq!(court.world.refused().await, code);
    }
}

#[tokio::test]
async fn an_answer_counts_once_with_the_key_of_the_one_who_gives_it() {
    let court = Court::new().await;
    let approval = court.open().await;
    let (plane, cx) = (&court.world.plane, court.world.cx(&court.judge));
    let good = court.answer(&approval, &court.judge);
    for (code, jws) in [
        (
            "answer_foreign_key",
            signed_answer(&good, &court.world.operator.key),
        ),
        (
            "answer_foreign_key",
            signed_answer(&good, &court.running.key),
        ),
        ("bad_answer", "a.b.c".to_owned()),
    ] {
        let refused = plane
            .approval_answer(&cx, approval.id, &jws)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), code);
    }
    let header = SigningHeader::new(APPROVAL_TYP).kid(kid(&court.judge.key));
    let forged = sign(&header, &good.to_claims().unwrap(), &court.running.key).unwrap();
    let refused = plane
        .approval_answer(&cx, approval.id, &forged)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "answer_signature");
    let jws = signed_answer(&good, &court.judge.key);
    // Somebody else with the role can't give the judge's answer.
    let other = court.world.enrol("other", Role::Approver).await;
    let refused = plane
        .approval_answer(&court.world.cx(&other), approval.id, &jws)
        .await;
    assert_eq!(refused.unwrap_err().code(), "answer_foreign_key");
    let done = plane.approval_answer(&cx, approval.id, &jws).await.unwrap();
    assert!(matches!(done.value.stage, Stage::Approved { by, .. } if by == court.judge.id));
    let again = plane
        .approval_answer(&cx, approval.id, &jws)
        .await
        .unwrap_err();
    assert_eq!(again.code(), "invalid_transition");
    // To another request it says nothing.
    let mut asked = court.asked().await;
    asked.arguments.push(' ');
    let second = court.ask(asked).await.unwrap();
    let replayed = plane
        .approval_answer(&cx, second.id, &jws)
        .await
        .unwrap_err();
    assert_eq!(replayed.code(), "answer_to_other");
    let records = court.world.records_of(EventKind::ApprovalAnswered).await;
    assert_eq!(records.len(), 1);
    assert_eq!(text(&records[0], "answer"), "approve");
    assert_eq!(text(&records[0], "by"), court.judge.id.to_string());
    assert_eq!(text(&records[0], "jws"), jws);
    assert_eq!(text(&records[0], "reason"), "as discussed");
}

#[tokio::test]
async fn gateways_get_an_approval_when_it_is_given() {
    let court = Court::new().await;
    let approval = court.approved().await;
    let newest = court.world.gateway.newest();
    assert_eq!(newest.revision, court.world.revision().await);
    assert_eq!(newest.approvals.as_slice(), std::slice::from_ref(&approval));
}

#[tokio::test]
async fn a_question_ends_with_whatever_it_rests_on() {
    for end in [
        "task", "freeze", "instance", "kill", "agent", "person", "approver",
    ] {
        let court = Court::new().await;
        let (world, plane) = (&court.world, &court.world.plane);
        let approval = court.approved().await;
        let mut asked = court.asked().await;
        asked.arguments.push(' ');
        let pending = court.ask(asked).await.unwrap();
        let cx = world.cx(&world.operator);
        match end {
            "task" => drop(plane.task_end(&cx, court.running.task).await.unwrap()),
            "freeze" => drop(plane.task_freeze(&cx, court.running.task).await.unwrap()),
            "kill" => {
                let id = court.running.task.to_string();
                drop(plane.kill(&cx, killing("task", &id)).await.unwrap());
            }
            "agent" => drop(
                plane
                    .agent_suspend(&cx, &"notes".parse().unwrap())
                    .await
                    .unwrap(),
            ),
            "person" => drop(
                plane
                    .person_remove(&cx, &"mia".parse().unwrap())
                    .await
                    .unwrap(),
            ),
            "approver" => drop(
                plane
                    .person_remove(&cx, &"judge".parse().unwrap())
                    .await
                    .unwrap(),
            ),
            _ => {
                let ended = EndedInstance {
                    node: world.node.id,
                    instance: court.running.grant.instance,
                    how: "exited 0".to_owned(),
                };
                plane.instance_ended(ended).await.unwrap().unwrap();
            }
        }
        assert!(
            matches!(court.stage(approval.id).await, Stage::Withdrawn { .. }),
            "{end}"
        );
        assert_eq!(court.ended().await.0, "withdrawn", "{end}");
        assert!(!court.ended().await.1.is_empty());
        assert_eq!(world.gateway.newest().approvals.len(), 0, "{end}");
        // What nobody had answered goes on only if just the one who answered is gone.
        let lives = matches!(court.stage(pending.id).await, Stage::Pending {});
        assert_eq!(lives, end == "approver", "{end}");
    }
}

#[tokio::test]
async fn nobody_answers_in_time_and_the_question_is_over() {
    let court = Court::new().await;
    let approval = court.open().await;
    assert_eq!(
        approval.deadline,
        court.world.now().plus(Duration::from_mins(15))
    );
    court.world.clock.forward(Duration::from_mins(15));
    let answer = court.answer(&approval, &court.judge);
    let late = court
        .give(&approval, &court.judge, &answer)
        .await
        .unwrap_err();
    assert_eq!(late.code(), "approval_timed_out");
    // To ask again is to ask anew, whether housekeeping was here or not.
    let again = court.open().await;
    assert_ne!(again.id, approval.id);
    assert!(matches!(
        court.stage(approval.id).await,
        Stage::TimedOut { .. }
    ));
    court.world.clock.forward(Duration::from_mins(15));
    let server = court.world.plane.cx(Actor::Server).unwrap();
    court.world.plane.expire(&server).await.unwrap().unwrap();
    assert!(matches!(
        court.stage(again.id).await,
        Stage::TimedOut { .. }
    ));
    assert_eq!(court.ended().await.0, "timed_out");
    assert!(court.world.plane.expire(&server).await.unwrap().is_none());
}

#[tokio::test]
async fn people_see_the_questions_that_are_theirs_to_see() {
    let court = Court::new().await;
    let (world, plane) = (&court.world, &court.world.plane);
    let approval = court.open().await;
    let max = world.enrol("max", Role::Member).await;
    let auditor = world.enrol("ada", Role::Auditor).await;
    for (somebody, sees) in [
        (&world.operator, true),
        (&court.judge, true),
        (&auditor, true),
        (&court.mia, true),
        (&max, false),
    ] {
        let cx = world.cx(somebody);
        assert_eq!(
            plane.approvals(&cx, false).await.unwrap().len(),
            usize::from(sees)
        );
        assert_eq!(plane.approval_shown(&cx, approval.id).await.is_ok(), sees);
    }
    let answer = court.answer(&approval, &court.judge);
    court.give(&approval, &court.judge, &answer).await.unwrap();
    let id = court.running.task;
    plane.task_end(&world.cx(&court.mia), id).await.unwrap();
    let cx = world.cx(&court.judge);
    assert_eq!(plane.approvals(&cx, false).await.unwrap(), []);
    assert_eq!(plane.approvals(&cx, true).await.unwrap().len(), 1);
}

/// A log that takes everything.
struct Takes;

#[async_trait]
impl RecordSink for Takes {
    async fn take(
        &self,
        _: Id<types::Gateway>,
        records: Vec<ShippedRecord>,
    ) -> Result<u64, RecordSinkError> {
        Ok(records.last().map_or(0, |record| record.seq))
    }

    async fn head(&self, _: Id<types::Gateway>) -> Result<u64, RecordSinkError> {
        Ok(0)
    }

    fn verifier_key(&self) -> Option<&aims_tlog::VerifierKey> {
        None
    }

    async fn prove(&self, _: aims_audit::Wanted) -> Result<aims_audit::Proven, RecordSinkError> {
        Err(RecordSinkError::Unavailable("nothing is kept".to_owned()))
    }
}

fn intent(court: &Court, approval: &Approval, decision: Id<types::Decision>) -> ShippedRecord {
    let used = Object::new()
        .with("id", approval.id.to_string())
        .with("by", court.judge.id.to_string())
        .with("digest", approval.digest.to_string());
    let body = Object::new()
        .with("decision_id", decision.to_string())
        .with("approval", used);
    let event = Event::new(EventKind::CallIntent, court.world.now(), body);
    let source = Source::Gateway(court.world.gateway_id);
    let record = event
        .of_task(approval.asked.task)
        .encode(source, 1, FIRST_PREV);
    ShippedRecord {
        seq: 1,
        record: record.unwrap(),
        material: None,
    }
}

#[tokio::test]
async fn an_approval_is_used_when_the_record_of_its_use_arrives_and_only_once() {
    let court = Court::new().await;
    let mut parts = court.world.parts.clone();
    parts.records = Arc::new(Takes);
    let plane = ControlPlane::open(parts).await.unwrap();
    let approval = court.approved().await;
    let decision = Id::from_u128(77);
    let ship = |record: ShippedRecord| plane.records_ship(court.world.gateway_id, vec![record]);
    // Not for another question.
    let mut other = approval.clone();
    other.digest = sha256(b"other");
    ship(intent(&court, &other, decision)).await.unwrap();
    assert!(matches!(
        court.stage(approval.id).await,
        Stage::Approved { .. }
    ));
    ship(intent(&court, &approval, decision)).await.unwrap();
    let used = court.stage(approval.id).await;
    assert!(matches!(used, Stage::Used { decision: of, .. } if of == decision));
    assert_eq!(court.ended().await.0, "used");
    let records = court.world.records().await.len();
    // It comes again, and another use comes: nothing changes.
    ship(intent(&court, &approval, decision)).await.unwrap();
    ship(intent(&court, &approval, Id::from_u128(78)))
        .await
        .unwrap();
    assert_eq!(court.stage(approval.id).await, used);
    assert_eq!(court.world.records().await.len(), records);
    assert_ne!(court.open().await.id, approval.id);
}

#[tokio::test]
async fn what_nobody_approved_is_not_used() {
    let court = Court::new().await;
    let mut parts = court.world.parts.clone();
    parts.records = Arc::new(Takes);
    let plane = ControlPlane::open(parts).await.unwrap();
    let approval = court.open().await;
    let record = intent(&court, &approval, Id::from_u128(77));
    plane
        .records_ship(court.world.gateway_id, vec![record])
        .await
        .unwrap();
    assert_eq!(court.stage(approval.id).await, Stage::Pending {});
}

#[tokio::test]
async fn an_approval_that_a_lost_owner_may_have_used_is_withdrawn_when_its_tree_is_taken_over() {
    let court = Court::new().await;
    let (plane, owner) = (&court.world.plane, court.world.gateway_id);
    let other: Id<types::Gateway> = Id::from_u128(77);
    let cx = plane.cx(Actor::Server).unwrap();
    let key = super::world::jwk(&super::world::new_key());
    let peer = Arc::new(super::peer::Peer::default());
    plane.gateway_join(&cx, other, &key, peer).await.unwrap();
    let renew = async |gateway: Id<types::Gateway>| {
        let point = aims_model::Point::Gateway(gateway);
        let revision = court.world.revision().await;
        court.world.renew(point, revision).await.unwrap();
    };
    let task = court.running.task;
    renew(owner).await;
    plane.tree_claim(owner, task).await.unwrap();
    let given = court.approved().await;
    let waiting = {
        let mut asked = court.asked().await;
        asked.arguments = r#"{"repo_path":"/srv/repo","n":2}"#.to_owned();
        court.ask(asked).await.unwrap()
    };
    court
        .world
        .clock
        .forward(aims_lease::Terms::default().span());
    renew(other).await;
    plane.tree_claim(other, task).await.unwrap();
    let (how, why) = court.ended().await;
    assert_eq!(how, "withdrawn");
    assert!(why.contains(&owner.to_string()), "{why}");
    let stage = court.stage(given.id).await;
    assert!(matches!(stage, Stage::Withdrawn { .. }), "{stage:?}");
    assert!(plane.state().await.unwrap().approvals.is_empty());
    // What nobody has answered can't have been used; the same action is asked about anew.
    let stage = court.stage(waiting.id).await;
    assert!(matches!(stage, Stage::Pending {}), "{stage:?}");
    let again = court.open().await;
    assert_ne!(again.id, given.id);
    // The same owner as before takes nothing over.
    let answer = court.answer(&again, &court.judge);
    court.give(&again, &court.judge, &answer).await.unwrap();
    plane.tree_claim(other, task).await.unwrap();
    assert!(matches!(
        court.stage(again.id).await,
        Stage::Approved { .. }
    ));
}
