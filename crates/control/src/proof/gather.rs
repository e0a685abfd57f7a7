//! What of the store the proof of a permit is made of; nothing else of the log is read.

use aims_audit::Vault;
use aims_json::{Limits, parse_canonical};
use aims_model::{EventKind, Record, RecordName, ToolServer};
use aims_proof::{Gathering, Included, Materials, Tools, Used};
use aims_store::{LogEntry, Reader};
use aims_tlog::VerifierKey;
use aims_types::{Decision, Digest, Id, Task};

use super::{ProofError, malformed};
use crate::Fault;

/// A permit as the log has it.
pub(super) struct Permit {
    pub(super) task: Id<Task>,
    entry: LogEntry,
}

/// The permit, and exactly the records that it rests on.
pub(super) struct Gathered {
    pub(super) intent: Record,
    /// In the order of the log, without their paths.
    pub(super) records: Vec<Included>,
}

impl Permit {
    pub(super) async fn find(
        reader: &mut dyn Reader,
        decision: Id<Decision>,
    ) -> Result<Option<Self>, Fault> {
        let name = RecordName::permit(decision);
        let found = reader.log_entry_named(&name, None).await?;
        Ok(found.and_then(|entry| entry.task.map(|task| Self { task, entry })))
    }
}

impl Gathered {
    pub(super) async fn of(
        reader: &mut dyn Reader,
        permit: Permit,
        (decision, log): (Id<Decision>, &VerifierKey),
    ) -> Result<Self, ProofError> {
        let task = permit.task;
        let mut gathering = Gathering::new(decision, log);
        let mut known = Some(permit.entry);
        let incomplete = |why| ProofError::Incomplete { decision, why };
        while let Some(name) = gathering.wanted().map_err(incomplete)? {
            let found = match known.take() {
                // The first that is wanted is the permit.
                Some(permit) => Some(permit),
                None => named(reader, &name, task).await?,
            };
            let found = found.map(included).transpose()?;
            gathering.answer(name, found).map_err(incomplete)?;
        }
        let missing = || Fault::Inconsistent("a permit is gone".to_owned());
        Ok(Self {
            intent: gathering.permit().ok_or_else(missing)?.clone(),
            records: gathering.into_records(),
        })
    }
}

/// What is registered belongs to no task; everything else that a permit rests on belongs to its.
async fn named(
    reader: &mut dyn Reader,
    name: &RecordName,
    task: Id<Task>,
) -> Result<Option<LogEntry>, Fault> {
    let task = (!is_registration(name.kind())).then_some(task);
    Ok(reader.log_entry_named(name, task).await?)
}

fn included(entry: LogEntry) -> Result<Included, Fault> {
    Included::new(entry.index, entry.record, Vec::new()).map_err(|error| malformed(&error))
}

/// The text of the policy version that the permit names.
pub(super) async fn policy(reader: &mut dyn Reader, intent: &Record) -> Result<String, Fault> {
    let missing = || Fault::Inconsistent("a permit names a policy that is not there".to_owned());
    let named = intent.event.body.get("policy").and_then(|policy| {
        let id = policy.get("id")?.as_str()?;
        id.parse().ok()
    });
    let policy = reader.policy(named.ok_or_else(missing)?).await?;
    Ok(policy.ok_or_else(missing)?.text)
}

/// What the decision used, if it is still there.
pub(super) async fn used(
    vault: &Vault,
    reader: &mut dyn Reader,
    intent: &Record,
) -> Result<Option<Materials>, Fault> {
    let said = intent.event.body.get("materials");
    let said = said.and_then(|value| value.as_str()?.parse().ok());
    let Some(commitment) = said else {
        return Ok(None);
    };
    let Some(material) = vault.material(reader, &commitment).await? else {
        return Ok(None);
    };
    let value = parse_canonical(&material.bytes, &Limits::DOCUMENT).ok();
    let Some(used) = value.and_then(|value| Used::from_value(&value)) else {
        // It is of an earlier form, which can't be made again.
        return Ok(None);
    };
    let tools = tools_then(reader.servers().await?, &used.tools)?;
    Ok(tools.map(|tools| Materials {
        salt: material.salt,
        used,
        tools,
    }))
}

/// The tools with this digest: servers are only ever added, so they are those that were registered
/// first, up to some point.
fn tools_then(mut servers: Vec<ToolServer>, digest: &Digest) -> Result<Option<Tools>, Fault> {
    servers.sort_by_key(|server| (server.registered_at, server.id));
    for count in (0..=servers.len()).rev() {
        let tools = Tools::of(servers.get(..count).unwrap_or_default());
        let found = tools.digest();
        if found.map_err(|error| Fault::Inconsistent(error.to_string()))? == *digest {
            return Ok(Some(tools));
        }
    }
    Ok(None)
}

const fn is_registration(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::DomainCreated
            | EventKind::KeyEnrolled
            | EventKind::PersonEnrolled
            | EventKind::AgentRegistered
            | EventKind::ServerRegistered
            | EventKind::PolicyActivated
    )
}
