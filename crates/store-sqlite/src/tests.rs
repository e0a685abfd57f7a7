//! The engine holds the contract, and what only this engine can get wrong.

mod erasure;
mod file;
mod names;
mod trouble;

use std::sync::Arc;

use aims_store::{Store, conformance};

use crate::SqliteStore;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_engine_holds_every_claim_of_the_contract() {
    let fresh = || async {
        let store = SqliteStore::open_in_memory().await.unwrap();
        Arc::new(store) as Arc<dyn Store>
    };
    if let Err(failures) = conformance::run(fresh).await {
        panic!("{failures}");
    }
}
