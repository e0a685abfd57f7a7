//! The entries of `authorization_details` (RFC 9396 §2).

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use aims_types::Name;

use crate::problem::{counted, shown};
use crate::{Arguments, Http, Problem};

/// Most tools in one detail.
pub const ACTIONS_MAX: usize = 64;
/// Longest name of a tool (MCP 2025-11-25, tools: 1 to 128 characters).
pub const TOOL_NAME_LEN_MAX: usize = 128;
/// Most arguments in one detail.
pub const ARGUMENTS_MAX: usize = 64;
/// Longest name of an argument, in bytes.
pub const ARGUMENT_NAME_LEN_MAX: usize = 128;
/// Longest DNS name in its text form, without the final dot (RFC 1035 §2.3.4).
const HOST_LEN_MAX: usize = 253;
/// Longest label of a DNS name (RFC 1035 §2.3.4).
const LABEL_LEN_MAX: usize = 63;

/// One thing that an authority allows, on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// `mcp_tool`: calls of tools of one server.
    Tools(Tools),
    /// `https_connect`: opaque connections to one host.
    Egress(Egress),
    /// `http_request`: requests to one registered upstream.
    Http(Http),
}

/// Calls of tools of one server, with these constraints on their arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    server: Name,
    actions: BTreeSet<ToolName>,
    arguments: Arguments,
}

/// Connections to one host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    host: Host,
    port: NonZeroU16,
}

/// The name of a tool: 1 to 128 of A-Z, a-z, 0-9, `_`, `-`, `.` (MCP 2025-11-25, tools).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolName(String);

/// The name of an argument: 1 to 128 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArgumentName(String);

/// A host by its one spelling: a DNS name in lower case without final dot, or an IP literal in
/// canonical text (RFC 5952 for IPv6, without brackets).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(String);

impl Detail {
    /// The arguments that the detail names; none if it speaks of none.
    pub(crate) const fn named_arguments(&self) -> Option<&Arguments> {
        match self {
            Self::Tools(tools) => Some(tools.arguments()),
            Self::Http(http) => http.members(),
            Self::Egress(_) => None,
        }
    }
}

impl Tools {
    /// The detail that allows these tools of `server` with these arguments.
    pub fn new(
        server: Name,
        actions: BTreeSet<ToolName>,
        arguments: Arguments,
    ) -> Result<Self, Problem> {
        counted(actions.len(), 1, ACTIONS_MAX)?;
        counted(arguments.len(), 0, ARGUMENTS_MAX)?;
        Ok(Self {
            server,
            actions,
            arguments,
        })
    }

    /// The server.
    pub const fn server(&self) -> &Name {
        &self.server
    }

    /// The names of the tools.
    pub const fn actions(&self) -> &BTreeSet<ToolName> {
        &self.actions
    }

    /// The arguments that a call may have.
    pub const fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// Whether the detail names this tool.
    pub fn names(&self, server: &Name, tool: &str) -> bool {
        self.server == *server && self.actions.contains(tool)
    }
}

impl Egress {
    /// The detail that allows connections to this host and port.
    pub const fn new(host: Host, port: NonZeroU16) -> Self {
        Self { host, port }
    }

    /// The host.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port.get()
    }

    /// Whether the detail names this host, in its one spelling, and this port.
    pub fn names(&self, host: &str, port: u16) -> bool {
        self.host.0 == host && self.port.get() == port
    }
}

impl ToolName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ArgumentName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Host {
    /// The host's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is an IP literal.
    pub fn is_ip(&self) -> bool {
        is_ip_literal(&self.0)
    }
}

impl FromStr for ToolName {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        if (1..=TOOL_NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        let expected = "a tool's name: 1 to 128 characters of A-Z, a-z, 0-9, `_`, `-`, `.`";
        Err(Problem::Text {
            seen: shown(text),
            expected,
        })
    }
}

impl FromStr for ArgumentName {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length_is_good = (1..=ARGUMENT_NAME_LEN_MAX).contains(&text.len());
        if length_is_good && !text.chars().any(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        let expected = "an argument's name: 1 to 128 bytes without control characters";
        Err(Problem::Text {
            seen: shown(text),
            expected,
        })
    }
}

impl FromStr for Host {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_ip_literal(text) || is_dns_name(text) {
            return Ok(Self(text.to_owned()));
        }
        let expected = "a DNS name in lower case or an IP address in canonical form";
        Err(Problem::Text {
            seen: shown(text),
            expected,
        })
    }
}

/// Whether the text is an address in the one spelling that the standard library prints.
fn is_ip_literal(text: &str) -> bool {
    let four = text
        .parse::<Ipv4Addr>()
        .is_ok_and(|ip| ip.to_string() == text);
    four || text
        .parse::<Ipv6Addr>()
        .is_ok_and(|ip| ip.to_string() == text)
}

/// Host names of RFC 1123 §2.1 in lower case. The last label is not a number, so that no resolver
/// reads the name as an address (`127.1`, `0x7f.1`).
fn is_dns_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label_is_good = |label: &str| {
        (1..=LABEL_LEN_MAX).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let last_is_number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    text.len() <= HOST_LEN_MAX && text.split('.').all(label_is_good) && !last_is_number
}

impl std::borrow::Borrow<str> for ToolName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ArgumentName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ArgumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// At most this many names are listed in words.
const LISTED_MAX: usize = 16;

/// Names in words, bounded.
pub(crate) struct Listed {
    what: &'static str,
    names: Vec<String>,
    more: usize,
}

impl Listed {
    pub(crate) fn new(what: &'static str, names: impl Iterator<Item = String>) -> Self {
        let mut names = names.peekable();
        let listed = names.by_ref().take(LISTED_MAX).collect();
        Self {
            what,
            names: listed,
            more: names.count(),
        }
    }

    pub(crate) fn arguments<'a>(names: impl Iterator<Item = &'a ArgumentName>) -> Self {
        Self::new("arguments", names.map(|name| shown(name.as_str())))
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.names.is_empty() {
            return write!(f, "no {}", self.what);
        }
        f.write_str(self.what)?;
        for (place, name) in self.names.iter().enumerate() {
            write!(f, "{} `{name}`", if place == 0 { "" } else { "," })?;
        }
        if self.more > 0 {
            write!(f, " and {} more", self.more)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for good in [
            "pypi.org",
            "a-b.example",
            "localhost",
            "10.0.0.1",
            "::1",
            "2001:db8::1",
            "x0",
        ] {
            assert_eq!(good.parse::<Host>().unwrap().as_str(), good);
        }
        let label = format!("{}.org", "a".repeat(64));
        let long = format!("{}org", "a.".repeat(126));
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "PyPI.org",
            "a..b",
            "-a.org",
            "a-.org",
            "a_b.org",
            "127.1",
            "0x7f.0x1",
            "010.0.0.1",
            "1.2.3.4.5",
            "[::1]",
            "::0001",
            "2001:DB8::1",
            "fe80::1%eth0",
            "a b",
            "ä.org",
            "*.org",
            "a/b",
            "a:443",
            "user@a.org",
            &label,
            &long,
        ] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tool_names_follow_mcp() {
        for good in ["git_log", "A.b-c", "x"] {
            assert!(good.parse::<ToolName>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ä", "a\"", &"a".repeat(129)] {
            assert!(bad.parse::<ToolName>().is_err(), "{bad}");
        }
    }
}
