//! Registering a service: a name of its own, an owner, one executable, one user, one node.

use aims_json::Object;
use aims_model::evidence::{ARGUMENT_LEN_MAX, Measured};
use aims_model::service::{CGROUP_LEN_MAX, Stage};
use aims_model::{Assurance, EventKind, KeyPurpose, Person, Service, TextError};
use aims_store::{Reader, Txn};
use aims_types::{Cx, Id, Node};

use crate::access::{AccessError, Operator};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::identity::{self, IdentityError, Kind, given};
use crate::joins::{is_enrolled_node, node_of};
use crate::recording::{Attempt, event, shown, value};
use crate::{Committed, ControlPlane, Fault};

/// A service to be registered. What is missing is refused with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterService {
    /// Its name; never used again, and no agent's.
    pub name: String,
    /// The name or id of the person who answers for it.
    pub owner: Option<String>,
    /// What it is for, in words.
    pub purpose: Option<String>,
    /// The id of the node on whose host it runs; may be left out where there is only one.
    pub node: Option<String>,
    /// The one file that its processes run: where it really lies, and its digest.
    pub executable: Measured,
    /// The user on the host that they run as.
    pub host_uid: u32,
    /// The cgroup that they are in, if that is to be part of the evidence.
    pub cgroup: Option<String>,
    /// Whether private keys are handed to them in the open. It has to be said.
    pub key_export: bool,
}

/// Why a service was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterServiceError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The name is not its own, or nobody answers for it, or something is not said.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Nobody said that keys may leave the node.
    #[error(
        "a service gets its private key in the open, where every process of its user can read it; \
         say `key_export = true` if that is wanted, or run an agent with `aims run` instead"
    )]
    NoKeyExport,
    /// There is no such node, or it is not clear which.
    #[error("{0}; `aims point list` shows the nodes")]
    Node(String),
    /// The purpose is not a line of words.
    #[error("the purpose: {0}")]
    Purpose(#[from] TextError),
    /// The evidence can't be what is seen of a process.
    #[error("the evidence can't be used: {0}")]
    Evidence(String),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(RegisterServiceError);

impl Refused for RegisterServiceError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Identity(error) => error.code(),
            Self::NoKeyExport => "missing_key_export",
            Self::Node(_) => "bad_node",
            Self::Purpose(_) => "bad_purpose",
            Self::Evidence(_) => "bad_evidence",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Registers a service whose processes get keys in the open. Operators only.
    pub async fn service_register(
        &self,
        cx: &Cx,
        request: RegisterService,
    ) -> Result<Committed<Service>, RegisterServiceError> {
        let (cx, attempt) = (cx.clone(), Attempt::new("service_register", &request.name));
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
    request: RegisterService,
) -> Result<Committed<Service>, RegisterServiceError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    Operator::admit(cx, txn.as_mut()).await?;
    let name = identity::own_name(txn.as_mut(), Kind::Service, &request.name).await?;
    if !request.key_export {
        return Err(RegisterServiceError::NoKeyExport);
    }
    let owner = identity::owner(txn.as_mut(), request.owner).await?;
    let purpose = given("purpose", request.purpose, "what it is for")?.parse()?;
    let node = node(txn.as_mut(), request.node.as_deref()).await?;
    check_evidence(&request.executable, request.cgroup.as_deref())?;
    let spiffe_id = plane.trust_domain().id(&format!("service/{name}"));
    let service = Service {
        id: cx.id()?,
        spiffe_id: spiffe_id.map_err(|error| Fault::Inconsistent(error.to_string()))?,
        name,
        owner: owner.id,
        purpose,
        node,
        executable: request.executable,
        host_uid: request.host_uid,
        cgroup: request.cgroup,
        stage: Stage::Active { since: cx.now },
        registered_at: cx.now,
    };
    insert(txn, cx, &service, &owner).await?;
    Ok(plane.published(service, revision).await)
}

async fn insert(
    mut txn: Box<dyn Txn>,
    cx: &Cx,
    service: &Service,
    owner: &Person,
) -> Result<(), RegisterServiceError> {
    txn.service_insert(service).await?;
    let owner = Object::new()
        .with("id", owner.id.to_string())
        .with("name", owner.name.as_str());
    let mut body = Object::new()
        .with("service", service.id.to_string())
        .with("name", service.name.as_str())
        .with("spiffe_id", service.spiffe_id.as_str())
        .with("owner", owner)
        .with("purpose", service.purpose.as_str())
        .with("node", service.node.to_string())
        .with("executable", value(&service.executable)?)
        .with("host_uid", u64::from(service.host_uid))
        .with("assurance", Assurance::Observed.as_str())
        .with("key_export", true);
    if let Some(cgroup) = &service.cgroup {
        body = body.with("cgroup", cgroup.as_str());
    }
    let event = event(cx, EventKind::ServiceRegistered, body);
    Ok(txn.commit(vec![event]).await?)
}

/// The node that is named; where none is named, the only one that there is.
async fn node(
    reader: &mut dyn Reader,
    named: Option<&str>,
) -> Result<Id<Node>, RegisterServiceError> {
    let refused = |why: &str| Err(RegisterServiceError::Node(why.to_owned()));
    if let Some(text) = named {
        let Ok(id) = text.parse() else {
            return refused(&format!("`{}` is no id of a node", shown(text)));
        };
        if is_enrolled_node(reader, id).await? {
            return Ok(id);
        }
        return refused(&format!("node `{id}` has not joined"));
    }
    let keys = reader.keys(KeyPurpose::Node).await?;
    let mut nodes: Vec<_> = keys.iter().filter_map(node_of).collect();
    nodes.sort_unstable();
    nodes.dedup();
    match nodes.as_slice() {
        [only] => Ok(*only),
        [] => refused("no node has joined"),
        _ => refused("there are several nodes: say on which one the service runs"),
    }
}

fn check_evidence(executable: &Measured, cgroup: Option<&str>) -> Result<(), RegisterServiceError> {
    let paths = [
        (
            "executable",
            Some(executable.path.as_str()),
            ARGUMENT_LEN_MAX,
        ),
        ("cgroup", cgroup, CGROUP_LEN_MAX),
    ];
    for (what, path, len_max) in paths {
        let Some(path) = path else { continue };
        let bad =
            !path.starts_with('/') || path.len() > len_max || path.chars().any(char::is_control);
        if bad {
            let why = format!("the {what} `{}` is not an absolute path", shown(path));
            return Err(RegisterServiceError::Evidence(why));
        }
    }
    Ok(())
}
