//! What a person is asked, and what the gateway decides and records.

use super::*;

pub(super) fn asked(hops: &Hops) -> Asked {
    Asked {
        task: task(),
        initiator: id(1),
        agent: spiffe("scribe"),
        instance: id(7),
        delegation: hops.child.0.id,
        leaf: grant_digest(&hops.child.1),
        server: "fs".parse().unwrap(),
        tool: "write_file".to_owned(),
        pin: sha256(b"write_file"),
        arguments: ARGUMENTS.to_owned(),
        policy: id(1),
        requirements: vec!["four-eyes".parse().unwrap()],
    }
}

/// The question, the answer, and how it is recorded.
pub(super) fn approval(asked: &Asked, plan: &Plan) -> (Event, String, Event) {
    let mut answer = Answer {
        person: id(4),
        audience: "aims.test".parse().unwrap(),
        issued_at: at(26),
        approval: id(1),
        digest: asked.digest().unwrap(),
        approve: true,
        reason: "as discussed".to_owned(),
    };
    (plan.answer)(&mut answer);
    let jws = signed(APPROVAL_TYP, &answer.to_claims().unwrap(), &keys().bob);
    let common = || {
        Object::new()
            .with("approval", id::<types::Approval>(1).to_string())
            .with("digest", asked.digest().unwrap().to_string())
    };
    let question = common()
        .with("server", "fs")
        .with("tool", "write_file")
        .with("agent", asked.agent.as_str())
        .with("instance", asked.instance.to_string())
        .with("requirements", vec![Value::from("four-eyes")])
        .with("deadline", at(900).unix_millis());
    let answered = common()
        .with("answer", "approve")
        .with("reason", answer.reason.as_str())
        .with("jws", jws.as_str());
    let mut answered = of_task(EventKind::ApprovalAnswered, 26, answered);
    answered.body = answered.body.with("by", id::<types::Person>(4).to_string());
    (
        of_task(EventKind::ApprovalAsked, 25, question),
        jws,
        answered,
    )
}

fn resource() -> Value {
    Value::from(
        Object::new()
            .with("server", "fs")
            .with("tool", "write_file")
            .with("pin", sha256(b"write_file").to_string()),
    )
}

pub(super) fn used(plan: &Plan, hops: &Hops, tools: &Tools) -> Used {
    let agent = |n, name: &str| AgentUsed {
        id: id(n),
        name: name.parse().unwrap(),
        spiffe_id: spiffe(name),
        owner: "alice".parse().unwrap(),
        environment: "production".parse().unwrap(),
    };
    Used {
        decision: decision(),
        at: at(30),
        resource: resource(),
        action: "tools/call".to_owned(),
        arguments: Some(ARGUMENTS.to_owned()),
        chain: vec![hops.root.1.clone(), hops.child.1.clone()],
        agents: vec![agent(2, "notes"), agent(3, "scribe")],
        person: "alice".parse().unwrap(),
        calls: plan.calls,
        assurance: Assurance::Confined,
        policy: sha256(plan.policy.as_bytes()),
        tools: tools.digest().unwrap(),
        minted: Revision::new(8),
        revision: Revision::new(8),
    }
}

/// What a record of the permit says besides what was found.
pub(super) fn intent(plan: &Plan, hops: &Hops, asked: &Asked) -> Object {
    let agent = |grant: &Grant, from: Value| {
        Value::from(
            Object::new()
                .with("delegation", grant.id.to_string())
                .with("agent", grant.delegate_spiffe_id.as_str())
                .with("from", from),
        )
    };
    let from = Value::from(id::<types::Instance>(6).to_string());
    let agents = vec![agent(&hops.root.0, Value::Null), agent(&hops.child.0, from)];
    let policy = Object::new()
        .with("id", id::<types::Policy>(1).to_string())
        .with("digest", sha256(plan.policy.as_bytes()).to_string());
    let subject = Object::new()
        .with("id", id::<types::Person>(1).to_string())
        .with("name", "alice");
    let token = Object::new()
        .with("jti", id::<types::Token>(10).to_string())
        .with("sha256", sha256(b"token").to_string());
    let approval = Object::new()
        .with("id", id::<types::Approval>(1).to_string())
        .with("digest", asked.digest().unwrap().to_string())
        .with("by", id::<types::Person>(4).to_string());
    Object::new()
        .with("agent", spiffe("scribe").as_str())
        .with("instance", id::<types::Instance>(7).to_string())
        .with("subject", subject)
        .with("resource", resource())
        .with("action", "tools/call")
        .with("decision", "permit")
        .with("decision_id", decision().to_string())
        .with("policy", policy)
        .with("revision", 8_u64)
        .with("minted", 8_u64)
        .with("chain", hops.chain())
        .with("agents", agents)
        .with("posture", Object::new().with("assurance", "confined"))
        .with("token", token)
        .with("arguments", sha256(ARGUMENTS.as_bytes()).to_string())
        .with("message", Value::Null)
        .with("epoch", 1_u64)
        .with("approval", approval)
}

