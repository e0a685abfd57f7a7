//! What a proof shows, and that nothing else passes for one.

mod attacks;
mod bits;
mod gather;
mod witnesses;

use aims_json::Object;
use aims_model::EventKind;

use crate::testing::{Grown, World, at, chained, log_key, verified};
use crate::{Rerun, Trust, VerifyError, verify};

#[test]
fn a_proof_shows_who_acted_on_whose_behalf_and_decides_again() {
    let world = World::new();
    let shown = verified(&world.bytes()).unwrap();
    assert_eq!(shown.rerun, Rerun::Same);
    assert_eq!(shown.person_name.as_str(), "alice");
    let what = (shown.action.as_str(), shown.resource.as_str());
    assert_eq!(what, ("tools/call", "fs/write_file"));
    let agents: Vec<&str> = shown.chain.iter().map(|hop| hop.agent.as_str()).collect();
    let spiffe = ["notes", "scribe"].map(|name| format!("spiffe://aims.test/agent/{name}"));
    assert_eq!(agents, spiffe);
    assert_eq!(shown.approval.unwrap().reason, "as discussed");
    assert_eq!(shown.outcome.as_deref(), Some("ok"));
    // Carol has nothing to do with it.
    let grown = world.grown();
    assert_eq!(
        (shown.log.records as u64, shown.log.size),
        (grown.size - 1, grown.size)
    );
}

#[test]
fn what_was_erased_is_included_and_not_re_runnable() {
    let world = World::new();
    let mut proof = world.proof();
    proof.used = None;
    let shown = verified(&proof.to_bytes().unwrap()).unwrap();
    assert_eq!(shown.rerun, Rerun::NotRerunnable);
    assert_eq!(shown.approval.unwrap().reason, "as discussed");
}

#[test]
fn a_file_is_written_as_it_is_read() {
    let bytes = World::new().bytes();
    let read = crate::ProofFile::parse(&bytes).unwrap();
    assert_eq!(read.to_bytes().unwrap(), bytes);
}

/// The log as it was before, and as it is now with more records.
fn before_and_after() -> (World, Grown, Grown) {
    let world = World::new();
    let older = Grown::of(world.grown().records[..9].to_vec());
    let mut more = World::new();
    let ended = Object::new().with("task", "over");
    more.gateway = world.gateway.clone();
    more.server = world.server.clone();
    let newer = {
        let mut records = world.grown().records;
        let event = aims_model::Event::new(EventKind::CallDenied, at(40), ended);
        records.extend(chained(
            aims_model::Source::Gateway(aims_types::Id::from_u128(78)),
            &[event],
        ));
        Grown::of(records)
    };
    (world, older, newer)
}

fn kept(bytes: &[u8], kept: &Grown) -> Result<crate::Verified, VerifyError> {
    let log = log_key();
    let trust = Trust {
        log: &log,
        witnesses: &[],
        kept: Some(&kept.checkpoint),
    };
    verify(bytes, &trust)
}

#[test]
fn a_kept_checkpoint_shows_a_tail_cut_off_and_a_second_tree() {
    let (world, older, newer) = before_and_after();
    let grown = world.grown();
    let mut proof = world.proof();
    let plain = proof.to_bytes().unwrap();
    assert!(kept(&plain, &grown).unwrap().log.kept);
    let size = |grown: &Grown| grown.size;
    let error = kept(&plain, &older).unwrap_err();
    assert!(matches!(error, VerifyError::NotSinceKept { kept } if kept == size(&older)));
    // Whoever kept a later checkpoint sees that the log of the file is shorter.
    let error = kept(&plain, &newer).unwrap_err();
    assert!(matches!(error, VerifyError::KeptIsNewer { kept, .. } if kept == size(&newer)));
    proof.since = Some(grown.since(&older));
    let shown = kept(&proof.to_bytes().unwrap(), &older).unwrap();
    assert_eq!((shown.log.since, shown.log.kept), (Some(older.size), true));

    // The same records, another one first: two trees of one size, both signed by the log.
    for from in [&grown, &older] {
        let mut records = from.records.clone();
        records[8] = records[7].clone();
        let other = Grown::of(records);
        assert_eq!(other.size, from.size);
        let error = kept(&proof.to_bytes().unwrap(), &other).unwrap_err();
        assert!(
            matches!(error, VerifyError::TwoTrees { size } if size == from.size),
            "{error}"
        );
    }
}

#[test]
fn a_log_that_was_rewritten_before_the_earlier_checkpoint_is_refused() {
    let (world, older, _) = before_and_after();
    let mut records = older.records.clone();
    records.swap(6, 7);
    let rewritten = Grown::of(records);
    let mut proof = world.proof();
    let mut since = world.grown().since(&older);
    since.checkpoint = rewritten.checkpoint;
    proof.since = Some(since);
    let error = verified(&proof.to_bytes().unwrap()).unwrap_err();
    assert!(matches!(error, VerifyError::Rewritten(_)), "{error}");
}
