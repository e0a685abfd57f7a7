//! Erasing what decisions used, up to what another process can read of it.

use std::path::Path;
use std::sync::Arc;

use aims_audit::Vault;
use aims_crypto::sha256;
use aims_json::Object;
use aims_keys::{KeyStore, MasterKey};
use aims_links::{Chain, Control, ShippedRecord};
use aims_model::material::Erasure;
use aims_model::record::FIRST_PREV;
use aims_model::{Event, EventKind, Material, Role, Source};
use aims_store::Store;
use aims_store_sqlite::SqliteStore;
use aims_types::ambient::SystemEntropy;
use aims_types::{Digest, Id, Task};

use super::joins::with_log;
use super::world::{Somebody, World, text};
use crate::{ControlPlane, Refused};

const MARKER: &str = "marker-in-an-argument";

/// A task with the chain that a gateway got for it, and what it shipped.
struct Case {
    world: World,
    mia: Somebody,
    plane: ControlPlane,
    task: Id<Task>,
    leaf: Digest,
    chain: Chain,
}

impl Case {
    async fn new() -> Self {
        let (world, mia) = World::ready().await;
        let running = world.running(&mia, "notes").await;
        let (plane, _) = with_log(&world).await;
        let leaf = sha256(running.grant.grant.as_bytes());
        let chain = plane.chain(leaf).await.unwrap().unwrap();
        Self {
            task: running.task,
            world,
            mia,
            plane,
            leaf,
            chain,
        }
    }

    /// The record of a permit, after another one, with what it used.
    fn permit(&self, seq: u64, prev: Digest) -> (ShippedRecord, Digest) {
        let used = format!("{{\"arguments\":\"{MARKER}\",\"n\":{seq}}}");
        let used = Material::new(used.into_bytes(), &SystemEntropy).unwrap();
        let body = Object::new().with("materials", used.commitment().to_string());
        let event = Event::new(EventKind::CallIntent, self.world.now(), body).of_task(self.task);
        let source = Source::Gateway(self.world.gateway_id);
        let key = &self.chain.materials;
        let shipped = ShippedRecord {
            seq,
            record: event.encode(source, seq, prev).unwrap(),
            material: Some(key.seal(self.task, &used, &SystemEntropy).unwrap()),
        };
        (shipped, used.commitment())
    }

    async fn ship(&self, record: ShippedRecord) {
        let seq = record.seq;
        let taken = self.plane.records_ship(self.world.gateway_id, vec![record]);
        assert_eq!(taken.await.unwrap(), seq);
    }

    async fn erase(&self, by: &Somebody, reason: &str) -> Result<Erasure, &'static str> {
        let cx = self.world.cx(by);
        let done = self.plane.task_erase(&cx, self.task, reason).await;
        done.map_err(|error| error.code())
    }

    /// What another process reads that has the file and the master key.
    async fn elsewhere(&self, commitment: &Digest) -> Option<Material> {
        let directory = self.world.directory();
        let store = SqliteStore::open(directory.join("aims.db")).await.unwrap();
        let master = MasterKey::load(&directory.join("master")).unwrap();
        let keys = KeyStore::open(&directory.join("keys"), master, &SystemEntropy).unwrap();
        let vault = Vault::new(Arc::new(keys), Arc::new(SystemEntropy));
        let mut reader = store.read().await.unwrap();
        vault.material(reader.as_mut(), commitment).await.unwrap()
    }
}

/// Whether the bytes are in the store's file or beside it.
fn on_disk(directory: &Path, bytes: &[u8]) -> bool {
    let files = std::fs::read_dir(directory).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    files.any(|file| {
        let is_store = file.to_string_lossy().contains("aims.db");
        let held = is_store.then(|| std::fs::read(file).unwrap());
        held.is_some_and(|held| held.windows(bytes.len()).any(|window| window == bytes))
    })
}

#[tokio::test]
async fn what_was_used_is_read_with_the_key_and_gone_without_it() {
    let case = Case::new().await;
    let (first, used) = case.permit(1, FIRST_PREV);
    let head = sha256(&first.record);
    let sealed = first.material.clone().unwrap();
    case.ship(first).await;
    let read = case.elsewhere(&used).await.unwrap();
    assert!(String::from_utf8(read.bytes).unwrap().contains(MARKER));
    let directory = case.world.directory();
    let secrets = [MARKER.as_bytes(), &read.salt, case.chain.materials.expose()];
    assert!(secrets.iter().all(|secret| !on_disk(directory, secret)));
    assert!(on_disk(directory, &sealed));
    assert_eq!(case.erase(&case.mia, "r").await, Err("task_not_ended"));
    let cx = case.world.cx(&case.mia);
    case.plane.task_end(&cx, case.task).await.unwrap();
    let gone = Erasure {
        task: case.task,
        materials: Some(1),
        scrubbed: true,
    };
    assert_eq!(case.erase(&case.mia, "she asked for it").await, Ok(gone));
    assert!(!on_disk(directory, &sealed));
    assert_eq!(case.elsewhere(&used).await, None);
    // A gateway that was away: its record is taken, what it used is not.
    let (late, late_used) = case.permit(2, head);
    case.ship(late).await;
    assert_eq!(case.elsewhere(&late_used).await, None);
    assert!(case.plane.chain(case.leaf).await.unwrap().is_none());
}

#[tokio::test]
async fn an_erasure_is_recorded_once_with_who_and_why() {
    let case = Case::new().await;
    let cx = case.world.cx(&case.mia);
    case.plane.task_end(&cx, case.task).await.unwrap();
    for bad in ["", "a\u{202e}b"] {
        assert_eq!(case.erase(&case.mia, bad).await, Err("bad_reason"));
    }
    for materials in [Some(0), None, None] {
        let erasure = case.erase(&case.mia, "she asked for it").await.unwrap();
        assert_eq!((erasure.materials, erasure.scrubbed), (materials, true));
    }
    let records = case.world.records_of(EventKind::TaskErased).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].event.task, Some(case.task));
    assert_eq!(text(&records[0], "by"), case.mia.id.to_string());
    assert_eq!(text(&records[0], "reason"), "she asked for it");
}

#[tokio::test]
async fn only_operators_and_the_owner_of_the_agent_erase() {
    let case = Case::new().await;
    let world = &case.world;
    case.plane
        .task_end(&world.cx(&case.mia), case.task)
        .await
        .unwrap();
    for (name, role, refusal) in [
        ("max", Role::Member, "unknown_task"),
        ("ada", Role::Auditor, "role_not_allowed"),
        ("judge", Role::Approver, "role_not_allowed"),
    ] {
        let somebody = world.enrol(name, role).await;
        assert_eq!(case.erase(&somebody, "why").await, Err(refusal), "{name}");
    }
    assert_eq!(world.records_of(EventKind::TaskErased).await.len(), 0);
    assert!(case.erase(&world.operator, "why").await.is_ok());
}
