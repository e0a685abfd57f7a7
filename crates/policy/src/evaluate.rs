//! One decision of the organisation's policies on one request.

use std::collections::{BTreeSet, HashMap, HashSet};

use aims_types::Name;
use cedar_policy::{
    AuthorizationError, Context, Entities, Entity, EntityUid, Response, RestrictedExpression,
};

use crate::compile::{Inner, Known};
use crate::reduce::{self, Key, Reduced};
use crate::schema::{ActionEntities, Types, uid};
use crate::{Action, PolicySet, Principal, Request, RequirementKind};

/// What the policies say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Permit or deny, and why.
    pub decision: Decision,
    /// What has to be met for a permit to count, by the ids of the policies; empty with a deny.
    pub requirements: Vec<Requirement>,
    /// Policies that failed. With a permit these are permits that gave nothing.
    pub errors: Vec<EvaluationError>,
}

/// Permit or deny.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// At least one permit matches and no forbid.
    Permit {
        /// The permits that match, in order.
        determining: Vec<Name>,
    },
    /// Anything else.
    Deny {
        /// Why.
        reason: DenyReason,
    },
}

/// Why the policies deny.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DenyReason {
    /// No permit matches.
    NoPermit,
    /// These forbids match.
    ForbiddenBy(Vec<Name>),
    /// A forbid or a requirement failed, or the request has no form that policies can see.
    Error(Vec<EvaluationError>),
}

/// A requirement that applies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The policy that requires it.
    pub policy: Name,
    /// What it requires.
    pub kind: RequirementKind,
}

/// Something that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EvaluationError {
    /// The policy; none if the request itself could not be built.
    pub policy: Option<Name>,
    /// What went wrong.
    pub message: String,
}

impl Verdict {
    /// Whether the policies permit, given that every requirement is met.
    pub const fn permits(&self) -> bool {
        matches!(self.decision, Decision::Permit { .. })
    }

    fn deny(reason: DenyReason, errors: Vec<EvaluationError>) -> Self {
        Self {
            decision: Decision::Deny { reason },
            requirements: Vec::new(),
            errors,
        }
    }
}

/// What the policies say to the request: deny unless a permit matches; a matching forbid wins;
/// a forbid or requirement that fails denies.
pub fn evaluate(policies: &PolicySet, request: &Request<'_>) -> Verdict {
    let inner = policies.inner();
    let built = match Built::of(inner, request) {
        Ok(built) => built,
        Err(message) => {
            let errors = vec![EvaluationError {
                policy: None,
                message,
            }];
            return Verdict::deny(DenyReason::Error(errors.clone()), errors);
        }
    };
    let reduced = inner.reductions.of(Key::of(request), inner, &built.known());
    verdict(inner, &reduced, &built)
}

/// The verdict of these of the policies.
fn verdict(inner: &Inner, reduced: &Reduced, built: &Built) -> Verdict {
    let authorizer = &inner.authorizer;
    let rules = authorizer.is_authorized(&built.query, &reduced.rules, &built.entities);
    let (errors, fatal) = inner.errors(&rules);
    let matching = inner.matching(&rules);
    let (forbids, permits): (Vec<_>, Vec<_>) = matching.into_iter().partition(|k| k.forbids);
    if !forbids.is_empty() {
        return Verdict::deny(DenyReason::ForbiddenBy(ids(&forbids)), errors);
    }
    if !fatal.is_empty() {
        return Verdict::deny(DenyReason::Error(fatal), errors);
    }
    // Cedar's own decision is asked as well: both have to permit.
    if permits.is_empty() || rules.decision() != cedar_policy::Decision::Allow {
        return Verdict::deny(DenyReason::NoPermit, errors);
    }
    let required = authorizer.is_authorized(&built.query, &reduced.requirements, &built.entities);
    let (_, fatal) = inner.errors(&required);
    if !fatal.is_empty() {
        let errors = errors.into_iter().chain(fatal.iter().cloned()).collect();
        return Verdict::deny(DenyReason::Error(fatal), errors);
    }
    let requirement = |known: &Known| {
        Some(Requirement {
            policy: known.id.clone(),
            kind: known.requires.clone()?,
        })
    };
    let requirements = inner
        .matching(&required)
        .into_iter()
        .filter_map(requirement)
        .collect();
    Verdict {
        decision: Decision::Permit {
            determining: ids(&permits),
        },
        requirements,
        errors,
    }
}

impl Inner {
    /// The policies whose conditions hold, ordered by id.
    fn matching(&self, response: &Response) -> Vec<&Known> {
        let known = response
            .diagnostics()
            .reason()
            .filter_map(|id| self.known.get(id));
        let mut known: Vec<&Known> = known.collect();
        known.sort_by(|a, b| a.id.cmp(&b.id));
        known
    }

