//! Policy texts, checked when they are written.

mod annotations;
mod errors;
mod expression;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use aims_types::Name;
use cedar_policy::{Authorizer, Effect, Policy, PolicyId, ValidationMode, Validator};

use self::annotations::Annotations;
pub use self::annotations::{DESCRIPTION_LEN_MAX, RequirementKind};
use self::errors::Source;
pub use self::errors::{PolicyError, PolicyErrors};
use crate::Schema;
use crate::reduce::Reductions;

/// Longest policy text, in bytes.
pub const POLICY_TEXT_LEN_MAX: usize = 1 << 20;
/// Most policies in one set: all are walked the first time that a principal meets a resource.
pub const POLICIES_MAX: usize = 10_000;
/// Longest single policy, in bytes.
pub const POLICY_LEN_MAX: usize = 16 << 10;
/// Most of the characters `&|+-*.` in one policy, outside of texts and comments. Parser, validator
/// and evaluator recurse over chains of operators: this bounds their stack.
pub const OPERATORS_MAX: usize = 512;
/// Deepest expression. Cedar's type checker gives up without an error when its stack runs low, at
/// about 600 levels on a thread of 2 MiB; what it has not looked at must not pass as validated.
pub const EXPRESSION_DEPTH_MAX: usize = 128;
/// Most `else` in one policy: `if … else if …` nests deepest on the parser's stack.
pub const BRANCHES_MAX: usize = 64;
/// Deepest nesting of brackets in a policy text.
pub const BRACKETS_DEPTH_MAX: usize = 64;

/// The attribute of the context below which the number of calls is.
const SESSION: &str = "session";
/// How far a policy may follow attributes from one entity to the next: `principal.owner.name`.
/// What lies further is not among the entities of a request.
const DEREFERENCE_LEVEL_MAX: u32 = 2;

/// A validated set of policies. Cheap to clone.
#[derive(Clone)]
pub struct PolicySet(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) schema: Schema,
    pub(crate) authorizer: Authorizer,
    /// Permits and forbids.
    pub(crate) rules: cedar_policy::PolicySet,
    /// Requirements; all have the effect `permit`, which here says "applies".
    pub(crate) requirements: cedar_policy::PolicySet,
    pub(crate) known: HashMap<PolicyId, Known>,
    /// What the policies come down to for those who asked.
    pub(crate) reductions: Reductions,
    counts_calls: bool,
    text: String,
    warnings: Vec<PolicyError>,
}

/// What is known of a policy besides its condition.
pub(crate) struct Known {
    pub(crate) id: Name,
    pub(crate) forbids: bool,
    pub(crate) requires: Option<RequirementKind>,
}

impl PolicySet {
    /// Parses and validates a text strictly against `schema`; gives all errors that were found.
    pub fn compile(text: &str, schema: &Schema) -> Result<Self, PolicyErrors> {
        let source = Source::new(text);
        source.check_size()?;
        let parsed: cedar_policy::PolicySet = text.parse().map_err(|e| source.parse_errors(&e))?;
        if parsed.num_of_templates() > 0 {
            return Err(source.whole("templates are not supported; write a policy for each case"));
        }
        if parsed.num_of_policies() > POLICIES_MAX {
            return Err(source.whole("more than 10000 policies in one set"));
        }
        let mut sorted = Sorted::default();
        let mut errors = Vec::new();
        let mut place = 0;
        let mut counts_calls = false;
        for policy in parsed.policies() {
            counts_calls |= expression::may_read(policy, SESSION);
            let written = policy.to_cedar().unwrap_or_default();
            let found = text.get(place..).and_then(|rest| rest.find(&written));
            place = place.saturating_add(found.unwrap_or(0));
            let checked = sorted
                .add(policy)
                .and_then(|()| expression::check(policy, schema));
            if let Err(problem) = checked {
                errors.push(source.at(place, None, &problem));
            }
            // The next policy starts behind this one, even if it has the same text.
            place = place.saturating_add(written.len().max(1));
        }
        let warnings = source.validate(schema, &sorted, &mut errors);
        if let Some(errors) = PolicyErrors::some(errors) {
            return Err(errors);
        }
        let Sorted {
            rules,
            requirements,
            known,
            ..
        } = sorted;
        Ok(Self(Arc::new(Inner {
            schema: schema.clone(),
            authorizer: Authorizer::new(),
            rules,
            requirements,
            known,
            reductions: Reductions::default(),
            counts_calls,
            text: text.to_owned(),
            warnings,
        })))
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether a policy may look at how many calls were permitted before
    /// (`context.session.calls`).
    pub fn counts_calls(&self) -> bool {
        self.0.counts_calls
    }

    /// The schema that it was validated against.
    pub fn schema(&self) -> &Schema {
        &self.0.schema
    }

    /// What validation warns of, for example a policy that can never apply.
    pub fn warnings(&self) -> &[PolicyError] {
        &self.0.warnings
    }

    /// The ids of all policies, in order.
    pub fn ids(&self) -> impl Iterator<Item = &Name> {
        self.0
            .known
            .values()
            .map(|known| &known.id)
            .collect::<BTreeSet<_>>()
            .into_iter()
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }
}

/// Policies by their kind, while a text is read.
#[derive(Default)]
struct Sorted {
    rules: cedar_policy::PolicySet,
    requirements: cedar_policy::PolicySet,
    known: HashMap<PolicyId, Known>,
}

impl Sorted {
    fn add(&mut self, policy: &Policy) -> Result<(), String> {
        let Annotations { id, requires } = Annotations::of(policy)?;
        let cedar_id = PolicyId::new(id.as_str());
        if self.known.contains_key(&cedar_id) {
            return Err(format!("`@id` `{id}` is given twice"));
        }
        let forbids = policy.effect() == Effect::Forbid;
        if forbids && requires.is_some() {
            let hint = "write it as `permit`, whose conditions say when it applies";
            return Err(format!(
                "policy `{id}` is a requirement and a forbid: {hint}"
            ));
        }
        let set = if requires.is_some() {
            &mut self.requirements
        } else {
            &mut self.rules
        };
        set.add(policy.new_id(cedar_id.clone()))
            .map_err(|e| e.to_string())?;
        self.known.insert(
            cedar_id,
            Known {
                id,
                forbids,
                requires,
            },
        );
        Ok(())
    }
}

impl Source<'_> {
    /// Validates both kinds; adds to the errors, and gives the warnings.
    fn validate(
        &self,
        schema: &Schema,
        sorted: &Sorted,
        errors: &mut Vec<PolicyError>,
    ) -> Vec<PolicyError> {
        let validator = Validator::new(schema.inner().cedar.clone());
        let mut warnings = Vec::new();
        for set in [&sorted.rules, &sorted.requirements] {
            let result =
                validator.validate_with_level(set, ValidationMode::Strict, DEREFERENCE_LEVEL_MAX);
            errors.extend(result.validation_errors().map(|e| self.diagnostic(e)));
            warnings.extend(result.validation_warnings().map(|w| self.diagnostic(w)));
        }
        warnings
    }
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PolicySet").field(&self.0.text).finish()
    }
}

#[cfg(test)]
mod tests;
