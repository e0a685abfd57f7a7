use super::{response, text};
use crate::tools::{Tool, ToolList, ToolListError, list_result};

fn page(tools: &str, rest: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"tools\":[{tools}]{rest}}}}}")
}

const SCHEMA: &str = r#""inputSchema":{"type":"object"}"#;

fn list(tools: &str) -> ToolList {
    let mut list = ToolList::new();
    list.add_page(&response(&page(tools, ""))).unwrap();
    list
}

#[test]
fn tools_keep_their_text_and_come_in_one_order() {
    let b = format!(r#"{{ "name" : "b",{SCHEMA} , "x":1.0 }}"#);
    let a = format!(r#"{{{SCHEMA},"description":"does \u0061","name":"a"}}"#);
    let mut list = ToolList::new();
    let first = page(&b, r#","nextCursor":"2""#);
    assert_eq!(list.add_page(&response(&first)), Ok(Some("2".into())));
    assert_eq!(
        list.add_page(&response(&page(&a, r#","nextCursor":null"#))),
        Ok(None)
    );
    assert_eq!(
        list.tools().iter().map(Tool::name).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(
        list.get("a").and_then(|tool| tool.description()),
        Some("does a")
    );
    assert!(list.get("c").is_none());
    let result = list_result(list.tools());
    assert_eq!(text(result.as_bytes()), format!("{{\"tools\":[{a},{b}]}}"));
    let visible = list_result(list.tools().iter().filter(|tool| tool.name() == "b"));
    assert_eq!(text(visible.as_bytes()), format!("{{\"tools\":[{b}]}}"));
    assert_eq!(text(list_result([]).as_bytes()), "{\"tools\":[]}");
}

#[test]
fn a_pin_sees_every_change_that_matters_and_no_other() {
    let pin = |tool: &str| list(tool).tools()[0].pin_bytes().to_vec();
    let base = r#"{"name":"a","description":"d","inputSchema":{"type":"object","minimum":0.5}}"#;
    let reordered = r#"{"inputSchema":{ "minimum":0.5,"type":"object"},"_meta":{"t":1},
            "name":"a","description":"\u0064"}"#;
    assert_eq!(pin(base), pin(reordered));
    for changed in [
        base.replace("\"a\"", "\"b\""),
        base.replace("\"d\"", "\"D\""),
        base.replace("0.5", "0.50"),
        base.replace("0.5", "0.5,\"x\":null"),
        base.replace("\"name\"", "\"title\":\"t\",\"name\""),
        base.replace(
            "\"name\"",
            "\"annotations\":{\"readOnlyHint\":true},\"name\"",
        ),
        base.replace(
            "\"name\"",
            "\"outputSchema\":{\"type\":\"object\"},\"name\"",
        ),
    ] {
        assert_ne!(pin(base), pin(&changed), "{changed}");
    }
    assert_eq!(
        text(&pin(base)),
        r#"{"description":"d","inputSchema":{"minimum":0.5,"type":"object"},"name":"a"}"#
    );
}

#[test]
fn a_malformed_tool_is_left_out_and_told() {
    for tool in [
        "1",
        "{}",
        &format!("{{{SCHEMA}}}"),
        &format!(r#"{{"name":"a b",{SCHEMA}}}"#),
        &format!(r#"{{"name":"",{SCHEMA}}}"#),
        &format!(r#"{{"name":"x","description":1,{SCHEMA}}}"#),
        r#"{"name":"x"}"#,
        r#"{"name":"x","inputSchema":null}"#,
        r#"{"name":"x","inputSchema":{}}"#,
        r#"{"name":"x","inputSchema":{"type":"array"}}"#,
    ] {
        let good = format!(r#"{{"name":"good",{SCHEMA}}}"#);
        let text = page(&format!("{good},{tool}"), "");
        let mut list = ToolList::new();
        list.add_page(&response(&text)).unwrap();
        assert_eq!(list.tools().len(), 1, "{tool}");
        assert_eq!(list.refused().len(), 1, "{tool}");
    }
}

#[test]
fn lists_that_are_none_or_too_long_are_refused() {
    let add = |text: &str| ToolList::new().add_page(&response(text));
    let result = |result: &str| format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{result}}}");
    assert!(matches!(
        add(&result("{}")),
        Err(ToolListError::PeerMember { name: "tools" })
    ));
    assert!(matches!(
        add(&result(r#"{"tools":{}}"#)),
        Err(ToolListError::PeerMember { name: "tools" })
    ));
    assert!(matches!(
        add(&page("", r#","nextCursor":1"#)),
        Err(ToolListError::PeerMember { name: "nextCursor" })
    ));
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"none"}}"#;
    assert!(matches!(
        add(error),
        Err(ToolListError::PeerRefused { code: -32601, .. })
    ));
    let many = vec!["1"; 1001].join(",");
    assert!(matches!(
        add(&page(&many, "")),
        Err(ToolListError::PeerTooMany { max: 1000, .. })
    ));

    let mut pages = ToolList::new();
    let empty = page("", r#","nextCursor":"again""#);
    let endless = (0..65).map(|_| pages.add_page(&response(&empty)));
    assert!(matches!(
        endless.last(),
        Some(Err(ToolListError::PeerTooMany { max: 64, .. }))
    ));

    let tool = format!(r#"{{"name":"a",{SCHEMA}}}"#);
    let mut once = list(&tool);
    let twice = once.add_page(&response(&page(&tool, "")));
    assert_eq!(
        twice,
        Err(ToolListError::PeerDuplicate { name: "a".into() })
    );
}
