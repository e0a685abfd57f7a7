//! The clock that was passed in, as TLS reads it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aims_types::{Clock, Timestamp};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// A clock that configurations hold.
pub(crate) struct ClockTime(pub(crate) Arc<dyn Clock>);

/// The time of `clock` for a configuration that is made elsewhere.
pub fn time_provider(clock: Arc<dyn Clock>) -> Arc<dyn TimeProvider> {
    Arc::new(ClockTime(clock))
}

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = Duration::from_millis(self.0.now().unix_millis());
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockTime")
    }
}

/// The instant that a verifier is told.
pub(crate) const fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::from_unix_secs(time.as_secs())
}
