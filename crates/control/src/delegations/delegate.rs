//! Granting a delegation: narrower than what is held, permitted by policy, recorded before use.

use aims_authority::narrower;
use aims_crypto::sha256;
use aims_jose::JwsLimits;
use aims_json::Object;
use aims_links::{DelegateCall, LaunchOrder};
use aims_model::grant::{CHAIN_LEN_MAX, Delegator};
use aims_model::{Agent, Event, EventKind, Grant, Person, PolicyVersion, Run, agent};
use aims_store::{Reader, ReplayKind, StoredGrant, Txn};
use aims_types::{Cx, Id, Node, Revision};

use super::error::DelegateError;
use super::request::Requested;
use crate::chain::sign_grant;
use crate::joins::is_enrolled_node;
use crate::liveness::{LiveInstance, NotLive};
use crate::policies::policy_body;
use crate::recording::event;
use crate::rules::{self, Hop, Objection};
use crate::{ControlPlane, Fault};

/// A hop that is to be granted: everything about it was checked.
struct Permitted {
    live: LiveInstance,
    given: Requested,
    delegate: Agent,
    policy: PolicyVersion,
}

/// Grants a delegation and orders the launch of the one who receives it; gives the revision.
///
/// INVARIANT: the revision is taken before anything is read. A kill of anything that the hop rests
/// on commits either before, and is seen here, or after, and covers what is granted here.
pub(crate) async fn delegate(
    plane: &ControlPlane,
    cx: &Cx,
    call: &DelegateCall,
) -> Result<(LaunchOrder, Revision), DelegateError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    let permitted = permitted(plane, cx, txn.as_mut(), call).await?;
    let (grant, stored) = issue(plane, cx, &permitted, revision)?;
    let run = launch(cx, &permitted, &grant, call.node)?;
    txn.grant_insert(&stored).await?;
    txn.run_insert(&run).await?;
    let events = vec![
        granted_event(cx, &permitted, (&grant, &stored, &run), revision),
        redeemed_event(cx, &permitted, &run),
    ];
    txn.commit(events).await?;
    let order = LaunchOrder {
        run: run.id,
        agent: permitted.delegate,
        task: permitted.live.of.task,
        delegation: grant.id,
    };
    Ok((order, revision))
}

/// Every check, in order.
async fn permitted(
    plane: &ControlPlane,
    cx: &Cx,
    txn: &mut dyn Txn,
    call: &DelegateCall,
) -> Result<Permitted, DelegateError> {
    if !is_enrolled_node(txn, call.node).await? {
        return Err(DelegateError::UnknownNode(call.node));
    }
    let instance = txn.instance(call.instance).await?;
    let instance = instance.ok_or(NotLive::UnknownInstance)?;
    if instance.node != Some(call.node) {
        return Err(DelegateError::ForeignNode);
    }
    let live = LiveInstance::find(txn, call.instance, cx.now).await?;
    let here = (plane.trust_domain(), cx.now);
    let given = Requested::check(txn, (&call.request, &call.wit), &live, here).await?;
    let used = (given.replay_value(), given.replayable_until());
    let kind = (ReplayKind::Delegation, &used.0);
    if !plane.use_once(txn, kind, (cx.now, used.1)).await? {
        return Err(DelegateError::Replayed);
    }
    check_narrower(cx, &live, &given)?;
    let (delegate, owner) = delegate_of(txn, &given).await?;
    let policy = authorise(txn, (&live, &given), (&delegate, &owner)).await?;
    Ok(Permitted {
        live,
        given,
        delegate,
        policy,
    })
}

/// The request hands on a part of exactly what the instance holds, and no more than that.
fn check_narrower(cx: &Cx, live: &LiveInstance, given: &Requested) -> Result<(), DelegateError> {
    let (leaf, request) = (&live.of.leaf, &given.request);
    if request.parent != leaf.stored.digest {
        return Err(DelegateError::ForeignParent);
    }
    if request.authority.details().is_empty() {
        return Err(DelegateError::EmptyAuthority);
    }
    narrower(&request.authority, &leaf.grant.authority)?;
    // The new hop comes after the leaf.
    if live.of.hops().count() >= CHAIN_LEN_MAX {
        return Err(DelegateError::ChainTooLong);
    }
    let (asked, latest) = (request.deadline, live.of.deadline());
    if asked <= cx.now || asked > latest {
        return Err(DelegateError::Deadline { asked, latest });
    }
    Ok(())
}

/// The agent that is to act, and who answers for it.
async fn delegate_of(
    reader: &mut dyn Reader,
    given: &Requested,
) -> Result<(Agent, Person), DelegateError> {
    let name = &given.request.agent;
    let unknown = || DelegateError::UnknownAgent(name.clone());
    let agent = reader.agent_by_name(name).await?.ok_or_else(unknown)?;
    if !matches!(agent.stage, agent::Stage::Active { .. }) {
        let (name, stage) = (agent.name.clone(), agent.stage.as_str());
        return Err(DelegateError::AgentNotActive { name, stage });
    }
    if agent.evidence.is_none() {
        return Err(DelegateError::RunsElsewhere(agent.name));
    }
    let owner = reader.person(agent.owner).await?;
    let owner = owner.filter(|owner| owner.removed_at.is_none());
    let owner = owner.ok_or_else(|| DelegateError::NoOwner(name.clone()))?;
    Ok((agent, owner))
}

