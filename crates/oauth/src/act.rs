//! The `act` claim: who acts (RFC 8693 §4.1).

use aims_jose::CLAIM_LEN_MAX;
use aims_json::{Object, Value};

/// Most actors in one chain. RFC 8693 §4.1 sets no limit; a longer chain is refused, never cut.
pub const ACT_DEPTH_MAX: usize = 8;

/// One actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The actor's identifier.
    pub sub: String,
    /// Who issued the identifier.
    pub iss: Option<String>,
}

/// The chain of actors of a token, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorChain {
    current: Actor,
    prior: Vec<Actor>,
}

/// Why a value is not a chain of actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// An actor is not an object with a `sub`.
    #[error("an actor in `act` is not an object with a `sub`")]
    Malformed,
    /// More than [`ACT_DEPTH_MAX`] actors.
    #[error("`act` is nested deeper than {ACT_DEPTH_MAX}")]
    TooDeep,
}

impl ActorChain {
    /// The chain of a current actor and those before it, the most recent first.
    pub fn new(current: Actor, prior: Vec<Actor>) -> Result<Self, ActError> {
        if prior.len() >= ACT_DEPTH_MAX {
            return Err(ActError::TooDeep);
        }
        let is_text = |text: &str| (1..=CLAIM_LEN_MAX).contains(&text.len());
        let is_actor =
            |actor: &Actor| is_text(&actor.sub) && actor.iss.as_deref().is_none_or(is_text);
        if !is_actor(&current) || !prior.iter().all(is_actor) {
            return Err(ActError::Malformed);
        }
        Ok(Self { current, prior })
    }

    /// Reads the value of `act`. Unknown members are ignored.
    pub fn parse(value: &Value) -> Result<Self, ActError> {
        let mut actors = Vec::new();
        let mut next = Some(value);
        while let Some(value) = next {
            if actors.len() == ACT_DEPTH_MAX {
                return Err(ActError::TooDeep);
            }
            let object = value.as_object().ok_or(ActError::Malformed)?;
            actors.push(Actor {
                sub: text(object, "sub")?.ok_or(ActError::Malformed)?,
                iss: text(object, "iss")?,
            });
            next = object.get("act");
        }
        let mut actors = actors.into_iter();
        let current = actors.next().ok_or(ActError::Malformed)?;
        Self::new(current, actors.collect())
    }

    /// The current actor: the only one that a decision may look at (RFC 8693 §4.1).
    pub const fn current(&self) -> &Actor {
        &self.current
    }

    /// The actors before, the most recent first. **For records only**: RFC 8693 §4.1 forbids
    /// access-control decisions on them. What AIMS decides on is the chain of signed grants.
    pub fn prior_for_records(&self) -> &[Actor] {
        &self.prior
    }

    /// The JSON form.
    pub fn to_value(&self) -> Value {
        let nest = |inner: Option<Value>, actor: &Actor| {
            let mut object = Object::new().with("sub", actor.sub.as_str());
            if let Some(iss) = &actor.iss {
                object = object.with("iss", iss.as_str());
            }
            if let Some(inner) = inner {
                object = object.with("act", inner);
            }
            Some(Value::from(object))
        };
        let prior = self.prior.iter().rev().fold(None, nest);
        nest(prior, &self.current).unwrap_or(Value::Null)
    }
}

fn text(object: &Object, name: &str) -> Result<Option<String>, ActError> {
    match object.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_str()
            .map(|text| Some(text.to_owned()))
            .ok_or(ActError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use aims_json::{Limits, parse};
    use proptest::prelude::*;

    use super::*;

    fn actor(sub: &str) -> Actor {
        Actor {
            sub: sub.to_owned(),
            iss: None,
        }
    }

    fn nested(depth: usize) -> String {
        (0..depth).fold(String::new(), |inner, i| {
            let rest = if inner.is_empty() {
                inner
            } else {
                format!(r#","act":{inner}"#)
            };
            format!(r#"{{"sub":"a{i}"{rest}}}"#)
        })
    }

    fn read(text: &str) -> Result<ActorChain, ActError> {
        ActorChain::parse(&parse(text.as_bytes(), &Limits::TOKEN).unwrap())
    }

    #[test]
    fn trap_21_a_chain_that_is_too_deep_is_refused_and_not_cut() {
        let deepest = read(&nested(ACT_DEPTH_MAX)).unwrap();
        assert_eq!(deepest.current().sub, "a7");
        assert_eq!(deepest.prior_for_records().len(), 7);
        assert_eq!(read(&nested(ACT_DEPTH_MAX + 1)), Err(ActError::TooDeep));
        let prior = vec![actor("p"); ACT_DEPTH_MAX];
        assert_eq!(ActorChain::new(actor("c"), prior), Err(ActError::TooDeep));
    }

    #[test]
    fn values_that_are_no_actor_are_refused() {
        for bad in [
            "null",
            "[]",
            "{}",
            r#"{"sub":7}"#,
            r#"{"sub":""}"#,
            r#"{"sub":"a","iss":7}"#,
            r#"{"sub":"a","act":null}"#,
            r#"{"sub":"a","act":{}}"#,
        ] {
            assert_eq!(read(bad), Err(ActError::Malformed), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn chains_round_trip(subs in proptest::collection::vec("[a-z]{1,5}", 1..=ACT_DEPTH_MAX)) {
            let mut actors: Vec<Actor> = subs.iter().map(|sub| actor(sub)).collect();
            let current = Actor { iss: Some("https://i".to_owned()), ..actors.remove(0) };
            let chain = ActorChain::new(current, actors).unwrap();
            prop_assert_eq!(read(&chain.to_value().to_string()), Ok(chain));
        }
    }
}
