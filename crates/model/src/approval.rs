//! Approvals: one action of one caller that waits for a person, and the person's signed answer.
//!
//! The digest of a request covers the exact bytes of the arguments, the tool as pinned, the chain,
//! the task, the policy version and the requirements: whatever of it changes is a new question.
//! Which instance asked is told to the person, but is not part of the question: the identical call
//! of another instance under the same delegation is the same question.

use aims_crypto::sha256;
use aims_json::{Limits, Object, Value};
use aims_types::{
    Decision, Delegation, Digest, Id, Name, Person, Policy, SpiffeId, Timestamp, TrustDomain,
};
use serde::{Deserialize, Serialize};

use crate::InvalidTransition;

/// `typ` of the JWS by which a person answers.
pub const APPROVAL_TYP: &str = "aims-approval+jwt";
/// Longest arguments that a person can be asked about, in bytes: what is approved is read.
pub const APPROVAL_ARGUMENTS_MAX: usize = 16 << 10;
/// How long a request waits for an answer, and an approval for its use, in seconds.
pub const APPROVAL_LIFE_SECS: u64 = 15 * 60;
/// Longest reason that a person gives, in characters.
pub const REASON_LEN_MAX: usize = 512;

/// What exactly is asked: everything that the answer is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The task.
    pub task: Id<aims_types::Task>,
    /// On whose behalf: they may not answer.
    pub initiator: Id<Person>,
    /// The agent that wants to act.
    pub agent: SpiffeId,
    /// The instance that asked first.
    pub instance: Id<aims_types::Instance>,
    /// The leaf of its chain, by id.
    pub delegation: Id<Delegation>,
    /// The leaf of its chain, by the digest of its grant; it names all hops above.
    pub leaf: Digest,
    /// The tool server.
    pub server: Name,
    /// The tool.
    pub tool: String,
    /// The digest of the tool's pinned definition.
    pub pin: Digest,
    /// The exact bytes of the arguments, which are JSON text.
    pub arguments: String,
    /// The policy version whose requirements are to be met.
    pub policy: Id<Policy>,
    /// The requirements, by name, in order.
    pub requirements: Vec<Name>,
}

/// A request for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Identity.
    pub id: Id<aims_types::Approval>,
    /// [`Asked::digest`] of what is asked.
    pub digest: Digest,
    /// What is asked.
    pub asked: Asked,
    /// When.
    pub asked_at: Timestamp,
    /// Until when it waits for an answer, and an answer for its use.
    pub deadline: Timestamp,
    /// Where it stands in its life.
    pub stage: Stage,
}

/// The life of a request: `pending → approved → used`, or it ends without being used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stage")]
pub enum Stage {
    /// Nobody has answered.
    Pending {},
    /// A person lets it happen, once.
    Approved {
        /// When.
        at: Timestamp,
        /// Who.
        by: Id<Person>,
        /// Their signed answer (compact JWS).
        answer: String,
    },
    /// A person refused it.
    Denied {
        /// When.
        at: Timestamp,
        /// Who.
        by: Id<Person>,
        /// Their signed answer (compact JWS).
        answer: String,
        /// Why, in their words.
        reason: String,
    },
    /// Its deadline passed.
    TimedOut {
        /// When.
        at: Timestamp,
    },
    /// What asked for it is gone.
    Withdrawn {
        /// When.
        at: Timestamp,
        /// Why: `the task has ended`.
        why: String,
    },
    /// The action was permitted on it; it is worth nothing any more.
    Used {
        /// When.
        at: Timestamp,
        /// The decision.
        decision: Id<Decision>,
    },
}

/// What a person signs when they answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who answers.
    pub person: Id<Person>,
    /// The trust domain that may use it.
    pub audience: TrustDomain,
    /// When.
    pub issued_at: Timestamp,
    /// Which request.
    pub approval: Id<aims_types::Approval>,
    /// What was asked, by its digest.
    pub digest: Digest,
    /// Whether it may happen.
    pub approve: bool,
    /// Why, in words; may be empty.
    pub reason: String,
}

