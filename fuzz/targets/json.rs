//! JSON: what is read has one canonical form, and that form is read as the same value. Another
//! parser, which takes more, reads the same.
#![no_main]

use aims_json::{Document, Limits, parse, parse_canonical, to_canonical};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = parse(bytes, &Limits::MESSAGE) {
        // A number beyond a double has no canonical form.
        if let Ok(canonical) = to_canonical(&value) {
            let other: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            assert_eq!(
                parse_canonical(&canonical, &Limits::MESSAGE).unwrap(),
                value
            );
            let again: serde_json::Value = serde_json::from_slice(&canonical).unwrap();
            assert!(alike(&again, &other), "{again} is not {other}");
        }
    }
    if let Ok(value) = parse_canonical(bytes, &Limits::DOCUMENT) {
        assert_eq!(to_canonical(&value).unwrap(), bytes);
    }
    let _ = Document::parse(bytes, &Limits::MESSAGE);
});

/// The same, with numbers as doubles (RFC 8785 section 3.2.2.3).
fn alike(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (one, other) {
        (Number(one), Number(other)) => one.as_f64() == other.as_f64(),
        (Array(one), Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Object(one), Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, value)| other.get(name).is_some_and(|other| alike(value, other)))
        }
        _ => one == other,
    }
}
