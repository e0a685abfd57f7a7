//! From a tool's schema and a call's arguments to a verdict of policies. Three parts, each after a
//! line `---`: the schema, the arguments, the policies. Whatever a tool says of itself, the other
//! tools keep their schema; nothing is permitted without a permit, and a forbid wins.
#![no_main]

use aims_json::{Limits, Object, Value, parse};
use aims_policy::{
    Action, AgentFacts, Decision, PolicySet, Posture, Principal, Request, Schema, SchemaSource,
    ServerTools, Session, TaskFacts, ToolShape, Verdict, evaluate,
};
use aims_types::{Id, Name};
use libfuzzer_sys::fuzz_target;

const PERMIT: &str = "@id(\"all\") permit (principal, action, resource);";
const FORBID: &str = "@id(\"none\") forbid (principal, action, resource);";

fuzz_target!(|text: &str| {
    let mut parts = text.splitn(3, "\n---\n");
    let mut json = || parse(parts.next()?.as_bytes(), &Limits::MESSAGE).ok();
    let (Some(input_schema), Some(Value::Object(arguments))) = (json(), json()) else {
        return;
    };
    let server: Name = "lab".parse().unwrap();
    let tool = |name: &str, input_schema: &Value| ToolShape {
        name: name.to_owned(),
        input_schema: input_schema.clone(),
    };
    let tools = vec![
        tool("run", &input_schema),
        tool("list", &Value::Object(Object::new())),
    ];
    let servers = vec![ServerTools {
        server: server.clone(),
        tools,
    }];
    let schema = Schema::generate(&SchemaSource { servers }).expect("every tool has a schema");
    let verdict = |policies: &str| {
        let set = PolicySet::compile(policies, &schema).ok()?;
        let said = ask(&set, &server, &arguments);
        assert_eq!(
            ask(&set, &server, &arguments),
            said,
            "what is remembered is the same"
        );
        Some(said)
    };
    assert!(!verdict("").unwrap().permits());
    let open = verdict(PERMIT).unwrap();
    assert!(!verdict(&format!("{PERMIT}\n{FORBID}")).unwrap().permits());
    let Some(policies) = parts.next() else { return };
    if let Some(said) = verdict(policies)
        && let Decision::Permit { determining } = &said.decision
    {
        assert!(open.permits() && !determining.is_empty());
        if let Some(forbidden) = verdict(&format!("{policies}\n{FORBID}")) {
            assert!(!forbidden.permits());
        }
        // One more permit lifts no requirement.
        if let Some(wider) = verdict(&format!("{policies}\n{PERMIT}")) {
            assert_eq!(wider.requirements, said.requirements);
        }
    }
});

fn ask(set: &PolicySet, server: &Name, arguments: &Object) -> Verdict {
    let (bot, ann): (Name, Name) = ("bot".parse().unwrap(), "ann".parse().unwrap());
    let principal = Principal::Agent(AgentFacts {
        name: &bot,
        owner: &ann,
        environment: "test",
        assurance: "confined",
    });
    let action = Action::CallTool {
        server,
        tool: "run",
        arguments,
    };
    let request = Request {
        principal,
        action,
        task: TaskFacts {
            id: Id::from_u128(7),
            purpose: "write the notes",
        },
        session: Session { calls: 3 },
        posture: Posture {
            assurance: "confined",
        },
    };
    evaluate(set, &request)
}
