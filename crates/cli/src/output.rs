//! Printing: JSON for programs, text and tables for people.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use aims_model::text::misleads;
use aims_types::{Gateway, Id};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// How the caller wants to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints `value` as JSON, or what `text` makes of it.
    pub(crate) fn show<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", plain(&serde_json::to_string(value)?))?;
        } else {
            writeln!(out, "{}", text(value).trim_end())?;
        }
        Ok(())
    }

    /// What tells on the standard error output which gateways did not take a change over.
    pub(crate) fn warning_of_lapsed(self) -> impl Fn(&[Id<Gateway>]) + Send + Sync + 'static {
        move |lapsed| {
            for gateway in lapsed {
                // Nothing can be done about a closed output.
                drop(writeln!(io::stderr(), "{}", self.lapsed(*gateway)));
            }
        }
    }

    fn lapsed(self, gateway: Id<Gateway>) -> String {
        if self.json {
            let gateway = gateway.to_string();
            return serde_json::json!({"warning": "lapsed", "gateway": gateway}).to_string();
        }
        format!(
            "warning: {gateway} did not take the change over; nothing is allowed there until it does"
        )
    }
}

/// A text of which a terminal does nothing but show it: what controls it, turns the direction of
/// writing or is invisible is written as in JSON (RFC 8259 §7), of which it leaves the value as it
/// is. Line ends stay.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let shown = |c: char| c == '\n' || !misleads(c);
    if text.chars().all(shown) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if shown(c) {
            safe.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A text takes whatever is written to it.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(safe)
}

/// A table that a person can read.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    table.to_string()
}

/// What people call an instant.
pub(crate) fn instant(at: aims_types::Timestamp) -> String {
    let text = at.to_string();
    text.split('.').next().unwrap_or_default().replace('T', " ") + "Z"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_controls_a_terminal_or_turns_a_text() {
        let text = "a\u{9b}2J\u{202e}b\u{1b}[0m\u{2066}c\u{e0041}\u{200b}\nd é 漢 😀";
        let shown = plain(text);
        assert_eq!(
            shown,
            "a\\u009b2J\\u202eb\\u001b[0m\\u2066c\\udb40\\udc41\\u200b\nd é 漢 😀"
        );
        let json = serde_json::to_string(text).unwrap();
        let safe = plain(&json);
        assert!(!safe.chars().any(misleads), "{safe:?}");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
    }

    #[test]
    fn a_lapsed_gateway_is_named_to_people_and_to_programs() {
        let gateway = Id::from_u128(7);
        let text = Output { json: false }.lapsed(gateway);
        assert!(text.starts_with("warning: ") && text.contains(&gateway.to_string()));
        let json: serde_json::Value =
            serde_json::from_str(&Output { json: true }.lapsed(gateway)).unwrap();
        assert_eq!(json["gateway"], gateway.to_string());
    }
}
