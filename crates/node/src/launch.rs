//! One launch: what was ordered, measured and put into walls, with nothing running yet.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use aims_crypto::{Hasher, sha256};
use aims_links::{LaunchOrder, Refusal};
use aims_model::evidence::{Arguments, Measured};
use aims_model::{Evidence, EvidenceGap, Expected};
use aims_types::Digest;
use aims_walls::measure::{self, MeasureError};
use aims_walls::runtime::{DeclaredPath, closure, declare_staged, remeasure};
use aims_walls::stage::Stage;
use aims_walls::{Bind, BuildError, CopyIn, Door, Launcher, Plan, Stdio3, Walled};

use crate::callers::Caller;
use crate::evidence::measured;

mod command;

use command::Command;

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
    pub(crate) seen: Seen,
}

/// What was seen of an instance, and where to look again.
pub(crate) struct Seen {
    pub(crate) evidence: Evidence,
    /// Paths inside, and the staged files and trees that are bound there. What was copied lies in
    /// a root that nobody can write any more.
    staged: Vec<(String, PathBuf)>,
}

/// What a launch asks for, and who asks.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) argv: &'a [String],
    pub(crate) cwd: &'a Path,
    pub(crate) caller: Caller,
    pub(crate) host_uid: Option<u32>,
}

/// What lies on disk, as the one who asks may read it.
struct Found {
    declared: Vec<DeclaredPath>,
    /// The open files that are copied in.
    sources: Vec<OwnedFd>,
    /// The interpreter without links.
    interpreter: Option<PathBuf>,
}

impl Workshop {
    /// Measures, stages and builds. Blocks.
    pub(crate) fn build(
        &self,
        order: &LaunchOrder,
        asked: Asked<'_>,
        stdio: Stdio3,
    ) -> Result<Built, Refusal> {
        let elsewhere = || {
            refusal(
                "runs_elsewhere",
                "the agent runs elsewhere, with its own key",
            )
        };
        let expected = order.agent.evidence.as_ref().ok_or_else(elsewhere)?;
        let command = Command::read(expected, asked.argv, asked.cwd)?;
        let files = declared_files(expected, &command);
        let found = asked
            .caller
            .with_rights(|| Found::read(expected, &command, &files))
            .map_err(|error| refusal("unavailable", &format!("nothing can be read: {error}")))??;
        expect_trees(expected, &found.declared)?;
        let plan = self.plan(&command, &found.declared, &files, asked.host_uid)?;
        let real = found.interpreter.as_deref();
        let interpreter = command.interpreter.as_deref().zip(real);
        let interpreter = interpreter
            .map(|(path, real)| staged_interpreter(&plan, path, real))
            .transpose()?;
        let (environment, plan_digest) = (environment_digest(&plan.env), plan_digest(&plan));
        let bound = |bind: &Bind| (bind.to.display().to_string(), bind.from.clone());
        let staged = plan.binds.iter().map(bound).collect();
        let walled = self
            .launcher
            .build(plan, found.sources, stdio)
            .map_err(unbuildable)?;
        let evidence = Evidence {
            interpreter,
            program: copied(&files, &walled.copied, 0)?,
            files: (1..files.len())
                .map(|place| copied(&files, &walled.copied, place))
                .collect::<Result<_, _>>()?,
            trees: found.declared.iter().map(measured).collect(),
            arguments: command.arguments,
            environment,
            plan: plan_digest,
        };
        let seen = Seen { evidence, staged };
        Ok(Built { walled, seen })
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
        let Some(bridge) = exe.first().filter(|_| !taken(plan, Path::new(BRIDGE))) else {
            return Ok(());
        };
        let digest = bridge.digest();
        let staged = self
            .stage
            .put_file(&self.self_exe, &digest)
            .map_err(unstaged)?;
        plan.binds.push(Bind {
            from: staged.path,
            to: BRIDGE.into(),
            writable: false,
            executable: true,
        });
        Ok(())
    }
}

