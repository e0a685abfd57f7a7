use aims_json::{Limits, Number, Object, parse};
use proptest::prelude::*;

use super::*;
use crate::PolicySet;

fn source(server: &str, tools: Vec<(String, Value)>) -> SchemaSource {
    let tools = tools
        .into_iter()
        .map(|(name, input_schema)| ToolShape { name, input_schema });
    let server = ServerTools {
        server: server.parse().unwrap(),
        tools: tools.collect(),
    };
    SchemaSource {
        servers: vec![server],
    }
}

fn untyped_of(schema: &str) -> Vec<String> {
    let schema = parse(schema.as_bytes(), &Limits::MESSAGE).unwrap();
    let made = Schema::generate(&source("lab", vec![("run".to_owned(), schema)])).unwrap();
    made.untyped(&"lab".parse().unwrap(), "run").to_vec()
}

#[test]
fn the_tools_of_the_git_server_are_typed() {
    let file = parse(
        include_bytes!("../../testdata/mcp_server_git.json"),
        &Limits::MESSAGE,
    )
    .unwrap();
    let tools = file
        .get("tools")
        .and_then(Value::as_array)
        .unwrap()
        .iter()
        .map(|tool| {
            let name = tool.get("name").and_then(Value::as_str).unwrap().to_owned();
            (name, tool.get("inputSchema").unwrap().clone())
        });
    let schema = Schema::generate(&source("git", tools.collect())).unwrap();
    let git: Name = "git".parse().unwrap();
    assert_eq!(
        schema.untyped(&git, "git_log"),
        ["end_timestamp", "start_timestamp"]
    );
    assert_eq!(schema.untyped(&git, "git_add"), [""; 0]);
    assert!(schema.has(&git, "git_branch") && !schema.has(&git, "git_push"));
    let policy = r#"
        @id("history")
        permit (principal is Agent, action == Action::"git/git_log", resource in Server::"git")
        when { context.arguments has repo_path && context.arguments.repo_path == "/srv/repo"
            && (if context.arguments has max_count then context.arguments.max_count <= 50 else true) };
        @id("no-secrets")
        forbid (principal, action == Action::"git/git_add", resource)
        when { context.arguments has files && context.arguments.files.contains(".env") };"#;
    PolicySet::compile(policy, &schema).unwrap();
    let hidden = r#"@id("a") forbid (principal, action in Action::"call", resource)
        when { context.arguments has start_timestamp };"#;
    let error = PolicySet::compile(hidden, &schema).unwrap_err().to_string();
    assert!(
        error.contains("cannot see argument `start_timestamp` of `git/git_log`"),
        "{error}"
    );
}

