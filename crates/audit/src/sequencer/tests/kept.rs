//! What decisions used: kept sealed, checked, erased.

use std::path::Path;

use aims_model::material::MaterialError;
use aims_model::{Material, MaterialKey};
use aims_store::SealedMaterial;
use aims_types::ambient::SystemEntropy;
use aims_types::{Digest, Task};
use tokio::task::JoinSet;

use super::*;
use crate::testing::{intent, intent_with, task};
use crate::{TaskKey, VaultError};

const MARKER: &str = "marker-in-an-argument";

fn used(n: u64) -> Material {
    let bytes = format!("{{\"arguments\":\"{MARKER}\",\"n\":{n}}}");
    Material::new(bytes.into_bytes(), &SystemEntropy).unwrap()
}

async fn key(bench: &Bench, task: Id<Task>) -> MaterialKey {
    let mut txn = bench.store.begin().await.unwrap();
    let key = bench.vault.key_or_new(txn.as_mut(), task).await.unwrap();
    txn.commit(Vec::new()).await.unwrap();
    key.unwrap()
}

async fn erase(bench: &Bench, task: Id<Task>) -> Option<u64> {
    let mut txn = bench.store.begin().await.unwrap();
    let erased = txn.task_erase(task).await.unwrap();
    txn.commit(Vec::new()).await.unwrap();
    erased
}

/// The events as shipped, the first of them with this.
fn with(events: &[Event], material: Vec<u8>) -> Vec<Shipped> {
    let mut shipped = shipped(gateway(), events);
    shipped[0].material = Some(material);
    shipped
}

/// Intents, each shipped with what it used.
fn permits(key: &MaterialKey, used: &[Material]) -> Vec<Shipped> {
    let events: Vec<Event> = (1..)
        .zip(used)
        .map(|(n, one)| intent_with(n, one))
        .collect();
    let mut shipped = shipped(gateway(), &events);
    for (one, used) in shipped.iter_mut().zip(used) {
        one.material = Some(key.seal(task(), used, &SystemEntropy).unwrap());
    }
    shipped
}

async fn kept(bench: &Bench, commitment: &Digest) -> Result<Option<Material>, VaultError> {
    let mut reader = bench.store.read().await.unwrap();
    bench.vault.material(reader.as_mut(), commitment).await
}

