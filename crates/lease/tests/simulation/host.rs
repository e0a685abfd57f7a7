//! A machine and its clocks.

use aims_types::{BootTime, Timestamp};

/// Microseconds of true time, which nobody in the world can read.
pub(crate) type Time = u64;

pub(crate) const MILLI: Time = 1_000;
pub(crate) const SECOND: Time = 1_000_000;

#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// The number of this boot.
    pub(crate) boot: u32,
    /// Nanoseconds of boot time at `since`.
    base: u64,
    since: Time,
    rate_ppm: i64,
    wall_millis: i64,
    asleep: u64,
}

impl Host {
    pub(crate) const fn new() -> Self {
        Self {
            boot: 1,
            base: 1_000_000_000,
            since: 0,
            rate_ppm: 0,
            wall_millis: 1_800_000_000_000,
            asleep: 0,
        }
    }

    fn nanos(&self, now: Time) -> u64 {
        let passed = i64::try_from(now - self.since).unwrap_or(i64::MAX);
        let drift = passed * self.rate_ppm / 1_000;
        self.base + (passed * 1_000 + drift).unsigned_abs()
    }

    /// `CLOCK_BOOTTIME`.
    pub(crate) fn boot_time(&self, now: Time) -> BootTime {
        BootTime::from_nanos(self.nanos(now))
    }

    /// `CLOCK_MONOTONIC`, which stands still while the machine sleeps.
    pub(crate) fn monotonic(&self, now: Time) -> BootTime {
        BootTime::from_nanos(self.nanos(now).saturating_sub(self.asleep))
    }

    /// `CLOCK_REALTIME`.
    pub(crate) fn wall(&self, now: Time) -> Timestamp {
        let millis = self.wall_millis + i64::try_from(now / MILLI).unwrap_or(0);
        Timestamp::from_unix_millis(millis.unsigned_abs())
    }

    pub(crate) fn set_rate(&mut self, now: Time, rate_ppm: i64) {
        self.base = self.nanos(now);
        self.since = now;
        self.rate_ppm = rate_ppm;
    }

    pub(crate) const fn set_wall(&mut self, by_millis: i64) {
        self.wall_millis += by_millis;
    }

    pub(crate) const fn slept(&mut self, micros: Time) {
        self.asleep += micros * 1_000;
    }

    /// Boots anew; what matters here runs `after` microseconds later.
    pub(crate) const fn reboot(&mut self, now: Time, after: Time) {
        self.boot += 1;
        self.base = after * 1_000;
        self.since = now;
        self.asleep = 0;
    }
}
