//! Limits on an authority as a whole.

use aims_json::Decimal;
use aims_types::Timestamp;

use crate::problem::counted;
use crate::{ArgumentName, Problem};

/// Most uses: the largest whole number that every JSON implementation holds exactly.
pub const USES_MAX: u64 = (1 << 53) - 1;
/// Most calls in a rate's period; also the most instants that a ledger remembers.
pub const RATE_COUNT_MAX: u32 = 10_000;
/// Longest period of a rate: 31 days.
pub const RATE_SECS_MAX: u32 = 31 * 24 * 3600;
/// Most sums in one authority.
pub const SUMS_MAX: usize = 8;
/// Most further hops.
pub const DEPTH_MAX: u8 = 8;

/// Limits that hold over all details of an authority together. The default is no limit of time,
/// use, rate or sum, and no further delegation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    not_after: Option<Timestamp>,
    uses: Option<u64>,
    rate: Option<Rate>,
    sums: Vec<Sum>,
    depth: u8,
}

/// At most `count` calls within any `per_secs` seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per_secs: u32,
}

/// The values of one argument, summed over all calls, are at most `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    argument: ArgumentName,
    max: Decimal,
}

impl Limits {
    /// The same limits with an end.
    #[must_use]
    pub const fn with_not_after(mut self, not_after: Timestamp) -> Self {
        self.not_after = Some(not_after);
        self
    }

    /// The same limits with at most this many uses, at most [`USES_MAX`].
    pub fn with_uses(mut self, uses: u64) -> Result<Self, Problem> {
        if uses > USES_MAX {
            return Err(Problem::Number {
                min: 0,
                max: USES_MAX,
            });
        }
        self.uses = Some(uses);
        Ok(self)
    }

    /// The same limits with a rate.
    #[must_use]
    pub const fn with_rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// The same limits with these sums, at most [`SUMS_MAX`], one for an argument.
    pub fn with_sums(mut self, sums: Vec<Sum>) -> Result<Self, Problem> {
        counted(sums.len(), 0, SUMS_MAX)?;
        let mut names: Vec<_> = sums.iter().map(Sum::argument).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows().find(|[a, b]| a == b) {
            return Err(Problem::Duplicate {
                entry: name.to_string(),
            });
        }
        self.sums = sums;
        self.sums.sort_by(|a, b| a.argument.cmp(&b.argument));
        Ok(self)
    }

    /// The same limits with this many further hops, at most [`DEPTH_MAX`].
    pub fn with_depth(mut self, depth: u8) -> Result<Self, Problem> {
        if depth > DEPTH_MAX {
            return Err(Problem::Number {
                min: 0,
                max: DEPTH_MAX.into(),
            });
        }
        self.depth = depth;
        Ok(self)
    }

    /// The last instant at which the authority allows anything.
    pub const fn not_after(&self) -> Option<Timestamp> {
        self.not_after
    }

    /// How often the authority may be used.
    pub const fn uses(&self) -> Option<u64> {
        self.uses
    }

    /// How fast the authority may be used.
    pub const fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// Sums over arguments, in the order of the arguments' names.
    pub fn sums(&self) -> &[Sum] {
        &self.sums
    }

    /// How many further hops may be delegated; 0 is none.
    pub const fn depth(&self) -> u8 {
        self.depth
    }

    /// Whether the values of this argument are summed.
    pub(crate) fn sums_over(&self, argument: &str) -> bool {
        self.sums
            .iter()
            .any(|sum| sum.argument.as_str() == argument)
    }
}

impl Rate {
    /// At most `count` calls within any `per_secs` seconds; both at least 1.
    pub const fn new(count: u32, per_secs: u32) -> Result<Self, Problem> {
        if count == 0 || count > RATE_COUNT_MAX {
            return Err(Problem::Number {
                min: 1,
                max: RATE_COUNT_MAX as u64,
            });
        }
        if per_secs == 0 || per_secs > RATE_SECS_MAX {
            return Err(Problem::Number {
                min: 1,
                max: RATE_SECS_MAX as u64,
            });
        }
        Ok(Self { count, per_secs })
    }

    /// How many calls.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// Within how many seconds.
    pub const fn per_secs(self) -> u32 {
        self.per_secs
    }
}

impl Sum {
    /// The values of `argument` sum up to at most `max`.
    pub const fn new(argument: ArgumentName, max: Decimal) -> Self {
        Self { argument, max }
    }

    /// The argument.
    pub const fn argument(&self) -> &ArgumentName {
        &self.argument
    }

    /// The greatest sum.
    pub const fn max(&self) -> Decimal {
        self.max
    }
}
