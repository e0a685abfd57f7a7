//! What an instance asks of its door to hand on a part of its authority, and what it is told.

use std::time::Duration;

use aims_authority::Authority;
use aims_json::{Limits, Object, Value};
use aims_model::Text;
use aims_model::evidence::{ARGUMENT_LEN_MAX, ARGUMENTS_MAX};
use aims_model::grant::GRANT_TTL_SECS_MAX;
use aims_types::{Delegation, Id, Instance, Name};
use bytes::Bytes;

/// Longest text that a sub-agent gets on its standard input, in bytes.
pub const STDIN_LEN_MAX: usize = 256 << 10;
/// Longest piece of output that one event carries, in bytes.
pub const OUTPUT_LEN_MAX: usize = 16 << 10;

/// A request to start a sub-agent: `POST /delegations`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ask {
    /// Which agent is to act.
    pub(crate) agent: Name,
    /// What for.
    pub(crate) purpose: Text,
    /// What it may do: narrower than what the instance has.
    pub(crate) authority: Authority,
    /// For how long; never longer than the instance's own authority.
    pub(crate) life: Duration,
    /// The program and its arguments, by absolute paths.
    pub(crate) command: Vec<String>,
    /// What it reads on its standard input.
    pub(crate) stdin: String,
}

/// Why a request to start a sub-agent can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    /// Not strict JSON, or not an object.
    #[error("the request is not a JSON object: {0}")]
    Json(String),
    /// A member is missing or malformed.
    #[error("the member `{name}` is missing or malformed: it is {expected}")]
    Member {
        name: &'static str,
        expected: &'static str,
    },
    /// The authority can't be read.
    #[error("the authority can't be read: {0}")]
    Authority(String),
    /// A member that nobody knows.
    #[error("the member `{0}` is unknown")]
    Unknown(String),
}

impl Ask {
    /// Reads a request; anything unknown is refused.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, AskError> {
        let value = aims_json::parse(body, &Limits::DOCUMENT)
            .map_err(|error| AskError::Json(error.to_string()))?;
        let Value::Object(mut members) = value else {
            return Err(AskError::Json("it is something else".to_owned()));
        };
        let ask = Self {
            agent: text(&mut members, "agent", "an agent's name")?,
            purpose: text(&mut members, "purpose", "one line of words")?,
            authority: authority(&mut members)?,
            life: life(&mut members)?,
            command: command(&mut members)?,
            stdin: stdin(&mut members)?,
        };
        match members.iter().next() {
            None => Ok(ask),
            Some((name, _)) => Err(AskError::Unknown(name.chars().take(64).collect())),
        }
    }
}

fn text<T: std::str::FromStr>(
    members: &mut Object,
    name: &'static str,
    expected: &'static str,
) -> Result<T, AskError> {
    let malformed = AskError::Member { name, expected };
    let value = members.remove(name);
    let text = value.as_ref().and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).ok_or(malformed)
}

fn authority(members: &mut Object) -> Result<Authority, AskError> {
    let value = members.remove("authority").ok_or(AskError::Member {
        name: "authority",
        expected: "an authority as a task's manifest has it",
    })?;
    Authority::from_value(&value).map_err(|error| AskError::Authority(error.to_string()))
}

fn life(members: &mut Object) -> Result<Duration, AskError> {
    let seconds = members.remove("seconds").and_then(|value| value.as_u64());
    seconds
        .filter(|seconds| (1..=GRANT_TTL_SECS_MAX).contains(seconds))
        .map(Duration::from_secs)
        .ok_or(AskError::Member {
            name: "seconds",
            expected: "a whole number from 1 to 86400",
        })
}

fn command(members: &mut Object) -> Result<Vec<String>, AskError> {
    let malformed = AskError::Member {
        name: "command",
        expected: "a list of 1 to 256 texts, the first an absolute path",
    };
    let value = members.remove("command");
    let items = value.as_ref().and_then(Value::as_array).unwrap_or_default();
    let word = |item: &Value| {
        let word = item.as_str().map(str::to_owned);
        word.filter(|word| word.len() <= ARGUMENT_LEN_MAX && !word.contains('\0'))
    };
    let words: Option<Vec<String>> = items.iter().map(word).collect();
    words
        .filter(|words| words.len() <= ARGUMENTS_MAX)
        .filter(|words| words.first().is_some_and(|first| first.starts_with('/')))
        .ok_or(malformed)
}

