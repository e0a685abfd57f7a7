//! How many refusals of strangers go on record, one by one.
//!
//! Whoever has not authenticated can be anybody; without a bound they could fill the log.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aims_types::Timestamp;

/// Most refusals of strangers that are recorded one by one in a minute; more are counted, and
/// the next record says how many.
pub const STRANGERS_RECORDED_MAX: u32 = 60;
/// The span over which they are counted.
const WINDOW: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    since: Option<Timestamp>,
    recorded: u32,
    left_out: u64,
}

impl Strangers {
    /// Whether one more is recorded: then with how many were left out before it.
    pub(crate) fn record(&self, now: Timestamp) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = |since: Timestamp| since <= now && now.since(since) < WINDOW;
        if !window.since.is_some_and(current) {
            window.since = Some(now);
            window.recorded = 0;
        }
        if window.recorded == STRANGERS_RECORDED_MAX {
            window.left_out = window.left_out.saturating_add(1);
            return None;
        }
        window.recorded += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}
