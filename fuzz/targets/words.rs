//! Names, ids, instants, digests, patterns: one text each.
#![no_main]

use aims_authority::{ArgumentName, Glob, Host, HttpMethod, HttpPath, PathPrefix, ToolName};
use aims_crypto::sha256;
use aims_json::Decimal;
use aims_model::upstream::Origin;
use aims_model::{EventKind, Point, Source, Text};
use aims_types::{Agent, Digest, Id, Name, SpiffeId, Timestamp, TrustDomain};
use libfuzzer_sys::fuzz_target;

fn same<T: std::str::FromStr + std::fmt::Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}

/// Some texts mean the same; the one that is written is read as it.
fn stable<T: std::str::FromStr + std::fmt::Display + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert!(
            value
                .to_string()
                .parse()
                .is_ok_and(|again: T| again == value),
            "{value}"
        );
    }
}

fuzz_target!(|text: &str| {
    same::<Name>(text);
    same::<Id<Agent>>(text);
    same::<Digest>(text);
    same::<SpiffeId>(text);
    same::<TrustDomain>(text);
    stable::<Timestamp>(text);
    stable::<Decimal>(text);
    stable::<Text>(text);
    same::<Source>(text);
    same::<EventKind>(text);
    same::<Point>(text);
    stable::<Origin>(text);
    same::<PathPrefix>(text);
    same::<Glob>(text);
    same::<HttpMethod>(text);
    same::<HttpPath>(text);
    same::<ToolName>(text);
    same::<ArgumentName>(text);
    same::<Host>(text);
    assert_eq!(
        sha256(text.as_bytes()).to_string().parse(),
        Ok(sha256(text.as_bytes()))
    );
});
