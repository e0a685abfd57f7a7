//! Finding the records of a proof one by one, by the names that the rule asks for: nothing of the
//! log is read but what the proof rests on.

use aims_model::{Record, RecordName};
use aims_tlog::VerifierKey;
use aims_types::{Decision, Id};

use crate::file::{Included, RECORDS_MAX};
use crate::select::{SelectError, Selected};

/// The records that a permit rests on, as far as they are found.
///
/// Ask [`Gathering::wanted`] for the next name, look the record up, give it to
/// [`Gathering::answer`], until nothing is wanted any more. The first record of the log with a name
/// is the one: what is found is then exactly what the verifier's rule chooses.
#[derive(Debug)]
pub struct Gathering<'a> {
    decision: Id<Decision>,
    log: &'a VerifierKey,
    /// In the order of the log.
    records: Vec<Included>,
    /// There may be none yet; then it is asked for once.
    outcome_asked: bool,
}

impl<'a> Gathering<'a> {
    /// Nothing is found yet; `log` is the key that signs the log.
    pub const fn new(decision: Id<Decision>, log: &'a VerifierKey) -> Self {
        Self {
            decision,
            log,
            records: Vec::new(),
            outcome_asked: false,
        }
    }

    /// The name of a record that is missing; `None` if all are there. The permit is the first.
    pub fn wanted(&self) -> Result<Option<RecordName>, SelectError> {
        match Selected::of(&self.records, self.decision, self.log) {
            Ok(_) if self.outcome_asked => Ok(None),
            Ok(_) => Ok(Some(RecordName::outcome(self.decision))),
            Err(SelectError::Missing(name)) => Ok(Some(name)),
            Err(error) => Err(error),
        }
    }

    /// Takes the first record of the log that has the wanted name, if there is one; its path need
    /// not be known yet.
    pub fn answer(
        &mut self,
        wanted: RecordName,
        found: Option<Included>,
    ) -> Result<(), SelectError> {
        let is_outcome = wanted == RecordName::outcome(self.decision);
        self.outcome_asked |= is_outcome;
        let Some(found) = found else {
            return if is_outcome {
                Ok(())
            } else {
                Err(SelectError::Missing(wanted))
            };
        };
        // Each answer is a step: what was wanted is not missing any more.
        if !wanted.is_of(&found.record.event) {
            return Err(SelectError::Missing(wanted));
        }
        if self.records.len() >= RECORDS_MAX {
            return Err(SelectError::TooMany);
        }
        let place = self.records.partition_point(|one| one.index < found.index);
        self.records.insert(place, found);
        Ok(())
    }

    /// The permit, once it is found.
    pub fn permit(&self) -> Option<&Record> {
        let name = RecordName::permit(self.decision);
        let mut records = self.records.iter().map(|one| &one.record);
        records.find(|record| name.is_of(&record.event))
    }

    /// What was found, in the order of the log.
    pub fn into_records(self) -> Vec<Included> {
        self.records
    }
}
