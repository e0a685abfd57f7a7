//! What a token is worth now, for who is entitled to know (RFC 7662).

use aims_model::{KeyOwner, KeyPurpose};
use aims_oauth::{
    AccessToken, AssertionExpect, ClientCredential, InstanceToken, ReceivedClient,
    ReceivedTokenHandle, TokenExpect, UnverifiedClientAssertion, VerifiedAccessToken, active,
    inactive,
};
use aims_store::{Reader, Txn};
use aims_types::{Actor, Cx, Gateway, Id, SpiffeId};
use aims_x509::PeerId;
use bytes::Bytes;

use super::Verifying;
use crate::keyring::parse_jwk;
use crate::liveness::{LiveInstance, NotLive};
use crate::recording::shown;
use crate::tokens::{Once, Shown, TokenError, agent_client, use_client};
use crate::{ControlPlane, Fault};

/// What the path of a gateway's SPIFFE ID begins with.
const GATEWAY_PATH: &str = "gateway/";

/// Who asks.
enum Asker {
    /// A resource server: a gateway, for which every token is meant.
    Gateway(Id<Gateway>),
    /// An agent, which learns of its own tokens only.
    Agent(SpiffeId),
}

/// Says what a token is worth to its resource server, or to the agent that holds it; to anybody
/// else, and whatever is wrong with it, that it is not active and nothing more (RFC 7662 §2.2).
pub(super) async fn introspect(
    plane: &ControlPlane,
    cx: &mut Cx,
    (form, peer): (&[u8], Option<PeerId>),
) -> Result<Bytes, TokenError> {
    let ReceivedTokenHandle { token, client } = ReceivedTokenHandle::parse(form)?;
    let mut txn = plane.store().begin().await?;
    let asker = asker(plane, cx, txn.as_mut(), Shown { client, peer }).await?;
    cx.actor = match asker {
        Asker::Gateway(id) => Actor::Gateway(id),
        Asker::Agent(_) => cx.actor,
    };
    let found = counting(plane, cx, txn.as_mut(), token.expose()).await?;
    txn.commit(Vec::new()).await?;
    let told = found.filter(|token| match &asker {
        Asker::Gateway(_) => true,
        Asker::Agent(id) => token.common.client_id == id.as_str(),
    });
    let answer = told.map_or_else(inactive, |token| active(&token));
    Ok(Bytes::from(answer.to_string()))
}

async fn asker(
    plane: &ControlPlane,
    cx: &mut Cx,
    txn: &mut dyn Txn,
    shown: Shown,
) -> Result<Asker, TokenError> {
    let claimed = |client: &ClientCredential| {
        let parsed = UnverifiedClientAssertion::parse(client.assertion.expose()).ok()?;
        gateway_named(plane, parsed.claimed_client_id())
    };
    if let Some(ReceivedClient::Jwt(client)) = &shown.client
        && let Some(gateway) = claimed(client)
    {
        let once = gateway_client(plane, cx, txn, (gateway, client)).await?;
        use_client(plane, txn, cx, (Some(&once), None)).await?;
        return Ok(Asker::Gateway(gateway));
    }
    let client = agent_client(plane, cx, txn, shown).await?;
    cx.actor = Actor::Agent(client.agent.id);
    use_client(plane, txn, cx, (client.once.as_ref(), None)).await?;
    Ok(Asker::Agent(client.agent.spiffe_id))
}

/// The gateway whose enrolled key signed the assertion.
async fn gateway_client(
    plane: &ControlPlane,
    cx: &Cx,
    reader: &mut dyn Reader,
    (gateway, client): (Id<Gateway>, &ClientCredential),
) -> Result<Once, TokenError> {
    let parsed =
        UnverifiedClientAssertion::parse(client.assertion.expose()).map_err(TokenError::Client)?;
    let claimed = parsed.claimed_client_id();
    if client.client_id.as_deref().is_some_and(|id| id != claimed) {
        return Err(TokenError::ClientDiffers);
    }
    let foreign = || TokenError::ForeignClient(shown(claimed));
    let kid = parsed.claimed_kid().ok_or_else(foreign)?.to_owned();
    let key = reader.key(&kid).await?.filter(|key| {
        key.purpose == KeyPurpose::Gateway
            && key.owner == KeyOwner::Gateway(gateway)
            && key.retired_at.is_none()
    });
    let key = parse_jwk(&key.ok_or_else(foreign)?.jwk)?;
    let expect = AssertionExpect {
        issuer: &plane.parts().config.issuer,
        now: cx.now,
    };
    let verified = parsed.verify(&key, &expect).map_err(TokenError::Client)?;
    Ok(Once {
        owner: kid,
        jti: verified.jti().to_owned(),
        until: verified.replayable_until(),
    })
}

/// The gateway that `spiffe://<trust domain>/gateway/<id>` names.
fn gateway_named(plane: &ControlPlane, client_id: &str) -> Option<Id<Gateway>> {
    let id: SpiffeId = client_id.parse().ok()?;
    let ours = id.trust_domain() == *plane.trust_domain();
    let id = id.path().strip_prefix(GATEWAY_PATH).filter(|_| ours)?;
    id.parse().ok()
}

/// The token of an instance, if it counts at this moment: whatever it rests on is looked at anew.
pub(crate) async fn counting(
    plane: &ControlPlane,
    cx: &Cx,
    reader: &mut dyn Reader,
    text: &str,
) -> Result<Option<InstanceToken>, Fault> {
    let keys = Verifying::load(reader, cx.now).await?;
    let config = &plane.parts().config;
    let expect = TokenExpect {
        issuer: &config.issuer,
        audience: &config.resource,
        now: cx.now,
    };
    let Ok(verified) = VerifiedAccessToken::verify(text, &keys, &expect) else {
        return Ok(None);
    };
    let AccessToken::Instance(token) = verified.into_inner() else {
        return Ok(None);
    };
    match LiveInstance::find(reader, token.instance, cx.now).await {
        Ok(_) => Ok(Some(token)),
        Err(NotLive::Internal(fault)) => Err(fault),
        Err(_) => Ok(None),
    }
}
