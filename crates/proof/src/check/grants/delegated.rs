//! Grants below the root: asked for by an instance of the agent that holds the hop above.

use std::time::Duration;

use aims_authority::narrower;
use aims_jose::{Jws, Thumbprint};
use aims_model::grant::{CHAIN_LEN_MAX, DELEGATION_TYP, DelegationRequest, Delegator, Grant};
use aims_model::{Record, Subject};
use aims_oauth::{WorkloadIdentity, WorkloadIdentityClaims, WorkloadIdentityExpect};
use aims_types::{Agent, Digest, Id, Instance, Revision, SpiffeId};

use super::{
    Before, GRANT_LIMITS, Grants, Recorded, claims_of, first_false, payload, same_as_record,
};
use crate::check::claims::Body;
use crate::check::cuts::{Held, describe};
use crate::check::{GrantProblem, Problem};

/// Longest time between an instance's request and its grant: five minutes, and one for clocks.
const REQUEST_AGE_MAX: Duration = Duration::from_mins(6);
/// How far the request may seem to come after its grant.
const CLOCK_SKEW_MAX: Duration = Duration::from_mins(1);

/// Who hands authority on, and what they signed.
struct Asked<'a> {
    agent: Id<Agent>,
    spiffe_id: &'a SpiffeId,
    instance: Id<Instance>,
    request: &'a str,
    wit: &'a str,
}

impl Grants {
    /// A grant below the root.
    pub(in crate::check) fn delegated(
        &mut self,
        before: &Before<'_>,
        record: &Record,
    ) -> Result<(), Problem> {
        let (digest, grant, kid) = self.open(before.keys, record)?;
        let wrong = |problem| Problem::Grant { digest, problem };
        let Delegator::Agent {
            id,
            spiffe_id,
            instance,
            request,
            wit,
        } = &grant.delegator
        else {
            return Err(wrong(GrantProblem::Record("delegator")));
        };
        let asked = Asked {
            agent: *id,
            spiffe_id,
            instance: *instance,
            request,
            wit,
        };
        same_below(&grant, &asked, record)?
            .map_err(|member| wrong(GrantProblem::Record(member)))?;
        let parent = grant.parent.and_then(|parent| self.get(&parent));
        let parent = parent.filter(|parent| parent.task == grant.task);
        let parent = parent.ok_or_else(|| wrong(GrantProblem::Parent))?;
        within(parent, &grant, &asked).map_err(wrong)?;
        let identity = identity(before, &grant, &asked).map_err(wrong)?;
        lives(before, parent, &asked, &identity).map_err(wrong)?;
        let request = requested(&grant, &asked, &identity).map_err(wrong)?;
        let (person, instance) = (parent.person, asked.instance);
        let vouched = Jws::parse(wit, &GRANT_LIMITS).ok();
        let vouched = vouched.and_then(|wit| wit.unverified_header().kid.clone());
        let own = Thumbprint::of(&identity.key).to_string();
        let keys = [Some(kid), vouched, Some(own)]
            .into_iter()
            .flatten()
            .collect();
        if !self.requests.insert((instance, request.jti)) {
            return Err(wrong(GrantProblem::RequestTwice));
        }
        self.keep(digest, grant, (person, Some(instance), keys));
        Ok(())
    }
}

fn same_below(
    grant: &Grant,
    asked: &Asked<'_>,
    record: &Record,
) -> Result<Result<(), &'static str>, Problem> {
    let body = Body::of(record);
    let parent: Digest = body.parsed("parent")?;
    let same = [
        ("parent", grant.parent == Some(parent)),
        ("instance", body.parsed("instance") == Ok(asked.instance)),
    ];
    Ok(same_as_record(grant, record)?.and_then(|()| first_false(&same)))
}

/// The grant continues the hop above, by whoever holds that, and lies within it.
fn within(parent: &Recorded, grant: &Grant, asked: &Asked<'_>) -> Result<(), GrantProblem> {
    let mut ancestors = parent.ancestors.clone();
    ancestors.push(parent.id);
    let same = [
        ("delegator", asked.agent == parent.delegate),
        ("delegator", *asked.spiffe_id == parent.agent),
        ("issuer", grant.issuer == parent.issuer),
        ("ancestors", grant.ancestors == ancestors),
        ("ancestors", ancestors.len() < CHAIN_LEN_MAX),
        ("deadline", grant.expires_at <= parent.expires_at),
        ("revision", grant.revision >= parent.revision),
    ];
    first_false(&same).map_err(GrantProblem::Link)?;
    narrower(&grant.authority, &parent.authority)
        .map_err(|wider| GrantProblem::Wider(Box::new(wider)))
}

