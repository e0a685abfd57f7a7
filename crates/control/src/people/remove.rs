//! Removing a person: everything they delegated ends, and what they own is suspended.

use aims_json::Object;
use aims_model::{
    EnrolledKey, Event, EventKind, KeyOwner, KeyPurpose, Person, Role, Subject, agent,
};
use aims_store::Txn;
use aims_types::{Cx, Name, Revision};

use crate::access::{AccessError, Operator};
use crate::agents::{stage_event, staged};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::init::key_body;
use crate::kill::cut_off;
use crate::recording::{Attempt, event};
use crate::{Committed, ControlPlane, Fault, approvals};

/// Why a person was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemovePersonError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Nobody has this name.
    #[error("there is no person `{0}`")]
    Unknown(Name),
    /// They were removed before.
    #[error("`{0}` was removed before")]
    AlreadyRemoved(Name),
    /// Nobody would be left who may administer.
    #[error("`{0}` is the last operator; enrol another one first")]
    LastOperator(Name),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(RemovePersonError);

impl Refused for RemovePersonError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Unknown(_) => "unknown_person",
            Self::AlreadyRemoved(_) => "already_removed",
            Self::LastOperator(_) => "last_operator",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Removes a person: cuts off everything they delegated, retires their keys, and suspends the
    /// agents that they answer for. Operators only.
    pub async fn person_remove(
        &self,
        cx: &Cx,
        name: &Name,
    ) -> Result<Committed<Person>, RemovePersonError> {
        let (cx, name) = (cx.clone(), name.clone());
        self.to_the_end(|plane| async move {
            let done = remove(&plane, &cx, &name).await;
            plane
                .recorded(&cx, Attempt::new("person_remove", name.as_str()), done)
                .await
        })
        .await
    }
}

async fn remove(
    plane: &ControlPlane,
    cx: &Cx,
    name: &Name,
) -> Result<Committed<Person>, RemovePersonError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    Operator::admit(cx, txn.as_mut()).await?;
    let unknown = || RemovePersonError::Unknown(name.clone());
    let mut person = txn.person_by_name(name).await?.ok_or_else(unknown)?;
    if person.removed_at.is_some() {
        return Err(RemovePersonError::AlreadyRemoved(name.clone()));
    }
    let others = txn.people().await?.into_iter().filter(|other| {
        other.id != person.id && other.role == Role::Operator && other.removed_at.is_none()
    });
    if others.count() == 0 {
        return Err(RemovePersonError::LastOperator(name.clone()));
    }
    person.removed_at = Some(cx.now);
    txn.person_update(&person).await?;
    cut_off(txn.as_mut(), Subject::Person(person.id), revision).await?;
    let body = super::body(&person).with("cut_off", revision.number());
    let mut events = vec![event(cx, EventKind::PersonRemoved, body)];
    events.extend(retire_keys(txn.as_mut(), cx, &person).await?);
    events.extend(suspend_agents(txn.as_mut(), cx, &person, revision).await?);
    events.extend(approvals::withdrawn(txn.as_mut(), cx).await?);
    txn.commit(events).await?;
    Ok(plane.published(person, revision).await)
}

async fn retire_keys(
    txn: &mut dyn Txn,
    cx: &Cx,
    person: &Person,
) -> Result<Vec<Event>, aims_store::Error> {
    let theirs =
        |key: &EnrolledKey| key.owner == KeyOwner::Person(person.id) && key.retired_at.is_none();
    let mut events = Vec::new();
    for mut key in txn
        .keys(KeyPurpose::Person)
        .await?
        .into_iter()
        .filter(theirs)
    {
        key.retired_at = Some(cx.now);
        txn.key_update(&key).await?;
        events.push(event(cx, EventKind::KeyRetired, key_body(&key)));
    }
    Ok(events)
}

/// Nobody answers for them any more.
async fn suspend_agents(
    txn: &mut dyn Txn,
    cx: &Cx,
    person: &Person,
    revision: Revision,
) -> Result<Vec<Event>, aims_store::Error> {
    let mut events = Vec::new();
    for mut agent in txn.agents().await? {
        let from = agent.stage;
        let agent::Stage::Active { .. } = from else {
            continue;
        };
        if agent.owner != person.id {
            continue;
        }
        let Ok(to) = from.suspend(cx.now) else {
            continue;
        };
        agent.stage = to;
        staged(txn, &agent, Some(revision)).await?;
        let why = Object::new().with("why", "its owner was removed");
        events.push(stage_event(cx, &agent, from, (Some(revision), why)));
    }
    Ok(events)
}
