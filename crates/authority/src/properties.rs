//! Laws of authorities over generated ones.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use aims_json::{Decimal, Number, Object, Value, parse, to_canonical};
use aims_types::Timestamp;
use proptest::prelude::*;

use crate::{
    Argument, ArgumentName, Authority, Body, Bounds, Call, Constraint, Detail, Glob, Http,
    HttpMethod, Limits, PathPrefix, Range, Rate, Scalar, ScalarSet, Tools, allows,
};

/// An argument, and a value that it allows.
type Witnessed = (Argument, Value);

fn number(mantissa: i64, scale: u32) -> Value {
    Value::Number(Number::from_decimal(
        Decimal::new(mantissa.into(), scale).unwrap(),
    ))
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1000_i64..1000).prop_map(Value::from),
        "[a-c/.*]{0,4}".prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        scalar(),
        (-5000_i64..5000, 0_u32..4).prop_map(|(m, s)| number(m, s)),
        "(/[a-c.]{0,3}){0,4}".prop_map(Value::from),
        proptest::collection::vec(scalar(), 0..4).prop_map(Value::from),
        scalar().prop_map(|v| Object::new().with("a", v).into()),
    ]
}

fn set(values: impl IntoIterator<Item = Value>) -> ScalarSet {
    let scalars = values.into_iter().map(|v| Scalar::from_value(&v).unwrap());
    let unique: std::collections::BTreeSet<_> = scalars.collect();
    ScalarSet::new(unique).unwrap()
}

/// Constraints that the value meets, and for each a value that breaks it.
fn constraints_met_by(value: &Value, others: Vec<Value>, by: u32) -> Vec<(Constraint, Value)> {
    let fresh = || Value::from("~fresh");
    let mut met = Vec::new();
    if let Ok(scalar) = Scalar::from_value(value) {
        met.push((Constraint::Equals(scalar), fresh()));
        met.push((
            Constraint::OneOf(set(others.into_iter().chain([value.clone()]))),
            fresh(),
        ));
    }
    match value {
        Value::String(text) => {
            let length = u32::try_from(text.chars().count()).unwrap() + by;
            let longer = "x".repeat(usize::try_from(length + 1).unwrap());
            met.push((Constraint::MaxLength(length), longer.into()));
            if let Ok(path) = text.parse::<PathPrefix>() {
                let parent = path.as_str().rsplit_once('/').unwrap().0;
                let prefix = parent.parse().unwrap_or(path);
                met.push((
                    Constraint::PathPrefix(prefix),
                    format!("{text}/../../..").into(),
                ));
            }
            let pattern = text.replace(['a', '.'], "*").replace("**", "*");
            if let Some(glob) = pattern.parse::<Glob>().ok().filter(|glob| glob.holds(text)) {
                met.push((Constraint::Glob(glob), format!("{text}/").into()));
            }
        }
        Value::Number(n) => {
            let (n, by) = (n.as_decimal().unwrap(), Decimal::from(u64::from(by)));
            let tiny = Decimal::new(1, 20).unwrap();
            let (min, max) = (n.checked_sub(by).unwrap(), n.checked_add(by).unwrap());
            let beyond = Number::from_decimal(max.checked_add(tiny).unwrap());
            let range = Range::new(Some(min), Some(max)).unwrap();
            met.push((Constraint::Range(range), Value::Number(beyond)));
        }
        Value::Array(items) => {
            let length = u32::try_from(items.len()).unwrap() + by;
            let longer = vec![Value::Null; usize::try_from(length + 1).unwrap()];
            met.push((Constraint::MaxLength(length), longer.into()));
            if items.iter().all(|item| Scalar::from_value(item).is_ok()) {
                let all = set(items.iter().cloned().chain([Value::from("one more")]));
                met.push((Constraint::SubsetOf(all), vec![fresh()].into()));
            }
        }
        _ => {}
    }
    met
}

/// An argument that allows the value, and values that each break one of its constraints.
fn argument() -> impl Strategy<Value = (Witnessed, Vec<Value>)> {
    let others = proptest::collection::vec(scalar(), 0..4);
    (value(), others, 0_u32..3, any::<u8>(), any::<bool>()).prop_map(
        |(value, others, by, pick, optional)| {
            let met = constraints_met_by(&value, others, by);
            let chosen: Vec<_> = met
                .into_iter()
                .enumerate()
                .filter(|(i, _)| pick & (1 << i) != 0)
                .map(|(_, c)| c)
                .collect();
            let (constraints, broken): (Vec<_>, Vec<_>) = chosen.into_iter().unzip();
            let argument =
                Bounds::new(constraints, optional).map_or(Argument::Any, Argument::Bounded);
            ((argument, value), broken)
        },
    )
}

