//! Bundles of log entries: one encoding each.
#![no_main]

use aims_tlog::{decode_bundle, encode_bundle};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entries) = decode_bundle(bytes) {
        assert_eq!(encode_bundle(&entries), bytes);
    }
});
