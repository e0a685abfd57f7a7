//! From signed grants to a chain that was checked.

use std::time::Duration;

use aims_crypto::{PublicKey, base64url};
use aims_jose::{Jws, JwsLimits, KeySource, ParseJwsError, Verified, VerifyError};
use aims_json::Limits;
use aims_model::grant::{
    CHAIN_LEN_MAX, CONSENT_TYP, Consent, Delegator, GRANT_TTL_SECS_MAX, GRANT_TYP, grant_digest,
};
use aims_model::{Grant, GrantError};
use aims_oauth::Chain;
use aims_types::{Digest, Id, Name, Person, Task, Timestamp, TrustDomain};

/// How far the clocks of the one who signs and the one who checks may be apart.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_mins(1);
/// Oldest consent that a root grant may be issued on.
pub const CONSENT_AGE_MAX: Duration = Duration::from_mins(5);
/// A grant holds an authority twice, once within the consent.
const GRANT_LIMITS: JwsLimits = JwsLimits {
    text: 256 << 10,
    json: Limits::DOCUMENT,
};

/// Where the keys are that may sign grants and consents at an instant.
pub trait ChainKeys {
    /// The grant key with this thumbprint, if it was enrolled and not retired at `at`.
    fn grant_key(&self, kid: &str, at: Timestamp) -> Option<PublicKey>;
    /// This person's key with this thumbprint, if it was enrolled and not retired at `at`.
    fn person_key(&self, person: Id<Person>, kid: &str, at: Timestamp) -> Option<PublicKey>;
}

/// What a token says of its chain, and the grants that are said to be it.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The signed grants, root first.
    pub grants: &'a [String],
    /// The digests that the token names (`aims_chain`), root first.
    pub claimed: &'a [Digest],
    /// The commitment to them (`aims_chain_hash`, [`Chain::commitment`]).
    pub claimed_hash: Digest,
    /// The task that the token is for.
    pub task: Id<Task>,
    /// The person that the token speaks for.
    pub person: Id<Person>,
    /// The trust domain whose grants count.
    pub trust_domain: &'a TrustDomain,
}

/// A delegation chain whose every signature, link and consent was checked. Only
/// [`verify_chain`] makes one. Validity in time is looked at again for each decision.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedChain {
    hops: Vec<Hop>,
    keys: Vec<String>,
    hash: Digest,
    person: Id<Person>,
    person_name: Name,
}

/// One hop of a verified chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Hop {
    digest: Digest,
    grant: Grant,
    jws: String,
}

/// Why grants are not a chain. `hop` counts from the root, starting at 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No hop, too many, or another number than the token names.
    #[error("the chain has {found} hops where the token names {claimed}, at most {CHAIN_LEN_MAX}")]
    Length {
        /// How many grants there are.
        found: usize,
        /// How many the token names.
        claimed: usize,
    },
    /// The grant is not the one that the token commits to.
    #[error("hop {hop} is not the grant that the token names")]
    Digest {
        /// Which hop.
        hop: usize,
    },
    /// The token's own hash does not fit its list.
    #[error("the token's chain hash does not fit the digests that it lists")]
    Hash,
    /// Not a signed token at all.
    #[error("hop {hop} is not readable: {why}")]
    Form {
        /// Which hop.
        hop: usize,
        /// What is wrong with it.
        why: ParseJwsError,
    },
    /// The signature is not that of an enrolled grant key.
    #[error("hop {hop} is not signed by an enrolled key: {why}")]
    Signature {
        /// Which hop.
        hop: usize,
        /// What is wrong with it.
        why: VerifyError,
    },
    /// The claims are not a grant.
    #[error("hop {hop} is not a grant: {why}")]
    Claims {
        /// Which hop.
        hop: usize,
        /// What is wrong with it.
        why: GrantError,
    },
    /// The hop does not continue the one above.
    #[error("hop {hop} does not continue the hop above: its `{claim}` differs")]
    Link {
        /// Which hop.
        hop: usize,
        /// Which claim.
        claim: &'static str,
    },
    /// The hop is valid at no time that it may be.
    #[error("hop {hop} is not valid now: {why}")]
    Time {
        /// Which hop.
        hop: usize,
        /// How.
        why: &'static str,
    },
    /// The consent at the root is not readable.
    #[error("the person's consent is not readable: {0}")]
    ConsentForm(ParseJwsError),
    /// The consent is not signed by the person.
    #[error("the consent is not signed by the person's enrolled key: {0}")]
    ConsentSignature(VerifyError),
    /// The claims are not a consent.
    #[error("the consent is not readable: {0}")]
    ConsentClaims(GrantError),
    /// The person consented to something else than was granted.
    #[error("the person did not consent to this grant: `{0}` differs")]
    ConsentScope(&'static str),
}

