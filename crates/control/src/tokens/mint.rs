//! The access token of an instance, whoever asked for it and however.

use std::time::Duration;

use aims_jose::Thumbprint;
use aims_json::{Object, Value};
use aims_oauth::{
    AccessToken, Actor, ActorChain, Chain, InstanceToken, TokenCommon, TokenResponse, TokenType,
};
use aims_types::{Cx, Digest, Revision, Secret, Timestamp};

use super::{ACCESS_TOKEN_TTL_SECS, Issued, TokenError, sign};
use crate::ControlPlane;
use crate::liveness::{LiveChain, LiveHop, LiveInstance};

/// What a token is to carry.
pub(super) struct Carried {
    /// The authority.
    pub(super) details: Value,
    /// When it ends at the latest, if anything but its own life says.
    pub(super) until: Option<Timestamp>,
    /// The key that it is bound to.
    pub(super) jkt: Thumbprint,
    /// The revision at which it is minted.
    pub(super) revision: Revision,
}

/// Makes the token of a live instance; `more` is what the record says of who asked.
pub(super) fn mint(
    plane: &ControlPlane,
    cx: &Cx,
    live: &LiveInstance,
    carried: Carried,
    more: Object,
) -> Result<Issued, TokenError> {
    let LiveInstance { instance, of } = live;
    let Carried {
        details,
        until,
        jkt,
        revision,
    } = carried;
    let latest = cx.now.plus(Duration::from_secs(ACCESS_TOKEN_TTL_SECS));
    let latest = until.map_or(latest, |until| latest.min(until));
    // Tokens count whole seconds: what is rounded up would outlive the task.
    let secs = |at: Timestamp| Timestamp::from_unix_secs(at.unix_secs());
    let agent = of.leaf.agent.spiffe_id.as_str();
    let common = TokenCommon {
        issuer: plane.parts().config.issuer.clone(),
        client_id: agent.to_owned(),
        audience: plane.parts().config.resource.clone(),
        issued_at: secs(cx.now),
        expires_at: secs(latest.min(of.deadline())),
        token: cx.id()?,
        jkt,
    };
    let grants: Vec<Digest> = of.hops().map(|hop| hop.stored.digest).collect();
    let recorded: Vec<Value> = grants.iter().map(|d| d.to_string().into()).collect();
    let token = AccessToken::Instance(InstanceToken {
        common,
        subject: of.person.id.to_string(),
        act: Some(actors(of)?),
        authorization_details: details.clone(),
        task: of.task.id,
        instance: instance.id,
        assurance: instance.assurance().as_str().to_owned(),
        chain: Chain::new(grants)?,
        revision,
    });
    let body = more
        .with("subject", of.person.id.to_string())
        .with("agent", agent)
        .with("instance", instance.id.to_string())
        .with("chain", recorded)
        .with("revision", revision.number());
    let (text, expires_in, event) = sign(plane, cx, &token, body)?;
    let response = TokenResponse {
        access_token: Secret::new(text),
        issued_token_type: TokenType::AccessToken,
        expires_in,
        scope: None,
        authorization_details: Some(details),
    };
    Ok(Issued {
        response,
        events: vec![event.of_task(of.task.id)],
    })
}

/// RFC 8693 §4.1: who acts now outermost, the one who delegated to it within.
fn actors(of: &LiveChain) -> Result<ActorChain, TokenError> {
    let acts = |hop: &LiveHop| Actor {
        sub: hop.agent.spiffe_id.to_string(),
        iss: None,
    };
    let prior = of.above.iter().rev().map(acts).collect();
    Ok(ActorChain::new(acts(&of.leaf), prior)?)
}

/// The authority as `authorization_details` (RFC 9396 §2).
pub(super) fn details(of: &LiveChain) -> Value {
    let details = of.leaf.grant.authority.details().iter();
    Value::Array(details.map(aims_authority::Detail::to_value).collect())
}