/// Why claims are not an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not canonical JSON, or over a limit.
    #[error("the claims are not canonical JSON: {0}")]
    Encoding(String),
    /// A member is missing, unknown or of the wrong form.
    #[error("the claim `{0}` is missing or malformed")]
    Claim(&'static str),
}

impl Asked {
    /// The digest that an answer is bound to: SHA-256 of the canonical form of everything here,
    /// but the instance, with the arguments by their digest.
    pub fn digest(&self) -> Result<Digest, AnswerError> {
        let requirements = self
            .requirements
            .iter()
            .map(|name| Value::from(name.as_str()));
        let claims = Object::new()
            .with("task", self.task.to_string())
            .with("initiator", self.initiator.to_string())
            .with("agent", self.agent.as_str())
            .with("delegation", self.delegation.to_string())
            .with("leaf", self.leaf.to_string())
            .with("server", self.server.as_str())
            .with("tool", self.tool.as_str())
            .with("pin", self.pin.to_string())
            .with("arguments", sha256(self.arguments.as_bytes()).to_string())
            .with("policy", self.policy.to_string())
            .with("requirements", Value::Array(requirements.collect()));
        encode(claims).map(|bytes| sha256(&bytes))
    }
}

impl Stage {
    /// The stage as people and records write it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending {} => "pending",
            Self::Approved { .. } => "approved",
            Self::Denied { .. } => "denied",
            Self::TimedOut { .. } => "timed_out",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Used { .. } => "used",
        }
    }

    /// Whether it can still come to something.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Pending {} | Self::Approved { .. })
    }

    /// Takes the next stage, if the life allows it.
    pub fn become_stage(self, next: Self) -> Result<Self, InvalidTransition> {
        let allowed = match &self {
            Self::Pending {} => !matches!(next, Self::Pending {} | Self::Used { .. }),
            Self::Approved { .. } => matches!(
                next,
                Self::Used { .. } | Self::TimedOut { .. } | Self::Withdrawn { .. }
            ),
            _ => false,
        };
        if allowed {
            Ok(next)
        } else {
            Err(InvalidTransition {
                from: self.as_str(),
                to: next.as_str(),
            })
        }
    }
}

impl Answer {
    /// The canonical claims, to be signed by the person.
    pub fn to_claims(&self) -> Result<Vec<u8>, AnswerError> {
        let claims = Object::new()
            .with("iss", self.person.to_string())
            .with("aud", self.audience.as_str())
            .with("iat", self.issued_at.unix_millis())
            .with("approval", self.approval.to_string())
            .with("digest", self.digest.to_string())
            .with("answer", if self.approve { "approve" } else { "deny" })
            .with("reason", self.reason.as_str());
        encode(claims)
    }

    /// Reads canonical claims; anything unknown or missing is refused.
    pub fn from_claims(bytes: &[u8]) -> Result<Self, AnswerError> {
        let value = aims_json::parse_canonical(bytes, &Limits::TOKEN)
            .map_err(|error| AnswerError::Encoding(error.to_string()))?;
        let Value::Object(mut claims) = value else {
            return Err(AnswerError::Encoding("not an object".to_owned()));
        };
        let mut text = |name: &'static str| match claims.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(AnswerError::Claim(name)),
        };
        let person = parsed(&text("iss")?, "iss")?;
        let audience = parsed(&text("aud")?, "aud")?;
        let approval = parsed(&text("approval")?, "approval")?;
        let digest = parsed(&text("digest")?, "digest")?;
        let approve = match text("answer")?.as_str() {
            "approve" => true,
            "deny" => false,
            _ => return Err(AnswerError::Claim("answer")),
        };
        let reason = text("reason")?;
        if reason.chars().count() > REASON_LEN_MAX {
            return Err(AnswerError::Claim("reason"));
        }
        let issued_at = claims.remove("iat").and_then(|at| at.as_u64());
        let issued_at = issued_at.ok_or(AnswerError::Claim("iat"))?;
        if !claims.is_empty() {
            return Err(AnswerError::Claim("unknown member"));
        }
        Ok(Self {
            person,
            audience,
            issued_at: Timestamp::from_unix_millis(issued_at),
            approval,
            digest,
            approve,
            reason,
        })
    }
}

