//! Person, agents and sub-agents, each with its instances below its delegation.

use std::collections::HashMap;

use aims_model::grant::CHAIN_LEN_MAX;
use aims_types::Digest;

use super::super::{Delegation, DelegationRefusal, Instance, Measured, Story};
use super::node::{Node, Paint};
use super::{Known, authority, launch_refusal, maybe, or_unknown, short};

/// Where each hop below the root hangs, and each instance.
struct Tree<'a> {
    story: &'a Story,
    known: &'a Known<'a>,
    /// For each delegation, those directly below it.
    hops: Vec<Vec<usize>>,
    /// For each delegation, its instances.
    instances: Vec<Vec<usize>>,
}

/// Who acted for whom; nothing if nobody did.
pub(super) fn tree<'a>(story: &'a Story, known: &'a Known<'a>) -> Option<Node> {
    if story.instances.is_empty() && story.delegations.is_empty() {
        return None;
    }
    let (tree, top_hops, top_instances) = Tree::of(story, known);
    let below = tree.below(&top_hops, &top_instances);
    let Some(start) = &story.start else {
        let mut node = Node::new(Paint::Bold, "instances");
        node.below = below;
        return Some(node);
    };
    let person = or_unknown(start.person.as_ref());
    let agent = or_unknown(start.agent.as_ref());
    let delegation = maybe(", ", start.delegation.as_ref());
    let policy = maybe(" and policy ", start.policy.as_ref());
    let text = format!("agent {agent}{delegation}, authorised by {person}'s consent{policy}");
    let mut agent = Node::new(Paint::Bold, text);
    agent.below = below;
    let mut node = Node::new(Paint::Bold, format!("on behalf of {person}"));
    node.below.push(agent);
    Some(node)
}

impl<'a> Tree<'a> {
    /// The tree, with what hangs at the root. A hop is below one that was recorded before it, and
    /// at most as deep as a chain may be: whatever the records say, this is a tree.
    fn of(story: &'a Story, known: &'a Known<'a>) -> (Self, Vec<usize>, Vec<usize>) {
        let count = story.delegations.len();
        let mut by_grant: HashMap<&Digest, (usize, usize)> = HashMap::new();
        let mut by_id: HashMap<&str, usize> = HashMap::new();
        let (mut hops, mut top_hops) = (vec![Vec::new(); count], Vec::new());
        for (at, hop) in story.delegations.iter().enumerate() {
            let above = hop.parent.as_ref().and_then(|parent| by_grant.get(parent));
            let above = above.copied().filter(|(_, depth)| *depth < CHAIN_LEN_MAX);
            let list = above.and_then(|(above, _)| hops.get_mut(above));
            list.unwrap_or(&mut top_hops).push(at);
            let depth = above.map_or(1, |(_, depth)| depth + 1);
            if let Some(grant) = &hop.grant {
                by_grant.entry(grant).or_insert((at, depth));
            }
            if let Some(id) = &hop.delegation {
                by_id.entry(id).or_insert(at);
            }
        }
        let (mut instances, mut top_instances) = (vec![Vec::new(); count], Vec::new());
        for (at, instance) in story.instances.iter().enumerate() {
            let hop = instance.delegation.as_deref().and_then(|id| by_id.get(id));
            let list = hop.and_then(|hop| instances.get_mut(*hop));
            list.unwrap_or(&mut top_instances).push(at);
        }
        let tree = Self {
            story,
            known,
            hops,
            instances,
        };
        (tree, top_hops, top_instances)
    }

    fn below(&self, hops: &[usize], instances: &[usize]) -> Vec<Node> {
        let instances = instances.iter();
        let instances = instances.filter_map(|at| self.story.instances.get(*at));
        let mut nodes: Vec<Node> = instances.map(|one| instance(one, self.known)).collect();
        nodes.extend(hops.iter().filter_map(|at| self.hop(*at)));
        nodes
    }

    fn hop(&self, at: usize) -> Option<Node> {
        let mut node = delegation(self.story.delegations.get(at)?, self.known);
        let (hops, instances) = (self.hops.get(at)?, self.instances.get(at)?);
        node.below.extend(self.below(hops, instances));
        Some(node)
    }
}