/// The identity of the instance that asked, vouched for with a token key at that time.
fn identity(
    before: &Before<'_>,
    grant: &Grant,
    asked: &Asked<'_>,
) -> Result<WorkloadIdentityClaims, GrantProblem> {
    let expect = WorkloadIdentityExpect {
        trust_domain: &grant.issuer,
        now: grant.issued_at,
    };
    let identity = WorkloadIdentity::verify(asked.wit, before.keys, &expect)
        .map_err(|reason| GrantProblem::Identity(Box::new(reason)))?;
    let claims = identity.claims();
    let same = [
        ("agent", claims.subject == *asked.spiffe_id),
        ("instance", claims.instance == asked.instance),
    ];
    first_false(&same).map_err(GrantProblem::IdentityOf)?;
    Ok(claims.clone())
}

/// The instance was attested with that key to act under the hop above, and neither it nor anything
/// that it stands under had been cut off: the server's own records are in the order of its changes.
fn lives(
    before: &Before<'_>,
    parent: &Recorded,
    asked: &Asked<'_>,
    identity: &WorkloadIdentityClaims,
) -> Result<(), GrantProblem> {
    let jkt = Thumbprint::of(&identity.key).to_string();
    let attested = before.calls.attestation(asked.instance).filter(|one| {
        one.task == parent.task
            && one.is_of(asked.spiffe_id.as_str())
            && one.acts_under(parent)
            && one.jkt.as_ref().is_none_or(|its| *its == jkt)
    });
    let unknown = || GrantProblem::Instance(asked.instance.to_string());
    let minted = attested.ok_or_else(unknown)?.revision;
    let minted = minted.unwrap_or(parent.revision);
    let mut held: Vec<Held> = vec![
        (Subject::Instance(asked.instance), Revision::ZERO),
        (Subject::Task(parent.task), Revision::ZERO),
        (Subject::Delegation(parent.id), Revision::ZERO),
        (Subject::Person(parent.person), minted),
        (Subject::Agent(parent.delegate), minted),
        (Subject::Key(jkt), minted),
    ];
    let above = parent.ancestors.iter();
    held.extend(above.map(|id| (Subject::Delegation(*id), Revision::ZERO)));
    let newest = Revision::new(u64::MAX);
    if let Some((subject, _)) = before.cuts.dead(&held, newest) {
        return Err(GrantProblem::Dead(describe(&subject)));
    }
    match before.cuts.froze(parent.task, minted, newest) {
        Some(_) => Err(GrantProblem::Dead(format!("task {}", parent.task))),
        None => Ok(()),
    }
}

/// The grant is exactly what the instance asked for, signed with its key.
fn requested(
    grant: &Grant,
    asked: &Asked<'_>,
    identity: &WorkloadIdentityClaims,
) -> Result<DelegationRequest, GrantProblem> {
    let part = "request";
    let jws = Jws::parse(asked.request, &GRANT_LIMITS)
        .map_err(|reason| GrantProblem::Unreadable { part, reason })?;
    jws.verify(&identity.key, DELEGATION_TYP)
        .map_err(|reason| GrantProblem::Signature { part, reason })?;
    let claims = DelegationRequest::from_claims(&payload(asked.request));
    let request = claims_of(part, claims)?;
    let agent = grant.delegate_spiffe_id.path();
    let age = grant.issued_at.since(request.issued_at);
    let early = request.issued_at.since(grant.issued_at);
    let same = [
        ("instance", request.instance == asked.instance),
        ("audience", request.audience == grant.issuer),
        ("parent", Some(request.parent) == grant.parent),
        ("agent", agent == format!("agent/{}", request.agent)),
        ("purpose", request.purpose == grant.purpose),
        ("deadline", grant.expires_at <= request.deadline),
        ("authority", request.authority == grant.authority),
        ("time", age <= REQUEST_AGE_MAX && early <= CLOCK_SKEW_MAX),
    ];
    first_false(&same).map_err(GrantProblem::Request)?;
    Ok(request)
}
