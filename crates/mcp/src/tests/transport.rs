use proptest::prelude::*;

use super::text;
use crate::ProtocolVersion;
use crate::http::{BodyKind, Head, HeadError, HttpMethod, SessionId, VersionHeader, body_kind};
use crate::sse;
use crate::stdio::{LineSplitter, TooLong, Unterminated, frame, single_line};

fn head(method: HttpMethod, headers: &[(&str, &str)]) -> Result<Head, HeadError> {
    let values = |name: &str| {
        let named = headers.iter().filter(|(n, _)| *n == name);
        named.map(|(_, value)| value.as_bytes()).collect()
    };
    Head::read(method, values, &["http://localhost:8700".to_owned()])
}

const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");
const TYPE: (&str, &str) = ("content-type", "application/json");

#[test]
fn a_good_head_is_read() {
    let headers = [
        ACCEPT,
        TYPE,
        ("origin", "http://localhost:8700"),
        ("mcp-session-id", "s-1"),
        ("mcp-protocol-version", "2025-06-18"),
        ("last-event-id", "9"),
    ];
    let head = head(HttpMethod::Post, &headers).unwrap();
    assert_eq!(head.session.as_ref().map(SessionId::as_str), Some("s-1"));
    assert_eq!(
        head.version,
        VersionHeader::Known(ProtocolVersion::V2025_06_18)
    );
    assert_eq!(head.last_event_id.as_deref(), Some("9"));
    assert!(
        !format!("{head:?}").contains("s-1"),
        "a session id is not printed"
    );
}

#[test]
fn heads_are_refused_with_the_right_status() {
    use HttpMethod::{Delete, Get, Post};
    let long = "x".repeat(513);
    for (method, headers, status) in [
        (Post, vec![ACCEPT, TYPE], None),
        (
            Post,
            vec![
                ("accept", "text/event-stream"),
                ("accept", "application/json"),
                TYPE,
            ],
            None,
        ),
        (Post, vec![("accept", "*/*"), TYPE], None),
        (
            Post,
            vec![("accept", "Application/JSON;q=0.1,text/*"), TYPE],
            None,
        ),
        (
            Post,
            vec![
                ACCEPT,
                ("content-type", "application/json; charset=\"UTF-8\""),
            ],
            None,
        ),
        (
            Post,
            vec![ACCEPT, TYPE, ("content-encoding", "identity")],
            None,
        ),
        (Get, vec![("accept", "text/event-stream")], None),
        (Delete, vec![], None),
        (Post, vec![TYPE], Some(406)),
        (Post, vec![("accept", "application/json"), TYPE], Some(406)),
        (Post, vec![("accept", "text/event-stream"), TYPE], Some(406)),
        (
            Post,
            vec![
                ("accept", "application/json, text/event-stream;q=0.0"),
                TYPE,
            ],
            Some(406),
        ),
        (Get, vec![("accept", "application/json")], Some(406)),
        (Post, vec![ACCEPT], Some(415)),
        (Post, vec![ACCEPT, ("content-type", "")], Some(415)),
        (
            Post,
            vec![ACCEPT, ("content-type", "text/plain")],
            Some(415),
        ),
        (
            Post,
            vec![ACCEPT, ("content-type", "application/vnd.x+json")],
            Some(415),
        ),
        (
            Post,
            vec![ACCEPT, ("content-type", "application/json-rpc")],
            Some(415),
        ),
        (
            Post,
            vec![ACCEPT, ("content-type", "application/json, text/plain")],
            Some(415),
        ),
        (
            Post,
            vec![ACCEPT, ("content-type", "application/json; charset=utf-16")],
            Some(415),
        ),
        (
            Post,
            vec![ACCEPT, ("content-type", "text/event-stream")],
            Some(415),
        ),
        (
            Post,
            vec![ACCEPT, TYPE, ("content-encoding", "gzip")],
            Some(415),
        ),
        (Post, vec![ACCEPT, TYPE, TYPE], Some(400)),
        (
            Post,
            vec![
                ACCEPT,
                TYPE,
                ("mcp-session-id", "a"),
                ("mcp-session-id", "a"),
            ],
            Some(400),
        ),
        (
            Post,
            vec![ACCEPT, TYPE, ("mcp-session-id", "a b")],
            Some(400),
        ),
        (Post, vec![ACCEPT, TYPE, ("mcp-session-id", "")], Some(400)),
        (Post, vec![ACCEPT, TYPE, ("mcp-session-id", "é")], Some(400)),
        (
            Post,
            vec![ACCEPT, TYPE, ("mcp-session-id", &long)],
            Some(400),
        ),
        (
            Post,
            vec![ACCEPT, TYPE, ("origin", "http://evil.example")],
            Some(403),
        ),
        (Post, vec![ACCEPT, TYPE, ("origin", "null")], Some(403)),
        (
            Post,
            vec![
                ACCEPT,
                TYPE,
                ("origin", "http://localhost:8700.evil.example"),
            ],
            Some(403),
        ),
        (Get, vec![ACCEPT, ("origin", "http://localhost")], Some(403)),
        (
            Delete,
            vec![("origin", "https://localhost:8700")],
            Some(403),
        ),
    ] {
        let found = head(method, &headers).err().map(|error| error.status());
        assert_eq!(found, status, "{method:?} {headers:?}");
    }
}

