use aims_json::{Limits, ParseError};
use proptest::prelude::*;

use super::{read, response};
use crate::{Message, MessageError, RequestId, code, limits};

fn unknown(kind: &'static str, name: &str) -> MessageError {
    MessageError::UnknownMember {
        kind,
        name: name.into(),
    }
}

#[test]
fn messages_are_told_apart() {
    for (text, kind) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "request"),
        (
            r#"{"jsonrpc":"2.0","id":"","method":"ping","params":{"_meta":{}}}"#,
            "request",
        ),
        (
            r#"{"method":"notifications/initialized","jsonrpc":"2.0"}"#,
            "notification",
        ),
        (r#" {"jsonrpc":"2.0","id":-9,"result":{}} "#, "response"),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m","data":[]}}"#,
            "response",
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"m"}}"#,
            "response",
        ),
        (
            r#"{"jsonrpc":"2.0","error":{"code":-1,"message":"m"}}"#,
            "response",
        ),
    ] {
        let found = match read(text) {
            Ok(Message::Request(_)) => "request",
            Ok(Message::Notification(_)) => "notification",
            Ok(Message::Response(_)) => "response",
            Err(refused) => panic!("{text}: {refused}"),
        };
        assert_eq!(found, kind, "{text}");
    }
}

/// Batches in disguise: a batch that passes is a message that nobody decided upon.
#[test]
fn batches_are_refused_however_they_start() {
    for text in [
        "[]",
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
        "\n\t [{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]",
    ] {
        let refused = read(text).unwrap_err();
        assert_eq!(
            (refused.error.code(), refused.id),
            (code::INVALID_REQUEST, None),
            "{text}"
        );
    }
    for text in [
        "\u{feff}[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}{\"jsonrpc\":\"2.0\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n[]",
        "\0[]",
    ] {
        assert_eq!(
            read(text).unwrap_err().error.code(),
            code::PARSE_ERROR,
            "{text}"
        );
    }
}

#[test]
fn members_given_twice_are_refused_at_every_depth() {
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","\u006dethod":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call",
            "params":{"name":"a","arguments":{"p":[{"q":1,"\u0071":2}]}}}"#,
    ] {
        let refused = read(text).unwrap_err();
        let duplicate = matches!(
            refused.error,
            MessageError::Json(ParseError::DuplicateMember { .. })
        );
        assert!(duplicate, "{text}: {refused}");
        assert_eq!(refused.error.code(), code::PARSE_ERROR);
    }
}

#[test]
fn members_in_another_case_are_other_members() {
    for (text, name) in [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#,
            "Method",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","PARAMS":{}}"#,
            "PARAMS",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","ID":2}"#, "ID"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
            "result",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","error":{}}"#,
            "error",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method ":"tools/call"}"#,
            "method ",
        ),
    ] {
        let refused = read(text).unwrap_err();
        assert_eq!(refused.error, unknown("request", name), "{text}");
        assert_eq!(
            refused.id,
            Some(RequestId::Integer(1)),
            "the answer can name the request"
        );
    }
    let upper = read(r#"{"JSONRPC":"2.0","id":1,"method":"ping"}"#).unwrap_err();
    assert_eq!(upper.error, MessageError::Version);
}

