//! A person's token for administration, by an assertion signed with their key (RFC 7523 §2.1).

use std::time::Duration;

use aims_jose::Thumbprint;
use aims_json::Object;
use aims_model::{EnrolledKey, KeyOwner, KeyPurpose};
use aims_oauth::dpop::VerifiedProof;
use aims_oauth::{
    ADMIN_SCOPE, AccessToken, AssertionExpect, PersonToken, TokenCommon, TokenResponse, TokenType,
    UnverifiedPersonGrant,
};
use aims_store::Txn;
use aims_types::{Actor, Cx, Secret};

use super::{ACCESS_TOKEN_TTL_SECS, Issued, TokenError, sign, use_once};
use crate::ControlPlane;
use crate::keyring::parse_jwk;

/// Issues an admin token to the person whose enrolled key signed the assertion, bound to that key.
pub(super) async fn admin(
    plane: &ControlPlane,
    cx: &mut Cx,
    txn: &mut dyn Txn,
    (assertion, scope, proof): (&Secret<String>, Option<String>, &VerifiedProof),
) -> Result<Issued, TokenError> {
    if scope.as_deref().is_some_and(|scope| scope != ADMIN_SCOPE) {
        return Err(TokenError::Scope);
    }
    let issuer = plane.parts().config.issuer.as_str();
    let parsed = UnverifiedPersonGrant::parse(assertion.expose()).map_err(TokenError::Assertion)?;
    let id = parsed.claimed_person();
    let theirs = |key: &EnrolledKey| {
        key.purpose == KeyPurpose::Person
            && key.owner == KeyOwner::Person(id)
            && key.retired_at.is_none()
    };
    let kid = parsed.claimed_kid().ok_or(TokenError::ForeignPerson)?;
    let key = txn
        .key(kid)
        .await?
        .filter(theirs)
        .ok_or(TokenError::ForeignPerson)?;
    let key = parse_jwk(&key.jwk)?;
    let verified = parsed
        .verify(
            &key,
            &AssertionExpect {
                issuer,
                now: cx.now,
            },
        )
        .map_err(TokenError::Assertion)?;
    if Thumbprint::of(&key) != proof.jkt() {
        return Err(TokenError::ActorKey);
    }
    let person = txn.person(verified.person()).await?;
    let person = person.filter(|person| person.removed_at.is_none());
    let person = person.ok_or(TokenError::ForeignPerson)?;
    cx.actor = Actor::Person(person.id);
    let used = (kid, verified.jti(), verified.replayable_until());
    use_once(plane, txn, cx, used, proof).await?;
    let common = TokenCommon {
        issuer: issuer.to_owned(),
        client_id: person.id.to_string(),
        audience: issuer.to_owned(),
        issued_at: cx.now,
        expires_at: cx.now.plus(Duration::from_secs(ACCESS_TOKEN_TTL_SECS)),
        token: cx.id()?,
        jkt: proof.jkt(),
    };
    let token = AccessToken::Person(PersonToken {
        common,
        person: person.id,
    });
    let body = Object::new()
        .with("subject", person.id.to_string())
        .with("scope", ADMIN_SCOPE);
    let (text, expires_in, event) = sign(plane, cx, &token, body)?;
    let response = TokenResponse {
        access_token: Secret::new(text),
        issued_token_type: TokenType::AccessToken,
        expires_in,
        scope: Some(ADMIN_SCOPE.to_owned()),
        authorization_details: None,
    };
    Ok(Issued {
        response,
        events: vec![event],
    })
}
