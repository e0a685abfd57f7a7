//! How long a lease is, and how much of it is left to clocks and pauses.

use std::time::Duration;

/// Shortest lease.
pub const LENGTH_MIN: Duration = Duration::from_millis(200);
/// Longest lease. A kill waits this long for a point that does not answer.
pub const LENGTH_MAX: Duration = Duration::from_mins(5);
/// A lease where nothing else is configured.
pub const LENGTH_DEFAULT: Duration = Duration::from_secs(5);
/// The margin where nothing else is configured.
pub const DRIFT_MARGIN_DEFAULT: Duration = Duration::from_millis(500);
/// The margin is at least the lease divided by this, so that clocks may differ by one in a hundred.
pub const DRIFT_MARGIN_LEAST: u32 = 100;
/// The margin is at most the lease divided by this, so that a lease outlives its renewal.
pub const DRIFT_MARGIN_MOST: u32 = 4;
/// A lease is renewed this often in its length.
pub const RENEWALS_PER_LEASE: u32 = 3;

/// What server and points agree on. Both use the same terms.
///
/// A point counts `length - drift_margin`, the server waits `length + drift_margin`. So a lease has
/// certainly ended for the server when its holder lets go of it, as long as neither clock's rate is
/// off by more than `drift_margin / length`: one in ten with the default terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    length: Duration,
    drift_margin: Duration,
}

/// The terms would make leases useless or unsafe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// The length is out of bounds.
    #[error(
        "a lease of {} ms is not between {} ms and {} ms",
        .0.as_millis(), LENGTH_MIN.as_millis(), LENGTH_MAX.as_millis()
    )]
    Length(Duration),
    /// The margin does not fit the length.
    #[error(
        "a margin of {} ms is not between a hundredth and a fourth of the lease",
        .0.as_millis()
    )]
    DriftMargin(Duration),
}

impl Terms {
    /// Terms that work together.
    pub fn new(length: Duration, drift_margin: Duration) -> Result<Self, TermsError> {
        if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
            return Err(TermsError::Length(length));
        }
        let bounds = length / DRIFT_MARGIN_LEAST..=length / DRIFT_MARGIN_MOST;
        if !bounds.contains(&drift_margin) {
            return Err(TermsError::DriftMargin(drift_margin));
        }
        Ok(Self {
            length,
            drift_margin,
        })
    }

    /// How long a lease is.
    pub const fn length(&self) -> Duration {
        self.length
    }

    /// What a holder counts less, the server waits longer, and an effect needs left.
    pub const fn drift_margin(&self) -> Duration {
        self.drift_margin
    }

    /// How long after a renewal the next one is asked for.
    pub fn renew_every(&self) -> Duration {
        self.length / RENEWALS_PER_LEASE
    }

    /// How long after a grant the server takes the lease for possibly held.
    pub const fn span(&self) -> Duration {
        self.length.saturating_add(self.drift_margin)
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            length: LENGTH_DEFAULT,
            drift_margin: DRIFT_MARGIN_DEFAULT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_terms_that_work_together_exist() {
        let ms = Duration::from_millis;
        let cases = [
            (5_000, 500, true),
            (200, 2, true),
            (200, 50, true),
            (300_000, 3_000, true),
            (199, 20, false),
            (300_001, 3_001, false),
            (5_000, 49, false),
            (5_000, 1_251, false),
        ];
        for (length, margin, fine) in cases {
            assert_eq!(Terms::new(ms(length), ms(margin)).is_ok(), fine, "{length}");
        }
        let default = Terms::default();
        assert_eq!(
            Terms::new(default.length(), default.drift_margin()),
            Ok(default)
        );
    }
}
