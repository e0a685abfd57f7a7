use aims_json::{Object, Value};
use proptest::prelude::*;

use super::{notification, read, request, response, text};
use crate::build::{self, ErrorAnswer, OutgoingToolCall};
use crate::{Message, Method, ProgressToken, Raw, RequestId, limits};

fn check(bytes: &[u8], expect: &str) {
    assert_eq!(text(bytes), expect);
    assert!(read(expect).is_ok());
}

#[test]
fn requests_and_notifications_are_written_as_the_protocol_says() {
    let method = |name: &str| format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{name}\"}}");
    check(
        &build::ping(&7.into()),
        r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#,
    );
    check(
        &build::tools_list(&1.into(), Some("c")),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"c"}}"#,
    );
    check(
        &build::tools_list(&1.into(), None),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
    );
    check(
        &build::cancelled(&9.into(), Some("cut")),
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\
         \"params\":{\"requestId\":9,\"reason\":\"cut\"}}",
    );
    check(
        &build::tools_list_changed(),
        &method("notifications/tools/list_changed"),
    );
    check(&build::initialized(), &method("notifications/initialized"));
}

#[test]
fn responses_are_written_as_the_protocol_says() {
    let id = RequestId::String("a\"b".into());
    check(
        &build::pong(&id),
        r#"{"jsonrpc":"2.0","id":"a\"b","result":{}}"#,
    );
    let answer = ErrorAnswer {
        code: -32010,
        message: "no".into(),
        data: Some(Object::new().with("audit_id", "r1").into()),
    };
    check(
        &build::error(Some(&1.into()), &answer),
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32010,\"message\":\"no\",\
         \"data\":{\"audit_id\":\"r1\"}}}",
    );
    check(
        &build::error(
            None,
            &ErrorAnswer {
                data: None,
                ..answer
            },
        ),
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32010,"message":"no"}}"#,
    );
    check(
        &build::result(&1.into(), &build::tool_text("x", true, None)),
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\
         {\"content\":[{\"type\":\"text\",\"text\":\"x\"}],\"isError\":true}}",
    );
    let meta = Object::new().with("a", true);
    check(
        &build::result(&1.into(), &build::tool_text("", false, Some(meta))),
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\
         {\"content\":[{\"type\":\"text\",\"text\":\"\"}],\"isError\":false,\
         \"_meta\":{\"a\":true}}}",
    );
}

#[test]
fn a_call_carries_our_id_and_token_and_their_arguments() {
    let traceparent = Raw::parse(b"\"00-1\"", &limits::AGENT_MESSAGE).unwrap();
    let forged = Raw::parse(b"\"forged\"", &limits::AGENT_MESSAGE).unwrap();
    let bytes = build::tools_call(&OutgoingToolCall {
        id: 5.into(),
        name: "echo",
        arguments: Some(Raw::parse(b"{ \"n\" : 1.0 }", &limits::AGENT_MESSAGE).unwrap()),
        progress_token: Some(6.into()),
        meta: vec![("progressToken", forged), ("traceparent", traceparent)],
    });
    assert_eq!(
        text(&bytes),
        "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/call\",\"params\":{\"name\":\"echo\",\
         \"arguments\":{ \"n\" : 1.0 },\"_meta\":{\"progressToken\":6,\"traceparent\":\"00-1\"}}}"
    );
    assert!(read(text(&bytes)).is_ok());
}

#[test]
fn only_checked_text_can_be_built_in() {
    for bad in [
        r#"{},"method":"x""#,
        "{}}",
        "",
        "{\"a\":1,\"a\":2}",
        "{} {}",
    ] {
        assert!(
            Raw::parse(bad.as_bytes(), &limits::AGENT_MESSAGE).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn an_id_is_replaced_and_nothing_else() {
    for (from, to) in [
        (
            r#"{ "id" : 17 , "jsonrpc":"2.0","result":{"id": 17,"x":1.0}} "#,
            r#"{ "id" : "a" , "jsonrpc":"2.0","result":{"id": 17,"x":1.0}} "#,
        ),
        (
            r#"{"jsonrpc":"2.0","result":{},"\u0069d":"17"}"#,
            r#"{"jsonrpc":"2.0","result":{},"\u0069d":"a"}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#,
            r#"{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":"m"}}"#,
        ),
        (
            r#" {"jsonrpc":"2.0","error":{"code":1,"message":"m"}}"#,
            r#"{"id":"a","jsonrpc":"2.0","error":{"code":1,"message":"m"}}"#,
        ),
    ] {
        let bytes = build::with_id(&response(from), &RequestId::String("a".into()));
        assert_eq!(text(&bytes), to);
        assert_eq!(response(to).id(), Some(&RequestId::String("a".into())));
    }
}

#[test]
fn a_token_is_replaced_and_nothing_else() {
    let from = r#"{"jsonrpc":"2.0","method":"notifications/progress",
        "params":{"progress":1e0,"progressToken": 8 ,"x":{"progressToken":8}}}"#;
    let bytes = build::with_progress_token(&notification(from), &token("t")).unwrap();
    assert_eq!(text(&bytes), from.replacen(" 8 ", " \"t\" ", 1));
    let other = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;
    assert_eq!(
        build::with_progress_token(&notification(other), &1.into()),
        None
    );
}

fn token(text: &str) -> ProgressToken {
    ProgressToken::from_value(&Value::from(text)).unwrap()
}

/// An object's text with white space and escapes that no encoder of ours would write.
fn arguments() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?",
        "\"([a-z \u{e9}]|\\\\u00[46][0-9a-f]|\\\\n|\\\\/){0,6}\"",
        Just("true".to_owned()),
        Just("null".to_owned()),
    ];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        let space = "[ \t\n\r]{0,2}";
        let array = proptest::collection::vec((space, inner.clone()), 0..4).prop_map(|elements| {
            let elements: Vec<_> = elements.iter().map(|(s, e)| format!("{s}{e}{s}")).collect();
            format!("[{}]", elements.join(","))
        });
        prop_oneof![
            array,
            (space, object(inner)).prop_map(|(s, o)| format!("{s}{o}"))
        ]
    });
    object(value)
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    proptest::collection::vec(("[ \n]{0,2}", value), 0..4).prop_map(|members| {
        let members = members.iter().enumerate();
        let members: Vec<_> = members
            .map(|(i, (s, v))| format!("{s}\"k{i}\"{s}:{v}{s}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

proptest! {
    #[test]
    fn arguments_pass_byte_for_byte(
        arguments in arguments(), id in any::<i64>(), name in "[!-~]{1,128}",
    ) {
        let name = Value::from(name);
        let sent = format!(
            "{{\"params\":{{\"arguments\": {arguments} ,\"name\":{name}}},\
             \"id\":\"x\",\"method\":\"tools/call\",\"jsonrpc\":\"2.0\"}}"
        );
        let sent = request(&sent);
        let Ok(Method::ToolsCall(call)) = sent.method() else { panic!("no call") };
        let onward = build::tools_call(&OutgoingToolCall {
            id: id.into(),
            name: call.name,
            arguments: call.arguments.clone(),
            progress_token: call.progress_token,
            meta: call.meta,
        });
        let onward = request(text(&onward));
        prop_assert_eq!(onward.id(), &RequestId::Integer(id));
        let Ok(Method::ToolsCall(arrived)) = onward.method() else { panic!("no call") };
        let bytes = arrived.arguments.as_ref().unwrap().as_bytes();
        prop_assert_eq!(bytes, arguments.as_bytes());
        prop_assert_eq!(arrived.arguments, call.arguments);
        prop_assert_eq!(arrived.arguments_value, call.arguments_value);
        prop_assert_eq!(Some(arrived.name), name.as_str());
    }

    #[test]
    fn replacing_an_id_changes_nothing_else(
        result in arguments(), id in any::<i64>(), other in ".{0,40}",
    ) {
        let sent = format!("{{\"jsonrpc\":\"2.0\",\"id\": {id} ,\"result\":{result}}}");
        let other = RequestId::String(other);
        let bytes = build::with_id(&response(&sent), &other);
        prop_assert_eq!(text(&bytes), sent.replacen(&format!(" {id} "), &format!(" {other} "), 1));
        let arrived = response(text(&bytes));
        prop_assert_eq!(arrived.id(), Some(&other));
        prop_assert_eq!(arrived.raw_result(), response(&sent).raw_result());
        let wrapped = build::result(&other, &arrived.raw_result().unwrap());
        let Ok(Message::Response(wrapped)) = Message::parse(&wrapped, &limits::TOOL_MESSAGE) else {
            panic!("no response")
        };
        let wrapped = wrapped.raw_result().unwrap();
        prop_assert_eq!(wrapped.as_bytes(), result.as_bytes());
    }
}
