//! Token exchange: a grant and an instance's identity for an access token (RFC 8693).

use aims_crypto::PublicKey;
use aims_jose::Thumbprint;
use aims_json::Object;
use aims_model::KeyPurpose;
use aims_model::grant::grant_digest;
use aims_oauth::dpop::VerifiedProof;
use aims_oauth::{
    AssertionExpect, ClientAssertion, ClientCredential, TokenExchange, TokenType,
    UnverifiedClientAssertion, WorkloadIdentity, WorkloadIdentityClaims, WorkloadIdentityExpect,
};
use aims_store::{Reader, Txn};
use aims_types::{self as types, Cx, Id, Node, Revision, SpiffeId};

use super::mint::{Carried, details, mint};
use super::{Caller, Issued, TokenError, TrustedKeys, use_once};
use crate::ControlPlane;
use crate::joins::node_of;
use crate::keyring::parse_jwk;
use crate::liveness::LiveInstance;
use crate::recording::shown;

/// An exchange and who asks for it.
pub(super) struct Asked {
    pub(super) exchange: TokenExchange,
    pub(super) client: Option<ClientCredential>,
}

/// Issues the token of a live instance: client, proof, actor, subject, target and every fact that
/// they rest on are checked anew.
pub(super) async fn exchange(
    plane: &ControlPlane,
    caller: &mut Caller,
    txn: &mut dyn Txn,
    (asked, proof, revision): (Asked, &VerifiedProof, Revision),
) -> Result<Issued, TokenError> {
    let Asked { exchange, client } = asked;
    let (client, node) = client_of(plane, &caller.cx, txn, client).await?;
    caller.cx.actor = types::Actor::Node(node);
    let cx = &caller.cx;
    let actor = actor_of(plane, cx, txn, &exchange).await?;
    let instance = txn.instance(actor.instance).await?;
    caller.task = instance.map(|instance| instance.task);
    if Thumbprint::of(&actor.key) != proof.jkt() {
        return Err(TokenError::ActorKey);
    }
    check_target(plane, &exchange)?;
    let used = (client.client_id(), client.jti(), client.replayable_until());
    use_once(plane, txn, cx, used, proof).await?;
    let live = LiveInstance::find(txn, actor.instance, cx.now).await?;
    check_instance(&live, &actor, node, proof)?;
    check_subject(txn, &live, &exchange).await?;
    let more = Object::new().with("node", node.to_string());
    let carried = Carried {
        details: details(&live.of),
        until: None,
        jkt: proof.jkt(),
        revision,
    };
    mint(plane, cx, &live, carried, more)
}

/// The node that authenticates with its enrolled key (RFC 7523 §2.2).
async fn client_of(
    plane: &ControlPlane,
    cx: &Cx,
    reader: &mut dyn Reader,
    client: Option<ClientCredential>,
) -> Result<(ClientAssertion, Id<Node>), TokenError> {
    let client = client.ok_or(TokenError::NoClient)?;
    let parsed =
        UnverifiedClientAssertion::parse(client.assertion.expose()).map_err(TokenError::Client)?;
    let claimed = parsed.claimed_client_id();
    if client.client_id.is_some_and(|id| id != claimed) {
        return Err(TokenError::ClientDiffers);
    }
    let foreign = || TokenError::ForeignClient(shown(claimed));
    let node = node_named(plane, claimed).ok_or_else(foreign)?;
    let key = reader
        .key(parsed.claimed_kid().ok_or_else(foreign)?)
        .await?;
    let key = key
        .filter(|key| node_of(key) == Some(node))
        .ok_or_else(foreign)?;
    let key: PublicKey = parse_jwk(&key.jwk)?;
    let expect = AssertionExpect {
        issuer: &plane.parts().config.issuer,
        now: cx.now,
    };
    Ok((
        parsed.verify(&key, &expect).map_err(TokenError::Client)?,
        node,
    ))
}

/// The node that `spiffe://<trust domain>/node/<id>` names.
fn node_named(plane: &ControlPlane, client_id: &str) -> Option<Id<Node>> {
    let id: SpiffeId = client_id.parse().ok()?;
    let ours = id.trust_domain() == *plane.trust_domain();
    id.path()
        .strip_prefix("node/")
        .filter(|_| ours)?
        .parse()
        .ok()
}

/// The instance by its workload identity token, which is the actor token.
async fn actor_of(
    plane: &ControlPlane,
    cx: &Cx,
    reader: &mut dyn Reader,
    exchange: &TokenExchange,
) -> Result<WorkloadIdentityClaims, TokenError> {
    let actor = exchange.actor.as_ref().ok_or(TokenError::NoActor)?;
    if actor.token_type != TokenType::Jwt {
        return Err(TokenError::TokenType("actor_token"));
    }
    let keys = TrustedKeys::load(reader, KeyPurpose::Token, cx.now).await?;
    let expect = WorkloadIdentityExpect {
        trust_domain: plane.trust_domain(),
        now: cx.now,
    };
    let verified = WorkloadIdentity::verify(actor.token.expose(), &keys, &expect)?;
    Ok(verified.claims().clone())
}

/// One target, and nothing asked for that is not issued here.
pub(super) fn check_target(
    plane: &ControlPlane,
    exchange: &TokenExchange,
) -> Result<(), TokenError> {
    let resource = plane.parts().config.resource.as_str();
    let target = || TokenError::Target(resource.to_owned());
    if exchange.resource.as_deref() != Some(resource) {
        return Err(target());
    }
    if exchange
        .audience
        .as_deref()
        .is_some_and(|audience| audience != resource)
    {
        return Err(target());
    }
    if exchange.scope.is_some() {
        return Err(TokenError::Scope);
    }
    match exchange.requested_token_type {
        None | Some(TokenType::AccessToken) => Ok(()),
        Some(TokenType::Jwt) => Err(TokenError::TokenType("requested_token_type")),
    }
}

/// The actor token, the client and the proof all speak of this one instance.
fn check_instance(
    live: &LiveInstance,
    actor: &WorkloadIdentityClaims,
    node: Id<Node>,
    proof: &VerifiedProof,
) -> Result<(), TokenError> {
    let instance = &live.instance;
    if instance.node != Some(node) {
        return Err(TokenError::ForeignInstance(instance.id));
    }
    if instance.jkt != proof.jkt().to_string() {
        return Err(TokenError::ActorDiffers("key"));
    }
    if live.of.leaf.agent.spiffe_id != actor.subject {
        return Err(TokenError::ActorDiffers("subject"));
    }
    Ok(())
}

/// The subject token is exactly the grant that the instance acts under.
async fn check_subject(
    reader: &mut dyn Reader,
    live: &LiveInstance,
    exchange: &TokenExchange,
) -> Result<(), TokenError> {
    if exchange.subject.token_type != TokenType::Jwt {
        return Err(TokenError::TokenType("subject_token"));
    }
    let digest = grant_digest(exchange.subject.token.expose());
    let grant = reader
        .grant(&digest)
        .await?
        .ok_or(TokenError::UnknownGrant)?;
    if grant.id != live.of.leaf.grant.id || grant.digest != live.of.leaf.stored.digest {
        return Err(TokenError::ForeignGrant);
    }
    match &exchange.authorization_details {
        Some(asked) if *asked != details(&live.of) => Err(TokenError::Details),
        _ => Ok(()),
    }
}
