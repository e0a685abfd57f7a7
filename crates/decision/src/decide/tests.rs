use aims_authority::Rule;
use aims_json::{Limits, Object, parse};
use aims_model::CutOff;
use aims_policy::{Schema, SchemaSource, ServerTools, ToolShape};

use super::*;
use crate::Budgets;
use crate::chain::tests::hops::chain_of_two;
use crate::chain::tests::{NOW, Signers, chain};

const AUTHORITY: &str = r#"{"authorization_details":[{"type":"mcp_tool","server":"git",
    "actions":["git_log","git_reset"],"arguments":{"path":{"path_prefix":"/srv"}}}],
    "limits":{"uses":1}}"#;
pub(crate) const PERMIT: &str =
    r#"@id("all") permit (principal, action in Action::"call", resource);"#;

pub(crate) struct World {
    pub(crate) keys: Signers,
    pub(crate) chain: VerifiedChain,
    pub(crate) approval: Option<Approved>,
    policies: PolicySet,
    name: Name,
    pub(crate) server: Name,
    pub(crate) arguments: Object,
    subjects: Vec<Subject>,
    cutoffs: CutOffs,
}

impl World {
    pub(crate) fn new(policy: &str) -> Self {
        let keys = Signers::new();
        let schema = br#"{"type":"object","properties":{"path":{"type":"string"}}}"#;
        let tool = |name: &str| ToolShape {
            name: name.to_owned(),
            input_schema: parse(schema, &Limits::MESSAGE).unwrap(),
        };
        let server: Name = "git".parse().unwrap();
        let tools = vec![tool("git_log"), tool("git_reset"), tool("git_push")];
        let servers = vec![ServerTools {
            server: server.clone(),
            tools,
        }];
        let schema = Schema::generate(&SchemaSource { servers }).unwrap();
        Self {
            chain: chain(&keys, AUTHORITY),
            keys,
            approval: None,
            policies: PolicySet::compile(policy, &schema).unwrap(),
            name: "notes".parse().unwrap(),
            server,
            arguments: Object::new().with("path", "/srv/a"),
            subjects: vec![Subject::Task(Id::from_u128(20))],
            cutoffs: CutOffs::default(),
        }
    }

