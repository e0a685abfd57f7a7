//! JSON: what is read has one canonical form, and that form is read as the same value.
#![no_main]

use aims_json::{Document, Limits, parse, parse_canonical, to_canonical};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = parse(bytes, &Limits::MESSAGE)
        && let Ok(canonical) = to_canonical(&value)
    {
        assert_eq!(parse_canonical(&canonical, &Limits::MESSAGE).unwrap(), value);
    }
    if let Ok(value) = parse_canonical(bytes, &Limits::DOCUMENT) {
        assert_eq!(to_canonical(&value).unwrap(), bytes);
    }
    let _ = Document::parse(bytes, &Limits::MESSAGE);
});
