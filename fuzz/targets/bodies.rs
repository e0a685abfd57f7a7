//! Bodies and queries of the admin API: an object with each member once, and none that is unknown.
//! The first byte chooses the body.
#![no_main]

use aims_crypto::base64url;
use aims_http_api::fuzzing::{checkpoint, first_index, is_body};
use aims_json::{Limits, Value, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else {
        return;
    };
    if is_body(*which, bytes) {
        let Ok(Value::Object(members)) = parse(bytes, &Limits::MESSAGE) else {
            panic!("a body that is no object is read");
        };
        let plain = Value::Object(members.clone()).to_string();
        assert!(is_body(*which, plain.as_bytes()));
        for unknown in ["unknown", "", "Name"] {
            let more = Value::Object(members.clone().with(unknown, 1_u64)).to_string();
            assert!(!is_body(*which, more.as_bytes()), "{more}");
        }
    }
    if let Ok(query) = str::from_utf8(bytes)
        && let Some(from) = first_index(query)
    {
        assert_eq!(first_index(&format!("from={from}")), Some(from));
    }
    if let Ok(query) = str::from_utf8(bytes)
        && let Some(note) = checkpoint(query)
    {
        assert_eq!(
            format!("since={}", base64url::encode(note.as_bytes())),
            query
        );
    }
});
