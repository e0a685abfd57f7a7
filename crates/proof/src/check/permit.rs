//! Whether a permitted action rests on what was recorded before it.

use aims_authority::Detail;
use aims_json::Value;
use aims_model::{Record, Subject};
use aims_types::{Decision, Digest, Id, Instance, Name, Person, Revision, Task, Token};

use super::claims::{Body, Claims};
use super::cuts::{Held, describe};
use super::grants::{Grants, Recorded};
use super::{PermitProblem, Problem};

/// A record that can't be read, or a permit that it should not be.
pub(super) enum Wrong {
    Record(Problem),
    Permit(PermitProblem),
}

/// Who acts, with what.
struct Actor {
    instance: Id<Instance>,
    /// The revision that the token was minted at.
    minted: Revision,
    /// The revision of the state that the gateway decided on.
    seen: Revision,
}

/// What an action was done to.
enum Resource<'a> {
    Tool(Name, &'a str),
    Host(&'a str, u16),
    Request {
        upstream: Name,
        method: &'a str,
        path: &'a str,
    },
}

impl Claims {
    /// A permitted action.
    pub(super) fn intent(&mut self, record: &Record) -> Result<(), Problem> {
        let decision: Id<Decision> = Body::of(record).parsed("decision_id")?;
        self.permit(record, decision).map_err(|wrong| match wrong {
            Wrong::Record(problem) => problem,
            Wrong::Permit(problem) => {
                let decision = decision.to_string();
                Problem::Permit { decision, problem }
            }
        })
    }

    fn permit(&mut self, record: &Record, decision: Id<Decision>) -> Result<(), Wrong> {
        let body = Body::of(record);
        let task = record.event.task.ok_or_else(|| body.missing("task"))?;
        let chain = chain(&self.grants, body, task)?;
        let (Some((_, root)), Some((digest, leaf))) = (chain.first(), chain.last()) else {
            return Err(body.missing("chain").into());
        };
        let person: Id<Person> = body.part("subject")?.parsed("id")?;
        let actor = self.actor(body, (root, leaf), (person, task))?;
        let resource = Resource::read(body)?;
        if let Some((digest, _)) = chain.iter().find(|(_, grant)| !resource.is_named_by(grant)) {
            return Err(PermitProblem::NotGranted(*digest).into());
        }
        self.lives(body, &chain, &actor)?;
        if !self.trees.may_decide(task, record.source) {
            return Err(PermitProblem::NotOwner(record.source).into());
        }
        self.calls.permitted(decision, record)?;
        let hops = chain.iter().map(|(_, grant)| *grant);
        self.budgets.charge(body, hops)?;
        let of = (person, (*digest, *leaf));
        self.approvals.used((decision, task), body, of)
    }

    /// Whether agent, person, instance and token belong to the chain and to each other.
    fn actor(
        &self,
        body: Body<'_>,
        (root, leaf): (&Recorded, &Recorded),
        (person, task): (Id<Person>, Id<Task>),
    ) -> Result<Actor, Wrong> {
        let agent = body.text("agent")?;
        let instance: Id<Instance> = body.parsed("instance")?;
        let token = body.part("token")?;
        let jti: Id<Token> = token.parsed("jti")?;
        let sha256 = token.parsed("sha256")?;
        if leaf.agent.as_str() != agent {
            return Err(PermitProblem::OtherAgent(agent.to_owned()).into());
        }
        if root.person != person {
            return Err(PermitProblem::OtherPerson(person.to_string()).into());
        }
        let attested = self.calls.attestation(instance);
        let attested = attested.filter(|one| one.task == task && one.is_of(agent));
        let unknown = || PermitProblem::UnknownInstance(instance.to_string());
        if !attested.ok_or_else(unknown)?.acts_under(leaf) {
            return Err(PermitProblem::OtherDelegation(instance.to_string()).into());
        }
        if !self.calls.is_issued(jti, (instance, sha256)) {
            return Err(PermitProblem::UnknownToken(jti.to_string()).into());
        }
        Ok(Actor {
            instance,
            minted: Revision::new(body.number("minted")?),
            seen: Revision::new(body.number("revision")?),
        })
    }

    /// Whether nothing that the permit stands under was cut off at a revision that the gateway
    /// itself says it had taken over. An instance, a task and a delegation never live again; what
    /// else is cut off is dead as far as it was minted before.
    fn lives(&self, body: Body<'_>, chain: &Chain<'_>, actor: &Actor) -> Result<(), Wrong> {
        let mut held: Vec<Held> = Vec::new();
        let minted = actor.minted;
        for (_, hop) in chain {
            held.push((Subject::Task(hop.task), hop.revision));
            held.push((Subject::Delegation(hop.id), hop.revision));
            held.push((Subject::Person(hop.person), minted));
            held.push((Subject::Agent(hop.delegate), minted));
            held.extend(
                hop.keys
                    .iter()
                    .map(|kid| (Subject::Key(kid.clone()), minted)),
            );
            held.extend(
                hop.by
                    .map(|instance| (Subject::Instance(instance), Revision::ZERO)),
            );
        }
        held.push((Subject::Instance(actor.instance), Revision::ZERO));
        let attested = self.calls.attestation(actor.instance);
        let jkt = attested.and_then(|one| one.jkt.clone());
        held.extend(jkt.map(|jkt| (Subject::Key(jkt), minted)));
        if let Some(Value::Object(_)) = body.members.get("approval") {
            // An answer has no revision: a cut-off of who gave it covers it whenever it was given.
            let by: Id<Person> = body.part("approval")?.parsed("by")?;
            held.push((Subject::Person(by), Revision::ZERO));
        }
        if body.members.contains("policy") {
            let policy = body.part("policy")?.parsed("id");
            held.extend(policy.ok().map(|policy| (Subject::Policy(policy), minted)));
        }
        if let Some((subject, at)) = self.cuts.dead(&held, actor.seen) {
            let subject = describe(&subject);
            return Err(PermitProblem::Dead { subject, at }.into());
        }
        let frozen = chain.first().and_then(|(_, root)| {
            let at = self.cuts.froze(root.task, minted, actor.seen)?;
            Some(PermitProblem::Frozen { at })
        });
        frozen.map_or(Ok(()), |problem| Err(problem.into()))
    }
}

impl From<Problem> for Wrong {
    fn from(problem: Problem) -> Self {
        Self::Record(problem)
    }
}

impl From<PermitProblem> for Wrong {
    fn from(problem: PermitProblem) -> Self {
        Self::Permit(problem)
    }
}

impl<'a> Resource<'a> {
    fn read(body: Body<'a>) -> Result<Self, Problem> {
        let resource = body.part("resource")?;
        if resource.members.contains("host") {
            let port = u16::try_from(resource.number("port")?);
            let port = port.map_err(|_| resource.missing("port"))?;
            return Ok(Self::Host(resource.text("host")?, port));
        }
        if resource.members.contains("upstream") {
            return Ok(Self::Request {
                upstream: resource.parsed("upstream")?,
                method: resource.text("method")?,
                path: resource.text("path")?,
            });
        }
        Ok(Self::Tool(
            resource.parsed("server")?,
            resource.text("tool")?,
        ))
    }

    fn is_named_by(&self, grant: &Recorded) -> bool {
        grant
            .authority
            .details()
            .iter()
            .any(|detail| match (self, detail) {
                (Self::Tool(server, tool), Detail::Tools(tools)) => tools.names(server, tool),
                (Self::Host(host, port), Detail::Egress(egress)) => egress.names(host, *port),
                (
                    Self::Request {
                        upstream,
                        method,
                        path,
                    },
                    Detail::Http(http),
                ) => http.names(upstream, method, path),
                _ => false,
            })
    }
}

type Chain<'a> = Vec<(Digest, &'a Recorded)>;

/// The recorded grants that a permit names, root first, each handed on by the one before it.
fn chain<'a>(grants: &'a Grants, body: Body<'_>, task: Id<Task>) -> Result<Chain<'a>, Wrong> {
    let named = body
        .value("chain")?
        .as_array()
        .filter(|named| !named.is_empty());
    let mut chain: Chain<'a> = Vec::new();
    for digest in named.ok_or_else(|| body.missing("chain"))? {
        let digest = digest.as_str().and_then(|text| text.parse::<Digest>().ok());
        let digest = digest.ok_or_else(|| body.missing("chain"))?;
        match grants.get(&digest) {
            Some(grant) if grant.task != task => {
                return Err(PermitProblem::OtherTask(digest).into());
            }
            Some(grant) if grant.parent != chain.last().map(|(above, _)| *above) => {
                return Err(PermitProblem::NotLinked(digest).into());
            }
            Some(grant) => chain.push((digest, grant)),
            None => return Err(PermitProblem::UnknownGrant(digest).into()),
        }
    }
    Ok(chain)
}
