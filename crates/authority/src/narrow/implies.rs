//! Containment of the values of one argument, constraint by constraint.

use aims_json::{Number, Value};

use crate::scalar::VALUE_TEXT_LEN_MAX;
use crate::{Argument, Bounds, Constraint, Range, Scalar};

/// The first constraint of `parent` that is not proven to hold for all values of `child`.
///
/// The values of a child that are finitely many are tried one by one, and the answer is exact.
/// Otherwise each constraint of the parent has to follow from a single one of the child, which is
/// sound, and exact but for constraints that restrict each other.
pub(super) fn unproven<'a>(child: &Argument, parent: &'a Argument) -> Option<&'a Constraint> {
    let Argument::Bounded(parent) = parent else {
        return None;
    };
    let constraints = parent.constraints();
    let Argument::Bounded(child) = child else {
        return constraints.first();
    };
    if let Some(values) = values(child) {
        return constraints
            .iter()
            .find(|constraint| !values.iter().all(|value| constraint.holds(value)));
    }
    let follows = |wanted: &&Constraint| child.constraints().iter().any(|c| implies(c, wanted));
    constraints.iter().find(|wanted| !follows(wanted))
}

/// The values that meet all constraints, if they are known to be finitely many.
fn values(bounds: &Bounds) -> Option<Vec<Value>> {
    let constraints = bounds.constraints();
    let mut values = constraints.iter().find_map(finite)?;
    values.retain(|value| constraints.iter().all(|constraint| constraint.holds(value)));
    Some(values)
}

/// All values that meet the constraint, if they are finitely many: one for each class of values
/// that no constraint tells apart (`50`, `5e1`).
fn finite(constraint: &Constraint) -> Option<Vec<Value>> {
    match constraint {
        Constraint::Equals(scalar) => Some(vec![scalar.to_value()]),
        Constraint::OneOf(set) => Some(set.iter().map(Scalar::to_value).collect()),
        // A pattern without wildcard matches itself alone.
        Constraint::Glob(glob) if !glob.as_str().contains('*') => Some(vec![glob.as_str().into()]),
        Constraint::Range(range) => match (range.min(), range.max()) {
            (Some(min), Some(max)) if min == max => {
                Some(vec![Value::Number(Number::from_decimal(*min))])
            }
            _ => None,
        },
        Constraint::MaxLength(0) => Some(vec!["".into(), Value::Array(Vec::new())]),
        Constraint::Glob(_)
        | Constraint::PathPrefix(_)
        | Constraint::SubsetOf(_)
        | Constraint::MaxLength(_) => None,
    }
}

/// Whether every value that meets `child`, which has infinitely many, is proven to meet `parent`.
fn implies(child: &Constraint, parent: &Constraint) -> bool {
    match (child, parent) {
        (Constraint::PathPrefix(child), Constraint::PathPrefix(parent)) => {
            parent.holds(child.as_str())
        }
        (Constraint::Glob(child), Constraint::Glob(parent)) => child.is_within(parent),
        // What matches the pattern has the pattern's own segments, but for plain ones in place of
        // those with a wildcard. In a prefix `*` is a character like any other.
        (Constraint::Glob(child), Constraint::PathPrefix(parent)) => {
            !parent.as_str().contains('*') && parent.holds(child.as_str())
        }
        (Constraint::Range(child), Constraint::Range(parent)) => range_within(child, parent),
        (Constraint::SubsetOf(child), Constraint::SubsetOf(parent)) => {
            child.iter().all(|scalar| parent.contains(scalar))
        }
        (Constraint::MaxLength(child), Constraint::MaxLength(parent)) => child <= parent,
        // Neither looks at a longer text, and no text has more characters than bytes.
        (Constraint::PathPrefix(_) | Constraint::Glob(_), Constraint::MaxLength(parent)) => {
            usize::try_from(*parent).is_ok_and(|max| max >= VALUE_TEXT_LEN_MAX)
        }
        _ => false,
    }
}

fn range_within(child: &Range, parent: &Range) -> bool {
    let above = |wanted| child.min().is_some_and(|min| wanted <= min);
    let below = |wanted| child.max().is_some_and(|max| max <= wanted);
    parent.min().is_none_or(above) && parent.max().is_none_or(below)
}
