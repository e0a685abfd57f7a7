use std::time::Duration;

use aims_crypto::sha256;
use aims_types::Revision;

use super::*;
use crate::chain::tests::{NOW, chain};
use crate::cutoff::CutOffs;
use crate::decide::tests::{PERMIT, World};

const MINUTE: Duration = Duration::from_mins(1);

/// A world in which `git_log` needs an approval, and the question that it asks.
fn asking() -> (World, Asked) {
    let policy = format!(
        r#"{PERMIT} @id("ask") @requirement("approval") permit (principal, action, resource);"#
    );
    let world = World::new(&policy);
    let leaf = world.chain.leaf().unwrap();
    let grant = leaf.grant();
    let asked = Asked {
        task: grant.task,
        initiator: Id::from_u128(1),
        agent: grant.delegate_spiffe_id.clone(),
        instance: Id::from_u128(3),
        delegation: grant.id,
        leaf: leaf.digest(),
        server: "git".parse().unwrap(),
        tool: "git_log".to_owned(),
        pin: sha256(b"pin"),
        arguments: r#"{ "path": "/srv/a" }"#.to_owned(),
        policy: Id::from_u128(5),
        requirements: vec!["ask".parse().unwrap()],
    };
    (world, asked)
}

/// A request and its answer before it is signed.
struct Draft {
    approval: Approval,
    answer: Answer,
    by: Id<Person>,
    signed_by_approver: bool,
    typ: &'static str,
}

fn draft(asked: &Asked) -> Draft {
    let digest = asked.digest().unwrap();
    Draft {
        approval: Approval {
            id: Id::from_u128(7),
            digest,
            asked: asked.clone(),
            asked_at: NOW.minus(MINUTE * 5),
            deadline: NOW.plus(MINUTE * 5),
            stage: Stage::Pending {},
        },
        answer: Answer {
            person: Id::from_u128(2),
            audience: "aims.test".parse().unwrap(),
            issued_at: NOW.minus(MINUTE),
            approval: Id::from_u128(7),
            digest,
            approve: true,
            reason: String::new(),
        },
        by: Id::from_u128(2),
        signed_by_approver: true,
        typ: APPROVAL_TYP,
    }
}

impl Draft {
    fn verify(mut self, world: &World, asked: &Asked) -> Result<Approved, ApprovalError> {
        let claims = self.answer.to_claims().unwrap();
        self.approval.stage = Stage::Approved {
            at: NOW,
            by: self.by,
            answer: world
                .keys
                .answer(&claims, self.signed_by_approver, self.typ),
        };
        let trust_domain = "aims.test".parse().unwrap();
        let question = Question {
            asked,
            trust_domain: &trust_domain,
        };
        verify_approval(&self.approval, &question, &world.keys, NOW)
    }
}

#[test]
fn a_persons_answer_lets_exactly_the_call_happen() {
    let (mut world, asked) = asking();
    assert_eq!(world.reason("git_log"), "needs 1");
    let approved = draft(&asked).verify(&world, &asked).unwrap();
    assert_eq!(approved.digest(), asked.digest().unwrap());
    assert_eq!(
        (approved.approver(), approved.approval()),
        (Id::from_u128(2), Id::from_u128(7))
    );
    world.approval = Some(approved.clone());
    assert_eq!(world.reason("git_log"), "permit");
    assert_eq!(world.reason("git_reset"), "needs 1", "another tool");
    world.arguments = Object::new().with("path", "/srv/b");
    assert_eq!(world.reason("git_log"), "needs 1", "other arguments");
    let (mut other, _) = asking();
    other.approval = Some(approved);
    assert_eq!(other.reason("git_log"), "needs 1", "another chain");
}

#[test]
fn an_approval_meets_only_the_requirements_that_it_names() {
    let (mut world, mut asked) = asking();
    asked.requirements = vec!["other".parse().unwrap()];
    world.approval = Some(draft(&asked).verify(&world, &asked).unwrap());
    assert_eq!(world.reason("git_log"), "needs 1");
}

