//! Whether requests of one authority are within those of another.

use std::fmt;

use super::example::{Search, request as made};
use super::{Gap, gaps};
use crate::call::requests_of;
use crate::http::{Body, Http, HttpMethod, request};
use crate::{Arguments, Detail, Widening, Wider};

/// Where one detail of a parent does not contain one of a child.
enum Wide<'a> {
    Query,
    Body,
    Member(Gap<'a>, &'a Arguments, &'a Arguments),
}

pub(super) fn http_within(pair: &Search<'_>, index: usize, http: &Http) -> Result<(), Wider> {
    // Query and body are the same for all methods of a detail, and so compared once.
    let details = pair.parent.details().iter();
    let held: Vec<(&Http, Vec<Wide<'_>>)> = details
        .filter_map(|detail| match detail {
            Detail::Http(held) => Some(held),
            Detail::Tools(_) | Detail::Egress(_) => None,
        })
        .filter(|held| {
            held.upstream() == http.upstream() && held.path().holds(http.path().as_str())
        })
        .map(|held| (held, wider_in(pair, http, held)))
        .collect();
    for method in http.methods() {
        let naming = held
            .iter()
            .filter(|(held, _)| held.methods().contains(method));
        let resource = request(http.upstream(), method.as_str(), http.path().as_str());
        let Some((held, wide)) = naming.min_by_key(|(_, wide)| wide.len()) else {
            let allowed = requests_of(pair.parent, http.upstream());
            let asked = format_args!("`{resource}`");
            let wider = Wider::new(Widening::Request, asked, allowed);
            let example = pair.request_of(http, *method);
            return Err(wider.in_detail(index, resource).shown_by(example));
        };
        if let Some(first) = wide.first() {
            let wider = first.wider(held);
            let example = first.example(pair, http, *method);
            return Err(wider.in_detail(index, resource).shown_by(example));
        }
    }
    Ok(())
}

/// Everything in which `held`, of the parent, does not contain `http`, of the child.
fn wider_in<'a>(pair: &Search<'_>, http: &'a Http, held: &'a Http) -> Vec<Wide<'a>> {
    let query = (http.query() && !held.query()).then_some(Wide::Query);
    let body = match (http.body(), held.body()) {
        (_, Body::Any) => Vec::new(),
        (Body::Any, Body::Members(_)) => vec![Wide::Body],
        (Body::Members(wanted), Body::Members(allowed)) => gaps(pair, wanted, allowed)
            .into_iter()
            .map(|gap| Wide::Member(gap, wanted, allowed))
            .collect(),
    };
    query.into_iter().chain(body).collect()
}

impl Wide<'_> {
    /// The gap in words.
    fn wider(&self, held: &Http) -> Wider {
        match self {
            Self::Query => Wider::new(Widening::Query, "any query", "requests without a query"),
            Self::Body => {
                let allowed: &dyn fmt::Display = held.body();
                Wider::new(Widening::Body, "any body", allowed)
            }
            Self::Member(gap, wanted, allowed) => gap.wider(wanted, allowed),
        }
    }

    fn example(
        &self,
        pair: &Search<'_>,
        http: &Http,
        method: HttpMethod,
    ) -> Option<crate::Example> {
        match self {
            Self::Query => pair.request_with_query(http, method),
            Self::Body => pair.request_with_body(http, method),
            Self::Member(gap, _, allowed) => {
                let make = |body| made(http, method, false, Some(body));
                gap.example(pair, (http.members()?, allowed), make)
            }
        }
    }
}
