//! Grants: signed by the server, resting on what a person signed, and below the root on what an
//! instance of the hop above signed.

mod delegated;

use std::collections::{HashMap, HashSet};

use aims_authority::Authority;
use aims_crypto::{PublicKey, base64url};
use aims_jose::{Jws, JwsLimits};
use aims_json::Limits;
use aims_model::grant::{CONSENT_TYP, Consent, Delegator, GRANT_TYP, Grant, grant_digest};
use aims_model::{GrantError, KeyPurpose, Record};
use aims_types::{
    Agent, Delegation, Digest, Id, Instance, Name, Person, Revision, SpiffeId, Task, Timestamp,
    TrustDomain,
};

use super::calls::Calls;
use super::claims::Body;
use super::cuts::CutOffs;
use super::keys::{Keys, SERVER};
use super::people::People;
use super::{GrantProblem, Problem};

/// A grant holds an authority twice, once within the consent or request.
const GRANT_LIMITS: JwsLimits = JwsLimits {
    text: 256 << 10,
    json: Limits::DOCUMENT,
};

/// Every grant that was recorded.
#[derive(Default)]
pub(super) struct Grants {
    grants: HashMap<Digest, Recorded>,
    initiators: HashMap<Id<Task>, Id<Person>>,
    consents: HashSet<(Id<Person>, String)>,
    requests: HashSet<(Id<Instance>, String)>,
}

/// What a later record needs of a grant.
pub(super) struct Recorded {
    pub(super) id: Id<Delegation>,
    pub(super) task: Id<Task>,
    pub(super) person: Id<Person>,
    pub(super) delegate: Id<Agent>,
    pub(super) agent: SpiffeId,
    pub(super) authority: Authority,
    pub(super) parent: Option<Digest>,
    pub(super) revision: Revision,
    /// The instance that handed it on; none at the root.
    pub(super) by: Option<Id<Instance>>,
    /// The thumbprints of the keys that it rests on, without those of the hops above.
    pub(super) keys: Vec<String>,
    issuer: TrustDomain,
    ancestors: Vec<Id<Delegation>>,
    expires_at: Timestamp,
}

/// What delegations are checked against.
pub(super) struct Before<'a> {
    pub(super) keys: &'a Keys,
    pub(super) calls: &'a Calls,
    pub(super) cuts: &'a CutOffs,
}

/// A signed part: its exact claims, and the key that signed them.
struct Signed {
    claims: Vec<u8>,
    kid: String,
}

impl Grants {
    /// A task with its root grant.
    pub(super) fn started(
        &mut self,
        keys: &Keys,
        people: &People,
        record: &Record,
    ) -> Result<(), Problem> {
        let (digest, grant, kid) = self.open(keys, record)?;
        let wrong = |problem| Problem::Grant { digest, problem };
        let Delegator::Person { id, name, consent } = &grant.delegator else {
            return Err(wrong(GrantProblem::Record("delegator")));
        };
        let person = (*id, name);
        same_at_root(&grant, person, record)?
            .map_err(|member| wrong(GrantProblem::Record(member)))?;
        if !people.is_named(*id, name) {
            return Err(wrong(GrantProblem::Person(name.to_string())));
        }
        let by = self
            .consented(keys, &grant, (*id, consent))
            .map_err(wrong)?;
        let person = *id;
        self.initiators.insert(grant.task, person);
        self.keep(digest, grant, (person, None, vec![kid, by]));
        Ok(())
    }

    /// Whose behalf a task runs on.
    pub(super) fn initiator(&self, task: Id<Task>) -> Option<Id<Person>> {
        self.initiators.get(&task).copied()
    }

