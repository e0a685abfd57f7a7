//! Instances, tokens, permits and outcomes.

use std::collections::{BTreeSet, HashMap};

use aims_authority::Detail;
use aims_model::{Record, Source};
use aims_types::{Decision, Digest, Id, Instance, Name, Person, Task, Token};

use super::claims::Body;
use super::grants::{Grants, Recorded};
use super::{PermitProblem, Problem};

/// What permits refer to, and every permit.
#[derive(Default)]
pub(super) struct Calls {
    instances: HashMap<Id<Instance>, Id<Task>>,
    tokens: HashMap<Id<Token>, Issued>,
    permits: HashMap<Id<Decision>, Permit>,
}

#[derive(PartialEq, Eq)]
struct Issued {
    instance: Id<Instance>,
    sha256: Digest,
}

struct Permit {
    source: Source,
    task: Option<Id<Task>>,
    concluded: bool,
}

/// What an action was done to.
enum Resource<'a> {
    Tool(Name, &'a str),
    Host(&'a str, u16),
}

impl Calls {
    pub(super) fn attested(&mut self, record: &Record) -> Result<(), Problem> {
        let body = Body::of(record);
        let instance: Id<Instance> = body.parsed("instance")?;
        let task = record.event.task.ok_or_else(|| body.missing("task"))?;
        // A renewal says the same again.
        match self.instances.insert(instance, task) {
            Some(before) if before != task => Err(Problem::InstanceTwice(instance.to_string())),
            _ => Ok(()),
        }
    }

    pub(super) fn token(&mut self, record: &Record) -> Result<(), Problem> {
        let body = Body::of(record);
        if !body.members.contains("instance") {
            // A person's own token permits no action.
            return Ok(());
        }
        let token: Id<Token> = body.parsed("jti")?;
        let issued = Issued {
            instance: body.parsed("instance")?,
            sha256: body.parsed("sha256")?,
        };
        match self.tokens.insert(token, issued) {
            None => Ok(()),
            Some(_) => Err(Problem::TokenTwice(token.to_string())),
        }
    }

    pub(super) fn intent(&mut self, grants: &Grants, record: &Record) -> Result<(), Problem> {
        let decision: Id<Decision> = Body::of(record).parsed("decision_id")?;
        let wrong = |problem| Problem::Permit {
            decision: decision.to_string(),
            problem,
        };
        self.rests(grants, record)?.map_err(wrong)?;
        let permit = Permit {
            source: record.source,
            task: record.event.task,
            concluded: false,
        };
        match self.permits.insert(decision, permit) {
            None => Ok(()),
            Some(_) => Err(wrong(PermitProblem::Twice)),
        }
    }

    pub(super) fn outcome(&mut self, record: &Record) -> Result<(), Problem> {
        let decision: Id<Decision> = Body::of(record).parsed("decision_id")?;
        let open = self.permits.get_mut(&decision).filter(|permit| {
            !permit.concluded && permit.source == record.source && permit.task == record.event.task
        });
        match open {
            Some(permit) => {
                permit.concluded = true;
                Ok(())
            }
            None => Err(Problem::OutcomeWithoutIntent {
                decision: decision.to_string(),
            }),
        }
    }

    /// Whether a permit rests on what was recorded before it; the inner error says what is missing.
    fn rests(
        &self,
        grants: &Grants,
        record: &Record,
    ) -> Result<Result<(), PermitProblem>, Problem> {
        let body = Body::of(record);
        let task = record.event.task.ok_or_else(|| body.missing("task"))?;
        let chain = match chain(grants, body, task)? {
            Ok(chain) => chain,
            Err(problem) => return Ok(Err(problem)),
        };
        let (Some((_, root)), Some((_, leaf))) = (chain.first(), chain.last()) else {
            return Err(body.missing("chain"));
        };
        let agent = body.text("agent")?;
        let person: Id<Person> = body.part("subject")?.parsed("id")?;
        let instance: Id<Instance> = body.parsed("instance")?;
        let token = body.part("token")?;
        let jti: Id<Token> = token.parsed("jti")?;
        let sha256 = token.parsed("sha256")?;
        let resource = Resource::read(body)?;
        let beyond = chain.iter().find(|(_, grant)| !resource.is_named_by(grant));
        Ok(if leaf.agent.as_str() != agent {
            Err(PermitProblem::OtherAgent(agent.to_owned()))
        } else if root.person != person {
            Err(PermitProblem::OtherPerson(person.to_string()))
        } else if self.instances.get(&instance) != Some(&task) {
            Err(PermitProblem::UnknownInstance(instance.to_string()))
        } else if self.tokens.get(&jti) != Some(&Issued { instance, sha256 }) {
            Err(PermitProblem::UnknownToken(jti.to_string()))
        } else if let Some((digest, _)) = beyond {
            Err(PermitProblem::NotGranted(*digest))
        } else {
            Ok(())
        })
    }

    /// Decision ids of the permits without an outcome.
    pub(super) fn open(&self) -> BTreeSet<String> {
        let open = self.permits.iter().filter(|(_, permit)| !permit.concluded);
        open.map(|(decision, _)| decision.to_string()).collect()
    }

    pub(super) fn verified(&self) -> u64 {
        u64::try_from(self.permits.len()).unwrap_or(u64::MAX)
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
                _ => false,
            })
    }
}

type Chain<'a> = Vec<(Digest, &'a Recorded)>;

/// The recorded grants that a permit names, root first.
fn chain<'a>(
    grants: &'a Grants,
    body: Body<'_>,
    task: Id<Task>,
) -> Result<Result<Chain<'a>, PermitProblem>, Problem> {
    let named = body
        .value("chain")?
        .as_array()
        .filter(|named| !named.is_empty());
    let mut chain = Vec::new();
    for digest in named.ok_or_else(|| body.missing("chain"))? {
        let digest = digest.as_str().and_then(|text| text.parse::<Digest>().ok());
        let digest = digest.ok_or_else(|| body.missing("chain"))?;
        match grants.get(&digest) {
            Some(grant) if grant.task == task => chain.push((digest, grant)),
            Some(_) => return Ok(Err(PermitProblem::OtherTask(digest))),
            None => return Ok(Err(PermitProblem::UnknownGrant(digest))),
        }
    }
    Ok(Ok(chain))
}
