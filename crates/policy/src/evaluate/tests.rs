use aims_json::{Limits, Object, Value, parse};
use aims_types::Id;

use super::*;
use crate::{
    AgentFacts, Posture, Schema, SchemaSource, ServerTools, Session, TaskFacts, ToolShape,
};

pub(super) fn schema() -> Schema {
    let tool = |name: &str, schema: &str| ToolShape {
        name: name.to_owned(),
        input_schema: parse(schema.as_bytes(), &Limits::MESSAGE).unwrap(),
    };
    let run = r#"{"type":"object","properties":{
        "path":{"type":"string"},"n":{"type":"integer"},"ratio":{"type":"number"},
        "tags":{"type":"array","items":{"type":"string"}},"dry":{"type":"boolean"},
        "options":{"type":"object","additionalProperties":false,
            "properties":{"deep":{"type":"integer"},"free":{"type":"object"}}}}}"#;
    let tools = vec![tool("run", run), tool("list", r#"{"type":"object"}"#)];
    let server = ServerTools {
        server: "lab".parse().unwrap(),
        tools,
    };
    Schema::generate(&SchemaSource {
        servers: vec![server],
    })
    .unwrap()
}

/// The verdict of the policies on a call of `lab/run` by the agent `bot`.
fn run(policies: &str, arguments: &str) -> Verdict {
    let set = PolicySet::compile(policies, &schema()).unwrap();
    let arguments = parse(arguments.as_bytes(), &Limits::MESSAGE).unwrap();
    let server: Name = "lab".parse().unwrap();
    let arguments = arguments.as_object().unwrap();
    ask(
        &set,
        Action::CallTool {
            server: &server,
            tool: "run",
            arguments,
        },
        true,
    )
}

fn ask(set: &PolicySet, action: Action<'_>, as_agent: bool) -> Verdict {
    let (bot, ann): (Name, Name) = ("bot".parse().unwrap(), "ann".parse().unwrap());
    let agent = AgentFacts {
        name: &bot,
        owner: &ann,
        environment: "test",
        assurance: "confined",
    };
    let principal = if as_agent {
        Principal::Agent(agent)
    } else {
        Principal::Person(&ann)
    };
    let task = TaskFacts {
        id: Id::from_u128(7),
        purpose: "write the notes",
    };
    let posture = Posture {
        assurance: "confined",
    };
    evaluate(
        set,
        &Request {
            principal,
            action,
            task,
            session: Session { calls: 3 },
            posture,
        },
    )
}

fn permitted_by(verdict: &Verdict) -> Vec<&str> {
    match &verdict.decision {
        Decision::Permit { determining } => determining.iter().map(Name::as_str).collect(),
        Decision::Deny { reason } => panic!("{reason:?}"),
    }
}

fn denied_for(verdict: &Verdict) -> &DenyReason {
    assert!(verdict.requirements.is_empty());
    match &verdict.decision {
        Decision::Deny { reason } => reason,
        Decision::Permit { determining } => panic!("{determining:?}"),
    }
}

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

const ALL: &str = r#"@id("all") permit (principal, action, resource);"#;
const RUN: &str = r#"(principal, action == Action::"lab/run", resource)"#;
/// Holds for small numbers and overflows for others.
const OVERFLOWS: &str = "context.arguments has n && context.arguments.n * 9223372036854775807 < 0";

#[test]
fn what_no_policy_permits_is_denied() {
    assert_eq!(denied_for(&run("", "{}")), &DenyReason::NoPermit);
    let other = r#"@id("a") permit (principal, action == Action::"lab/list", resource);"#;
    assert_eq!(denied_for(&run(other, "{}")), &DenyReason::NoPermit);
    let requirement = r#"@id("a") @requirement("approval") permit (principal, action, resource);"#;
    assert_eq!(denied_for(&run(requirement, "{}")), &DenyReason::NoPermit);
    assert_eq!(permitted_by(&run(ALL, "{}")), ["all"]);
}

#[test]
fn a_forbid_wins_over_every_permit() {
    let text = format!(
        "{ALL} @id(\"z\") forbid (principal, action, resource);
         @id(\"b\") forbid {RUN} when {{ context.arguments has dry && !context.arguments.dry }};"
    );
    let reason = run(&text, r#"{"dry":false}"#);
    assert_eq!(
        denied_for(&reason),
        &DenyReason::ForbiddenBy(names(&["b", "z"]))
    );
}

#[test]
fn a_forbid_that_fails_denies_though_cedar_skips_it() {
    let text = format!("{ALL} @id(\"f\") forbid {RUN} when {{ {OVERFLOWS} }};");
    assert!(run(&text, r#"{"n":1}"#).permits());
    let verdict = run(&text, r#"{"n":2}"#);
    let DenyReason::Error(errors) = denied_for(&verdict) else {
        panic!("{verdict:?}")
    };
    assert_eq!(errors[0].policy, Some("f".parse().unwrap()));
    assert!(errors[0].message.contains("overflow"), "{errors:?}");
    // A forbid that matches as well is the better reason.
    let both = format!("{text} @id(\"g\") forbid (principal, action, resource);");
    assert_eq!(
        denied_for(&run(&both, r#"{"n":2}"#)),
        &DenyReason::ForbiddenBy(names(&["g"]))
    );
}

#[test]
fn a_requirement_that_fails_denies() {
    let text =
        format!("{ALL} @id(\"r\") @requirement(\"approval\") permit {RUN} when {{ {OVERFLOWS} }};");
    assert!(run(&text, r#"{"n":1}"#).requirements.is_empty());
    let verdict = run(&text, r#"{"n":2}"#);
    assert!(matches!(denied_for(&verdict), DenyReason::Error(errors) if errors.len() == 1));
}

#[test]
fn a_permit_that_fails_gives_nothing_and_is_reported() {
    let failing = format!("@id(\"p\") permit {RUN} when {{ {OVERFLOWS} }};");
    let verdict = run(&failing, r#"{"n":2}"#);
    assert_eq!(denied_for(&verdict), &DenyReason::NoPermit);
    assert_eq!(verdict.errors.len(), 1);
    let verdict = run(&format!("{failing} {ALL}"), r#"{"n":2}"#);
    assert_eq!(permitted_by(&verdict), ["all"]);
    assert_eq!(verdict.errors[0].policy, Some("p".parse().unwrap()));
}

#[test]
fn a_broad_permit_lifts_no_requirement() {
    let text = format!(
        "{ALL}
         @id(\"big\") @requirement(\"approval\") permit {RUN}
         when {{ context.arguments has n && context.arguments.n > 100 }};
         @id(\"walls\") @requirement(\"assurance:confined\") permit (principal, action, resource);"
    );
    let required = |arguments| -> Vec<String> {
        let verdict = run(&text, arguments);
        assert_eq!(permitted_by(&verdict), ["all"]);
        verdict
            .requirements
            .iter()
            .map(|r| format!("{} {}", r.policy, r.kind))
            .collect()
    };
    assert_eq!(
        required(r#"{"n":101}"#),
        ["big approval", "walls assurance:confined"]
    );
    assert_eq!(required(r#"{"n":100}"#), ["walls assurance:confined"]);
}

#[test]
fn policies_see_every_fact_of_a_request() {
    for condition in [
        r#"principal is Agent && principal.name == "bot" && principal.environment == "test""#,
        r#"principal is Agent && principal.owner == Person::"ann" && principal.owner.name == "ann""#,
        r#"principal is Agent && principal.assurance == "confined""#,
        r#"principal == Agent::"bot""#,
        r#"resource == Tool::"lab/run" && resource in Server::"lab" && resource.server.name == "lab""#,
        r#"resource.name == "run" && action in Action::"call""#,
        r#"context.task.purpose like "write*" && context.task == Task::"tsk_00000000000000000000000007""#,
        r#"context.session.calls == 3 && context.posture.assurance == "confined""#,
        r#"context.arguments has path && context.arguments.path like "/srv/*""#,
        "context.arguments has n && context.arguments.n == 50",
        r#"context.arguments has tags && context.arguments.tags.containsAll(["a", "b"])"#,
        "context.arguments has options.deep && context.arguments.options.deep == 1",
        "!(context.arguments has dry)",
    ] {
        let arguments = r#"{"path":"/srv/x","n":5e1,"tags":["b","a"],"ratio":0.5,
            "options":{"deep":1,"free":{"x":1}}}"#;
        let text = format!("@id(\"p\") permit {RUN} when {{ {condition} }};");
        assert_eq!(permitted_by(&run(&text, arguments)), ["p"], "{condition}");
    }
}

#[test]
fn a_group_of_actions_holds_its_tools() {
    let calls = r#"@id("p") permit (principal is Agent, action in Action::"call", resource in Server::"lab");"#;
    assert!(run(calls, "{}").permits());
    let set = PolicySet::compile(calls, &schema()).unwrap();
    let connect = Action::Connect {
        host: "pypi.org",
        port: 443,
    };
    assert_eq!(denied_for(&ask(&set, connect, true)), &DenyReason::NoPermit);
    let (server, arguments): (Name, _) = ("lab".parse().unwrap(), Object::new());
    let call = Action::CallTool {
        server: &server,
        tool: "list",
        arguments: &arguments,
    };
    assert!(ask(&set, call, true).permits());
    assert_eq!(denied_for(&ask(&set, call, false)), &DenyReason::NoPermit);
}

#[test]
fn hosts_are_resources_with_a_port_in_the_context() {
    let text = r#"@id("p") permit (principal == Person::"ann", action == Action::"connect", resource)
        when { context.port == 443 && resource.name like "*.example.org" };"#;
    let set = PolicySet::compile(text, &schema()).unwrap();
    let connect = |host, port| ask(&set, Action::Connect { host, port }, false).permits();
    assert!(connect("a.example.org", 443));
    assert!(!connect("a.example.org", 80) && !connect("example.org", 443));
}

#[test]
fn what_has_no_form_for_policies_is_denied() {
    for arguments in [
        r#"{"unknown":1}"#,
        r#"{"n":"1"}"#,
        r#"{"n":null}"#,
        r#"{"n":1.5}"#,
        r#"{"n":9223372036854775808}"#,
        r#"{"n":1e400}"#,
        r#"{"tags":"a"}"#,
        r#"{"tags":[1]}"#,
        r#"{"options":{"other":1}}"#,
        r#"{"options":[]}"#,
        r#"{"path":true}"#,
    ] {
        let verdict = run(ALL, arguments);
        assert!(
            matches!(denied_for(&verdict), DenyReason::Error(e) if e[0].policy.is_none()),
            "{arguments}"
        );
    }
    for arguments in [
        r#"{"ratio":1e400}"#,
        r#"{"ratio":[]}"#,
        r#"{"n":-9223372036854775808}"#,
    ] {
        assert!(run(ALL, arguments).permits(), "{arguments}");
    }
}

#[test]
fn a_tool_outside_the_schema_is_denied() {
    let set = PolicySet::compile(ALL, &schema()).unwrap();
    let arguments = Object::new();
    for (server, tool) in [
        ("lab", "walk"),
        ("hub", "run"),
        ("lab", "run\0"),
        ("lab", ""),
    ] {
        let server: Name = server.parse().unwrap();
        let call = Action::CallTool {
            server: &server,
            tool,
            arguments: &arguments,
        };
        assert!(
            matches!(denied_for(&ask(&set, call, true)), DenyReason::Error(_)),
            "{tool}"
        );
    }
}

#[test]
fn names_in_a_request_cannot_be_read_as_anything_else() {
    let text =
        r#"@id("p") permit (principal, action == Action::"connect", resource == Host::"a");"#;
    let set = PolicySet::compile(text, &schema()).unwrap();
    for host in ["a\"", "a\" || true", "Host::\"a\"", "a\0", "A", ""] {
        assert!(
            !ask(&set, Action::Connect { host, port: 1 }, true).permits(),
            "{host}"
        );
    }
    let path = r#"@id("p") permit (principal, action == Action::"lab/run", resource)
        when { context.arguments has path && context.arguments.path == "{\"__extn\":{}}" };"#;
    let arguments = Object::new().with("path", Value::from("{\"__extn\":{}}"));
    assert!(run(path, &Value::from(arguments).to_string()).permits());
}