    /// Whether the sum of an argument is limited anywhere in a task.
    pub(super) fn limits_sums(&self, task: Id<Task>) -> bool {
        let mut grants = self.grants.values().filter(|grant| grant.task == task);
        grants.any(|grant| !grant.authority.limits().sums().is_empty())
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<&Recorded> {
        self.grants.get(digest)
    }

    pub(super) fn verified(&self) -> u64 {
        u64::try_from(self.grants.len()).unwrap_or(u64::MAX)
    }

    /// The grant in a record, signed by the server, for the first time; with its key.
    fn open(&self, keys: &Keys, record: &Record) -> Result<(Digest, Grant, String), Problem> {
        let body = Body::of(record);
        let digest: Digest = body.parsed("grant_digest")?;
        let jws = body.text("grant")?;
        let wrong = |problem| Problem::Grant { digest, problem };
        if grant_digest(jws) != digest {
            return Err(wrong(GrantProblem::Digest));
        }
        if self.grants.contains_key(&digest) {
            return Err(wrong(GrantProblem::Twice));
        }
        let signed = signed(jws, "grant", GRANT_TYP, &|kid| {
            keys.find(kid, KeyPurpose::Grant, SERVER).copied()
        });
        let Signed { claims, kid } = signed.map_err(wrong)?;
        let grant = claims_of("grant", Grant::from_claims(&claims)).map_err(wrong)?;
        Ok((digest, grant, kid))
    }

    fn keep(
        &mut self,
        digest: Digest,
        grant: Grant,
        (person, by, keys): (Id<Person>, Option<Id<Instance>>, Vec<String>),
    ) {
        let recorded = Recorded {
            id: grant.id,
            task: grant.task,
            person,
            delegate: grant.delegate,
            agent: grant.delegate_spiffe_id,
            authority: grant.authority,
            parent: grant.parent,
            revision: grant.revision,
            by,
            keys,
            issuer: grant.issuer,
            ancestors: grant.ancestors,
            expires_at: grant.expires_at,
        };
        self.grants.insert(digest, recorded);
    }

    /// The grant says exactly what the person let happen, and they did so once; gives their key.
    fn consented(
        &mut self,
        keys: &Keys,
        grant: &Grant,
        (id, consent): (Id<Person>, &str),
    ) -> Result<String, GrantProblem> {
        let owner = id.to_string();
        let Signed { claims, kid } = signed(consent, "consent", CONSENT_TYP, &|kid| {
            keys.find(kid, KeyPurpose::Person, &owner).copied()
        })?;
        let consent = claims_of("consent", Consent::from_claims(&claims))?;
        let agent = grant.delegate_spiffe_id.path();
        let same = [
            ("person", consent.person == id),
            ("audience", consent.audience == grant.issuer),
            ("agent", agent == format!("agent/{}", consent.agent)),
            ("purpose", consent.purpose == grant.purpose),
            ("deadline", consent.deadline == grant.expires_at),
            ("authority", consent.authority == grant.authority),
        ];
        if let Some((member, _)) = same.iter().find(|(_, same)| !same) {
            return Err(GrantProblem::Consent(member));
        }
        if self.consents.insert((id, consent.jti)) {
            Ok(kid)
        } else {
            Err(GrantProblem::ConsentTwice)
        }
    }
}

/// Compares a root grant with the record it is in; the inner error names what differs.
fn same_at_root(
    grant: &Grant,
    (id, name): (Id<Person>, &Name),
    record: &Record,
) -> Result<Result<(), &'static str>, Problem> {
    let initiator = Body::of(record).part("initiator")?;
    let same = [
        ("initiator", initiator.parsed("id") == Ok(id)),
        ("initiator", initiator.text("name")? == name.as_str()),
        (
            "parent",
            grant.parent.is_none() && grant.ancestors.is_empty(),
        ),
    ];
    Ok(same_as_record(grant, record)?.and_then(|()| first_false(&same)))
}

/// What every record of a grant says besides the grant itself.
fn same_as_record(grant: &Grant, record: &Record) -> Result<Result<(), &'static str>, Problem> {
    let body = Body::of(record);
    let same = [
        ("task", record.event.task == Some(grant.task)),
        ("task", body.parsed("task") == Ok(grant.task)),
        ("delegation", body.parsed("delegation") == Ok(grant.id)),
        (
            "agent",
            body.text("agent")? == grant.delegate_spiffe_id.as_str(),
        ),
        ("purpose", body.text("purpose")? == grant.purpose.as_str()),
        (
            "deadline",
            body.number("deadline")? == grant.expires_at.unix_millis(),
        ),
        (
            "revision",
            body.number("revision")? == grant.revision.number(),
        ),
    ];
    Ok(first_false(&same))
}

/// The name of the first comparison that does not hold.
fn first_false(same: &[(&'static str, bool)]) -> Result<(), &'static str> {
    match same.iter().find(|(_, same)| !same) {
        Some((member, _)) => Err(member),
        None => Ok(()),
    }
}

/// The exact bytes that were signed, by the key that the header names and `find` knows.
fn signed(
    text: &str,
    part: &'static str,
    typ: &'static str,
    find: &dyn Fn(&str) -> Option<PublicKey>,
) -> Result<Signed, GrantProblem> {
    let jws = Jws::parse(text, &GRANT_LIMITS)
        .map_err(|reason| GrantProblem::Unreadable { part, reason })?;
    let kid = jws.unverified_header().kid.clone().unwrap_or_default();
    let Some(key) = find(&kid) else {
        return Err(GrantProblem::ForeignKey { part, kid });
    };
    jws.verify(&key, typ)
        .map_err(|reason| GrantProblem::Signature { part, reason })?;
    let claims = payload(text);
    Ok(Signed { claims, kid })
}

/// The claims' exact bytes, of which only the canonical form is read. The parser has read this
/// part already.
pub(crate) fn payload(jws: &str) -> Vec<u8> {
    let claims = jws.split('.').nth(1);
    let claims = claims.and_then(|claims| base64url::decode(claims).ok());
    claims.unwrap_or_default()
}

fn claims_of<T>(part: &'static str, claims: Result<T, GrantError>) -> Result<T, GrantProblem> {
    claims.map_err(|reason| GrantProblem::Claims { part, reason })
}
