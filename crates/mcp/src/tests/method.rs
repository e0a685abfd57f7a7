use super::{notification, request};
use crate::{Method, Notice, ParamsError, ProgressToken, RequestId};

fn call(params: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{params}}}")
}

#[test]
fn a_call_is_read_with_its_exact_arguments() {
    let text = call(
        r#"{"name":"echo","_meta":{"progressToken":"p","traceparent": "00-1"},
            "arguments":{"a" : 1.0, "\u0062":[ ]}}"#,
    );
    let request = request(&text);
    let Method::ToolsCall(call) = request.method().unwrap() else {
        panic!("no call")
    };
    assert_eq!(call.name, "echo");
    assert_eq!(
        call.arguments.unwrap().as_bytes(),
        br#"{"a" : 1.0, "\u0062":[ ]}"#
    );
    assert!(call.arguments_value.unwrap().get("b").is_some());
    assert_eq!(call.progress_token.unwrap().to_string(), "\"p\"");
    let meta: Vec<_> = call
        .meta
        .iter()
        .map(|(name, raw)| (*name, raw.as_bytes()))
        .collect();
    assert_eq!(meta, [("traceparent", &b"\"00-1\""[..])]);
}

#[test]
fn arguments_may_be_absent() {
    let text = call(r#"{"name":"now"}"#);
    let request = request(&text);
    let Method::ToolsCall(call) = request.method().unwrap() else {
        panic!("no call")
    };
    assert!(call.arguments.is_none() && call.arguments_value.is_none());
    assert!(call.progress_token.is_none() && call.meta.is_empty());
}

#[test]
fn malformed_calls_are_refused() {
    let long = format!("{{\"name\":\"{}\"}}", "n".repeat(129));
    for (params, at) in [
        ("{}", "name"),
        (r#"{"name":1}"#, "name"),
        (r#"{"name":""}"#, "name"),
        (r#"{"name":"a b"}"#, "name"),
        (r#"{"name":"a\u0000"}"#, "name"),
        (r#"{"name":"аdmin"}"#, "name"),
        (r#"{"name":"a\u200b"}"#, "name"),
        (long.as_str(), "name"),
        (r#"{"name":"a","arguments":null}"#, "arguments"),
        (r#"{"name":"a","arguments":[1]}"#, "arguments"),
        (r#"{"name":"a","arguments":"{}"}"#, "arguments"),
        (
            r#"{"name":"a","_meta":{"progressToken":1.5}}"#,
            "_meta.progressToken",
        ),
        (
            r#"{"name":"a","_meta":{"progressToken":null}}"#,
            "_meta.progressToken",
        ),
        (r#"{"name":"a","Arguments":{}}"#, "Arguments"),
        (r#"{"name":"a","task":{"ttl":1}}"#, "task"),
        (r#"{"name":"a","inputResponses":{}}"#, "inputResponses"),
        (r#"{"name":"a","requestState":"s"}"#, "requestState"),
    ] {
        let text = call(params);
        let error = request(&text).method().unwrap_err();
        let found = match &error {
            ParamsError::Absent { name, .. } | ParamsError::Wrong { name, .. } => name,
            ParamsError::Unknown { name, .. } => name.as_str(),
        };
        assert_eq!(found, at, "{params}: {error}");
    }
    let bare = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#;
    assert!(request(bare).method().is_err());
}

/// Side doors to names: what is not known by exactly its name is `Other`, which is refused.
#[test]
fn what_is_not_listed_is_other() {
    for name in [
        "tools/Call",
        "TOOLS/CALL",
        "tools/call ",
        "/tools/call",
        "tools//call",
        "x/tools/call",
        "tasks/get",
        "tasks/cancel",
        "subscriptions/listen",
        "notifications/initialized",
        "notifications/cancelled",
        "rpc.discover",
    ] {
        let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{name}\"}}");
        assert!(matches!(request(&text).method(), Ok(Method::Other(other)) if other == name));
    }
    for name in [
        "tools/call",
        "initialize",
        "notifications/Cancelled",
        "notifications/tasks/status",
    ] {
        let text = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{name}\"}}");
        assert!(matches!(notification(&text).notice(), Ok(Notice::Other(other)) if other == name));
    }
}

#[test]
fn listed_methods_are_read() {
    for (method, params, debug) in [
        ("ping", "{}", "Ping"),
        ("tools/list", "{}", "ToolsList { cursor: None }"),
        (
            "tools/list",
            r#"{"cursor":"c"}"#,
            "ToolsList { cursor: Some(\"c\") }",
        ),
        (
            "logging/setLevel",
            r#"{"level":"info"}"#,
            "LoggingSetLevel { level: \"info\" }",
        ),
        ("resources/list", "{}", "ResourcesList { cursor: None }"),
        (
            "resources/templates/list",
            "{}",
            "ResourceTemplatesList { cursor: None }",
        ),
        (
            "resources/read",
            r#"{"uri":"u:"}"#,
            "ResourcesRead { uri: \"u:\" }",
        ),
        (
            "resources/subscribe",
            r#"{"uri":"u:"}"#,
            "ResourcesSubscribe { uri: \"u:\" }",
        ),
        (
            "resources/unsubscribe",
            r#"{"uri":"u:"}"#,
            "ResourcesUnsubscribe { uri: \"u:\" }",
        ),
        ("prompts/list", "{}", "PromptsList { cursor: None }"),
        (
            "prompts/get",
            r#"{"name":"p"}"#,
            "PromptsGet { name: \"p\" }",
        ),
        ("completion/complete", "{}", "CompletionComplete"),
        ("server/discover", "{}", "ServerDiscover"),
        ("sampling/createMessage", "{}", "SamplingCreateMessage"),
        ("elicitation/create", "{}", "ElicitationCreate"),
        ("roots/list", "{}", "RootsList"),
    ] {
        let text =
            format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{params}}}");
        assert_eq!(format!("{:?}", request(&text).method().unwrap()), debug);
    }
    let bad = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":1}}"#;
    assert!(request(bad).method().is_err());
}

#[test]
fn notices_are_read() {
    let text = r#"{"jsonrpc":"2.0","method":"notifications/cancelled",
        "params":{"requestId":3,"reason":"r"}}"#;
    let cancelled = notification(text);
    assert!(matches!(
        cancelled.notice(),
        Ok(Notice::Cancelled {
            request_id: RequestId::Integer(3),
            reason: Some("r")
        })
    ));
    let text = r#"{"jsonrpc":"2.0","method":"notifications/progress",
        "params":{"progressToken":4,"progress":0.5,"total":1,"message":"half"}}"#;
    let progress = notification(text);
    let Ok(Notice::Progress(progress)) = progress.notice() else {
        panic!("no progress")
    };
    assert_eq!(
        (progress.token, progress.message),
        (ProgressToken::from(4), Some("half"))
    );
    for (method, params) in [
        ("cancelled", "{}"),
        ("cancelled", r#"{"requestId":null}"#),
        ("cancelled", r#"{"requestId":1,"reason":2}"#),
        ("progress", r#"{"progressToken":1}"#),
        ("progress", r#"{"progressToken":1.5,"progress":1}"#),
        ("progress", r#"{"progressToken":1,"progress":"1"}"#),
        (
            "progress",
            r#"{"progressToken":1,"progress":1,"total":"2"}"#,
        ),
        (
            "progress",
            r#"{"progressToken":1,"progress":1,"message":{}}"#,
        ),
    ] {
        let text = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/{method}\",\"params\":{params}}}"
        );
        assert!(notification(&text).notice().is_err(), "{text}");
    }
}
