//! The tree as text.

use std::fmt::Write as _;

use aims_types::{Digest, Timestamp};

use super::{
    Call, Flood, Instance, Launch, LaunchRefusal, Measured, Outcome, RequestRefusal, Session,
    Start, Story, Verdict,
};

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

/// How a line is painted (ECMA-48 SGR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paint {
    Plain,
    Bold,
    Good,
    Bad,
    Faint,
}

/// A line with what is below it.
struct Node {
    text: String,
    paint: Paint,
    below: Vec<Node>,
}

/// The story as a tree that a person can read.
pub fn render(story: &Story, style: Style) -> String {
    let day = Day::of(story);
    let mut root = Node::new(Paint::Bold, format!("task {}", story.task));
    root.below.extend(story.start.iter().map(start));
    root.group(
        "launches",
        story.launches.iter().map(|one| launch(one, &day)),
    );
    root.group(
        "instances",
        story.instances.iter().map(|one| instance(one, &day)),
    );
    root.group(
        "sessions with tool servers",
        story.sessions.iter().map(|one| session(one, &day)),
    );
    root.group("calls", story.calls.iter().map(|one| call(one, &day)));
    root.group(
        "denied past the rate",
        story.floods.iter().map(|one| flood(one, &day)),
    );
    root.group(
        "requests refused",
        story.refusals.iter().map(|one| refusal(one, &day)),
    );
    root.group(
        "other records",
        story.other.iter().map(|one| {
            let mut node = Node::new(
                Paint::Plain,
                format!("{} {}", day.time(one.place.at), one.kind),
            );
            for (name, value) in &one.members {
                node.add(Paint::Faint, format!("{name}: {value}"));
            }
            node
        }),
    );
    root.below.push(end(story, &day));
    let width = style.width.max(WIDTH_MIN);
    let mut out = String::new();
    root.draw(&mut out, ("", ""), Style { width, ..style });
    out
}

impl Paint {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Bold => "1",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Faint => "2",
        }
    }
}

impl Node {
    fn new(paint: Paint, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            paint,
            below: Vec::new(),
        }
    }

    fn add(&mut self, paint: Paint, text: impl Into<String>) {
        self.below.push(Self::new(paint, text));
    }

    fn group(&mut self, title: &str, nodes: impl Iterator<Item = Self>) {
        let below: Vec<Self> = nodes.collect();
        if !below.is_empty() {
            self.below.push(Self {
                text: title.to_owned(),
                paint: Paint::Bold,
                below,
            });
        }
    }

    /// Writes the node with `first` before its first line and `rest` before all others.
    fn draw(&self, out: &mut String, (first, rest): (&str, &str), style: Style) {
        let hang = if self.below.is_empty() { "  " } else { "│ " };
        let next = format!("{rest}{hang}");
        let used = first.chars().count().max(next.chars().count());
        let room = style.width.saturating_sub(used).max(1);
        for (place, line) in wrap(&self.text, room).iter().enumerate() {
            out.push_str(if place == 0 { first } else { &next });
            if style.color && self.paint != Paint::Plain {
                // Writing to a string can't fail.
                let _ = write!(out, "\u{1b}[{}m{line}\u{1b}[0m", self.paint.code());
            } else {
                out.push_str(line);
            }
            out.push('\n');
        }
        for (place, node) in self.below.iter().enumerate() {
            let last = place + 1 == self.below.len();
            let (branch, below) = if last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            node.draw(
                out,
                (&format!("{rest}{branch}"), &format!("{rest}{below}")),
                style,
            );
        }
    }
}

/// Lines of at most `room` characters, broken at spaces where there are any.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in text.split(' ') {
        let len = word.chars().count();
        if used > 0 && used + 1 + len > room {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for char in word.chars() {
            if used == room {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(char);
            used += 1;
        }
    }
    lines.push(line);
    lines
}

/// The day on which the story starts: its date is said once.
struct Day(String);

