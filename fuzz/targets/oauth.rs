//! What strangers send to a token endpoint and what servers answer.
#![no_main]

use aims_json::{Limits, parse};
use aims_oauth::{
    ActorChain, AuthorizationServerMetadata, ErrorResponse, HttpUri, ProtectedResourceMetadata,
    ReceivedTokenHandle, ReceivedTokenRequest, TokenResponse, TokenType, UnverifiedClientAssertion,
    UnverifiedPersonGrant, parse_authorization_details,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = ReceivedTokenRequest::parse(bytes);
    let _ = ReceivedTokenHandle::parse(bytes);
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
    if let Ok(details) = parse_authorization_details(text) {
        assert_eq!(
            parse_authorization_details(&details.to_string()),
            Ok(details)
        );
    }
    let _ = text.parse::<TokenType>();
    let _ = UnverifiedClientAssertion::parse(text);
    let _ = UnverifiedPersonGrant::parse(text);
    for read in [HttpUri::parse, HttpUri::of_request] {
        if let Ok(uri) = read(text) {
            assert_eq!(read(uri.as_str()), Ok(uri));
        }
    }
});
