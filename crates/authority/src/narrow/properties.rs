//! Laws of containment over generated authorities, most of which are related.

use std::collections::{BTreeMap, BTreeSet};

use aims_json::{Decimal, Object, Value};
use aims_types::Timestamp;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::example::values;
use crate::{
    Argument, Arguments, Authority, Body, Bounds, Constraint, Detail, ExampleCall, Glob, Http,
    HttpMethod, Ledger, Limits, Range, Rate, Scalar, ScalarSet, Sum, Tools, allows, narrower,
};

const SCALARS: [&str; 6] = ["a", "ab", "", "/a", "/a/b", "b"];

fn scalar() -> impl Strategy<Value = Scalar> {
    let number = (0_i64..4).prop_map(Value::from);
    let text = select(&SCALARS[..]).prop_map(Value::from);
    let other = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from)];
    prop_oneof![3 => number, 4 => text, 1 => other].prop_map(|v| Scalar::from_value(&v).unwrap())
}

fn set() -> impl Strategy<Value = ScalarSet> {
    proptest::collection::btree_set(scalar(), 1..5).prop_map(|set| ScalarSet::new(set).unwrap())
}

fn constraint() -> impl Strategy<Value = Constraint> {
    let half = |n: i128| Decimal::new(n * 5, 1).unwrap();
    let path = select(&["/", "/a", "/a/b", "/ab", "/b", "/a*", "/a*/b"][..]);
    let glob = "[ab*/]{1,5}".prop_filter_map("no pattern", |text| text.parse::<Glob>().ok());
    let range = (0_i128..8, 0_i128..4, 0_u8..4).prop_map(move |(min, more, ends)| {
        let (min, max) = (half(min), half(min + more));
        Range::new((ends != 1).then_some(min), (ends != 2).then_some(max)).unwrap()
    });
    prop_oneof![
        1 => scalar().prop_map(Constraint::Equals),
        1 => set().prop_map(Constraint::OneOf),
        2 => path.prop_map(|path| Constraint::PathPrefix(path.parse().unwrap())),
        2 => glob.prop_map(Constraint::Glob),
        2 => range.prop_map(Constraint::Range),
        2 => set().prop_map(Constraint::SubsetOf),
        2 => select(&[0, 1, 2, 3, 4096][..]).prop_map(Constraint::MaxLength),
    ]
}

fn bounds(constraints: Vec<Constraint>, optional: bool) -> Argument {
    let mut by_kind = BTreeMap::new();
    for constraint in constraints {
        by_kind.entry(constraint.kind()).or_insert(constraint);
    }
    let constraints = by_kind.into_values().collect();
    Bounds::new(constraints, optional).map_or(Argument::Any, Argument::Bounded)
}

fn argument() -> impl Strategy<Value = Argument> {
    (proptest::collection::vec(constraint(), 0..3), any::<bool>()).prop_map(|(c, o)| bounds(c, o))
}

fn tools(server: &str, actions: &[&str], arguments: Arguments) -> Detail {
    let actions: BTreeSet<_> = actions.iter().map(|name| name.parse().unwrap()).collect();
    Detail::Tools(Tools::new(server.parse().unwrap(), actions, arguments).unwrap())
}

fn detail() -> impl Strategy<Value = Detail> {
    let name = select(&["x", "y", "z"][..]).prop_map(|name| name.parse().unwrap());
    let arguments = proptest::collection::btree_map(name, argument(), 0..3);
    let port = prop_oneof![Just(443_u16), Just(8443)].prop_map(|p| p.try_into().unwrap());
    let host = port.prop_map(|p| Detail::Egress(crate::Egress::new("a.org".parse().unwrap(), p)));
    let actions = subsequence(vec!["t", "u"], 1..3);
    let server = prop_oneof![9 => Just("git"), 1 => Just("hub")];
    prop_oneof![
        8 => (server, actions, arguments).prop_map(|(s, actions, a)| tools(s, &actions, a)),
        4 => http(),
        1 => host,
    ]
}

