use aims_json::{Limits, parse};

use super::*;
use crate::{SchemaSource, ServerTools, ToolShape};

fn schema() -> Schema {
    let input_schema = parse(
        br#"{"type":"object","properties":{
            "path":{"type":"string"},"count":{"type":"integer"},"ratio":{"type":"number"}}}"#,
        &Limits::MESSAGE,
    );
    let tool = ToolShape {
        name: "run".to_owned(),
        input_schema: input_schema.unwrap(),
    };
    let server = ServerTools {
        server: "lab".parse().unwrap(),
        tools: vec![tool],
    };
    Schema::generate(&SchemaSource {
        servers: vec![server],
    })
    .unwrap()
}

fn error(text: &str) -> String {
    PolicySet::compile(text, &schema()).unwrap_err().to_string()
}

const RUN: &str = r#"permit (principal, action == Action::"lab/run", resource)"#;

#[test]
fn a_text_that_is_wrong_is_refused_with_place_and_hint() {
    for (text, expect) in [
        (
            "permit (principal, action, resource);".to_owned(),
            "line 1, column 1: the policy has no `@id`",
        ),
        (
            "@id(\"a\")\n  permit (".to_owned(),
            "line 2, column 11: unexpected end of input",
        ),
        (
            format!("@id(\"A b\")\n{RUN};"),
            "line 1, column 1: `@id`: `A b` is not a name",
        ),
        (
            format!("@id(\"a\") {RUN};\n\n@id(\"a\") {RUN};"),
            "line 3, column 1: `@id` `a` is given twice",
        ),
        (
            format!("@id(\"a\")\n@advice(\"x\") {RUN};"),
            "line 1, column 1: unknown annotation `@advice`; known are",
        ),
        (
            format!("@id(\"a\") @requirement(\"mfa\") {RUN};"),
            "line 1, column 1: unknown requirement `mfa`; known are",
        ),
        (
            format!("@id(\"a\") @requirement(\"assurance:\") {RUN};"),
            "line 1, column 1: unknown requirement `assurance:`",
        ),
        (
            "@id(\"a\") @requirement(\"approval\") forbid (principal, action, resource);"
                .to_owned(),
            "line 1, column 1: policy `a` is a requirement and a forbid",
        ),
        (
            "@id(\"a\") permit (principal == ?principal, action, resource);".to_owned(),
            "line 1, column 1: templates are not supported",
        ),
        (
            "@id(\"a\") permit (principal, action == Action::\"lab/walk\", resource);".to_owned(),
            "line 1, column 39: for policy `a`, unrecognized action `Action::\"lab/walk\"`",
        ),
        (
            format!("@id(\"a\")\n{RUN}\nwhen {{ context.arguments.count > 3 }};"),
            "line 3, column 8: for policy `a`, unable to guarantee safety of access to optional attribute",
        ),
        (
            format!("@id(\"a\") {RUN} when {{ principal.owner.name == 7 }};"),
            "line 1,",
        ),
        (
            format!("@id(\"a\") {RUN} when {{ Agent::\"other\".environment == \"lab\" }};"),
            "line 1,",
        ),
    ] {
        let error = error(&text);
        assert!(error.starts_with(expect), "{text}\n{error}");
    }
}

#[test]
fn a_policy_on_an_untyped_argument_is_refused_however_it_is_written() {
    let anywhere = "forbid (principal, action, resource)";
    let calls = "forbid (principal, action in [Action::\"call\"], resource)";
    let connect = "forbid (principal, action == Action::\"connect\", resource)";
    let hidden = "policies cannot see argument `ratio` of `lab/run`";
    for (scope, condition, expect) in [
        (RUN, "context.arguments.ratio == 1", hidden),
        (RUN, "context.arguments has ratio", hidden),
        (
            RUN,
            "context.arguments has \"ratio\" && context.arguments[\"ratio\"] == 1",
            hidden,
        ),
        (RUN, "context.arguments has ratio.x", hidden),
        (RUN, "context has arguments.ratio", hidden),
        (
            RUN,
            "principal.name == \"a\" || context.arguments has ratio",
            hidden,
        ),
        (RUN, "context.arguments == {path: \"/\"}", hidden),
        (
            RUN,
            "(if principal.name == \"a\" then context else context).arguments has ratio",
            hidden,
        ),
        (RUN, "[context.arguments].isEmpty()", hidden),
        (calls, "context.arguments has ratio", hidden),
        (
            anywhere,
            "context has arguments && context.arguments has ratio",
            hidden,
        ),
        (
            RUN,
            "context.arguments has path && context.arguments.path like \"/srv/*\"",
            "",
        ),
        (RUN, "principal has owner && context.arguments has path", ""),
        (RUN, "context has arguments", ""),
        (connect, "context.port == 80", ""),
    ] {
        let text = format!("@id(\"a\") {scope} when {{ {condition} }};");
        match PolicySet::compile(&text, &schema()) {
            Ok(_) => assert_eq!(expect, "", "{text}"),
            Err(errors) => assert!(
                !expect.is_empty() && errors.to_string().contains(expect),
                "{text}\n{errors}"
            ),
        }
    }
}