impl Seen {
    /// Measures again what the instance runs from. Blocks.
    pub(crate) fn again(&self) -> Result<Evidence, MeasureError> {
        let mut evidence = self.evidence.clone();
        for (path, staged) in &self.staged {
            let Some(tree) = evidence.trees.iter_mut().find(|tree| tree.path == *path) else {
                continue;
            };
            tree.digest = if staged.is_dir() {
                measure::measure_tree(staged)?.digest
            } else {
                measure::measure_file(staged)?.0
            };
        }
        Ok(evidence)
    }
}

/// The files that are copied in: the program first, then the declared files.
fn declared_files(expected: &Expected, command: &Command) -> Vec<PathBuf> {
    let declared = expected.files.iter().map(|file| PathBuf::from(&file.path));
    std::iter::once(command.program.clone())
        .chain(declared)
        .collect()
}

impl Found {
    fn read(expected: &Expected, command: &Command, files: &[PathBuf]) -> Result<Self, Refusal> {
        let trees = expected.trees.iter().map(|tree| tree.path.clone().into());
        let declared = remeasure(&trees.collect::<Vec<_>>()).map_err(unmeasurable)?;
        let open = |path: &PathBuf| measure::open_file(path).map(OwnedFd::from);
        let sources = files.iter().map(open).collect::<Result<_, _>>();
        let interpreter = command.interpreter.as_deref().map(measure::resolve);
        Ok(Self {
            declared,
            sources: sources.map_err(unmeasurable)?,
            interpreter: interpreter
                .transpose()
                .map_err(unmeasurable)?
                .map(|resolved| resolved.real),
        })
    }
}

/// Refuses other trees than the registered ones before they are staged: a launch that is refused
/// leaves no copy of anything.
fn expect_trees(expected: &Expected, declared: &[DeclaredPath]) -> Result<(), Refusal> {
    let none = Digest::from_bytes([0; 32]);
    let seen = Evidence {
        interpreter: expected.interpreter.clone(),
        program: expected.program.clone(),
        files: expected.files.clone(),
        trees: declared.iter().map(measured).collect(),
        arguments: match &expected.arguments {
            Arguments::Exactly(words) => words.clone(),
            Arguments::Any => Vec::new(),
        },
        environment: none,
        plan: none,
    };
    let gaps = expected.gaps(&seen);
    if gaps.is_empty() {
        return Ok(());
    }
    let text: Vec<String> = gaps.iter().map(ToString::to_string).collect();
    Err(Refusal {
        code: Cow::Borrowed("evidence_mismatch"),
        reason: format!("what was seen is not as registered: {}", text.join("; ")),
        gaps,
    })
}

/// The interpreter as it will run: its staged copy is what is measured.
fn staged_interpreter(plan: &Plan, path: &Path, real: &Path) -> Result<Measured, Refusal> {
    let staged = plan.binds.iter().find_map(|bind| {
        let rest = real.strip_prefix(&bind.to).ok()?;
        let whole = rest.as_os_str().is_empty();
        Some(if whole {
            bind.from.clone()
        } else {
            bind.from.join(rest)
        })
    });
    let staged = staged.ok_or_else(|| {
        refusal(
            "evidence_mismatch",
            "the interpreter is not among the registered trees; register the agent anew",
        )
    })?;
    let (digest, _) = measure::measure_file(&staged).map_err(unmeasurable)?;
    Ok(Measured {
        path: path.display().to_string(),
        digest,
    })
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
    for part in env
        .iter()
        .flat_map(|(name, value)| [name.as_str(), "=", value, "\0"])
    {
        hasher.update(part.as_bytes());
    }
    hasher.finish()
}

fn plan_digest(plan: &Plan) -> Digest {
    sha256(&serde_json::to_vec(plan).unwrap_or_default())
}

fn refusal(code: &'static str, reason: &str) -> Refusal {
    Refusal {
        code: Cow::Borrowed(code),
        reason: reason.to_owned(),
        gaps: Vec::new(),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function of `map_err`"
)]
fn unmeasurable(error: MeasureError) -> Refusal {
    Refusal {
        code: Cow::Borrowed("evidence_unreadable"),
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
