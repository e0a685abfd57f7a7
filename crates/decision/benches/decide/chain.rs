//! A delegation chain of some length, signed by everyone who has to.

use std::time::Duration;

use aims_authority::Authority;
use aims_crypto::{Alg, PublicKey, Signer, SigningKey};
use aims_decision::{ChainKeys, Presented, VerifiedChain, verify_chain};
use aims_jose::{SigningHeader, Thumbprint, sign};
use aims_json::{Limits, parse};
use aims_model::grant::{
    CONSENT_TYP, Consent, DELEGATION_TYP, DelegationRequest, Delegator, GRANT_TYP, Grant,
    grant_digest,
};
use aims_oauth::{Chain, WorkloadIdentityClaims};
use aims_types::{Digest, Id, Kind, Name, Person, Revision, Timestamp};

pub(crate) const NOW: Timestamp = Timestamp::from_unix_secs(1_795_000_000);
const HOUR: Duration = Duration::from_hours(1);

/// All who sign, and what they signed.
pub(crate) struct Signed {
    grant: SigningKey,
    person: SigningKey,
    token: SigningKey,
    instances: Vec<SigningKey>,
    grants: Vec<String>,
    claimed: Vec<Digest>,
}

impl Signed {
    pub(crate) fn new(hops: usize) -> Self {
        let key = || SigningKey::generate(Alg::Es256).unwrap();
        let mut signed = Self {
            grant: key(),
            person: key(),
            token: key(),
            instances: (0..hops).map(|_| key()).collect(),
            grants: Vec::new(),
            claimed: Vec::new(),
        };
        for hop in 0..hops {
            let claims = signed.grant_at(hop, hops).to_claims().unwrap();
            let grant = jws(&claims, &signed.grant, GRANT_TYP);
            signed.claimed.push(grant_digest(&grant));
            signed.grants.push(grant);
        }
        signed
    }

    pub(crate) fn verify(&self) -> VerifiedChain {
        let presented = Presented {
            grants: &self.grants,
            claimed: &self.claimed,
            claimed_hash: Chain::new(self.claimed.clone()).unwrap().commitment(),
            task: Id::from_u128(20),
            person: Id::from_u128(1),
            trust_domain: &"aims.test".parse().unwrap(),
        };
        verify_chain(&presented, self, NOW).unwrap()
    }

    /// How many signatures stand in the chain.
    pub(crate) fn signatures(&self) -> usize {
        3 * self.grants.len() - 1
    }

    fn grant_at(&self, hop: usize, hops: usize) -> Grant {
        let authority = authority(hop, hops);
        let expires_at = NOW.plus(HOUR).minus(Duration::from_secs(hop as u64));
        Grant {
            id: id(100, hop),
            issuer: "aims.test".parse().unwrap(),
            task: Id::from_u128(20),
            purpose: "write notes".parse().unwrap(),
            delegator: match hop.checked_sub(1) {
                None => self.by_the_person(&authority, expires_at),
                Some(above) => self.by_an_agent(above, &authority, expires_at),
            },
            delegate: id(300, hop),
            delegate_spiffe_id: spiffe(hop).parse().unwrap(),
            ancestors: (0..hop).map(|above| id(100, above)).collect(),
            parent: self.claimed.last().copied(),
            authority,
            revision: Revision::new(4 + hop as u64),
            issued_at: NOW,
            expires_at,
        }
    }

    fn by_the_person(&self, authority: &Authority, deadline: Timestamp) -> Delegator {
        let consent = Consent {
            person: Id::from_u128(1),
            audience: "aims.test".parse().unwrap(),
            jti: "consent".to_owned(),
            issued_at: NOW,
            agent: agent(0),
            purpose: "write notes".parse().unwrap(),
            deadline,
            authority: authority.clone(),
        };
        Delegator::Person {
            id: Id::from_u128(1),
            name: "alice".parse().unwrap(),
            consent: jws(&consent.to_claims().unwrap(), &self.person, CONSENT_TYP),
        }
    }

    fn by_an_agent(&self, above: usize, authority: &Authority, deadline: Timestamp) -> Delegator {
        let (key, instance) = (&self.instances[above], id(400, above));
        let request = DelegationRequest {
            instance,
            audience: "aims.test".parse().unwrap(),
            jti: format!("request {above}"),
            issued_at: NOW,
            parent: *self.claimed.last().unwrap(),
            agent: agent(above + 1),
            purpose: "write notes".parse().unwrap(),
            deadline,
            authority: authority.clone(),
        };
        let identity = WorkloadIdentityClaims {
            issuer: None,
            subject: spiffe(above).parse().unwrap(),
            instance,
            key: *key.public(),
            issued_at: NOW,
            expires_at: NOW.plus(Duration::from_mins(6)),
            token: id(500, above),
        };
        Delegator::Agent {
            id: id(300, above),
            spiffe_id: spiffe(above).parse().unwrap(),
            instance,
            request: jws(&request.to_claims().unwrap(), key, DELEGATION_TYP),
            wit: identity
                .create(&self.token, &thumbprint(&self.token))
                .unwrap(),
        }
    }
}

impl ChainKeys for Signed {
    fn grant_key(&self, kid: &str, _: Timestamp) -> Option<PublicKey> {
        (kid == thumbprint(&self.grant)).then(|| *self.grant.public())
    }

    fn person_key(&self, _: Id<Person>, kid: &str, _: Timestamp) -> Option<PublicKey> {
        (kid == thumbprint(&self.person)).then(|| *self.person.public())
    }

    fn token_key(&self, kid: &str, _: Timestamp) -> Option<PublicKey> {
        (kid == thumbprint(&self.token)).then(|| *self.token.public())
    }
}

pub(crate) fn agent(hop: usize) -> Name {
    format!("agent-{hop}").parse().unwrap()
}

fn id<K: Kind>(base: usize, hop: usize) -> Id<K> {
    Id::from_u128((base + hop) as u128)
}

fn spiffe(hop: usize) -> String {
    format!("spiffe://aims.test/agent/{}", agent(hop))
}

/// One directory, use and further hop fewer with each hop.
fn authority(hop: usize, hops: usize) -> Authority {
    let (below, uses, depth) = ("/a".repeat(hop), 1000 - hop, hops - hop);
    let text = format!(
        r#"{{"authorization_details":[{{"type":"mcp_tool","server":"lab","actions":["run"],
            "arguments":{{"n":{{"range":{{"min":"0","max":"9"}}}},
            "path":{{"path_prefix":"/srv{below}"}}}}}}],
            "limits":{{"uses":{uses},"depth":{depth}}}}}"#
    );
    Authority::from_value(&parse(text.as_bytes(), &Limits::MESSAGE).unwrap()).unwrap()
}

fn thumbprint(key: &SigningKey) -> String {
    Thumbprint::of(key.public()).to_string()
}

fn jws(claims: &[u8], key: &SigningKey, typ: &'static str) -> String {
    sign(&SigningHeader::new(typ).kid(thumbprint(key)), claims, key).unwrap()
}
