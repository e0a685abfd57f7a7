//! Authorities: read, written and read again the same; none is wider than itself.
#![no_main]

use aims_authority::{Authority, Widening, narrower};
use aims_json::{Limits, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = parse(bytes, &Limits::TOKEN) else {
        return;
    };
    if let Ok(authority) = Authority::from_value(&value) {
        let again = Authority::from_value(&authority.to_value()).unwrap();
        assert_eq!(again, authority);
        // Only how deep it may be handed on has to shrink.
        if let Err(wider) = narrower(&again, &authority) {
            assert_eq!(wider.rule(), Widening::Depth, "{wider}");
        }
    }
});
