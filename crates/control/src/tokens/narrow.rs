//! Less than the whole: a token that carries a part of what its grant allows (RFC 9396 §6.1), and
//! the exchange of a token for a narrower one (RFC 8693).

use aims_authority::{Authority, Detail, Limits, narrower};
use aims_json::Value;
use aims_oauth::dpop::VerifiedProof;
use aims_oauth::{TokenExchange, TokenType};
use aims_store::Txn;
use aims_types::{Actor, Revision};

use super::exchange::check_target;
use super::mint::{Carried, mint};
use super::{Caller, Issued, Shown, TokenError, agent_client, use_client};
use crate::ControlPlane;
use crate::liveness::LiveInstance;
use crate::oauth::counting;

/// What is asked for, and by whom.
pub(super) struct Asked {
    pub(super) exchange: TokenExchange,
    pub(super) client: Shown,
}

/// Gives an agent that runs elsewhere a token for a part of what one of its tokens carries: of the
/// same run, bound to the same key, ending no later. The one proof shows the key of both.
pub(super) async fn exchange(
    plane: &ControlPlane,
    caller: &mut Caller,
    txn: &mut dyn Txn,
    (asked, proof, revision): (Asked, &VerifiedProof, Revision),
) -> Result<Issued, TokenError> {
    let Asked { exchange, client } = asked;
    let client = agent_client(plane, &caller.cx, txn, client).await?;
    caller.cx.actor = Actor::Agent(client.agent.id);
    let cx = &caller.cx;
    use_client(plane, txn, cx, (client.once.as_ref(), Some(proof))).await?;
    if exchange.subject.token_type != TokenType::AccessToken {
        return Err(TokenError::TokenType("subject_token"));
    }
    // It acts for itself and hands nothing on.
    if exchange.actor.is_some() {
        return Err(TokenError::TokenType("actor_token"));
    }
    check_target(plane, &exchange)?;
    let subject = counting(plane, cx, txn, exchange.subject.token.expose()).await?;
    let subject = subject.ok_or(TokenError::SubjectDead)?;
    caller.task = Some(subject.task);
    if subject.common.client_id != client.agent.spiffe_id.as_str() {
        return Err(TokenError::ForeignToken);
    }
    if subject.common.jkt != proof.jkt() {
        return Err(TokenError::ActorKey);
    }
    let held = read(&subject.authorization_details)?;
    let carried = Carried {
        details: part_of(&held, exchange.authorization_details.as_ref())?,
        until: Some(subject.common.expires_at),
        jkt: proof.jkt(),
        revision,
    };
    let live = LiveInstance::find(txn, subject.instance, cx.now).await?;
    // Another process of the same service is another run.
    if live.instance.process != client.process {
        return Err(TokenError::ForeignToken);
    }
    let more = client
        .described()
        .with("subject_token", subject.common.token.to_string());
    mint(plane, cx, &live, carried, more)
}

/// What is asked for of what is held: all of it, or what is proven to lie within it. Limits stay
/// those of the grants, which every call is held against as well.
pub(super) fn part_of(held: &[Detail], asked: Option<&Value>) -> Result<Value, TokenError> {
    let write = |details: &[Detail]| Value::Array(details.iter().map(Detail::to_value).collect());
    let Some(asked) = asked else {
        return Ok(write(held));
    };
    let asked = read(asked)?;
    if asked.is_empty() {
        return Err(TokenError::Details);
    }
    // What is narrower is one hop further down: of limits nothing but that is compared.
    let hop = Limits::default().with_depth(1);
    let held = Authority::new(held.to_vec(), hop.map_err(|_| TokenError::Details)?);
    let part = Authority::new(asked, Limits::default());
    let (held, part) = held
        .and_then(|held| Ok((held, part?)))
        .map_err(|_| TokenError::Details)?;
    narrower(&part, &held).map_err(|_| TokenError::Details)?;
    Ok(write(part.details()))
}

fn read(details: &Value) -> Result<Vec<Detail>, TokenError> {
    let entries = details.as_array().ok_or(TokenError::Details)?;
    let read = entries.iter().map(Detail::from_value);
    read.collect::<Result<_, _>>()
        .map_err(|_| TokenError::Details)
}
