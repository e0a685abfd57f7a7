//! The verdict on the reduced policies is the verdict on all of them.

use aims_json::{Limits, Object, parse};
use aims_types::Id;
use cedar_policy::{
    Entities, PartialEntities, PartialEntityUid, PartialRequest, PolicyId, PolicySet as Set,
    TpeResponse,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::tests::schema;
use super::*;
use crate::reduce::reduce;
use crate::{AgentFacts, Posture, Session, TaskFacts};

const PRINCIPALS: &[&str] = &[
    "principal",
    "principal is Agent",
    "principal is Person",
    r#"principal == Agent::"bot""#,
    r#"principal == Person::"ann""#,
    r#"principal in Agent::"bot""#,
];
/// The action, and whether its context has the arguments of `lab/run`.
const ACTIONS: &[(&str, bool)] = &[
    ("action", false),
    (r#"action == Action::"lab/run""#, true),
    (r#"action == Action::"lab/list""#, false),
    (r#"action == Action::"connect""#, false),
    (r#"action in Action::"call""#, false),
    (r#"action in [Action::"connect", Action::"lab/run"]"#, false),
];
const RESOURCES: &[&str] = &[
    "resource",
    "resource is Host",
    r#"resource == Tool::"lab/run""#,
    r#"resource in Server::"lab""#,
    r#"resource == Host::"example.org""#,
];
/// Conditions on what is known, on what is not, that fail always, and that fail for some calls.
const ATOMS: &[&str] = &[
    "true",
    "false",
    r#"(principal is Agent && principal.name == "bot")"#,
    r#"(principal is Agent && principal.owner.name == "ann")"#,
    r#"(principal is Agent && principal.owner == Person::"bob")"#,
    r#"(principal is Agent && principal.environment == "production")"#,
    r#"(principal is Agent && principal.assurance == "confined")"#,
    r#"(principal is Person && principal.name like "a*")"#,
    r#"(resource is Tool && resource.server.name == "lab")"#,
    r#"(resource is Tool && resource.name == "list")"#,
    r#"(resource is Host && resource.name like "*.org")"#,
    "context.session.calls > 2",
    r#"context.task.purpose like "*notes*""#,
    r#"context.posture.assurance == "confined""#,
    "9223372036854775807 + 1 > 0",
    "(principal is Agent && 9223372036854775807 + 1 > 0)",
    "context.session.calls * 9223372036854775807 >= 0",
];
const ARGUMENT_ATOMS: &[&str] = &[
    "(context.arguments has n && context.arguments.n > 1)",
    "(context.arguments has n && context.arguments.n * 9223372036854775807 < 0)",
    r#"(context.arguments has path && context.arguments.path like "/tmp/*")"#,
];

/// A request in owned parts.
#[derive(Debug, Clone)]
struct Asked {
    /// Agent with name, owner and environment, or a person.
    agent: Option<(&'static str, &'static str, &'static str)>,
    target: Target,
    calls: u32,
}

#[derive(Debug, Clone)]
enum Target {
    Tool(&'static str, &'static str),
    Host(&'static str),
}

fn condition(arguments: bool) -> BoxedStrategy<String> {
    let mut atoms: Vec<&str> = ATOMS.to_vec();
    if arguments {
        atoms.extend(ARGUMENT_ATOMS);
    }
    let atom = proptest::sample::select(atoms).prop_map(str::to_owned);
    let deeper = |inner: BoxedStrategy<String>| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
        ]
    };
    atom.prop_recursive(3, 12, 3, deeper).boxed()
}

/// One policy without its id: what stands before and behind it.
fn policy() -> impl Strategy<Value = (&'static str, String)> {
    let kind = prop_oneof![
        3 => Just(("", "permit")),
        2 => Just(("", "forbid")),
        1 => Just(("@requirement(\"approval\") ", "permit")),
    ];
    let select = proptest::sample::select::<&str>;
    let scope = (
        select(PRINCIPALS.to_vec()),
        proptest::sample::select(ACTIONS.to_vec()),
        select(RESOURCES.to_vec()),
    );
    (kind, scope).prop_flat_map(
        |((before, effect), (principal, (action, known), resource))| {
            condition(known).prop_map(move |condition| {
                let scope = format!("{effect} ({principal}, {action}, {resource})");
                (before, format!("{scope} when {{ {condition} }};"))
            })
        },
    )
}

/// A text of policies that validate; those that do not are left out of it.
fn policies() -> impl Strategy<Value = PolicySet> {
    proptest::collection::vec(policy(), 1..8).prop_map(|policies| {
        let schema = schema();
        let mut text = String::new();
        for (place, (before, policy)) in policies.into_iter().enumerate() {
            let one = format!("@id(\"p{place}\") {before}{policy}\n");
            if PolicySet::compile(&one, &schema).is_ok() {
                text.push_str(&one);
            }
        }
        PolicySet::compile(&text, &schema).unwrap()
    })
}

fn asked() -> Vec<Asked> {
    let agents = [
        Some(("bot", "ann", "test")),
        Some(("bot", "bob", "test")),
        Some(("bot", "ann", "production")),
        Some(("ann", "ann", "test")),
        None,
    ];
    let targets = [
        Target::Tool("run", r#"{"n":1,"path":"/tmp/x"}"#),
        Target::Tool("run", r#"{"n":2}"#),
        Target::Tool("list", "{}"),
        Target::Host("example.org"),
        Target::Host("example.com"),
    ];
    let mut all = Vec::new();
    for agent in agents {
        for target in &targets {
            for calls in [0, 3] {
                let target = target.clone();
                all.push(Asked {
                    agent,
                    target,
                    calls,
                });
            }
        }
    }
    all
}

/// Hands the request to `with`.
fn ask<T>(asked: &Asked, with: impl FnOnce(&Request<'_>) -> T) -> T {
    let name = |text: &str| text.parse::<Name>().unwrap();
    let (bot, owner, environment) = asked.agent.unwrap_or(("ann", "ann", ""));
    let (bot, owner, server) = (name(bot), name(owner), name("lab"));
    let facts = AgentFacts {
        name: &bot,
        owner: &owner,
        environment,
        assurance: "confined",
    };
    let principal = match asked.agent {
        Some(_) => Principal::Agent(facts),
        None => Principal::Person(&bot),
    };
    let text = match asked.target {
        Target::Tool(_, arguments) => arguments,
        Target::Host(_) => "{}",
    };
    let arguments = parse(text.as_bytes(), &Limits::MESSAGE).unwrap();
    let arguments: &Object = arguments.as_object().unwrap();
    let action = match asked.target {
        Target::Tool(tool, _) => Action::CallTool {
            server: &server,
            tool,
            arguments,
        },
        Target::Host(host) => Action::Connect { host, port: 443 },
    };
    with(&Request {
        principal,
        action,
        task: TaskFacts {
            id: Id::from_u128(7),
            purpose: "write the notes",
        },
        session: Session { calls: asked.calls },
        posture: Posture {
            assurance: "confined",
        },
    })
}

/// What leaves policies out.
trait Reduction: Fn(&Set, &Inner, &reduce::Known<'_>) -> Set {}

impl<F: Fn(&Set, &Inner, &reduce::Known<'_>) -> Set> Reduction for F {}

/// The verdict of all policies, none left out.
fn full(policies: &PolicySet, request: &Request<'_>) -> Verdict {
    verdict_with(policies, request, |all, _, _| all.clone())
}

/// The verdict of the policies that `reduce` leaves.
fn verdict_with(policies: &PolicySet, request: &Request<'_>, reduce: impl Reduction) -> Verdict {
    let inner = policies.inner();
    let built = Built::of(inner, request).unwrap();
    let reduced = Reduced {
        rules: reduce(&inner.rules, inner, &built.known()),
        requirements: reduce(&inner.requirements, inner, &built.known()),
    };
    verdict(inner, &reduced, &built)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_verdict_on_what_is_left_is_the_verdict_on_all(policies in policies()) {
        // All with one set, and twice: what is remembered for one must not answer for another.
        for _ in 0..2 {
            for asked in asked() {
                let (left, all) = ask(&asked, |request| {
                    (evaluate(&policies, request), full(&policies, request))
                });
                prop_assert_eq!(left, all, "{:?} of {}", asked, policies.text());
            }
        }
    }
}

/// What partial evaluation says of the policies, asked a second time for the controls.
fn found(
    all: &Set,
    inner: &Inner,
    known: &reduce::Known<'_>,
    pick: fn(&TpeResponse<'_>) -> Vec<PolicyId>,
) -> Vec<PolicyId> {
    let cedar = &inner.schema.inner().cedar;
    let concrete = |uid: &EntityUid| PartialEntityUid::from_concrete(uid.clone());
    let (principal, resource) = (concrete(known.principal), concrete(known.resource));
    let request = PartialRequest::new(principal, known.action.clone(), resource, None, cedar);
    let request = request.unwrap();
    let entities = Entities::from_entities(known.entities.iter().cloned(), Some(cedar)).unwrap();
    let entities = PartialEntities::from_concrete(entities, cedar).unwrap();
    let response = all.tpe(&request, &entities, cedar);
    pick(&response.unwrap())
}

/// Whether a reduction changes a verdict, in some hundred requests.
fn differs(reduce: impl Reduction) -> bool {
    let mut runner = TestRunner::deterministic();
    let mut sets = (0..24).map(|_| policies().new_tree(&mut runner).unwrap().current());
    sets.any(|policies| {
        asked().iter().any(|asked| {
            ask(asked, |request| {
                verdict_with(&policies, request, &reduce) != full(&policies, request)
            })
        })
    })
}

#[test]
fn every_wrong_reduction_is_found() {
    type Pick = fn(&TpeResponse<'_>) -> Vec<PolicyId>;
    let wrong: [(&str, Pick); 6] = [
        ("residual permits", |r| {
            r.residual_permits().cloned().collect()
        }),
        ("residual forbids", |r| {
            r.residual_forbids().cloned().collect()
        }),
        ("true permits", |r| r.true_permits().cloned().collect()),
        ("true forbids", |r| r.true_forbids().cloned().collect()),
        ("permits that fail", |r| {
            r.error_permits().cloned().collect()
        }),
        ("forbids that fail", |r| {
            r.error_forbids().cloned().collect()
        }),
    ];
    for (what, pick) in wrong {
        let found = differs(|all, inner, known| {
            let mut left = reduce(all, inner, known);
            for id in found(all, inner, known, pick) {
                let _ = left.remove_static(id);
            }
            left
        });
        assert!(found, "leaving out {what} changes nothing");
    }
    assert!(!differs(reduce));
}

#[test]
fn what_differs_in_anything_but_the_call_is_remembered_apart() {
    let mut keys: Vec<(Key, String)> = Vec::new();
    for asked in asked() {
        let what = format!("{:?}", (asked.agent, &asked.target));
        keys.push((ask(&asked, Key::of), what));
    }
    for (key, what) in &keys {
        for (other, differs) in &keys {
            let tool = |what: &str| what.split(", \"{").next().map(str::to_owned);
            assert_eq!(
                key == other,
                tool(what) == tool(differs),
                "{what} {differs}"
            );
        }
    }
}

#[test]
fn what_can_never_match_is_left_out() {
    let noise = (0..200).map(|n| {
        format!(
            "@id(\"n{n}\") permit (principal, action, resource) when {{ principal is Agent && \
             principal.environment == \"e{n}\" && context.session.calls < {n} }};\n\
             @id(\"t{n}\") permit (principal == Agent::\"a{n}\", action, resource);\n"
        )
    });
    let noise = noise.collect::<Vec<_>>().concat();
    let text =
        format!("{noise} @id(\"own\") permit (principal, action, resource in Server::\"lab\");");
    let policies = PolicySet::compile(&text, &schema()).unwrap();
    let asked = &asked()[0];
    ask(asked, |request| {
        let built = Built::of(policies.inner(), request).unwrap();
        let left = reduce(&policies.inner().rules, policies.inner(), &built.known());
        let left: Vec<String> = left.policies().map(|p| p.id().to_string()).collect();
        assert_eq!(left, ["own"]);
        assert!(evaluate(&policies, request).permits());
    });
}
