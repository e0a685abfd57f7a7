//! The tree as text.

mod calls;
mod node;

use std::fmt;

use aims_types::{Digest, Timestamp};

use super::{Instance, Launch, LaunchRefusal, Measured, RequestRefusal, Session, Start, Story};

use calls::{call, flood};
use node::{Node, Paint};

/// Narrowest text: below it, lines are cut into columns nobody can read.
pub const WIDTH_MIN: usize = 40;
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
    root.group(
        "instances",
        story.instances.iter().map(|one| instance(one, &known)),
    );
    root.group(
        "sessions with tool servers",
        story.sessions.iter().map(|one| session(one, &known)),
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
    ];
    for (name, text) in said {
        node.below
            .extend(text.map(|text| Node::new(Paint::Plain, format!("{name}: {text}"))));
    }
    let Some(authority) = &start.authority else {
        node.add(Paint::Faint, "authority: can't be read from the grant");
        return node;
    };
    node.group(
        "authority",
        authority.iter().map(|allowed| {
            let mut node = Node::new(Paint::Plain, allowed.what.as_str());
            for argument in &allowed.arguments {
                node.add(Paint::Plain, argument.as_str());
            }
            node
        }),
    );
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
