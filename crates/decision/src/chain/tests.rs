use std::time::Duration;

use aims_authority::Authority;
use aims_crypto::{Alg, Signer, SigningKey};
use aims_jose::{SigningHeader, Thumbprint, sign};
use aims_json::parse;
use aims_model::grant::{CONSENT_TYP, Consent};
use aims_types::Revision;

use super::*;

pub(crate) mod hops;

pub(crate) const NOW: Timestamp = Timestamp::from_unix_secs(1_795_000_000);
const AUTHORITY: &str = r#"{"authorization_details":[{"type":"mcp_tool","server":"git",
    "actions":["git_log"],"arguments":{"path":{"path_prefix":"/srv"}}}],"limits":{"uses":3}}"#;

pub(crate) struct Signers {
    grant: SigningKey,
    person: SigningKey,
    token: SigningKey,
    /// Of person 2.
    approver: SigningKey,
    pub(crate) retired_at: Option<Timestamp>,
}

impl Signers {
    pub(crate) fn new() -> Self {
        let key = || SigningKey::generate(Alg::Es256).unwrap();
        Self {
            grant: key(),
            person: key(),
            token: key(),
            approver: key(),
            retired_at: None,
        }
    }

    /// The person's answer, or the approver's, as a token of this kind.
    pub(crate) fn answer(&self, claims: &[u8], approver: bool, typ: &'static str) -> String {
        let key = if approver {
            &self.approver
        } else {
            &self.person
        };
        jws(claims, key, typ)
    }

    fn key(&self, key: &SigningKey, kid: &str, at: Timestamp) -> Option<PublicKey> {
        let good = kid == thumbprint(key) && self.retired_at.is_none_or(|end| at < end);
        good.then(|| *key.public())
    }
}

impl ChainKeys for Signers {
    fn grant_key(&self, kid: &str, at: Timestamp) -> Option<PublicKey> {
        self.key(&self.grant, kid, at)
    }

    fn person_key(&self, person: Id<Person>, kid: &str, at: Timestamp) -> Option<PublicKey> {
        let known = [
            (Id::from_u128(1), &self.person),
            (Id::from_u128(2), &self.approver),
        ];
        let (_, key) = known.into_iter().find(|(id, _)| *id == person)?;
        self.key(key, kid, at)
    }

    fn token_key(&self, kid: &str, at: Timestamp) -> Option<PublicKey> {
        self.key(&self.token, kid, at)
    }
}

/// What is expected of a change, and the change.
type Change<E, T> = (E, fn(&mut T));

fn thumbprint(key: &SigningKey) -> String {
    Thumbprint::of(key.public()).to_string()
}

fn jws(claims: &[u8], key: &SigningKey, typ: &'static str) -> String {
    sign(&SigningHeader::new(typ).kid(thumbprint(key)), claims, key).unwrap()
}

pub(crate) fn authority(text: &str) -> Authority {
    Authority::from_value(&parse(text.as_bytes(), &Limits::MESSAGE).unwrap()).unwrap()
}

fn consent() -> Consent {
    Consent {
        person: Id::from_u128(1),
        audience: "aims.test".parse().unwrap(),
        jti: "c".to_owned(),
        issued_at: NOW,
        agent: "notes".parse().unwrap(),
        purpose: "write notes".parse().unwrap(),
        deadline: NOW.plus(Duration::from_hours(2)),
        authority: authority(AUTHORITY),
    }
}

fn grant(consent: String) -> Grant {
    Grant {
        id: Id::from_u128(10),
        issuer: "aims.test".parse().unwrap(),
        task: Id::from_u128(20),
        purpose: "write notes".parse().unwrap(),
        delegator: Delegator::Person {
            id: Id::from_u128(1),
            name: "alice".parse().unwrap(),
            consent,
        },
        delegate: Id::from_u128(30),
        delegate_spiffe_id: "spiffe://aims.test/agent/notes".parse().unwrap(),
        ancestors: Vec::new(),
        parent: None,
        authority: authority(AUTHORITY),
        revision: Revision::new(4),
        issued_at: NOW,
        expires_at: NOW.plus(Duration::from_hours(2)),
    }
}

