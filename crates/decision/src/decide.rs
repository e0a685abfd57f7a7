//! The decision: chain ∧ authority ∧ policies ∧ requirements, for everyone on whose behalf.

use std::collections::BTreeSet;

use aims_authority::{Call, HttpCall, Refusal, allows};
use aims_model::{Assurance, Subject};
use aims_policy::{
    Action, AgentFacts, DenyReason, PolicySet, Posture, Principal, Request, Requirement,
    RequirementKind, Session, TaskFacts, Verdict, evaluate,
};
use aims_types::{Delegation, Id, Name, Revision, Timestamp};

use crate::approval::Approved;
use crate::budget::Charged;
use crate::chain::{ChainError, VerifiedChain};
use crate::cutoff::CutOffs;

/// Everything a decision is made on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Who acts, on whose behalf, with which authority.
    pub chain: &'a VerifiedChain,
    /// What is to be done.
    pub call: Call<'a>,
    /// The policies in force.
    pub policies: &'a PolicySet,
    /// The delegates of the chain's hops, in their order.
    pub agents: &'a [AgentFacts<'a>],
    /// How many calls the instance was permitted before this one.
    pub calls: u32,
    /// The assurance level at which the instance runs.
    pub assurance: Assurance,
    /// What the credential was issued under.
    pub subjects: &'a [Subject],
    /// The revision at which the credential was minted.
    pub minted: Revision,
    /// What is cut off.
    pub cutoffs: &'a CutOffs,
    /// A person's approval of this very call, if there is one that is not used.
    pub approval: Option<&'a Approved>,
    /// The instant.
    pub now: Timestamp,
}

/// The decision and what was found on the way.
#[derive(Debug, Clone)]
pub enum Decision<'a> {
    /// It may be done, once its uses are reserved.
    Permit(Permit<'a>),
    /// It may not be done.
    Deny(Denied),
    /// It may be done when these requirements are met.
    StepUp(Needed),
}

/// Proof that a call was permitted. Only [`decide`] makes one.
#[derive(Debug, Clone)]
pub struct Permit<'a> {
    findings: Findings,
    charged: Vec<Charged<'a>>,
    call: Call<'a>,
}

/// A denial with its reasons, the first one decisive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// What was found until it was clear.
    pub findings: Findings,
    /// Why; never empty. Root first, person before agents.
    pub reasons: Vec<Reason>,
}

/// What has to be met first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// What was found.
    pub findings: Findings,
    /// What is not met; never empty.
    pub requirements: Vec<Requirement>,
}

/// What each stage found. A stage that was not reached is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// What each hop's authority said, root first.
    pub hops: Vec<HopFinding>,
    /// What the policies said for each distinct principal, the person first.
    pub principals: Vec<PrincipalFinding>,
    /// The requirements that apply, each with whether it is met.
    pub requirements: Vec<(Requirement, bool)>,
}

/// What one hop's authority said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HopFinding {
    /// The hop.
    pub delegation: Id<Delegation>,
    /// The place of the detail that allowed the call, or the refusal.
    pub result: Result<usize, Refusal>,
}

/// What the policies said for one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalFinding {
    /// Who.
    pub principal: PrincipalName,
    /// What.
    pub verdict: Verdict,
}

/// A principal of a chain by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrincipalName {
    /// A person.
    Person(Name),
    /// An agent.
    Agent(Name),
}

/// Why a call is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Something it was issued under is cut off.
    CutOff(Subject),
    /// The chain is not valid now.
    Chain(ChainError),
    /// A hop's authority does not allow it.
    Authority {
        /// The hop.
        delegation: Id<Delegation>,
        /// Why.
        refusal: Refusal,
    },
    /// The facts of the chain's agents are not complete.
    Principals,
    /// The organisation's policies do not permit it for this principal.
    Policy {
        /// Who.
        principal: PrincipalName,
        /// Why.
        reason: DenyReason,
    },
}