/// Asks the policy in force for every distinct principal of the chain.
async fn authorise(
    reader: &mut dyn Reader,
    (live, given): (&LiveInstance, &Requested),
    (delegate, owner): (&Agent, &Person),
) -> Result<PolicyVersion, DelegateError> {
    let mut above = Vec::new();
    for hop in live.of.hops() {
        let owner = reader.person(hop.agent.owner).await?;
        let missing = || Fault::Inconsistent("the owner of an agent is not stored".to_owned());
        above.push((hop.agent.clone(), owner.ok_or_else(missing)?));
    }
    let policy = reader.policy_current().await?;
    let policy = policy.ok_or_else(|| Fault::Inconsistent("no policy is in force".to_owned()))?;
    let compiled = rules::compile(&policy.text, &reader.servers().await?)
        .map_err(|error| Fault::Inconsistent(error.to_string()))?;
    let hop = Hop {
        person: &live.of.person,
        above: &above,
        agent: delegate,
        owner,
        task: live.of.task.id,
        purpose: given.request.purpose.as_str(),
        authority: &given.request.authority,
    };
    match rules::objection(&compiled, &hop) {
        None => Ok(policy),
        Some(Objection {
            principal,
            resource,
            reason,
        }) => Err(DelegateError::Policy {
            principal,
            resource,
            reason,
        }),
    }
}

/// Signs the grant: exactly what the instance asked for.
fn issue(
    plane: &ControlPlane,
    cx: &Cx,
    permitted: &Permitted,
    revision: Revision,
) -> Result<(Grant, StoredGrant), DelegateError> {
    let Permitted {
        live,
        given,
        delegate,
        ..
    } = permitted;
    let (leaf, request) = (&live.of.leaf, &given.request);
    let grant = Grant {
        id: cx.id()?,
        issuer: plane.trust_domain().clone(),
        task: live.of.task.id,
        purpose: request.purpose.clone(),
        delegator: Delegator::Agent {
            id: leaf.agent.id,
            spiffe_id: leaf.agent.spiffe_id.clone(),
            instance: live.instance.id,
            request: given.jws.clone(),
            wit: given.wit.clone(),
        },
        delegate: delegate.id,
        delegate_spiffe_id: delegate.spiffe_id.clone(),
        ancestors: live.of.hops().map(|hop| hop.grant.id).collect(),
        parent: Some(leaf.stored.digest),
        authority: request.authority.clone(),
        revision,
        issued_at: cx.now,
        expires_at: request.deadline,
    };
    let stored = sign_grant(plane, &grant)?;
    if stored.jws.len() > JwsLimits::TOKEN.text {
        return Err(DelegateError::TooLarge);
    }
    Ok((grant, stored))
}

/// The launch, taken up already by the node that asked.
fn launch(
    cx: &Cx,
    permitted: &Permitted,
    grant: &Grant,
    node: Id<Node>,
) -> Result<Run, DelegateError> {
    let Permitted { live, given, .. } = permitted;
    Ok(Run {
        id: cx.id()?,
        task: grant.task,
        agent: grant.delegate,
        delegation: grant.id,
        requested_by: live.of.person.id,
        parent: Some(live.instance.id),
        ticket: sha256(given.jws.as_bytes()),
        expires_at: cx.now,
        redeemed_at: Some(cx.now),
        redeemed_by: Some(node),
    })
}

fn granted_event(
    cx: &Cx,
    permitted: &Permitted,
    (grant, stored, run): (&Grant, &StoredGrant, &Run),
    revision: Revision,
) -> Event {
    let Permitted {
        live,
        given,
        delegate,
        policy,
    } = permitted;
    let initiator = Object::new()
        .with("id", live.of.person.id.to_string())
        .with("name", live.of.person.name.as_str());
    let body = Object::new()
        .with("task", grant.task.to_string())
        .with("purpose", grant.purpose.as_str())
        .with("agent", delegate.spiffe_id.as_str())
        .with("delegator", live.of.leaf.agent.spiffe_id.as_str())
        .with("instance", live.instance.id.to_string())
        .with("initiator", initiator)
        .with("deadline", grant.expires_at.unix_millis())
        .with("delegation", stored.id.to_string())
        .with("parent", live.of.leaf.stored.digest.to_string())
        .with("grant", stored.jws.as_str())
        .with("grant_digest", stored.digest.to_string())
        .with("request", given.jws.as_str())
        .with("run", run.id.to_string())
        .with("policy", policy_body(policy))
        .with("revision", revision.number());
    event(cx, EventKind::DelegationGranted, body).of_task(grant.task)
}

fn redeemed_event(cx: &Cx, permitted: &Permitted, run: &Run) -> Event {
    let mut body = Object::new()
        .with("run", run.id.to_string())
        .with("agent", permitted.delegate.spiffe_id.as_str())
        .with("delegation", run.delegation.to_string())
        .with("requested_by", permitted.live.instance.id.to_string());
    if let Some(node) = run.redeemed_by {
        body = body.with("node", node.to_string());
    }
    event(cx, EventKind::RunRedeemed, body).of_task(run.task)
}
