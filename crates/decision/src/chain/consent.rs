//! A person's consent to the root of a chain.

use aims_jose::Jws;
use aims_model::Grant;
use aims_model::grant::{CONSENT_TYP, Consent};
use aims_types::{Id, Person};

use super::{
    CLOCK_SKEW_MAX, CONSENT_AGE_MAX, ChainError, ChainKeys, GRANT_LIMITS, payload, signed_by,
};

/// Checks the consent and returns the thumbprint of the person's key.
pub(super) fn check_consent(
    id: Id<Person>,
    text: &str,
    root: &Grant,
    keys: &dyn ChainKeys,
) -> Result<Option<String>, ChainError> {
    let parsed = Jws::parse(text, &GRANT_LIMITS).map_err(ChainError::ConsentForm)?;
    let consent = Consent::from_claims(&payload(text)).map_err(ChainError::ConsentClaims)?;
    let key = |kid: &str| keys.person_key(id, kid, consent.issued_at);
    let signed = signed_by(&parsed, key, CONSENT_TYP).map_err(ChainError::ConsentSignature)?;
    let agent = root.delegate_spiffe_id.path().strip_prefix("agent/");
    let age = root.issued_at.since(consent.issued_at);
    let early = consent.issued_at.since(root.issued_at);
    let checks = [
        (consent.person == id, "iss"),
        (consent.audience == root.issuer, "aud"),
        (
            root.delegate_spiffe_id.trust_domain() == root.issuer,
            "agent",
        ),
        (agent == Some(consent.agent.as_str()), "agent"),
        (consent.purpose == root.purpose, "purpose"),
        (root.expires_at <= consent.deadline, "deadline"),
        (consent.authority == root.authority, "authority"),
        (age <= CONSENT_AGE_MAX.saturating_add(CLOCK_SKEW_MAX), "iat"),
        (early <= CLOCK_SKEW_MAX, "iat"),
    ];
    match checks.iter().find(|(holds, _)| !holds) {
        Some((_, claim)) => Err(ChainError::ConsentScope(claim)),
        None => Ok(signed.header().kid.clone()),
    }
}
