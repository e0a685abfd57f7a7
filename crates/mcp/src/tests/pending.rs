use aims_json::Value;

use super::response;
use crate::pending::{Full, Pending, Unexpected};
use crate::{Message, ProgressToken, RequestId, limits};

fn answer(id: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}")
}

fn not_waiting(id: RequestId) -> Unexpected {
    Unexpected::PeerNotWaiting { id }
}

#[test]
fn a_request_is_answered_once_and_by_its_own_id() {
    let mut pending = Pending::new(8);
    assert_eq!((pending.start("a"), pending.start("b")), (Ok(1), Ok(2)));
    for (id, expect) in [
        ("3", Err(not_waiting(3.into()))),
        ("0", Err(not_waiting(0.into()))),
        ("\"1\"", Err(not_waiting(RequestId::String("1".into())))),
        ("2", Ok("b")),
        ("2", Err(not_waiting(2.into()))),
        ("1", Ok("a")),
        ("1", Err(not_waiting(1.into()))),
    ] {
        assert_eq!(pending.settle(&response(&answer(id))), expect, "{id}");
    }
    let nameless = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"?"}}"#;
    assert_eq!(
        pending.settle(&response(nameless)),
        Err(Unexpected::PeerNoId)
    );
    assert!(pending.is_empty());
    assert_eq!(pending.start("c"), Ok(3), "ids never come again");
}

#[test]
fn nothing_follows_a_cancellation() {
    let mut pending = Pending::new(8);
    let number = pending.start("a").unwrap();
    let token = ProgressToken::from(number);
    assert_eq!(pending.in_progress(&token), Some(&"a"));
    let same_digits = ProgressToken::from_value(&Value::from("1")).unwrap();
    assert_eq!(pending.in_progress(&same_digits), None);
    assert_eq!(pending.cancel(number), Some("a"));
    assert_eq!(pending.cancel(number), None);
    assert_eq!(pending.in_progress(&token), None);
    assert_eq!(
        pending.settle(&response(&answer("1"))),
        Err(not_waiting(1.into()))
    );
}

#[test]
fn as_many_wait_as_may() {
    let mut pending = Pending::new(2);
    assert!(pending.start(()).is_ok() && pending.start(()).is_ok());
    assert_eq!(pending.start(()), Err(Full { len_max: 2 }));
    assert_eq!(
        pending
            .iter()
            .map(|(number, ())| number)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(pending.drain().count(), 2);
    assert_eq!((pending.start(()), pending.len()), (Ok(3), 1));
}

#[test]
fn malformed_frames_of_a_server_settle_nothing() {
    for frame in [
        &b"Starting server...\n"[..],
        b"",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":NaN}}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"\xff\"}}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"\\ud800\"}}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"result\":{}}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{},\"error\":{\"code\":1,\"message\":\"\"}}",
        b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}]",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}",
        b"{\"id\":1,\"result\":{}}",
    ] {
        assert!(
            Message::parse(frame, &limits::TOOL_MESSAGE).is_err(),
            "{frame:?}"
        );
    }
}
