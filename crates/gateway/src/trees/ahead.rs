//! How far this gateway may be ahead of the server: uses of a tree that it recorded, or is about
//! to, and that the server has not got. If it is lost, no more than these are lost with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aims_lease::Held;
use tokio::time::{sleep, timeout};

use crate::authn::{AuthnError, Caller};
use crate::core::Core;
use crate::journal::JournalError;
use crate::state::State;

/// Longest that a call waits for the server to get what was recorded before. Handing over takes
/// milliseconds while the server answers; a lease ends before long when it does not.
const BEHIND_MAX: Duration = Duration::from_secs(2);

/// The window of a tree: the uses that the server has not got.
#[derive(Debug)]
pub(crate) struct Ahead(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    /// Most of them.
    size: u32,
    /// How many are being recorded.
    recording: u32,
    /// The numbers of the records that are durable here.
    recorded: Vec<u64>,
    /// Nothing is recorded any more: the tree is being given back.
    closed: bool,
}

/// The right to record one use. Unless it is told what came of that, the use stays counted.
#[derive(Debug)]
#[must_use = "it stays taken"]
pub(crate) struct Place(Arc<Ahead>);

/// Why nothing may be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Behind {
    /// The server has not got what was recorded.
    #[error(
        "the server has not taken what this gateway recorded about the task before, so nothing \
         more of its budgets is used; try again when the server is reached again"
    )]
    Server,
    /// The tree is being given back.
    #[error("the task is being handed over to another gateway; try again")]
    Moving,
    /// What the call stands on has ended meanwhile.
    #[error(transparent)]
    Ended(#[from] AuthnError),
}

impl Ahead {
    /// A window of this size, of which nothing is taken.
    pub(super) fn new(size: u32) -> Self {
        Self(Mutex::new(Window {
            size,
            ..Window::default()
        }))
    }

    /// The window has this size from now on.
    pub(super) fn resize(&self, size: u32) {
        self.window().size = size;
    }

    /// Lets nothing be recorded any more, unless something is just being recorded: whether it is
    /// closed.
    pub(super) fn close(&self) -> bool {
        let mut window = self.window();
        window.closed |= window.recording == 0;
        window.closed
    }

    /// Lets uses be recorded again.
    pub(super) fn open(&self) {
        self.window().closed = false;
    }

    /// A place, if there is one when the server has everything up to `shipped`.
    fn take(self: &Arc<Self>, shipped: u64) -> Result<Option<Place>, Behind> {
        let mut window = self.window();
        if window.closed {
            return Err(Behind::Moving);
        }
        window.recorded.retain(|seq| *seq > shipped);
        let recorded = u32::try_from(window.recorded.len()).unwrap_or(u32::MAX);
        if window.recording.saturating_add(recorded) >= window.size {
            return Ok(None);
        }
        window.recording = window.recording.saturating_add(1);
        drop(window);
        Ok(Some(Place(Arc::clone(self))))
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What came of recording the use. One that may be found in the log when it is opened anew
    /// stays counted.
    pub(crate) fn recorded(self, appended: &Result<u64, JournalError>) {
        let mut window = self.0.window();
        match appended {
            Ok(seq) => window.recorded.push(*seq),
            Err(error) if error.is_in_doubt() => return,
            Err(_) => {}
        }
        window.recording = window.recording.saturating_sub(1);
    }
}

/// Whether a permitted call uses up anything that is counted at the owner of its tree. Approvals do
/// not count here: those that were given are void when a tree is taken over.
fn is_counted(caller: &Caller, state: &State) -> bool {
    let hops = caller.chain.verified.hops().iter();
    let mut limits = hops.map(|hop| hop.grant().authority.limits());
    let limited = limits.any(|limits| {
        limits.uses().is_some() || limits.rate().is_some() || !limits.sums().is_empty()
    });
    limited || state.policies.counts_calls()
}

/// The right to record a call, which one that is counted waits for. No lock is held meanwhile.
pub(crate) async fn place(
    core: &Core,
    caller: &Caller,
    state: &State,
) -> Result<Option<Place>, Behind> {
    if !is_counted(caller, state) {
        return Ok(None);
    }
    let waited = timeout(BEHIND_MAX, wait(core, caller)).await;
    waited.unwrap_or(Err(Behind::Server)).map(Some)
}

async fn wait(core: &Core, caller: &Caller) -> Result<Place, Behind> {
    let mut shipped = core.shipped.subscribe();
    let mut states = core.state.changes();
    loop {
        states.mark_unchanged();
        let have = *shipped.borrow_and_update();
        if let Some(place) = caller.tree.ahead().take(have)? {
            return Ok(place);
        }
        // What ends the call meanwhile ends this: a kill does not wait for it.
        let held: Held = core.look_on(caller)?;
        let left = held.until().since(core.clock.boot());
        tokio::select! {
            Ok(()) = shipped.changed() => {}
            Ok(()) = states.changed() => {}
            () = core.stopping.cancelled() => {}
            () = sleep(left) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_and_not_shipped_never_passes_the_window() {
        let ahead = Arc::new(Ahead::new(2));
        let take = |shipped| ahead.take(shipped).unwrap();
        let (first, second) = (take(0).unwrap(), take(0).unwrap());
        assert!(take(99).is_none(), "what is being recorded counts");
        first.recorded(&Ok(5));
        second.recorded(&Ok(7));
        assert!(take(4).is_none());
        let third = take(5).unwrap();
        assert!(take(6).is_none());
        third.recorded(&Ok(8));
        // What certainly was not recorded is given back, what may have been is not.
        let fourth = take(7).unwrap();
        fourth.recorded(&Err(aims_wal::AppendError::Busy.into()));
        drop(take(7).unwrap());
        assert!(take(7).is_none());
        ahead.resize(3);
        assert!(!ahead.close(), "something is being recorded");
        assert!(take(7).is_some());
    }

    #[test]
    fn nothing_is_recorded_in_a_tree_that_is_given_back() {
        let ahead = Arc::new(Ahead::new(2));
        let place = ahead.take(0).unwrap().unwrap();
        assert!(!ahead.close());
        place.recorded(&Ok(1));
        assert!(ahead.close() && ahead.close());
        assert_eq!(ahead.take(9).unwrap_err(), Behind::Moving);
        ahead.open();
        assert!(ahead.take(9).unwrap().is_some());
    }
}
