//! What must be seen of a program before anything is issued to it, and what was seen.
//!
//! The digests say what was copied into or bound into the walls and can be executed there. Code
//! that an interpreter loads later from data is outside the evidence.

use std::fmt;

use aims_types::Digest;
use serde::{Deserialize, Serialize};

/// Most files or trees in one piece of evidence.
pub const EVIDENCE_ITEMS_MAX: usize = 192;
/// Most arguments of a program.
pub const ARGUMENTS_MAX: usize = 256;
/// Longest argument or path, in bytes.
pub const ARGUMENT_LEN_MAX: usize = 4096;

/// One file or tree and its digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Its absolute path, outside and inside the walls.
    pub path: String,
    /// Digest of the file, or of the tree's manifest.
    pub digest: Digest,
}

/// Which arguments may follow the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arguments {
    /// Whatever the person who starts the run gives; recorded.
    Any,
    /// Exactly these.
    Exactly(Vec<String>),
}

/// The registered program: what must be seen (R16, R23).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The interpreter that runs the entry program; absent for a native program.
    pub interpreter: Option<Measured>,
    /// The entry program: a script, or the executable itself.
    pub program: Measured,
    /// Further single files that are copied into the walls.
    pub files: Vec<Measured>,
    /// Trees that are bound read-only: standard library, site-packages, shared libraries.
    pub trees: Vec<Measured>,
    /// Arguments after the program.
    pub arguments: Arguments,
}

/// What the node saw when it built the walls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The interpreter as it was staged.
    pub interpreter: Option<Measured>,
    /// The entry program as it was copied in.
    pub program: Measured,
    /// The files as they were copied in.
    pub files: Vec<Measured>,
    /// The trees as they were staged.
    pub trees: Vec<Measured>,
    /// The arguments after the program.
    pub arguments: Vec<String>,
    /// Digest of the environment the program gets.
    pub environment: Digest,
    /// Digest of the launch plan: binds, limits, door, everything the walls are made of.
    pub plan: Digest,
}

/// One thing that was not as registered: what was expected and what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceGap {
    /// Which part: `interpreter`, `program`, `file`, `tree`, `arguments`.
    pub part: String,
    /// What the registration says.
    pub expected: String,
    /// What was there.
    pub seen: String,
}

impl fmt::Display for EvidenceGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: expected {}, saw {}",
            self.part, self.expected, self.seen
        )
    }
}

impl Expected {
    /// Everything in `seen` that is not as registered; empty when the evidence holds.
    ///
    /// Exact both ways: something missing and something extra are both gaps.
    pub fn gaps(&self, seen: &Evidence) -> Vec<EvidenceGap> {
        let mut gaps = Vec::new();
        compare_one(
            "interpreter",
            self.interpreter.as_ref(),
            seen.interpreter.as_ref(),
            &mut gaps,
        );
        compare_one(
            "program",
            Some(&self.program),
            Some(&seen.program),
            &mut gaps,
        );
        compare_all("file", &self.files, &seen.files, &mut gaps);
        compare_all("tree", &self.trees, &seen.trees, &mut gaps);
        if let Arguments::Exactly(expected) = &self.arguments
            && *expected != seen.arguments
        {
            gaps.push(gap(
                "arguments",
                &format!("{expected:?}"),
                &format!("{:?}", seen.arguments),
            ));
        }
        gaps
    }
}

/// In any order; an item that is there twice is one too many.
fn compare_all(part: &str, expected: &[Measured], seen: &[Measured], gaps: &mut Vec<EvidenceGap>) {
    let mut rest: Vec<&Measured> = seen.iter().collect();
    for want in expected {
        let place = rest.iter().position(|item| item.path == want.path);
        let found = place.map(|place| rest.remove(place));
        compare_one(part, Some(want), found, gaps);
    }
    for extra in rest {
        compare_one(part, None, Some(extra), gaps);
    }
}

fn compare_one(
    part: &str,
    expected: Option<&Measured>,
    seen: Option<&Measured>,
    gaps: &mut Vec<EvidenceGap>,
) {
    if expected != seen {
        gaps.push(gap(part, &describe(expected), &describe(seen)));
    }
}

fn describe(item: Option<&Measured>) -> String {
    item.map_or_else(
        || "nothing".to_owned(),
        |m| format!("`{}` {}", m.path, m.digest),
    )
}

fn gap(part: &str, expected: &str, seen: &str) -> EvidenceGap {
    let bounded = |text: &str| text.chars().take(1024).collect();
    EvidenceGap {
        part: part.to_owned(),
        expected: bounded(expected),
        seen: bounded(seen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which part differs after which change.
    type Change = (&'static str, fn(&mut Evidence));

    fn measured(path: &str, byte: u8) -> Measured {
        Measured {
            path: path.to_owned(),
            digest: Digest::from_bytes([byte; 32]),
        }
    }

    fn pair() -> (Expected, Evidence) {
        let expected = Expected {
            interpreter: Some(measured("/usr/bin/python3", 1)),
            program: measured("/srv/agent.py", 2),
            files: vec![measured("/srv/prompt.txt", 3)],
            trees: vec![measured("/usr/lib/python3", 4), measured("/srv/venv", 5)],
            arguments: Arguments::Exactly(vec!["--fast".to_owned()]),
        };
        let seen = Evidence {
            interpreter: expected.interpreter.clone(),
            program: expected.program.clone(),
            files: expected.files.clone(),
            trees: expected.trees.iter().rev().cloned().collect(),
            arguments: vec!["--fast".to_owned()],
            environment: Digest::from_bytes([6; 32]),
            plan: Digest::from_bytes([7; 32]),
        };
        (expected, seen)
    }

    #[test]
    fn what_is_as_registered_has_no_gap() {
        let (expected, seen) = pair();
        assert_eq!(expected.gaps(&seen), []);
    }

    #[test]
    fn each_difference_is_named_with_both_sides() {
        let (expected, good) = pair();
        let changes: [Change; 9] = [
            ("interpreter", |e| e.interpreter = None),
            ("program", |e| e.program = measured("/srv/agent.py", 9)),
            ("program", |e| e.program = measured("/srv/other.py", 2)),
            ("file", |e| e.files.clear()),
            ("tree", |e| {
                e.trees = vec![measured("/usr/lib/python3", 4), measured("/srv/venv", 8)];
            }),
            ("tree", |e| e.trees.push(measured("/srv/extra", 1))),
            ("tree", |e| e.trees.push(measured("/srv/venv", 8))),
            ("file", |e| e.files.push(measured("/srv/prompt.txt", 3))),
            ("arguments", |e| e.arguments.push("--more".to_owned())),
        ];
        for (part, change) in changes {
            let mut seen = good.clone();
            change(&mut seen);
            let gaps = expected.gaps(&seen);
            assert_eq!(gaps.len(), 1, "{part}: {gaps:?}");
            assert!(
                gaps.iter()
                    .all(|gap| gap.part == part && gap.expected != gap.seen)
            );
        }
    }
}
