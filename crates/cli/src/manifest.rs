//! What people write: manifests of agents, tool servers and tasks, in TOML.

mod upstream;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aims_authority::Authority;
use aims_json::{Limits, Object, Value};
use aims_model::evidence::{Arguments, Measured};
use aims_model::server::DataPath;
use aims_model::{Expected, ServerSpec, Text};
use aims_node::evidence::{measure_closure, measure_file};
use aims_types::{Digest, Name, Timestamp};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub(crate) use upstream::UpstreamManifest;

/// An agent's manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentManifest {
    pub(crate) name: String,
    pub(crate) owner: Option<String>,
    pub(crate) purpose: Option<String>,
    pub(crate) environment: Option<String>,
    #[serde(default)]
    pub(crate) draft: bool,
    evidence: Option<EvidenceManifest>,
    remote: Option<RemoteManifest>,
}

/// An agent that runs elsewhere: it has keys of its own, and nothing of its program is seen, or it
/// is a service, which is seen from outside.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoteManifest {
    /// What that is worth, by name: `key_held` or `observed`.
    assurance: String,
    /// Files with its public keys, each a JWK.
    keys: Option<Vec<PathBuf>>,
    /// The service that it is, by name.
    service: Option<String>,
}

/// What must be seen of the agent's program; digests are taken when it is registered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceManifest {
    interpreter: Option<PathBuf>,
    program: PathBuf,
    #[serde(default)]
    files: Vec<PathBuf>,
    #[serde(default)]
    trees: Vec<PathBuf>,
    #[serde(default)]
    arguments: RawArguments,
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum RawArguments {
    /// `"any"`.
    Word(String),
    /// Exactly these.
    Exactly(Vec<String>),
    #[default]
    None,
}

/// A service's manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceManifest {
    pub(crate) owner: Option<String>,
    pub(crate) purpose: Option<String>,
    /// The id of the node on whose host it runs, where there are several.
    pub(crate) node: Option<String>,
    /// The one file that its processes run.
    executable: PathBuf,
    /// Its digest, where the file does not lie on this host.
    digest: Option<Digest>,
    pub(crate) host_uid: u32,
    pub(crate) cgroup: Option<String>,
    /// Whether its processes get private keys in the open.
    #[serde(default)]
    pub(crate) key_export: bool,
}

impl ServiceManifest {
    /// The file as the kernel will name it, and its digest.
    pub(crate) fn executable(&self) -> Result<Measured> {
        if let Some(digest) = self.digest {
            let path = self.executable.display().to_string();
            return Ok(Measured { path, digest });
        }
        let real = fs::canonicalize(&self.executable)
            .with_context(|| format!("the executable `{}`", self.executable.display()))?;
        Ok(measure_file(&real)?)
    }
}

/// A tool server's manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolsManifest {
    pub(crate) name: String,
    pub(crate) purpose: String,
    argv: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    trees: Vec<PathBuf>,
    #[serde(default)]
    paths: Vec<DataPath>,
    #[serde(default)]
    network: bool,
}

/// A task's manifest: purpose, authority, deadline, budget.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskManifest {
    pub(crate) agent: Name,
    pub(crate) purpose: Text,
    minutes: f64,
    uses: Option<u64>,
    /// How many hops the agent may hand its authority on.
    #[serde(default)]
    depth: u8,
    allow: Vec<AllowManifest>,
}

/// One thing that a task may do.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum AllowManifest {
    /// Tools of one server, with what is allowed of each argument.
    Tools {
        server: String,
        tools: Vec<String>,
        #[serde(default)]
        arguments: toml::Table,
    },
    /// One host by CONNECT.
    Host { host: String, port: u16 },
    /// Requests to one upstream, with what is allowed of each member of the body.
    Upstream {
        upstream: String,
        methods: Vec<String>,
        path: String,
        query: Option<String>,
        body: RawBody,
    },
}

/// What a body may be.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawBody {
    /// `"any"`.
    Word(String),
    /// One JSON object with these members; none at all is no body.
    Members(toml::Table),
}

/// Reads a manifest; an unknown key is an error with its line.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let context = || format!("the manifest `{}`", path.display());
    let text = fs::read_to_string(path).with_context(context)?;
    toml::from_str(&text).with_context(context)
}

