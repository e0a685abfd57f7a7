//! Containment by somebody else: authorities as Cedar policies, and Cedar's symbolic compiler with
//! an SMT solver (`cedar-policy-symcc`, whose encoding is verified in Lean) to compare them.
//!
//! What Cedar has no words for stays out: the length of a text or list, and limits that count
//! calls.

use std::fmt::Write as _;

use aims_json::Decimal;
use cedar_policy::{PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicySet};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::properties::{any_authority, twist};
use crate::{
    Argument, Arguments, Authority, Body, Constraint, Detail, Glob, Http, PathPrefix, Scalar,
    ScalarSet, narrower,
};

/// How many related pairs are compared.
const PAIRS: usize = 400;
/// What arguments are called in the generated authorities.
const NAMES: [&str; 3] = ["x", "y", "z"];

/// A call. An argument has one kind, and of the rest only what is of that kind is looked at; a
/// number counts in tenths.
const SCHEMA: &str = r"
    type Value = { kind: Long, bool: Bool, tenths: Long, text: String, items: Set<String> };
    entity Any;
    action call appliesTo { principal: Any, resource: Any, context: {
        kind: Long, millis: Long,
        server: String, tool: String,
        host: String, port: Long,
        upstream: String, method: String, path: String, path_is_plain: Bool,
        query: Bool, body_is_object: Bool,
        x: Value, y: Value, z: Value, has_another: Bool } };
";
const TOOL: u8 = 0;
const EGRESS: u8 = 1;
const HTTP: u8 = 2;

const ABSENT: u8 = 0;
const NULL: u8 = 1;
const BOOL: u8 = 2;
const NUMBER: u8 = 3;
const TEXT: u8 = 4;
const LIST: u8 = 5;

/// A text as Cedar spells it; in a pattern, a `*` of the text is none of the pattern.
fn literal(text: &str) -> String {
    text.escape_debug().to_string()
}

fn pattern(text: &str) -> String {
    literal(text).replace('*', r"\*")
}

fn all(parts: impl IntoIterator<Item = String>) -> String {
    let parts: Vec<String> = parts.into_iter().collect();
    format!(
        "(true && {})",
        [vec!["true".to_owned()], parts].concat().join(" && ")
    )
}

fn any(parts: impl IntoIterator<Item = String>) -> String {
    let parts: Vec<String> = parts.into_iter().collect();
    format!(
        "(false || {})",
        [vec!["false".to_owned()], parts].concat().join(" || ")
    )
}

