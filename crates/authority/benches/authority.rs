//! What an authority says to a call, and whether one lies within another, beside reading the call.
#![expect(
    clippy::unwrap_used,
    reason = "a bench that can't be set up has to stop"
)]

use aims_authority::{Authority, Call, allows, narrower};
use aims_json::{Limits, Value, parse};
use aims_types::{Name, Timestamp};
use divan::{Bencher, black_box};

/// How many details an authority has; calls are of the last one.
const DETAILS: &[usize] = &[1, 8, 32];
const ARGUMENTS: &[u8] =
    br#"{"path":"/srv/repo/notes/1.md","amount":12.50,"labels":["a","b"],"mode":"append"}"#;
const NOW: Timestamp = Timestamp::from_unix_secs(1_795_000_000);

fn main() {
    divan::main();
}

/// Tools of one server each, of four constrained arguments.
fn authority(details: usize, directory: &str, most: u32, depth: usize) -> Authority {
    let detail = |n: usize| {
        format!(
            r#"{{"type":"mcp_tool","server":"files-{n}","actions":["read","write"],"arguments":{{
                "path":{{"path_prefix":"{directory}"}},
                "amount":{{"range":{{"min":"0","max":"{most}"}}}},
                "labels":{{"subset_of":["a","b","c"],"optional":true}},
                "mode":{{"one_of":["append","replace"]}}}}}}"#
        )
    };
    let details: Vec<String> = (0..details).map(detail).collect();
    let details = details.join(",");
    let text = format!(
        r#"{{"authorization_details":[{details}],"limits":{{"uses":50,"depth":{depth}}}}}"#
    );
    Authority::from_value(&value(text.as_bytes())).unwrap()
}

fn value(bytes: &[u8]) -> Value {
    parse(bytes, &Limits::MESSAGE).unwrap()
}

#[divan::bench(args = DETAILS)]
fn allows_a_call(bencher: Bencher<'_, '_>, details: usize) {
    let authority = authority(details, "/srv/repo", 100, 1);
    let server: Name = format!("files-{}", details - 1).parse().unwrap();
    let arguments = value(ARGUMENTS);
    let call = Call::Tool {
        server: &server,
        tool: "write",
        arguments: arguments.as_object().unwrap(),
    };
    assert!(allows(&authority, &call, NOW).is_ok());
    bencher.bench_local(|| allows(black_box(&authority), black_box(&call), NOW).is_ok());
}

#[divan::bench(args = DETAILS)]
fn is_narrower(bencher: Bencher<'_, '_>, details: usize) {
    let parent = authority(details, "/srv/repo", 100, 2);
    let child = authority(details, "/srv/repo/notes", 50, 1);
    assert_eq!(narrower(&child, &parent), Ok(()));
    bencher.bench_local(|| narrower(black_box(&child), black_box(&parent)));
}

/// The most that can be wrong: the last detail, with a counterexample.
#[divan::bench(args = DETAILS)]
fn is_wider(bencher: Bencher<'_, '_>, details: usize) {
    let parent = authority(details, "/srv/repo/notes", 100, 2);
    let child = authority(details, "/srv/repo", 50, 1);
    assert!(narrower(&child, &parent).unwrap_err().example().is_some());
    bencher.bench_local(|| narrower(black_box(&child), black_box(&parent)));
}

/// The floor of a call: its arguments have to be read.
#[divan::bench]
fn floor_reads_the_arguments(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| parse(black_box(ARGUMENTS), &Limits::MESSAGE));
}
