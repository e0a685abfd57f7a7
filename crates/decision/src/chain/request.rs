//! An instance's request for each hop below the root.

use aims_authority::narrower;
use aims_jose::{Jws, JwsLimits, Thumbprint};
use aims_model::Grant;
use aims_model::grant::{DELEGATION_TYP, DelegationRequest, Delegator};
use aims_oauth::{WorkloadIdentity, WorkloadIdentityExpect};
use aims_types::{Id, Instance};

use super::{
    CLOCK_SKEW_MAX, CONSENT_AGE_MAX, ChainError, ChainKeys, GRANT_LIMITS, Hop, KeysAt, payload,
};

/// Who handed a hop on.
pub(super) struct Handed {
    /// The instance that delegated.
    pub(super) instance: Id<Instance>,
    /// The thumbprints of the key that vouched for it and of its own.
    pub(super) keys: Vec<String>,
}

/// Checks that the hop lies within the one above and that an instance of that one's agent asked
/// for exactly it, with the key that its workload identity token bound at that time.
pub(super) fn check_request(
    hop: usize,
    parent: &Hop,
    grant: &Grant,
    keys: &dyn ChainKeys,
) -> Result<Handed, ChainError> {
    check_within(hop, parent.grant(), grant)?;
    let Delegator::Agent {
        instance,
        request: text,
        wit,
        ..
    } = &grant.delegator
    else {
        let claim = "delegator";
        return Err(ChainError::Link { hop, claim });
    };
    let parsed =
        Jws::parse(text, &GRANT_LIMITS).map_err(|why| ChainError::RequestForm { hop, why })?;
    let request = DelegationRequest::from_claims(&payload(text))
        .map_err(|why| ChainError::RequestClaims { hop, why })?;
    // The instant is the request's own claim; `check_scope` ties it to that of the grant.
    let identity = identity(hop, wit, &request, grant, keys)?;
    let claims = identity.claims();
    let own = [
        (claims.subject == parent.grant().delegate_spiffe_id, "sub"),
        (claims.instance == *instance, "aims_instance"),
    ];
    if let Some((_, claim)) = own.iter().find(|(holds, _)| !holds) {
        return Err(ChainError::IdentityScope { hop, claim });
    }
    parsed
        .verify(&claims.key, DELEGATION_TYP)
        .map_err(|why| ChainError::RequestSignature { hop, why })?;
    check_scope(hop, *instance, &request, grant)?;
    let vouched = Jws::parse(wit, &JwsLimits::TOKEN).ok();
    let vouched = vouched.and_then(|wit| wit.unverified_header().kid.clone());
    let own = Thumbprint::of(&claims.key).to_string();
    Ok(Handed {
        instance: *instance,
        keys: vouched.into_iter().chain([own]).collect(),
    })
}

/// What a hop takes from the one above: who may hand it on, and how much of it at most.
fn check_within(hop: usize, parent: &Grant, grant: &Grant) -> Result<(), ChainError> {
    let delegated_by_holder = match &grant.delegator {
        Delegator::Agent { id, spiffe_id, .. } => {
            *id == parent.delegate && *spiffe_id == parent.delegate_spiffe_id
        }
        // A person in the middle was never asked.
        Delegator::Person { .. } => false,
    };
    let checks = [
        (delegated_by_holder, "delegator"),
        (grant.expires_at <= parent.expires_at, "exp"),
        (grant.revision >= parent.revision, "rev"),
    ];
    if let Some((_, claim)) = checks.iter().find(|(holds, _)| !holds) {
        return Err(ChainError::Link { hop, claim });
    }
    narrower(&grant.authority, &parent.authority).map_err(|why| ChainError::Wider { hop, why })
}

fn identity(
    hop: usize,
    wit: &str,
    request: &DelegationRequest,
    grant: &Grant,
    keys: &dyn ChainKeys,
) -> Result<WorkloadIdentity, ChainError> {
    let key = |kid: &str| keys.token_key(kid, request.issued_at);
    let expect = WorkloadIdentityExpect {
        trust_domain: &grant.issuer,
        now: request.issued_at,
    };
    WorkloadIdentity::verify(wit, &KeysAt(key), &expect)
        .map_err(|why| ChainError::Identity { hop, why })
}

/// Whether the instance asked for exactly what was granted, shortly before it was.
fn check_scope(
    hop: usize,
    instance: Id<Instance>,
    request: &DelegationRequest,
    grant: &Grant,
) -> Result<(), ChainError> {
    let agent = grant.delegate_spiffe_id.path().strip_prefix("agent/");
    let age = grant.issued_at.since(request.issued_at);
    let early = request.issued_at.since(grant.issued_at);
    let checks = [
        (request.instance == instance, "iss"),
        (request.audience == grant.issuer, "aud"),
        (Some(request.parent) == grant.parent, "parent"),
        (
            grant.delegate_spiffe_id.trust_domain() == grant.issuer,
            "agent",
        ),
        (agent == Some(request.agent.as_str()), "agent"),
        (request.purpose == grant.purpose, "purpose"),
        (grant.expires_at <= request.deadline, "deadline"),
        (request.authority == grant.authority, "authority"),
        (age <= CONSENT_AGE_MAX.saturating_add(CLOCK_SKEW_MAX), "iat"),
        (early <= CLOCK_SKEW_MAX, "iat"),
    ];
    match checks.iter().find(|(holds, _)| !holds) {
        Some((_, claim)) => Err(ChainError::RequestScope { hop, claim }),
        None => Ok(()),
    }
}