impl Day {
    fn of(story: &Story) -> Self {
        let places = story.start.iter().map(|one| &one.place);
        let places = places.chain(story.calls.iter().map(|one| &one.place));
        let text = places
            .map(|place| place.at.to_string())
            .next()
            .unwrap_or_default();
        Self(
            text.split_once('T')
                .map_or_else(String::new, |(day, _)| day.to_owned()),
        )
    }

    fn time(&self, at: Timestamp) -> String {
        let text = at.to_string();
        match text.split_once('T') {
            Some((day, time)) if day == self.0 => time.to_owned(),
            _ => text,
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

fn launch(launch: &Launch, day: &Day) -> Node {
    let (run, by) = (
        or_unknown(launch.run.as_ref()),
        or_unknown(launch.requested_by.as_ref()),
    );
    let at = day.time(launch.place.at);
    let mut node = Node::new(Paint::Plain, format!("{at} {run} asked for by {by}"));
    if let Some(at) = launch.redeemed_at {
        let by = or_unknown(launch.node.as_ref());
        node.add(Paint::Plain, format!("{} taken up by {by}", day.time(at)));
    }
    node.below
        .extend(launch.refusals.iter().map(|one| launch_refusal(one, day)));
    node
}

fn launch_refusal(refusal: &LaunchRefusal, day: &Day) -> Node {
    let code = refusal
        .code
        .as_ref()
        .map_or_else(String::new, |code| format!(" {code}"));
    let reason = refusal
        .reason
        .as_ref()
        .map_or_else(String::new, |why| format!(": {why}"));
    let at = day.time(refusal.place.at);
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

fn instance(instance: &Instance, day: &Day) -> Node {
    let id = or_unknown(instance.instance.as_ref());
    let at = day.time(instance.place.at);
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
            .map_or_else(String::new, |at| format!(" until {}", day.time(at)));
        let at = day.time(token.place.at);
        node.add(Paint::Plain, format!("{at} token {jti}{until}"));
    }
    for at in &instance.renewed_at {
        node.add(
            Paint::Faint,
            format!("{} credential renewed", day.time(*at)),
        );
    }
    node.below
        .extend(instance.refusals.iter().map(|one| launch_refusal(one, day)));
    node.below.extend(instance.ended.as_ref().map(|ended| {
        let how = or_unknown(ended.how.as_ref());
        Node::new(
            Paint::Plain,
            format!("{} ended: {how}", day.time(ended.place.at)),
        )
    }));
    node
}

fn environment(instance: &Instance) -> String {
    let assurance = or_unknown(instance.assurance.as_ref());
    let uid = instance
        .host_uid
        .map_or_else(String::new, |uid| format!(", host uid {uid}"));
    let host = instance
        .host
        .as_ref()
        .map_or_else(String::new, |host| format!(" on {host}"));
    let node = instance
        .node
        .as_ref()
        .map_or_else(String::new, |node| format!(", {node}"));
    format!("assurance {assurance}{uid}{host}{node}")
}

fn measured(name: &str, file: &Measured) -> Node {
    let digest = file.digest.as_ref().map_or_else(String::new, short);
    Node::new(Paint::Plain, format!("{name} {} {digest}", file.path))
}

fn session(session: &Session, day: &Day) -> Node {
    let what = or_unknown(session.what.as_ref());
    let server = or_unknown(session.server.as_ref());
    let paint = if what == "refused" {
        Paint::Bad
    } else {
        Paint::Plain
    };
    let at = day.time(session.place.at);
    let mut node = Node::new(paint, format!("{at} {server} {what}"));
    for detail in &session.details {
        node.add(Paint::Plain, detail.as_str());
    }
    node
}

fn call(call: &Call, day: &Day) -> Node {
    let (paint, verdict) = match call.verdict {
        Verdict::Permit => (Paint::Good, "permit"),
        Verdict::Denied => (Paint::Bad, "denied"),
        Verdict::StepUp => (Paint::Bad, "denied (step_up)"),
    };
    let arguments = call.arguments.as_ref().map_or_else(String::new, |digest| {
        format!("  arguments {}", short(digest))
    });
    let (seq, at) = (call.place.seq, day.time(call.place.at));
    let text = format!("#{seq} {at} {verdict} {}{arguments}", call.resource);
    let mut node = Node::new(paint, text);
    for reason in &call.reasons {
        node.add(Paint::Bad, format!("reason: {reason}"));
    }
    for would in &call.would_allow {
        let argument = would
            .argument
            .as_ref()
            .map_or_else(String::new, |name| format!(" `{name}`"));
        node.add(
            Paint::Plain,
            format!("would be allowed:{argument} {}", would.allowed),
        );
    }
    for one in &call.requirements {
        let (paint, met) = if one.met {
            (Paint::Plain, "met")
        } else {
            (Paint::Bad, "not met")
        };
        node.add(
            paint,
            format!("requirement {} ({}): {met}", one.policy, one.kind),
        );
    }
    for one in &call.principals {
        let by = if one.policies.is_empty() {
            String::new()
        } else {
            format!(" by {}", one.policies.join(", "))
        };
        node.add(
            Paint::Plain,
            format!("policy for {}: {}{by}", one.principal, one.decision),
        );
    }
    for hop in &call.hops {
        let said = hop.refused.as_ref().map_or_else(
            || "allows".to_owned(),
            |rule| format!("does not allow ({rule})"),
        );
        node.add(
            Paint::Plain,
            format!("authority {}: {said}", hop.delegation),
        );
    }
    if call.verdict == Verdict::Permit {
        node.below.push(outcome(call.outcome.as_ref()));
    }
    node
}

fn outcome(outcome: Option<&Outcome>) -> Node {
    let Some(outcome) = outcome else {
        return Node::new(Paint::Faint, "outcome: not recorded; under way, or unknown");
    };
    let paint = if outcome.outcome == "ok" {
        Paint::Good
    } else {
        Paint::Bad
    };
    let mut text = format!("outcome: {}", outcome.outcome);
    if let Some(millis) = outcome.millis {
        let _ = write!(text, " after {millis} ms");
    }
    if let Some(bytes) = outcome.bytes.filter(|bytes| *bytes > 0) {
        let _ = write!(text, ", {bytes} bytes");
    }
    if let Some(result) = &outcome.result {
        let _ = write!(text, " {}", short(result));
    }
    if let Some(fault) = &outcome.fault {
        let _ = write!(text, ": {fault}");
    }
    Node::new(paint, text)
}

fn flood(flood: &Flood, day: &Day) -> Node {
    let who = or_unknown(flood.principal.as_ref());
    let (count, at) = (flood.count, day.time(flood.place.at));
    let mut node = Node::new(Paint::Bad, format!("{at} denied {count} times to {who}"));
    node.group("first", flood.first.iter().map(|one| call(one, day)));
    node.group("last", flood.last.iter().map(|one| call(one, day)));
    node
}

fn refusal(refusal: &RequestRefusal, day: &Day) -> Node {
    let operation = or_unknown(refusal.operation.as_ref());
    let code = refusal
        .code
        .as_ref()
        .map_or_else(String::new, |code| format!(" {code}"));
    let by = refusal
        .by
        .as_ref()
        .map_or_else(String::new, |by| format!(" to {by}"));
    let at = day.time(refusal.place.at);
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

fn end(story: &Story, day: &Day) -> Node {
    match &story.end {
        Some(end) => {
            let at = day.time(end.place.at);
            let why = end
                .why
                .as_ref()
                .map_or_else(String::new, |why| format!(": {why}"));
            let by = end
                .by
                .as_ref()
                .map_or_else(String::new, |by| format!(" by {by}"));
            Node::new(Paint::Bold, format!("{at} task ended{by}{why}"))
        }
        None => Node::new(Paint::Bold, "no end of the task is recorded"),
    }
}
