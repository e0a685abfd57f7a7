//! One launch: what was ordered, measured and put into walls, with nothing running yet.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use aims_crypto::{Hasher, sha256};
use aims_links::{LaunchOrder, Refusal};
use aims_model::evidence::{ARGUMENT_LEN_MAX, ARGUMENTS_MAX, Measured};
use aims_model::{Evidence, EvidenceGap, Expected};
use aims_types::Digest;
use aims_walls::measure::MeasureError;
use aims_walls::runtime::{DeclaredPath, closure, declare_staged, remeasure};
use aims_walls::stage::Stage;
use aims_walls::{Bind, BuildError, CopyIn, Door, Launcher, Plan, Stdio3, Walled};

use crate::evidence::{measure_file, measured};

/// The port on 127.0.0.1 inside the walls; the gateway's own default port.
pub const DOOR_PORT: u16 = 8710;
/// The Unix socket inside the walls.
pub const DOOR_SOCKET: &str = "/run/aims/door.sock";
/// Where the `aims` bridge is inside the walls.
const BRIDGE: &str = "/usr/bin/aims";

/// What a launch needs of the node.
pub(crate) struct Workshop {
    pub(crate) launcher: Launcher,
    pub(crate) stage: Stage,
    pub(crate) self_exe: PathBuf,
}

/// Walls that stand, and what was seen while they were built.
pub(crate) struct Built {
    pub(crate) walled: Walled,
    pub(crate) evidence: Evidence,
}

/// What the person wants started, with absolute paths.
struct Command {
    /// The interpreter, if the registration has one.
    interpreter: Option<PathBuf>,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Workshop {
    /// Measures, stages and builds. Blocks.
    pub(crate) fn build(
        &self,
        order: &LaunchOrder,
        argv: &[String],
        cwd: &Path,
        stdio: Stdio3,
        host_uid: Option<u32>,
    ) -> Result<Built, Refusal> {
        let expected = &order.agent.evidence;
        let command = Command::read(expected, argv, cwd)?;
        let trees: Vec<PathBuf> = expected
            .trees
            .iter()
            .map(|tree| tree.path.clone().into())
            .collect();
        let declared = remeasure(&trees).map_err(unmeasurable)?;
        let files = declared_files(expected, &command);
        let sources = open_all(&files)?;
        let plan = self.plan(&command, &declared, &files, host_uid)?;
        let (environment, plan_digest) = (environment_digest(&plan.env), plan_digest(&plan));
        let walled = self
            .launcher
            .build(plan, sources, stdio)
            .map_err(unbuildable)?;
        let evidence = Evidence {
            interpreter: command
                .interpreter
                .as_deref()
                .map(measure_file)
                .transpose()
                .map_err(unmeasurable)?,
            program: copied(&files, &walled.copied, 0)?,
            files: (1..files.len())
                .map(|place| copied(&files, &walled.copied, place))
                .collect::<Result<_, _>>()?,
            trees: declared.iter().map(measured).collect(),
            arguments: command.arguments,
            environment,
            plan: plan_digest,
        };
        Ok(Built { walled, evidence })
    }

    fn plan(
        &self,
        command: &Command,
        declared: &[DeclaredPath],
        files: &[PathBuf],
        host_uid: Option<u32>,
    ) -> Result<Plan, Refusal> {
        let mut plan = Plan::new(command.argv());
        plan.env = environment();
        plan.host_uid = host_uid;
        plan.door = Some(Door {
            tcp_port: DOOR_PORT,
            unix_path: DOOR_SOCKET.into(),
        });
        declare_staged(&mut plan, declared, &self.stage).map_err(unstaged)?;
        plan.copies = files
            .iter()
            .enumerate()
            .map(|(place, path)| CopyIn {
                to: path.clone(),
                executable: place == 0 && command.interpreter.is_none(),
                expected: None,
            })
            .collect();
        self.bridge(&mut plan)?;
        Ok(plan)
    }

    /// Adds the `aims` bridge for clients that start a command, with the libraries it needs.
    fn bridge(&self, plan: &mut Plan) -> Result<(), Refusal> {
        let own = closure(std::slice::from_ref(&self.self_exe)).map_err(unmeasurable)?;
        let taken = |plan: &Plan, path: &Path| {
            plan.binds.iter().any(|bind| path.starts_with(&bind.to))
                || plan.symlinks.iter().any(|link| link.at == path)
        };
        let (exe, libraries): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|one| one.path == self.self_exe);
        let free: Vec<DeclaredPath> = libraries
            .into_iter()
            .filter(|one| !taken(plan, &one.path))
            .collect();
        declare_staged(plan, &free, &self.stage).map_err(unstaged)?;
        if taken(plan, Path::new(BRIDGE)) || exe.is_empty() {
            return Ok(());
        }
        let staged = self.stage.put_file(&self.self_exe).map_err(unstaged)?;
        plan.binds.push(Bind {
            from: staged.path,
            to: BRIDGE.into(),
            writable: false,
            executable: true,
        });
        Ok(())
    }
}

