//! What is put in comes out, by every way to look it up, in the order promised.

use std::sync::Arc;

use aims_model::{
    CutOff, KeyOwner, KeyPurpose, Point, PolicyVersion, Subject, agent, instance, task,
};
use aims_types::{Id, Revision};

use super::outcome::{Outcome, refused, same};
use super::sample;
use crate::{Domain, Error, Store};

/// Size of a large policy text, in bytes.
const LARGE: usize = 1 << 20;

pub(super) async fn people_round_trip(store: Arc<dyn Store>) -> Outcome {
    let (first, mut second) = (sample::person(1)?, sample::person(2)?);
    let mut txn = store.begin().await?;
    txn.person_insert(&second).await?;
    txn.person_insert(&first).await?;
    second.removed_at = Some(sample::at(9));
    txn.person_update(&second).await?;
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(reader.people().await?, [first.clone(), second.clone()]);
    same!(reader.person(second.id).await?, Some(second.clone()));
    same!(reader.person_by_name(&first.name).await?, Some(first));
    Ok(())
}

pub(super) async fn keys_round_trip(store: Arc<dyn Store>) -> Outcome {
    use KeyPurpose::{Ca, Gateway, Grant, Log, Node, Person, Token};
    let owners = [
        KeyOwner::Server,
        KeyOwner::Node(Id::from_u128(1)),
        KeyOwner::Gateway(Id::from_u128(u128::MAX)),
        KeyOwner::Person(Id::from_u128(3)),
    ];
    let mut txn = store.begin().await?;
    let mut keys = Vec::new();
    for (n, purpose) in [Token, Grant, Log, Node, Person, Ca, Gateway, Token]
        .into_iter()
        .enumerate()
        .rev()
    {
        let owner = owners
            .get(n % owners.len())
            .copied()
            .unwrap_or(KeyOwner::Server);
        let key = sample::key(u128::try_from(n)?, purpose, owner);
        txn.key_insert(&key).await?;
        keys.insert(0, key);
    }
    if let Some(retired) = keys.first_mut() {
        retired.retired_at = Some(sample::at(99));
        txn.key_update(retired).await?;
    }
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    for key in &keys {
        same!(reader.key(&key.kid).await?.as_ref(), Some(key));
        let wanted: Vec<_> = keys
            .iter()
            .filter(|k| k.purpose == key.purpose)
            .cloned()
            .collect();
        same!(reader.keys(key.purpose).await?, wanted);
    }
    Ok(())
}

pub(super) async fn agents_round_trip(store: Arc<dyn Store>) -> Outcome {
    let mut txn = store.begin().await?;
    txn.person_insert(&sample::person(1)?).await?;
    txn.person_insert(&sample::person(2)?).await?;
    let mut agent = sample::agent(5, Id::from_u128(1))?;
    txn.agent_insert(&agent).await?;
    txn.agent_insert(&sample::agent(4, Id::from_u128(1))?)
        .await?;
    let since = sample::at(8);
    for stage in [
        agent::Stage::Active { since },
        agent::Stage::Suspended { since },
        agent::Stage::Retired { since },
    ] {
        agent.stage = stage;
        txn.agent_update(&agent).await?;
        same!(txn.agent(agent.id).await?.as_ref(), Some(&agent));
    }
    agent.owner = Id::from_u128(2);
    txn.agent_update(&agent).await?;
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(
        reader.agent_by_name(&agent.name).await?.as_ref(),
        Some(&agent)
    );
    same!(
        reader.agents().await?,
        [sample::agent(4, Id::from_u128(1))?, agent]
    );
    Ok(())
}

pub(super) async fn servers_round_trip(store: Arc<dyn Store>) -> Outcome {
    let (first, second) = (sample::server(1)?, sample::server(2)?);
    let mut txn = store.begin().await?;
    txn.server_insert(&second).await?;
    txn.server_insert(&first).await?;
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(
        reader.server_by_name(&second.name).await?.as_ref(),
        Some(&second)
    );
    same!(reader.servers().await?, [first, second]);
    Ok(())
}

