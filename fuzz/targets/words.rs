//! Names, ids, instants, digests: one text each.
#![no_main]

use aims_json::Decimal;
use aims_types::{Agent, Digest, Id, Name, SpiffeId, Timestamp, TrustDomain};
use libfuzzer_sys::fuzz_target;

fn same<T: std::str::FromStr + std::fmt::Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    same::<Name>(text);
    same::<Id<Agent>>(text);
    same::<Digest>(text);
    same::<SpiffeId>(text);
    same::<TrustDomain>(text);
    same::<Timestamp>(text);
    if let Ok(decimal) = text.parse::<Decimal>() {
        assert_eq!(decimal.to_string().parse::<Decimal>().unwrap(), decimal);
    }
});