impl Command {
    fn read(expected: &Expected, argv: &[String], cwd: &Path) -> Result<Self, Refusal> {
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
        Ok(Self {
            interpreter,
            program,
            arguments,
        })
    }

    fn argv(&self) -> Vec<String> {
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

/// The files that are copied in: the program first, then the declared files.
fn declared_files(expected: &Expected, command: &Command) -> Vec<PathBuf> {
    let declared = expected.files.iter().map(|file| PathBuf::from(&file.path));
    std::iter::once(command.program.clone())
        .chain(declared)
        .collect()
}

fn open_all(files: &[PathBuf]) -> Result<Vec<OwnedFd>, Refusal> {
    let open = |path: &PathBuf| match File::open(path) {
        Ok(file) => Ok(OwnedFd::from(file)),
        Err(error) => Err(Refusal {
            code: "evidence_unreadable",
            reason: format!("`{}` can't be read: {error}", path.display()),
            gaps: vec![EvidenceGap {
                part: "file".to_owned(),
                expected: format!("`{}`", path.display()),
                seen: error.to_string(),
            }],
        }),
    };
    files.iter().map(open).collect()
}

fn copied(files: &[PathBuf], digests: &[Digest], place: usize) -> Result<Measured, Refusal> {
    match (files.get(place), digests.get(place)) {
        (Some(path), Some(digest)) => Ok(Measured {
            path: path.display().to_string(),
            digest: *digest,
        }),
        _ => Err(refusal(
            "walls_failed",
            "the walls did not say what they copied",
        )),
    }
}

/// The allow-list of the environment. Nothing of the caller's environment enters.
fn environment() -> BTreeMap<String, String> {
    let door = format!("http://127.0.0.1:{DOOR_PORT}");
    [
        ("HOME", "/tmp"),
        ("HTTPS_PROXY", door.as_str()),
        ("LANG", "C.UTF-8"),
        ("NO_PROXY", "127.0.0.1,localhost"),
        ("PATH", "/usr/bin:/bin"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn environment_digest(env: &BTreeMap<String, String>) -> Digest {
    let mut hasher = Hasher::new();
    for part in env.iter().flat_map(|(name, value)| [name.as_str(), "=", value, "\0"]) {
        hasher.update(part.as_bytes());
    }
    hasher.finish()
}

fn plan_digest(plan: &Plan) -> Digest {
    sha256(&serde_json::to_vec(plan).unwrap_or_default())
}

fn refusal(code: &'static str, reason: &str) -> Refusal {
    Refusal {
        code,
        reason: reason.to_owned(),
        gaps: Vec::new(),
    }
}

fn no_program() -> Refusal {
    refusal(
        "invalid_command",
        "the command names no program; give the registered interpreter and program after `--`",
    )
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function of `map_err`"
)]
fn unmeasurable(error: MeasureError) -> Refusal {
    Refusal {
        code: "evidence_unreadable",
        reason: format!("what is to run can't be measured: {error}"),
        gaps: vec![EvidenceGap {
            part: "tree".to_owned(),
            expected: "what was registered".to_owned(),
            seen: error.to_string(),
        }],
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function of `map_err`"
)]
fn unstaged(error: aims_walls::stage::StageError) -> Refusal {
    refusal(
        "evidence_changed",
        &format!("what is to run changed while it was staged: {error}"),
    )
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function of `map_err`"
)]
fn unbuildable(error: BuildError) -> Refusal {
    refusal(
        "walls_failed",
        &format!("the walls can't be built: {error}"),
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

    #[test]
    fn the_environment_holds_nothing_of_the_host() {
        let names: Vec<String> = environment().into_keys().collect();
        let allowed = [
            "HOME",
            "HTTPS_PROXY",
            "LANG",
            "NO_PROXY",
            "PATH",
            "PYTHONDONTWRITEBYTECODE",
        ];
        assert_eq!(names, allowed);
    }
}