/// Decides. Stages run in one order and each stage runs whole: cut-offs, chain, authority of every
/// hop, policies for every distinct principal, requirements. What fails first decides.
pub fn decide<'a>(case: &Case<'a>) -> Decision<'a> {
    let mut findings = Findings::default();
    if let Some(subject) = case.cutoffs.find(case.subjects, case.minted) {
        return deny(findings, vec![Reason::CutOff(subject.clone())]);
    }
    if let Err(error) = case.chain.check_time(case.now) {
        return deny(findings, vec![Reason::Chain(error)]);
    }
    findings.hops = hops(case);
    let refused = findings.hops.iter().filter_map(|finding| {
        let refusal = finding.result.as_ref().err()?.clone();
        Some(Reason::Authority {
            delegation: finding.delegation,
            refusal,
        })
    });
    let refused: Vec<Reason> = refused.collect();
    if !refused.is_empty() {
        return deny(findings, refused);
    }
    if case.agents.is_empty() || case.agents.len() != case.chain.hops().len() {
        return deny(findings, vec![Reason::Principals]);
    }
    findings.principals = principals(case);
    let forbidden = findings
        .principals
        .iter()
        .filter_map(|finding| match &finding.verdict {
            Verdict {
                decision: aims_policy::Decision::Deny { reason },
                ..
            } => Some(Reason::Policy {
                principal: finding.principal.clone(),
                reason: reason.clone(),
            }),
            _ => None,
        });
    let forbidden: Vec<Reason> = forbidden.collect();
    if !forbidden.is_empty() {
        return deny(findings, forbidden);
    }
    findings.requirements = requirements(case, &findings.principals);
    let unmet = findings.requirements.iter().filter(|(_, met)| !met);
    let unmet: Vec<Requirement> = unmet.map(|(requirement, _)| requirement.clone()).collect();
    if !unmet.is_empty() {
        return Decision::StepUp(Needed {
            findings,
            requirements: unmet,
        });
    }
    Decision::Permit(Permit {
        findings,
        charged: charged(case.chain),
        call: case.call,
    })
}

/// Whether a tool may be listed: every hop's authority names it, and no policy forbids it whatever
/// a call looks like. A forbid that looks at the call's context may not match another call, so it
/// hides nothing.
pub fn listed(case: &Case<'_>) -> bool {
    let Call::Tool { server, tool, .. } = case.call else {
        return false;
    };
    let seen = |hop: &crate::Hop| aims_authority::may_see(&hop.grant().authority, server, tool);
    if !case.chain.hops().iter().all(seen) || case.agents.len() != case.chain.hops().len() {
        return false;
    }
    let text = case.policies.text();
    let forbids = |finding: &PrincipalFinding| match &finding.verdict.decision {
        aims_policy::Decision::Deny {
            reason: DenyReason::ForbiddenBy(policies),
        } => policies
            .iter()
            .any(|policy| !mentions_context(text, policy)),
        _ => false,
    };
    !principals(case).iter().any(forbids)
}

/// Whether a policy may look at the context: whether the word stands in its text, from its `@id`
/// to the next policy's.
fn mentions_context(text: &str, policy: &Name) -> bool {
    let mut parts = text.split("@id(").skip(1);
    let quoted = format!("\"{policy}\"");
    let own = parts.find(|part| part.trim_start().starts_with(&quoted));
    own.is_none_or(|own| own.contains("context"))
}

impl Needed {
    /// The names of the requirements that a person's approval would meet, in order and each once:
    /// what [`aims_model::approval::Asked`] names. `None` if something else is not met either, so
    /// that no approval would help.
    pub fn approvable(&self) -> Option<Vec<Name>> {
        let name = |requirement: &Requirement| match requirement.kind {
            RequirementKind::Approval => Some(requirement.policy.clone()),
            RequirementKind::Assurance(_) => None,
        };
        let names: BTreeSet<Name> = self.requirements.iter().map(name).collect::<Option<_>>()?;
        Some(names.into_iter().collect())
    }
}

