//! Which instances of a node are cut off, and which gateways are not.

use aims_model::grant::Delegator;
use aims_model::{CutOff, EnrolledKey, Instance, KeyPurpose, Subject};
use aims_store::Reader;
use aims_types::{self as types, Id, Node, Revision};

use crate::Fault;
use crate::chain::read_grant;
use crate::liveness::signers;

/// The instances of a node that the cut-offs newer than `told` cover, those too that the store has
/// as ended: a kill ends them there before their walls are gone.
pub(super) async fn instances(
    reader: &mut dyn Reader,
    node: Id<Node>,
    told: Revision,
    cutoffs: &[CutOff],
) -> Result<Vec<Id<types::Instance>>, Fault> {
    let new = || cutoffs.iter().filter(|cut| cut.at_or_before > told);
    let mut found = Vec::new();
    // Whether a live instance can be covered by more than its own id.
    let (mut by_key, mut by_chain) = (false, false);
    for cut in new() {
        match &cut.subject {
            Subject::Instance(id) => {
                let instance = reader.instance(*id).await?;
                let of = match instance {
                    Some(instance) => instance.node,
                    None => reader.service_instance(*id).await?.map(|one| one.node),
                };
                if of == Some(node) {
                    found.push(*id);
                }
            }
            // An enrolled key signed hops; any other is an instance's own.
            Subject::Key(kid) if reader.key(kid).await?.is_some() => by_chain = true,
            Subject::Key(_) => by_key = true,
            // An instance is under no policy; what it does is, and gateways look at that.
            Subject::Policy(_) => {}
            Subject::Person(_) | Subject::Agent(_) | Subject::Task(_) | Subject::Delegation(_) => {
                by_chain = true;
            }
        }
    }
    if !by_key && !by_chain {
        return Ok(found);
    }
    for instance in reader.instances_live().await? {
        if instance.node != Some(node) || found.contains(&instance.id) {
            continue;
        }
        let key = Subject::Key(instance.jkt.clone());
        let covered = new().any(|cut| cut.subject == key)
            || by_chain && {
                let rests_on = rests_on(reader, &instance).await?;
                let covers =
                    |cut: &CutOff| rests_on.iter().any(|(on, minted)| cut.covers(on, *minted));
                new().any(covers)
            };
        if covered {
            found.push(instance.id);
        }
    }
    Ok(found)
}

/// The keys of the gateways that a node may go on with.
pub(super) fn gateways(keys: &[EnrolledKey]) -> Vec<String> {
    let of_gateway =
        |key: &&EnrolledKey| key.purpose == KeyPurpose::Gateway && key.retired_at.is_none();
    let enrolled = keys.iter().filter(of_gateway);
    enrolled.map(|key| key.kid.clone()).collect()
}

/// Everything that an instance rests on, with the revision at which that was minted.
async fn rests_on(
    reader: &mut dyn Reader,
    instance: &Instance,
) -> Result<Vec<(Subject, Revision)>, Fault> {
    let missing = |what: &str| {
        let id = instance.id;
        Fault::Inconsistent(format!("the {what} of instance `{id}` is not stored"))
    };
    let run = reader.run(instance.run).await?;
    let leaf = run.ok_or_else(|| missing("launch"))?.delegation;
    let mut hops = vec![leaf];
    let mut rests_on = Vec::new();
    while let Some(id) = hops.pop() {
        let stored = reader.grant_by_id(id).await?;
        let stored = stored.ok_or_else(|| missing("grant"))?;
        let grant = read_grant(&stored.jws)?;
        if id == leaf {
            hops.extend(&grant.ancestors);
        }
        let mut on = vec![
            Subject::Delegation(grant.id),
            Subject::Agent(grant.delegate),
            Subject::Task(grant.task),
        ];
        on.push(match &grant.delegator {
            Delegator::Person { id, .. } => Subject::Person(*id),
            Delegator::Agent { instance, .. } => Subject::Instance(*instance),
        });
        on.extend(signers(&stored, &grant).map(Subject::Key));
        rests_on.extend(on.into_iter().map(|subject| (subject, grant.revision)));
    }
    Ok(rests_on)
}
