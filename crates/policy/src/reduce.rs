//! The few policies that can matter to one principal and one resource, whatever the context.
//!
//! Cedar's authorizer walks every policy of a set. Type-aware partial evaluation, with the entities
//! known and the context unknown, says once which policies can never match; they are left out from
//! then on. The rest stay as they were written and are evaluated in full, so a verdict on them is
//! the verdict on all: a policy that is false for every context neither decides nor fails.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy::{
    ActionConstraint, Entities, Entity, EntityUid, PartialEntities, PartialEntityUid,
    PartialRequest, Policy, PolicyId, PolicySet, PrincipalConstraint, ResourceConstraint,
};

use crate::compile::Inner;
use crate::{Action, Principal, Request};

/// Most policies kept in reductions before the older half of them is forgotten.
const KEPT_MAX: usize = 1 << 15;

/// The policies that can matter.
pub(crate) struct Reduced {
    /// Permits and forbids.
    pub(crate) rules: PolicySet,
    /// Requirements.
    pub(crate) requirements: PolicySet,
}

/// What partial evaluation knows: everything about a request but its context.
pub(crate) struct Known<'a> {
    pub(crate) principal: &'a EntityUid,
    pub(crate) action: &'a EntityUid,
    pub(crate) resource: &'a EntityUid,
    /// Principal, action and resource, and what is reached from them.
    pub(crate) entities: &'a [Entity],
}

/// Reductions that were made, in two generations: when the younger one is full, the older one goes.
#[derive(Default)]
pub(crate) struct Reductions(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<Key, Arc<Reduced>>,
    old: HashMap<Key, Arc<Reduced>>,
    /// Policies in the young ones, counting one for each reduction itself.
    weight: usize,
}

/// Every fact of a request that [`Known`] is made from. The policies and the schema are the set's
/// own; what changes from call to call (context, task, cut-offs) is not part of a reduction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    pub(crate) fn of(request: &Request<'_>) -> Self {
        let mut key = Self(Vec::with_capacity(128));
        match &request.principal {
            Principal::Agent(agent) => {
                key.part("agent");
                key.part(agent.name.as_str());
                key.part(agent.owner.as_str());
                key.part(agent.environment);
                key.part(agent.assurance);
            }
            Principal::Person(name) => {
                key.part("person");
                key.part(name.as_str());
            }
        }
        match &request.action {
            Action::CallTool { server, tool, .. } => {
                key.part("call");
                key.part(server.as_str());
                key.part(tool);
            }
            Action::Connect { host, .. } => {
                key.part("connect");
                key.part(host);
            }
            Action::Request { upstream, .. } => {
                key.part("request");
                key.part(upstream.as_str());
            }
        }
        key
    }

    /// Adds a part with its length in front, so that no two lists of parts look the same.
    fn part(&mut self, text: &str) {
        self.0.extend_from_slice(&text.len().to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }
}

impl Reductions {
    /// The reduction for this key; makes it the first time.
    pub(crate) fn of(&self, key: Key, inner: &Inner, known: &Known<'_>) -> Arc<Reduced> {
        if let Some(reduced) = self.find(&key) {
            return reduced;
        }
        // Made outside of the lock: whoever needs the same one meanwhile makes it twice.
        let reduced = Arc::new(Reduced {
            rules: reduce(&inner.rules, inner, known),
            requirements: reduce(&inner.requirements, inner, known),
        });
        self.keep(key, Arc::clone(&reduced));
        reduced
    }

    fn find(&self, key: &Key) -> Option<Arc<Reduced>> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reduced) = generations.young.get(key) {
            return Some(Arc::clone(reduced));
        }
        let (key, reduced) = generations.old.remove_entry(key)?;
        generations.keep(key, Arc::clone(&reduced));
        Some(reduced)
    }

    fn keep(&self, key: Key, reduced: Arc<Reduced>) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.keep(key, reduced);
    }
}

impl Generations {
    fn keep(&mut self, key: Key, reduced: Arc<Reduced>) {
        let kept = [&reduced.rules, &reduced.requirements].map(PolicySet::num_of_policies);
        let weight = kept.into_iter().fold(1, usize::saturating_add);
        self.weight = self.weight.saturating_add(weight);
        self.young.insert(key, reduced);
        if self.weight > KEPT_MAX {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
    }
}

/// The policies of `all` that are not false for every context. All that could match by their
/// scopes, if partial evaluation gives no answer.
pub(crate) fn reduce(all: &PolicySet, inner: &Inner, known: &Known<'_>) -> PolicySet {
    let Some(some) = collect(all.policies().filter(|policy| in_scope(policy, known))) else {
        return all.clone();
    };
    let Some(never) = never(&some, inner, known) else {
        return some;
    };
    let rest = collect(
        some.policies()
            .filter(|policy| !never.contains(policy.id())),
    );
    rest.unwrap_or(some)
}

/// Those that partial evaluation finds false.
fn never(policies: &PolicySet, inner: &Inner, known: &Known<'_>) -> Option<HashSet<PolicyId>> {
    let cedar = &inner.schema.inner().cedar;
    let request = PartialRequest::new(
        PartialEntityUid::from_concrete(known.principal.clone()),
        known.action.clone(),
        PartialEntityUid::from_concrete(known.resource.clone()),
        None,
        cedar,
    )
    .ok()?;
    let entities = Entities::from_entities(known.entities.iter().cloned(), Some(cedar)).ok()?;
    let entities = PartialEntities::from_concrete(entities, cedar).ok()?;
    let response = policies.tpe(&request, &entities, cedar).ok()?;
    let never = response.false_permits().chain(response.false_forbids());
    Some(never.cloned().collect())
}

/// Whether the scope of a policy can match: cheap, and leaves little for partial evaluation.
/// Membership in others is left to that.
fn in_scope(policy: &Policy, known: &Known<'_>) -> bool {
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Eq(uid) => uid == *known.principal,
        PrincipalConstraint::Is(kind) | PrincipalConstraint::IsIn(kind, _) => {
            kind == *known.principal.type_name()
        }
        PrincipalConstraint::Any | PrincipalConstraint::In(_) => true,
    };
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Eq(uid) => uid == *known.resource,
        ResourceConstraint::Is(kind) | ResourceConstraint::IsIn(kind, _) => {
            kind == *known.resource.type_name()
        }
        ResourceConstraint::Any | ResourceConstraint::In(_) => true,
    };
    let action = match policy.action_constraint() {
        ActionConstraint::Eq(uid) => uid == *known.action,
        ActionConstraint::Any | ActionConstraint::In(_) => true,
    };
    principal && resource && action
}

fn collect<'a>(policies: impl Iterator<Item = &'a Policy>) -> Option<PolicySet> {
    PolicySet::from_policies(policies.cloned()).ok()
}
