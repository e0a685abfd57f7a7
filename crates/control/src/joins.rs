//! Nodes and gateways that join.

use std::sync::Arc;

use aims_json::Object;
use aims_links::{Enforce, EnforceError};
use aims_model::{EnrolledKey, EventKind, KeyOwner, KeyPurpose};
use aims_store::{Reader, Txn};
use aims_types::{Cx, Gateway, Id, Node, Revision};

use crate::access::{AccessError, Itself};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::init::key_body;
use crate::keyring::{BadKey, enrolled, parse_jwk};
use crate::publish::AttachError;
use crate::recording::{Attempt, event, shown};
use crate::{ControlPlane, Fault, instances};

/// Why a node did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinNodeError {
    /// Only the server itself lets a node of its own process join.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The key can't be used.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The key is or was enrolled for something else.
    #[error("the node's key is enrolled for something else, or retired; make a new one")]
    KeyTaken,
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

/// Why a gateway did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinGatewayError {
    /// Only the server itself lets a gateway of its own process join.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The gateway did not take over the state.
    #[error(transparent)]
    Enforce(#[from] EnforceError),
    /// The gateway stays at an older state.
    #[error("the gateway stays at revision {at} where {wanted} is in force")]
    Behind {
        /// Where it is.
        at: Revision,
        /// What is in force.
        wanted: Revision,
    },
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(JoinNodeError, JoinGatewayError);

impl Refused for JoinNodeError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Key(_) => "bad_key",
            Self::KeyTaken => "key_taken",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl Refused for JoinGatewayError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Enforce(_) | Self::Behind { .. } => "gateway_not_ready",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl From<AttachError> for JoinGatewayError {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Enforce(error) => Self::Enforce(error),
            AttachError::Behind { at, wanted } => Self::Behind { at, wanted },
            AttachError::Internal(fault) => Self::Internal(fault),
        }
    }
}

impl ControlPlane {
    /// Lets the node of this process join: enrols its key. A key that joined before keeps its
    /// node, whose earlier instances end: it lost their keys.
    pub async fn node_join(
        &self,
        cx: &Cx,
        jwk: &str,
        host: &str,
    ) -> Result<Id<Node>, JoinNodeError> {
        let (cx, jwk, host) = (cx.clone(), jwk.to_owned(), shown(host));
        self.to_the_end(|plane| async move {
            let done = node_join(&plane, &cx, &jwk, &host).await;
            plane
                .recorded(&cx, Attempt::new("node_join", &host), done)
                .await
        })
        .await
    }

    /// Lets a gateway join under its lasting id: it gets the current state before this returns,
    /// and every later one.
    pub async fn gateway_join(
        &self,
        cx: &Cx,
        id: Id<Gateway>,
        link: Arc<dyn Enforce>,
    ) -> Result<Id<Gateway>, JoinGatewayError> {
        let cx = cx.clone();
        self.to_the_end(move |plane| async move {
            let done = gateway_join(&plane, &cx, id, link).await;
            plane
                .recorded(&cx, Attempt::new("gateway_join", &id.to_string()), done)
                .await
        })
        .await
    }
}

async fn node_join(
    plane: &ControlPlane,
    cx: &Cx,
    jwk: &str,
    host: &str,
) -> Result<Id<Node>, JoinNodeError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    Itself::admit(cx)?;
    let node: Id<Node> = cx.id()?;
    let key = enrolled(
        &parse_jwk(jwk)?,
        KeyPurpose::Node,
        KeyOwner::Node(node),
        cx.now,
    );
    if let Some(known) = txn.key(&key.kid).await? {
        let node = node_of(&known).ok_or(JoinNodeError::KeyTaken)?;
        return rejoined(plane, cx, txn, (node, revision)).await;
    }
    txn.key_insert(&key).await?;
    let body = key_body(&key).with("host", host);
    txn.commit(vec![event(cx, EventKind::KeyEnrolled, body)])
        .await?;
    plane.publish(revision).await;
    Ok(node)
}

/// A node that joins again has lost the keys of its instances: they end.
async fn rejoined(
    plane: &ControlPlane,
    cx: &Cx,
    mut txn: Box<dyn Txn>,
    (node, revision): (Id<Node>, Revision),
) -> Result<Id<Node>, JoinNodeError> {
    let mut events = Vec::new();
    for mut instance in txn.instances_live().await? {
        if instance.node == node {
            let how = (revision, "the node started again");
            events.extend(
                instances::ended(txn.as_mut(), cx, &mut instance, how)
                    .await?
                    .ok(),
            );
        }
    }
    if !events.is_empty() {
        txn.commit(events).await?;
        plane.publish(revision).await;
    }
    Ok(node)
}

async fn gateway_join(
    plane: &ControlPlane,
    cx: &Cx,
    id: Id<Gateway>,
    link: Arc<dyn Enforce>,
) -> Result<Id<Gateway>, JoinGatewayError> {
    Itself::admit(cx)?;
    let at = plane.attach(id, link).await?;
    let body = Object::new()
        .with("gateway", id.to_string())
        .with("revision", at.number());
    plane
        .commit_alone(event(cx, EventKind::GatewayStarted, body))
        .await?;
    Ok(id)
}

/// The node that an enrolled key speaks for.
pub(crate) fn node_of(key: &EnrolledKey) -> Option<Id<Node>> {
    match key.owner {
        KeyOwner::Node(node) if key.purpose == KeyPurpose::Node && key.retired_at.is_none() => {
            Some(node)
        }
        _ => None,
    }
}

/// Whether a node has an enrolled key.
pub(crate) async fn is_enrolled_node(
    reader: &mut dyn Reader,
    node: Id<Node>,
) -> Result<bool, aims_store::Error> {
    let keys = reader.keys(KeyPurpose::Node).await?;
    Ok(keys.iter().any(|key| node_of(key) == Some(node)))
}

pub(crate) fn unknown_node(node: &Id<Node>) -> String {
    format!("node `{node}` is not enrolled; let it join first")
}
