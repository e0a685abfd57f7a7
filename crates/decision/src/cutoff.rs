//! What is cut off, looked up by subject.

use std::collections::HashMap;

use aims_model::{CutOff, Subject};
use aims_types::Revision;

/// All cut-offs in force: for each subject the newest revision that is dead.
///
/// Grows with what was cut off, not with what exists: one look-up per subject of a credential.
#[derive(Debug, Clone, Default)]
pub struct CutOffs(HashMap<Subject, Revision>);

impl CutOffs {
    /// The cut-offs as statements; the newest one about a subject counts.
    pub fn new<'a>(statements: impl IntoIterator<Item = &'a CutOff>) -> Self {
        let mut newest: HashMap<Subject, Revision> = HashMap::new();
        for statement in statements {
            let at = newest
                .entry(statement.subject.clone())
                .or_insert(Revision::ZERO);
            *at = (*at).max(statement.at_or_before);
        }
        Self(newest)
    }

    /// The first of `subjects` under which something minted at `minted` is dead.
    pub fn find<'s>(&self, subjects: &'s [Subject], minted: Revision) -> Option<&'s Subject> {
        cut_off(subjects, self, minted)
    }
}

/// The first of `subjects` under which something minted at `minted` is dead; `None` if it lives.
pub fn cut_off<'s>(
    subjects: &'s [Subject],
    cutoffs: &CutOffs,
    minted: Revision,
) -> Option<&'s Subject> {
    let covers = |subject: &&Subject| cutoffs.0.get(*subject).is_some_and(|at| minted <= *at);
    subjects.iter().find(covers)
}

/// The subject in words, for reasons: `instance ins_…`.
pub fn describe(subject: &Subject) -> String {
    match subject {
        Subject::Person(id) => format!("person {id}"),
        Subject::Agent(id) => format!("agent {id}"),
        Subject::Instance(id) => format!("instance {id}"),
        Subject::Task(id) => format!("task {id}"),
        Subject::Delegation(id) => format!("delegation {id}"),
        Subject::Key(kid) => format!("key {kid}"),
        Subject::Policy(id) => format!("policy {id}"),
    }
}

#[cfg(test)]
mod tests {
    use aims_types::Id;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_look_up_agrees_with_every_single_statement(
            statements in proptest::collection::vec((0_u8..4, 0_u64..6), 0..8),
            held in proptest::collection::vec(0_u8..4, 0..4),
            minted in 0_u64..8,
        ) {
            let subject = |n: u8| Subject::Task(Id::from_u128(n.into()));
            let statements: Vec<CutOff> = statements
                .into_iter()
                .map(|(n, at)| CutOff { subject: subject(n), at_or_before: Revision::new(at) })
                .collect();
            let held: Vec<Subject> = held.into_iter().map(subject).collect();
            let minted = Revision::new(minted);
            let expected =
                held.iter().find(|s| statements.iter().any(|cut| cut.covers(s, minted)));
            prop_assert_eq!(cut_off(&held, &CutOffs::new(&statements), minted), expected);
        }
    }

    #[test]
    fn an_older_statement_does_not_undo_a_newer_one() {
        let subject = Subject::Instance(Id::from_u128(1));
        let cut = |at| CutOff {
            subject: subject.clone(),
            at_or_before: Revision::new(at),
        };
        let cutoffs = CutOffs::new(&[cut(9), cut(3)]);
        let subjects = [subject.clone()];
        assert_eq!(cutoffs.find(&subjects, Revision::new(9)), Some(&subject));
        assert_eq!(cutoffs.find(&subjects, Revision::new(10)), None);
    }
}
