use aims_json::{Limits, Value, parse};

use super::*;

fn authority(wire: &str) -> Authority {
    Authority::from_value(&json(wire)).unwrap()
}

fn json(text: &str) -> Value {
    parse(text.as_bytes(), &Limits::MESSAGE).unwrap()
}

/// The code of the refusal, or `allowed`.
fn answer(authority: &Authority, tool: &str, arguments: &str) -> &'static str {
    let (server, arguments) = ("git".parse().unwrap(), json(arguments));
    let arguments = arguments.as_object().unwrap();
    let call = Call::Tool {
        server: &server,
        tool,
        arguments,
    };
    match allows(authority, &call, Timestamp::from_unix_secs(10)) {
        Ok(_) => "allowed",
        Err(refusal) => refusal.rule().code(),
    }
}

fn one_argument(constraint: &str) -> Authority {
    authority(&format!(
        r#"{{"authorization_details":[{{"type":"mcp_tool","server":"git","actions":["t"],
            "arguments":{{"x":{constraint}}}}}],"limits":{{}}}}"#
    ))
}

#[test]
fn each_constraint_answers_by_its_rule() {
    for (constraint, value, expect) in [
        (r#""any""#, r#"{"a":[1]}"#, "allowed"),
        (r#""any""#, "null", "allowed"),
        (r#"{"equals":"a"}"#, r#""a""#, "allowed"),
        (r#"{"equals":"a"}"#, r#""A""#, "argument_not_equal"),
        (r#"{"equals":1}"#, r#""1""#, "argument_not_equal"),
        (r#"{"equals":1}"#, "true", "argument_not_equal"),
        (r#"{"equals":null}"#, "null", "allowed"),
        (r#"{"equals":false}"#, "0", "argument_not_equal"),
        (r#"{"one_of":["a",2]}"#, "2.0", "allowed"),
        (r#"{"one_of":["a",2]}"#, r#"["a"]"#, "argument_not_listed"),
        (r#"{"path_prefix":"/srv"}"#, r#""/srv/x""#, "allowed"),
        (
            r#"{"path_prefix":"/srv"}"#,
            r#""/srv/../x""#,
            "argument_outside_path",
        ),
        (
            r#"{"path_prefix":"/srv"}"#,
            r#"["/srv/x"]"#,
            "argument_type",
        ),
        (r#"{"glob":"v*"}"#, r#""v1""#, "allowed"),
        (r#"{"glob":"v*"}"#, r#""w1""#, "argument_no_match"),
        (r#"{"glob":"v*"}"#, "1", "argument_type"),
        (r#"{"range":{"max":"5"}}"#, "5", "allowed"),
        (r#"{"range":{"max":"5"}}"#, r#""5""#, "argument_type"),
        (r#"{"subset_of":["a","b"]}"#, "[]", "allowed"),
        (r#"{"subset_of":["a","b"]}"#, r#"["b","b"]"#, "allowed"),
        (
            r#"{"subset_of":["a","b"]}"#,
            r#"["b","c"]"#,
            "argument_not_subset",
        ),
        (
            r#"{"subset_of":["a","b"]}"#,
            r#"[["a"]]"#,
            "argument_not_subset",
        ),
        (r#"{"subset_of":["a","b"]}"#, r#""a""#, "argument_type"),
        (r#"{"max_length":2}"#, r#""äö""#, "allowed"),
        (r#"{"max_length":2}"#, r#""abc""#, "argument_too_long"),
        (r#"{"max_length":2}"#, "[1,2,3]", "argument_too_long"),
        (r#"{"max_length":2}"#, "1", "argument_type"),
        (
            r#"{"glob":"v*","max_length":2}"#,
            r#""v11""#,
            "argument_too_long",
        ),
    ] {
        let arguments = format!(r#"{{"x":{value}}}"#);
        assert_eq!(
            answer(&one_argument(constraint), "t", &arguments),
            expect,
            "{constraint} {value}"
        );
    }
}

#[test]
fn numbers_are_compared_exactly_and_never_as_floats() {
    let range = one_argument(r#"{"range":{"min":"-0","max":"50"}}"#);
    let fifty = one_argument(r#"{"equals":50}"#);
    for (number, in_range, is_fifty) in [
        ("50", true, true),
        ("50.0", true, true),
        ("5e1", true, true),
        ("0.5E+2", true, true),
        ("50.00000001", false, false),
        ("50.0000000000000000000000000001", false, false),
        ("50.000000000000000000000000000000000001", false, false),
        ("49.999999999999999999999999", true, false),
        ("1e400", false, false),
        ("-1e400", false, false),
        ("1e-400", false, false),
        ("-0", true, false),
        ("-0.0e5", true, false),
        ("-0.0000001", false, false),
        ("9223372036854775808", false, false),
    ] {
        let arguments = format!(r#"{{"x":{number}}}"#);
        assert_eq!(
            answer(&range, "t", &arguments) == "allowed",
            in_range,
            "{number}"
        );
        assert_eq!(
            answer(&fifty, "t", &arguments) == "allowed",
            is_fifty,
            "{number}"
        );
    }
    let big = one_argument(r#"{"range":{"max":"9007199254740992"}}"#);
    assert_eq!(
        answer(&big, "t", r#"{"x":9007199254740993}"#),
        "argument_out_of_range"
    );
}

#[test]
fn arguments_are_present_and_named_unless_the_authority_says_otherwise() {
    let needed = one_argument(r#"{"equals":1}"#);
    assert_eq!(answer(&needed, "t", "{}"), "argument_missing");
    assert_eq!(
        answer(&needed, "t", r#"{"x":1,"y":2}"#),
        "argument_not_allowed"
    );
    assert_eq!(
        answer(&needed, "t", r#"{"x":1,"X":1}"#),
        "argument_not_allowed"
    );
    assert_eq!(
        answer(&one_argument(r#"{"equals":1,"optional":true}"#), "t", "{}"),
        "allowed"
    );
    assert_eq!(
        answer(
            &one_argument(r#"{"equals":1,"optional":true}"#),
            "t",
            r#"{"x":null}"#
        ),
        "argument_not_equal"
    );
    assert_eq!(answer(&one_argument(r#""any""#), "t", "{}"), "allowed");
    assert_eq!(answer(&needed, "u", r#"{"x":1}"#), "tool_not_allowed");
}

#[test]
fn constraints_of_two_details_are_never_mixed() {
    let two = authority(
        r#"{"authorization_details":[
          {"type":"mcp_tool","server":"git","actions":["t"],
           "arguments":{"path":{"equals":"/a"},"mode":{"equals":"write"}}},
          {"type":"mcp_tool","server":"git","actions":["t"],
           "arguments":{"path":{"equals":"/b"},"mode":{"equals":"read"},"n":"any"}}],
          "limits":{}}"#,
    );
    assert_eq!(
        answer(&two, "t", r#"{"path":"/a","mode":"write"}"#),
        "allowed"
    );
    assert_eq!(
        answer(&two, "t", r#"{"path":"/b","mode":"read"}"#),
        "allowed"
    );
    assert_eq!(
        answer(&two, "t", r#"{"path":"/b","mode":"write"}"#),
        "argument_not_equal"
    );
    // The second detail has one objection, the first has two.
    let (server, arguments) = (
        "git".parse().unwrap(),
        json(r#"{"path":"/b","mode":"write","n":1}"#),
    );
    let arguments = arguments.as_object().unwrap();
    let call = Call::Tool {
        server: &server,
        tool: "t",
        arguments,
    };
    let refusal = allows(&two, &call, Timestamp::from_unix_secs(0)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the argument differs from the one value allowed: `mode` is `write`; allowed: `read`"
    );
}

#[test]
fn a_summed_argument_cannot_be_left_to_the_tools_default() {
    let paying = authority(
        r#"{"authorization_details":[
          {"type":"mcp_tool","server":"git","actions":["pay"],"arguments":{"amount":"any"}},
          {"type":"mcp_tool","server":"git","actions":["list"],"arguments":{}}],
          "limits":{"sums":[{"argument":"amount","max":"100"}]}}"#,
    );
    assert_eq!(answer(&paying, "pay", "{}"), "argument_missing");
    assert_eq!(answer(&paying, "pay", r#"{"amount":1}"#), "allowed");
    assert_eq!(answer(&paying, "list", "{}"), "allowed");
    assert_eq!(
        answer(&paying, "list", r#"{"amount":1}"#),
        "argument_not_allowed"
    );
}

#[test]
fn hosts_are_matched_by_their_one_spelling() {
    let egress = authority(
        r#"{"authorization_details":[{"type":"https_connect","host":"pypi.org","port":443}],"limits":{}}"#,
    );
    let ask = |host, port| {
        allows(
            &egress,
            &Call::Egress { host, port },
            Timestamp::from_unix_secs(0),
        )
        .is_ok()
    };
    assert!(ask("pypi.org", 443));
    for (host, port) in [
        ("pypi.org", 80),
        ("PyPI.org", 443),
        ("pypi.org.", 443),
        ("a.pypi.org", 443),
        ("", 443),
        ("pypi.org\0", 443),
    ] {
        assert!(!ask(host, port), "{host}:{port}");
    }
    assert_eq!(answer(&egress, "t", "{}"), "tool_not_allowed");
}

#[test]
fn nothing_is_allowed_after_the_end() {
    let until_ten = |end| {
        authority(&format!(
            r#"{{"authorization_details":[{{"type":"mcp_tool","server":"git","actions":["t"],
               "arguments":{{}}}}],"limits":{{"not_after":"{end}"}}}}"#
        ))
    };
    assert_eq!(
        answer(&until_ten("1970-01-01T00:00:10Z"), "t", "{}"),
        "allowed"
    );
    assert_eq!(
        answer(&until_ten("1970-01-01T00:00:09.999Z"), "t", "{}"),
        "authority_expired"
    );
    assert_eq!(
        answer(&until_ten("1969-01-01T00:00:00Z"), "t", "{}"),
        "authority_expired"
    );
}

#[test]
fn a_listing_shows_only_what_is_named() {
    let some = one_argument(r#"{"equals":1}"#);
    let git: Name = "git".parse().unwrap();
    assert!(may_see(&some, &git, "t"));
    assert!(!may_see(&some, &git, "T") && !may_see(&some, &"hub".parse().unwrap(), "t"));
}

#[test]
fn a_refusal_is_short_and_printable_whatever_the_call_holds() {
    let needed = one_argument(r#"{"equals":"a"}"#);
    let server: Name = "git".parse().unwrap();
    let nasty = format!("\u{202e}\u{1b}[31m\n{}", "x".repeat(100_000));
    for arguments in [
        Object::new().with("x", nasty.as_str()),
        Object::new().with("x", vec![Value::Null; 1000]),
        Object::new().with("x", "a").with(nasty.as_str(), 1_i64),
    ] {
        let call = Call::Tool {
            server: &server,
            tool: "t",
            arguments: &arguments,
        };
        let refusal = allows(&needed, &call, Timestamp::from_unix_secs(0))
            .unwrap_err()
            .to_string();
        assert!(refusal.len() < 1000, "{}", refusal.len());
        assert!(
            refusal.chars().all(|c| !c.is_control() && c != '\u{202e}'),
            "{refusal}"
        );
    }
    let call = Call::Tool {
        server: &server,
        tool: &nasty,
        arguments: &Object::new(),
    };
    let refusal = allows(&needed, &call, Timestamp::from_unix_secs(0)).unwrap_err();
    assert_eq!(refusal.allowed(), Some("tools `t` of `git`"));
    assert!(refusal.seen().unwrap().len() < 400);
}