fn tools(arguments: BTreeMap<ArgumentName, Argument>) -> Detail {
    let actions = ["t".parse().unwrap()].into();
    Detail::Tools(Tools::new("git".parse().unwrap(), actions, arguments).unwrap())
}

/// A detail, a call that it allows, and calls that each break one thing of it.
fn detail() -> impl Strategy<Value = (Detail, Object, Vec<Object>)> {
    proptest::collection::btree_map("[x-z]", argument(), 0..4).prop_map(|arguments| {
        let call = arguments
            .iter()
            .fold(Object::new(), |call, (name, ((_, value), _))| {
                call.with(name.as_str(), value.clone())
            });
        let mut broken = vec![call.clone().with("unknown", 1_i64)];
        for (name, ((argument, _), breaking)) in &arguments {
            broken.extend(
                breaking
                    .iter()
                    .map(|v| call.clone().with(name.as_str(), v.clone())),
            );
            if !argument.may_be_absent() {
                let mut without = call.clone();
                without.remove(name);
                broken.push(without);
            }
        }
        let spec = arguments
            .into_iter()
            .map(|(name, ((argument, _), _))| (name.parse().unwrap(), argument));
        (tools(spec.collect()), call, broken)
    })
}

fn http() -> impl Strategy<Value = Detail> {
    let methods = proptest::sample::subsequence(HttpMethod::ALL.to_vec(), 1..=6);
    let path = "(/[a-c:=]{1,3}){1,3}";
    let members = proptest::collection::btree_map("[x-z]", argument(), 0..4);
    let body = proptest::option::of(members);
    (methods, path, any::<bool>(), body).prop_map(|(methods, path, query, body)| {
        let read = |(name, ((argument, _), _)): (String, (Witnessed, _))| {
            (name.parse().unwrap(), argument)
        };
        let body = body.map(|members| members.into_iter().map(read).collect());
        let body = body.map_or(Body::Any, Body::Members);
        let (methods, path) = (methods.into_iter().collect(), path.parse().unwrap());
        Detail::Http(Http::new("model".parse().unwrap(), methods, path, query, body).unwrap())
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let rate = (1_u32..50, 1_u32..50).prop_map(|(count, secs)| Rate::new(count, secs).unwrap());
    (
        proptest::option::of(0_u64..4_000_000_000_000),
        proptest::option::of(0_u64..1000),
        proptest::option::of(rate),
        0_u8..8,
    )
        .prop_map(|(not_after, uses, rate, depth)| {
            let mut limits = Limits::default().with_depth(depth).unwrap();
            if let Some(millis) = not_after {
                limits = limits.with_not_after(Timestamp::from_unix_millis(millis));
            }
            if let Some(uses) = uses {
                limits = limits.with_uses(uses).unwrap();
            }
            rate.map_or(limits.clone(), |rate| limits.with_rate(rate))
        })
}

fn allowed(details: Vec<Detail>, arguments: &Object) -> bool {
    let authority = Authority::new(details, Limits::default()).unwrap();
    let server = "git".parse().unwrap();
    let call = Call::Tool {
        server: &server,
        tool: "t",
        arguments,
    };
    allows(&authority, &call, Timestamp::from_unix_secs(0)).is_ok()
}

/// The plainest matcher there is: `*` takes every run of characters but `/`.
fn matches(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) if matches(rest, text) => true,
        (Some(('*', _)), Some((c, tail))) => *c != '/' && matches(pattern, tail),
        (Some((p, rest)), Some((c, tail))) => p == c && matches(rest, tail),
        _ => false,
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        tools in proptest::collection::vec(detail().prop_map(|d| d.0), 0..4),
        requests in proptest::collection::vec(http(), 0..3),
        limits in limits(),
    ) {
        let details = [tools, requests].concat();
        let authority = Authority::new(details, limits).unwrap();
        let bytes = to_canonical(&authority.to_value()).unwrap();
        let read = parse(&bytes, &aims_json::Limits::MESSAGE).unwrap();
        let read = Authority::from_value(&read).unwrap();
        prop_assert_eq!(&read, &authority);
        prop_assert_eq!(to_canonical(&read.to_value()).unwrap(), bytes);
    }

    #[test]
    fn a_call_that_meets_every_constraint_is_allowed((detail, call, _) in detail()) {
        prop_assert!(allowed(vec![detail], &call));
    }

    #[test]
    fn a_call_that_breaks_one_constraint_is_refused((detail, _, broken) in detail()) {
        for call in broken {
            prop_assert!(!allowed(vec![detail.clone()], &call), "{:?} by {:?}", call, detail);
        }
    }

    #[test]
    fn one_more_constraint_never_allows_more(
        (narrow, witness) in argument().prop_map(|a| a.0), any_value in value(), drop in any::<prop::sample::Index>(),
    ) {
        if let Argument::Bounded(bounds) = &narrow {
            let mut fewer = bounds.constraints().to_vec();
            fewer.remove(drop.index(fewer.len()));
            let wide = Bounds::new(fewer, bounds.optional()).map_or(Argument::Any, Argument::Bounded);
            let detail = |argument: &Argument| tools([("x".parse().unwrap(), argument.clone())].into());
            let calls = [Object::new(), Object::new().with("x", witness), Object::new().with("x", any_value)];
            for call in calls {
                prop_assert!(!allowed(vec![detail(&narrow)], &call) || allowed(vec![detail(&wide)], &call));
            }
        }
    }

    #[test]
    fn one_detail_less_never_allows_more(
        all in proptest::collection::vec(detail(), 1..4), drop in any::<prop::sample::Index>(),
    ) {
        let details: Vec<Detail> = all.iter().map(|d| d.0.clone()).collect();
        let mut fewer = details.clone();
        fewer.remove(drop.index(fewer.len()));
        for call in all.iter().flat_map(|d| d.2.iter().chain([&d.1])) {
            prop_assert!(!allowed(fewer.clone(), call) || allowed(details.clone(), call));
        }
    }

    #[test]
    fn a_path_prefix_cannot_be_escaped(
        prefix in "(/[a-c]{1,2}){1,3}",
        tail in proptest::collection::vec(
            prop_oneof![
                Just(".."), Just("."), Just(""), Just("..."), Just(".. "), Just("a"), Just("b\0"),
                Just("%2e%2e"), Just("\\.."), Just("\u{2024}\u{2024}"), Just("a/../.."), Just("\n"),
            ],
            0..6,
        ),
        glue in prop_oneof![Just("/"), Just(""), Just("//"), Just("\\")],
    ) {
        let path = format!("{prefix}{glue}{}", tail.join("/"));
        let held = prefix.parse::<PathPrefix>().unwrap().holds(&path);
        // What the operating system makes of the text, taken from the standard library.
        let components: Vec<_> = Path::new(&path).components().collect();
        let plain = components.iter().skip(1).all(|c| matches!(c, Component::Normal(_)));
        let rebuilt = components.iter().collect::<std::path::PathBuf>();
        let safe = plain
            && !path.contains('\0')
            && rebuilt.as_os_str() == path.as_str()
            && Path::new(&path).starts_with(&prefix);
        prop_assert_eq!(held, safe, "{:?}", path);
    }

    #[test]
    fn a_glob_matches_as_the_plainest_matcher_does(pattern in "[ab*/]{1,8}", text in "[ab*/.]{0,10}") {
        if let Ok(glob) = pattern.parse::<Glob>() {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let plain = |(pattern, segment): (&str, &str)| {
                !pattern.contains('*') || !matches!(segment, "" | "." | "..")
            };
            let expect = matches(&chars(&pattern), &chars(&text))
                && pattern.split('/').zip(text.split('/')).all(plain);
            prop_assert_eq!(glob.holds(&text), expect);
        }
    }

    #[test]
    fn reading_never_panics(value in value(), member in "(type|server|actions|limits|equals)") {
        let _ = Authority::from_value(&value);
        let detail = Object::new().with(member, value);
        let details = vec![Value::from(detail.clone())];
        let wire = Object::new().with("authorization_details", details).with("limits", detail);
        let _ = Authority::from_value(&wire.into());
    }
}
