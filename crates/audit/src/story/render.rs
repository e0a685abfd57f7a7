//! The tree as text.

mod calls;
mod kills;
mod node;
mod tree;

use std::fmt;

use aims_types::{Digest, Timestamp};

use super::{Allowance, Launch, LaunchRefusal, RequestRefusal, Session, Start, Story};

use calls::{approval, call, flood};
use kills::{erasure, freeze, kill, owner};
use node::{Node, Paint};
use tree::{delegation_refusal, tree};

/// Narrowest text: below it, lines are cut into columns nobody can read.
pub const WIDTH_MIN: usize = 60;
/// How many hexadecimal digits of a digest are shown.
const DIGEST_DIGITS: usize = 12;

/// How the text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Longest line, in characters; at least [`WIDTH_MIN`].
    pub width: usize,
    /// Whether to use terminal colours.
    pub color: bool,
}

/// A hundred columns, no colour.
impl Default for Style {
    fn default() -> Self {
        Self {
            width: 100,
            color: false,
        }
    }
}

/// The story as a tree that a person can read.
pub fn render(story: &Story, style: Style) -> String {
    let known = Known::of(story);
    let mut root = Node::new(Paint::Bold, format!("task {}", story.task));
    root.below.extend(story.start.iter().map(start));
    root.group(
        "launches",
        story.launches.iter().map(|one| launch(one, &known)),
    );
    root.below.extend(tree(story, &known));
    root.group(
        "delegations refused",
        story
            .delegation_refusals
            .iter()
            .map(|one| delegation_refusal(one, &known)),
    );
    root.group(
        "sessions with tool servers",
        story.sessions.iter().map(|one| session(one, &known)),
    );
    root.group(
        "approvals",
        story.approvals.iter().map(|one| approval(one, &known)),
    );
    root.group("calls", story.calls.iter().map(|one| call(one, &known)));
    root.group(
        "denied past the rate",
        story.floods.iter().map(|one| flood(one, &known)),
    );
    root.group(
        "requests refused",
        story.refusals.iter().map(|one| refusal(one, &known)),
    );
    root.group("kills", story.kills.iter().map(|one| kill(one, &known)));
    root.group(
        "frozen and resumed",
        story.freezes.iter().map(|one| freeze(one, &known)),
    );
    root.group(
        "owners of the delegation tree",
        story.owners.iter().map(|one| owner(one, &known)),
    );
    root.group(
        "erased",
        story.erasures.iter().map(|one| erasure(one, &known)),
    );
    root.group(
        "other records",
        story.other.iter().map(|one| {
            let mut node = Node::new(
                Paint::Plain,
                format!("{} {}", known.time(one.place.at), one.kind),
            );
            for (name, value) in &one.members {
                node.add(Paint::Faint, format!("{name}: {value}"));
            }
            node
        }),
    );
    root.below.push(end(story, &known));
    let width = style.width.max(WIDTH_MIN);
    let mut out = String::new();
    root.draw(&mut out, ("", ""), Style { width, ..style });
    out
}

/// What is said once, and shortens the rest: the date of the first day, and who the person is.
struct Known<'a> {
    day: String,
    person: Option<(&'a str, &'a str)>,
    one_instance: bool,
}

impl<'a> Known<'a> {
    fn of(story: &'a Story) -> Self {
        let places = story.start.iter().map(|one| &one.place);
        let places = places.chain(story.calls.iter().map(|one| &one.place));
        let text = places.map(|place| place.at.to_string()).next();
        let day = text.as_deref().and_then(|text| text.split_once('T'));
        let start = story.start.as_ref();
        let person =
            start.and_then(|start| Some((&**start.person_id.as_ref()?, &**start.person.as_ref()?)));
        Self {
            day: day.map_or_else(String::new, |(day, _)| day.to_owned()),
            person,
            one_instance: story.instances.len() == 1,
        }
    }

    fn time(&self, at: Timestamp) -> String {
        let text = at.to_string();
        match text.split_once('T') {
            Some((day, time)) if day == self.day => time.to_owned(),
            _ => text,
        }
    }