impl<'a> Permit<'a> {
    /// What was found.
    pub const fn findings(&self) -> &Findings {
        &self.findings
    }

    pub(crate) fn charged(&self) -> &[Charged<'a>] {
        &self.charged
    }

    pub(crate) const fn call(&self) -> &Call<'a> {
        &self.call
    }
}

fn deny<'a>(findings: Findings, reasons: Vec<Reason>) -> Decision<'a> {
    Decision::Deny(Denied { findings, reasons })
}

fn hops(case: &Case<'_>) -> Vec<HopFinding> {
    let hop = |hop: &crate::Hop| {
        let grant = hop.grant();
        let place = |detail| {
            let details = grant.authority.details();
            details
                .iter()
                .position(|other| std::ptr::eq(other, detail))
                .unwrap_or(0)
        };
        let result = allows(&grant.authority, &case.call, case.now);
        HopFinding {
            delegation: grant.id,
            result: result.map(|allowed| place(allowed.detail())),
        }
    };
    case.chain.hops().iter().map(hop).collect()
}

fn charged(chain: &VerifiedChain) -> Vec<Charged<'_>> {
    let grants = chain.hops().iter().map(crate::Hop::grant);
    let charge = grants.map(|grant| Charged {
        delegation: grant.id,
        limits: grant.authority.limits(),
        granted: grant.revision,
        expires_at: grant.expires_at,
    });
    charge.collect()
}

/// The policies' answer for the person and each distinct agent of the chain.
fn principals(case: &Case<'_>) -> Vec<PrincipalFinding> {
    let person = case.chain.person_name();
    let mut asked = vec![(
        PrincipalName::Person(person.clone()),
        Principal::Person(person),
    )];
    for agent in case.agents {
        let name = PrincipalName::Agent(agent.name.clone());
        if asked.iter().all(|(other, _)| *other != name) {
            asked.push((name, Principal::Agent(*agent)));
        }
    }
    let verdict = |(name, principal)| PrincipalFinding {
        principal: name,
        verdict: evaluate(case.policies, &request(case, principal)),
    };
    asked.into_iter().map(verdict).collect()
}

fn request<'a>(case: &Case<'a>, principal: Principal<'a>) -> Request<'a> {
    let action = match case.call {
        Call::Tool {
            server,
            tool,
            arguments,
        } => Action::CallTool {
            server,
            tool,
            arguments,
        },
        Call::Egress { host, port } => Action::Connect { host, port },
        Call::Http(HttpCall {
            upstream,
            method,
            path,
            ..
        }) => Action::Request {
            upstream,
            method,
            path,
        },
    };
    // The purpose is the one that a person declared: those below are an agent's words.
    let root = case.chain.hops().first().map(crate::Hop::grant);
    Request {
        principal,
        action,
        task: TaskFacts {
            id: root.map_or(Id::from_u128(0), |grant| grant.task),
            purpose: root.map_or("", |grant| grant.purpose.as_str()),
        },
        session: Session { calls: case.calls },
        posture: Posture {
            assurance: case.assurance.as_str(),
        },
    }
}

/// The requirements of all principals together, each once. No permit lifts one.
fn requirements(case: &Case<'_>, principals: &[PrincipalFinding]) -> Vec<(Requirement, bool)> {
    let mut all: Vec<Requirement> = principals
        .iter()
        .flat_map(|finding| finding.verdict.requirements.clone())
        .collect();
    all.sort();
    all.dedup();
    let met = |requirement: &Requirement| match &requirement.kind {
        // None is accepted from an agent: it is a person's signed answer to this very call.
        RequirementKind::Approval => case
            .approval
            .is_some_and(|approval| approval.meets(&requirement.policy, case)),
        RequirementKind::Assurance(level) => level
            .as_str()
            .parse::<Assurance>()
            .is_ok_and(|level| case.assurance >= level),
    };
    all.into_iter()
        .map(|requirement| (requirement.clone(), met(&requirement)))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
