//! Hops below the root: a good chain, and everything that one bad hop can be.

use aims_authority::Widening;
use aims_jose::ParseJwsError;
use aims_model::GrantError;
use aims_model::grant::{DELEGATION_TYP, DelegationRequest};
use aims_oauth::{LifeError, WorkloadIdentityClaims, WorkloadIdentityError};

use super::*;

const HOUR: Duration = Duration::from_hours(1);

/// Whose key signs.
#[derive(Clone, Copy)]
enum By {
    Grant,
    Person,
    Token,
    /// The instance that delegates this hop.
    Instance(usize),
}

/// One hop before anything in it is signed.
struct Draft {
    grant: Grant,
    grant_by: By,
    request: DelegationRequest,
    request_by: By,
    request_typ: &'static str,
    wit: WorkloadIdentityClaims,
    wit_by: By,
    /// In place of what is made of the draft.
    request_text: Option<String>,
    wit_text: Option<String>,
}

struct World {
    keys: Signers,
    instances: Vec<SigningKey>,
}

impl World {
    fn new() -> Self {
        let key = |_| SigningKey::generate(Alg::Es256).unwrap();
        Self {
            keys: Signers::new(),
            instances: (0..9).map(key).collect(),
        }
    }

    fn key(&self, by: By) -> &SigningKey {
        match by {
            By::Grant => &self.keys.grant,
            By::Person => &self.keys.person,
            By::Token => &self.keys.token,
            By::Instance(hop) => &self.instances[hop],
        }
    }

    /// A chain of so many hops, each of them changed before it is signed.
    fn grants(&self, hops: usize, change: impl Fn(usize, &mut Draft)) -> Vec<String> {
        let mut grants: Vec<String> = Vec::new();
        let mut above: Vec<Grant> = Vec::new();
        for hop in 0..hops {
            let mut draft = self.draft(hop, &above, grants.last());
            change(hop, &mut draft);
            let claims = draft.signed(self).to_claims().unwrap();
            grants.push(jws(&claims, self.key(draft.grant_by), GRANT_TYP));
            above.push(draft.grant);
        }
        grants
    }

    fn draft(&self, hop: usize, above: &[Grant], parent: Option<&String>) -> Draft {
        let n = u64::try_from(hop).unwrap();
        let id = |base: u64| u128::from(base + n);
        let (authority, purpose) = (limited(hop), "write notes".parse().unwrap());
        let ends = NOW.plus(HOUR * 2).minus(Duration::from_mins(n));
        let parent = parent.map(|jws| grant_digest(jws));
        let agent = |hop: usize| format!("agent-{hop}");
        let spiffe = |hop: usize| format!("spiffe://aims.test/agent/{}", agent(hop));
        let consent = Consent {
            agent: agent(0).parse().unwrap(),
            authority: authority.clone(),
            ..consent()
        };
        let consent = jws(
            &consent.to_claims().unwrap(),
            &self.keys.person,
            CONSENT_TYP,
        );
        let mut grant = Grant {
            id: Id::from_u128(id(100)),
            delegate: Id::from_u128(id(300)),
            delegate_spiffe_id: spiffe(hop).parse().unwrap(),
            ancestors: above.iter().map(|grant| grant.id).collect(),
            parent,
            authority: authority.clone(),
            revision: Revision::new(4 + n),
            expires_at: ends,
            ..grant(consent)
        };
        let delegator = hop.saturating_sub(1);
        let instance = Id::from_u128(id(400) - 1);
        if hop > 0 {
            grant.delegator = Delegator::Agent {
                id: Id::from_u128(id(300) - 1),
                spiffe_id: spiffe(delegator).parse().unwrap(),
                instance,
                request: String::new(),
                wit: String::new(),
            };
        }
        Draft {
            grant,
            grant_by: By::Grant,
            request: DelegationRequest {
                instance,
                audience: "aims.test".parse().unwrap(),
                jti: format!("request {hop}"),
                issued_at: NOW,
                parent: parent.unwrap_or(Digest::from_bytes([0; 32])),
                agent: agent(hop).parse().unwrap(),
                purpose,
                deadline: ends,
                authority,
            },
            request_by: By::Instance(delegator),
            request_typ: DELEGATION_TYP,
            wit: WorkloadIdentityClaims {
                issuer: None,
                subject: spiffe(delegator).parse().unwrap(),
                instance,
                key: *self.instances[delegator].public(),
                issued_at: NOW.minus(Duration::from_mins(4)),
                expires_at: NOW.plus(Duration::from_mins(6)),
                token: Id::from_u128(id(500)),
            },
            wit_by: By::Token,
            request_text: None,
            wit_text: None,
        }
    }

