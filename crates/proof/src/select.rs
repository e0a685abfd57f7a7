//! Which records the claim of one permit rests on: the same rule for who makes a proof and for who
//! verifies it, so that a proof has all of them and no other.

use std::collections::BTreeSet;

use aims_jose::{Jws, JwsLimits, Thumbprint};
use aims_json::{Limits, Value};
use aims_model::grant::{Delegator, Grant};
use aims_model::{EventKind, Record, RecordName};
use aims_tlog::VerifierKey;
use aims_types::{Decision, Id};

use crate::check::claims::Body;
use crate::check::grants::payload;
use crate::file::{Included, RECORDS_MAX};

/// Longest signed part of a record.
const JWS_LIMITS: JwsLimits = JwsLimits {
    text: 256 << 10,
    json: Limits::DOCUMENT,
};

/// Records and what each is there for, by their places in a list.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    pub(crate) domain: usize,
    pub(crate) intent: usize,
    pub(crate) outcome: Option<usize>,
    /// The records of the chain's grants, root first, with the grants in them.
    pub(crate) hops: Vec<(usize, Grant)>,
    /// The registrations of the delegates, in the order of the hops.
    pub(crate) agents: Vec<usize>,
    /// The attestation of the instance that acts.
    pub(crate) acting: usize,
    /// The attestations of the instances that delegated, for each hop below the root.
    pub(crate) delegating: Vec<usize>,
    pub(crate) token: usize,
    pub(crate) policy: usize,
    pub(crate) server: Option<usize>,
    pub(crate) tree: usize,
    /// Question and answer.
    pub(crate) approval: Option<(usize, usize)>,
    all: BTreeSet<usize>,
}

/// What a proof rests on is not all there, or is more than there should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// A record is missing.
    #[error("there is no record `{0}`")]
    Missing(RecordName),
    /// A record of the set can't be read.
    #[error("`{member}` of a `{kind}` is missing or malformed")]
    Member {
        /// Of which kind.
        kind: EventKind,
        /// What is wrong with it.
        member: &'static str,
    },
    /// A record is there that the claim does not rest on.
    #[error("the record at place {0} of the list is not needed")]
    NotNeeded(usize),
    /// More than one file holds.
    #[error("it rests on more than {RECORDS_MAX} records")]
    TooMany,
    /// The permit is of a kind whose grounds are not all kept.
    #[error("requests to upstreams have no proof yet")]
    Request,
}

impl Selected {
    /// The records among `records`, which are in the order of the log, that the permit `decision`
    /// rests on: where several would do, the first.
    pub(crate) fn of(
        records: &[Included],
        decision: Id<Decision>,
        log: &VerifierKey,
    ) -> Result<Self, SelectError> {
        let mut search = Search {
            records,
            all: BTreeSet::new(),
        };
        let intent = search.find_named(RecordName::permit(decision))?;
        let outcome = search.find_named(RecordName::outcome(decision)).ok();
        let body = search.body(intent)?;
        let hops = search.hops(body)?;
        let instance = text(body, "instance")?;
        let (agents, delegating) = search.parties(&hops)?;
        let acting = search.instance(instance)?;
        let token = part(body, "token")?;
        let token = search.find(EventKind::TokenIssued, ("jti", text(token, "jti")?))?;
        let policy = text(part(body, "policy")?, "id")?;
        let policy = search.find(EventKind::PolicyActivated, ("policy", policy))?;
        let resource = part(body, "resource")?;
        if resource.members.contains("upstream") {
            return Err(SelectError::Request);
        }
        let server = if resource.members.contains("server") {
            let name = text(resource, "server")?;
            Some(search.find(EventKind::ServerRegistered, ("name", name))?)
        } else {
            None
        };
        let approval = search.approval(body)?;
        let log = Thumbprint::of(log.public()).to_string();
        search.find(EventKind::KeyEnrolled, ("kid", &log))?;
        let gateway = search.record(intent)?.source.to_string();
        search.find(EventKind::KeyEnrolled, ("owner", &gateway))?;
        Ok(Self {
            domain: search.find_named(RecordName::domain())?,
            tree: search.tree(intent)?,
            intent,
            outcome,
            hops,
            agents,
            acting,
            delegating,
            token,
            policy,
            server,
            approval,
            all: search.all,
        })
    }

    /// The places of all of them, in order.
    pub(crate) const fn all(&self) -> &BTreeSet<usize> {
        &self.all
    }
}

struct Search<'a> {
    records: &'a [Included],
    all: BTreeSet<usize>,
}

