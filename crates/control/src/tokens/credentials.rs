//! Client credentials: an agent that runs elsewhere gets a token for a task that a person started
//! for it (RFC 6749 §4.4). The evidence is possession of an enrolled key, proven at this moment;
//! nothing of the program is seen, and token and records say so.

use aims_crypto::sha256;
use aims_jose::{Jwk, Thumbprint};
use aims_json::{Object, Value};
use aims_model::instance::Stage;
use aims_model::{Assurance, Instance, Run, Subject, Task};
use aims_oauth::ClientCredentials;
use aims_oauth::dpop::VerifiedProof;
use aims_store::{Reader, Txn};
use aims_types::{self as types, Actor, Cx, Id, Name, Revision};

use super::mint::{Carried, mint};
use super::narrow::part_of;
use super::{AgentClient, Caller, Issued, Shown, TokenError, agent_client, use_client};
use crate::instances::made_event;
use crate::keyring::canonical_jwk;
use crate::kill::is_kill;
use crate::liveness::{LiveChain, LiveInstance, NotLive};
use crate::recording::shown;
use crate::{ControlPlane, Fault};

/// Where the gateways' endpoints are, below their resource.
const ENDPOINTS: &str = "/mcp/";

/// Most instances of one task that an agent that runs elsewhere may begin, one after the other or
/// at a time: each new key is a new run.
pub const REMOTE_INSTANCES_MAX: usize = 64;

/// What is asked for, and by whom.
pub(super) struct Asked {
    pub(super) asked: ClientCredentials,
    pub(super) client: Shown,
}

/// Whether the key of the proof is that of a live instance: then none is made.
pub(super) async fn runs(
    reader: &mut dyn Reader,
    proof: &VerifiedProof,
) -> Result<bool, aims_store::Error> {
    let jkt = proof.jkt().to_string();
    let live = reader.instances_live().await?;
    Ok(live.iter().any(|instance| instance.jkt == jkt))
}

/// Issues the token of an agent for its task: client, proof, target and every fact that they rest
/// on are checked anew. The first token of a key makes the instance.
pub(super) async fn issue(
    plane: &ControlPlane,
    caller: &mut Caller,
    txn: &mut dyn Txn,
    (asked, proof, revision): (Asked, &VerifiedProof, Revision),
) -> Result<Issued, TokenError> {
    let Asked { asked, client } = asked;
    let client = agent_client(plane, &caller.cx, txn, client).await?;
    caller.cx.actor = Actor::Agent(client.agent.id);
    let cx = &caller.cx;
    use_client(plane, txn, cx, (client.once.as_ref(), Some(proof))).await?;
    check_asked(plane, &asked)?;
    let task = task_of(txn, &client, asked.task.as_deref()).await?;
    caller.task = Some(task.id);
    let of = LiveChain::root(txn, task.id, cx.now).await;
    let of = of.map_err(not_live)?;
    let held = of.leaf.grant.authority.details();
    let details = part_of(held, asked.authorization_details.as_ref())?;
    let (live, made) = instance_of(txn, cx, (&client, of), (proof, revision)).await?;
    let more = client.described();
    let carried = Carried {
        details,
        until: None,
        jkt: proof.jkt(),
        revision,
    };
    let mut issued = mint(plane, cx, &live, carried, more)?;
    if let Some(made) = made {
        issued.events.insert(0, made);
    }
    Ok(issued)
}

/// One target, and nothing asked for that is not issued here.
fn check_asked(plane: &ControlPlane, asked: &ClientCredentials) -> Result<(), TokenError> {
    let resource = plane.parts().config.resource.as_str();
    let named = asked.resource.as_deref();
    if !named.is_some_and(|named| is_of(named, resource)) {
        return Err(TokenError::Target(resource.to_owned()));
    }
    match asked.scope {
        Some(_) => Err(TokenError::Scope),
        None => Ok(()),
    }
}

/// Whether that is the resource of the gateways or one of their endpoints: tokens are for all of
/// them, and the grant says for which tools (RFC 8707 §2 leaves the mapping to the server).
fn is_of(named: &str, resource: &str) -> bool {
    let Some(below) = named.strip_prefix(resource) else {
        return false;
    };
    let endpoint = || below.strip_prefix(ENDPOINTS).map(str::parse::<Name>);
    below.is_empty() || endpoint().is_some_and(|name| name.is_ok())
}