#[test]
fn an_approval_opens_no_authority_and_lifts_no_forbid() {
    let (mut world, asked) = asking();
    world.approval = Some(draft(&asked).verify(&world, &asked).unwrap());
    let limited = r#"{"authorization_details":[],"limits":{}}"#;
    world.chain = chain(&world.keys, limited);
    assert_eq!(world.reason("git_log"), "tool_not_allowed");
}

type Change<E, T> = (E, fn(&mut T));

#[test]
fn an_answer_that_does_not_fit_counts_for_nothing() {
    let scope = ApprovalError::Scope;
    let late = || ApprovalError::Time("its deadline has passed");
    let typ = VerifyError::Typ {
        expected: APPROVAL_TYP,
    };
    let changes: [Change<ApprovalError, Draft>; 15] = [
        (scope("answer"), |d| d.answer.approve = false),
        (scope("iss"), |d| d.answer.person = Id::from_u128(3)),
        (scope("aud"), |d| {
            d.answer.audience = "other.test".parse().unwrap();
        }),
        (scope("approval"), |d| d.answer.approval = Id::from_u128(8)),
        (scope("digest"), |d| d.answer.digest = sha256(b"other")),
        (ApprovalError::Digest, |d| {
            d.approval.digest = sha256(b"other");
        }),
        (ApprovalError::Digest, |d| d.approval.asked.tool.push('s')),
        (VerifyError::UnknownKid.into(), |d| {
            d.signed_by_approver = false;
        }),
        (VerifyError::UnknownKid.into(), |d| d.by = Id::from_u128(3)),
        (typ.into(), |d| d.typ = "aims-consent+jwt"),
        (ApprovalError::OwnRequest, |d| {
            d.by = Id::from_u128(1);
            d.answer.person = Id::from_u128(1);
            d.signed_by_approver = false;
        }),
        (late(), |d| d.approval.deadline = NOW),
        (late(), |d| {
            d.answer.issued_at = NOW.plus(MINUTE / 2);
            d.approval.deadline = NOW.plus(MINUTE / 4);
        }),
        (
            ApprovalError::Time("it was answered before it was asked"),
            |d| {
                d.answer.issued_at = NOW.minus(MINUTE * 7);
            },
        ),
        (ApprovalError::Time("it was answered in the future"), |d| {
            d.answer.issued_at = NOW.plus(MINUTE * 2);
        }),
    ];
    let (world, asked) = asking();
    for (expected, change) in changes {
        let mut draft = draft(&asked);
        change(&mut draft);
        assert_eq!(draft.verify(&world, &asked), Err(expected));
    }
}

#[test]
fn only_an_approved_request_counts_and_one_changed_byte_is_another() {
    let (world, asked) = asking();
    let trust_domain = "aims.test".parse().unwrap();
    let pending = draft(&asked).approval;
    let question = Question {
        asked: &asked,
        trust_domain: &trust_domain,
    };
    let verified = verify_approval(&pending, &question, &world.keys, NOW);
    assert_eq!(verified, Err(ApprovalError::Stage("pending")));
    let mut spaced = asked.clone();
    spaced.arguments.push(' ');
    assert_eq!(
        draft(&asked).verify(&world, &spaced),
        Err(ApprovalError::Digest)
    );
    let mut unreadable = asked;
    unreadable.arguments = "[]".to_owned();
    let read = draft(&unreadable).verify(&world, &unreadable);
    assert_eq!(read, Err(ApprovalError::Arguments));
}

#[test]
fn an_approval_falls_with_its_person_and_key() {
    let (mut world, asked) = asking();
    let approved = draft(&asked).verify(&world, &asked).unwrap();
    let cut = aims_model::CutOff {
        subject: Subject::Person(Id::from_u128(2)),
        at_or_before: Revision::new(9),
    };
    let cutoffs = CutOffs::new(&[cut]);
    assert!(
        cutoffs
            .find(&approved.subjects(), Revision::new(9))
            .is_some()
    );
    world.keys.retired_at = Some(NOW);
    let retired = draft(&asked).verify(&world, &asked);
    assert_eq!(retired, Err(ApprovalError::KeyRetired));
}
