//! Refuses expressions that Cedar's validation would let pass unseen: those too deep for it, and
//! those that look at arguments which policies cannot see.
//!
//! Validation refuses an access to an unknown attribute, but it takes `has` of one as false: a
//! `forbid … when { context.arguments has ratio && … }` would validate and never forbid. The same
//! goes for `context.arguments` as a whole, which compares equal without its untyped members.

use cedar_policy::{ActionConstraint, Policy};
use serde_json::Value;

use super::EXPRESSION_DEPTH_MAX;
use crate::Schema;

/// Says whether the policy nests too deep, or what it uses that it cannot see in some tool that it
/// applies to.
pub(super) fn check(policy: &Policy, schema: &Schema) -> Result<(), String> {
    let hidden = hidden_in_scope(policy, schema);
    let json = policy.to_json().map_err(|e| e.to_string())?;
    let mut nodes = vec![(&json, 0_usize)];
    while let Some((node, depth)) = nodes.pop() {
        if depth > JSON_DEPTH_MAX {
            return Err("the condition is nested more than 128 deep; split the policy".to_owned());
        }
        let chain = Chain::of(node);
        if let Some(chain) = chain {
            // An extended `has` (`x has a.b.c`) becomes a chain of `&&` over chains of attributes.
            let depth = depth.saturating_add(4 * chain.path.len());
            if chain.root_is_context() {
                nodes.push((&Value::Null, depth));
                check_path(&chain.path, chain.is_has, &hidden)?;
            } else {
                nodes.push((chain.root, depth));
            }
            continue;
        }
        match node {
            Value::Array(items) => nodes.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(members) => nodes.extend(members.values().map(|item| (item, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}

/// Whether the policy may read an attribute of the context: it names it somewhere, as an attribute
/// or as a member of a record that the whole context could be compared with. A policy without a
/// JSON form may do anything.
pub(super) fn may_read(policy: &Policy, attribute: &str) -> bool {
    let Ok(json) = policy.to_json() else {
        return true;
    };
    let mut nodes = vec![&json];
    while let Some(node) = nodes.pop() {
        match node {
            Value::String(text) if text == attribute => return true,
            Value::Array(items) => nodes.extend(items),
            Value::Object(members) if members.contains_key(attribute) => return true,
            Value::Object(members) => nodes.extend(members.values()),
            _ => {}
        }
    }
    false
}

/// Cedar's JSON form takes two levels for each of the expression, and a few around it.
const JSON_DEPTH_MAX: usize = 2 * EXPRESSION_DEPTH_MAX + 4;

/// The untyped arguments of the tools in the policy's scope: each path with its tool.
fn hidden_in_scope<'a>(policy: &Policy, schema: &'a Schema) -> Vec<(&'a str, String)> {
    let actions = match policy.action_constraint() {
        ActionConstraint::Any => None,
        ActionConstraint::In(actions) => Some(actions),
        ActionConstraint::Eq(action) => Some(vec![action]),
    };
    // `Action::"call"` holds all tools.
    let concerns = |action: &str| {
        actions.as_ref().is_none_or(|actions| {
            actions
                .iter()
                .any(|a| matches!(a.id().unescaped(), id if id == action || id == "call"))
        })
    };
    schema
        .untyped_everywhere()
        .filter(|(_, action)| concerns(action))
        .collect()
}

/// Attributes read one after the other from a root, as in `context.arguments has path`.
struct Chain<'a> {
    root: &'a Value,
    /// Outermost first.
    path: Vec<&'a str>,
    /// Whether the last is only asked for by `has`.
    is_has: bool,
}

impl<'a> Chain<'a> {
    /// The chain that ends in this node; none if the node is neither one nor `context`.
    fn of(node: &'a Value) -> Option<Self> {
        let mut chain = Self {
            root: node,
            path: Vec::new(),
            is_has: node.get("has").is_some(),
        };
        while let Some(read) = chain.root.get(".").or_else(|| chain.root.get("has")) {
            match read.get("attr")? {
                Value::String(attr) => chain.path.push(attr),
                Value::Array(attrs) => chain
                    .path
                    .extend(attrs.iter().rev().filter_map(Value::as_str)),
                _ => return None,
            }
            chain.root = read.get("left")?;
        }
        chain.path.reverse();
        (chain.root_is_context() || !chain.path.is_empty()).then_some(chain)
    }

    fn root_is_context(&self) -> bool {
        self.root.get("Var").and_then(Value::as_str) == Some("context")
    }
}

fn check_path(path: &[&str], is_has: bool, hidden: &[(&str, String)]) -> Result<(), String> {
    let (head, rest) = match path.split_first() {
        Some((head, rest)) => (*head, rest.join(".")),
        None => ("arguments", String::new()),
    };
    if head != "arguments" {
        return Ok(());
    }
    // A value shows what lies below it; `has` shows no more than that something is there.
    let covers = |outer: &str, inner: &str| {
        outer.is_empty()
            || inner == outer
            || inner
                .strip_prefix(outer)
                .is_some_and(|s| s.starts_with('.'))
    };
    let found = hidden
        .iter()
        .find(|(path, _)| covers(path, &rest) || (!is_has && covers(&rest, path)));
    let Some((path, action)) = found else {
        return Ok(());
    };
    let types = "a number with fractions, a union, null or an open object";
    Err(format!(
        "policies cannot see argument `{path}` of `{action}`: its type is {types}"
    ))
}
