//! Between the messages of the links and their wire forms.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use aims_links::{
    Chain, ChainHop, CredentialLease, InstanceGrant, LaunchOrder, LeaseAsk, LeaseGrant,
    PrincipalFacts, Refusal, ShippedRecord, Step, Svid, Telling, TokenCall, TokenReply, TreeClaim,
    TreeGrant,
};
use aims_model::approval::Asked;
use aims_model::material::MATERIAL_KEY_LEN;
use aims_model::receipt::Ended;
use aims_model::{MaterialKey, Point, Unaccounted};
use aims_types::{Revision, Secret, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::proto;

/// A message that says something else than its form allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the member `{member}` of a message is missing or malformed: {why}")]
pub struct MessageError {
    /// Which member.
    pub member: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl From<MessageError> for tonic::Status {
    fn from(error: MessageError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// Longest name of an action whose effect is unknown, in bytes; one with a longer name is counted.
const EFFECT_LEN_MAX: usize = 512;

pub(crate) type Read<T> = Result<T, MessageError>;

pub(crate) fn malformed(member: &'static str, why: &(impl Display + ?Sized)) -> MessageError {
    let why = why.to_string();
    MessageError { member, why }
}

/// A value by its text form.
pub(crate) fn text<T: FromStr<Err: Display>>(member: &'static str, text: &str) -> Read<T> {
    text.parse()
        .map_err(|error: T::Err| malformed(member, &error))
}

/// A value by its JSON form.
pub(crate) fn json<T: DeserializeOwned>(member: &'static str, bytes: &[u8]) -> Read<T> {
    serde_json::from_slice(bytes).map_err(|error| malformed(member, &error))
}

/// The JSON form. Entities of the model always have one.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Most steps that one answer may tell of.
const STEPS_MAX: usize = 64;

/// What a gateway ended on its way to a revision.
pub(crate) fn steps(steps: &[proto::Step]) -> Read<Vec<Step>> {
    let step = |step: &proto::Step| {
        Ok(Step {
            after: Revision::new(step.after),
            to: Revision::new(step.to),
            ended: ended(&step.ended_json)?,
        })
    };
    steps.iter().take(STEPS_MAX).map(step).collect()
}

/// What the other side ended. It is kept for receipts, so no more of it than one has room for.
pub(crate) fn ended(bytes: &[u8]) -> Read<Ended> {
    let mut said: Ended = json("ended", bytes)?;
    let listed = said.unknown.len();
    said.unknown.retain(|one| one.what.len() <= EFFECT_LEN_MAX);
    let left = u32::try_from(listed - said.unknown.len()).unwrap_or(u32::MAX);
    said.unknown_more = said.unknown_more.saturating_add(left);
    let mut ended = Ended::default();
    ended.add(said);
    Ok(ended)
}

/// A member that has to be there.
pub(crate) fn needed<T>(member: &'static str, value: Option<T>) -> Read<T> {
    value.ok_or_else(|| malformed(member, "it is not there"))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<Refusal> for proto::Refusal {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code.into_owned(),
            reason: refusal.reason,
            gaps_json: to_json(&refusal.gaps),
        }
    }
}

impl TryFrom<proto::Refusal> for Refusal {
    type Error = MessageError;

    fn try_from(refusal: proto::Refusal) -> Read<Self> {
        Ok(Self {
            code: refusal.code.into(),
            reason: refusal.reason,
            gaps: json("gaps", &refusal.gaps_json)?,
        })
    }
}

impl From<Svid> for proto::Svid {
    fn from(svid: Svid) -> Self {
        Self {
            chain: svid.chain,
            bundle: svid.bundle,
            expires_at: svid.expires_at.unix_millis(),
        }
    }
}

impl From<proto::Svid> for Svid {
    fn from(svid: proto::Svid) -> Self {
        Self {
            chain: svid.chain,
            bundle: svid.bundle,
            expires_at: Timestamp::from_unix_millis(svid.expires_at),
        }
    }
}

impl From<Asked> for proto::ApprovalAsk {
    fn from(asked: Asked) -> Self {
        let asked_json = to_json(&asked);
        Self { asked_json }
    }
}

impl From<LeaseAsk> for proto::LeaseAsk {
    fn from(ask: LeaseAsk) -> Self {
        Self {
            in_force: ask.in_force.number(),
            head: ask.head.map(|(seq, digest)| proto::LogHead {
                seq,
                digest: digest.to_string(),
            }),
            address: ask.address,
            telling: ask
                .telling
                .map(|Telling { process, number }| proto::Telling { process, number }),
        }
    }
}

/// What `point` asks.
pub(crate) fn lease_ask(point: Point, ask: proto::LeaseAsk) -> Read<LeaseAsk> {
    let head = ask
        .head
        .map(|head| Ok::<_, MessageError>((head.seq, text("digest", &head.digest)?)))
        .transpose()?;
    Ok(LeaseAsk {
        point,
        in_force: Revision::new(ask.in_force),
        head,
        address: ask.address,
        telling: ask
            .telling
            .map(|proto::Telling { process, number }| Telling { process, number }),
    })
}

impl From<LeaseGrant> for proto::Lease {
    fn from(grant: LeaseGrant) -> Self {
        Self {
            length: millis(grant.length),
            revision: grant.revision.number(),
            server_time: grant.server_time.unix_millis(),
        }
    }
}

impl From<proto::Lease> for LeaseGrant {
    fn from(lease: proto::Lease) -> Self {
        Self {
            length: Duration::from_millis(lease.length),
            revision: Revision::new(lease.revision),
            server_time: Timestamp::from_unix_millis(lease.server_time),
        }
    }
}

impl From<LaunchOrder> for proto::Order {
    fn from(order: LaunchOrder) -> Self {
        Self {
            run: order.run.to_string(),
            agent_json: to_json(&order.agent),
            task_json: to_json(&order.task),
            delegation: order.delegation.to_string(),
        }
    }
}

impl TryFrom<proto::Order> for LaunchOrder {
    type Error = MessageError;

    fn try_from(order: proto::Order) -> Read<Self> {
        Ok(Self {
            run: text("run", &order.run)?,
            agent: json("agent", &order.agent_json)?,
            task: json("task", &order.task_json)?,
            delegation: text("delegation", &order.delegation)?,
        })
    }
}

impl From<InstanceGrant> for proto::InstanceGrant {
    fn from(grant: InstanceGrant) -> Self {
        Self {
            instance: grant.instance.to_string(),
            wit: grant.wit,
            expires_at: grant.expires_at.unix_millis(),
            grant: grant.grant,
            issuer: grant.issuer,
            resource: grant.resource,
            deadline: grant.deadline.unix_millis(),
        }
    }
}

impl TryFrom<proto::InstanceGrant> for InstanceGrant {
    type Error = MessageError;

    fn try_from(grant: proto::InstanceGrant) -> Read<Self> {
        Ok(Self {
            instance: text("instance", &grant.instance)?,
            wit: grant.wit,
            expires_at: Timestamp::from_unix_millis(grant.expires_at),
            grant: grant.grant,
            issuer: grant.issuer,
            resource: grant.resource,
            deadline: Timestamp::from_unix_millis(grant.deadline),
        })
    }
}

impl From<TokenCall> for proto::TokenCall {
    fn from(call: TokenCall) -> Self {
        Self {
            form: call.form.into(),
            dpop: call.dpop,
        }
    }
}

impl From<proto::TokenCall> for TokenCall {
    fn from(call: proto::TokenCall) -> Self {
        Self {
            form: call.form.into(),
            dpop: call.dpop,
        }
    }
}

impl From<TokenReply> for proto::TokenReply {
    fn from(reply: TokenReply) -> Self {
        Self {
            status: u32::from(reply.status),
            body: reply.body.into(),
        }
    }
}

impl TryFrom<proto::TokenReply> for TokenReply {
    type Error = MessageError;

    fn try_from(reply: proto::TokenReply) -> Read<Self> {
        let status = u16::try_from(reply.status);
        Ok(Self {
            status: status.map_err(|error| malformed("status", &error))?,
            body: reply.body.into(),
        })
    }
}

impl From<CredentialLease> for proto::Credential {
    fn from(lease: CredentialLease) -> Self {
        Self {
            sealed: lease.sealed,
            key: lease.key.expose().clone(),
        }
    }
}

impl From<proto::Credential> for CredentialLease {
    fn from(credential: proto::Credential) -> Self {
        Self {
            sealed: credential.sealed,
            key: Secret::new(credential.key),
        }
    }
}

impl From<Chain> for proto::Chain {
    fn from(chain: Chain) -> Self {
        let hop = |hop: ChainHop| proto::ChainHop {
            jws: hop.jws,
            agent: hop.delegate.id.to_string(),
            name: hop.delegate.name.to_string(),
            spiffe_id: hop.delegate.spiffe_id.to_string(),
            owner: hop.delegate.owner.to_string(),
            environment: hop.delegate.environment.to_string(),
        };
        Self {
            person_json: to_json(&chain.person),
            hops: chain.hops.into_iter().map(hop).collect(),
            material_key: chain.materials.expose().to_vec(),
        }
    }
}

impl TryFrom<proto::Chain> for Chain {
    type Error = MessageError;

    fn try_from(chain: proto::Chain) -> Read<Self> {
        let hop = |hop: proto::ChainHop| {
            let delegate = PrincipalFacts {
                id: text("agent", &hop.agent)?,
                name: text("name", &hop.name)?,
                spiffe_id: text("spiffe_id", &hop.spiffe_id)?,
                owner: text("owner", &hop.owner)?,
                environment: text("environment", &hop.environment)?,
            };
            let jws = hop.jws;
            Ok(ChainHop { jws, delegate })
        };
        Ok(Self {
            person: json("person", &chain.person_json)?,
            hops: chain.hops.into_iter().map(hop).collect::<Read<_>>()?,
            materials: material_key(chain.material_key)?,
        })
    }
}

fn material_key(bytes: Vec<u8>) -> Read<MaterialKey> {
    let bytes = Secret::new(bytes);
    let key = <[u8; MATERIAL_KEY_LEN]>::try_from(bytes.expose().as_slice());
    let key = key.map_err(|_| malformed("material_key", "it has 32 bytes"))?;
    Ok(MaterialKey::new(Secret::new(key)))
}

impl From<ShippedRecord> for proto::ShippedRecord {
    fn from(shipped: ShippedRecord) -> Self {
        Self {
            seq: shipped.seq,
            record: shipped.record,
            material: shipped.material,
        }
    }
}

impl From<proto::ShippedRecord> for ShippedRecord {
    fn from(shipped: proto::ShippedRecord) -> Self {
        Self {
            seq: shipped.seq,
            record: shipped.record,
            material: shipped.material,
        }
    }
}

impl From<TreeClaim> for proto::TreeAnswer {
    fn from(claim: TreeClaim) -> Self {
        use proto::tree_answer::Answer;
        let answer = match claim {
            TreeClaim::Owned(grant) => Answer::Owned(grant.into()),
            TreeClaim::Elsewhere { gateway, address } => Answer::Elsewhere(proto::TreeElsewhere {
                gateway: gateway.to_string(),
                address,
            }),
            TreeClaim::Unavailable { why } => Answer::Unavailable(why),
        };
        let answer = Some(answer);
        Self { answer }
    }
}

impl From<TreeGrant> for proto::OwnedTree {
    fn from(grant: TreeGrant) -> Self {
        let lost = |lost: Unaccounted| proto::Unaccounted {
            gateway: lost.gateway.to_string(),
            uses: lost.uses,
            since: lost.since.number(),
        };
        Self {
            epoch: grant.epoch,
            before: grant.before,
            window: grant.window,
            revision: grant.revision.number(),
            unaccounted: grant.unaccounted.into_iter().map(lost).collect(),
        }
    }
}

impl TryFrom<proto::OwnedTree> for TreeGrant {
    type Error = MessageError;

    fn try_from(grant: proto::OwnedTree) -> Read<Self> {
        let lost = |lost: proto::Unaccounted| {
            Ok(Unaccounted {
                gateway: text("gateway", &lost.gateway)?,
                uses: lost.uses,
                since: Revision::new(lost.since),
            })
        };
        Ok(Self {
            epoch: grant.epoch,
            before: grant.before,
            window: grant.window,
            revision: Revision::new(grant.revision),
            unaccounted: grant
                .unaccounted
                .into_iter()
                .map(lost)
                .collect::<Read<_>>()?,
        })
    }
}

impl TryFrom<proto::TreeAnswer> for TreeClaim {
    type Error = MessageError;

    fn try_from(claim: proto::TreeAnswer) -> Read<Self> {
        use proto::tree_answer::Answer;
        Ok(match needed("answer", claim.answer)? {
            Answer::Owned(grant) => Self::Owned(grant.try_into()?),
            Answer::Elsewhere(elsewhere) => Self::Elsewhere {
                gateway: text("gateway", &elsewhere.gateway)?,
                address: elsewhere.address,
            },
            Answer::Unavailable(why) => Self::Unavailable { why },
        })
    }
}

#[cfg(test)]
mod tests {
    use aims_model::receipt::UnknownEffect;
    use aims_types::Id;
    use proptest::prelude::*;

    use super::*;

    /// There and back again.
    fn again<T, W>(value: T) -> T
    where
        W: From<T> + prost::Message + Default,
        T: TryFrom<W>,
        T::Error: std::fmt::Debug,
    {
        let bytes = W::from(value).encode_to_vec();
        T::try_from(W::decode(bytes.as_slice()).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn messages_are_the_same_on_the_other_side(
            (words, bytes) in (".*", prop::collection::vec(any::<u8>(), 0..64)),
            (n, flag, key) in (any::<u64>(), any::<bool>(), any::<[u8; 32]>()),
            id in any::<u128>(),
        ) {
            let svid = Svid {
                chain: vec![bytes.clone(), Vec::new()],
                bundle: vec![bytes.clone()],
                expires_at: Timestamp::from_unix_millis(n),
            };
            prop_assert_eq!(again::<_, proto::Svid>(svid.clone()), svid);
            let lease = LeaseGrant {
                length: Duration::from_millis(n),
                revision: Revision::new(n),
                server_time: Timestamp::from_unix_millis(n),
            };
            prop_assert_eq!(again::<_, proto::Lease>(lease), lease);
            let refusal = Refusal {
                code: words.clone().into(),
                reason: words.clone(),
                gaps: Vec::new(),
            };
            prop_assert_eq!(again::<_, proto::Refusal>(refusal.clone()), refusal);
            for claim in [
                TreeClaim::Owned(TreeGrant {
                    epoch: n,
                    before: flag,
                    window: key.into_iter().map(u32::from).sum(),
                    revision: Revision::new(n),
                    unaccounted: vec![Unaccounted {
                        gateway: Id::from_u128(id),
                        uses: 7,
                        since: Revision::new(n),
                    }],
                }),
                TreeClaim::Elsewhere { gateway: Id::from_u128(id), address: words.clone() },
                TreeClaim::Unavailable { why: words.clone() },
            ] {
                prop_assert_eq!(again::<_, proto::TreeAnswer>(claim.clone()), claim);
            }
            let shipped = ShippedRecord {
                seq: n,
                record: bytes.clone(),
                material: flag.then_some(bytes),
            };
            let got = ShippedRecord::from(proto::ShippedRecord::from(shipped.clone()));
            prop_assert_eq!(format!("{got:?}"), format!("{shipped:?}"));
            let materials = MaterialKey::new(Secret::new(key));
            let chain = Chain { materials, ..crate::tests::rich::chain() };
            let got = again::<_, proto::Chain>(chain);
            prop_assert_eq!(got.materials.expose(), &key);
        }
    }

    #[test]
    fn a_key_of_another_length_is_malformed() {
        for len in [0, 31, 33] {
            let chain = proto::Chain {
                material_key: vec![0; len],
                ..crate::tests::rich::chain().into()
            };
            let error = Chain::try_from(chain).unwrap_err();
            assert_eq!(error.member, "material_key");
        }
    }

    #[test]
    fn no_more_is_kept_of_what_ended_than_a_receipt_has_room_for() {
        let effect = |what: String| UnknownEffect {
            decision: Id::from_u128(1),
            what,
        };
        let mut said = Ended {
            unknown: vec![effect("git/push".to_owned()); 5000],
            ..Ended::default()
        };
        said.unknown.push(effect("x".repeat(EFFECT_LEN_MAX + 1)));
        let kept = ended(&to_json(&said)).unwrap();
        assert!(kept.unknown.len() < 5000);
        let listed = u32::try_from(kept.unknown.len()).unwrap();
        assert_eq!(listed + kept.unknown_more, 5001);
    }
}