pub(super) async fn services_round_trip(store: Arc<dyn Store>) -> Outcome {
    let owner = Id::from_u128(1);
    let (first, mut second) = (sample::service(1, owner)?, sample::service(2, owner)?);
    let (live, mut ended) = (
        sample::service_instance(1, second.id),
        sample::service_instance(2, second.id),
    );
    let mut txn = store.begin().await?;
    txn.person_insert(&sample::person(1)?).await?;
    txn.service_insert(&second).await?;
    txn.service_insert(&first).await?;
    txn.service_instance_insert(&ended).await?;
    txn.service_instance_insert(&live).await?;
    second.stage = second.stage.retire(sample::at(9))?;
    txn.service_update(&second).await?;
    ended.stage = ended.stage.end(sample::at(9), "exited")?;
    txn.service_instance_update(&ended).await?;
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(reader.services().await?, [first.clone(), second.clone()]);
    same!(reader.service(second.id).await?, Some(second));
    same!(reader.service_by_name(&first.name).await?, Some(first));
    let process = live.seen.process(live.node);
    same!(
        reader.service_instances_of_process(&process).await?,
        [live.clone(), ended.clone()]
    );
    same!(reader.service_instances_of_process("another").await?, []);
    same!(reader.service_instance(ended.id).await?, Some(ended));
    same!(reader.service_instances_live().await?, [live]);
    Ok(())
}

pub(super) async fn policies_round_trip_and_the_last_is_in_force(store: Arc<dyn Store>) -> Outcome {
    // The later one has the smaller id and an earlier time: clocks go back, order does not.
    let first = sample::policy(9, &format!("// {}\n", sample::LETTERS).repeat(LARGE / 64));
    let second = PolicyVersion {
        author: Some(Id::from_u128(3)),
        activated_at: sample::at(0),
        ..sample::policy(2, "permit(principal, action, resource);\n")
    };
    for policy in [&first, &second] {
        let mut txn = store.begin().await?;
        txn.policy_insert(policy).await?;
        txn.commit(Vec::new()).await?;
        same!(
            store.read().await?.policy_current().await?.as_ref(),
            Some(policy)
        );
    }
    same!(store.read().await?.policy(first.id).await?, Some(first));
    Ok(())
}

pub(super) async fn tasks_and_grants_round_trip(store: Arc<dyn Store>) -> Outcome {
    let (mut task, _) = sample::populate(&store).await?;
    let (first, grant) = (sample::grant(3, task.id), sample::grant(4, task.id));
    let mut txn = store.begin().await?;
    txn.task_insert(&sample::task(2)?).await?;
    txn.grant_insert(&grant).await?;
    txn.grant_insert(&first).await?;
    txn.grant_insert(&sample::grant(2, Id::from_u128(2)))
        .await?;
    task.stage = task::Stage::Ended {
        since: sample::at(5),
        at: sample::at(6),
    };
    txn.task_update(&task).await?;
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(reader.task(task.id).await?, Some(task));
    same!(reader.grant(&grant.digest).await?, Some(grant.clone()));
    same!(reader.grant_by_id(grant.id).await?, Some(grant.clone()));
    same!(reader.grants_of_task(grant.task).await?, [first, grant]);
    same!(reader.grants_of_task(Id::from_u128(77)).await?, []);
    Ok(())
}

pub(super) async fn runs_round_trip(store: Arc<dyn Store>) -> Outcome {
    let (_, mut run) = sample::populate(&store).await?;
    same!(
        store.read().await?.run_by_ticket(&run.ticket).await?,
        Some(run.clone())
    );
    run.redeemed_at = Some(sample::at(9));
    run.redeemed_by = Some(Id::from_u128(7));
    let mut txn = store.begin().await?;
    txn.run_update(&run).await?;
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(reader.run(run.id).await?, Some(run.clone()));
    same!(reader.run_by_ticket(&run.ticket).await?, Some(run));
    Ok(())
}

pub(super) async fn instances_round_trip(store: Arc<dyn Store>) -> Outcome {
    let (task, run) = sample::populate(&store).await?;
    let (mut first, second) = (sample::instance(1, &run), sample::instance(2, &run));
    let mut txn = store.begin().await?;
    txn.instance_insert(&second).await?;
    txn.instance_insert(&first).await?;
    same!(txn.instances_live().await?, [first.clone(), second.clone()]);
    let how = format!("killed {}", sample::LETTERS);
    first.stage = instance::Stage::Ended {
        since: sample::at(6),
        at: sample::at(7),
        how,
    };
    txn.instance_update(&first).await?;
    txn.commit(Vec::new()).await?;
    let mut reader = store.read().await?;
    same!(
        reader.instances_live().await?.as_slice(),
        std::slice::from_ref(&second)
    );
    same!(reader.instance(first.id).await?, Some(first.clone()));
    same!(reader.instances_of_task(task.id).await?, [first, second]);
    same!(reader.instances_of_task(Id::from_u128(77)).await?, []);
    Ok(())
}

