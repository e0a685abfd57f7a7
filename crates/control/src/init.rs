//! Bringing a trust domain into being.

use std::time::Duration;

use aims_crypto::{Alg, PublicKey, sha256};
use aims_json::Object;
use aims_keys::{CreateKeyError, LoadKeyError, Purpose};
use aims_model::{
    EnrolledKey, Event, EventKind, KeyOwner, KeyPurpose, Person, PolicyVersion, Role,
};
use aims_store::Domain;
use aims_types::{Actor, Cx, Id, Key, Name, TrustDomain};
use aims_x509::{CaCertificate, IssueError, Serial, Validity, ValidityError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::keyring::{BadKey, enrolled, parse_jwk};
use crate::recording::event;
use crate::rules::{self, RulesError};
use crate::svids::VALID_BEFORE;
use crate::{Fault, Parts, people, policies};

/// How long the certificate of the trust domain's authority is valid: ten years, leap days left
/// out.
pub const AUTHORITY_LIFE: Duration = Duration::from_hours(10 * 365 * 24);

/// What the first operator decides.
#[derive(Debug, Clone)]
pub struct Init<'a> {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// The first operator's name.
    pub operator_name: Name,
    /// The first operator's public key, as a JWK.
    pub operator_jwk: String,
    /// The policy that is in force at first.
    pub default_policy: &'a str,
}

/// What initialisation made.
#[derive(Debug, Clone)]
pub struct Initialised {
    /// The first operator.
    pub operator: Person,
    /// The keys that were enrolled: ca, token, grant, log, and the operator's.
    pub keys: Vec<EnrolledKey>,
    /// The policy in force.
    pub policy: PolicyVersion,
}

