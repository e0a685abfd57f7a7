use super::{read, request, response, text};
use crate::http::VersionHeader;
use crate::initialize::{InitializeError, ServerHello, initialize_request};
use crate::modern::{unspoken_version, unsupported_version};
use crate::{Method, ProtocolVersion};

const PARAMS: &str = concat!(
    r#"{"protocolVersion":"2025-06-18","capabilities":{"sampling":{}},"clientInfo":{"na"#,
    r#"me":"c","version":"1"}}"#,
);

fn initialize(params: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{params}}}")
}

#[test]
fn versions_are_negotiated() {
    for (asked, answer) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("9999-99-99", "2025-11-25"),
        ("", "2025-11-25"),
    ] {
        assert_eq!(
            ProtocolVersion::negotiate(asked).as_str(),
            answer,
            "{asked}"
        );
    }
}

#[test]
fn a_client_hello_is_read() {
    let hello = initialize(PARAMS);
    let hello = request(&hello);
    let Ok(Method::Initialize(params)) = hello.method() else {
        panic!("no initialize")
    };
    assert_eq!(params.protocol_version, "2025-06-18");
    assert_eq!((params.claimed_name, params.claimed_version), ("c", "1"));
    assert!(params.capabilities.contains("sampling"));
    for bad in [
        "{}".to_owned(),
        PARAMS.replace("\"2025-06-18\"", "1"),
        PARAMS.replace("{\"sampling\":{}}", "[]"),
        PARAMS.replace("\"name\":\"c\",", ""),
        PARAMS.replace("\"c\"", "null"),
    ] {
        assert!(request(&initialize(&bad)).method().is_err(), "{bad}");
    }
}

#[test]
fn a_server_hello_is_reduced_to_tools() {
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18",
        "capabilities":{"tools":{},"prompts":{},"experimental":{"x":{}},"logging":{}},
        "serverInfo":{"name":"s","version":"2","title":"S"},"instructions":"be kind"}}"#;
    let hello = ServerHello::read(&response(answer)).unwrap();
    assert_eq!(
        (hello.version, hello.has_tools),
        (ProtocolVersion::V2025_06_18, true)
    );
    assert!(!hello.tells_tool_changes);
    assert_eq!(
        text(
            hello
                .result_for_agent(ProtocolVersion::V2025_11_25)
                .as_bytes()
        ),
        "{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{\"listChanged\":true}},\
         \"serverInfo\":{\"name\":\"s\",\"version\":\"2\",\"title\":\"S\"},\
         \"instructions\":\"be kind\"}"
    );
    let bare = answer
        .replace("\"tools\":{},", "")
        .replace(",\"instructions\":\"be kind\"", "");
    let hello = ServerHello::read(&response(&bare)).unwrap();
    let result = hello.result_for_agent(ProtocolVersion::V2025_11_25);
    assert!(text(result.as_bytes()).contains("\"capabilities\":{}"));
    assert!(!text(result.as_bytes()).contains("instructions"));
    for (from, to) in [
        ("2025-06-18", "2024-11-05"),
        ("\"2025-06-18\"", "null"),
        ("\"capabilities\"", "\"x\""),
        ("\"tools\":{}", "\"tools\":true"),
        ("\"serverInfo\"", "\"y\""),
        ("\"be kind\"", "[]"),
    ] {
        assert!(
            ServerHello::read(&response(&answer.replace(from, to))).is_err(),
            "{to}"
        );
    }
    let refused = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"down"}}"#;
    assert!(matches!(
        ServerHello::read(&response(refused)),
        Err(InitializeError::PeerRefused { code: -32603, .. })
    ));
}

#[test]
fn our_hello_offers_nothing() {
    let bytes = initialize_request(&1.into(), "aims", "0.1.0");
    let hello = request(text(&bytes));
    let Ok(Method::Initialize(params)) = hello.method() else {
        panic!("no initialize")
    };
    assert_eq!(params.protocol_version, ProtocolVersion::LATEST.as_str());
    assert!(params.capabilities.is_empty());
}

/// What Python `mcp` 2.3.0 sends first.
const PROBE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelc"#,
    r#"ontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo"#,
    r#"":{"name":"mcp","version":"0.1.0"},"io.modelcontextprotocol/clientCapabilities":"#,
    r#"{}}}}"#,
);

#[test]
fn clients_of_other_revisions_are_told_what_is_spoken() {
    let modern = VersionHeader::Unknown("2026-07-28".into());
    let spoken = VersionHeader::Known(ProtocolVersion::LATEST);
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let stamped = PROBE.replace("server/discover", "tools/call");
    let hello = initialize(PARAMS);
    let bare = list.replace("tools/list", "server/discover");
    for (message, header, expect) in [
        (PROBE, &modern, Some("2026-07-28")),
        (PROBE, &VersionHeader::Absent, Some("2026-07-28")),
        (bare.as_str(), &spoken, Some("2026-07-28")),
        (stamped.as_str(), &spoken, Some("2026-07-28")),
        (list, &modern, Some("2026-07-28")),
        (list, &VersionHeader::Unknown("1.0".into()), Some("1.0")),
        (list, &spoken, None),
        (list, &VersionHeader::Absent, None),
        (hello.as_str(), &modern, None),
    ] {
        assert_eq!(
            unspoken_version(&request(message), header).as_deref(),
            expect,
            "{message}"
        );
    }
    let answer = unsupported_version(&1.into(), "2026-07-28");
    assert_eq!(
        text(&answer),
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32022,\"message\":\"unsupported \
         protocol version: start with `initialize`\",\"data\":{\"supported\":[\"2025-11-25\",\
         \"2025-06-18\",\"2025-03-26\"],\"requested\":\"2026-07-28\"}}}"
    );
    assert!(read(text(&answer)).is_ok());
}