fn parsed<T: std::str::FromStr>(text: &str, name: &'static str) -> Result<T, AnswerError> {
    text.parse().map_err(|_| AnswerError::Claim(name))
}

fn encode(claims: Object) -> Result<Vec<u8>, AnswerError> {
    aims_json::to_canonical(&Value::Object(claims))
        .map_err(|error| AnswerError::Encoding(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked {
            task: Id::from_u128(1),
            initiator: Id::from_u128(2),
            agent: "spiffe://aims.local/agent/a".parse().unwrap(),
            instance: Id::from_u128(3),
            delegation: Id::from_u128(4),
            leaf: sha256(b"leaf"),
            server: "git".parse().unwrap(),
            tool: "git_commit".to_owned(),
            pin: sha256(b"pin"),
            arguments: r#"{"message":"x"}"#.to_owned(),
            policy: Id::from_u128(5),
            requirements: vec!["second-pair-of-eyes".parse().unwrap()],
        }
    }

    #[test]
    fn whatever_changes_is_a_new_question() {
        let changes: [fn(&mut Asked); 11] = [
            |a| a.task = Id::from_u128(9),
            |a| a.initiator = Id::from_u128(9),
            |a| a.agent = "spiffe://aims.local/agent/b".parse().unwrap(),
            |a| a.delegation = Id::from_u128(9),
            |a| a.leaf = sha256(b"other"),
            |a| a.server = "gut".parse().unwrap(),
            |a| a.tool.push('s'),
            |a| a.pin = sha256(b"other"),
            |a| a.arguments.push(' '),
            |a| a.policy = Id::from_u128(9),
            |a| a.requirements.clear(),
        ];
        let question = asked().digest().unwrap();
        for change in changes {
            let mut other = asked();
            change(&mut other);
            assert_ne!(other.digest().unwrap(), question);
        }
        let again = Asked {
            instance: Id::from_u128(9),
            ..asked()
        };
        assert_eq!(again.digest().unwrap(), question);
    }

    #[test]
    fn an_approval_is_used_once_and_a_refusal_is_final() {
        let at = Timestamp::from_unix_secs(1);
        let by = Id::from_u128(1);
        let answer = String::new();
        let approved = Stage::Approved {
            at,
            by,
            answer: answer.clone(),
        };
        let denied = Stage::Denied {
            at,
            by,
            answer,
            reason: String::new(),
        };
        let used = Stage::Used {
            at,
            decision: Id::from_u128(1),
        };
        let pending = Stage::Pending {};
        assert!(pending.clone().become_stage(used.clone()).is_err());
        assert!(denied.clone().become_stage(approved.clone()).is_err());
        assert!(used.clone().become_stage(used.clone()).is_err());
        assert!(used.clone().become_stage(approved.clone()).is_err());
        assert!(pending.clone().become_stage(denied).is_ok());
        let approved = pending.become_stage(approved).unwrap();
        assert!(approved.become_stage(used).is_ok());
    }

    #[test]
    fn an_answer_round_trips_and_nothing_else_is_read() {
        let answer = Answer {
            person: Id::from_u128(1),
            audience: "aims.local".parse().unwrap(),
            issued_at: Timestamp::from_unix_secs(5),
            approval: Id::from_u128(2),
            digest: sha256(b"question"),
            approve: true,
            reason: "as discussed".to_owned(),
        };
        let bytes = answer.to_claims().unwrap();
        assert_eq!(Answer::from_claims(&bytes), Ok(answer));
        let text = String::from_utf8(bytes).unwrap();
        for bad in [
            text.replace("approve\"", "approved\""),
            text.replace("\"reason\"", "\"raeson\""),
            text.replace("{\"answer\"", "{\"a\":1,\"answer\""),
            text.replace(':', ": "),
        ] {
            assert!(Answer::from_claims(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