/// What a token says of these grants; of what is no chain, anything.
fn commitment(grants: &[Digest]) -> Digest {
    let chain = Chain::new(grants.to_vec());
    chain.map_or(Digest::from_bytes([0; 32]), |chain| chain.commitment())
}

fn verify(grants: &[String], keys: &Signers, now: Timestamp) -> Result<VerifiedChain, ChainError> {
    let claimed: Vec<Digest> = grants.iter().map(|jws| grant_digest(jws)).collect();
    verify_chain(
        &Presented {
            grants,
            claimed: &claimed,
            claimed_hash: commitment(&claimed),
            task: Id::from_u128(20),
            person: Id::from_u128(1),
            trust_domain: &"aims.test".parse().unwrap(),
        },
        keys,
        now,
    )
}

/// A verified chain with this authority.
pub(crate) fn chain(keys: &Signers, text: &str) -> VerifiedChain {
    let consent = Consent {
        authority: authority(text),
        ..consent()
    };
    let consent = jws(&consent.to_claims().unwrap(), &keys.person, CONSENT_TYP);
    let grant = Grant {
        authority: authority(text),
        ..grant(consent)
    };
    let root = jws(&grant.to_claims().unwrap(), &keys.grant, GRANT_TYP);
    verify(&[root], keys, NOW).unwrap()
}

fn attempt(
    keys: &Signers,
    change_consent: impl FnOnce(&mut Consent),
    change_grant: impl FnOnce(&mut Grant),
) -> Result<VerifiedChain, ChainError> {
    let mut consent = consent();
    change_consent(&mut consent);
    let consent = jws(&consent.to_claims().unwrap(), &keys.person, CONSENT_TYP);
    let mut grant = grant(consent);
    change_grant(&mut grant);
    verify(
        &[jws(&grant.to_claims().unwrap(), &keys.grant, GRANT_TYP)],
        keys,
        NOW,
    )
}

#[test]
fn a_chain_with_a_persons_consent_holds_until_it_ends() {
    let keys = Signers::new();
    let chain = attempt(&keys, |_| {}, |_| {}).unwrap();
    assert_eq!(chain.person_name().as_str(), "alice");
    assert_eq!(
        chain.keys(),
        [thumbprint(&keys.grant), thumbprint(&keys.person)]
    );
    assert!(chain.check_time(NOW.plus(Duration::from_hours(1))).is_ok());
    assert!(chain.check_time(NOW.plus(Duration::from_hours(2))).is_err());
    assert!(
        chain
            .check_time(NOW.minus(Duration::from_hours(1)))
            .is_err()
    );
}

