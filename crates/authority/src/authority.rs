//! The authority of one delegation.

use crate::problem::counted;
use crate::{Argument, Detail, Limits, Problem};

/// Most details in one authority.
pub const DETAILS_MAX: usize = 64;

/// What one delegation allows. With no detail it allows nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    details: Vec<Detail>,
    limits: Limits,
}

impl Authority {
    /// The authority of these details within these limits.
    ///
    /// An argument that is summed has to be named by a detail, and by none as optional: a
    /// call that leaves it out would spend what the other side takes by default, uncounted. For the
    /// same reason no body may be anything.
    pub fn new(details: Vec<Detail>, limits: Limits) -> Result<Self, Problem> {
        counted(details.len(), 0, DETAILS_MAX)?;
        for sum in limits.sums() {
            let name = sum.argument();
            let arguments = || {
                let named = details.iter().filter_map(Detail::named_arguments);
                named.filter_map(|arguments| arguments.get(name))
            };
            let any_body = |detail: &Detail| match detail {
                Detail::Http(http) => http.members().is_none(),
                Detail::Tools(_) | Detail::Egress(_) => false,
            };
            if details.iter().any(any_body) {
                return Err(Problem::SumInAnyBody {
                    argument: name.to_string(),
                });
            }
            if arguments().next().is_none() {
                return Err(Problem::SumWithoutArgument {
                    argument: name.to_string(),
                });
            }
            if arguments().any(|a| matches!(a, Argument::Bounded(b) if b.optional())) {
                return Err(Problem::SumOfOptional {
                    argument: name.to_string(),
                });
            }
        }
        Ok(Self { details, limits })
    }

    /// What is allowed, each detail on its own.
    pub fn details(&self) -> &[Detail] {
        &self.details
    }

    /// The limits over all details.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }
}
