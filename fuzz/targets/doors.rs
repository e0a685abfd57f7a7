//! What agents send to the doors of node and gateway. Both read a request alike, so that a proof
//! names for one what it names for the other; bytes go on as they came or not at all. The first
//! byte chooses the parser.
#![no_main]
#![allow(dead_code)]

#[path = "../../crates/node/src/delegation.rs"]
mod delegation;
#[path = "../../crates/gateway/src/egress/hello.rs"]
mod hello;
#[path = "../../crates/gateway/src/upstream/request.rs"]
mod request;
#[path = "../../crates/gateway/src/upstream/scrub.rs"]
mod scrub;
#[path = "../../crates/node/src/target.rs"]
mod target;

use std::time::Duration;

use aims_links::ConnectTarget;
use aims_model::evidence::{ARGUMENT_LEN_MAX, ARGUMENTS_MAX};
use aims_node::run::{RunEvent, RunRequest};
use aims_oauth::HttpUri;
use bytes::Bytes;
use delegation::Ask;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Uri};
use libfuzzer_sys::fuzz_target;
use request::{Asked, Target};
use scrub::Scrubber;

const RESOURCE: &str = "https://gateway.example";

const PARSERS: [fn(&[u8]); 7] = [
    paths,
    connects,
    bodies,
    delegations,
    launches,
    hellos,
    scrubs,
];

fuzz_target!(|input: &[u8]| {
    if let Some((which, bytes)) = input.split_first() {
        PARSERS[usize::from(*which) % PARSERS.len()](bytes);
    }
});

/// The node's door passes on what the gateway reads as the same.
fn paths(bytes: &[u8]) {
    let Ok(uri) = Uri::try_from(bytes) else {
        return;
    };
    let (Some(path), Some(query)) = (target::own_path(&uri), target::own_query(&uri)) else {
        return;
    };
    let proven = format!("{RESOURCE}{path}");
    assert_eq!(HttpUri::parse(&proven).unwrap().as_str(), proven);
    let onward: Uri = format!("{proven}{query}").parse().unwrap();
    if !request::is_meant(&onward) {
        assert!(query.is_empty());
        return;
    }
    if let Some(target) = Target::of(&onward, RESOURCE) {
        assert_eq!(target.resource(RESOURCE), proven);
        assert_eq!(Target::of(&uri, RESOURCE).as_ref(), Some(&target));
        let sent = target.path_and_query();
        assert!(format!("{path}{query}").ends_with(&sent) || sent.starts_with('/'));
        assert_eq!(sent.parse::<Uri>().unwrap().to_string(), sent);
    }
}

/// A target has one spelling, and that is read as itself.
fn connects(bytes: &[u8]) {
    let Ok(request) = Request::connect(bytes).body(()) else {
        return;
    };
    if let Some(target) = ConnectTarget::of(&request) {
        let again = Request::connect(target.to_string()).body(()).unwrap();
        assert_eq!(ConnectTarget::of(&again).as_ref(), Some(&target));
        if let Ok(uri) = HttpUri::parse(&target.resource(RESOURCE)) {
            assert!(uri.as_str().starts_with(RESOURCE));
        }
    }
}

/// The first line is a content type, the rest a body.
fn bodies(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n');
    let (kind, body) = bytes.split_at(at.unwrap_or(0));
    let Ok(kind) = HeaderValue::from_bytes(kind) else {
        return;
    };
    let target = Target::of(&Uri::from_static("/http/model/v1"), RESOURCE).unwrap();
    let request = Request::post("/").header(CONTENT_TYPE, kind);
    let request = request.body(Bytes::copy_from_slice(body)).unwrap();
    if let Ok(asked) = Asked::read(target, request, 4096) {
        assert_eq!(asked.body, body);
        assert!(body.len() <= 4096);
        if let Some(members) = asked.members.filter(|_| !body.is_empty()) {
            let other: serde_json::Value = serde_json::from_slice(body).unwrap();
            assert_eq!(other.as_object().unwrap().len(), members.len());
        }
    }
}

fn delegations(bytes: &[u8]) {
    if let Ok(ask) = Ask::parse(bytes) {
        assert!((1..=ARGUMENTS_MAX).contains(&ask.command.len()));
        assert!(ask.command[0].starts_with('/'));
        let is_word = |word: &String| word.len() <= ARGUMENT_LEN_MAX && !word.contains('\0');
        assert!(ask.command.iter().all(is_word));
        assert!(ask.stdin.len() <= delegation::STDIN_LEN_MAX);
        assert!((1..=86_400).contains(&ask.life.as_secs()));
        // Another parser, which takes more, finds no other members.
        let other: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        assert!((5..=6).contains(&other.as_object().unwrap().len()));
        assert_eq!(other["agent"], ask.agent.as_str());
    }
}

fn launches(bytes: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<RunRequest>(bytes) {
        let text = serde_json::to_vec(&request).unwrap();
        let again: RunRequest = serde_json::from_slice(&text).unwrap();
        assert!(again.argv == request.argv && again.cwd == request.cwd);
    }
    if let Ok(event) = serde_json::from_slice::<RunEvent>(bytes) {
        let text = serde_json::to_vec(&event).unwrap();
        assert_eq!(serde_json::from_slice::<RunEvent>(&text).unwrap(), event);
    }
}

/// However a first message is cut, it is one for the host or it is not, and goes on as it came.
fn hellos(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let read = |mut stream: &mut (dyn tokio::io::AsyncRead + Unpin)| {
        runtime.block_on(hello::read(
            &mut stream,
            "a.example",
            Duration::from_secs(60),
        ))
    };
    let at_once = read(&mut &*bytes);
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    let in_two = read(&mut tokio::io::AsyncReadExt::chain(first, rest));
    assert_eq!(at_once.is_ok(), in_two.is_ok());
    for passed in [at_once, in_two].into_iter().flatten() {
        assert!(bytes.starts_with(&passed));
        assert!(
            passed
                .windows(9)
                .any(|part| part.eq_ignore_ascii_case(b"a.example"))
        );
    }
}

/// The first line is a credential, the rest an answer: it goes on whole and without the credential,
/// or not at all, however it is cut.
fn scrubs(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (credential, answer) = bytes.split_at(at);
    if !(8..=64).contains(&credential.len()) || answer.len() > 1024 {
        return;
    }
    let through = |pieces: std::slice::Chunks<'_, u8>| {
        let (mut scrubber, mut passed) = (Scrubber::new(credential), Vec::new());
        for piece in pieces {
            passed.extend(scrubber.take(piece).ok()?);
        }
        passed.extend(scrubber.rest());
        Some(passed)
    };
    let whole = through(answer.chunks(answer.len().max(1)));
    assert_eq!(whole, through(answer.chunks(1)));
    assert_eq!(whole, through(answer.chunks(7)));
    assert_eq!(whole.is_none(), Scrubber::new(credential).is_in(answer));
    if let Some(passed) = whole {
        assert_eq!(passed, answer);
        assert!(
            !passed
                .windows(credential.len())
                .any(|part| part == credential)
        );
    }
}