#[test]
fn what_the_person_did_not_consent_to_is_refused() {
    let keys = Signers::new();
    let wider = r#"{"authorization_details":[],"limits":{}}"#;
    let changes: [Change<&str, Consent>; 8] = [
        ("authority", |c| {
            c.authority = authority(r#"{"authorization_details":[],"limits":{}}"#);
        }),
        ("purpose", |c| c.purpose = "something else".parse().unwrap()),
        ("agent", |c| c.agent = "other".parse().unwrap()),
        ("aud", |c| c.audience = "other.test".parse().unwrap()),
        ("deadline", |c| {
            c.deadline = NOW.plus(Duration::from_hours(1));
        }),
        ("iat", |c| c.issued_at = NOW.minus(Duration::from_mins(10))),
        ("iat", |c| c.issued_at = NOW.plus(Duration::from_mins(10))),
        ("iss", |c| c.person = Id::from_u128(9)),
    ];
    for (claim, change) in changes {
        let error = attempt(&keys, change, |_| {}).unwrap_err();
        assert_eq!(error, ChainError::ConsentScope(claim));
    }
    let widened = attempt(&keys, |_| {}, |grant| grant.authority = authority(wider));
    assert_eq!(widened, Err(ChainError::ConsentScope("authority")));
}

#[test]
fn a_grant_that_is_not_what_it_should_be_is_refused() {
    let keys = Signers::new();
    let changes: [Change<ChainError, Grant>; 5] = [
        (
            ChainError::Link {
                hop: 0,
                claim: "iss",
            },
            |g| g.issuer = "other.test".parse().unwrap(),
        ),
        (
            ChainError::Link {
                hop: 0,
                claim: "task",
            },
            |g| g.task = Id::from_u128(21),
        ),
        (
            ChainError::Link {
                hop: 0,
                claim: "ancestors",
            },
            |g| g.ancestors = vec![Id::from_u128(5)],
        ),
        (
            ChainError::Link {
                hop: 0,
                claim: "parent",
            },
            |g| {
                g.parent = Some(Digest::from_bytes([1; 32]));
            },
        ),
        (
            ChainError::Link {
                hop: 0,
                claim: "sub",
            },
            |g| {
                if let Delegator::Person { id, .. } = &mut g.delegator {
                    *id = Id::from_u128(2);
                }
            },
        ),
    ];
    for (expected, change) in changes {
        assert_eq!(attempt(&keys, |_| {}, change), Err(expected));
    }
    let long = attempt(
        &keys,
        |_| {},
        |g| g.expires_at = NOW.plus(Duration::from_hours(30)),
    );
    assert!(
        matches!(long, Err(ChainError::Time { hop: 0, .. })),
        "{long:?}"
    );
}

#[test]
fn only_the_right_keys_and_kinds_count() {
    let (keys, others) = (Signers::new(), Signers::new());
    let text = |consent_key, consent_typ, grant_key, grant_typ| {
        let consent = jws(&consent().to_claims().unwrap(), consent_key, consent_typ);
        vec![jws(
            &grant(consent).to_claims().unwrap(),
            grant_key,
            grant_typ,
        )]
    };
    let bad = [
        text(&others.person, CONSENT_TYP, &keys.grant, GRANT_TYP),
        text(&keys.grant, CONSENT_TYP, &keys.grant, GRANT_TYP),
        text(&keys.person, GRANT_TYP, &keys.grant, GRANT_TYP),
        text(&keys.person, CONSENT_TYP, &others.grant, GRANT_TYP),
        text(&keys.person, CONSENT_TYP, &keys.person, GRANT_TYP),
        text(&keys.person, CONSENT_TYP, &keys.grant, CONSENT_TYP),
    ];
    for grants in bad {
        let error = verify(&grants, &keys, NOW).unwrap_err();
        let kind = matches!(
            error,
            ChainError::Signature { .. } | ChainError::ConsentSignature(_)
        );
        assert!(kind, "{error:?}");
    }
    let good = text(&keys.person, CONSENT_TYP, &keys.grant, GRANT_TYP);
    assert!(verify(&good, &keys, NOW).is_ok());
    let retired = Signers {
        retired_at: Some(NOW),
        ..keys
    };
    assert!(
        verify(&good, &retired, NOW).is_err(),
        "signed after the key was retired"
    );
}

#[test]
fn the_token_names_exactly_the_grants_there_are() {
    let keys = Signers::new();
    let consent = jws(&consent().to_claims().unwrap(), &keys.person, CONSENT_TYP);
    let root = jws(
        &grant(consent.clone()).to_claims().unwrap(),
        &keys.grant,
        GRANT_TYP,
    );
    let mut child = grant(consent);
    child.id = Id::from_u128(11);
    child.ancestors = vec![Id::from_u128(10)];
    child.parent = Some(grant_digest(&root));
    let child = jws(&child.to_claims().unwrap(), &keys.grant, GRANT_TYP);
    let in_the_middle = verify(&[root.clone(), child], &keys, NOW);
    assert_eq!(
        in_the_middle,
        Err(ChainError::Link {
            hop: 1,
            claim: "delegator"
        })
    );
    let twice = verify(&[root.clone(), root.clone()], &keys, NOW);
    assert_eq!(twice, Err(ChainError::Hash));
    assert!(matches!(
        verify(&[], &keys, NOW),
        Err(ChainError::Length { .. })
    ));
    let grants = [root];
    let mut presented = Presented {
        grants: &grants,
        claimed: &[Digest::from_bytes([1; 32])],
        claimed_hash: commitment(&[Digest::from_bytes([1; 32])]),
        task: Id::from_u128(20),
        person: Id::from_u128(1),
        trust_domain: &"aims.test".parse().unwrap(),
    };
    assert_eq!(
        verify_chain(&presented, &keys, NOW),
        Err(ChainError::Digest { hop: 0 })
    );
    presented.claimed_hash = Digest::from_bytes([2; 32]);
    assert_eq!(verify_chain(&presented, &keys, NOW), Err(ChainError::Hash));
}
