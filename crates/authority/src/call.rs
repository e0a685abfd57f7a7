//! What one authority says to one call.

use aims_json::Object;
use aims_types::{Name, Timestamp};

use crate::detail::Listed;
use crate::{Authority, Detail, Refusal, Rule};

/// An action that an authority is asked about.
#[derive(Debug, Clone, Copy)]
pub enum Call<'a> {
    /// A call of a tool.
    Tool {
        /// The server.
        server: &'a Name,
        /// The tool's name.
        tool: &'a str,
        /// The arguments, parsed strictly.
        arguments: &'a Object,
    },
    /// An opaque connection.
    Egress {
        /// The host, spelled as [`crate::Host`] spells it; another spelling is refused.
        host: &'a str,
        /// The port.
        port: u16,
    },
}

/// Proof that an authority allowed a call. Limits that count are the [`crate::Ledger`]'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed<'a> {
    detail: &'a Detail,
}

impl<'a> Allowed<'a> {
    /// The detail that allowed the call.
    pub const fn detail(&self) -> &'a Detail {
        self.detail
    }
}

/// Whether `authority` allows `call` at `now`; if not, why, by the detail that comes closest.
///
/// Total: every call has an answer. Constraints of two details are never mixed.
pub fn allows<'a>(
    authority: &'a Authority,
    call: &Call<'_>,
    now: Timestamp,
) -> Result<Allowed<'a>, Refusal> {
    if let Some(end) = authority.limits().not_after().filter(|end| now > *end) {
        let refusal = Refusal::new(Rule::AuthorityExpired);
        return Err(refusal
            .saw(&now.to_string())
            .allows(format_args!("calls until {end}")));
    }
    match call {
        Call::Tool {
            server,
            tool,
            arguments,
        } => allows_tool(authority, server, tool, arguments),
        Call::Egress { host, port } => allows_egress(authority, host, *port),
    }
}

/// Whether `authority` names the tool at all: what a listing of tools may show.
pub fn may_see(authority: &Authority, server: &Name, tool: &str) -> bool {
    authority.details().iter().any(|detail| match detail {
        Detail::Tools(tools) => tools.names(server, tool),
        Detail::Egress(_) => false,
    })
}

fn allows_tool<'a>(
    authority: &'a Authority,
    server: &Name,
    tool: &str,
    arguments: &Object,
) -> Result<Allowed<'a>, Refusal> {
    let summed = |name: &str| authority.limits().sums_over(name);
    let mut closest: Option<(usize, Refusal)> = None;
    for detail in authority.details() {
        let Detail::Tools(tools) = detail else {
            continue;
        };
        if !tools.names(server, tool) {
            continue;
        }
        let objections = tools.objections(arguments, summed);
        let Some(first) = objections.first else {
            return Ok(Allowed { detail });
        };
        if closest
            .as_ref()
            .is_none_or(|(fewest, _)| objections.count < *fewest)
        {
            closest = Some((objections.count, first));
        }
    }
    Err(closest.map_or_else(
        || tool_not_named(authority, server, tool),
        |(_, refusal)| refusal,
    ))
}

fn allows_egress<'a>(
    authority: &'a Authority,
    host: &str,
    port: u16,
) -> Result<Allowed<'a>, Refusal> {
    let named = |detail: &&Detail| match detail {
        Detail::Egress(egress) => egress.names(host, port),
        Detail::Tools(_) => false,
    };
    authority
        .details()
        .iter()
        .find(named)
        .map(|detail| Allowed { detail })
        .ok_or_else(|| {
            let hosts = authority
                .details()
                .iter()
                .filter_map(|detail| match detail {
                    Detail::Egress(egress) => Some(format!("{}:{}", egress.host(), egress.port())),
                    Detail::Tools(_) => None,
                });
            let refusal = Refusal::new(Rule::HostNotAllowed).saw(&format!("{host}:{port}"));
            refusal.allows(Listed::new("hosts", hosts))
        })
}

fn tool_not_named(authority: &Authority, server: &Name, tool: &str) -> Refusal {
    Refusal::new(Rule::ToolNotAllowed)
        .saw(&format!("{server}/{tool}"))
        .allows(tools_of(authority, server))
}

/// The tools of a server that an authority names, in words.
pub(crate) fn tools_of(authority: &Authority, server: &Name) -> String {
    let mut names: Vec<&str> = authority
        .details()
        .iter()
        .filter_map(|detail| match detail {
            Detail::Tools(tools) if tools.server() == server => Some(tools.actions()),
            _ => None,
        })
        .flatten()
        .map(crate::ToolName::as_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    let tools = Listed::new("tools", names.into_iter().map(str::to_owned));
    format!("{tools} of `{server}`")
}

#[cfg(test)]
mod tests;
