//! What trying a claim gives.

use std::fmt;

/// What was seen instead of what is claimed.
pub(super) struct Seen(String);

/// A claim that holds, or what was seen instead.
pub(super) type Outcome<T = ()> = Result<T, Seen>;

impl Seen {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Seen {
    fn from(error: E) -> Self {
        Self(format!("unexpected error: {error}"))
    }
}

/// Two values are equal.
macro_rules! same {
    ($seen:expr, $wanted:expr) => {
        match (&$seen, &$wanted) {
            (seen, wanted) => {
                if *seen != *wanted {
                    let place = concat!(file!(), ":", line!());
                    let text = format!("{place}: saw {seen:?}, wanted {wanted:?}");
                    return Err($crate::conformance::outcome::Seen::new(text));
                }
            }
        }
    };
}

/// A result is the error of this form.
macro_rules! refused {
    ($result:expr, $pattern:pat) => {
        match $result {
            Err($pattern) => {}
            other => {
                let place = concat!(file!(), ":", line!());
                let wanted = stringify!($pattern);
                let text = format!(
                    "{place}: saw {:?}, wanted {wanted}",
                    other.map(|_| "success")
                );
                return Err($crate::conformance::outcome::Seen::new(text));
            }
        }
    };
}

pub(super) use {refused, same};