fn below(prefix: &str, of: &str) -> String {
    if prefix == "/" {
        return format!(r#"{of} like "/*""#);
    }
    let (exact, below) = (literal(prefix), pattern(prefix));
    format!(r#"({of} == "{exact}" || {of} like "{below}/*")"#)
}

fn path(prefix: &PathPrefix, of: &str) -> String {
    let odd = ["*//*", "*/", "*/./*", "*/../*", "*/.", "*/..", r"*\0*"];
    let plain = odd.map(|odd| format!(r#"!({of} like "{odd}")"#));
    let normal = any([format!(r#"{of} == "/""#), all(plain)]);
    all([normal, below(prefix.as_str(), of)])
}

/// As many segments as the pattern has, each like its own.
fn glob(glob: &Glob, of: &str) -> String {
    let segments: Vec<&str> = glob.as_str().split('/').collect();
    let every = vec!["*"; segments.len()];
    let more = vec!["*"; segments.len() + 1].join("/");
    let mut parts = vec![
        // A `*` can't stand for a `/`, if there are no more of them than in the pattern.
        format!(r#"!({of} like "{more}")"#),
        format!(r#"{of} like "{}""#, escaped_but_stars(glob.as_str())),
    ];
    for (place, _) in segments
        .iter()
        .enumerate()
        .filter(|(_, one)| one.contains('*'))
    {
        for odd in ["", ".", "..", r"*\0*"] {
            let mut one = every.clone();
            one[place] = odd;
            parts.push(format!(r#"!({of} like "{}")"#, one.join("/")));
        }
    }
    all(parts)
}

fn escaped_but_stars(text: &str) -> String {
    text.split('*').map(literal).collect::<Vec<_>>().join("*")
}

fn tenths(number: &Decimal) -> i128 {
    number.mantissa() * 10 / 10_i128.pow(number.scale())
}

fn scalar(scalar: &Scalar, of: &str) -> String {
    match scalar {
        Scalar::Null => format!("{of}.kind == {NULL}"),
        Scalar::Bool(is) => format!("({of}.kind == {BOOL} && {of}.bool == {is})"),
        Scalar::Integer(n) => {
            format!(
                "({of}.kind == {NUMBER} && {of}.tenths == {})",
                n.number() * 10
            )
        }
        Scalar::Text(text) => {
            format!(
                r#"({of}.kind == {TEXT} && {of}.text == "{}")"#,
                literal(text.as_str())
            )
        }
    }
}

/// A list holds texts with a mark, and other scalars as their JSON; whatever else is in a list is
/// another text.
fn items(set: &ScalarSet, of: &str) -> String {
    let named = set.iter().map(|one| match one {
        Scalar::Null => "null".to_owned(),
        Scalar::Bool(is) => is.to_string(),
        Scalar::Integer(n) => n.number().to_string(),
        Scalar::Text(text) => format!("'{}", text.as_str()),
    });
    let named: Vec<String> = named.map(|one| format!(r#""{}""#, literal(&one))).collect();
    format!(
        "({of}.kind == {LIST} && [{}].containsAll({of}.items))",
        named.join(", ")
    )
}

fn constraint(constraint: &Constraint, of: &str) -> Option<String> {
    let of_text = |said: String| all([format!("{of}.kind == {TEXT}"), said]);
    let text = format!("{of}.text");
    Some(match constraint {
        Constraint::Equals(one) => scalar(one, of),
        Constraint::OneOf(set) => any(set.iter().map(|one| scalar(one, of))),
        Constraint::PathPrefix(prefix) => of_text(path(prefix, &text)),
        Constraint::Glob(pattern) => of_text(glob(pattern, &text)),
        Constraint::SubsetOf(set) => items(set, of),
        Constraint::MaxLength(_) => return None,
        Constraint::Range(range) => {
            let min = range
                .min()
                .map(|min| format!("{of}.tenths >= {}", tenths(min)));
            let max = range
                .max()
                .map(|max| format!("{of}.tenths <= {}", tenths(max)));
            let ends = min.into_iter().chain(max);
            all(ends.chain([format!("{of}.kind == {NUMBER}")]))
        }
    })
}

fn arguments(arguments: &Arguments) -> Option<String> {
    let mut parts = vec!["!context.has_another".to_owned()];
    for name in NAMES {
        let of = format!("context.{name}");
        let absent = format!("{of}.kind == {ABSENT}");
        parts.push(
            match arguments.iter().find(|(one, _)| one.as_str() == name) {
                None => absent,
                Some((_, Argument::Any)) => continue,
                Some((_, Argument::Bounded(bounds))) => {
                    let each = bounds.constraints().iter().map(|one| constraint(one, &of));
                    let met = all(each.collect::<Option<Vec<_>>>()?);
                    if bounds.optional() {
                        any([absent, met])
                    } else {
                        met
                    }
                }
            },
        );
    }
    Some(all(parts))
}

fn http(http: &Http) -> Option<String> {
    let methods = http.methods().iter().map(|one| one.as_str());
    let methods = methods.map(|one| format!(r#"context.method == "{one}""#));
    let mut parts = vec![
        format!(r#"context.upstream == "{}""#, http.upstream()),
        any(methods),
        "context.path_is_plain".to_owned(),
        below(http.path().as_str(), "context.path"),
    ];
    if !http.query() {
        parts.push("!context.query".to_owned());
    }
    if let Body::Members(members) = http.body() {
        parts.extend(["context.body_is_object".to_owned(), arguments(members)?]);
    }
    Some(all(parts))
}

fn detail(detail: &Detail) -> Option<String> {
    Some(match detail {
        Detail::Tools(tools) => {
            let named = tools.actions().iter().map(crate::ToolName::as_str);
            all([
                format!("context.kind == {TOOL}"),
                format!(r#"context.server == "{}""#, tools.server()),
                any(named.map(|tool| format!(r#"context.tool == "{tool}""#))),
                arguments(tools.arguments())?,
            ])
        }
        Detail::Egress(egress) => all([
            format!("context.kind == {EGRESS}"),
            format!(r#"context.host == "{}""#, egress.host()),
            format!("context.port == {}", egress.port()),
        ]),
        Detail::Http(one) => all([format!("context.kind == {HTTP}"), http(one)?]),
    })
}

/// What the authority allows, if Cedar has the words for it.
fn policy(authority: &Authority) -> Option<PolicySet> {
    if !authority.limits().sums().is_empty() {
        return None;
    }
    let details = authority.details().iter().map(detail);
    let details = any(details.collect::<Option<Vec<_>>>()?);
    let mut text = format!("permit(principal, action, resource) when {{ {details}");
    if let Some(end) = authority.limits().not_after() {
        write!(text, " && context.millis <= {}", end.unix_millis()).unwrap();
    }
    text.push_str(" };");
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{error:?}: {text}")),
    )
}

/// Whether Cedar proves that whatever the one permits, the other permits.
struct Other {
    schema: Schema,
    environment: RequestEnv,
    compiler: CedarSymCompiler<LocalSolver>,
}

impl Other {
    fn new() -> Self {
        let schema = Schema::from_cedarschema_str(SCHEMA).unwrap().0;
        let environment = schema.request_envs().next().unwrap();
        let solver = LocalSolver::cvc5().expect("set CVC5 to the path of the solver cvc5");
        let compiler = CedarSymCompiler::new(solver).unwrap();
        Self {
            schema,
            environment,
            compiler,
        }
    }

    async fn implies(&mut self, narrow: &PolicySet, wide: &PolicySet) -> bool {
        let compile =
            |set| CompiledPolicySet::compile(set, &self.environment, &self.schema).unwrap();
        let (narrow, wide) = (compile(narrow), compile(wide));
        self.compiler
            .check_implies_opt(&narrow, &wide)
            .await
            .unwrap()
    }
}

#[derive(Debug, Default)]
struct Agreed {
    within: u32,
    wider: u32,
    /// Refused for limits that count calls, which Cedar does not see, or as not proven.
    refused_only_here: u32,
}

#[tokio::test]
#[ignore = "asks a solver, which `./test` installs"]
async fn a_solver_agrees_with_each_proof_of_containment_and_with_each_example() {
    let mut runner = TestRunner::deterministic();
    let strategy = (any_authority(), twist());
    let (mut other, mut agreed, mut compared) = (Other::new(), Agreed::default(), 0);
    while compared < PAIRS {
        let (parent, twist) = strategy.new_tree(&mut runner).unwrap().current();
        let child = twist.child_of(&parent);
        let (Some(narrow), Some(wide)) = (policy(&child), policy(&parent)) else {
            continue;
        };
        compared += 1;
        let implied = other.implies(&narrow, &wide).await;
        match narrower(&child, &parent) {
            Ok(()) => {
                assert!(implied, "{child:?} is not within {parent:?}");
                agreed.within += 1;
            }
            Err(wider) if wider.example().is_some() => {
                assert!(!implied, "{wider}: {child:?} is within {parent:?}");
                agreed.wider += 1;
            }
            Err(_) => agreed.refused_only_here += u32::from(implied),
        }
    }
    assert!(agreed.within > 60 && agreed.wider > 60, "{agreed:?}");
    println!("{agreed:?}");
}
