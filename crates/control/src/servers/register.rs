//! Registering a tool server: a gateway starts it, its tools are pinned as they are now.

use std::collections::{BTreeMap, BTreeSet};

use aims_json::{Object, Value};
use aims_links::InspectError;
use aims_model::server::TOOLS_MAX;
use aims_model::{EventKind, ServerSpec, TextError, ToolPin, ToolServer};
use aims_types::Cx;

use crate::access::{AccessError, Operator};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::identity::{self, IdentityError, Kind};
use crate::recording::{Attempt, event, shown, value};
use crate::rules::{self, RulesError};
use crate::{Committed, ControlPlane, Fault};

/// A tool server to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterServer {
    /// Its name, unique for ever.
    pub name: String,
    /// What it is for, in words.
    pub purpose: String,
    /// How a gateway starts it.
    pub spec: ServerSpec,
}

/// Why a tool server was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterServerError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The name is not its own.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The purpose is not a line of words.
    #[error("the purpose: {0}")]
    Purpose(#[from] TextError),
    /// The description can't be started from.
    #[error("the server can't be started from this: {0}")]
    Spec(String),
    /// No gateway has joined that could look at it.
    #[error("no gateway has joined that could start the server; start one and try again")]
    NoGateway,
    /// The gateway could not look at it.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// What it offers can't be pinned.
    #[error("its tools can't be pinned: {0}")]
    Tools(String),
    /// Its tools and the policy in force do not fit together.
    #[error("its tools and the policy in force do not fit together: {0}")]
    Rules(#[from] RulesError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(RegisterServerError);

impl Refused for RegisterServerError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Identity(error) => error.code(),
            Self::Purpose(_) => "bad_purpose",
            Self::Spec(_) => "bad_spec",
            Self::NoGateway => "no_gateway",
            Self::Inspect(_) => "inspection_failed",
            Self::Tools(_) => "bad_tools",
            Self::Rules(_) => "policy_conflict",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Lets a gateway start the server and list its tools, and registers it with these tools
    /// pinned. The policy in force is validated again. Operators only.
    pub async fn server_register(
        &self,
        cx: &Cx,
        request: RegisterServer,
    ) -> Result<Committed<ToolServer>, RegisterServerError> {
        let (cx, attempt) = (cx.clone(), Attempt::new("server_register", &request.name));
        self.to_the_end(|plane| async move {
            let done = register(&plane, &cx, request).await;
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }
}

async fn register(
    plane: &ControlPlane,
    cx: &Cx,
    request: RegisterServer,
) -> Result<Committed<ToolServer>, RegisterServerError> {
    let name = {
        // Nothing is started for somebody who may not register it.
        let mut reader = plane.store().read().await?;
        Operator::admit(cx, reader.as_mut()).await?;
        identity::own_name(reader.as_mut(), Kind::Server, &request.name).await?
    };
    let purpose = request.purpose.parse()?;
    check_spec(&request.spec)?;
    let gateway = plane
        .publisher()
        .any_gateway()
        .ok_or(RegisterServerError::NoGateway)?;
    let tools = gateway.inspect(name.clone(), request.spec.clone()).await?;
    check_tools(&tools)?;

    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    Operator::admit(cx, txn.as_mut()).await?;
    let name = identity::own_name(txn.as_mut(), Kind::Server, name.as_str()).await?;
    let server = ToolServer {
        id: cx.id()?,
        name,
        purpose,
        spec: request.spec,
        tools,
        registered_at: cx.now,
    };
    txn.server_insert(&server).await?;
    let policy = txn.policy_current().await?;
    let policy = policy.ok_or_else(|| Fault::Inconsistent("no policy is in force".to_owned()))?;
    let rules = rules::compile(&policy.text, &txn.servers().await?)?;
    let body = body(&server, &|tool| {
        rules.schema().untyped(&server.name, tool).to_vec()
    })?;
    txn.commit(vec![event(cx, EventKind::ServerRegistered, body)])
        .await?;
    Ok(plane.published(server, revision).await)
}

fn check_spec(spec: &ServerSpec) -> Result<(), RegisterServerError> {
    let refused = |why: String| Err(RegisterServerError::Spec(why));
    match spec.argv.first() {
        Some(program) if program.starts_with('/') => {}
        Some(program) => return refused(format!("`{}` is not an absolute path", shown(program))),
        None => return refused("there is no program".to_owned()),
    }
    let paths = spec.trees.iter().map(|tree| &tree.path);
    let mut paths = paths.chain(spec.paths.iter().map(|path| &path.path));
    match paths.find(|path| !path.starts_with('/')) {
        Some(path) => refused(format!("`{}` is not an absolute path", shown(path))),
        None => Ok(()),
    }
}

fn check_tools(tools: &[ToolPin]) -> Result<(), RegisterServerError> {
    let refused = |why: String| Err(RegisterServerError::Tools(why));
    if tools.is_empty() || tools.len() > TOOLS_MAX {
        return refused(format!(
            "it has {} tools; 1 to {TOOLS_MAX} are accepted",
            tools.len()
        ));
    }
    let mut names = BTreeSet::new();
    match tools.iter().find(|tool| !names.insert(tool.name.as_str())) {
        Some(twice) => refused(format!("it has the tool `{}` twice", shown(&twice.name))),
        None => Ok(()),
    }
}

/// What the record says: how it is started, and each tool by the digest of its definition, with
/// the arguments that policies can't see.
fn body(
    server: &ToolServer,
    untyped: &dyn Fn(&str) -> Vec<String>,
) -> Result<Object, aims_store::Error> {
    let tool = |pin: &ToolPin| {
        let untyped: Vec<Value> = untyped(&pin.name).into_iter().map(Value::from).collect();
        let tool = Object::new()
            .with("name", pin.name.as_str())
            .with("digest", pin.digest.to_string())
            .with("untyped", untyped);
        Value::from(tool)
    };
    let tools: Vec<Value> = server.tools.iter().map(tool).collect();
    // What is in the environment may be secret; the log keeps the names only.
    let env: Vec<Value> = server
        .spec
        .env
        .keys()
        .map(|name| Value::from(name.as_str()))
        .collect();
    let spec = ServerSpec {
        env: BTreeMap::new(),
        ..server.spec.clone()
    };
    Ok(Object::new()
        .with("server", server.id.to_string())
        .with("name", server.name.as_str())
        .with("purpose", server.purpose.as_str())
        .with("spec", value(&spec)?)
        .with("env", env)
        .with("tools", tools))
}
