use proptest::prelude::*;

use super::*;

const EXCHANGE: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
const SUBJECT: &str =
    "subject_token=s&subject_token_type=urn:ietf:params:oauth:token-type:access_token";
const ACTOR_TYPE: &str = "actor_token_type=urn:ietf:params:oauth:token-type:jwt";

fn parse(body: &str) -> Result<ReceivedTokenRequest, TokenRequestError> {
    ReceivedTokenRequest::parse(body.as_bytes())
}

fn token(text: &str, token_type: TokenType) -> TypedToken {
    TypedToken {
        token: Secret::new(text.to_owned()),
        token_type,
    }
}

#[test]
fn what_a_client_writes_the_server_reads() {
    let details = r#"[{"type":"mcp_tool","actions":["a&b=c"]}]"#;
    let request = TokenRequest::Exchange(Box::new(TokenExchange {
        subject: token("subject&=", TokenType::AccessToken),
        actor: Some(token("actor", TokenType::Jwt)),
        requested_token_type: Some(TokenType::AccessToken),
        resource: Some("https://gateway.example/mcp?x=y".to_owned()),
        audience: Some("gateway".to_owned()),
        scope: Some("a b".to_owned()),
        authorization_details: Some(parse_authorization_details(details).unwrap()),
    }));
    let assertion = Secret::new("client".to_owned());
    let client = ClientCredential {
        client_id: Some("c".to_owned()),
        assertion,
    };
    let received = parse(request.to_form(Some(&client)).expose()).unwrap();
    let TokenRequest::Exchange(exchange) = received.request else {
        panic!("another grant")
    };
    assert_eq!(exchange.subject.token.expose(), "subject&=");
    assert_eq!(exchange.actor.unwrap().token_type, TokenType::Jwt);
    assert_eq!(exchange.requested_token_type, Some(TokenType::AccessToken));
    assert_eq!(
        exchange.resource.as_deref(),
        Some("https://gateway.example/mcp?x=y")
    );
    assert_eq!(exchange.audience.as_deref(), Some("gateway"));
    assert_eq!(exchange.scope.as_deref(), Some("a b"));
    assert_eq!(exchange.authorization_details.unwrap().to_string(), details);
    let client = received.client.unwrap().into_jwt().unwrap().unwrap();
    assert_eq!(client.client_id.as_deref(), Some("c"));
    assert_eq!(client.assertion.expose(), "client");
}

#[test]
fn a_persons_grant_is_read_back() {
    let assertion = Secret::new("a.b.c".to_owned());
    let request = TokenRequest::JwtBearer {
        assertion,
        scope: Some("aims:admin".to_owned()),
    };
    let received = parse(request.to_form(None).expose()).unwrap();
    assert!(received.client.is_none());
    let TokenRequest::JwtBearer { assertion, scope } = received.request else {
        panic!("another grant")
    };
    assert_eq!(
        (assertion.expose().as_str(), scope.as_deref()),
        ("a.b.c", Some("aims:admin"))
    );
}

#[test]
fn requests_that_are_not_understood_are_refused_with_the_right_code() {
    use ErrorCode::{
        InvalidAuthorizationDetails, InvalidClient, InvalidRequest, InvalidScope, InvalidTarget,
        UnsupportedGrantType,
    };
    let base = format!("{EXCHANGE}&{SUBJECT}");
    let long = "x".repeat(VALUE_LEN_MAX + 1);
    let jwt = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    for (body, code) in [
        (String::new(), InvalidRequest),
        ("grant_type=".to_owned(), InvalidRequest),
        ("grant_type=password".to_owned(), UnsupportedGrantType),
        (
            "grant_type=authorization_code&code=x".to_owned(),
            UnsupportedGrantType,
        ),
        (format!("grant_type={jwt}"), InvalidRequest),
        (EXCHANGE.to_owned(), InvalidRequest),
        (format!("{EXCHANGE}&subject_token=s"), InvalidRequest),
        (
            format!("{EXCHANGE}&subject_token=s&subject_token_type=x"),
            InvalidRequest,
        ),
        (format!("{base}&actor_token=a"), InvalidRequest),
        (format!("{base}&{ACTOR_TYPE}"), InvalidRequest),
        (
            format!("{base}&actor_token=a&{ACTOR_TYPE}&actor_token=b"),
            InvalidRequest,
        ),
        (format!("{base}&{EXCHANGE}"), InvalidRequest),
        (
            format!("{base}&requested_token_type=refresh"),
            InvalidRequest,
        ),
        (format!("{base}&audience={long}"), InvalidRequest),
        (format!("{base}&audience=a&audience=b"), InvalidTarget),
        (
            format!("{base}&resource=https://a&resource=https://b"),
            InvalidTarget,
        ),
        (format!("{base}&resource=/mcp"), InvalidTarget),
        (format!("{base}&resource=https://a/%23x"), InvalidTarget),
        (format!("{base}&scope=a++b"), InvalidScope),
        (format!("{base}&scope=a%22"), InvalidScope),
        (
            format!("{base}&authorization_details=%7B%7D"),
            InvalidAuthorizationDetails,
        ),
        (
            format!("{base}&authorization_details=x"),
            InvalidAuthorizationDetails,
        ),
        (format!("{base}&client_assertion=x"), InvalidRequest),
        (
            format!("{base}&client_assertion=x&client_assertion_type=y"),
            InvalidClient,
        ),
        (format!("{base}&client_id=c&client_secret=s"), InvalidClient),
    ] {
        let refused = parse(&body).map(|_| ()).unwrap_err();
        assert_eq!(refused.to_response().code(), code, "{body}: {refused}");
    }
    assert!(parse(&format!("{base}&unknown=x")).is_ok());
}

#[test]
fn trap_35_debug_output_shows_no_token() {
    let body = format!("{EXCHANGE}&{SUBJECT}&client_assertion=hunter2&client_assertion_type=");
    let body = format!("{}{CLIENT_ASSERTION_JWT}", body.replace("=s&", "=hunter2&"));
    let debug = format!("{:?}", parse(&body).unwrap());
    assert!(!debug.contains("hunter2"), "{debug}");
}

proptest! {
    #[test]
    fn reading_any_body_never_panics(body: Vec<u8>, rest in "[a-z_]{1,12}=[ -~]{0,12}") {
        let _ = ReceivedTokenRequest::parse(&body);
        let _ = parse(&format!("{EXCHANGE}&{SUBJECT}&{rest}"));
    }
}
