//! Several proofs in one go: a line for each.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aims_proof::{Rerun, Trust};
use anyhow::Result;
use serde::Serialize;

use super::{does_not_hold, read};
use crate::failure::{EXIT_NOT_RERUNNABLE, EXIT_REFUSED, EXIT_USAGE};
use crate::output::{Output, plain};

/// What came of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// Everything holds, and the decision made again is the same.
    Holds,
    /// Everything holds, but what the decision used is not in the file.
    NotRerunnable,
    /// Something does not hold.
    DoesNotHold,
    /// The file can't be read.
    Unreadable,
}

/// One file with its verdict.
#[derive(Debug, Serialize)]
struct Line<'a> {
    file: &'a Path,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// Verifies each file; the exit code is that of the worst verdict.
pub(super) fn verify(files: &[PathBuf], trust: &Trust<'_>, output: Output) -> Result<ExitCode> {
    let lines: Vec<Line<'_>> = files.iter().map(|file| line(file, trust)).collect();
    output.show(&lines, |lines| {
        let said: Vec<String> = lines.iter().map(Line::text).collect();
        said.join("\n")
    })?;
    let worst = lines.iter().map(|line| line.verdict).max();
    Ok(worst.map_or(ExitCode::SUCCESS, Verdict::exit))
}

fn line<'a>(file: &'a Path, trust: &Trust<'_>) -> Line<'a> {
    let (verdict, why) = match read(file) {
        Err(error) => (Verdict::Unreadable, Some(format!("{error:#}"))),
        Ok(bytes) => match aims_proof::verify(&bytes, trust) {
            Ok(verified) if verified.rerun == Rerun::Same => (Verdict::Holds, None),
            Ok(_) => (Verdict::NotRerunnable, None),
            Err(error) => (Verdict::DoesNotHold, Some(does_not_hold(&error))),
        },
    };
    Line { file, verdict, why }
}

impl Line<'_> {
    /// One line, whatever is in the name of the file or in the file.
    fn text(&self) -> String {
        let said = match (self.verdict, &self.why) {
            (Verdict::Holds, _) => "the proof holds",
            (Verdict::NotRerunnable, _) => "included, not re-runnable",
            (_, why) => why.as_deref().unwrap_or_default(),
        };
        plain(&format!("{}: {said}", self.file.display())).replace('\n', "\\n")
    }
}

impl Verdict {
    fn exit(self) -> ExitCode {
        match self {
            Self::Holds => ExitCode::SUCCESS,
            Self::NotRerunnable => ExitCode::from(EXIT_NOT_RERUNNABLE),
            Self::DoesNotHold => ExitCode::from(EXIT_REFUSED),
            Self::Unreadable => ExitCode::from(EXIT_USAGE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_makes_one_line_and_no_other_whatever_it_is_called() {
        let line = Line {
            file: Path::new("a\nb: the proof holds\u{1b}[2J"),
            verdict: Verdict::DoesNotHold,
            why: Some("`x\ny`".to_owned()),
        };
        let said = line.text();
        assert_eq!(said, "a\\nb: the proof holds\\u001b[2J: `x\\ny`");
        assert!(
            Verdict::Holds < Verdict::NotRerunnable && Verdict::DoesNotHold < Verdict::Unreadable
        );
    }
}