#[test]
fn what_cedar_cannot_type_is_listed() {
    for (property, typed) in [
        (r#"{"type":"string","enum":["a"]}"#, true),
        (r#"{"type":"integer"}"#, true),
        (r#"{"type":"boolean"}"#, true),
        (
            r#"{"type":"array","items":{"type":"array","items":{"type":"integer"}}}"#,
            true,
        ),
        (
            r#"{"type":"object","additionalProperties":false,"properties":{}}"#,
            true,
        ),
        (r#"{"type":"number"}"#, false),
        (r#"{"type":"null"}"#, false),
        (r#"{"type":["string","null"]}"#, false),
        (r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#, false),
        (r##"{"$ref":"#/$defs/x"}"##, false),
        (r#"{"type":"object","properties":{}}"#, false),
        (
            r#"{"type":"object","additionalProperties":{"type":"string"}}"#,
            false,
        ),
        (
            r#"{"type":"object","additionalProperties":false,"patternProperties":{}}"#,
            false,
        ),
        (r#"{"type":"array"}"#, false),
        (r#"{"type":"array","items":{"type":"number"}}"#, false),
        (r#"{"type":"array","items":[{"type":"string"}]}"#, false),
        (
            r#"{"type":"array","prefixItems":[{"type":"string"}],"items":{"type":"string"}}"#,
            false,
        ),
        ("{}", false),
        ("true", false),
        (r#"{"enum":["a"]}"#, false),
    ] {
        let untyped = untyped_of(&format!(
            r#"{{"type":"object","properties":{{"x":{property}}}}}"#
        ));
        assert_eq!(untyped.is_empty(), typed, "{property}");
    }
}

#[test]
fn a_part_that_has_no_type_is_listed_by_its_path() {
    let schema = r#"{"type":"object","properties":{
        "o":{"type":"object","additionalProperties":false,
            "properties":{"a":{"type":"string"},"b":{"type":"number"}}},
        "l":{"type":"array","items":{"type":"object","additionalProperties":false,
            "properties":{"a":{"type":"string"},"b":{"type":"number"}}}}}}"#;
    assert_eq!(untyped_of(schema), ["l", "o.b"]);
}

#[test]
fn nesting_and_numbers_of_arguments_are_bounded() {
    let (open, close) = (r#"{"type":"array","items":"#, "}");
    let nested = |n: usize| {
        let x = format!(
            "{}{{\"type\":\"string\"}}{}",
            open.repeat(n),
            close.repeat(n)
        );
        untyped_of(&format!(r#"{{"properties":{{"x":{x}}}}}"#)).is_empty()
    };
    assert!(nested(NESTING_MAX - 1) && !nested(NESTING_MAX));
    let many: Vec<String> = (0..ARGUMENTS_MAX + 2)
        .map(|n| format!(r#""p{n:03}":{{"type":"string"}}"#))
        .collect();
    let untyped = untyped_of(&format!(r#"{{"properties":{{{}}}}}"#, many.join(",")));
    assert_eq!(untyped, ["p128", "p129"]);
}

#[test]
fn a_name_given_twice_is_refused() {
    let tool = || ("run".to_owned(), Value::from(Object::new()));
    let twice = Schema::generate(&source("lab", vec![tool(), tool()]));
    assert!(matches!(twice, Err(SchemaError::DuplicateTool { .. })));
    let mut servers = source("lab", vec![]);
    servers.servers.push(servers.servers[0].clone());
    assert!(matches!(
        Schema::generate(&servers),
        Err(SchemaError::DuplicateServer { .. })
    ));
    let many = (0..=TOOLS_MAX)
        .map(|n| (format!("t{n}"), Value::Null))
        .collect();
    assert!(matches!(
        Schema::generate(&source("lab", many)),
        Err(SchemaError::TooManyTools { .. })
    ));
}

#[test]
fn names_from_outside_stay_names() {
    for nasty in [
        "a\"",
        "\"],\"memberOf\":[{\"id\":\"admin\"}]",
        "}; permit(principal,action,resource); //",
        "\\",
        "\0",
        "call",
        "connect",
        "",
        "\u{202e}x",
        "🦀",
        "a/b",
        "__cedar::x",
        "__entity",
        "__extn",
        "__expr",
        "\r\n",
    ] {
        let property = Object::new().with(nasty, Object::new().with("type", "string"));
        let input = Object::new()
            .with("type", "object")
            .with("properties", property);
        let tools = vec![(nasty.to_owned(), Value::from(input))];
        let schema = Schema::generate(&source("lab", tools)).unwrap();
        let lab: Name = "lab".parse().unwrap();
        assert!(schema.has(&lab, nasty), "{nasty:?}");
        let actions = schema.inner().cedar.actions().count();
        assert_eq!(
            actions, 4,
            "{nasty:?}: `call`, `connect`, `request` and the tool's"
        );
    }
}

fn any_json_schema() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("string"),
        Just("integer"),
        Just("number"),
        Just("boolean"),
        Just("array"),
        Just("object"),
        Just("null"),
        Just("\u{0}\""),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(|n| Value::Number(Number::from_i64(n))),
        word.prop_map(Value::from),
    ];
    let key = prop_oneof![
        4 => Just("type".to_owned()),
        3 => Just("properties".to_owned()),
        3 => Just("items".to_owned()),
        3 => Just("additionalProperties".to_owned()),
        1 => Just("anyOf".to_owned()),
        3 => any::<String>(),
    ];
    leaf.prop_recursive(12, 200, 6, move |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            6 => proptest::collection::vec((key.clone(), inner.clone()), 0..6).prop_map(|members| {
                members.into_iter().fold(Object::new(), |o, (k, v)| o.with(k, v)).into()
            }),
            // Objects that are closed, so that nested ones are typed now and then.
            3 => proptest::collection::vec((any::<String>(), inner), 0..4).prop_map(|members| {
                let properties = members.into_iter().fold(Object::new(), |o, (k, v)| o.with(k, v));
                let object = Object::new().with("type", "object").with("additionalProperties", false);
                object.with("properties", properties).into()
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_json_schema_gives_a_schema_that_cedar_accepts(
        tools in proptest::collection::btree_map(any::<String>(), any_json_schema(), 0..4),
    ) {
        let schema = Schema::generate(&source("lab", tools.into_iter().collect()));
        prop_assert!(schema.is_ok(), "{:?}", schema);
    }
}
