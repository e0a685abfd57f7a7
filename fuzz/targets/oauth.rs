//! What strangers send to a token endpoint and what servers answer.
#![no_main]

use aims_json::{Limits, parse};
use aims_oauth::{
    ActorChain, AuthorizationServerMetadata, ErrorResponse, HttpUri, ProtectedResourceMetadata,
    ReceivedTokenRequest, TokenResponse, UnverifiedClientAssertion, UnverifiedPersonGrant,
    parse_authorization_details,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = ReceivedTokenRequest::parse(bytes);
    let _ = TokenResponse::parse(bytes);
    let _ = ErrorResponse::parse(bytes);
    let _ = AuthorizationServerMetadata::parse(bytes, "https://aims.example");
    let _ = ProtectedResourceMetadata::parse(bytes, "https://gateway.example");
    if let Ok(value) = parse(bytes, &Limits::TOKEN)
        && let Ok(chain) = ActorChain::parse(&value)
    {
        assert_eq!(ActorChain::parse(&chain.to_value()).unwrap(), chain);
    }
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let _ = parse_authorization_details(text);
    let _ = UnverifiedClientAssertion::parse(text);
    let _ = UnverifiedPersonGrant::parse(text);
    let _ = HttpUri::parse(text);
});