#[test]
fn an_unknown_version_is_left_to_the_answer_that_names_the_known_ones() {
    let version = |text| {
        head(
            HttpMethod::Post,
            &[ACCEPT, TYPE, ("mcp-protocol-version", text)],
        )
    };
    assert_eq!(
        version("2026-07-28").unwrap().version,
        VersionHeader::Unknown("2026-07-28".into())
    );
    assert_eq!(
        head(HttpMethod::Delete, &[]).unwrap().version,
        VersionHeader::Absent
    );
}

#[test]
fn bodies_have_one_of_two_kinds() {
    for (content_type, kind) in [
        ("application/json", Some(BodyKind::Json)),
        (
            "text/event-stream; charset=utf-8",
            Some(BodyKind::EventStream),
        ),
        ("text/html", None),
        ("application/json;", None),
    ] {
        assert_eq!(body_kind(content_type), kind, "{content_type}");
    }
}

#[test]
fn events_are_written_so_that_every_client_reads_them() {
    assert_eq!(
        text(&sse::event(Some("3"), b"{\"a\":1}")),
        "event: message\nid: 3\ndata: {\"a\":1}\n\n"
    );
    assert_eq!(
        text(&sse::event(None, b"{\"a\":\n1}")),
        "event: message\ndata: {\"a\":\ndata: 1}\n\n"
    );
    assert_eq!(
        text(&sse::event(Some("1\ndata: x"), b"{}")),
        "event: message\ndata: {}\n\n"
    );
    assert_eq!(
        text(&sse::priming("0", Some(500))),
        "id: 0\nretry: 500\ndata: \n\n"
    );
    assert!(sse::keep_alive().starts_with(b":"));
}

#[test]
fn lines_are_split_within_their_limit() {
    let mut splitter = LineSplitter::new(4);
    let long = Err(TooLong { len_max: 4 });
    assert_eq!(splitter.push(b"ab"), []);
    assert_eq!(splitter.push(b"cd\n\n \r\nx\r"), [Ok(b"abcd".to_vec())]);
    assert_eq!(splitter.push(b"\n12345"), [Ok(b"x\r".to_vec()), long]);
    assert_eq!(splitter.push(b"678"), [], "told once");
    assert_eq!(splitter.push(b"9\nok\n1"), [Ok(b"ok".to_vec())]);
    assert_eq!(splitter.finish(), Err(Unterminated { len: 1 }));
    assert_eq!(LineSplitter::new(4).finish(), Ok(()));
}

#[test]
fn an_outgoing_message_is_one_line() {
    assert_eq!(frame(b"{}").unwrap(), b"{}\n");
    assert_eq!(frame(b"{\n}").unwrap_err().offset, 1);
    assert_eq!(frame(b"{\r}").unwrap_err().offset, 1);
    assert_eq!(&*single_line(b"{\r\n\"a\":1}"), b"{  \"a\":1}");
}

proptest! {
    #[test]
    fn lines_do_not_depend_on_how_the_bytes_arrive(
        lines in proptest::collection::vec("[a-z{}]{0,12}", 0..8),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let stream: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let whole = LineSplitter::new(8).push(stream.as_bytes());
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        let mut splitter = LineSplitter::new(8);
        let pieces = at.windows(2).flat_map(|pair| {
            splitter.push(&stream.as_bytes()[pair[0]..pair[1]])
        });
        let pieces: Vec<_> = pieces.collect();
        prop_assert_eq!(&pieces, &whole);
        let expect: Vec<_> = lines
            .iter()
            .filter(|line| !line.is_empty())
            .map(|line| match line.len() {
                0..=8 => Ok(line.clone().into_bytes()),
                _ => Err(TooLong { len_max: 8 }),
            })
            .collect();
        prop_assert_eq!(pieces, expect);
    }
}
