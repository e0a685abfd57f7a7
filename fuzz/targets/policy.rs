//! Policies: what compiles is kept as it was written and compiles again.
#![no_main]

use std::sync::LazyLock;

use aims_policy::{PolicySet, Schema, SchemaSource};
use libfuzzer_sys::fuzz_target;

static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::generate(&SchemaSource { servers: vec![] }).unwrap());

fuzz_target!(|text: &str| {
    if let Ok(set) = PolicySet::compile(text, &SCHEMA) {
        assert_eq!(set.text(), text);
        let again = PolicySet::compile(set.text(), set.schema()).unwrap();
        assert!(again.ids().eq(set.ids()));
    }
});