/// Requests, most of them to one upstream, and at paths of which some lie within others.
fn http() -> impl Strategy<Value = Detail> {
    let upstream = prop_oneof![9 => Just("model"), 1 => Just("hub")];
    let methods = subsequence(vec![HttpMethod::Get, HttpMethod::Post], 1..3);
    let path = select(&["/", "/v1", "/v1/chat", "/v1x", "/v2"][..]);
    let name = select(&["x", "y", "z"][..]).prop_map(|name| name.parse().unwrap());
    let members = proptest::collection::btree_map(name, argument(), 0..3);
    let body = prop_oneof![1 => Just(Body::Any), 3 => members.prop_map(Body::Members)];
    (upstream, methods, path, any::<bool>(), body).prop_map(
        |(upstream, methods, path, query, body)| {
            let (upstream, path) = (upstream.parse().unwrap(), path.parse().unwrap());
            let methods = methods.into_iter().collect();
            Detail::Http(Http::new(upstream, methods, path, query, body).unwrap())
        },
    )
}

/// Limits as far as they fit these details.
fn authority(details: &[Detail], limits: &Limits, sum: Option<u64>) -> Authority {
    let sums = sum.map(|max| Sum::new("x".parse().unwrap(), max.into()));
    let summed = limits
        .clone()
        .with_sums(sums.into_iter().collect())
        .unwrap();
    let plain = || Authority::new(details.to_vec(), limits.clone()).unwrap();
    Authority::new(details.to_vec(), summed).unwrap_or_else(|_| plain())
}

fn limits() -> impl Strategy<Value = Limits> {
    let rate = (1_u32..5, 1_u32..5).prop_map(|(count, secs)| Rate::new(count, secs).unwrap());
    let end = (0_u64..30).prop_map(Timestamp::from_unix_secs);
    (
        prop::option::of(end),
        prop::option::of(0_u64..9),
        prop::option::of(rate),
        0_u8..8,
    )
        .prop_map(|(end, uses, rate, depth)| {
            let mut limits = Limits::default().with_depth(depth).unwrap();
            limits = end.map_or(limits.clone(), |end| limits.with_not_after(end));
            limits = rate.map_or(limits.clone(), |rate| limits.with_rate(rate));
            uses.map_or(limits.clone(), |uses| limits.with_uses(uses).unwrap())
        })
}

pub(super) fn any_authority() -> impl Strategy<Value = Authority> {
    let details = proptest::collection::vec(detail(), 1..4);
    (details, limits(), prop::option::of(0_u64..9)).prop_map(|(d, l, s)| authority(&d, &l, s))
}

/// How a child differs from its parent: mostly by narrowing, at times by anything.
#[derive(Debug, Clone)]
pub(super) struct Twist {
    keep: Index,
    also: Option<Detail>,
    swap: Option<(Index, Argument)>,
    more: Vec<Constraint>,
    limits: Option<Limits>,
    less: u8,
}

pub(super) fn twist() -> impl Strategy<Value = Twist> {
    let swap = (any::<Index>(), argument());
    (
        any::<Index>(),
        prop::option::weighted(0.2, detail()),
        prop::option::weighted(0.4, swap),
        proptest::collection::vec(constraint(), 0..2),
        prop::option::weighted(0.3, limits()),
        select(&[0_u8, 1, 1, 1, 1, 2, 2, 2][..]),
    )
        .prop_map(|(keep, also, swap, more, limits, less)| Twist {
            keep,
            also,
            swap,
            more,
            limits,
            less,
        })
}

impl Twist {
    pub(super) fn child_of(&self, parent: &Authority) -> Authority {
        let mut details = Vec::new();
        if !parent.details().is_empty() {
            details.push(self.twisted(self.keep.get(parent.details())));
        }
        details.extend(self.also.clone());
        let own = parent.limits().clone().with_sums(Vec::new()).unwrap();
        let limits = self.limits.clone().unwrap_or(own);
        let depth = parent.limits().depth().saturating_sub(self.less);
        let limits = limits.with_depth(depth).unwrap();
        let sum = parent
            .limits()
            .sums()
            .first()
            .map(|sum| sum.max().mantissa());
        let sum = sum.map(|sum| u64::try_from(sum).unwrap().saturating_sub(self.less.into()));
        authority(&details, &limits, sum)
    }

    fn twisted(&self, detail: &Detail) -> Detail {
        match detail {
            Detail::Egress(_) => detail.clone(),
            Detail::Http(http) => self.twisted_http(http),
            Detail::Tools(tools) => {
                let arguments = self.twisted_arguments(tools.arguments());
                let mut actions = tools.actions().clone();
                if self.less == 2 && actions.len() > 1 {
                    actions.pop_first();
                }
                Detail::Tools(Tools::new(tools.server().clone(), actions, arguments).unwrap())
            }
        }
    }

