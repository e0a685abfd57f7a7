//! The command line of a launch, held against the registration before anything is read.

use std::path::{Path, PathBuf};

use aims_links::Refusal;
use aims_model::evidence::{ARGUMENT_LEN_MAX, ARGUMENTS_MAX, Measured};
use aims_model::{EvidenceGap, Expected};

use super::refusal;

/// What the person wants started, with absolute paths.
pub(super) struct Command {
    /// The interpreter, if the registration has one.
    pub(super) interpreter: Option<PathBuf>,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
}

impl Command {
    /// The command line, if it is the registered one.
    pub(super) fn read(expected: &Expected, argv: &[String], cwd: &Path) -> Result<Self, Refusal> {
        if argv.len() > ARGUMENTS_MAX || argv.iter().any(|arg| arg.len() > ARGUMENT_LEN_MAX) {
            return Err(refusal("invalid_command", "the command line is too long"));
        }
        let mut words = argv.iter();
        let mut path = || words.next().map(|word| absolute(cwd, word));
        let interpreter = match &expected.interpreter {
            Some(_) => Some(path().ok_or_else(no_program)?),
            None => None,
        };
        let program = path().ok_or_else(no_program)?;
        let arguments = words.cloned().collect();
        let command = Self {
            interpreter,
            program,
            arguments,
        };
        command.check_paths(expected)?;
        Ok(command)
    }

    /// Refuses another program than the registered one before anything of it is read: the node
    /// may read more than the person who asks.
    fn check_paths(&self, expected: &Expected) -> Result<(), Refusal> {
        let pairs = [
            (
                "interpreter",
                expected.interpreter.as_ref(),
                self.interpreter.as_ref(),
            ),
            ("program", Some(&expected.program), Some(&self.program)),
        ];
        let other = |(part, want, seen): (&str, Option<&Measured>, Option<&PathBuf>)| {
            let (want, seen) = (want?, seen?);
            (Path::new(&want.path) != seen.as_path()).then(|| EvidenceGap {
                part: part.to_owned(),
                expected: format!("`{}` {}", want.path, want.digest),
                seen: format!(
                    "`{}`, which is not registered and was not read",
                    seen.display()
                ),
            })
        };
        let gaps: Vec<EvidenceGap> = pairs.into_iter().filter_map(other).collect();
        if gaps.is_empty() {
            return Ok(());
        }
        Err(Refusal {
            code: "evidence_mismatch".into(),
            reason: "what is to run is not what is registered".to_owned(),
            gaps,
        })
    }

    pub(super) fn argv(&self) -> Vec<String> {
        let paths = self.interpreter.iter().chain([&self.program]);
        let paths = paths.map(|path| path.display().to_string());
        paths.chain(self.arguments.iter().cloned()).collect()
    }
}

/// `word` as an absolute path without `.` and `..`; links are not followed.
fn absolute(cwd: &Path, word: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for component in cwd.join(word).components() {
        match component {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                path.pop();
            }
            other => path.push(other),
        }
    }
    path
}

fn no_program() -> Refusal {
    refusal(
        "invalid_command",
        "the command names no program; give the registered interpreter and program after `--`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_start_where_the_command_was_typed() {
        for (word, expected) in [
            ("agent.py", "/srv/a/agent.py"),
            ("./agent.py", "/srv/a/agent.py"),
            ("../b/agent.py", "/srv/b/agent.py"),
            ("/usr/bin/python3", "/usr/bin/python3"),
            ("../../../../x", "/x"),
        ] {
            assert_eq!(absolute(Path::new("/srv/a"), word), Path::new(expected));
        }
    }
}
