//! Names and ids are taken once and for ever; references hold.

use std::sync::Arc;

use aims_model::{Agent, KeyOwner, KeyPurpose, PointKind, TreeOwner, agent};
use aims_types::Id;

use super::outcome::{Outcome, refused, same};
use super::sample;
use crate::{Error, Store, StoredGrant};

pub(super) async fn a_name_is_taken_for_ever(store: Arc<dyn Store>) -> Outcome {
    let (mut person, mut agent) = (sample::person(1)?, sample::agent(1, Id::from_u128(1))?);
    let mut txn = store.begin().await?;
    txn.person_insert(&person).await?;
    txn.agent_insert(&agent).await?;
    txn.server_insert(&sample::server(1)?).await?;
    person.removed_at = Some(sample::at(2));
    txn.person_update(&person).await?;
    agent.stage = agent::Stage::Retired {
        since: sample::at(2),
    };
    txn.agent_update(&agent).await?;
    txn.commit(Vec::new()).await?;

    let mut txn = store.begin().await?;
    person.id = Id::from_u128(2);
    refused!(
        txn.person_insert(&person).await,
        Error::Duplicate { what: "person" }
    );
    agent.id = Id::from_u128(2);
    refused!(
        txn.agent_insert(&agent).await,
        Error::Duplicate { what: "agent" }
    );
    let same_identity = Agent {
        name: sample::name("other", 1)?,
        ..agent
    };
    refused!(
        txn.agent_insert(&same_identity).await,
        Error::Duplicate { what: "agent" }
    );
    let mut server = sample::server(1)?;
    server.id = Id::from_u128(2);
    refused!(
        txn.server_insert(&server).await,
        Error::Duplicate {
            what: "tool server"
        }
    );
    Ok(())
}

pub(super) async fn a_service_has_a_name_for_ever_and_a_process_a_service(
    store: Arc<dyn Store>,
) -> Outcome {
    let mut service = sample::service(1, Id::from_u128(1))?;
    let mut txn = store.begin().await?;
    txn.person_insert(&sample::person(1)?).await?;
    txn.service_insert(&service).await?;
    service.id = Id::from_u128(2);
    refused!(
        txn.service_insert(&service).await,
        Error::Duplicate { what: "service" }
    );
    refused!(txn.service_update(&service).await, Error::Raced);
    refused!(
        txn.service_instance_insert(&sample::service_instance(1, service.id))
            .await,
        Error::Dangling {
            what: "process of a service"
        }
    );
    Ok(())
}

pub(super) async fn ids_and_digests_are_taken_once(store: Arc<dyn Store>) -> Outcome {
    let (task, mut run) = sample::populate(&store).await?;
    let instance = sample::instance(1, &run);
    let grant = sample::grant(1, task.id);
    let key = sample::key(1, KeyPurpose::Token, KeyOwner::Server);
    let mut txn = store.begin().await?;
    txn.grant_insert(&grant).await?;
    txn.instance_insert(&instance).await?;
    txn.policy_insert(&sample::policy(1, "")).await?;
    txn.key_insert(&key).await?;
    refused!(
        txn.task_insert(&task).await,
        Error::Duplicate { what: "task" }
    );
    refused!(
        txn.run_insert(&run).await,
        Error::Duplicate { what: "launch" }
    );
    run.id = Id::from_u128(2);
    refused!(
        txn.run_insert(&run).await,
        Error::Duplicate { what: "launch" }
    );
    let other_id = StoredGrant {
        id: Id::from_u128(2),
        ..grant.clone()
    };
    refused!(
        txn.grant_insert(&other_id).await,
        Error::Duplicate { what: "grant" }
    );
    let other_digest = StoredGrant {
        digest: sample::digest("other", 1),
        ..grant
    };
    refused!(
        txn.grant_insert(&other_digest).await,
        Error::Duplicate { what: "grant" }
    );
    refused!(
        txn.instance_insert(&instance).await,
        Error::Duplicate { what: "instance" }
    );
    let policy = sample::policy(1, "other");
    refused!(
        txn.policy_insert(&policy).await,
        Error::Duplicate {
            what: "policy version"
        }
    );
    refused!(txn.key_insert(&key).await, Error::Duplicate { what: "key" });
    txn.commit(Vec::new()).await?;
    same!(
        store.read().await?.policy_current().await?,
        Some(sample::policy(1, ""))
    );
    Ok(())
}

