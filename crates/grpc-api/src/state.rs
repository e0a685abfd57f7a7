//! States as they travel: as they differ from the one before in the same session.

use std::collections::HashSet;
use std::sync::Arc;

use aims_links::ControlState;
use aims_model::CutOff;
use aims_types::Revision;
use futures_util::{StreamExt, stream};
use prost::Message;
use tonic::Status;

use crate::message::{Read, json, malformed, needed, to_json};
use crate::proto::{self, gateway_asked::Ask};
use crate::session::Messages;
use crate::{STATE_LEN_MAX, STATE_PART_LEN};

/// How `state` differs from the one that was sent `before`.
pub(crate) fn change(before: Option<&ControlState>, state: &ControlState) -> proto::StateChange {
    fn part<T: serde::Serialize>(new: &Arc<T>, before: Option<&Arc<T>>) -> Option<Vec<u8>> {
        let same = before.is_some_and(|before| Arc::ptr_eq(new, before));
        (!same).then(|| to_json(new.as_ref()))
    }
    let known: HashSet<_> = before
        .iter()
        .flat_map(|state| state.cutoffs.iter())
        .map(|cut| (&cut.subject, cut.at_or_before))
        .collect();
    let new = state.cutoffs.iter();
    let new = new.filter(|cut| !known.contains(&(&cut.subject, cut.at_or_before)));
    let new_issuer = before.is_none_or(|before| before.issuer != state.issuer);
    proto::StateChange {
        revision: state.revision.number(),
        issuer: new_issuer.then(|| state.issuer.clone()),
        policy_json: part(&state.policy, before.map(|b| &b.policy)),
        servers_json: part(&state.servers, before.map(|b| &b.servers)),
        keys_json: part(&state.keys, before.map(|b| &b.keys)),
        cutoffs_json: to_json(&new.collect::<Vec<_>>()),
        upstreams_json: part(&state.upstreams, before.map(|b| &b.upstreams)),
        approvals_json: part(&state.approvals, before.map(|b| &b.approvals)),
    }
}

/// An encoded change, before it is divided.
pub(crate) fn whole(change: &proto::StateChange) -> proto::StatePart {
    let data = change.encode_to_vec().into();
    proto::StatePart { data, last: true }
}

/// What a gateway is asked, states in parts of at most [`STATE_PART_LEN`]: nothing else waits for
/// more than one of them, and no length of a state is too much for a message.
pub(crate) fn in_parts(asked: Messages<proto::GatewayAsked>) -> Messages<proto::GatewayAsked> {
    Box::pin(asked.flat_map(|asked| stream::iter(parts(asked))))
}

fn parts(
    asked: Result<proto::GatewayAsked, Status>,
) -> impl Iterator<Item = Result<proto::GatewayAsked, Status>> {
    let mut rest = Some(asked);
    std::iter::from_fn(move || {
        let mut asked = rest.take()?;
        if let Ok(proto::GatewayAsked {
            number,
            ask: Some(Ask::State(part)),
        }) = &mut asked
            && part.data.len() > STATE_PART_LEN
        {
            let data = part.data.split_off(STATE_PART_LEN);
            part.last = false;
            let later = Ask::State(proto::StatePart { data, last: true });
            rest = Some(Ok(proto::GatewayAsked {
                number: *number,
                ask: Some(later),
            }));
        }
        Some(asked)
    })
}

/// The parts of a change that have come so far.
#[derive(Default)]
pub(crate) struct Parts(Vec<u8>);

impl Parts {
    /// Adds a part; gives the change with its last one.
    pub(crate) fn add(&mut self, part: &proto::StatePart) -> Read<Option<proto::StateChange>> {
        if self.0.len().saturating_add(part.data.len()) > STATE_LEN_MAX {
            return Err(malformed("state", "it is longer than a gateway can take"));
        }
        self.0.extend_from_slice(&part.data);
        if !part.last {
            return Ok(None);
        }
        let whole = std::mem::take(&mut self.0);
        let change = proto::StateChange::decode(whole.as_slice());
        Ok(Some(change.map_err(|_| {
            malformed("state", "it is no encoded change")
        })?))
    }
}

/// The state that a change makes of the one before it in the same session.
pub(crate) fn changed(
    before: Option<&ControlState>,
    change: proto::StateChange,
) -> Read<ControlState> {
    fn part<T: serde::de::DeserializeOwned>(
        name: &'static str,
        new: Option<Vec<u8>>,
        before: Option<&Arc<T>>,
    ) -> Read<Arc<T>> {
        match new {
            Some(bytes) => Ok(Arc::new(json(name, &bytes)?)),
            None => needed(name, before.map(Arc::clone)),
        }
    }
    let added: Vec<CutOff> = json("cutoffs", &change.cutoffs_json)?;
    let cutoffs = with_added(before.map(|b| &b.cutoffs), added);
    let issuer = change.issuer.or_else(|| before.map(|b| b.issuer.clone()));
    Ok(ControlState {
        revision: Revision::new(change.revision),
        issuer: needed("issuer", issuer)?,
        policy: part("policy", change.policy_json, before.map(|b| &b.policy))?,
        servers: part("servers", change.servers_json, before.map(|b| &b.servers))?,
        upstreams: part(
            "upstreams",
            change.upstreams_json,
            before.map(|b| &b.upstreams),
        )?,
        keys: part("keys", change.keys_json, before.map(|b| &b.keys))?,
        cutoffs,
        approvals: part(
            "approvals",
            change.approvals_json,
            before.map(|b| &b.approvals),
        )?,
    })
}

/// Cut-offs with those that were added. Where none was, it is the same value.
fn with_added(before: Option<&Arc<Vec<CutOff>>>, added: Vec<CutOff>) -> Arc<Vec<CutOff>> {
    match before {
        Some(before) if added.is_empty() => Arc::clone(before),
        Some(before) => Arc::new(before.iter().cloned().chain(added).collect()),
        None => Arc::new(added),
    }
}

#[cfg(test)]
mod tests;