impl AgentManifest {
    /// What an agent that runs elsewhere proves itself with, as the server is told of it.
    pub(crate) fn remote(&self) -> Result<Option<serde_json::Value>> {
        let Some(RemoteManifest {
            assurance,
            keys,
            service,
        }) = &self.remote
        else {
            return Ok(None);
        };
        let read = |path: &PathBuf| {
            fs::read_to_string(path).with_context(|| format!("the key `{}`", path.display()))
        };
        let keys = keys.as_ref();
        let jwks = keys.map(|keys| keys.iter().map(read).collect::<Result<Vec<_>>>());
        Ok(Some(serde_json::json!({
            "assurance": assurance, "jwks": jwks.transpose()?, "service": service,
        })))
    }

    /// Measures what the manifest names of its program.
    pub(crate) fn evidence(&self) -> Result<Option<Expected>> {
        self.evidence
            .as_ref()
            .map(EvidenceManifest::measure)
            .transpose()
    }
}

impl EvidenceManifest {
    fn measure(&self) -> Result<Expected> {
        let raw = self;
        let program = measure_file(&raw.program)?;
        let roots: Vec<PathBuf> = match &raw.interpreter {
            Some(interpreter) => std::iter::once(interpreter.clone())
                .chain(raw.trees.clone())
                .collect(),
            None => std::iter::once(raw.program.clone())
                .chain(raw.trees.clone())
                .collect(),
        };
        let mut trees = measure_closure(&roots)?;
        // A native program is copied into the walls, not bound.
        trees.retain(|tree| tree.path != program.path || raw.interpreter.is_some());
        Ok(Expected {
            interpreter: raw.interpreter.as_deref().map(measure_file).transpose()?,
            program,
            files: raw
                .files
                .iter()
                .map(|file| measure_file(file))
                .collect::<Result<Vec<Measured>, _>>()?,
            trees,
            arguments: raw.arguments.read()?,
        })
    }
}

impl RawArguments {
    fn read(&self) -> Result<Arguments> {
        match self {
            Self::Word(word) if word == "any" => Ok(Arguments::Any),
            Self::Word(word) => {
                bail!("`arguments` is \"any\" or a list of words, not `{word}`")
            }
            Self::Exactly(words) => Ok(Arguments::Exactly(words.clone())),
            Self::None => Ok(Arguments::Exactly(Vec::new())),
        }
    }
}

impl ToolsManifest {
    /// Measures what the manifest names.
    pub(crate) fn spec(&self) -> Result<ServerSpec> {
        let program = self
            .argv
            .first()
            .context("`argv` is empty; name the server's program")?;
        let roots: Vec<PathBuf> = std::iter::once(PathBuf::from(program))
            .chain(self.trees.clone())
            .collect();
        Ok(ServerSpec {
            argv: self.argv.clone(),
            env: self.env.clone(),
            trees: measure_closure(&roots)?,
            paths: self.paths.clone(),
            network: self.network,
        })
    }
}

impl TaskManifest {
    /// When the task ends, if it starts at `now`.
    pub(crate) fn deadline(&self, now: Timestamp) -> Result<Timestamp> {
        let life = Duration::try_from_secs_f64(self.minutes * 60.0)
            .ok()
            .filter(|life| !life.is_zero())
            .context("`minutes` is a positive number")?;
        Ok(now.plus(life))
    }

    /// The authority that the manifest names, until `deadline`.
    pub(crate) fn authority(&self, deadline: Timestamp) -> Result<Authority> {
        let details = self
            .allow
            .iter()
            .map(AllowManifest::detail)
            .collect::<Result<Vec<_>>>()?;
        let mut limits = Object::new().with("not_after", deadline.to_string());
        if let Some(uses) = self.uses {
            limits = limits.with("uses", uses);
        }
        if self.depth > 0 {
            limits = limits.with("depth", u64::from(self.depth));
        }
        let value = Object::new()
            .with("authorization_details", details)
            .with("limits", limits);
        Ok(Authority::from_value(&value.into())?)
    }
}