/// Checks a whole chain: each grant's signature and digest, the links between them, the person's
/// consent at the root, and validity at `now`. One bad hop refuses all.
pub fn verify_chain(
    presented: &Presented<'_>,
    keys: &dyn ChainKeys,
    now: Timestamp,
) -> Result<VerifiedChain, ChainError> {
    let (found, claimed) = (presented.grants.len(), presented.claimed.len());
    if found == 0 || found > CHAIN_LEN_MAX || found != claimed {
        return Err(ChainError::Length { found, claimed });
    }
    let named = Chain::new(presented.claimed.to_vec()).map_err(|_| ChainError::Hash)?;
    if named.commitment() != presented.claimed_hash {
        return Err(ChainError::Hash);
    }
    let mut hops: Vec<Hop> = Vec::with_capacity(found);
    let mut signers = Vec::new();
    for (index, (jws, claimed)) in presented.grants.iter().zip(presented.claimed).enumerate() {
        let (hop, signer) = read_hop(index, jws, *claimed, keys)?;
        signers.extend(signer);
        check_link(index, &hops, &hop, presented)?;
        hops.push(hop);
    }
    let Some(Hop { grant: root, .. }) = hops.first() else {
        return Err(ChainError::Length { found, claimed });
    };
    let Delegator::Person { id, name, consent } = &root.delegator;
    if *id != presented.person {
        return Err(ChainError::Link {
            hop: 0,
            claim: "sub",
        });
    }
    signers.extend(check_consent(consent, root, keys)?);
    let (person, person_name, hash) = (*id, name.clone(), presented.claimed_hash);
    let chain = VerifiedChain {
        hops,
        keys: signers,
        hash,
        person,
        person_name,
    };
    chain.check_time(now)?;
    Ok(chain)
}

impl VerifiedChain {
    /// The hops, root first; never empty.
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }

    /// The commitment to the chain, as tokens carry it ([`Chain::commitment`]).
    pub const fn hash(&self) -> Digest {
        self.hash
    }

    /// The thumbprints of the keys that signed grants and consent.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The person at the root.
    pub const fn person(&self) -> Id<Person> {
        self.person
    }

    /// The person's name.
    pub const fn person_name(&self) -> &Name {
        &self.person_name
    }

    /// The grant at the leaf: what the acting agent holds.
    pub fn leaf(&self) -> Option<&Hop> {
        self.hops.last()
    }

    /// Whether every hop is valid at `now`.
    pub fn check_time(&self, now: Timestamp) -> Result<(), ChainError> {
        for (hop, Hop { grant, .. }) in self.hops.iter().enumerate() {
            if grant.issued_at > now.plus(CLOCK_SKEW_MAX) {
                return Err(ChainError::Time {
                    hop,
                    why: "it was issued in the future",
                });
            }
            if now >= grant.expires_at {
                return Err(ChainError::Time {
                    hop,
                    why: "it has expired",
                });
            }
        }
        Ok(())
    }
}

impl Hop {
    /// The digest of the signed grant.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The grant.
    pub const fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The signed grant as it was presented.
    pub fn jws(&self) -> &str {
        &self.jws
    }
}