    /// The name of the person with this id, or the id.
    fn who(&self, id: Option<&'a String>) -> &'a str {
        match (self.person, id) {
            (Some((person, name)), Some(id)) if person == id => name,
            (_, id) => or_unknown(id),
        }
    }
}

fn short(digest: &Digest) -> String {
    let hex = digest.to_hex();
    format!(
        "sha256:{}…",
        hex.chars().take(DIGEST_DIGITS).collect::<String>()
    )
}

/// The text after `before`, or nothing.
fn maybe(before: &str, text: Option<impl fmt::Display>) -> String {
    text.map_or_else(String::new, |text| format!("{before}{text}"))
}

fn or_unknown(text: Option<&String>) -> &str {
    text.map_or("unknown", String::as_str)
}

fn start(start: &Start) -> Node {
    let (person, agent) = (
        or_unknown(start.person.as_ref()),
        or_unknown(start.agent.as_ref()),
    );
    let mut node = Node::new(
        Paint::Bold,
        format!("{} {person} let agent {agent} act", start.place.at),
    );
    let said = [
        ("for", start.purpose.clone()),
        ("person", start.person_id.clone()),
        ("agent", start.agent_id.clone()),
        ("until", start.deadline.map(|at| at.to_string())),
        ("delegation", start.delegation.clone()),
        ("grant", start.grant.as_ref().map(short)),
        ("authorised by policy", start.policy.clone()),
    ];
    for (name, text) in said {
        node.below
            .extend(text.map(|text| Node::new(Paint::Plain, format!("{name}: {text}"))));
    }
    node.below.push(authority(start.authority.as_deref()));
    node
}

/// What a grant allows.
fn authority(allowed: Option<&[Allowance]>) -> Node {
    let Some(allowed) = allowed else {
        return Node::new(Paint::Faint, "authority: can't be read from the grant");
    };
    let mut node = Node::new(Paint::Bold, "authority");
    for one in allowed {
        let mut allowance = Node::new(Paint::Plain, one.what.as_str());
        for argument in &one.arguments {
            allowance.add(Paint::Plain, argument.as_str());
        }
        node.below.push(allowance);
    }
    node
}

fn launch<'a>(launch: &'a Launch, known: &Known<'a>) -> Node {
    let run = or_unknown(launch.run.as_ref());
    let by = known.who(launch.requested_by.as_ref());
    let at = known.time(launch.place.at);
    let mut node = Node::new(Paint::Plain, format!("{at} {run} asked for by {by}"));
    if let Some(at) = launch.redeemed_at {
        let by = or_unknown(launch.node.as_ref());
        node.add(Paint::Plain, format!("{} taken up by {by}", known.time(at)));
    }
    node.below
        .extend(launch.refusals.iter().map(|one| launch_refusal(one, known)));
    node
}

fn launch_refusal(refusal: &LaunchRefusal, known: &Known<'_>) -> Node {
    let code = maybe(" ", refusal.code.as_ref());
    let reason = maybe(": ", refusal.reason.as_ref());
    let at = known.time(refusal.place.at);
    let mut node = Node::new(Paint::Bad, format!("{at} refused{code}{reason}"));
    for gap in &refusal.gaps {
        let mut part = Node::new(Paint::Plain, gap.part.as_str());
        part.add(Paint::Plain, format!("expected {}", gap.expected));
        part.add(Paint::Plain, format!("seen     {}", gap.seen));
        node.below.push(part);
    }
    let shown = u64::try_from(refusal.gaps.len()).unwrap_or(u64::MAX);
    if refusal.gap_count > shown {
        node.add(
            Paint::Faint,
            format!("and {} more", refusal.gap_count - shown),
        );
    }
    node
}

fn session(session: &Session, known: &Known<'_>) -> Node {
    let what = or_unknown(session.what.as_ref());
    let server = or_unknown(session.server.as_ref());
    let paint = if what == "refused" {
        Paint::Bad
    } else {
        Paint::Plain
    };
    let at = known.time(session.place.at);
    let mut node = Node::new(paint, format!("{at} {server} {what}"));
    for detail in &session.details {
        node.add(Paint::Plain, detail.as_str());
    }
    node
}

fn refusal<'a>(refusal: &'a RequestRefusal, known: &Known<'a>) -> Node {
    let operation = or_unknown(refusal.operation.as_ref());
    let code = maybe(" ", refusal.code.as_ref());
    let by = maybe(" to ", refusal.by.as_ref().map(|by| known.who(Some(by))));
    let at = known.time(refusal.place.at);
    let mut node = Node::new(Paint::Bad, format!("{at} refused {operation}{code}{by}"));
    for reason in &refusal.reasons {
        node.add(Paint::Bad, format!("reason: {reason}"));
    }
    node.below.extend(
        refusal
            .subject
            .as_ref()
            .map(|text| Node::new(Paint::Plain, format!("subject: {text}"))),
    );
    node
}

fn end<'a>(story: &'a Story, known: &Known<'a>) -> Node {
    match &story.end {
        Some(end) => {
            let at = known.time(end.place.at);
            let why = maybe(": ", end.why.as_ref());
            let by = maybe(" by ", end.by.as_ref().map(|by| known.who(Some(by))));
            Node::new(Paint::Bold, format!("{at} task ended{by}{why}"))
        }
        None => Node::new(Paint::Bold, "no end of the task is recorded"),
    }
}