    fn twisted_http(&self, http: &Http) -> Detail {
        let mut methods = http.methods().clone();
        if self.less == 2 && methods.len() > 1 {
            methods.pop_first();
        }
        let path = match (self.less, http.path().as_str()) {
            (2, "/v1") => "/v1/chat".parse().unwrap(),
            (2, "/") => "/v1".parse().unwrap(),
            _ => http.path().clone(),
        };
        let body = match http.body() {
            Body::Any if self.less == 2 => Body::Members(Arguments::new()),
            Body::Any => Body::Any,
            Body::Members(members) => Body::Members(self.twisted_arguments(members)),
        };
        let query = http.query() && self.less < 2;
        let upstream = http.upstream().clone();
        Detail::Http(Http::new(upstream, methods, path, query, body).unwrap())
    }

    fn twisted_arguments(&self, arguments: &Arguments) -> Arguments {
        let mut arguments = arguments.clone();
        for argument in arguments.values_mut() {
            if let Argument::Bounded(old) = &*argument {
                let constraints = [old.constraints(), &self.more].concat();
                *argument = bounds(constraints, old.optional() && self.less > 0);
            }
        }
        if let Some((place, argument)) = &self.swap
            && let Some(name) = arguments.keys().nth(place.index(arguments.len().max(1)))
        {
            arguments.insert(name.clone(), argument.clone());
        }
        arguments
    }
}

/// Calls at the edges of what the authorities name, with the choices that `picks` makes.
fn calls(authorities: [&Authority; 2], picks: &[Index]) -> Vec<ExampleCall> {
    let mut calls = Vec::new();
    let mut picks = picks.iter().cycle();
    for detail in authorities.iter().flat_map(|a| a.details()) {
        match detail {
            Detail::Tools(tools) => {
                for tool in tools.actions().iter().flat_map(|tool| [tool; 4]) {
                    calls.push(ExampleCall::Tool {
                        server: tools.server().clone(),
                        tool: tool.clone(),
                        arguments: picked(authorities, tools.arguments(), &mut picks),
                    });
                }
            }
            Detail::Egress(egress) => {
                let (host, port) = (egress.host().clone(), egress.port());
                calls.push(ExampleCall::Egress { host, port });
            }
            Detail::Http(http) => {
                for method in http.methods().iter().flat_map(|method| [method; 4]) {
                    let below = ["", "/chat", "x"][picks.next().unwrap().index(3)];
                    let named = http.members().cloned().unwrap_or_default();
                    let body = picked(authorities, &named, &mut picks);
                    calls.push(ExampleCall::Http {
                        upstream: http.upstream().clone(),
                        method: *method,
                        path: format!("{}{below}", http.path()).replace("//", "/"),
                        query: picks.next().unwrap().index(2) == 1,
                        body: (picks.next().unwrap().index(4) > 0).then_some(body),
                    });
                }
            }
        }
    }
    calls
}

/// Values at the edges of what the authorities say of these arguments.
fn picked<'a>(
    authorities: [&Authority; 2],
    named: &Arguments,
    picks: &mut impl Iterator<Item = &'a Index>,
) -> Object {
    let mut arguments = Object::new();
    for (name, wanted) in named {
        let others = authorities.iter().flat_map(|a| a.details());
        let other = others.filter_map(|detail| detail.named_arguments()?.get(name));
        let all: Vec<Value> = other.flat_map(|o| values(wanted, Some(o))).collect();
        let pick = picks.next().unwrap().index(all.len() + 1);
        if let Some(value) = all.get(pick) {
            arguments = arguments.with(name.as_str(), value.clone());
        }
    }
    arguments
}

/// Makes the calls one after another; how many of them the child let through.
fn holds_for(child: &Authority, parent: &Authority, calls: &[ExampleCall]) -> usize {
    let (mut above, mut below) = (Ledger::new(), Ledger::new());
    let mut let_through = 0;
    for (second, call) in calls.iter().enumerate() {
        let (call, at) = (
            call.as_call(),
            Timestamp::from_unix_millis(second as u64 * 700),
        );
        if allows(child, &call, at).is_err() {
            continue;
        }
        assert!(
            allows(parent, &call, at).is_ok(),
            "{call:?} at {at}: {child:?} in {parent:?}"
        );
        if below.reserve(child.limits(), &call, at).is_ok() {
            let charged = above.reserve(parent.limits(), &call, at);
            assert!(
                charged.is_ok(),
                "{charged:?} {call:?}: {child:?} in {parent:?}"
            );
            let_through += 1;
        }
    }
    let_through
}