/// Whether the bytes are in any file of the store.
fn on_disk(directory: &Path, bytes: &[u8]) -> bool {
    let mut files = std::fs::read_dir(directory.join("state")).unwrap();
    files.any(|file| {
        let file = std::fs::read(file.unwrap().path()).unwrap();
        file.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test]
async fn material_is_kept_only_if_the_record_commits_to_it() {
    let bench = Bench::new().await;
    let sequencer = bench.sequencer().await;
    bench.commit(server_events()).await;
    let used = used(1);
    let sealed = |key: &MaterialKey, of: Id<Task>, used| {
        let sealed = key.seal(of, used, &SystemEntropy);
        sealed.unwrap()
    };
    let good = [intent_with(1, &used)];
    let (key, foreign) = (
        key(&bench, task()).await,
        key(&bench, Id::from_u128(2)).await,
    );
    let mut no_task = good.clone();
    no_task[0].task = None;
    let right = sealed(&key, task(), &used);
    let bad = [
        with(&good, sealed(&key, task(), &super::kept::used(1))),
        with(&good, sealed(&key, Id::from_u128(2), &used)),
        with(&good, sealed(&foreign, task(), &used)),
        with(&good, [&used.salt[..], &used.bytes].concat()),
        with(&good, right[..right.len() - 1].to_vec()),
        with(&good, Vec::new()),
        with(&[intent(1, "read_file")], right.clone()),
        with(&no_task, right.clone()),
    ];
    for shipped in bad {
        let error = sequencer.take(gateway(), shipped).await.unwrap_err();
        assert!(matches!(error, TakeError::Material { seq: 1 }), "{error:?}");
    }
    let taken = sequencer.take(gateway(), with(&good, right)).await.unwrap();
    assert_eq!(taken, 1);
    let found = kept(&bench, &used.commitment()).await.unwrap();
    assert_eq!(found, Some(used));
}

#[tokio::test]
async fn a_record_is_taken_though_the_key_is_lost_with_a_restored_store() {
    let bench = Bench::new().await;
    let sequencer = bench.sequencer().await;
    bench.commit(server_events()).await;
    let (lost, used) = (MaterialKey::generate(&SystemEntropy).unwrap(), [used(1)]);
    let taken = sequencer.take(gateway(), permits(&lost, &used)).await;
    assert_eq!(taken.unwrap(), 1);
    assert_eq!(kept(&bench, &used[0].commitment()).await.unwrap(), None);
}

#[tokio::test]
async fn neither_argument_nor_salt_nor_key_is_on_disk_in_the_clear() {
    let bench = Bench::new().await;
    let sequencer = bench.sequencer().await;
    bench.commit(server_events()).await;
    let key = key(&bench, task()).await;
    let used: Vec<Material> = (0..20).map(used).collect();
    let shipped = permits(&key, &used);
    sequencer.take(gateway(), shipped.clone()).await.unwrap();
    for folded in [false, true] {
        assert!(!folded || bench.store.scrub().await.unwrap());
        assert!(!on_disk(bench.dir.path(), MARKER.as_bytes()));
        assert!(!on_disk(bench.dir.path(), key.expose()));
        for (used, shipped) in used.iter().zip(&shipped) {
            assert!(!on_disk(bench.dir.path(), &used.salt));
            let sealed = shipped.material.as_ref().unwrap();
            assert!(on_disk(bench.dir.path(), &sealed[..64]), "only sealed");
        }
    }
    assert_eq!(erase(&bench, task()).await, Some(20));
    assert!(bench.store.scrub().await.unwrap());
    for shipped in &shipped {
        let sealed = shipped.material.as_ref().unwrap();
        assert!(!on_disk(bench.dir.path(), &sealed[..64]), "not even sealed");
    }
}

#[tokio::test]
async fn what_is_stored_under_another_commitment_or_task_is_not_believed() {
    let bench = Bench::new().await;
    let (one, other) = (key(&bench, task()).await, Id::from_u128(2));
    key(&bench, other).await;
    let (first, second, third) = (used(1), used(2), used(3));
    let sealed = one.seal(task(), &first, &SystemEntropy).unwrap();
    // As who can write to the file, but has no key, might move them.
    let mut txn = bench.store.begin().await.unwrap();
    for (task, of) in [(task(), &second), (other, &third)] {
        let moved = SealedMaterial {
            task,
            commitment: of.commitment(),
            sealed: sealed.clone(),
        };
        txn.material_insert(&moved).await.unwrap();
    }
    txn.commit(Vec::new()).await.unwrap();
    for moved in [second, third] {
        let error = kept(&bench, &moved.commitment()).await.unwrap_err();
        let reason = matches!(
            error,
            VaultError::Material {
                reason: MaterialError::Sealed(_),
                ..
            }
        );
        assert!(reason, "{error}");
    }
}

#[tokio::test]
async fn what_comes_after_the_erasure_is_dropped_and_its_record_stays() {
    let bench = Bench::new().await;
    let sequencer = bench.sequencer().await;
    bench.commit(server_events()).await;
    let key = key(&bench, task()).await;
    let used: Vec<Material> = (0..3).map(used).collect();
    let shipped = permits(&key, &used);
    let first = shipped[..1].to_vec();
    sequencer.take(gateway(), first).await.unwrap();
    assert_eq!(erase(&bench, task()).await, Some(1));
    // What a gateway that was away still has, and what it ships once more.
    assert_eq!(sequencer.take(gateway(), shipped).await.unwrap(), 3);
    for used in &used {
        assert_eq!(kept(&bench, &used.commitment()).await.unwrap(), None);
    }
    assert_eq!(erase(&bench, task()).await, None);
    let mut txn = bench.store.begin().await.unwrap();
    let again = bench.vault.key_or_new(txn.as_mut(), task()).await.unwrap();
    assert!(again.is_none(), "an erased task gets no other key");
    drop(txn);
    let report = bench.check().await;
    assert_eq!(report.sources[&Source::Gateway(gateway())].records, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_comes_while_a_task_is_erased_is_erased() {
    for _ in 0..5 {
        let bench = Arc::new(Bench::new().await);
        let sequencer = Arc::new(bench.sequencer().await);
        bench.commit(server_events()).await;
        let key = key(&bench, task()).await;
        let used: Vec<Material> = (0..9).map(used).collect();
        let shipped = permits(&key, &used);
        let mut taking = JoinSet::new();
        taking.spawn({
            let sequencer = Arc::clone(&sequencer);
            async move {
                for one in shipped {
                    sequencer.take(gateway(), vec![one]).await.unwrap();
                }
            }
        });
        let erased = erase(&bench, task()).await;
        taking.join_all().await;
        assert!(erased.is_some());
        let mut reader = bench.store.read().await.unwrap();
        for used in &used {
            let row = reader.material(&used.commitment()).await.unwrap();
            assert_eq!(row, None, "not even cipher text");
        }
        let state = bench.vault.key(reader.as_mut(), task()).await.unwrap();
        assert!(matches!(state, TaskKey::Erased));
        drop(reader);
        let report = bench.check().await;
        assert_eq!(report.sources[&Source::Gateway(gateway())].records, 9);
    }
}
