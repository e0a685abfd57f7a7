//! What ends with a subject besides what its cut-off covers.

use aims_json::Object;
use aims_model::{EnrolledKey, Event, EventKind, KeyOwner, KeyPurpose, Role, Subject, agent};
use aims_store::{Reader, Txn};
use aims_types::{self as types, Cx, Id, Person, Revision};

use super::error::KillError;
use crate::agents::{stage_event, staged};
use crate::init::key_body;
use crate::recording::event;
use crate::{ControlPlane, instances, services, tasks};

/// How an instance ends, and why a task or an agent's activity does.
pub(crate) const KILLED: &str = "killed";
/// How an instance ends whose own key was killed.
const KEY_KILLED: &str = "its key was killed";

/// Whether that is how an instance ends whose kill somebody asked for, by its id or its key.
pub(crate) fn is_kill(how: &str) -> bool {
    [KILLED, KEY_KILLED].contains(&how)
}

/// Ends what belongs to the subject; gives the records. What is dead already stays as it is.
pub(super) async fn of(
    txn: &mut dyn Txn,
    cx: &Cx,
    (plane, subject): (&ControlPlane, &Subject),
    revision: Revision,
) -> Result<Vec<Event>, KillError> {
    match subject {
        Subject::Task(id) => {
            let task = txn.task(*id).await?;
            let mut task = task.ok_or(KillError::UnknownTask(*id))?;
            let ended = tasks::ended(txn, cx, &mut task, (revision, KILLED)).await?;
            Ok(ended.into_iter().collect())
        }
        Subject::Agent(id) => agent(txn, cx, *id, revision).await,
        Subject::Instance(id) => {
            let how = (revision, KILLED);
            if let Some(ended) = services::ended_by_kill(txn, cx, *id, how).await? {
                return Ok(ended);
            }
            let instance = txn.instance(*id).await?;
            let instance = instance.ok_or(KillError::UnknownInstance(*id))?;
            Ok(instances::all_ended(txn, cx, vec![instance], how).await?)
        }
        Subject::Key(kid) => key(txn, cx, (plane, kid), revision).await,
        // What they hold is dead by the cut-off; they themselves stay.
        Subject::Person(id) => match txn.person(*id).await? {
            Some(_) => Ok(Vec::new()),
            None => Err(KillError::UnknownPerson(id.to_string())),
        },
        Subject::Policy(id) => match txn.policy(*id).await? {
            Some(_) => Ok(Vec::new()),
            None => Err(KillError::UnknownPolicy(*id)),
        },
        Subject::Delegation(_) => Ok(Vec::new()),
    }
}

/// An active agent is suspended: an operator can activate it again, with new tasks.
async fn agent(
    txn: &mut dyn Txn,
    cx: &Cx,
    id: Id<types::Agent>,
    revision: Revision,
) -> Result<Vec<Event>, KillError> {
    let unknown = || KillError::UnknownAgent(id.to_string());
    let mut agent = txn.agent(id).await?.ok_or_else(unknown)?;
    let from = agent.stage;
    let agent::Stage::Active { .. } = from else {
        return Ok(Vec::new());
    };
    agent.stage = from.suspend(cx.now)?;
    staged(txn, &agent, Some(revision)).await?;
    let why = Object::new().with("why", KILLED);
    Ok(vec![stage_event(cx, &agent, from, (Some(revision), why))])
}

/// An enrolled key is retired; an instance ends with its key, with that of the node that vouches
/// for it, and with one that its agent proves itself with.
async fn key(
    txn: &mut dyn Txn,
    cx: &Cx,
    (plane, kid): (&ControlPlane, &str),
    revision: Revision,
) -> Result<Vec<Event>, KillError> {
    let Some(mut key) = txn.key(kid).await? else {
        return of_a_run(txn, cx, kid, revision).await;
    };
    if key.retired_at.is_some() {
        return Ok(Vec::new());
    }
    check_not_the_last(txn, plane, &key).await?;
    key.retired_at = Some(cx.now);
    txn.key_update(&key).await?;
    let body = key_body(&key).with("cut_off", revision.number());
    let mut events = vec![event(cx, EventKind::KeyRetired, body)];
    let owner = key.owner;
    let mut live = txn.instances_live().await?;
    let how = match owner {
        KeyOwner::Node(node) => {
            live.retain(|instance| instance.node == Some(node));
            "its node's key was killed"
        }
        KeyOwner::Agent(agent) => {
            live.retain(|instance| instance.agent == agent);
            "its agent's key was killed"
        }
        KeyOwner::Server | KeyOwner::Gateway(_) | KeyOwner::Person(_) => return Ok(events),
    };
    events.extend(instances::all_ended(txn, cx, live, (revision, how)).await?);
    if let KeyOwner::Node(node) = owner {
        let mut live = txn.service_instances_live().await?;
        live.retain(|process| process.node == node);
        events.extend(services::all_ended(txn, cx, live, (revision, how)).await?);
    }
    Ok(events)
}

/// A key that nobody enrolled: of an instance, or certified for a process of a service.
async fn of_a_run(
    txn: &mut dyn Txn,
    cx: &Cx,
    kid: &str,
    revision: Revision,
) -> Result<Vec<Event>, KillError> {
    let how = (revision, KEY_KILLED);
    let mut live = txn.instances_live().await?;
    live.retain(|instance| instance.jkt == kid);
    if !live.is_empty() {
        return Ok(instances::all_ended(txn, cx, live, how).await?);
    }
    let mut live = txn.service_instances_live().await?;
    live.retain(|process| process.holds(kid, cx.now));
    if live.is_empty() {
        return Err(KillError::UnknownKey(kid.to_owned()));
    }
    Ok(services::all_ended(txn, cx, live, how).await?)
}

/// Refuses to leave the server without a key to sign with, or without an operator.
async fn check_not_the_last(
    reader: &mut dyn Reader,
    plane: &ControlPlane,
    key: &EnrolledKey,
) -> Result<(), KillError> {
    match key.owner {
        KeyOwner::Server => {
            let ring = plane.keyring();
            let used = [&ring.ca.key.kid, &ring.token.kid, &ring.grant.kid];
            let signs = used.contains(&&key.kid);
            let keys = reader.keys(key.purpose).await?;
            let newest = keys.iter().rfind(|one| one.retired_at.is_none());
            if signs || newest.is_some_and(|newest| newest.kid == key.kid) {
                let (kid, purpose) = (key.kid.clone(), key.purpose.as_str());
                return Err(KillError::ServerKey { kid, purpose });
            }
            Ok(())
        }
        KeyOwner::Person(id) => check_an_operator_is_left(reader, id, key).await,
        KeyOwner::Node(_) | KeyOwner::Gateway(_) | KeyOwner::Agent(_) => Ok(()),
    }
}

async fn check_an_operator_is_left(
    reader: &mut dyn Reader,
    owner: Id<Person>,
    key: &EnrolledKey,
) -> Result<(), KillError> {
    let mut operators = reader.people().await?;
    operators.retain(|one| one.role == Role::Operator && one.removed_at.is_none());
    if !operators.iter().any(|operator| operator.id == owner) {
        return Ok(());
    }
    let left = |one: &EnrolledKey| {
        let of_operator = operators
            .iter()
            .any(|operator| one.owner == KeyOwner::Person(operator.id));
        one.kid != key.kid && one.retired_at.is_none() && of_operator
    };
    if reader.keys(KeyPurpose::Person).await?.iter().any(left) {
        return Ok(());
    }
    Err(KillError::LastOperator(key.kid.clone()))
}