pub(super) async fn nothing_is_renamed(store: Arc<dyn Store>) -> Outcome {
    let (mut task, mut run) = sample::populate(&store).await?;
    let mut key = sample::key(1, KeyPurpose::Token, KeyOwner::Server);
    let mut txn = store.begin().await?;
    txn.key_insert(&key).await?;
    let mut person = sample::person(1)?;
    person.name = sample::name("other", 1)?;
    refused!(txn.person_update(&person).await, Error::Raced);
    let mut agent = sample::agent(1, Id::from_u128(1))?;
    agent.name = sample::name("other", 1)?;
    refused!(txn.agent_update(&agent).await, Error::Raced);
    key.purpose = KeyPurpose::Grant;
    refused!(txn.key_update(&key).await, Error::Raced);
    task.root = Id::from_u128(99);
    refused!(txn.task_update(&task).await, Error::Raced);
    run.ticket = sample::digest("other", 1);
    refused!(txn.run_update(&run).await, Error::Raced);
    txn.commit(Vec::new()).await?;
    same!(store.read().await?.people().await?, [sample::person(1)?]);
    Ok(())
}

pub(super) async fn an_update_of_what_is_not_there_fails(store: Arc<dyn Store>) -> Outcome {
    let mut txn = store.begin().await?;
    let (task, run) = (sample::task(1)?, sample::run(1, Id::from_u128(1)));
    let agent = sample::agent(1, Id::from_u128(1))?;
    let key = sample::key(1, KeyPurpose::Log, KeyOwner::Server);
    refused!(txn.person_update(&sample::person(1)?).await, Error::Raced);
    refused!(txn.key_update(&key).await, Error::Raced);
    refused!(txn.agent_update(&agent).await, Error::Raced);
    refused!(txn.task_update(&task).await, Error::Raced);
    refused!(txn.run_update(&run).await, Error::Raced);
    refused!(
        txn.instance_update(&sample::instance(1, &run)).await,
        Error::Raced
    );
    Ok(())
}

pub(super) async fn what_is_referred_to_must_be_there(store: Arc<dyn Store>) -> Outcome {
    let (mut task, mut run) = sample::populate(&store).await?;
    let nothing = Id::from_u128(77);
    let mut agent = sample::agent(1, nothing)?;
    refused!(
        store.begin().await?.agent_update(&agent).await,
        Error::Dangling { what: "agent" }
    );
    (agent.id, agent.name) = (Id::from_u128(2), sample::name("other", 1)?);
    agent.spiffe_id = agent.spiffe_id.trust_domain().id("agent/other-1")?;
    refused!(
        store.begin().await?.agent_insert(&agent).await,
        Error::Dangling { what: "agent" }
    );
    let grant = sample::grant(1, Id::from_u128(77));
    refused!(
        store.begin().await?.grant_insert(&grant).await,
        Error::Dangling { what: "grant" }
    );
    let mut instance = sample::instance(1, &run);
    instance.run = Id::from_u128(77);
    let result = store.begin().await?.instance_insert(&instance).await;
    refused!(result, Error::Dangling { what: "instance" });
    let mut approval = sample::approval(1)?;
    approval.asked.task = Id::from_u128(77);
    approval.digest = approval.asked.digest()?;
    refused!(
        store.begin().await?.approval_insert(&approval).await,
        Error::Dangling { what: "approval" }
    );
    let mut token = sample::join_token(1, PointKind::Node);
    token.made_by = nothing;
    refused!(
        store.begin().await?.join_token_insert(&token).await,
        Error::Dangling { what: "join token" }
    );
    let owner = TreeOwner {
        task: Id::from_u128(77),
        gateway: Id::from_u128(1),
        epoch: 1,
        released: false,
        window: 1,
        unaccounted: Vec::new(),
    };
    refused!(
        store.begin().await?.tree_owner_put(&owner).await,
        Error::Dangling { what: "tree owner" }
    );
    (task.id, task.agent) = (Id::from_u128(2), Id::from_u128(77));
    refused!(
        store.begin().await?.task_insert(&task).await,
        Error::Dangling { what: "task" }
    );
    (run.id, run.ticket) = (Id::from_u128(2), sample::digest("other", 1));
    run.requested_by = nothing;
    refused!(
        store.begin().await?.run_insert(&run).await,
        Error::Dangling { what: "launch" }
    );
    Ok(())
}