fn picks() -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), 7..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_the_child_allows_the_parent_allows(
        parent in any_authority(), twist in twist(), other in any_authority(), picks in picks(),
    ) {
        for child in [twist.child_of(&parent), other] {
            match narrower(&child, &parent) {
                Ok(()) => {
                    holds_for(&child, &parent, &calls([&child, &parent], &picks));
                }
                Err(wider) => if let Some(example) = wider.example() {
                    let call = example.call().as_call();
                    prop_assert!(allows(&child, &call, example.at()).is_ok());
                    prop_assert!(allows(&parent, &call, example.at()).is_err());
                }
            }
        }
    }

    #[test]
    fn one_argument_within_another_holds_no_other_value(
        child in argument(), parent in argument(), more in constraint(), picks in picks(),
    ) {
        let narrowed = match &child {
            Argument::Any => bounds(vec![more], false),
            Argument::Bounded(old) => bounds([old.constraints(), &[more]].concat(), false),
        };
        let of = |x: &Argument, depth| {
            let arguments = [("x".parse().unwrap(), x.clone())].into();
            let limits = Limits::default().with_depth(depth).unwrap();
            Authority::new(vec![tools("git", &["t"], arguments)], limits).unwrap()
        };
        for (inner, outer) in [(&child, &parent), (&narrowed, &child), (&narrowed, &parent)] {
            let (inner, outer) = (of(inner, 0), of(outer, 1));
            if narrower(&inner, &outer).is_ok() {
                holds_for(&inner, &outer, &calls([&inner, &outer], &picks));
            }
        }
        // More constraints of the same kinds never make it wider.
        prop_assert!(narrower(&of(&narrowed, 0), &of(&child, 1)).is_ok());
    }

    #[test]
    fn an_authority_lies_within_itself_one_hop_up(authority in any_authority()) {
        let depth = authority.limits().depth();
        let above = authority.limits().clone().with_depth(depth + 1).unwrap();
        let above = Authority::new(authority.details().to_vec(), above).unwrap();
        prop_assert_eq!(narrower(&authority, &above), Ok(()));
        prop_assert!(narrower(&authority, &authority).is_err());
        prop_assert!(narrower(&above, &authority).is_err());
    }

    #[test]
    fn containment_is_transitive(top in any_authority(), first in twist(), second in twist()) {
        let middle = first.child_of(&top);
        let bottom = second.child_of(&middle);
        if narrower(&middle, &top).is_ok() && narrower(&bottom, &middle).is_ok() {
            prop_assert_eq!(narrower(&bottom, &top), Ok(()));
        }
    }

    #[test]
    fn a_pattern_is_within_another_exactly_if_every_text_says_so(
        narrow in "[ab*]{1,4}", wide in "[ab*]{1,4}",
    ) {
        // `c` is in no pattern, and no counterexample has to be longer than the patterns.
        if let (Ok(narrow), Ok(wide)) = (narrow.parse::<Glob>(), wide.parse::<Glob>()) {
            let mut texts = vec![String::new()];
            for _ in 0..6 {
                let longer = texts.iter().flat_map(|t| ["a", "b", "c"].map(|c| format!("{t}{c}")));
                texts = texts.iter().cloned().chain(longer).collect::<BTreeSet<_>>().into_iter().collect();
            }
            let within = texts.iter().filter(|t| narrow.holds(t)).all(|t| wide.holds(t));
            prop_assert_eq!(narrow.is_within(&wide), within);
        }
    }
}

#[test]
fn the_generated_pairs_are_of_all_kinds() {
    let mut runner = TestRunner::deterministic();
    let strategy = (any_authority(), twist(), twist(), picks());
    let (mut within, mut shown, mut unproven, mut calls_made, mut chains) = (0, 0, 0, 0, 0);
    for _ in 0..1000 {
        let tree = strategy.new_tree(&mut runner).unwrap();
        let (parent, twist, next, picks) = tree.current();
        let child = twist.child_of(&parent);
        match narrower(&child, &parent) {
            Ok(()) => {
                within += 1;
                calls_made += holds_for(&child, &parent, &calls([&child, &parent], &picks));
                chains += u32::from(narrower(&next.child_of(&child), &child).is_ok());
            }
            Err(wider) if wider.example().is_some() => shown += 1,
            Err(_) => unproven += 1,
        }
    }
    let all = [within, shown, unproven, chains];
    assert!(all.iter().all(|count| *count > 30), "{all:?}");
    assert!(calls_made > 300, "{calls_made}");
}
