//! Cut-offs: permanent statements that nothing older under a subject is valid.

use aims_types::{Delegation, Id, Person, Policy, Revision};
use serde::{Deserialize, Serialize};

/// What a cut-off is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Everything that a person delegated.
    Person(Id<Person>),
    /// Every instance and credential of an agent.
    Agent(Id<aims_types::Agent>),
    /// One run.
    Instance(Id<aims_types::Instance>),
    /// Everything issued for a task.
    Task(Id<aims_types::Task>),
    /// A delegation and everything below it.
    Delegation(Id<Delegation>),
    /// Everything signed or bound with a key, by its thumbprint.
    Key(String),
    /// Everything decided or minted under a policy version.
    Policy(Id<Policy>),
}

/// Nothing under `subject` that was minted at or before `at_or_before` is valid. Permanent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutOff {
    /// What is cut off.
    pub subject: Subject,
    /// The revision of the cut-off: what was minted at it or before is dead.
    pub at_or_before: Revision,
}

impl CutOff {
    /// Whether something minted at `minted` under `subject` is dead by this statement.
    pub fn covers(&self, subject: &Subject, minted: Revision) -> bool {
        self.subject == *subject && minted <= self.at_or_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_minted_later_lives_and_what_is_older_is_dead_for_ever() {
        let subject = Subject::Task(Id::from_u128(1));
        let other = Subject::Task(Id::from_u128(2));
        let cut = CutOff {
            subject: subject.clone(),
            at_or_before: Revision::new(7),
        };
        for (minted, dead) in [(0, true), (6, true), (7, true), (8, false)] {
            assert_eq!(
                cut.covers(&subject, Revision::new(minted)),
                dead,
                "{minted}"
            );
        }
        assert!(!cut.covers(&other, Revision::new(1)));
    }
}
