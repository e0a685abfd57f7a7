use aims_json::{Limits, parse};

use super::*;

fn read(text: &str) -> Result<Authority, AuthorityError> {
    Authority::from_value(&parse(text.as_bytes(), &Limits::MESSAGE).unwrap())
}

#[test]
fn the_written_form_is_complete_and_canonical() {
    let authority = read(
        r#"{"limits":{"depth":2,"sums":[{"argument":"n","max":"1.50"}],"uses":3,
             "rate":{"count":5,"per_secs":60},"not_after":"2026-11-22T01:30:28+01:00"},
            "authorization_details":[
              {"type":"mcp_tool","server":"git","actions":["b","a"],"arguments":{
                "z":"any","n":{"range":{"max":"50.0","min":"1"}},
                "p":{"optional":true,"path_prefix":"/srv","max_length":9},
                "s":{"subset_of":["b",1.0,"a",null]},"e":{"equals":5e1,"optional":false}}},
              {"type":"https_connect","host":"::1","port":443}]}"#,
    )
    .unwrap();
    let expect = concat!(
        r#"{"authorization_details":[{"type":"mcp_tool","server":"git","actions":["a","b"],"#,
        r#""arguments":{"e":{"equals":50},"n":{"range":{"min":"1","max":"50"}},"#,
        r#""p":{"max_length":9,"path_prefix":"/srv","optional":true},"#,
        r#""s":{"subset_of":[null,1,"a","b"]},"z":"any"}},"#,
        r#"{"type":"https_connect","host":"::1","port":443}],"#,
        r#""limits":{"not_after":"2026-11-22T00:30:28.000Z","uses":3,"#,
        r#""rate":{"count":5,"per_secs":60},"sums":[{"argument":"n","max":"1.5"}],"depth":2}}"#,
    );
    assert_eq!(authority.to_value().to_string(), expect);
    assert_eq!(read(expect).unwrap(), authority);
}

fn refused<'a>(cases: impl IntoIterator<Item = (String, &'a str)>) {
    for (text, at) in cases {
        let error = read(&text).expect_err(&text);
        assert_eq!(error.at(), at, "{text}: {error}");
    }
}