impl<'a> Search<'a> {
    fn record(&self, place: usize) -> Result<&'a Record, SelectError> {
        let found = self.records.get(place).map(|one| &one.record);
        found.ok_or(SelectError::NotNeeded(place))
    }

    fn body(&self, place: usize) -> Result<Body<'a>, SelectError> {
        self.record(place).map(Body::of)
    }

    /// The first record of the kind whose member has this text.
    fn find(
        &mut self,
        kind: EventKind,
        (member, wanted): (&'static str, &str),
    ) -> Result<usize, SelectError> {
        self.find_named(RecordName::new(kind, member, wanted))
    }

    /// The first record with the name.
    fn find_named(&mut self, name: RecordName) -> Result<usize, SelectError> {
        let mut records = self.records.iter();
        let found = records.position(|one| name.is_of(&one.record.event));
        let place = found.ok_or(SelectError::Missing(name))?;
        self.all.insert(place);
        Ok(place)
    }

    /// The grants that a permit names, each with the keys and the person that it rests on.
    fn hops(&mut self, intent: Body<'_>) -> Result<Vec<(usize, Grant)>, SelectError> {
        let chain = intent.members.get("chain").and_then(Value::as_array);
        let mut hops = Vec::new();
        for digest in chain.ok_or_else(|| member(intent, "chain"))? {
            let digest = digest.as_str().ok_or_else(|| member(intent, "chain"))?;
            let kind = if hops.is_empty() {
                EventKind::TaskStarted
            } else {
                EventKind::DelegationGranted
            };
            let place = self.find(kind, ("grant_digest", digest))?;
            let body = self.body(place)?;
            let jws = text(body, "grant")?;
            let grant = Grant::from_claims(&payload(jws)).map_err(|_| member(body, "grant"))?;
            self.key(jws, body)?;
            match &grant.delegator {
                Delegator::Person { id, consent, .. } => {
                    self.key(consent, body)?;
                    self.find(EventKind::PersonEnrolled, ("person", &id.to_string()))?;
                }
                Delegator::Agent { wit, .. } => self.key(wit, body)?,
            }
            hops.push((place, grant));
        }
        if hops.is_empty() {
            return Err(member(intent, "chain"));
        }
        Ok(hops)
    }

    /// The enrolment of the key that a signed part names.
    fn key(&mut self, jws: &str, of: Body<'_>) -> Result<(), SelectError> {
        let parsed = Jws::parse(jws, &JWS_LIMITS).map_err(|_| member(of, "jws"))?;
        let kid = parsed.unverified_header().kid.as_deref();
        let kid = kid.ok_or_else(|| member(of, "kid"))?;
        self.find(EventKind::KeyEnrolled, ("kid", kid)).map(drop)
    }

    /// The registration of each hop's delegate, and the instances that delegated.
    fn parties(
        &mut self,
        hops: &[(usize, Grant)],
    ) -> Result<(Vec<usize>, Vec<usize>), SelectError> {
        let (mut agents, mut delegating) = (Vec::new(), Vec::new());
        for (_, grant) in hops {
            let agent = grant.delegate.to_string();
            agents.push(self.find(EventKind::AgentRegistered, ("agent", &agent))?);
            if let Delegator::Agent { instance, .. } = &grant.delegator {
                delegating.push(self.instance(&instance.to_string())?);
            }
        }
        Ok((agents, delegating))
    }

    /// The first attestation of an instance, and the enrolment of the node that vouched for it.
    fn instance(&mut self, instance: &str) -> Result<usize, SelectError> {
        let place = self.find(EventKind::InstanceAttested, ("instance", instance))?;
        let node = text(self.body(place)?, "node")?;
        self.find(EventKind::KeyEnrolled, ("owner", node))?;
        Ok(place)
    }

    /// Which gateway owned the task's tree, in the epoch that the permit names.
    fn tree(&mut self, intent: usize) -> Result<usize, SelectError> {
        let (record, body) = (self.record(intent)?, self.body(intent)?);
        let task = record.event.task.ok_or_else(|| member(body, "task"))?;
        let epoch = body.number("epoch").map_err(|_| member(body, "epoch"))?;
        self.find_named(RecordName::epoch(&task.to_string(), epoch))
    }

    /// Question and answer of the approval that a permit used, with who answered and their key.
    fn approval(&mut self, intent: Body<'_>) -> Result<Option<(usize, usize)>, SelectError> {
        let named = intent
            .members
            .get("approval")
            .filter(|part| !part.is_null());
        if named.is_none() {
            return Ok(None);
        }
        let part = part(intent, "approval")?;
        let id = text(part, "id")?;
        let asked = self.find(EventKind::ApprovalAsked, ("approval", id))?;
        let answered = self.find(EventKind::ApprovalAnswered, ("approval", id))?;
        let body = self.body(answered)?;
        self.key(text(body, "jws")?, body)?;
        self.find(EventKind::PersonEnrolled, ("person", text(part, "by")?))?;
        Ok(Some((asked, answered)))
    }
}

fn member(of: Body<'_>, member: &'static str) -> SelectError {
    let kind = of.kind;
    SelectError::Member { kind, member }
}

fn text<'a>(of: Body<'a>, name: &'static str) -> Result<&'a str, SelectError> {
    of.text(name).map_err(|_| member(of, name))
}

fn part<'a>(of: Body<'a>, name: &'static str) -> Result<Body<'a>, SelectError> {
    of.part(name).map_err(|_| member(of, name))
}
