//! What one authority says to one call.

use aims_json::Object;
use aims_types::{Name, Timestamp};

use crate::arguments::{Objections, objections};
use crate::detail::Listed;
use crate::http::{HttpCall, request};
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
    /// A request to an upstream.
    Http(HttpCall<'a>),
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
        Call::Http(call) => allows_http(authority, call),
    }
}

/// Whether `authority` names the tool at all: what a listing of tools may show.
pub fn may_see(authority: &Authority, server: &Name, tool: &str) -> bool {
    authority.details().iter().any(|detail| match detail {
        Detail::Tools(tools) => tools.names(server, tool),
        Detail::Egress(_) | Detail::Http(_) => false,
    })
}

/// Whether the authority names the upstream at all: whether its being there is told.
pub fn may_request(authority: &Authority, upstream: &Name) -> bool {
    authority.details().iter().any(|detail| match detail {
        Detail::Http(http) => http.upstream() == upstream,
        Detail::Tools(_) | Detail::Egress(_) => false,
    })
}

/// What each detail that names the call at all has against it.
struct Closest<'a>(Option<(usize, Refusal)>, Option<Allowed<'a>>);

impl<'a> Closest<'a> {
    const fn none() -> Self {
        Self(None, None)
    }

    /// Takes what a detail has against the call.
    fn take(&mut self, detail: &'a Detail, objections: Objections) {
        let Some(first) = objections.first else {
            self.1.get_or_insert(Allowed { detail });
            return;
        };
        let count = objections.count;
        if self.0.as_ref().is_none_or(|(fewest, _)| count < *fewest) {
            self.0 = Some((count, first));
        }
    }

    /// The first detail that allows the call, or the refusal of the one that comes closest.
    fn answer(self, unnamed: impl FnOnce() -> Refusal) -> Result<Allowed<'a>, Refusal> {
        match self {
            Self(_, Some(allowed)) => Ok(allowed),
            Self(Some((_, refusal)), None) => Err(refusal),
            Self(None, None) => Err(unnamed()),
        }
    }
}

fn allows_tool<'a>(
    authority: &'a Authority,
    server: &Name,
    tool: &str,
    arguments: &Object,
) -> Result<Allowed<'a>, Refusal> {
    let summed = |name: &str| authority.limits().sums_over(name);
    let mut closest = Closest::none();
    for detail in authority.details() {
        if let Detail::Tools(tools) = detail
            && tools.names(server, tool)
        {
            closest.take(detail, objections(tools.arguments(), arguments, summed));
        }
    }
    closest.answer(|| tool_not_named(authority, server, tool))
}

fn allows_http<'a>(authority: &'a Authority, call: &HttpCall<'_>) -> Result<Allowed<'a>, Refusal> {
    let summed = |name: &str| authority.limits().sums_over(name);
    let mut closest = Closest::none();
    for detail in authority.details() {
        if let Detail::Http(http) = detail
            && http.names(call.upstream, call.method, call.path)
        {
            closest.take(detail, http.objections(call, summed));
        }
    }
    closest.answer(|| {
        Refusal::new(Rule::RequestNotAllowed)
            .saw(&request(call.upstream, call.method, call.path))
            .allows(requests_of(authority, call.upstream))
    })
}

fn allows_egress<'a>(
    authority: &'a Authority,
    host: &str,
    port: u16,
) -> Result<Allowed<'a>, Refusal> {
    let named = |detail: &&Detail| match detail {
        Detail::Egress(egress) => egress.names(host, port),
        Detail::Tools(_) | Detail::Http(_) => false,
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
                    Detail::Tools(_) | Detail::Http(_) => None,
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

/// The requests to an upstream that an authority names, in words.
pub(crate) fn requests_of(authority: &Authority, upstream: &Name) -> Listed {
    let named = authority
        .details()
        .iter()
        .filter_map(|detail| match detail {
            Detail::Http(http) if http.upstream() == upstream => Some(http),
            _ => None,
        });
    let words = named.flat_map(|http| {
        let of =
            |method: &crate::HttpMethod| request(upstream, method.as_str(), http.path().as_str());
        http.methods().iter().map(of).collect::<Vec<_>>()
    });
    Listed::new("requests at or below", words)
}

#[cfg(test)]
mod tests;
