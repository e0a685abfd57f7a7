use aims_json::{Limits, parse};
use aims_types::Timestamp;

use super::*;
use crate::{Authority, Call, Widening, allows, narrower};

#[test]
fn a_path_has_one_spelling() {
    for good in [
        "/",
        "/v1",
        "/v1/chat/completions",
        "/v1/models/a:generate",
        "/a.b/~c",
    ] {
        assert!(good.parse::<HttpPath>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "v1",
        "/v1/",
        "//v1",
        "/v1//x",
        "/v1/./x",
        "/v1/../x",
        "/v1/%2e%2e/x",
        "/v1%2fx",
        "/v1;x",
        "/v1?x",
        "/v1#x",
        "/v1 x",
        "/v1\\x",
        "/é",
        "/v1\n",
        "/..",
        "/v1@x",
    ] {
        assert!(bad.parse::<HttpPath>().is_err(), "{bad}");
    }
}

#[test]
fn a_prefix_holds_only_paths_in_their_one_spelling() {
    let prefix: HttpPath = "/v1".parse().unwrap();
    assert!(prefix.holds("/v1") && prefix.holds("/v1/chat"));
    for outside in [
        "/v1x",
        "/v2",
        "/",
        "/v1/../v2",
        "/v1/%2e%2e",
        "/v1/;/..",
        "/v1/",
    ] {
        assert!(!prefix.holds(outside), "{outside}");
    }
}

#[test]
fn methods_are_spelled_as_requests_do() {
    for method in HttpMethod::ALL {
        assert_eq!(method.as_str().parse::<HttpMethod>().unwrap(), method);
    }
    for bad in ["get", "CONNECT", "TRACE", "", "POST "] {
        assert!(bad.parse::<HttpMethod>().is_err(), "{bad}");
    }
}

fn authority(details: &str, limits: &str) -> Authority {
    try_authority(details, limits).unwrap()
}

fn try_authority(details: &str, limits: &str) -> Result<Authority, crate::AuthorityError> {
    let text = format!(r#"{{"authorization_details":[{details}],"limits":{{{limits}}}}}"#);
    Authority::from_value(&parse(text.as_bytes(), &Limits::MESSAGE).unwrap())
}

/// Requests `POST` to `model` below `path`, with more members.
fn detail(path: &str, more: &str) -> String {
    format!(
        r#"{{"type":"http_request","upstream":"model","methods":["POST"],"path":"{path}",{more}}}"#
    )
}

const CHAT: &str =
    r#""body":{"model":{"one_of":["small"]},"max_tokens":{"range":{"max":"9"},"optional":true}}"#;

const SMALL: &str = r#"{"model":"small"}"#;

/// The code of the refusal of a request to `model`, or `allowed`.
fn answer(method: &str, path: &str, query: bool, body: &str) -> &'static str {
    let authority = authority(&detail("/v1", CHAT), "");
    let body = parse(body.as_bytes(), &Limits::MESSAGE).unwrap();
    let call = Call::Http(HttpCall {
        upstream: &"model".parse().unwrap(),
        method,
        path,
        query,
        body: body.as_object(),
    });
    let answer = allows(&authority, &call, Timestamp::from_unix_secs(1));
    answer.map_or_else(|refusal| refusal.rule().code(), |_| "allowed")
}

#[test]
fn a_request_is_allowed_by_method_path_and_query() {
    for (method, path, query, expect) in [
        ("POST", "/v1", false, "allowed"),
        ("POST", "/v1/chat", false, "allowed"),
        ("GET", "/v1/chat", false, "request_not_allowed"),
        ("post", "/v1/chat", false, "request_not_allowed"),
        ("POST", "/v1x", false, "request_not_allowed"),
        ("POST", "/", false, "request_not_allowed"),
        ("POST", "/v1/../v2", false, "request_not_allowed"),
        ("POST", "/v1/%2e%2e", false, "request_not_allowed"),
        ("POST", "/v1", true, "query_not_allowed"),
    ] {
        assert_eq!(
            answer(method, path, query, SMALL),
            expect,
            "{method} {path}"
        );
    }
}

#[test]
fn a_body_is_allowed_by_its_members() {
    for (body, expect) in [
        (r#"{"model":"small","max_tokens":9}"#, "allowed"),
        ("[]", "body_not_allowed"),
        ("{}", "argument_missing"),
        (r#"{"model":"large"}"#, "argument_not_listed"),
        (
            r#"{"model":"small","max_tokens":10}"#,
            "argument_out_of_range",
        ),
        (r#"{"model":"small","n":1}"#, "argument_not_allowed"),
    ] {
        assert_eq!(answer("POST", "/v1", false, body), expect, "{body}");
    }
}

#[test]
fn another_upstream_is_another_thing() {
    let authority = authority(&detail("/v1", CHAT), "");
    let other: Name = "other".parse().unwrap();
    assert!(crate::may_request(&authority, &"model".parse().unwrap()));
    assert!(!crate::may_request(&authority, &other));
}

#[test]
fn what_is_wider_in_any_part_is_shown_by_a_request() {
    let within = |child: &str, parent: &str| {
        narrower(&authority(child, ""), &authority(parent, r#""depth":1"#))
    };
    let any = |path: &str| detail(path, r#""body":"any","query":"any""#);
    for (child, parent) in [
        (detail("/v1/chat", CHAT), detail("/v1", CHAT)),
        (detail("/v1", CHAT), any("/")),
        (
            detail("/v1", r#""body":{"model":{"equals":"small"}}"#),
            detail("/v1", CHAT),
        ),
        (detail("/v1", r#""body":{}"#), any("/v1")),
    ] {
        assert_eq!(within(&child, &parent), Ok(()), "{child} in {parent}");
    }
    for (child, parent, rule) in [
        (
            detail("/v1", CHAT),
            detail("/v1/chat", CHAT),
            Widening::Request,
        ),
        (detail("/v1", CHAT), detail("/v1x", CHAT), Widening::Request),
        (
            any("/v1"),
            detail("/v1", r#""body":"any""#),
            Widening::Query,
        ),
        (
            detail("/v1", r#""body":"any""#),
            detail("/v1", CHAT),
            Widening::Body,
        ),
        (
            detail("/v1", r#""body":{"model":"any"}"#),
            detail("/v1", CHAT),
            Widening::ArgumentValues,
        ),
        (
            detail("/v1", r#""body":{}"#),
            detail("/v1", CHAT),
            Widening::ArgumentOptional,
        ),
    ] {
        let wider = within(&child, &parent).unwrap_err();
        assert_eq!(wider.rule(), rule, "{child} in {parent}: {wider}");
        assert!(wider.example().is_some(), "{wider}");
    }
}

#[test]
fn what_is_summed_is_named_in_every_body() {
    let sum = r#""sums":[{"argument":"max_tokens","max":"100"}]"#;
    let named = r#""body":{"max_tokens":{"range":{"max":"50"}}}"#;
    assert!(try_authority(&detail("/v1", named), sum).is_ok());
    for body in [CHAT, r#""body":"any""#, r#""body":{}"#] {
        let error = try_authority(&detail("/v1", body), sum).unwrap_err();
        assert_eq!(error.at(), "limits.sums", "{body}");
    }
}

#[test]
fn a_detail_that_is_not_understood_is_refused() {
    for wrong in [
        detail("/v1", r#""query":"any""#),
        detail("/v1", r#""body":"none""#),
        detail("/v1", r#""body":"any","query":"x=1""#),
        detail("/v1", r#""body":"any","host":"a.example""#),
        detail("/v1/", r#""body":"any""#),
        detail("/v1", r#""body":"any""#).replace("POST", "CONNECT"),
        detail("/v1", r#""body":"any""#).replace("\"POST\"", ""),
        detail("/v1", r#""body":"any""#).replace("\"model\"", "\"Model\""),
    ] {
        assert!(try_authority(&wrong, "").is_err(), "{wrong}");
    }
}
