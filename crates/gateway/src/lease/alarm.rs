//! Waiting on `CLOCK_BOOTTIME`, which goes on while the machine sleeps: a timer of the runtime
//! would come late by the time that the machine slept.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits for this long, the machine's sleep included.
pub(crate) async fn sleep(duration: Duration) {
    if let Err(error) = on_timer(duration).await {
        tracing::warn!(%error, "no timer could be had that goes on while the machine sleeps");
        tokio::time::sleep(duration).await;
    }
}

async fn on_timer(duration: Duration) -> io::Result<()> {
    if duration.is_zero() {
        // A timer that is set to nothing never comes.
        return Ok(());
    }
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer: OwnedFd = timerfd_create(TimerfdClockId::Boottime, flags)?;
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let value = Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    };
    let once = Itimerspec {
        it_interval: zero,
        it_value: value,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
    #[expect(
        deprecated,
        reason = "INVARIANT: an `OwnedFd` is open and the same as long as it is not dropped; the \
                  replacement asks for `unsafe` to promise just that"
    )]
    let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
    timer.readable().await.map(drop)
}

#[cfg(test)]
mod tests {
    use aims_types::Clock;
    use aims_types::ambient::SystemClock;

    use super::*;

    #[tokio::test]
    async fn it_waits_as_long_as_it_is_told_and_not_at_all_for_nothing() {
        let before = SystemClock.boot();
        sleep(Duration::ZERO).await;
        sleep(Duration::from_millis(20)).await;
        assert!(SystemClock.boot().since(before) >= Duration::from_millis(20));
    }
}