impl AllowManifest {
    fn detail(&self) -> Result<Value> {
        Ok(match self {
            Self::Tools {
                server,
                tools,
                arguments,
            } => {
                let actions: Vec<Value> = tools
                    .iter()
                    .map(|tool| Value::from(tool.as_str()))
                    .collect();
                Object::new()
                    .with("type", "mcp_tool")
                    .with("server", server.as_str())
                    .with("actions", actions)
                    .with("arguments", value_of(arguments)?)
                    .into()
            }
            Self::Host { host, port } => Object::new()
                .with("type", "https_connect")
                .with("host", host.as_str())
                .with("port", u64::from(*port))
                .into(),
            Self::Upstream {
                upstream,
                methods,
                path,
                query,
                body,
            } => {
                let methods: Vec<Value> = methods.iter().map(|m| Value::from(m.as_str())).collect();
                let body = match body {
                    RawBody::Word(word) => Value::from(word.as_str()),
                    RawBody::Members(members) => value_of(members)?,
                };
                let detail = Object::new()
                    .with("type", "http_request")
                    .with("upstream", upstream.as_str())
                    .with("methods", methods)
                    .with("path", path.as_str())
                    .with("body", body);
                match query {
                    Some(query) => detail.with("query", query.as_str()).into(),
                    None => detail.into(),
                }
            }
        })
    }
}

fn value_of(table: &toml::Table) -> Result<Value> {
    let text = serde_json::to_string(table)?;
    Ok(aims_json::parse(text.as_bytes(), &Limits::MESSAGE)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = r#"
        agent = "release-notes"
        purpose = "write the notes"
        minutes = 20
        uses = 50

        [[allow]]
        server = "git"
        tools = ["git_log", "git_show"]
        arguments.repo_path = { equals = "/srv/repo" }
        arguments.max_count = { range = { min = "1", max = "10" }, optional = true }
        arguments.revision = "any"

        [[allow]]
        host = "pypi.org"
        port = 443

        [[allow]]
        upstream = "model"
        methods = ["POST"]
        path = "/v1/chat/completions"
        body.model = { one_of = ["small"] }
        body.messages = "any"
    "#;

    fn task(text: &str) -> Result<Authority> {
        let manifest: TaskManifest = toml::from_str(text)?;
        let now = Timestamp::from_unix_secs(1_000_000);
        manifest.authority(manifest.deadline(now)?)
    }

    #[test]
    fn a_task_manifest_is_the_authority_that_it_names() {
        let authority = task(TASK).unwrap();
        assert_eq!(authority.details().len(), 3);
        assert_eq!(authority.limits().uses(), Some(50));
        let until = authority.limits().not_after().unwrap();
        assert_eq!(until, Timestamp::from_unix_secs(1_000_000 + 20 * 60));
        let wire = authority.to_value().to_string();
        for part in [
            "git_log",
            "/srv/repo",
            "pypi.org",
            "443",
            "/v1/chat/completions",
            "one_of",
        ] {
            assert!(wire.contains(part), "{part} in {wire}");
        }
    }

    #[test]
    fn what_a_task_manifest_can_not_mean_is_refused() {
        for (wrong, because) in [
            (TASK.replace("minutes = 20", "minutes = 0"), "no time"),
            (
                TASK.replace("minutes = 20", "minutes = -1"),
                "time before now",
            ),
            (TASK.replace("minutes = 20", "minutes = nan"), "no number"),
            (TASK.replace("uses = 50", "use = 50"), "an unknown key"),
            (TASK.replace("equals =", "equal ="), "an unknown constraint"),
            (TASK.replace("port = 443", "port = 70000"), "no port"),
            (
                TASK.replace("port = 443", "port = 443\n        tools = []"),
                "host and tools",
            ),
            (
                TASK.replace("methods = [\"POST\"]", "methods = [\"CONNECT\"]"),
                "an unknown method",
            ),
            (
                TASK.replace("/v1/chat/completions", "/v1/../v2"),
                "a path that climbs",
            ),
            (TASK.replace("\"git_log\", \"git_show\"", ""), "no tool"),
        ] {
            assert_ne!(wrong, TASK, "{because}");
            assert!(task(&wrong).is_err(), "{because}");
        }
    }

    #[test]
    fn arguments_are_any_or_a_list_of_words() {
        let read = |text: &str| {
            let manifest: AgentManifest = toml::from_str(&format!(
                "name = \"a\"\n[evidence]\nprogram = \"/bin/true\"\n{text}"
            ))?;
            manifest.evidence.unwrap().arguments.read()
        };
        assert_eq!(read("arguments = \"any\"").unwrap(), Arguments::Any);
        assert_eq!(read("").unwrap(), Arguments::Exactly(Vec::new()));
        let words = Arguments::Exactly(vec!["-v".to_owned()]);
        assert_eq!(read("arguments = [\"-v\"]").unwrap(), words);
        assert!(read("arguments = \"some\"").is_err());
        assert!(read("arguments = 3").is_err());
    }
}
