//! Generators of the property tests.

use proptest::prelude::*;

use crate::{Number, Object, Value};

/// Text of numbers that follow the grammar, integers and others.
pub(crate) fn number_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,10})?([eE][+-]?[0-9]{1,3})?",
    ]
}

/// Any value of moderate size; numbers by the given strategy.
pub(crate) fn value_with(
    numbers: impl Strategy<Value = Number> + 'static,
) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        numbers.prop_map(Value::Number),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        let members = proptest::collection::vec((any::<String>(), inner.clone()), 0..8);
        prop_oneof![
            proptest::collection::vec(inner, 0..8).prop_map(Value::Array),
            members.prop_map(|members| {
                let object = Object::new();
                members
                    .into_iter()
                    .fold(object, |o, (name, value)| o.with(name, value))
                    .into()
            }),
        ]
    })
}

/// Any value.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    value_with(number_text().prop_map(|text| Number::from_text(&text).unwrap()))
}

/// Values that have a canonical form.
pub(crate) fn canonical_value() -> impl Strategy<Value = Value> {
    let range = -crate::INTEGER_MAX..=crate::INTEGER_MAX;
    value_with(range.prop_map(Number::from_i64))
}
