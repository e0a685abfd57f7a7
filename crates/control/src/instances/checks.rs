//! The three checks before an instance gets anything, each with its own result (R21).

use aims_json::{Object, Value};
use aims_links::Refusal;
use aims_model::{Agent, EvidenceGap, Posture};

use crate::fault::Refused;
use crate::liveness::NotLive;
use crate::recording::value;
use crate::runs::bounded_gaps;

/// Longest host name that a node may say.
const HOST_LEN_MAX: usize = 255;

/// What the three checks found. Only an instance for which all three pass gets a credential.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// Attestation: what was not as registered.
    pub(crate) gaps: Vec<EvidenceGap>,
    /// Environment: what is wrong with where it runs.
    pub(crate) environment: Vec<&'static str>,
    /// Authority and policy: code and reason.
    pub(crate) policy: Option<(&'static str, String)>,
}

/// A check that failed: what the node is told.
#[derive(Debug)]
pub(crate) struct Failed {
    code: &'static str,
    reason: String,
    gaps: Vec<EvidenceGap>,
}

/// What is known of the node that vouches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voucher {
    /// It has an enrolled key.
    pub(crate) enrolled: bool,
    /// It is the one that took up the launch.
    pub(crate) took_it_up: bool,
}

impl Failed {
    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn into_refusal(self) -> Refusal {
        Refusal {
            code: self.code.into(),
            reason: self.reason,
            gaps: self.gaps,
        }
    }
}

impl Checks {
    /// Compares what was seen with the registration, and looks at where it runs.
    pub(crate) fn of(agent: &Agent, posture: &Posture, node: Voucher) -> Self {
        let host_is_good = (1..=HOST_LEN_MAX).contains(&posture.host.len())
            && !posture.host.chars().any(char::is_control);
        let found = [
            (node.enrolled, "the node is not enrolled"),
            (node.took_it_up, "another node took up the launch"),
            (
                posture.assurance >= agent.assurance,
                "the walls are weaker than registered",
            ),
            (posture.host_uid != 0, "the program would run as root"),
            (host_is_good, "the node does not name its host"),
        ];
        let wrong = found
            .iter()
            .filter(|(holds, _)| !holds)
            .map(|(_, wrong)| *wrong);
        let gaps = match &agent.evidence {
            Some(expected) => expected.gaps(&posture.evidence),
            None => vec![no_program()],
        };
        Self {
            gaps,
            environment: wrong.collect(),
            policy: None,
        }
    }

    /// Adds what stands against issuing anything for the task.
    pub(crate) fn against(&mut self, error: &NotLive) {
        self.policy = Some((error.code(), error.to_string()));
    }

    /// The refusal, if a check failed: the first of them decides the code, all are in the reason.
    pub(crate) fn refusal(&self) -> Option<Failed> {
        let mut reasons: Vec<String> = Vec::new();
        let mut code = None;
        if !self.gaps.is_empty() {
            code = Some("evidence_mismatch");
            let gaps: Vec<String> = self.gaps.iter().map(ToString::to_string).collect();
            reasons.push(format!(
                "what was seen is not as registered: {}",
                gaps.join("; ")
            ));
        }
        if !self.environment.is_empty() {
            code = code.or(Some("environment_refused"));
            reasons.push(self.environment.join("; "));
        }
        if let Some((policy_code, reason)) = &self.policy {
            code = code.or(Some(policy_code));
            reasons.push(reason.clone());
        }
        code.map(|code| Failed {
            code,
            reason: reasons.join("; "),
            gaps: self.gaps.clone(),
        })
    }

    /// The three results as records show them.
    pub(crate) fn to_body(&self, body: Object) -> Result<Object, aims_store::Error> {
        let result = |good: bool| Object::new().with("result", if good { "ok" } else { "refused" });
        let attestation =
            result(self.gaps.is_empty()).with("gaps", value(&bounded_gaps(&self.gaps))?);
        let reasons: Vec<Value> = self
            .environment
            .iter()
            .map(|text| Value::from(*text))
            .collect();
        let environment = result(self.environment.is_empty()).with("reasons", reasons);
        let mut policy = result(self.policy.is_none());
        if let Some((code, reason)) = &self.policy {
            policy = policy.with("code", *code).with("reason", reason.as_str());
        }
        Ok(body
            .with("attestation", attestation)
            .with("environment", environment)
            .with("policy", policy))
    }
}

/// An agent that runs elsewhere is started by nobody here.
fn no_program() -> EvidenceGap {
    EvidenceGap {
        part: "program".to_owned(),
        expected: "an agent that runs elsewhere with a key of its own".to_owned(),
        seen: "a program".to_owned(),
    }
}
