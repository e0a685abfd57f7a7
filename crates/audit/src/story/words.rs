//! Authority in words.

use aims_authority::{Authority, Body, Detail, Http, Limits};
use aims_crypto::base64url;
use aims_model::Grant;
use serde::Serialize;

use super::body::shown;

/// One thing that an authority says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Allowance {
    /// What is allowed, or which limit holds.
    pub what: String,
    /// What holds for each argument.
    pub arguments: Vec<String>,
}

/// What a signed grant allows. The signature is not looked at.
pub(super) fn of_grant(jws: &str) -> Option<Vec<Allowance>> {
    let claims = base64url::decode(jws.split('.').nth(1)?).ok()?;
    let grant = Grant::from_claims(&claims).ok()?;
    Some(of_authority(&grant.authority))
}

fn of_authority(authority: &Authority) -> Vec<Allowance> {
    let mut said: Vec<Allowance> = authority.details().iter().map(detail).collect();
    said.extend(
        limits(authority.limits())
            .into_iter()
            .map(|what| Allowance {
                what,
                arguments: Vec::new(),
            }),
    );
    said
}

fn detail(detail: &Detail) -> Allowance {
    match detail {
        Detail::Tools(tools) => {
            let names: Vec<_> = tools
                .actions()
                .iter()
                .map(|name| shown(name.as_str()))
                .collect();
            let noun = if names.len() == 1 { "tool" } else { "tools" };
            let arguments = tools.arguments().iter();
            Allowance {
                what: format!("{noun} {} of `{}`", names.join(", "), tools.server()),
                arguments: arguments
                    .map(|(name, argument)| shown(&format!("{name}: {argument}")))
                    .collect(),
            }
        }
        Detail::Http(http) => request(http),
        Detail::Egress(egress) => Allowance {
            what: format!(
                "connections to {}:{}",
                shown(egress.host().as_str()),
                egress.port()
            ),
            arguments: Vec::new(),
        },
    }
}

/// Requests to an upstream.
fn request(http: &Http) -> Allowance {
    let methods: Vec<_> = http.methods().iter().map(|one| one.as_str()).collect();
    let query = if http.query() { ", with any query" } else { "" };
    let (upstream, path) = (http.upstream(), http.path());
    let members = match http.body() {
        Body::Any => vec!["any body".to_owned()],
        Body::Members(members) => members
            .iter()
            .map(|(name, argument)| shown(&format!("{name}: {argument}")))
            .collect(),
    };
    Allowance {
        what: format!(
            "requests {} to `{upstream}` at {path} and below{query}",
            methods.join(", ")
        ),
        arguments: members,
    }
}

fn limits(limits: &Limits) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(end) = limits.not_after() {
        said.push(format!("not after {end}"));
    }
    if let Some(uses) = limits.uses() {
        said.push(format!("at most {uses} uses"));
    }
    if let Some(rate) = limits.rate() {
        let (count, secs) = (rate.count(), rate.per_secs());
        said.push(format!("at most {count} uses in any {secs} seconds"));
    }
    for sum in limits.sums() {
        let argument = shown(sum.argument().as_str());
        said.push(format!("`{argument}` sums up to at most {}", sum.max()));
    }
    if limits.depth() > 0 {
        said.push(format!("may be delegated {} further hops", limits.depth()));
    }
    said
}
