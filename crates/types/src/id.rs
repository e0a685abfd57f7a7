//! Typed identifiers: one 128-bit, time-ordered value with a prefix that says what it names.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use crate::{Entropy, EntropyError, Timestamp};

/// What an [`Id`] names. Implemented by the marker types of this module only.
pub trait Kind: Send + Sync + 'static {
    /// The prefix of the text form, without the underscore.
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {}
        impl Kind for $name { const PREFIX: &'static str = $prefix; }
    )*};
}

kinds! {
    /// A durable, named non-human principal.
    Agent = "agt",
    /// A person's answer to one request.
    Approval = "apr",
    /// One decision on one action.
    Decision = "dec",
    /// One hop of authority.
    Delegation = "dlg",
    /// One enforcement point.
    Gateway = "gtw",
    /// One attested run of an agent.
    Instance = "ins",
    /// A key that signs something.
    Key = "key",
    /// One node agent.
    Node = "nod",
    /// A human principal.
    Person = "per",
    /// One version of the policy set.
    Policy = "pol",
    /// One record of the log.
    Record = "rec",
    /// One request to AIMS; the correlation id of what it caused.
    Request = "req",
    /// One launch that a person asked for.
    Run = "run",
    /// A registered tool server.
    Server = "srv",
    /// An ordinary service that others start.
    Service = "svc",
    /// One MCP session.
    Session = "ses",
    /// One piece of work.
    Task = "tsk",
    /// One token (`jti`).
    Token = "tok",
    /// A registered HTTPS server elsewhere.
    Upstream = "ups",
}

/// An identifier of a `K`: 48 bits of milliseconds, then 80 random bits.
///
/// Text form: the kind's prefix, `_`, and 26 characters of Crockford base 32 in lower case,
/// for example `agt_01jv5h7k8nq4xw2t9r3c6m0zya`. Ordering follows time of creation.
pub struct Id<K> {
    value: u128,
    kind: PhantomData<fn() -> K>,
}

/// Why a text is not an [`Id`] of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id of the form `{prefix}_` and 26 characters of base 32")]
pub struct IdParseError {
    text: String,
    prefix: &'static str,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_LEN: usize = 26;

impl<K: Kind> Id<K> {
    /// Makes a new id for an object created at `now`.
    pub fn new(now: Timestamp, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut random = [0_u8; 10];
        entropy.fill(&mut random)?;
        let tail = random
            .iter()
            .fold(0_u128, |acc, b| (acc << 8) | u128::from(*b));
        let head = u128::from(now.unix_millis() & 0xffff_ffff_ffff);
        Ok(Self::from_u128((head << 80) | tail))
    }

    /// The id with this numeric value.
    pub const fn from_u128(value: u128) -> Self {
        Self {
            value,
            kind: PhantomData,
        }
    }

    /// The numeric value.
    pub const fn as_u128(&self) -> u128 {
        self.value
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.value.cmp(&other.value)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_", K::PREFIX)?;
        for place in (0..TEXT_LEN).rev() {
            let index = usize::try_from((self.value >> (5 * place)) & 31).unwrap_or(0);
            let c = ALPHABET.get(index).copied().unwrap_or(b'0');
            fmt::Write::write_char(f, char::from(c))?;
        }
        Ok(())
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || IdParseError {
            text: text.chars().take(64).collect(),
            prefix: K::PREFIX,
        };
        let digits = text
            .strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .filter(|rest| rest.len() == TEXT_LEN)
            .ok_or_else(error)?;
        let mut value = 0_u128;
        for (place, byte) in digits.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|c| *c == byte).ok_or_else(error)?;
            // 26 digits hold 130 bits: the first may only be 0..=7.
            if place == 0 && digit > 7 {
                return Err(error());
            }
            value = (value << 5) | u128::try_from(digit).map_err(|_| error())?;
        }
        Ok(Self::from_u128(value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_form_round_trips(value: u128) {
            let id = Id::<Task>::from_u128(value);
            prop_assert_eq!(id.to_string().parse::<Id<Task>>().unwrap(), id);
        }

        #[test]
        fn text_order_is_creation_order(a: u128, b: u128) {
            let (x, y) = (Id::<Task>::from_u128(a), Id::<Task>::from_u128(b));
            prop_assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let id = Id::<Agent>::from_u128(7).to_string();
        assert!(id.parse::<Id<Task>>().is_err());
        assert!(id.to_uppercase().parse::<Id<Agent>>().is_err());
        assert!(
            "agt_zzzzzzzzzzzzzzzzzzzzzzzzzz"
                .parse::<Id<Agent>>()
                .is_err()
        );
    }
}
