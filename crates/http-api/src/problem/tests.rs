use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// Operations of nodes, gateways and the token endpoint: people are never told their codes.
const NOT_FOR_PEOPLE: [&str; 18] = [
    "admit/join.rs",
    "admit/link.rs",
    "admit/renew.rs",
    "approvals/ask.rs",
    "delegations/error.rs",
    "instances/attest.rs",
    "instances/end.rs",
    "instances/renew.rs",
    "joins/gateway.rs",
    "joins/node.rs",
    "leases.rs",
    "runs/redeem.rs",
    "services/attest.rs",
    "services/issue.rs",
    "svids.rs",
    "tokens/refusal.rs",
    "trees.rs",
    "upstreams/lease.rs",
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The texts that stand in `fn code` of the use cases whose errors people are told.
fn codes() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../control/src");
    let (mut files, mut codes) = (Vec::new(), BTreeSet::new());
    sources(&root, &mut files);
    files.retain(|file| !NOT_FOR_PEOPLE.iter().any(|other| file.ends_with(other)));
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        for body in text.split("fn code(&self) -> &'static str {").skip(1) {
            let body = body.split("\n    }\n").next().unwrap();
            for arm in body.split("=>").skip(1) {
                codes.extend(arm.split('"').nth(1).map(str::to_owned));
            }
        }
    }
    codes
}

#[test]
fn every_code_that_people_can_be_told_has_its_status_and_no_other_does() {
    let table: BTreeSet<String> = STATUSES
        .iter()
        .map(|(code, _)| (*code).to_owned())
        .collect();
    assert_eq!(table.len(), STATUSES.len(), "a code comes twice");
    let mut codes = codes();
    // The first pattern of a `match` within an arm.
    codes.remove("owner");
    assert!(codes.len() > 50, "the use cases were not found");
    assert_eq!(codes, table);
}

#[test]
fn only_the_whole_code_counts() {
    for (code, expected) in [
        ("unknown_task", StatusCode::NOT_FOUND),
        ("task_ended", StatusCode::CONFLICT),
        ("role_not_allowed", StatusCode::FORBIDDEN),
        ("unknown_tool", StatusCode::UNPROCESSABLE_ENTITY),
        ("unknown_", StatusCode::INTERNAL_SERVER_ERROR),
        ("x_unknown_task", StatusCode::INTERNAL_SERVER_ERROR),
        ("", StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        assert_eq!(status(code), expected, "{code}");
    }
}

#[test]
fn a_text_can_not_forge_lines_or_directions() {
    let problem = Problem::invalid("a\u{1b}[2J \u{202e}b\u{2028}c");
    assert_eq!(problem.detail, "a\u{fffd}[2J \u{fffd}b\u{fffd}c");
}