#[test]
fn malformed_messages_are_refused_with_the_right_error() {
    use MessageError::{ErrorObject, Id, Kind, Method, NotAnObject, Params, ResultAndError};
    let call = |rest: &str| format!("{{\"jsonrpc\":\"2.0\",{rest}}}");
    let long = "x".repeat(257);
    let error = r#""error":{"code":1,"message":"m"}"#;
    for (text, expect) in [
        ("1".to_owned(), NotAnObject),
        ("null".to_owned(), NotAnObject),
        ("{}".to_owned(), MessageError::Version),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#.to_owned(),
            MessageError::Version,
        ),
        (
            r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#.to_owned(),
            MessageError::Version,
        ),
        (call(r#""id":1"#), Kind),
        (call(r#""id":null,"method":"ping""#), Id),
        (call(r#""id":1.0,"method":"ping""#), Id),
        (call(r#""id":1e0,"method":"ping""#), Id),
        (call(r#""id":-0,"method":"ping""#), Id),
        (call(r#""id":9223372036854775808,"method":"ping""#), Id),
        (call(r#""id":true,"method":"ping""#), Id),
        (call(r#""id":[1],"method":"ping""#), Id),
        (call(&format!(r#""id":"{long}","method":"ping""#)), Id),
        (call(r#""id":1,"method":"""#), Method),
        (call(r#""id":1,"method":null"#), Method),
        (call(r#""id":1,"method":["ping"]"#), Method),
        (call(&format!(r#""id":1,"method":"{long}""#)), Method),
        (call(r#""id":1,"method":"ping","params":[]"#), Params),
        (call(r#""id":1,"method":"ping","params":null"#), Params),
        (
            call(r#""id":1,"method":"ping","params":{"_meta":[]}"#),
            Params,
        ),
        (call(r#""method":"ping","params":1"#), Params),
        (
            call(&format!(r#""id":1,"result":{{}},{error}"#)),
            ResultAndError,
        ),
        (call(r#""id":1,"result":null"#), MessageError::ResultObject),
        (call(r#""id":1,"result":[]"#), MessageError::ResultObject),
        (call(r#""id":null,"result":{}"#), Id),
        (call(r#""result":{}"#), Id),
        (call(r#""id":1.5,"error":{"code":1,"message":"m"}"#), Id),
        (
            call(r#""id":1,"error":{"code":"1","message":"m"}"#),
            ErrorObject,
        ),
        (
            call(r#""id":1,"error":{"code":1.5,"message":"m"}"#),
            ErrorObject,
        ),
        (call(r#""id":1,"error":{"code":1}"#), ErrorObject),
        (call(r#""id":1,"error":"m""#), ErrorObject),
        (
            call(r#""id":1,"result":{},"params":{}"#),
            unknown("response", "params"),
        ),
        (
            call(r#""id":1,"result":{},"x":1"#),
            unknown("response", "x"),
        ),
    ] {
        assert_eq!(read(&text).unwrap_err().error, expect, "{text}");
    }
}

#[test]
fn only_requests_are_answered_by_their_id() {
    let id = |text| read(text).unwrap_err().id;
    assert_eq!(
        id(r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#),
        Some(7.into())
    );
    assert_eq!(id(r#"{"jsonrpc":"2.0","id":7,"result":1}"#), None);
    assert_eq!(id(r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#), None);
    assert_eq!(id(r#"{"jsonrpc":"2.0","id":7,"method":"ping""#), None);
}

/// A body that is cut at a buffer's end must never be judged by its first part.
#[test]
fn a_message_beyond_the_limit_is_refused_whole() {
    let padding = " ".repeat(limits::AGENT_MESSAGE.bytes);
    let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"}}{padding}");
    let refused = read(&text).unwrap_err();
    assert!(matches!(
        refused.error,
        MessageError::Json(ParseError::TooLarge { .. })
    ));
    let limits = Limits {
        bytes: 50,
        ..limits::AGENT_MESSAGE
    };
    let cut = &text.as_bytes()[..40];
    assert!(Message::parse(cut, &limits).is_err());
    let nested = "[".repeat(65) + &"]".repeat(65);
    let text =
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":{{\"a\":{nested}}}}}");
    assert!(matches!(
        read(&text).unwrap_err().error,
        MessageError::Json(ParseError::TooDeep { .. })
    ));
}

#[test]
fn errors_of_peers_are_read() {
    let text =
        r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32601,"message":"no","data":{"a":1}}}"#;
    let response = response(text);
    let error = response.error().unwrap();
    assert_eq!((error.code, error.message), (code::METHOD_NOT_FOUND, "no"));
    assert!(error.data.is_some() && response.result().is_none());
    assert!(response.raw_result().is_none());
    assert_eq!(response.id(), Some(&RequestId::String("x".into())));
}

#[test]
fn a_number_and_a_string_are_different_ids() {
    let id = |text: &str| response(text).id().cloned();
    let number = id(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_ne!(number, id(r#"{"jsonrpc":"2.0","id":"1","result":{}}"#));
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in any::<Vec<u8>>()) {
        let _ = Message::parse(&bytes, &limits::TOOL_MESSAGE);
    }

    #[test]
    fn anything_like_a_message_is_judged_without_a_panic(
        members in proptest::collection::vec(
            prop_oneof![
                Just("\"jsonrpc\":\"2.0\""), Just("\"id\":1"), Just("\"id\":null"),
                Just("\"method\":\"tools/call\""), Just("\"method\":\"initialize\""),
                Just("\"method\":\"notifications/progress\""), Just("\"result\":{}"),
                Just("\"params\":{\"name\":\"x\",\"arguments\":{}}"), Just("\"error\":{}"),
                Just("\"params\":{\"_meta\":{\"progressToken\":1.5}}"), Just("\"x\":[]"),
            ],
            0..6,
        )
    ) {
        let text = format!("{{{}}}", members.join(","));
        match read(&text) {
            Ok(Message::Request(request)) => { let _ = request.method(); }
            Ok(Message::Notification(notification)) => { let _ = notification.notice(); }
            Ok(Message::Response(response)) => { let _ = response.error(); }
            Err(refused) => { let _ = refused.error.code(); }
        }
    }
}
