//! A decision at some depth of delegation and with some number of policies, and what a chain
//! costs when it is new and when it is known, beside its signatures alone.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that can't be set up has to stop"
)]

mod chain;

use aims_authority::Call;
use aims_crypto::{Alg, Signer, SigningKey};
use aims_decision::{Case, CutOffs, Decision, decide};
use aims_json::{Limits, Value, parse};
use aims_model::{Assurance, Subject};
use aims_policy::{AgentFacts, PolicySet, Schema, SchemaSource, ServerTools, ToolShape};
use aims_types::{Name, Revision};
use divan::{Bencher, black_box};

use crate::chain::{NOW, Signed, agent};

/// Hops and policies.
const CASES: &[(usize, usize)] = &[
    (1, 10),
    (3, 10),
    (8, 10),
    (1, 1_000),
    (8, 1_000),
    (1, 10_000),
    (8, 10_000),
];
const HOPS: &[usize] = &[1, 3, 5, 8];

fn main() {
    divan::main();
}

fn value(text: &str) -> Value {
    parse(text.as_bytes(), &Limits::MESSAGE).unwrap()
}

/// Policies about other agents, some of which can't be told apart by their scope, and one permit.
fn policies(count: usize) -> PolicySet {
    let schema =
        r#"{"type":"object","properties":{"n":{"type":"integer"},"path":{"type":"string"}}}"#;
    let servers = vec![ServerTools {
        server: "lab".parse().unwrap(),
        tools: vec![ToolShape {
            name: "run".to_owned(),
            input_schema: value(schema),
        }],
    }];
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
    let others = (0..count - 1).map(other);
    let text = others.chain([own.to_owned()]).collect::<String>();
    let schema = Schema::generate(&SchemaSource { servers }).unwrap();
    PolicySet::compile(&text, &schema).unwrap()
}

/// Everything but who signed and which policies there are is the same each time.
#[divan::bench(args = CASES)]
fn decides(bencher: Bencher<'_, '_>, (hops, count): (usize, usize)) {
    let (policies, chain) = (policies(count), Signed::new(hops).verify());
    let (owner, server): (Name, Name) = ("alice".parse().unwrap(), "lab".parse().unwrap());
    let names: Vec<Name> = (0..hops).map(agent).collect();
    let facts = |name| AgentFacts {
        name,
        owner: &owner,
        environment: "test",
        assurance: "confined",
    };
    let agents: Vec<AgentFacts<'_>> = names.iter().map(facts).collect();
    let path = format!("/srv{}/x", "/a".repeat(hops));
    let arguments = value(&format!(r#"{{"n":1,"path":"{path}"}}"#));
    let (subjects, cutoffs): (Vec<Subject>, _) = (chain.subjects(), CutOffs::default());
    let case = Case {
        chain: &chain,
        call: Call::Tool {
            server: &server,
            tool: "run",
            arguments: arguments.as_object().unwrap(),
        },
        policies: &policies,
        agents: &agents,
        calls: 3,
        assurance: Assurance::Confined,
        subjects: &subjects,
        minted: Revision::new(20),
        cutoffs: &cutoffs,
        approval: None,
        now: NOW,
    };
    assert!(matches!(decide(&case), Decision::Permit(_)));
    bencher.bench_local(|| matches!(decide(black_box(&case)), Decision::Permit(_)));
}

/// A chain that is seen for the first time.
#[divan::bench(args = HOPS)]
fn verifies_a_new_chain(bencher: Bencher<'_, '_>, hops: usize) {
    let signed = Signed::new(hops);
    bencher.bench_local(|| black_box(&signed).verify());
}

/// A chain that was verified: what is looked at again for each call.
#[divan::bench(args = HOPS)]
fn looks_at_a_known_chain(bencher: Bencher<'_, '_>, hops: usize) {
    let chain = Signed::new(hops).verify();
    let (subjects, cutoffs) = (chain.subjects(), CutOffs::default());
    bencher.bench_local(|| {
        let chain = black_box(&chain);
        let cut = cutoffs
            .find(black_box(&subjects), Revision::new(20))
            .is_some();
        chain.check_time(NOW).is_ok() && !cut
    });
}

/// The floor of a new chain: as many ES256 signatures.
#[divan::bench(args = HOPS)]
fn floor_verifies_the_signatures(bencher: Bencher<'_, '_>, hops: usize) {
    let count = Signed::new(hops).signatures();
    let key = SigningKey::generate(Alg::Es256).unwrap();
    let message = [b'm'; 1024];
    let signature = key.sign(&message).unwrap();
    bencher.bench_local(|| {
        let each = || key.public().verify(black_box(&message), &signature);
        (0..count).all(|_| each().is_ok())
    });
}
