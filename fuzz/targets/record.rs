//! Records of the log: one encoding each.
#![no_main]

use aims_model::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::decode(bytes) {
        let again = record.event.encode(record.source, record.seq, record.prev);
        assert_eq!(again.unwrap(), bytes);
    }
});
