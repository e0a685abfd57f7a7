//! What constraints on named arguments have against those that are given.

use std::collections::BTreeMap;

use aims_json::Object;

use crate::detail::Listed;
use crate::{Argument, ArgumentName, Refusal, Rule};

/// What is said of each argument; one that is not named may not be given.
pub type Arguments = BTreeMap<ArgumentName, Argument>;

/// What one detail has against a call: how much, and the first of it.
pub(crate) struct Objections {
    pub(crate) count: usize,
    pub(crate) first: Option<Refusal>,
}

/// What `arguments` have against those that are `given`. An argument for which `summed` holds may
/// not be left out, as the default of whoever gets the call would then go uncounted.
pub(crate) fn objections(
    arguments: &Arguments,
    given: &Object,
    summed: impl Fn(&str) -> bool,
) -> Objections {
    let mut objections = Objections::none();
    for (name, argument) in arguments {
        let name = name.as_str();
        match given.get(name) {
            Some(value) => {
                if let Some((rule, constraint)) = argument.broken_by(value) {
                    objections.add(|| {
                        Refusal::new(rule)
                            .of_argument(name)
                            .saw_value(value)
                            .allows(constraint)
                    });
                }
            }
            None if argument.may_be_absent() && !summed(name) => {}
            None => objections.add(|| {
                Refusal::new(Rule::ArgumentMissing)
                    .of_argument(name)
                    .allows(argument)
            }),
        }
    }
    for (name, value) in given.iter() {
        if !arguments.contains_key(name) {
            objections.add(|| {
                Refusal::new(Rule::ArgumentNotAllowed)
                    .of_argument(name)
                    .saw_value(value)
                    .allows(Listed::arguments(arguments.keys()))
            });
        }
    }
    objections
}

impl Objections {
    pub(crate) const fn none() -> Self {
        Self {
            count: 0,
            first: None,
        }
    }

    pub(crate) fn add(&mut self, refusal: impl FnOnce() -> Refusal) {
        self.count += 1;
        self.first.get_or_insert_with(refusal);
    }

    /// One that is said before all others.
    pub(crate) fn add_first(&mut self, refusal: Refusal) {
        self.count += 1;
        self.first = Some(refusal);
    }
}
