//! Validity in time, the same for every token.

use std::time::Duration;

use aims_jose::{ClaimError, Claims};
use aims_types::Timestamp;

/// How far two clocks may be apart (RFC 7519 §4.1.4 allows "usually no more than a few minutes").
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(5);
/// Longest `jti`.
pub const JTI_LEN_MAX: usize = 128;

/// Why a token is not valid now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifeError {
    /// RFC 7519 §4.1.4.
    #[error("the token has expired; ask for a new one")]
    Expired,
    /// RFC 7519 §4.1.5 and §4.1.6.
    #[error("the token is from the future; check the clocks")]
    NotYetValid,
    /// It ends before it starts, or lives longer than its kind may.
    #[error("the token lives longer than the {} seconds that its kind may", max.as_secs())]
    TooLong {
        /// The longest life of its kind.
        max: Duration,
    },
}

/// The times of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl Life {
    /// Reads `iat` and `exp`, both required.
    pub(crate) fn of(claims: &Claims) -> Result<Self, ClaimError> {
        Ok(Self {
            issued_at: claims.time("iat")?,
            expires_at: claims.time("exp")?,
        })
    }

    /// Refuses a life that is empty or longer than `max`.
    pub(crate) fn check_length(self, max: Duration) -> Result<(), LifeError> {
        // In whole seconds, as the claims will have them.
        let good = self.issued_at.unix_secs() < self.expires_at.unix_secs()
            && self.expires_at.since(self.issued_at) <= max;
        if good {
            Ok(())
        } else {
            Err(LifeError::TooLong { max })
        }
    }

    /// Refuses a token that is not valid at `now`.
    pub(crate) fn check_now(self, now: Timestamp) -> Result<(), LifeError> {
        if now >= self.expires_at.plus(CLOCK_LEEWAY) {
            return Err(LifeError::Expired);
        }
        if self.issued_at > now.plus(CLOCK_LEEWAY) {
            return Err(LifeError::NotYetValid);
        }
        Ok(())
    }
}

/// Refuses a token whose `nbf`, if there is one, has not come (RFC 7519 §4.1.5).
pub(crate) fn not_before(claims: &Claims, now: Timestamp) -> Result<bool, ClaimError> {
    Ok(claims
        .optional_time("nbf")?
        .is_none_or(|nbf| nbf <= now.plus(CLOCK_LEEWAY)))
}

/// A required `jti` of visible ASCII characters (RFC 7519 §4.1.7).
pub(crate) fn jti(claims: &Claims) -> Result<&str, ClaimError> {
    let jti = claims.text("jti")?;
    if is_jti(jti) {
        Ok(jti)
    } else {
        Err(ClaimError::Malformed("jti"))
    }
}

pub(crate) fn is_jti(text: &str) -> bool {
    (1..=JTI_LEN_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_from_issue_to_expiry_with_leeway() {
        let at = Timestamp::from_unix_secs;
        let life = Life {
            issued_at: at(100),
            expires_at: at(160),
        };
        for (now, expected) in [
            (94, Err(LifeError::NotYetValid)),
            (95, Ok(())),
            (160, Ok(())),
            (164, Ok(())),
            (165, Err(LifeError::Expired)),
        ] {
            assert_eq!(life.check_now(at(now)), expected, "{now}");
        }
    }

    #[test]
    fn a_life_is_neither_empty_nor_too_long() {
        let at = Timestamp::from_unix_secs;
        let max = Duration::from_mins(1);
        for (from, to, good) in [
            (0, 60, true),
            (0, 61, false),
            (5, 5, false),
            (6, 5, false),
            (0, 1, true),
        ] {
            let life = Life {
                issued_at: at(from),
                expires_at: at(to),
            };
            assert_eq!(life.check_length(max).is_ok(), good, "{from} {to}");
        }
    }
}