pub(super) async fn cutoffs_of_every_kind_round_trip(store: Arc<dyn Store>) -> Outcome {
    let subjects = [
        Subject::Person(Id::from_u128(1)),
        Subject::Agent(Id::from_u128(1)),
        Subject::Instance(Id::from_u128(1)),
        Subject::Task(Id::from_u128(1)),
        Subject::Delegation(Id::from_u128(1)),
        Subject::Key("thumbprint_-1".to_owned()),
        Subject::Policy(Id::from_u128(1)),
        // The same again, later.
        Subject::Task(Id::from_u128(1)),
    ];
    let mut wanted = Vec::new();
    for (number, subject) in (1..).zip(subjects) {
        let cutoff = CutOff {
            subject,
            at_or_before: Revision::new(number),
        };
        let mut txn = store.begin().await?;
        txn.cutoff_insert(&cutoff).await?;
        refused!(
            txn.cutoff_insert(&cutoff).await,
            Error::Duplicate { what: "cut-off" }
        );
        txn.commit(Vec::new()).await?;
        wanted.push(cutoff);
    }
    same!(store.read().await?.cutoffs().await?, wanted);
    Ok(())
}

pub(super) async fn the_trust_domain_is_created_once(store: Arc<dyn Store>) -> Outcome {
    same!(store.read().await?.domain().await?, None);
    let domain = Domain {
        trust_domain: "aims.local".parse()?,
        created_at: sample::at(0),
    };
    let other = Domain {
        trust_domain: "other.example".parse()?,
        created_at: sample::at(1),
    };
    let mut txn = store.begin().await?;
    txn.domain_insert(&domain).await?;
    txn.commit(Vec::new()).await?;
    let mut txn = store.begin().await?;
    refused!(
        txn.domain_insert(&other).await,
        Error::Duplicate {
            what: "trust domain"
        }
    );
    drop(txn);
    same!(store.read().await?.domain().await?, Some(domain));
    Ok(())
}

pub(super) async fn what_is_not_there_is_not_found(store: Arc<dyn Store>) -> Outcome {
    let mut reader = store.read().await?;
    let digest = sample::digest("nothing", 0);
    let name = sample::name("nobody", 0)?;
    same!(reader.person(Id::from_u128(1)).await?, None);
    same!(reader.person_by_name(&name).await?, None);
    same!(reader.key("' OR 1=1 --").await?, None);
    same!(reader.agent(Id::from_u128(1)).await?, None);
    same!(reader.agent_by_name(&name).await?, None);
    same!(reader.server_by_name(&name).await?, None);
    same!(reader.servers().await?, []);
    same!(reader.upstream(Id::from_u128(1)).await?, None);
    same!(reader.upstream_by_name(&name).await?, None);
    same!(reader.upstreams().await?, []);
    same!(reader.credential(Id::from_u128(1)).await?, None);
    same!(reader.policy_current().await?, None);
    same!(reader.policy(Id::from_u128(1)).await?, None);
    same!(reader.task(Id::from_u128(1)).await?, None);
    same!(reader.grant(&digest).await?, None);
    same!(reader.grant_by_id(Id::from_u128(1)).await?, None);
    same!(reader.run(Id::from_u128(1)).await?, None);
    same!(reader.run_by_ticket(&digest).await?, None);
    same!(reader.instance(Id::from_u128(1)).await?, None);
    same!(reader.instances_live().await?, []);
    same!(reader.grants_of_task(Id::from_u128(1)).await?, []);
    same!(reader.approval(Id::from_u128(1)).await?, None);
    same!(reader.approvals_open().await?, []);
    same!(reader.approvals(9).await?, []);
    same!(reader.join_token(&digest).await?, None);
    same!(reader.lease(Point::Node(Id::from_u128(1))).await?, None);
    same!(reader.leases().await?, []);
    same!(reader.tree_owner(Id::from_u128(1)).await?, None);
    same!(reader.cutoffs().await?, []);
    same!(reader.log_head().await?, None);
    same!(reader.log_sources().await?, []);
    same!(reader.material(&digest).await?, None);
    Ok(())
}