    /// All errors, and those among them that deny: all but errors of permits.
    fn errors(&self, response: &Response) -> (Vec<EvaluationError>, Vec<EvaluationError>) {
        let (mut all, mut fatal) = (BTreeSet::new(), BTreeSet::new());
        for AuthorizationError::PolicyEvaluationError(error) in response.diagnostics().errors() {
            let known = self.known.get(error.policy_id());
            let policy = known.map(|known| known.id.clone());
            let error = EvaluationError {
                policy,
                message: error.inner().to_string(),
            };
            if known.is_none_or(|known| known.forbids || known.requires.is_some()) {
                fatal.insert(error.clone());
            }
            all.insert(error);
        }
        (all.into_iter().collect(), fatal.into_iter().collect())
    }
}

fn ids(known: &[&Known]) -> Vec<Name> {
    known.iter().map(|known| known.id.clone()).collect()
}

/// The request and its entities as Cedar takes them, without a text in between.
struct Built {
    query: cedar_policy::Request,
    entities: Entities,
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    /// The entities but those that only the context leads to.
    known: Vec<Entity>,
}

impl Built {
    fn of(inner: &Inner, request: &Request<'_>) -> Result<Self, String> {
        let schema = inner.schema.inner();
        let types = &schema.types;
        let task = uid(&types.task, &request.task.id.to_string());
        let calls = RestrictedExpression::new_long(request.session.calls.into());
        let mut context = vec![
            ("task", RestrictedExpression::new_entity_uid(task.clone())),
            ("session", record([("calls", calls)])?),
            (
                "posture",
                record([("assurance", text(request.posture.assurance))])?,
            ),
        ];
        let (principal, mut known) = principal_entities(types, &request.principal)?;
        let (target, resource): (&ActionEntities, EntityUid) = match request.action {
            Action::CallTool {
                server,
                tool,
                arguments,
            } => {
                let tool = inner.schema.tool(server, tool);
                let tool =
                    tool.ok_or("the tool is not in the schema that the policies were written for")?;
                let arguments = tool
                    .arguments
                    .convert(arguments)
                    .map_err(|e| e.to_string())?;
                context.push(("arguments", arguments));
                (&tool.call, tool.resource.clone())
            }
            Action::Connect { host, port } => {
                context.push(("port", RestrictedExpression::new_long(port.into())));
                let resource = uid(&types.host, host);
                known.push(entity(&resource, [("name", text(host))])?);
                (&schema.connect, resource)
            }
            Action::Request {
                upstream,
                method,
                path,
            } => {
                context.extend([("method", text(method)), ("path", text(path))]);
                let resource = uid(&types.upstream, upstream.as_str());
                known.push(entity(&resource, [("name", text(upstream.as_str()))])?);
                (&schema.request, resource)
            }
        };
        known.extend(target.entities.iter().cloned());
        let task = entity(&task, [("purpose", text(request.task.purpose))])?;
        let entities = Entities::from_entities(known.iter().cloned().chain([task]), None);
        let action = target.action.clone();
        Ok(Self {
            query: cedar_policy::Request::new(
                principal.clone(),
                action.clone(),
                resource.clone(),
                in_context(context)?,
                Some(&schema.cedar),
            )
            .map_err(|e| e.to_string())?,
            entities: entities.map_err(|e| e.to_string())?,
            principal,
            action,
            resource,
            known,
        })
    }

    fn known(&self) -> reduce::Known<'_> {
        reduce::Known {
            principal: &self.principal,
            action: &self.action,
            resource: &self.resource,
            entities: &self.known,
        }
    }
}

fn in_context(members: Vec<(&str, RestrictedExpression)>) -> Result<Context, String> {
    let members = members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Context::from_pairs(members).map_err(|e| e.to_string())
}

fn principal_entities(
    types: &Types,
    principal: &Principal<'_>,
) -> Result<(EntityUid, Vec<Entity>), String> {
    let person = |name: &Name| {
        let uid = uid(&types.person, name.as_str());
        Ok::<_, String>((entity(&uid, [("name", text(name.as_str()))])?, uid))
    };
    match principal {
        Principal::Person(name) => {
            let (entity, uid) = person(name)?;
            Ok((uid, vec![entity]))
        }
        Principal::Agent(agent) => {
            let (owner_entity, owner) = person(agent.owner)?;
            let uid = uid(&types.agent, agent.name.as_str());
            let attributes = [
                ("name", text(agent.name.as_str())),
                ("owner", RestrictedExpression::new_entity_uid(owner)),
                ("environment", text(agent.environment)),
                ("assurance", text(agent.assurance)),
            ];
            let entity = entity(&uid, attributes)?;
            Ok((uid, vec![entity, owner_entity]))
        }
    }
}

fn entity<const N: usize>(
    uid: &EntityUid,
    attributes: [(&str, RestrictedExpression); N],
) -> Result<Entity, String> {
    let attributes: HashMap<_, _> = attributes
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Entity::new(uid.clone(), attributes, HashSet::new()).map_err(|e| e.to_string())
}

fn record<const N: usize>(
    members: [(&str, RestrictedExpression); N],
) -> Result<RestrictedExpression, String> {
    let members = members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    RestrictedExpression::new_record(members).map_err(|e| e.to_string())
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
