//! Grants: signed by the server, resting on what a person signed.

use std::collections::{HashMap, HashSet};

use aims_authority::Authority;
use aims_crypto::base64url;
use aims_jose::{Jws, JwsLimits};
use aims_model::grant::{CONSENT_TYP, Consent, Delegator, GRANT_TYP, Grant, grant_digest};
use aims_model::{GrantError, KeyPurpose, Record};
use aims_types::{Digest, Id, Name, Person, SpiffeId, Task};

use super::claims::Body;
use super::keys::{Keys, SERVER};
use super::{GrantProblem, Problem};

/// Every grant and person that was recorded.
#[derive(Default)]
pub(super) struct Grants {
    grants: HashMap<Digest, Recorded>,
    people: HashMap<Id<Person>, Enrolled>,
    consents: HashSet<(Id<Person>, String)>,
}

/// What a later record needs of a grant.
pub(super) struct Recorded {
    pub(super) task: Id<Task>,
    pub(super) person: Id<Person>,
    pub(super) agent: SpiffeId,
    pub(super) authority: Authority,
}

struct Enrolled {
    name: Name,
    removed: bool,
}

impl Grants {
    pub(super) fn person_enrolled(&mut self, body: Body<'_>) -> Result<(), Problem> {
        let id: Id<Person> = body.parsed("person")?;
        let name = body.parsed("name")?;
        let removed = false;
        match self.people.insert(id, Enrolled { name, removed }) {
            None => Ok(()),
            Some(_) => Err(Problem::PersonTwice(id.to_string())),
        }
    }

    pub(super) fn person_removed(&mut self, body: Body<'_>) -> Result<(), Problem> {
        if let Some(person) = self.people.get_mut(&body.parsed("person")?) {
            person.removed = true;
        }
        Ok(())
    }

    /// A task with its root grant.
    pub(super) fn started(&mut self, keys: &Keys, record: &Record) -> Result<(), Problem> {
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
        let grant = signed(jws, "grant", GRANT_TYP, &|kid| {
            keys.find(kid, KeyPurpose::Grant, SERVER).copied()
        });
        let grant = grant.and_then(|claims| claims_of("grant", Grant::from_claims(&claims)));
        let grant = grant.map_err(wrong)?;
        same_as_record(&grant, record)?.map_err(|member| wrong(GrantProblem::Record(member)))?;
        self.consented(keys, &grant).map_err(wrong)?;
        let Delegator::Person { id: person, .. } = grant.delegator;
        let recorded = Recorded {
            task: grant.task,
            person,
            agent: grant.delegate_spiffe_id,
            authority: grant.authority,
        };
        self.grants.insert(digest, recorded);
        Ok(())
    }

    /// The grant says exactly what the person let happen, and they did so once.
    fn consented(&mut self, keys: &Keys, grant: &Grant) -> Result<(), GrantProblem> {
        let Delegator::Person { id, name, consent } = &grant.delegator;
        let enrolled = self.people.get(id).filter(|person| !person.removed);
        if enrolled.is_none_or(|person| person.name != *name) {
            return Err(GrantProblem::Person(name.to_string()));
        }
        let owner = id.to_string();
        let claims = signed(consent, "consent", CONSENT_TYP, &|kid| {
            keys.find(kid, KeyPurpose::Person, &owner).copied()
        })?;
        let consent = claims_of("consent", Consent::from_claims(&claims))?;
        let agent = grant.delegate_spiffe_id.path();
        let same = [
            ("person", consent.person == *id),
            ("audience", consent.audience == grant.issuer),
            ("agent", agent == format!("agent/{}", consent.agent)),
            ("purpose", consent.purpose == grant.purpose),
            ("deadline", consent.deadline == grant.expires_at),
            ("authority", consent.authority == grant.authority),
        ];
        if let Some((member, _)) = same.iter().find(|(_, same)| !same) {
            return Err(GrantProblem::Consent(member));
        }
        if self.consents.insert((*id, consent.jti)) {
            Ok(())
        } else {
            Err(GrantProblem::ConsentTwice)
        }
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<&Recorded> {
        self.grants.get(digest)
    }

    pub(super) fn verified(&self) -> u64 {
        u64::try_from(self.grants.len()).unwrap_or(u64::MAX)
    }
}

/// Compares a root grant with the record it is in; the inner error names what differs.
fn same_as_record(grant: &Grant, record: &Record) -> Result<Result<(), &'static str>, Problem> {
    let body = Body::of(record);
    let initiator = body.part("initiator")?;
    let Delegator::Person { id, name, .. } = &grant.delegator;
    let same = [
        ("task", record.event.task == Some(grant.task)),
        ("delegation", body.parsed("delegation") == Ok(grant.id)),
        ("initiator", initiator.parsed("id") == Ok(*id)),
        ("initiator", initiator.text("name")? == name.as_str()),
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
        (
            "parent",
            grant.parent.is_none() && grant.ancestors.is_empty(),
        ),
    ];
    Ok(match same.iter().find(|(_, same)| !same) {
        Some((member, _)) => Err(*member),
        None => Ok(()),
    })
}

/// The exact bytes that were signed, by the key that the header names and `find` knows.
fn signed(
    text: &str,
    part: &'static str,
    typ: &'static str,
    find: &dyn Fn(&str) -> Option<aims_crypto::PublicKey>,
) -> Result<Vec<u8>, GrantProblem> {
    let jws = Jws::parse(text, &JwsLimits::TOKEN)
        .map_err(|reason| GrantProblem::Unreadable { part, reason })?;
    let kid = jws.unverified_header().kid.clone().unwrap_or_default();
    let key = find(&kid).ok_or(GrantProblem::ForeignKey { part, kid })?;
    jws.verify(&key, typ)
        .map_err(|reason| GrantProblem::Signature { part, reason })?;
    // The parser has read this part already; only its canonical form is read as claims.
    let claims = text
        .split('.')
        .nth(1)
        .and_then(|claims| base64url::decode(claims).ok());
    Ok(claims.unwrap_or_default())
}

fn claims_of<T>(part: &'static str, claims: Result<T, GrantError>) -> Result<T, GrantProblem> {
    claims.map_err(|reason| GrantProblem::Claims { part, reason })
}