/// The keys of the domain, whatever the instant.
struct Known;

impl aims_decision::ChainKeys for Known {
    fn grant_key(&self, _: &str, _: Timestamp) -> Option<PublicKey> {
        Some(*keys().grant.public())
    }
    fn person_key(&self, person: Id<types::Person>, _: &str, _: Timestamp) -> Option<PublicKey> {
        let key = if person == id(1) {
            &keys().alice
        } else {
            &keys().bob
        };
        Some(*key.public())
    }
    fn token_key(&self, _: &str, _: Timestamp) -> Option<PublicKey> {
        Some(*keys().token.public())
    }
}

/// Decides as a gateway does. Where that does not permit, the gateway lies: it records what it
/// found when everything was in order.
pub(super) fn decided(
    plan: &Plan,
    hops: &Hops,
    (asked, answer): (&Asked, &str),
    tools: &Tools,
) -> (Findings, Value) {
    try_decide(plan, hops, (asked, answer), tools).unwrap_or_else(|| {
        let plan = Plan::default();
        let hops = Hops::of(&plan);
        let asked = self::asked(&hops);
        let (_, answer, _) = approval(&asked, &plan);
        try_decide(&plan, &hops, (&asked, &answer), tools).unwrap()
    })
}

fn try_decide(
    plan: &Plan,
    hops: &Hops,
    (asked, answer): (&Asked, &str),
    tools: &Tools,
) -> Option<(Findings, Value)> {
    let claimed = hops.digests();
    let trust_domain = "aims.test".parse().unwrap();
    let presented = Presented {
        grants: &[hops.root.1.clone(), hops.child.1.clone()],
        claimed: &claimed,
        claimed_hash: Chain::new(claimed.clone()).unwrap().commitment(),
        task: task(),
        person: id(1),
        trust_domain: &trust_domain,
    };
    let chain = verify_chain(&presented, &Known, at(30)).ok()?;
    let own = Approval {
        id: id(1),
        digest: asked.digest().unwrap(),
        asked: asked.clone(),
        asked_at: at(25),
        deadline: at(900),
        stage: Stage::Approved {
            at: at(26),
            by: id(4),
            answer: answer.to_owned(),
        },
    };
    let question = Question {
        asked,
        trust_domain: &trust_domain,
    };
    let approved = verify_approval(&own, &question, &Known, at(30)).ok();
    let (fs, owner) = ("fs".parse().unwrap(), "alice".parse().unwrap());
    let names = ["notes".parse().unwrap(), "scribe".parse().unwrap()];
    let agents = names.each_ref().map(|name| AgentFacts {
        name,
        owner: &owner,
        environment: "production",
        assurance: "confined",
    });
    let policies = tools.compile(plan.policy).unwrap();
    let arguments = parse(ARGUMENTS.as_bytes(), &Limits::MESSAGE).unwrap();
    let cutoffs = CutOffs::default();
    let decided = decide(&Case {
        chain: &chain,
        call: Call::Tool {
            server: &fs,
            tool: "write_file",
            arguments: arguments.as_object().unwrap(),
        },
        policies: &policies,
        agents: &agents,
        calls: plan.calls,
        assurance: Assurance::Confined,
        subjects: &[],
        minted: Revision::new(8),
        cutoffs: &cutoffs,
        approval: approved.as_ref(),
        now: at(30),
    });
    match decided {
        Decision::Permit(permit) => {
            let reserved = Budgets::default().reserve(&permit, at(30)).unwrap();
            Some((permit.findings().clone(), reserved.to_value()))
        }
        _ => None,
    }
}