fn read_hop(
    index: usize,
    jws: &str,
    claimed: Digest,
    keys: &dyn ChainKeys,
) -> Result<(Hop, Option<String>), ChainError> {
    let hop = index;
    let digest = grant_digest(jws);
    if digest != claimed {
        return Err(ChainError::Digest { hop });
    }
    let parsed = Jws::parse(jws, &GRANT_LIMITS).map_err(|why| ChainError::Form { hop, why })?;
    let claims = payload(jws);
    // The instant is the grant's own claim: it is believed only once the key that was good then
    // has verified it.
    let grant = Grant::from_claims(&claims).map_err(|why| ChainError::Claims { hop, why })?;
    let key = |kid: &str| keys.grant_key(kid, grant.issued_at);
    let verified = signed_by(&parsed, key, GRANT_TYP);
    let verified = verified.map_err(|why| ChainError::Signature { hop, why })?;
    let signer = verified.header().kid.clone();
    Ok((
        Hop {
            digest,
            grant,
            jws: jws.to_owned(),
        },
        signer,
    ))
}

/// Keys as they were at one instant.
struct KeysAt<F>(F);

impl<F: Fn(&str) -> Option<PublicKey>> KeySource for KeysAt<F> {
    fn key(&self, kid: &str) -> Option<PublicKey> {
        (self.0)(kid)
    }
}

fn signed_by(
    jws: &Jws,
    key: impl Fn(&str) -> Option<PublicKey>,
    typ: &'static str,
) -> Result<Verified<aims_jose::Claims>, VerifyError> {
    jws.verify_by_kid(&KeysAt(key), typ)
}

/// The claims' exact bytes, so that only their canonical form is read.
fn payload(jws: &str) -> Vec<u8> {
    let part = jws.split('.').nth(1).unwrap_or_default();
    base64url::decode(part).unwrap_or_default()
}

fn check_link(
    hop: usize,
    above: &[Hop],
    this: &Hop,
    presented: &Presented<'_>,
) -> Result<(), ChainError> {
    let grant = &this.grant;
    let link = |claim| Err(ChainError::Link { hop, claim });
    if grant.issuer != *presented.trust_domain {
        return link("iss");
    }
    if grant.task != presented.task {
        return link("task");
    }
    let ids: Vec<_> = above.iter().map(|hop| hop.grant.id).collect();
    if grant.ancestors != ids || ids.contains(&grant.id) {
        return link("ancestors");
    }
    if grant.parent != above.last().map(|parent| parent.digest) {
        return link("parent");
    }
    if grant.expires_at <= grant.issued_at
        || grant.expires_at.since(grant.issued_at) > Duration::from_secs(GRANT_TTL_SECS_MAX)
    {
        return Err(ChainError::Time {
            hop,
            why: "it is valid for longer than a day, or never",
        });
    }
    // Only the root is delegated by a person; a person in the middle was never asked.
    match (&grant.delegator, above.is_empty()) {
        (Delegator::Person { .. }, true) => Ok(()),
        (Delegator::Person { .. }, false) => link("delegator"),
    }
}

/// Checks the consent and returns the thumbprint of the person's key.
fn check_consent(
    text: &str,
    root: &Grant,
    keys: &dyn ChainKeys,
) -> Result<Option<String>, ChainError> {
    let Delegator::Person { id, .. } = &root.delegator;
    let parsed = Jws::parse(text, &GRANT_LIMITS).map_err(ChainError::ConsentForm)?;
    let consent = Consent::from_claims(&payload(text)).map_err(ChainError::ConsentClaims)?;
    let key = |kid: &str| keys.person_key(*id, kid, consent.issued_at);
    let signed = signed_by(&parsed, key, CONSENT_TYP).map_err(ChainError::ConsentSignature)?;
    let agent = root.delegate_spiffe_id.path().strip_prefix("agent/");
    let age = root.issued_at.since(consent.issued_at);
    let early = consent.issued_at.since(root.issued_at);
    let checks = [
        (consent.person == *id, "iss"),
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

#[cfg(test)]
pub(crate) mod tests;