    fn verify(&self, grants: &[String]) -> Result<VerifiedChain, ChainError> {
        verify(grants, &self.keys, NOW)
    }

    /// What comes of a chain of three hops of which the second or third is changed.
    fn attack(&self, hop: usize, change: fn(&mut Draft)) -> Result<VerifiedChain, ChainError> {
        self.verify(&self.grants(3, |at, draft| {
            if at == hop {
                change(draft);
            }
        }))
    }
}

impl Draft {
    fn signed(&self, world: &World) -> Grant {
        let mut grant = self.grant.clone();
        if let Delegator::Agent { request, wit, .. } = &mut grant.delegator {
            let claims = self.request.to_claims().unwrap();
            let signed = jws(&claims, world.key(self.request_by), self.request_typ);
            *request = self.request_text.clone().unwrap_or(signed);
            let by = world.key(self.wit_by);
            let signed = self.wit.create(by, &thumbprint(by)).unwrap();
            *wit = self.wit_text.clone().unwrap_or(signed);
        }
        grant
    }

    /// Both what is asked for and what is granted.
    fn authority(&mut self, authority: &Authority) {
        self.grant.authority = authority.clone();
        self.request.authority = authority.clone();
    }
}

/// One use and one further hop fewer with each hop.
fn limited(hop: usize) -> Authority {
    let (uses, depth) = (20 - hop, 8 - hop);
    authority(&AUTHORITY.replace(r#""uses":3"#, &format!(r#""uses":{uses},"depth":{depth}"#)))
}

/// A chain of two agents that was verified.
pub(crate) fn chain_of_two(purpose_below: &str) -> VerifiedChain {
    let world = World::new();
    let grants = world.grants(2, |hop, draft| {
        if hop == 1 {
            draft.request.purpose = purpose_below.parse().unwrap();
            draft.grant.purpose = purpose_below.parse().unwrap();
        }
    });
    world.verify(&grants).unwrap()
}

#[test]
fn a_good_chain_of_any_length_holds() {
    let world = World::new();
    for hops in [1, 3, CHAIN_LEN_MAX] {
        let grants = world.grants(hops, |_, _| {});
        let chain = world.verify(&grants).unwrap();
        assert_eq!(chain.hops().len(), hops);
        let delegated: Vec<_> = (1..hops)
            .map(|hop| Id::from_u128(399 + hop as u128))
            .collect();
        assert_eq!(chain.instances(), delegated);
        let mut keys = vec![
            thumbprint(&world.keys.grant),
            thumbprint(&world.keys.person),
        ];
        if hops > 1 {
            keys.push(thumbprint(&world.keys.token));
        }
        keys.extend(world.instances.iter().take(hops - 1).map(thumbprint));
        let mut found = chain.keys().to_vec();
        keys.sort();
        found.sort();
        assert_eq!(found, keys);
        assert_eq!(
            chain.subjects().len(),
            2 + 2 * hops + delegated.len() + keys.len()
        );
        for instance in delegated {
            assert!(chain.subjects().contains(&Subject::Instance(instance)));
        }
        let leaf = chain.leaf().unwrap().grant();
        assert!(chain.check_time(leaf.expires_at).is_err());
    }
    let too_long = world
        .verify(&world.grants(CHAIN_LEN_MAX, |_, _| {}))
        .map(|_| ());
    assert_eq!(too_long, Ok(()));
    let mut grants = world.grants(CHAIN_LEN_MAX, |_, _| {});
    grants.push(grants[0].clone());
    assert!(matches!(
        world.verify(&grants),
        Err(ChainError::Length { .. })
    ));
}

#[test]
fn hops_that_are_swapped_left_out_or_added_are_no_chain() {
    let world = World::new();
    let (grants, others) = (
        world.grants(3, |_, _| {}),
        World::new().grants(3, |_, _| {}),
    );
    let link = |hop, claim| Err(ChainError::Link { hop, claim });
    for (order, expected) in [
        (vec![0, 2, 1], link(1, "ancestors")),
        (vec![1, 0, 2], link(0, "ancestors")),
        (vec![0, 2], link(1, "ancestors")),
        (vec![1, 2], link(0, "ancestors")),
        (vec![2], link(0, "ancestors")),
    ] {
        let order: Vec<String> = order.into_iter().map(|hop| grants[hop].clone()).collect();
        assert_eq!(world.verify(&order), expected);
    }
    assert!(world.verify(&grants[..2]).is_ok(), "a chain ends anywhere");
    let mixed = [grants[0].clone(), others[1].clone()];
    assert!(matches!(
        world.verify(&mixed),
        Err(ChainError::Signature { hop: 1, .. })
    ));
    // A token that names three hops is not served with two.
    let claimed: Vec<Digest> = grants.iter().map(|jws| grant_digest(jws)).collect();
    let presented = Presented {
        grants: &grants[..2],
        claimed: &claimed,
        claimed_hash: commitment(&claimed),
        task: Id::from_u128(20),
        person: Id::from_u128(1),
        trust_domain: &"aims.test".parse().unwrap(),
    };
    let cut = verify_chain(&presented, &world.keys, NOW);
    assert_eq!(
        cut,
        Err(ChainError::Length {
            found: 2,
            claimed: 3
        })
    );
}

#[test]
fn a_hop_that_does_not_continue_the_one_above_ends_the_chain() {
    let changes: [Change<&str, Draft>; 14] = [
        ("delegator", |d| {
            let consent = "a person in the middle".to_owned();
            let (id, name) = (Id::from_u128(1), "alice".parse().unwrap());
            d.grant.delegator = Delegator::Person { id, name, consent };
        }),
        ("delegator", |d| {
            if let Delegator::Agent { id, .. } = &mut d.grant.delegator {
                *id = Id::from_u128(999);
            }
        }),
        ("delegator", |d| {
            if let Delegator::Agent { spiffe_id, .. } = &mut d.grant.delegator {
                *spiffe_id = "spiffe://aims.test/agent/other".parse().unwrap();
            }
        }),
        ("exp", |d| {
            d.grant.expires_at = NOW.plus(HOUR * 3);
            d.request.deadline = NOW.plus(HOUR * 3);
        }),
        ("exp", |d| {
            d.grant.expires_at = NOW.plus(HOUR * 2).plus(Duration::from_millis(1));
        }),
        ("rev", |d| d.grant.revision = Revision::new(3)),
        ("parent", |d| {
            d.grant.parent = Some(Digest::from_bytes([1; 32]));
        }),
        ("parent", |d| d.grant.parent = None),
        ("ancestors", |d| d.grant.ancestors.clear()),
        ("ancestors", |d| d.grant.ancestors.reverse()),
        ("ancestors", |d| d.grant.ancestors.push(d.grant.id)),
        ("ancestors", |d| d.grant.id = Id::from_u128(100)),
        ("task", |d| d.grant.task = Id::from_u128(21)),
        ("iss", |d| d.grant.issuer = "other.test".parse().unwrap()),
    ];
    let world = World::new();
    for (place, (claim, change)) in changes.into_iter().enumerate() {
        for hop in [1, 2] {
            // One ancestor stays the same when it is reversed.
            if (hop, place) == (1, 9) {
                continue;
            }
            let expected = Err(ChainError::Link { hop, claim });
            assert_eq!(world.attack(hop, change), expected, "change {place}");
        }
    }
}

#[test]
fn an_instance_delegates_only_what_it_asked_for() {
    let changes: [Change<&str, Draft>; 13] = [
        ("iss", |d| d.request.instance = Id::from_u128(9)),
        ("aud", |d| {
            d.request.audience = "other.test".parse().unwrap();
        }),
        ("parent", |d| d.request.parent = Digest::from_bytes([1; 32])),
        ("agent", |d| d.request.agent = "other".parse().unwrap()),
        ("agent", |d| {
            d.grant.delegate_spiffe_id = "spiffe://aims.test/node/agent-1".parse().unwrap();
        }),
        ("agent", |d| {
            let other = d
                .grant
                .delegate_spiffe_id
                .as_str()
                .replace("aims.test", "other.test");
            d.grant.delegate_spiffe_id = other.parse().unwrap();
        }),
        ("purpose", |d| {
            d.request.purpose = "something else".parse().unwrap();
        }),
        ("purpose", |d| {
            d.grant.purpose = "something else".parse().unwrap();
        }),
        ("deadline", |d| d.request.deadline = NOW.plus(HOUR)),
        ("authority", |d| d.request.authority = limited(0)),
        ("authority", |d| d.grant.authority = limited(5)),
        ("iat", |d| {
            d.request.issued_at = NOW.minus(Duration::from_secs(361));
        }),
        ("iat", |d| {
            d.request.issued_at = NOW.plus(Duration::from_secs(61));
        }),
    ];
    let world = World::new();
    for (claim, change) in changes {
        let attack = world.verify(&world.grants(3, |hop, draft| {
            if hop == 2 {
                draft.wit.issued_at = NOW.minus(Duration::from_mins(30));
                draft.wit.expires_at = NOW.plus(Duration::from_mins(20));
                change(draft);
            }
        }));
        assert_eq!(attack, Err(ChainError::RequestScope { hop: 2, claim }));
    }
    for near in [
        |d: &mut Draft| d.request.issued_at = NOW.minus(Duration::from_secs(200)),
        |d: &mut Draft| d.request.issued_at = NOW.plus(Duration::from_mins(1)),
        |d: &mut Draft| d.request.deadline = NOW.plus(HOUR * 5),
    ] {
        assert!(world.attack(1, near).is_ok());
    }
}

#[test]
fn only_the_key_of_the_instance_that_delegates_counts() {
    let signature = |why| ChainError::RequestSignature { hop: 1, why };
    let scope = |claim| ChainError::IdentityScope { hop: 1, claim };
    let identity = |why| ChainError::Identity { hop: 1, why };
    let unknown = || identity(WorkloadIdentityError::Signature(VerifyError::UnknownKid));
    let typ = VerifyError::Typ {
        expected: DELEGATION_TYP,
    };
    let changes: [Change<ChainError, Draft>; 17] = [
        (signature(VerifyError::Signature), |d| {
            d.request_by = By::Instance(5);
        }),
        (signature(VerifyError::Signature), |d| {
            d.request_by = By::Grant;
        }),
        (signature(VerifyError::Signature), |d| {
            d.request_by = By::Person;
        }),
        (signature(VerifyError::Signature), |d| {
            d.request_by = By::Token;
        }),
        (signature(typ), |d| d.request_typ = CONSENT_TYP),
        (signature(typ), |d| d.request_typ = GRANT_TYP),
        (scope("aims_instance"), |d| {
            d.wit.instance = Id::from_u128(999);
        }),
        (scope("aims_instance"), |d| {
            if let Delegator::Agent { instance, .. } = &mut d.grant.delegator {
                *instance = Id::from_u128(999);
            }
        }),
        (scope("sub"), |d| {
            d.wit.subject = "spiffe://aims.test/agent/other".parse().unwrap();
        }),
        // The delegate's own identity is not its delegator's.
        (scope("sub"), |d| {
            d.wit.subject = d.grant.delegate_spiffe_id.clone();
        }),
        (identity(WorkloadIdentityError::TrustDomain), |d| {
            d.wit.subject = "spiffe://other.test/agent/agent-0".parse().unwrap();
        }),
        (unknown(), |d| d.wit_by = By::Grant),
        (unknown(), |d| d.wit_by = By::Person),
        (unknown(), |d| d.wit_by = By::Instance(0)),
        (identity(LifeError::Expired.into()), |d| {
            d.wit.issued_at = NOW.minus(Duration::from_mins(11));
            d.wit.expires_at = NOW.minus(Duration::from_mins(1));
        }),
        (identity(LifeError::NotYetValid.into()), |d| {
            d.wit.issued_at = NOW.plus(Duration::from_mins(1));
        }),
        (
            ChainError::Signature {
                hop: 1,
                why: VerifyError::UnknownKid,
            },
            |d| d.grant_by = By::Token,
        ),
    ];
    let world = World::new();
    for (expected, change) in changes {
        assert_eq!(world.attack(1, change), Err(expected));
    }
}

#[test]
fn what_is_no_request_or_identity_is_refused_as_such() {
    let world = World::new();
    let text = world.attack(1, |d| d.request_text = Some("a.b".to_owned()));
    let why = ParseJwsError::Parts;
    assert_eq!(text, Err(ChainError::RequestForm { hop: 1, why }));
    let empty = world.attack(1, |d| d.wit_text = Some(String::new()));
    let why = WorkloadIdentityError::Malformed(ParseJwsError::Parts);
    assert_eq!(empty, Err(ChainError::Identity { hop: 1, why }));
    let consent = consent().to_claims().unwrap();
    let consent = jws(&consent, &world.instances[0], DELEGATION_TYP);
    let other = world.verify(&world.grants(2, |hop, draft| {
        draft.request_text = (hop == 1).then(|| consent.clone());
    }));
    let why = GrantError::Claim("iss");
    assert_eq!(other, Err(ChainError::RequestClaims { hop: 1, why }));
    let agent_at_the_root = world.verify(&world.grants(1, |_, draft| {
        draft.grant.delegator = Delegator::Agent {
            id: Id::from_u128(1),
            spiffe_id: "spiffe://aims.test/agent/agent-0".parse().unwrap(),
            instance: Id::from_u128(2),
            request: String::new(),
            wit: String::new(),
        };
    }));
    let claim = "delegator";
    assert_eq!(agent_at_the_root, Err(ChainError::Link { hop: 0, claim }));
}

#[test]
fn a_hop_that_is_wider_is_refused_whoever_signed_it() {
    let changes: [Change<Widening, Draft>; 7] = [
        (Widening::Uses, |d| {
            d.authority(&with(r#""uses":3"#, r#""uses":21,"depth":1"#));
        }),
        (Widening::Uses, |d| {
            d.authority(&with(r#""uses":3"#, r#""depth":1"#));
        }),
        (Widening::Depth, |d| {
            d.authority(&with(r#""uses":3"#, r#""uses":3,"depth":8"#));
        }),
        (Widening::Tool, |d| {
            d.authority(&with("git_log", "git_push"));
        }),
        (Widening::ArgumentValues, |d| {
            d.authority(&with("/srv", "/"));
        }),
        (Widening::ArgumentNamed, |d| {
            d.authority(&with(r#""path":"#, r#""other":"any","path":"#));
        }),
        // The server alone can't widen what was asked for.
        (Widening::ArgumentValues, |d| {
            d.grant.authority = with("/srv", "/");
        }),
    ];
    let world = World::new();
    for (rule, change) in changes {
        for hop in [1, 2] {
            match world.attack(hop, change) {
                Err(ChainError::Wider { hop: at, why }) => {
                    assert_eq!((at, why.rule()), (hop, rule));
                }
                other => panic!("{rule}: {other:?}"),
            }
        }
    }
}

/// The authority of the hops with something else in it.
fn with(from: &str, to: &str) -> Authority {
    let limits = r#""uses":3"#;
    let text = if from == limits {
        AUTHORITY.to_owned()
    } else {
        AUTHORITY.replace(limits, r#""uses":3,"depth":1"#)
    };
    assert!(text.contains(from));
    authority(&text.replace(from, to))
}

#[test]
fn a_key_that_was_retired_before_it_was_used_vouches_for_nothing() {
    let mut world = World::new();
    let grants = world.grants(2, |_, _| {});
    world.keys.retired_at = Some(NOW.plus(Duration::from_millis(1)));
    assert!(world.verify(&grants).is_ok());
    // The request was made after the end of the keys, the grant and the consent were not.
    let late = world.grants(2, |_, draft| {
        draft.request.issued_at = NOW.plus(Duration::from_secs(1));
    });
    let why = WorkloadIdentityError::Signature(VerifyError::UnknownKid);
    assert_eq!(
        world.verify(&late),
        Err(ChainError::Identity { hop: 1, why })
    );
}