fn stdin(members: &mut Object) -> Result<String, AskError> {
    match members.remove("stdin") {
        None => Ok(String::new()),
        Some(Value::String(text)) if text.len() <= STDIN_LEN_MAX => Ok(text),
        Some(_) => Err(AskError::Member {
            name: "stdin",
            expected: "a text of at most 262144 bytes",
        }),
    }
}

/// What the instance is told of its sub-agent, one JSON object on a line each
/// (`application/x-ndjson`).
#[derive(Debug)]
pub(crate) enum Told {
    /// It runs, as this instance under this delegation.
    Started(Id<Instance>, Id<Delegation>),
    /// It wrote this.
    Output(Output, Vec<u8>),
    /// It ended with this code, as a shell says it: 128 + n for signal n.
    Exited(i32),
}

/// Where a sub-agent wrote to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

impl Told {
    /// The line.
    pub(crate) fn to_line(&self) -> Bytes {
        let object = match self {
            Self::Started(instance, delegation) => Object::new()
                .with("event", "started")
                .with("instance", instance.to_string())
                .with("delegation", delegation.to_string()),
            Self::Output(output, bytes) => {
                let event = match output {
                    Output::Stdout => "stdout",
                    Output::Stderr => "stderr",
                };
                Object::new()
                    .with("event", event)
                    .with("text", String::from_utf8_lossy(bytes).into_owned())
            }
            Self::Exited(code) => Object::new()
                .with("event", "exited")
                .with("code", i64::from(*code)),
        };
        Bytes::from(format!("{}\n", Value::Object(object)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"agent":"git-reader","purpose":"read the log","seconds":60,
        "authority":{"authorization_details":[],"limits":{}},"command":["/usr/bin/true","-x"]}"#;

    #[test]
    fn a_request_is_read() {
        let ask = Ask::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(ask.agent.as_str(), "git-reader");
        assert_eq!(ask.command, ["/usr/bin/true", "-x"]);
        assert_eq!(
            (ask.life, ask.stdin),
            (Duration::from_mins(1), String::new())
        );
    }

    #[test]
    fn a_request_with_anything_wrong_is_refused_with_its_name() {
        let long = format!(
            r#""seconds":60,"stdin":"{}""#,
            "x".repeat(STDIN_LEN_MAX + 1)
        );
        for (from, to, named) in [
            ("git-reader", "Git Reader", "agent"),
            ("read the log", "two\\nlines", "purpose"),
            ("60", "0", "seconds"),
            ("60", "86401", "seconds"),
            ("60", "1.5", "seconds"),
            ("\"/usr/bin/true\"", "\"true\"", "command"),
            ("[\"/usr/bin/true\",\"-x\"]", "[]", "command"),
            ("\"-x\"", "7", "command"),
            ("-x", "\\u0000", "command"),
            (
                "\"authorization_details\":[]",
                "\"authorization_details\":7",
                "authority",
            ),
            ("\"seconds\":60", &long, "stdin"),
            ("\"seconds\":60", "\"seconds\":60,\"uid\":0", "uid"),
            ("\"seconds\":60", "\"seconds\":60,\"seconds\":60", "JSON"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = Ask::parse(GOOD.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(error.to_string().contains(named), "{to:.40}: {error}");
        }
        assert!(matches!(Ask::parse(b"[]"), Err(AskError::Json(_))));
    }

    #[test]
    fn output_that_is_no_text_breaks_no_line() {
        let line = Told::Output(Output::Stdout, b"a\n\xff\"".to_vec()).to_line();
        let text = std::str::from_utf8(&line).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let value = aims_json::parse(text.trim().as_bytes(), &Limits::MESSAGE).unwrap();
        let said = value.as_object().and_then(|o| o.get("text"));
        assert_eq!(said.and_then(Value::as_str), Some("a\n\u{fffd}\""));
    }
}