fn delegation(delegation: &Delegation, known: &Known<'_>) -> Node {
    let at = known.time(delegation.place.at);
    let agent = or_unknown(delegation.agent.as_ref());
    let id = maybe(", ", delegation.delegation.as_ref());
    let by = or_unknown(delegation.by.as_ref());
    let policy = maybe(" and policy ", delegation.policy.as_ref());
    let text = format!("{at} agent {agent}{id}, authorised by {by}'s signed request{policy}");
    let mut node = Node::new(Paint::Bold, text);
    let said = [
        ("for", delegation.purpose.clone()),
        ("until", delegation.deadline.map(|at| known.time(at))),
        ("grant", delegation.grant.as_ref().map(short)),
    ];
    for (name, text) in said {
        node.below
            .extend(text.map(|text| Node::new(Paint::Plain, format!("{name}: {text}"))));
    }
    node.below.push(authority(delegation.authority.as_deref()));
    node
}

pub(super) fn delegation_refusal(refusal: &DelegationRefusal, known: &Known<'_>) -> Node {
    let at = known.time(refusal.place.at);
    let by = or_unknown(refusal.by.as_ref());
    let agent = maybe(" a delegation to agent ", refusal.agent.as_ref());
    let code = maybe(" ", refusal.code.as_ref());
    let text = format!("{at} refused {by}{agent}:{code}");
    let mut node = Node::new(Paint::Bad, text);
    let said = [
        ("reason", &refusal.reason),
        ("constraint", &refusal.constraint),
    ];
    for (name, text) in said {
        let text = text.as_ref();
        node.below
            .extend(text.map(|text| Node::new(Paint::Bad, format!("{name}: {text}"))));
    }
    node
}

fn instance(instance: &Instance, known: &Known<'_>) -> Node {
    let id = or_unknown(instance.instance.as_ref());
    let at = known.time(instance.place.at);
    let mut node = Node::new(Paint::Plain, format!("{at} {id} attested"));
    node.below
        .push(Node::new(Paint::Plain, environment(instance)));
    let files = [
        ("program", &instance.program),
        ("interpreter", &instance.interpreter),
    ];
    for (name, file) in files {
        node.below
            .extend(file.as_ref().map(|file| measured(name, file)));
    }
    let (files, trees) = (instance.files, instance.trees);
    node.add(
        Paint::Plain,
        format!("measured besides: {trees} trees, {files} files"),
    );
    if !instance.arguments.is_empty() {
        let arguments: Vec<_> = instance
            .arguments
            .iter()
            .map(|one| format!("`{one}`"))
            .collect();
        node.add(Paint::Plain, format!("arguments: {}", arguments.join(" ")));
    }
    for token in &instance.tokens {
        let jti = or_unknown(token.jti.as_ref());
        let until = token
            .expires_at
            .map_or_else(String::new, |at| format!(" until {}", known.time(at)));
        let at = known.time(token.place.at);
        node.add(Paint::Plain, format!("{at} token {jti}{until}"));
    }
    for at in &instance.renewed_at {
        node.add(
            Paint::Faint,
            format!("{} credential renewed", known.time(*at)),
        );
    }
    node.below.extend(
        instance
            .refusals
            .iter()
            .map(|one| launch_refusal(one, known)),
    );
    node.below.extend(instance.ended.as_ref().map(|ended| {
        let how = or_unknown(ended.how.as_ref());
        Node::new(
            Paint::Plain,
            format!("{} ended: {how}", known.time(ended.place.at)),
        )
    }));
    node
}

fn environment(instance: &Instance) -> String {
    let assurance = or_unknown(instance.assurance.as_ref());
    let uid = instance
        .host_uid
        .map_or_else(String::new, |uid| format!(", host uid {uid}"));
    let host = maybe(" on ", instance.host.as_ref());
    let node = maybe(", ", instance.node.as_ref());
    format!("assurance {assurance}{uid}{host}{node}")
}

fn measured(name: &str, file: &Measured) -> Node {
    let digest = file.digest.as_ref().map_or_else(String::new, short);
    Node::new(Paint::Plain, format!("{name} {} {digest}", file.path))
}
