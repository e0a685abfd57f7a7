//! The node of this process.

use std::sync::Arc;

use aims_links::{EnforceError, Vouch};
use aims_model::{Event, EventKind, KeyOwner, KeyPurpose, Point};
use aims_store::Txn;
use aims_types::{Cx, Id, Instance, Node, Revision};

use super::{node_of, with_host};
use crate::access::{AccessError, Itself};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::init::key_body;
use crate::instances::all_ended;
use crate::keyring::{BadKey, enrolled, parse_jwk};
use crate::publish::{AttachError, Link};
use crate::recording::{Attempt, event, shown};
use crate::{ControlPlane, Fault, services};

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
    /// The node did not answer.
    #[error(transparent)]
    Vouch(EnforceError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(JoinNodeError);

impl Refused for JoinNodeError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Key(_) => "bad_key",
            Self::KeyTaken => "key_taken",
            Self::Vouch(_) => "node_not_ready",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl From<AttachError> for JoinNodeError {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Enforce(error) => Self::Vouch(error),
            AttachError::Internal(fault) => Self::Internal(fault),
        }
    }
}

impl ControlPlane {
    /// Lets the node of this process join: enrols its key, and links it. A key that joined before
    /// keeps its node, whose earlier instances end: it lost their keys.
    pub async fn node_join(
        &self,
        cx: &Cx,
        jwk: &str,
        host: &str,
        link: Arc<dyn Vouch>,
    ) -> Result<Id<Node>, JoinNodeError> {
        let (cx, jwk, host) = (cx.clone(), jwk.to_owned(), shown(host));
        self.to_the_end(|plane| async move {
            let done = join(&plane, &cx, (&jwk, &host), link).await;
            plane
                .recorded(&cx, Attempt::new("node_join", &host), done)
                .await
        })
        .await
    }
}

async fn join(
    plane: &ControlPlane,
    cx: &Cx,
    (jwk, host): (&str, &str),
    link: Arc<dyn Vouch>,
) -> Result<Id<Node>, JoinNodeError> {
    Itself::admit(cx)?;
    let (node, revision) = enrol(plane, cx, jwk, host).await?;
    if let Some(revision) = revision {
        plane.publish_to_gateways(revision).await;
    }
    // It started just now: of what was cut off before, nothing runs there.
    let told = plane.store().read().await?.revision().await?;
    plane
        .attach(Point::Node(node), Link::Node(link), told)
        .await?;
    Ok(node)
}

/// Enrols a node's key, or ends what it vouched for before; gives the revision of the change.
async fn enrol(
    plane: &ControlPlane,
    cx: &Cx,
    jwk: &str,
    host: &str,
) -> Result<(Id<Node>, Option<Revision>), JoinNodeError> {
    let mut txn = plane.store().begin().await?;
    let new: Id<Node> = cx.id()?;
    let owner = KeyOwner::Node(new);
    let key = enrolled(&parse_jwk(jwk)?, KeyPurpose::Node, owner, cx.now);
    if let Some(known) = txn.key(&key.kid).await? {
        let node = node_of(&known).ok_or(JoinNodeError::KeyTaken)?;
        let how = ("the node started again", |_| true);
        let (events, revision) = end_instances_of(txn.as_mut(), cx, node, how).await?;
        if revision.is_some() {
            txn.commit(events).await?;
        }
        return Ok((node, revision));
    }
    let revision = txn.revision_next().await?;
    txn.key_insert(&key).await?;
    let body = with_host(key_body(&key), host);
    txn.commit(vec![event(cx, EventKind::KeyEnrolled, body)])
        .await?;
    Ok((new, Some(revision)))
}

/// Ends those live instances of a node that it can't vouch for any more; gives the records, and
/// the revision if there was one.
pub(crate) async fn end_instances_of(
    txn: &mut dyn Txn,
    cx: &Cx,
    node: Id<Node>,
    (how, is_gone): (&str, impl Fn(Id<Instance>) -> bool + Send),
) -> Result<(Vec<Event>, Option<Revision>), Fault> {
    let mut live = txn.instances_live().await?;
    live.retain(|instance| instance.node == Some(node) && is_gone(instance.id));
    let mut processes = txn.service_instances_live().await?;
    processes.retain(|process| process.node == node && is_gone(process.id));
    if live.is_empty() && processes.is_empty() {
        return Ok((Vec::new(), None));
    }
    let revision = txn.revision_next().await?;
    let mut events = all_ended(txn, cx, live, (revision, how)).await?;
    events.extend(services::all_ended(txn, cx, processes, (revision, how)).await?);
    Ok((events, Some(revision)))
}
