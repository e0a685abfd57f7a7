//! Lines below lines, and how they are drawn.

use std::fmt::Write as _;

use super::Style;

/// How a line is painted (ECMA-48 SGR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Bold,
    Good,
    Bad,
    Faint,
}

/// A line with what is below it.
pub(super) struct Node {
    pub(super) text: String,
    pub(super) paint: Paint,
    pub(super) below: Vec<Node>,
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
    pub(super) fn new(paint: Paint, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            paint,
            below: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, paint: Paint, text: impl Into<String>) {
        self.below.push(Self::new(paint, text));
    }

    pub(super) fn group(&mut self, title: &str, nodes: impl Iterator<Item = Self>) {
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
    pub(super) fn draw(&self, out: &mut String, (first, rest): (&str, &str), style: Style) {
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