#[test]
fn trap_31_a_detail_that_is_not_understood_is_refused_with_its_place() {
    let detail = |detail: &str| format!(r#"{{"authorization_details":[{detail}],"limits":{{}}}}"#);
    refused([
        ("[]".to_owned(), ""),
        (r#"{"limits":{}}"#.to_owned(), ""),
        (r#"{"authorization_details":[]}"#.to_owned(), ""),
        (
            r#"{"authorization_details":{},"limits":{}}"#.to_owned(),
            "authorization_details",
        ),
        (
            r#"{"authorization_details":[],"limits":{},"also":1}"#.to_owned(),
            "",
        ),
        (detail("1"), "authorization_details[0]"),
        (detail(r#"{"type":"payment"}"#), "authorization_details[0]"),
        (detail(r#"{"type":1}"#), "authorization_details[0].type"),
        (
            detail(r#"{"type":"mcp_tool","server":"git","actions":["t"]}"#),
            "authorization_details[0]",
        ),
        (
            detail(
                r#"{"type":"mcp_tool","server":"git","actions":["t"],"arguments":{},"locations":[]}"#,
            ),
            "authorization_details[0]",
        ),
        (
            detail(r#"{"type":"mcp_tool","server":"Git","actions":["t"],"arguments":{}}"#),
            "authorization_details[0].server",
        ),
        (
            detail(r#"{"type":"mcp_tool","server":"git","actions":[],"arguments":{}}"#),
            "authorization_details[0].actions",
        ),
        (
            detail(r#"{"type":"mcp_tool","server":"git","actions":["t","t"],"arguments":{}}"#),
            "authorization_details[0].actions",
        ),
        (
            detail(r#"{"type":"mcp_tool","server":"git","actions":["t","*/"],"arguments":{}}"#),
            "authorization_details[0].actions[1]",
        ),
        (
            detail(r#"{"type":"https_connect","host":"*.org","port":443}"#),
            "authorization_details[0].host",
        ),
        (
            detail(r#"{"type":"https_connect","host":"a.org","port":0}"#),
            "authorization_details[0].port",
        ),
        (
            detail(r#"{"type":"https_connect","host":"a.org","port":65536}"#),
            "authorization_details[0].port",
        ),
    ]);
}

#[test]
fn a_constraint_that_is_not_understood_is_refused_with_its_place() {
    let tool = |arguments: &str| {
        format!(
            r#"{{"authorization_details":[{{"type":"mcp_tool","server":"git","actions":["t"],
               "arguments":{{"x":{arguments}}}}}],"limits":{{}}}}"#
        )
    };
    let x = "authorization_details[0].arguments.x";
    refused([
        (tool(r#""all""#), x),
        (tool("{}"), x),
        (tool(r#"{"optional":true}"#), x),
        (
            tool(r#"{"optional":1,"equals":1}"#),
            &format!("{x}.optional"),
        ),
        (tool(r#"{"equals":1,"regex":"."}"#), x),
        (tool(r#"{"equals":[1]}"#), &format!("{x}.equals")),
        (tool(r#"{"equals":1.5}"#), &format!("{x}.equals")),
        (
            tool(r#"{"equals":9007199254740992}"#),
            &format!("{x}.equals"),
        ),
        (tool(r#"{"one_of":[]}"#), &format!("{x}.one_of")),
        (tool(r#"{"one_of":[1,1.0]}"#), &format!("{x}.one_of")),
        (tool(r#"{"one_of":["a",{}]}"#), &format!("{x}.one_of[1]")),
        (
            tool(r#"{"path_prefix":"/a/"}"#),
            &format!("{x}.path_prefix"),
        ),
        (tool(r#"{"glob":"**"}"#), &format!("{x}.glob")),
        (tool(r#"{"range":{}}"#), &format!("{x}.range")),
        (tool(r#"{"range":{"min":1}}"#), &format!("{x}.range.min")),
        (
            tool(r#"{"range":{"min":"1e400"}}"#),
            &format!("{x}.range.min"),
        ),
        (
            tool(r#"{"range":{"min":"2","max":"1"}}"#),
            &format!("{x}.range"),
        ),
        (
            tool(r#"{"range":{"min":"2","exclusive":true}}"#),
            &format!("{x}.range"),
        ),
        (tool(r#"{"max_length":-1}"#), &format!("{x}.max_length")),
    ]);
}

#[test]
fn a_limit_that_is_not_understood_is_refused_with_its_place() {
    let limits = |limits: &str| format!(r#"{{"authorization_details":[],"limits":{limits}}}"#);
    refused([
        (limits("1"), "limits"),
        (limits(r#"{"use":1}"#), "limits"),
        (limits(r#"{"uses":-1}"#), "limits.uses"),
        (limits(r#"{"uses":9007199254740992}"#), "limits.uses"),
        (limits(r#"{"not_after":5}"#), "limits.not_after"),
        (limits(r#"{"not_after":"tomorrow"}"#), "limits.not_after"),
        (limits(r#"{"rate":{"count":1}}"#), "limits.rate"),
        (
            limits(r#"{"rate":{"count":0,"per_secs":1}}"#),
            "limits.rate.count",
        ),
        (limits(r#"{"depth":9}"#), "limits.depth"),
        (limits(r#"{"sums":[]}"#), "limits.sums"),
        (
            limits(r#"{"sums":[{"argument":"n","max":1}]}"#),
            "limits.sums[0].max",
        ),
        (
            limits(r#"{"sums":[{"argument":"n","max":"1"}]}"#),
            "limits.sums",
        ),
    ]);
}

#[test]
fn a_sum_over_an_optional_argument_is_refused() {
    let error = read(
        r#"{"authorization_details":[{"type":"mcp_tool","server":"bank","actions":["pay"],
            "arguments":{"n":{"range":{"min":"0"},"optional":true}}}],
            "limits":{"sums":[{"argument":"n","max":"1"}]}}"#,
    );
    let expect = "`limits.sums`: the argument `n` is summed and may therefore not be optional";
    assert_eq!(error.unwrap_err().to_string(), expect);
}
