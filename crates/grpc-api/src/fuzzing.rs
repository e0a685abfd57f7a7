//! What the links make of any bytes, for the fuzz target `links`.

use std::sync::Arc;

use aims_links::{
    Chain, CredentialLease, InstanceGrant, Joined, JwtSvid, LaunchOrder, LeaseGrant, Refusal,
    ServiceGrant, ShippedRecord, Svid, TokenCall, TokenReply, TreeClaim, TrustBundle,
};
use aims_model::approval::Asked;
use aims_model::receipt::Ended;
use aims_model::{Evidence, EvidenceGap, Point, Posture, ProcessSeen, ServerSpec, ToolPin};
use aims_types::Id;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message::{MessageError, Read, ended, json, lease_ask, malformed, steps, to_json};
use crate::state::{Parts, change, changed};
use crate::{answer, proto};

type Parser = fn(&[u8]) -> Read<Vec<u8>>;

/// Each message and each JSON member that one side understands, and says again.
const PARSERS: [Parser; 29] = [
    message::<proto::Refusal, Refusal>,
    message::<proto::Svid, Svid>,
    message::<proto::Joined, Joined>,
    message::<proto::Order, LaunchOrder>,
    message::<proto::InstanceGrant, InstanceGrant>,
    message::<proto::TokenCall, TokenCall>,
    message::<proto::TokenReply, TokenReply>,
    message::<proto::Credential, CredentialLease>,
    message::<proto::Chain, Chain>,
    message::<proto::ShippedRecord, ShippedRecord>,
    message::<proto::TreeAnswer, TreeClaim>,
    message::<proto::Bundle, TrustBundle>,
    message::<proto::SvidAnswer, Result<Svid, Refusal>>,
    message::<proto::LeaseAnswer, Result<LeaseGrant, Refusal>>,
    message::<proto::OrderAnswer, Result<LaunchOrder, Refusal>>,
    message::<proto::InstanceAnswer, Result<InstanceGrant, Refusal>>,
    message::<proto::JwtAnswer, Result<JwtSvid, Refusal>>,
    message::<proto::ServiceAnswer, Result<Vec<ServiceGrant>, Refusal>>,
    message::<proto::CredentialAnswer, Result<CredentialLease, Refusal>>,
    lease,
    approval,
    earlier,
    state,
    member::<Posture>,
    member::<Evidence>,
    member::<ProcessSeen>,
    member::<Asked>,
    pins_and_specs,
    receipts,
];

/// What is said of bytes that are understood by parser `which`, in the form in which it is said;
/// `None` if they are refused. What is said is understood, and said as the same.
pub fn said_again(which: u8, bytes: &[u8]) -> Option<Vec<u8>> {
    let parser = PARSERS.get(usize::from(which) % PARSERS.len())?;
    parser(bytes).ok()
}

fn decoded<W: Message + Default>(bytes: &[u8]) -> Read<W> {
    W::decode(bytes).map_err(|error| malformed("message", &error))
}

fn message<W, T>(bytes: &[u8]) -> Read<Vec<u8>>
where
    W: Message + Default + From<T>,
    T: TryFrom<W, Error: Into<MessageError>>,
{
    let value = T::try_from(decoded::<W>(bytes)?).map_err(Into::into)?;
    Ok(W::from(value).encode_to_vec())
}

fn member<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Read<Vec<u8>> {
    json::<T>("member", bytes).map(|value| to_json(&value))
}

fn lease(bytes: &[u8]) -> Read<Vec<u8>> {
    let point = Point::Gateway(Id::from_u128(1));
    let ask = lease_ask(point, decoded(bytes)?)?;
    Ok(proto::LeaseAsk::from(ask).encode_to_vec())
}

fn approval(bytes: &[u8]) -> Read<Vec<u8>> {
    let answer = answer::approval(decoded(bytes)?)?;
    Ok(answer
        .map(proto::ApprovalAnswer::from)
        .unwrap_or_default()
        .encode_to_vec())
}

/// What a gateway says that it ended, as the server keeps it.
fn earlier(bytes: &[u8]) -> Read<Vec<u8>> {
    let applied: proto::Applied = decoded(bytes)?;
    let said = |step: aims_links::Step| proto::Step {
        after: step.after.number(),
        to: step.to.number(),
        ended_json: to_json(&step.ended),
    };
    let applied = proto::Applied {
        revision: applied.revision,
        ended_json: to_json(&ended(&applied.ended_json)?),
        earlier: steps(&applied.earlier)?.into_iter().map(said).collect(),
    };
    Ok(applied.encode_to_vec())
}

/// A state that came in any two parts, and then once more as it differs from itself.
fn state(bytes: &[u8]) -> Read<Vec<u8>> {
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    let mut parts = Parts::default();
    let part = |data: &[u8], last| proto::StatePart {
        data: data.to_vec().into(),
        last,
    };
    parts.add(&part(first, false))?;
    let whole = parts.add(&part(rest, true))?.unwrap_or_default();
    let state = changed(None, whole)?;
    let nothing = change(Some(&state), &state);
    let again = changed(Some(&state), nothing)?;
    assert!(Arc::ptr_eq(&state.policy, &again.policy) && state.cutoffs == again.cutoffs);
    Ok(change(None, &again).encode_to_vec())
}

fn pins_and_specs(bytes: &[u8]) -> Read<Vec<u8>> {
    member::<Vec<ToolPin>>(bytes).or_else(|_| member::<ServerSpec>(bytes))
}

fn receipts(bytes: &[u8]) -> Read<Vec<u8>> {
    let gaps = |_| member::<Vec<EvidenceGap>>(bytes);
    json::<Ended>("ended", bytes).map_or_else(gaps, |_| ended(bytes).map(|kept| to_json(&kept)))
}
