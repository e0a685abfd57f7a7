//! Everything in the store that the proof of a permit may be made of.

use aims_audit::Vault;
use aims_json::{Limits, parse_canonical};
use aims_model::{EventKind, Record, ToolServer};
use aims_proof::{Materials, Tools, Used};
use aims_store::{PAGE_LEN_MAX, Reader};
use aims_types::{Decision, Digest, Id};

use crate::Fault;

/// A record with its place in the log.
pub(super) struct Entry {
    pub(super) index: u64,
    pub(super) record: Record,
    pub(super) bytes: Vec<u8>,
}

/// The permit, and the records among which are those that it rests on.
pub(super) struct Gathered {
    pub(super) intent: Record,
    /// In the order of the log.
    pub(super) entries: Vec<Entry>,
}

impl Gathered {
    /// What the log of this size has of the decision; none if it has no such permit.
    pub(super) async fn of(
        reader: &mut dyn Reader,
        decision: Id<Decision>,
        size: u64,
    ) -> Result<Option<Self>, Fault> {
        let (mut entries, mut intent) = (Vec::new(), None);
        let (mut from, named) = (0, decision.to_string());
        while from < size {
            let page = reader.log_entries(from, PAGE_LEN_MAX).await?;
            let Some(last) = page.last() else { break };
            from = last.index.saturating_add(1);
            for entry in page.into_iter().filter(|entry| entry.index < size) {
                // What belongs to a task is read with its task, once it is clear which one.
                if entry.task.is_none() {
                    let entry = read(entry.index, entry.record)?;
                    entries.extend(Some(entry).filter(|entry| is_registration(&entry.record)));
                } else if mentions(&entry.record, &named) {
                    let entry = read(entry.index, entry.record)?;
                    intent = intent.or_else(|| permit(entry.record, &named));
                }
            }
        }
        let Some((intent, task)) = intent.and_then(|intent| {
            let task = intent.event.task?;
            Some((intent, task))
        }) else {
            return Ok(None);
        };
        for entry in reader.log_entries_of_task(task).await? {
            if entry.index < size {
                entries.push(read(entry.index, entry.record)?);
            }
        }
        entries.sort_by_key(|entry| entry.index);
        Ok(Some(Self { intent, entries }))
    }
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

fn read(index: u64, bytes: Vec<u8>) -> Result<Entry, Fault> {
    let record = Record::decode(&bytes).map_err(|error| Fault::Inconsistent(error.to_string()))?;
    Ok(Entry {
        index,
        record,
        bytes,
    })
}

fn permit(record: Record, named: &str) -> Option<Record> {
    let said = record.event.body.get("decision_id");
    let same = said.and_then(|value| value.as_str()) == Some(named);
    (same && record.event.kind == EventKind::CallIntent).then_some(record)
}

const fn is_registration(record: &Record) -> bool {
    matches!(
        record.event.kind,
        EventKind::DomainCreated
            | EventKind::KeyEnrolled
            | EventKind::PersonEnrolled
            | EventKind::AgentRegistered
            | EventKind::ServerRegistered
            | EventKind::PolicyActivated
    )
}

fn mentions(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}
