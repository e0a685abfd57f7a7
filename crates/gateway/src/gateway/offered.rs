//! The states that a gateway was offered, and what ended with them, for as long as nobody may have
//! heard of it.

use std::collections::VecDeque;

use aims_links::{Applied, Step};
use aims_model::receipt::{Ended, UNKNOWN_EFFECTS_MAX};
use aims_types::Revision;

/// The newest state that was offered.
#[derive(Default)]
pub(super) struct Offered {
    /// Its revision, usable or not.
    pub(super) newest: Option<Revision>,
    /// What ended with the states that were taken over, oldest first. It is told again with every
    /// answer, since an earlier answer may not have been heard.
    steps: VecDeque<Step>,
    /// What ended with states that were not usable.
    pub(super) unheard: Ended,
}

/// Most states of which it is told again what ended with them.
const STEPS_MAX: usize = 32;

impl Offered {
    /// Notes what ended with a state that was taken over.
    pub(super) fn took(&mut self, to: Revision, ended: Ended) {
        let after = self.steps.back().map_or(Revision::ZERO, |last| last.to);
        if self.steps.len() == STEPS_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back(Step { after, to, ended });
        self.shorten();
    }

    /// Keeps no more effects than one receipt has room for: of the oldest, only their number.
    fn shorten(&mut self) {
        let listed = |step: &Step| step.ended.unknown.len();
        let mut all: usize = self.steps.iter().map(listed).sum();
        for step in &mut self.steps {
            if all <= UNKNOWN_EFFECTS_MAX {
                return;
            }
            let gone = step.ended.unknown.len();
            step.ended.unknown.clear();
            let more = u32::try_from(gone).unwrap_or(u32::MAX);
            step.ended.unknown_more = step.ended.unknown_more.saturating_add(more);
            all -= gone;
        }
    }

    /// The answer at `revision`, with everything that may not have been heard.
    pub(super) fn applied(&self, revision: Revision) -> Applied {
        let mut earlier: Vec<Step> = self.steps.iter().cloned().collect();
        let last = earlier.pop();
        Applied {
            revision,
            ended: last.map(|step| step.ended).unwrap_or_default(),
            earlier,
        }
    }
}
