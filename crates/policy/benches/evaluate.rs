//! One verdict, beside what it costs to look at every policy.
#![expect(
    clippy::unwrap_used,
    reason = "a bench that can't be set up has to stop"
)]

use aims_json::{Limits, Object, Value, parse};
use aims_policy::{
    Action, AgentFacts, PolicySet, Posture, Principal, Request, Schema, SchemaSource, ServerTools,
    Session, TaskFacts, ToolShape, Verdict, evaluate,
};
use aims_types::{Id, Name};
use divan::{Bencher, black_box};

const POLICIES: &[usize] = &[10, 1_000, 10_000];

fn main() {
    divan::main();
}

/// Policies for other agents, some of them without a narrow scope, and one that permits.
fn policies(count: usize) -> PolicySet {
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#;
    let tool = ToolShape {
        name: "run".to_owned(),
        input_schema: value(schema),
    };
    let server = ServerTools {
        server: name("lab"),
        tools: vec![tool],
    };
    let source = SchemaSource {
        servers: vec![server],
    };
    let other = |n: usize| match n % 10 {
        0 => format!(
            "@id(\"p{n}\")permit(principal is Agent,action,resource)\
             when{{principal.environment==\"e{n}\"}};\n"
        ),
        1 => format!("@id(\"p{n}\")forbid(principal==Agent::\"a{n}\",action,resource);\n"),
        _ => format!("@id(\"p{n}\")permit(principal==Agent::\"a{n}\",action,resource);\n"),
    };
    let own = "@id(\"own\")permit(principal,action==Action::\"lab/run\",resource)\
               when{context.arguments has n&&context.arguments.n<10};\n";
    let others = (0..count.saturating_sub(1)).map(other);
    let text = others.chain([own.to_owned()]).collect::<Vec<_>>().concat();
    let schema = Schema::generate(&source).unwrap();
    PolicySet::compile(&text, &schema).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn value(text: &str) -> Value {
    parse(text.as_bytes(), &Limits::MESSAGE).unwrap()
}

/// Evaluates one call by the agent called `agent`.
fn call(policies: &PolicySet, agent: &Name, arguments: &Object) -> Verdict {
    let (owner, server) = (name("ann"), name("lab"));
    evaluate(
        policies,
        &Request {
            principal: Principal::Agent(AgentFacts {
                name: agent,
                owner: &owner,
                environment: "test",
                assurance: "confined",
            }),
            action: Action::CallTool {
                server: &server,
                tool: "run",
                arguments,
            },
            task: TaskFacts {
                id: Id::from_u128(7),
                purpose: "write the notes",
            },
            session: Session { calls: 3 },
            posture: Posture {
                assurance: "confined",
            },
        },
    )
}

/// The agent has called this tool before.
#[divan::bench(args = POLICIES)]
fn again(bencher: Bencher<'_, '_>, count: usize) {
    let (policies, agent, arguments) = (policies(count), name("bot"), value(r#"{"n":1}"#));
    let arguments = arguments.as_object().unwrap();
    assert!(call(&policies, &agent, arguments).permits());
    bencher.bench_local(|| call(black_box(&policies), &agent, arguments));
}

/// Each time another agent: every policy is looked at.
#[divan::bench(args = POLICIES, sample_count = 20)]
fn first(bencher: Bencher<'_, '_>, count: usize) {
    let (policies, arguments) = (policies(count), value(r#"{"n":1}"#));
    let arguments = arguments.as_object().unwrap();
    let mut next = 0;
    bencher
        .with_inputs(|| {
            next += 1;
            name(&format!("bot{next}"))
        })
        .bench_local_values(|agent| call(black_box(&policies), &agent, arguments));
}
