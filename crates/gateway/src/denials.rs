//! Denials one by one, and past a named rate of one principal in counts.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aims_json::Object;
use aims_model::{Event, EventKind};
use aims_types::{self as types, BootTime, Id, Timestamp};

/// Whose denials are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Principal {
    /// One instance's.
    Instance(Id<types::Instance>),
    /// Those of whoever could not be authenticated.
    Unknown,
}

/// The rate of denials of each principal.
#[derive(Debug)]
pub(crate) struct Denials {
    per_window: u32,
    window: Duration,
    open: Mutex<HashMap<Principal, Window>>,
}

#[derive(Debug)]
struct Window {
    since: BootTime,
    recorded: u32,
    folded: Option<Folded>,
}

#[derive(Debug)]
struct Folded {
    count: u64,
    first: (Timestamp, Object),
    last: (Timestamp, Object),
    task: Option<Id<types::Task>>,
}

impl Denials {
    /// At most `per_window` records of one principal within `window`.
    pub(crate) fn new(per_window: u32, window: Duration) -> Self {
        Self {
            per_window,
            window,
            open: Mutex::default(),
        }
    }

    /// Takes a denial: gives it back to be recorded alone, or counts it.
    pub(crate) fn note(&self, principal: Principal, boot: BootTime, event: Event) -> Option<Event> {
        let mut open = self.open();
        let window = open.entry(principal).or_insert_with(|| Window::new(boot));
        if window.folded.is_none() && boot.since(window.since) >= self.window {
            *window = Window::new(boot);
        }
        if window.recorded < self.per_window {
            window.recorded += 1;
            return Some(event);
        }
        let example = (event.at, event.body);
        if let Some(folded) = &mut window.folded {
            folded.count = folded.count.saturating_add(1);
            folded.last = example;
        } else {
            let (first, last, task) = (example.clone(), example, event.task);
            window.folded = Some(Folded {
                count: 1,
                first,
                last,
                task,
            });
        }
        None
    }

    /// The counts of windows that are over, or of all, to be recorded.
    pub(crate) fn take(&self, boot: BootTime, now: Timestamp, all: bool) -> Vec<Event> {
        let mut events = Vec::new();
        self.open().retain(|principal, window| {
            let over = boot.since(window.since) >= self.window;
            if over || all {
                events.extend(
                    window
                        .folded
                        .take()
                        .map(|folded| folded.event(*principal, now)),
                );
            }
            !over
        });
        events
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Principal, Window>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    const fn new(since: BootTime) -> Self {
        Self {
            since,
            recorded: 0,
            folded: None,
        }
    }
}

impl Folded {
    fn event(self, principal: Principal, now: Timestamp) -> Event {
        let example = |(at, body): (Timestamp, Object)| body.with("at", at.unix_millis());
        let who = match principal {
            Principal::Instance(id) => id.to_string(),
            Principal::Unknown => "unknown".to_owned(),
        };
        let body = Object::new()
            .with("principal", who)
            .with("count", self.count)
            .with("first", example(self.first))
            .with("last", example(self.last));
        let event = Event::new(EventKind::CallDeniedMany, now, body);
        match self.task {
            Some(task) => event.of_task(task),
            None => event,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(n: u64) -> Event {
        let body = Object::new().with("n", n);
        Event::new(EventKind::CallDenied, Timestamp::from_unix_secs(n), body)
    }

    #[test]
    fn a_flood_becomes_one_count_with_its_first_and_last_example() {
        let at = |secs: u64| BootTime::from_nanos(secs * 1_000_000_000);
        let denials = Denials::new(2, Duration::from_secs(10));
        let mine = Principal::Instance(Id::from_u128(1));
        let alone = (1..=9)
            .filter_map(|n| denials.note(mine, at(1), denial(n)))
            .count();
        assert_eq!(alone, 2);
        assert!(
            denials
                .note(Principal::Unknown, at(1), denial(50))
                .is_some()
        );
        assert_eq!(denials.take(at(5), Timestamp::from_unix_secs(5), false), []);
        let counts = denials.take(at(11), Timestamp::from_unix_secs(11), false);
        let [count] = counts.as_slice() else {
            panic!("{counts:?}")
        };
        let number = |path: &[&str]| {
            let start = aims_json::Value::from(count.body.clone());
            path.iter()
                .try_fold(start, |value, name| value.get(name).cloned())?
                .as_u64()
        };
        assert_eq!(number(&["count"]), Some(7));
        assert_eq!(
            (number(&["first", "n"]), number(&["last", "n"])),
            (Some(3), Some(9))
        );
        assert!(
            denials.note(mine, at(12), denial(10)).is_some(),
            "a new window"
        );
    }
}
