//! Tokens and keys: what is read as a key is written as the same key.
#![no_main]

use aims_jose::{Jwk, Jwks, Jws, JwsLimits, Thumbprint};
use aims_json::{Limits, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        for limits in [JwsLimits::TOKEN, JwsLimits::PROOF] {
            let _ = Jws::parse(text, &limits);
        }
        if let Ok(thumbprint) = text.parse::<Thumbprint>() {
            assert_eq!(thumbprint.to_string(), text);
        }
    }
    let _ = Jwks::parse(bytes, &Limits::TOKEN);
    if let Ok(value) = parse(bytes, &Limits::TOKEN)
        && let Ok(jwk) = Jwk::parse(&value)
    {
        let again = Jwk::parse(&jwk.to_value()).unwrap();
        assert_eq!(again.thumbprint(), jwk.thumbprint());
    }
});