#[test]
fn what_was_written_is_kept() {
    let text = format!(
        "// both kinds\n@id(\"z\") @description(\"why\") {RUN};\n\
         @id(\"a\") @requirement(\"assurance:confined\") {RUN};\n"
    );
    let set = PolicySet::compile(&text, &schema()).unwrap();
    assert_eq!(set.text(), text);
    assert_eq!(set.ids().map(Name::as_str).collect::<Vec<_>>(), ["a", "z"]);
    assert!(set.warnings().is_empty());
    assert!(
        PolicySet::compile("", &schema())
            .unwrap()
            .ids()
            .next()
            .is_none()
    );
}

#[test]
fn texts_that_would_exhaust_the_stack_are_refused_or_compiled() {
    let body = |body: &str| format!("@id(\"a\") {RUN} when {{ {body} }};");
    for (nested, expect) in [
        ("(".repeat(100_000), "brackets are nested more than 64 deep"),
        ("[".repeat(65), "brackets are nested more than 64 deep"),
        (
            "if true then true else ".repeat(65),
            "more than 64 times `else`",
        ),
        (
            format!("{}true", "\n".repeat(17_000)),
            "has more than 16 KiB",
        ),
        ("true && ".repeat(100_000), "more than 512 operators"),
        ("!".repeat(1_000) + "true", "too many occurrences of `!`"),
        ("-".repeat(500) + "1", "too many occurrences of `-`"),
    ] {
        let error = error(&body(&nested));
        assert!(error.contains(expect), "{error}");
    }
    assert!(error(&" ".repeat(POLICY_TEXT_LEN_MAX + 1)).contains("more than 1 MiB"));
    // Brackets and semicolons within texts and comments are none.
    let quiet = format!(
        "context.task.purpose == \"{}\\\"{}\" // {}\n",
        "(".repeat(99),
        ";",
        "[".repeat(99)
    );
    assert!(PolicySet::compile(&body(&quiet), &schema()).is_ok());
    let hidden = "true && ".repeat(150) + "\";\" == \";\" && " + &"true && ".repeat(150) + "true";
    assert!(error(&body(&hidden)).contains("more than 512 operators"));
}

#[test]
fn more_policies_than_are_evaluated_in_time_are_refused() {
    let one = |n: usize| format!("@id(\"p{n}\") permit(principal,action,resource);");
    let text = (0..=POLICIES_MAX).map(one).collect::<Vec<_>>().concat();
    assert!(error(&text).contains("more than 10000 policies"));
}

#[test]
fn nothing_passes_because_it_nests_too_deep_to_be_looked_at() {
    let bad: [(&str, &dyn Fn(usize) -> String); 12] = [
        ("attributes", &|n| format!("context{}", ".a".repeat(n))),
        ("has", &|n| {
            format!("context has a{} || context.zz", ".a".repeat(n))
        }),
        ("has of principal", &|n| {
            format!("principal has a{} || context.zz", ".a".repeat(n))
        }),
        ("and", &|n| {
            format!(
                "context.zz && {}true",
                "principal.name == \"x\" && ".repeat(n)
            )
        }),
        ("or", &|n| {
            format!(
                "context.zz || {}true",
                "principal.name == \"x\" || ".repeat(n)
            )
        }),
        ("plus", &|n| format!("context.zz {} == 1", "+ 1 ".repeat(n))),
        ("times", &|n| {
            format!("context.zz {} == 1", "* 1 ".repeat(n))
        }),
        ("if", &|n| {
            format!(
                "{} context.zz",
                "if principal.name == \"x\" then true else ".repeat(n)
            )
        }),
        ("not", &|n| {
            format!("{}context.zz{}", "!(".repeat(n), ")".repeat(n))
        }),
        ("set", &|n| {
            format!("{}context.zz{}.contains(1)", "[".repeat(n), "]".repeat(n))
        }),
        ("record", &|n| {
            format!("{}context.zz{}.a == 1", "{a:".repeat(n), "}".repeat(n))
        }),
        ("equal", &|n| {
            format!("{}context.zz{}", "true == (".repeat(n), ")".repeat(n))
        }),
    ];
    for (name, condition) in bad {
        for n in [
            1, 30, 60, 64, 65, 100, 120, 124, 126, 127, 128, 129, 130, 200, 255, 256, 500, 511,
        ] {
            let text = format!("@id(\"a\") {RUN} when {{ {} }};", condition(n));
            assert!(PolicySet::compile(&text, &schema()).is_err(), "{name} {n}");
        }
    }
    let good = "true && ".repeat(120) + "true";
    assert!(PolicySet::compile(&format!("@id(\"a\") {RUN} when {{ {good} }};"), &schema()).is_ok());
}

#[test]
fn a_policy_that_may_count_calls_is_known_however_it_spells_it() {
    let schema = schema();
    let counts = |condition: &str| {
        let text = format!(
            r#"@id("one") permit (principal, action == Action::"connect", resource)
               when {{ {condition} }};"#
        );
        PolicySet::compile(&text, &schema).unwrap().counts_calls()
    };
    assert!(counts("context.session.calls < 5"));
    assert!(counts(r#"context["\u{73}ession"]["calls"] < 5"#));
    assert!(counts("context has session && context.session.calls < 5"));
    assert!(!counts("context.port == 443"));
}