/// Why nothing was initialised.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The store has a trust domain.
    #[error("the store belongs to the trust domain `{0}` already; a store is initialised once")]
    AlreadyInitialised(TrustDomain),
    /// The operator's key can't be used.
    #[error("the operator's key: {0}")]
    OperatorKey(#[from] BadKey),
    /// The policy is not valid.
    #[error("the default policy is not valid: {0}")]
    Policy(#[from] RulesError),
    /// A key of the server could not be made.
    #[error(transparent)]
    Custody(#[from] CreateKeyError),
    /// The authority's key could not be read again.
    #[error(transparent)]
    Reload(#[from] LoadKeyError),
    /// The authority's certificate could not be made.
    #[error("the certificate of the authority can't be made: {0}")]
    Certificate(#[from] IssueError),
    /// The clock is so wrong that no certificate can name its time.
    #[error("the clock says {now}: {why}; set it right first")]
    Clock {
        /// What it says.
        now: aims_types::Timestamp,
        /// Why that can't be.
        why: ValidityError,
    },
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

crate::fault::internal_arm!(InitError);

/// The server's own keys: what each is for and how it signs.
const SERVER_KEYS: [(KeyPurpose, Purpose, Alg); 4] = [
    (KeyPurpose::Ca, Purpose::Ca, Alg::Es256),
    (KeyPurpose::Token, Purpose::Token, Alg::Es256),
    (KeyPurpose::Grant, Purpose::Grant, Alg::Ed25519),
    (KeyPurpose::Log, Purpose::Log, Alg::Ed25519),
];

/// Makes the server's keys, the trust domain, the first operator and the first policy, with a
/// record of each, in one transaction. A store is initialised once.
pub async fn initialise(parts: &Parts, init: Init<'_>) -> Result<Initialised, InitError> {
    let cx = Cx::new(Actor::Server, parts.clock.now(), parts.entropy.clone())?;
    let operator_key = parse_jwk(&init.operator_jwk)?;
    rules::compile(init.default_policy, &[])?;
    if let Some(domain) = parts.store.read().await?.domain().await? {
        return Err(InitError::AlreadyInitialised(domain.trust_domain));
    }
    let mut custody = Vec::new();
    let done = match make_keys(parts, &cx, &init.trust_domain, &mut custody) {
        Ok(keys) => write(parts, &cx, &init, (operator_key, keys)).await,
        Err(error) => Err(error),
    };
    if done.is_err() {
        for id in custody {
            // Best effort: a key that is not enrolled signs nothing that anybody accepts.
            if let Err(error) = parts.keys.destroy(id) {
                tracing::warn!(key = %id, %error, "a key that was not enrolled is left behind");
            }
        }
    }
    done
}

/// Makes the server's keys; `ids` names those in custody, also if this fails in between.
fn make_keys(
    parts: &Parts,
    cx: &Cx,
    trust_domain: &TrustDomain,
    ids: &mut Vec<Id<Key>>,
) -> Result<Vec<EnrolledKey>, InitError> {
    let mut keys = Vec::new();
    for (purpose, custody, alg) in SERVER_KEYS {
        let id: Id<Key> = cx.id()?;
        let public = parts.keys.create(id, custody, alg, cx.entropy.as_ref())?;
        ids.push(id);
        let mut key = enrolled(&public, purpose, KeyOwner::Server, cx.now);
        if purpose == KeyPurpose::Ca {
            let certificate = authority_certificate(parts, cx, trust_domain, id)?;
            key.certificate = Some(STANDARD.encode(certificate.der()));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn authority_certificate(
    parts: &Parts,
    cx: &Cx,
    trust_domain: &TrustDomain,
    id: Id<Key>,
) -> Result<CaCertificate, InitError> {
    let signer = parts.keys.load(id)?.key;
    let ends = cx.now.plus(AUTHORITY_LIFE);
    let validity = Validity::new(cx.now.minus(VALID_BEFORE), ends)
        .map_err(|why| InitError::Clock { now: cx.now, why })?;
    let serial = Serial::generate(cx.entropy.as_ref())?;
    let issued = CaCertificate::issue(&signer, trust_domain, validity, &serial)?;
    Ok(issued)
}

async fn write(
    parts: &Parts,
    cx: &Cx,
    init: &Init<'_>,
    (operator_key, mut keys): (PublicKey, Vec<EnrolledKey>),
) -> Result<Initialised, InitError> {
    let mut txn = parts.store.begin().await?;
    txn.revision_next().await?;
    if let Some(domain) = txn.domain().await? {
        return Err(InitError::AlreadyInitialised(domain.trust_domain));
    }
    let domain = Domain {
        trust_domain: init.trust_domain.clone(),
        created_at: cx.now,
    };
    let operator = Person {
        id: cx.id()?,
        name: init.operator_name.clone(),
        role: Role::Operator,
        enrolled_at: cx.now,
        removed_at: None,
    };
    keys.push(enrolled(
        &operator_key,
        KeyPurpose::Person,
        KeyOwner::Person(operator.id),
        cx.now,
    ));
    let policy = PolicyVersion {
        id: cx.id()?,
        text: init.default_policy.to_owned(),
        digest: sha256(init.default_policy.as_bytes()),
        author: None,
        activated_at: cx.now,
    };
    txn.domain_insert(&domain).await?;
    txn.person_insert(&operator).await?;
    for key in &keys {
        txn.key_insert(key).await?;
    }
    txn.policy_insert(&policy).await?;
    txn.commit(events(parts, cx, (&domain, &operator, &keys, &policy)))
        .await?;
    Ok(Initialised {
        operator,
        keys,
        policy,
    })
}

fn events(
    parts: &Parts,
    cx: &Cx,
    (domain, operator, keys, policy): (&Domain, &Person, &[EnrolledKey], &PolicyVersion),
) -> Vec<Event> {
    let created = Object::new()
        .with("trust_domain", domain.trust_domain.as_str())
        .with("issuer", parts.config.issuer.as_str())
        .with("resource", parts.config.resource.as_str());
    let mut events = vec![event(cx, EventKind::DomainCreated, created)];
    events.extend(keys.iter().map(|key| key_enrolled(cx, key)));
    events.push(people::enrolled_event(cx, operator));
    events.push(policies::activated_event(cx, policy));
    events
}

/// The record of a key's enrolment: whoever verifies the log finds the keys in it.
pub(crate) fn key_enrolled(cx: &Cx, key: &EnrolledKey) -> Event {
    event(cx, EventKind::KeyEnrolled, key_body(key))
}

/// What records say of a key.
pub(crate) fn key_body(key: &EnrolledKey) -> Object {
    let owner = match key.owner {
        KeyOwner::Server => "server".to_owned(),
        KeyOwner::Node(id) => id.to_string(),
        KeyOwner::Gateway(id) => id.to_string(),
        KeyOwner::Person(id) => id.to_string(),
        KeyOwner::Agent(id) => id.to_string(),
    };
    let body = Object::new()
        .with("kid", key.kid.as_str())
        .with("jwk", key.jwk.as_str())
        .with("purpose", key.purpose.as_str())
        .with("owner", owner);
    match &key.certificate {
        Some(certificate) => body.with("certificate", certificate.as_str()),
        None => body,
    }
}