/// The task, if it was started for this agent. Others learn nothing of it.
async fn task_of(
    reader: &mut dyn Reader,
    client: &AgentClient,
    named: Option<&str>,
) -> Result<Task, TokenError> {
    let id: Option<Id<types::Task>> = named.and_then(|text| text.parse().ok());
    let task = reader.task(id.ok_or(TokenError::NoTask)?).await?;
    let theirs = task.filter(|task| task.agent == client.agent.id);
    theirs.ok_or_else(|| TokenError::ForeignTask(shown(named.unwrap_or_default())))
}

/// The instance whose key the proof is by: the live one, or a new one.
async fn instance_of(
    txn: &mut dyn Txn,
    cx: &Cx,
    (client, of): (&AgentClient, LiveChain),
    (proof, revision): (&VerifiedProof, Revision),
) -> Result<(LiveInstance, Option<aims_model::Event>), TokenError> {
    let jkt = proof.jkt().to_string();
    let instances = txn.instances_of_task(of.task.id).await?;
    let is_it = |one: &&Instance| one.stage.is_live() && one.jkt == jkt;
    if let Some(one) = instances.iter().find(is_it) {
        let theirs = one.agent == client.agent.id && one.process == client.process;
        if !theirs || one.node.is_some() {
            return Err(TokenError::KeyTaken);
        }
        let live = LiveInstance::find(txn, one.id, cx.now).await;
        return Ok((live.map_err(not_live)?, None));
    }
    check_may_begin(txn, client, &instances, &jkt).await?;
    let (live, made) = begin(txn, cx, (client, of), (proof, revision)).await?;
    Ok((live, Some(made)))
}

/// Whether another instance of the task may begin, with this key.
async fn check_may_begin(
    reader: &mut dyn Reader,
    client: &AgentClient,
    instances: &[Instance],
    jkt: &str,
) -> Result<(), TokenError> {
    // INVARIANT: what would be issued is not weaker than what the registration names.
    let shown = client
        .process
        .map_or(Assurance::KeyHeld, |_| Assurance::Observed);
    if client.agent.assurance != shown {
        let unregistered = "an agent proved itself in another way than it is registered for";
        return Err(Fault::Inconsistent(unregistered.to_owned()).into());
    }
    let killed = |one: &Instance| matches!(&one.stage, Stage::Ended { how, .. } if is_kill(how));
    if instances.iter().any(killed) {
        return Err(TokenError::Killed);
    }
    if instances.len() >= REMOTE_INSTANCES_MAX {
        return Err(TokenError::TooManyInstances);
    }
    // A key that two instances share would let one act as the other; one that is cut off stays so.
    let enrolled = reader.key(jkt).await?.is_some();
    let live = reader.instances_live().await?;
    let subject = Subject::Key(jkt.to_owned());
    let cut = reader
        .cutoffs()
        .await?
        .iter()
        .any(|cut| cut.subject == subject);
    if enrolled || cut || live.iter().any(|one| one.jkt == jkt) {
        return Err(TokenError::KeyTaken);
    }
    Ok(())
}

/// Makes the instance; gives its record.
async fn begin(
    txn: &mut dyn Txn,
    cx: &Cx,
    (client, of): (&AgentClient, LiveChain),
    (proof, revision): (&VerifiedProof, Revision),
) -> Result<(LiveInstance, aims_model::Event), TokenError> {
    let policy = txn.policy_current().await?;
    let policy = policy.ok_or_else(|| Fault::Inconsistent("no policy is in force".to_owned()))?;
    let asked = format!("{} {} {}", client.kid, proof.jkt(), proof.jti());
    let run = Run {
        id: cx.id()?,
        task: of.task.id,
        agent: client.agent.id,
        delegation: of.leaf.grant.id,
        requested_by: of.person.id,
        parent: None,
        ticket: sha256(asked.as_bytes()),
        expires_at: cx.now,
        redeemed_at: Some(cx.now),
        redeemed_by: None,
    };
    txn.run_insert(&run).await?;
    let instance = Instance {
        id: cx.id()?,
        agent: client.agent.id,
        task: of.task.id,
        run: run.id,
        node: None,
        posture: None,
        process: client.process,
        jkt: Thumbprint::of(proof.key()).to_string(),
        jwk: canonical_jwk(&Jwk::new(*proof.key())),
        stage: Stage::Live { since: cx.now },
    };
    txn.instance_insert(&instance).await?;
    let posture = Object::new().with("assurance", instance.assurance().as_str());
    let body = client
        .described()
        .with("posture", Value::from(posture))
        .with("revision", revision.number());
    let made = made_event(cx, &instance, (&of, &policy), body);
    Ok((LiveInstance { instance, of }, made))
}

fn not_live(error: NotLive) -> TokenError {
    match error {
        NotLive::Internal(fault) => TokenError::Internal(fault),
        error => TokenError::TaskNotLive(error),
    }
}
