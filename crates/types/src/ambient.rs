//! The only place where the system's clock and entropy are read.

use std::io;

use rustix::time::{ClockId, clock_gettime};

use crate::{BootTime, Clock, Entropy, EntropyError, Timestamp};

/// The system's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// The system's random number generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let time = clock_gettime(ClockId::Realtime);
        let secs = u64::try_from(time.tv_sec).unwrap_or(0);
        let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
        Timestamp::from_unix_millis(secs.saturating_mul(1000).saturating_add(millis))
    }

    fn boot(&self) -> BootTime {
        let time = clock_gettime(ClockId::Boottime);
        let secs = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        BootTime::from_nanos(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| EntropyError)
    }
}

/// Where Linux says which boot of the host this is.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// Which boot of this host it is: the instants of [`Clock::boot`] are comparable only within one.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string(BOOT_ID_FILE)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_does_not_go_back_and_entropy_varies() {
        let (a, b) = (SystemClock.boot(), SystemClock.boot());
        assert!(a <= b);
        let (mut x, mut y) = ([0; 32], [0; 32]);
        SystemEntropy.fill(&mut x).unwrap();
        SystemEntropy.fill(&mut y).unwrap();
        assert_ne!(x, y);
    }

    #[test]
    fn a_boot_has_one_id() {
        let id = boot_id().unwrap();
        assert_eq!(id.len(), 36);
        assert_eq!(boot_id().unwrap(), id);
    }
}
