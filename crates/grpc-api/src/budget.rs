//! Bytes that calls hold: those of one point, and those of all.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use aims_model::Point;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use crate::{ALL_BYTES_MAX, POINT_BYTES_MAX, UNCOUNTED_LEN};

/// What is held.
#[derive(Debug, Clone, Default)]
pub(crate) struct Budget(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by_point: HashMap<Point, usize>,
}

/// What one call holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    point: Point,
    uncounted: usize,
    counted: usize,
}

/// What a call sends, counted as it comes.
pub(crate) struct Counted {
    body: Body,
    share: Arc<Mutex<Share>>,
}

impl Budget {
    /// A call of `point`, which holds nothing yet.
    pub(crate) fn share(&self, point: Point) -> Share {
        Share {
            budget: self.clone(),
            point,
            uncounted: UNCOUNTED_LEN,
            counted: 0,
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Holds so many bytes more; `false` if they would be too many.
    fn grow(&mut self, bytes: usize) -> bool {
        let free = bytes.min(self.uncounted);
        let more = bytes - free;
        let mut held = self.budget.held();
        let of_point = held.by_point.get(&self.point).copied().unwrap_or(0);
        if of_point + more > POINT_BYTES_MAX || held.all + more > ALL_BYTES_MAX {
            return false;
        }
        if more > 0 {
            held.by_point.insert(self.point, of_point + more);
            held.all += more;
        }
        drop(held);
        self.uncounted -= free;
        self.counted += more;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.counted == 0 {
            return;
        }
        let mut held = self.budget.held();
        held.all = held.all.saturating_sub(self.counted);
        if let Some(of_point) = held.by_point.get_mut(&self.point) {
            *of_point = of_point.saturating_sub(self.counted);
            if *of_point == 0 {
                held.by_point.remove(&self.point);
            }
        }
    }
}

impl Counted {
    pub(crate) const fn new(body: Body, share: Arc<Mutex<Share>>) -> Self {
        Self { body, share }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        if share.grow(bytes) {
            drop(share);
            return Poll::Ready(frame);
        }
        let why = "too much is under way; try again when less is";
        Poll::Ready(Some(Err(Status::resource_exhausted(why))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use aims_types::Id;

    use super::*;

    #[test]
    fn one_point_holds_little_and_all_together_hold_no_more_than_is_allowed() {
        let budget = Budget::default();
        let point = |n: usize| Point::Node(Id::from_u128(n as u128));
        let mut shares = Vec::new();
        for n in 0..ALL_BYTES_MAX / POINT_BYTES_MAX {
            let mut share = budget.share(point(n));
            assert!(share.grow(POINT_BYTES_MAX + UNCOUNTED_LEN));
            assert!(!share.grow(1));
            assert!(!budget.share(point(n)).grow(UNCOUNTED_LEN + 1));
            shares.push(share);
        }
        // Whoever comes then is still heard, at little length.
        let mut late = budget.share(point(1000));
        assert!(late.grow(UNCOUNTED_LEN) && !late.grow(1));
        shares.pop();
        assert!(late.grow(POINT_BYTES_MAX));
        drop((late, shares));
        let held = budget.held();
        assert!(held.all == 0 && held.by_point.is_empty());
    }
}