    pub(crate) fn ask<T>(&self, tool: &str, then: impl FnOnce(&Case<'_>) -> T) -> T {
        let owner: Name = "alice".parse().unwrap();
        let agent = AgentFacts {
            name: &self.name,
            owner: &owner,
            environment: "production",
            assurance: "confined",
        };
        let agents = vec![agent; self.chain.hops().len()];
        then(&Case {
            chain: &self.chain,
            call: Call::Tool {
                server: &self.server,
                tool,
                arguments: &self.arguments,
            },
            policies: &self.policies,
            agents: &agents,
            calls: 0,
            assurance: Assurance::Confined,
            subjects: &self.subjects,
            minted: Revision::new(5),
            cutoffs: &self.cutoffs,
            approval: self.approval.as_ref(),
            now: NOW,
        })
    }

    pub(crate) fn reason(&self, tool: &str) -> String {
        self.ask(tool, |case| match decide(case) {
            Decision::Permit(_) => "permit".to_owned(),
            Decision::StepUp(needed) => format!("needs {}", needed.requirements.len()),
            Decision::Deny(denied) => match denied.reasons.first().unwrap() {
                Reason::CutOff(_) => "cut off".to_owned(),
                Reason::Chain(_) => "chain".to_owned(),
                Reason::Principals => "principals".to_owned(),
                Reason::Authority { refusal, .. } => refusal.rule().code().to_owned(),
                Reason::Policy { principal, reason } => format!("{principal:?} {reason:?}"),
            },
        })
    }
}

#[test]
fn every_principal_must_be_permitted_and_a_forbid_wins() {
    assert_eq!(World::new(PERMIT).reason("git_log"), "permit");
    let agent_only = r#"@id("a") permit (principal is Agent, action, resource);"#;
    assert!(World::new(agent_only).reason("git_log").contains("Person"));
    let person_only = r#"@id("p") permit (principal is Person, action, resource);"#;
    assert!(World::new(person_only).reason("git_log").contains("Agent"));
    let forbid = format!(
        r#"{PERMIT} @id("no") forbid (principal is Agent, action == Action::"git/git_reset", resource);"#
    );
    let world = World::new(&forbid);
    assert!(world.reason("git_reset").contains("ForbiddenBy"));
    assert_eq!(world.reason("git_log"), "permit");
}

#[test]
fn what_fails_first_decides_and_later_stages_are_not_reached() {
    let mut world = World::new(r#"@id("none") forbid (principal, action, resource);"#);
    assert!(world.reason("git_log").contains("ForbiddenBy"));
    world.arguments = Object::new().with("path", "/etc");
    assert_eq!(world.reason("git_log"), "argument_outside_path");
    assert_eq!(world.reason("git_push"), "tool_not_allowed");
    world.cutoffs = CutOffs::new(&[CutOff {
        subject: Subject::Task(Id::from_u128(20)),
        at_or_before: Revision::new(5),
    }]);
    assert_eq!(world.reason("git_log"), "cut off");
    world.ask("git_log", |case| {
        let Decision::Deny(denied) = decide(case) else {
            panic!("it is denied")
        };
        assert_eq!(denied.findings, Findings::default());
    });
}

#[test]
fn facts_about_fewer_agents_than_hops_deny() {
    let world = World::new(PERMIT);
    world.ask("git_log", |case| {
        let case = Case {
            agents: &[],
            ..*case
        };
        let Decision::Deny(denied) = decide(&case) else {
            panic!("it is denied")
        };
        assert_eq!(denied.reasons, [Reason::Principals]);
        assert!(!listed(&case));
    });
}

#[test]
fn every_requirement_that_applies_must_be_met() {
    let policy = format!(
        r#"{PERMIT}
        @id("ask") @requirement("approval")
            permit (principal, action == Action::"git/git_reset", resource);
        @id("walls") @requirement("assurance:confined") permit (principal, action, resource);
        @id("vault") @requirement("assurance:sealed")
            permit (principal is Person, action == Action::"git/git_reset", resource);"#
    );
    let world = World::new(&policy);
    assert_eq!(world.reason("git_log"), "permit");
    assert_eq!(world.reason("git_reset"), "needs 2");
}

#[test]
fn a_permit_is_worth_one_use_on_every_hop() {
    let world = World::new(PERMIT);
    world.ask("git_log", |case| {
        let mut budgets = Budgets::new();
        let Decision::Permit(permit) = decide(case) else {
            panic!("it is permitted")
        };
        let first = budgets.reserve(&permit, NOW).unwrap();
        let over = budgets.reserve(&permit, NOW).unwrap_err();
        assert_eq!(over.refusal.rule(), Rule::UsesExhausted);
        budgets.release(&first);
        let again = budgets.reserve(&permit, NOW).unwrap();
        budgets.settle(&again);
    });
}

#[test]
fn a_list_hides_what_no_call_could_do_and_nothing_else() {
    let policy = format!(
        r#"{PERMIT}
        @id("always") forbid (principal is Agent, action == Action::"git/git_reset", resource);
        @id("some") forbid (principal, action == Action::"git/git_log", resource)
            unless {{ context.arguments has path && context.arguments.path == "/srv/a" }};"#
    );
    let mut world = World::new(&policy);
    world.arguments = Object::new();
    let shown = |tool: &str| world.ask(tool, listed);
    assert_eq!(
        (shown("git_log"), shown("git_reset"), shown("git_push")),
        (true, false, false)
    );
}

#[test]
fn every_hop_is_asked_and_the_purpose_is_the_one_that_a_person_declared() {
    let policy = format!(
        r#"{PERMIT} @id("purpose") forbid (principal, action, resource)
            unless {{ context.task.purpose == "write notes" }};"#
    );
    let mut world = World::new(&policy);
    world.chain = chain_of_two("an agent's words");
    let leaf = world.chain.leaf().unwrap().grant();
    assert_eq!(leaf.purpose.as_str(), "an agent's words");
    assert_eq!(world.reason("git_log"), "permit");
    world.ask("git_log", |case| {
        let Decision::Permit(permit) = decide(case) else {
            panic!("it is permitted")
        };
        assert_eq!(permit.findings().hops.len(), 2);
        let mut budgets = Budgets::new();
        let taken = budgets.reserve(&permit, NOW).unwrap();
        for hop in case.chain.hops() {
            assert_eq!(budgets.uses(hop.grant().id), 1);
        }
        budgets.release(&taken);
    });
}

#[test]
fn an_approval_helps_only_where_nothing_else_is_missing() {
    let ask = |level: &str| {
        let policy = format!(
            r#"{PERMIT} @id("ask") @requirement("approval") permit (principal, action, resource);
            @id("also") @requirement("approval") permit (principal, action, resource);
            @id("vault") @requirement("assurance:{level}") permit (principal, action, resource);"#
        );
        World::new(&policy).ask("git_log", |case| match decide(case) {
            Decision::StepUp(needed) => needed.approvable(),
            _ => panic!("something is missing"),
        })
    };
    let names = ["also", "ask"].map(|name| name.parse().unwrap());
    assert_eq!(ask("confined"), Some(names.to_vec()));
    assert_eq!(ask("sealed"), None);
}
