//! From signed grants to a chain that was checked.

mod consent;
mod error;
mod request;

use std::time::Duration;

use aims_crypto::{PublicKey, base64url};
use aims_jose::{Jws, JwsLimits, KeySource, Verified, VerifyError};
use aims_json::Limits;
use aims_model::grant::{CHAIN_LEN_MAX, Delegator, GRANT_TTL_SECS_MAX, GRANT_TYP, grant_digest};
use aims_model::{Grant, Subject};
use aims_oauth::Chain;
use aims_types::{Digest, Id, Instance, Name, Person, Task, Timestamp, TrustDomain};

use self::consent::check_consent;
pub use self::error::ChainError;
use self::request::check_request;

/// How far the clocks of the one who signs and the one who checks may be apart.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_mins(1);
/// Oldest consent that a root grant, and oldest request that one below it, may be issued on.
pub const CONSENT_AGE_MAX: Duration = Duration::from_mins(5);
/// A grant holds an authority twice, once within the consent or request.
const GRANT_LIMITS: JwsLimits = JwsLimits {
    text: 256 << 10,
    json: Limits::DOCUMENT,
};

/// Where the keys are that may sign grants, consents and identities at an instant.
pub trait ChainKeys {
    /// The grant key with this thumbprint, if it was enrolled and not retired at `at`.
    fn grant_key(&self, kid: &str, at: Timestamp) -> Option<PublicKey>;
    /// This person's key with this thumbprint, if it was enrolled and not retired at `at`.
    fn person_key(&self, person: Id<Person>, kid: &str, at: Timestamp) -> Option<PublicKey>;
    /// The token key with this thumbprint, if it was enrolled and not retired at `at`.
    fn token_key(&self, kid: &str, at: Timestamp) -> Option<PublicKey>;
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

/// A delegation chain whose every signature, link, consent and request was checked, and of which
/// each hop is proven to be narrower than the one above. Only [`verify_chain`] makes one. Validity
/// in time is looked at again for each decision.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedChain {
    hops: Vec<Hop>,
    instances: Vec<Id<Instance>>,
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

/// Checks a whole chain: each grant's signature and digest, the links between them, the person's
/// consent at the root, for each further hop the request of the instance that delegated and that
/// it is narrower than the one above, and validity at `now`. One bad hop refuses all.
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
    let (mut signers, mut instances) = (Vec::new(), Vec::new());
    for (index, (jws, claimed)) in presented.grants.iter().zip(presented.claimed).enumerate() {
        let (hop, signer) = read_hop(index, jws, *claimed, keys)?;
        signers.extend(signer);
        check_link(index, &hops, &hop, presented)?;
        if let Some(parent) = hops.last() {
            let handed = check_request(index, parent, &hop.grant, keys)?;
            signers.extend(handed.keys);
            instances.push(handed.instance);
        }
        hops.push(hop);
    }
    let Some(Hop { grant: root, .. }) = hops.first() else {
        return Err(ChainError::Length { found, claimed });
    };
    let link = |claim| Err(ChainError::Link { hop: 0, claim });
    // At the root no instance has been attested yet that could have delegated.
    let Delegator::Person { id, name, consent } = &root.delegator else {
        return link("delegator");
    };
    if *id != presented.person {
        return link("sub");
    }
    signers.extend(check_consent(*id, consent, root, keys)?);
    let (person, person_name, hash) = (*id, name.clone(), presented.claimed_hash);
    let chain = VerifiedChain {
        hops,
        instances,
        keys: distinct(signers),
        hash,
        person,
        person_name,
    };
    chain.check_time(now)?;
    Ok(chain)
}

/// Each text once, where it first stands.
fn distinct(mut texts: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    texts.retain(|text| seen.insert(text.clone()));
    texts
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

    /// The instances that delegated, one for each hop below the root, topmost first. What one of
    /// them handed on lives no longer than it does.
    pub fn instances(&self) -> &[Id<Instance>] {
        &self.instances
    }

    /// The thumbprints of the keys that signed grants, consent, requests and the identities of the
    /// instances that asked, each once.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// All that the chain stands on and falls with: its person and task, the delegation and agent
    /// of each hop, the instances that delegated, and the keys.
    pub fn subjects(&self) -> Vec<Subject> {
        let mut subjects = vec![Subject::Person(self.person)];
        subjects.extend(self.leaf().map(|leaf| Subject::Task(leaf.grant.task)));
        for Hop { grant, .. } in &self.hops {
            subjects.push(Subject::Delegation(grant.id));
            subjects.push(Subject::Agent(grant.delegate));
        }
        subjects.extend(self.instances.iter().copied().map(Subject::Instance));
        subjects.extend(self.keys.iter().cloned().map(Subject::Key));
        subjects
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
pub(crate) struct KeysAt<F>(pub(crate) F);

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
pub(crate) fn payload(jws: &str) -> Vec<u8> {
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
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
