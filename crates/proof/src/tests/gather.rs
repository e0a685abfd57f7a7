//! What is looked up for a proof: its own records, however long the log is.

use std::collections::HashMap;

use aims_json::Object;
use aims_model::{Event, EventKind, Record, RecordName, Source};
use aims_types::{self as types, Id};

use crate::file::RECORDS_MAX;
use crate::testing::{Grown, World, at, chained, decision, log_key, verified};
use crate::{Gathering, ProofFile, SelectError};

/// What other tasks and the same task leave in the log: permits, outcomes, tokens, denials.
fn noise(count: u64) -> Vec<Event> {
    let event = |n: u64| {
        let body = Object::new()
            .with(
                "decision_id",
                Id::<types::Decision>::from_u128(900 + u128::from(n)).to_string(),
            )
            .with(
                "jti",
                Id::<types::Token>::from_u128(900 + u128::from(n)).to_string(),
            );
        let kinds = [
            EventKind::CallIntent,
            EventKind::CallOutcome,
            EventKind::TokenIssued,
            EventKind::CallDenied,
        ];
        let kind = kinds[usize::try_from(n % 4).unwrap()];
        Event::new(kind, at(30), body).of_task(Id::from_u128(u128::from(5 + n % 2)))
    };
    (0..count).map(event).collect()
}

/// The world's log with `count` records more: a half before the permit, a half after its outcome.
fn buried(world: &World, count: u64) -> Grown {
    let other = chained(Source::Gateway(Id::from_u128(78)), &noise(count));
    let (before, after) = other.split_at(other.len() / 2);
    let mut records = chained(Source::Server, &world.server);
    records.extend_from_slice(before);
    records.extend(chained(Source::Gateway(Id::from_u128(77)), &world.gateway));
    records.extend_from_slice(after);
    Grown::of(records)
}

/// The index of a log, and the proof that is made with it; gives how often it was looked into.
fn proof(world: &World, grown: &Grown) -> (ProofFile, usize) {
    let mut index: HashMap<RecordName, usize> = HashMap::new();
    for (place, bytes) in grown.records.iter().enumerate() {
        for name in RecordName::all_of(&Record::decode(bytes).unwrap().event) {
            index.entry(name).or_insert(place);
        }
    }
    let (log, mut asked) = (log_key(), 0);
    let mut gathering = Gathering::new(decision(), &log);
    while let Some(name) = gathering.wanted().unwrap() {
        asked += 1;
        let found = index.get(&name).map(|place| grown.included(*place));
        gathering.answer(name, found).unwrap();
    }
    let mut proof = world.proof();
    proof.checkpoint = grown.checkpoint.clone();
    proof.records = gathering.into_records();
    (proof, asked)
}

#[test]
fn a_proof_asks_for_its_own_records_and_no_other_however_long_the_log_is() {
    let world = World::new();
    let own = world.proof().records.len();
    for count in [0, 300, 20_000] {
        let (proof, asked) = proof(&world, &buried(&world, count));
        assert_eq!((asked, proof.records.len()), (own, own), "{count}");
        let shown = verified(&proof.to_bytes().unwrap()).unwrap();
        assert_eq!(shown.outcome.as_deref(), Some("ok"), "{count}");
    }
}

#[test]
fn a_permit_without_an_outcome_is_asked_about_once_more() {
    let mut world = World::new();
    world.gateway.truncate(1);
    let (proof, asked) = proof(&world, &buried(&world, 300));
    assert_eq!(asked, proof.records.len() + 1);
    assert_eq!(verified(&proof.to_bytes().unwrap()).unwrap().outcome, None);
}

#[test]
fn an_index_that_is_wrong_or_empty_gives_no_proof_and_an_end() {
    let world = World::new();
    let (grown, log) = (world.grown(), log_key());
    let names = |place: usize| {
        let record = Record::decode(&grown.records[place]).unwrap();
        RecordName::all_of(&record.event)
    };
    for wrong in [None, Some(0), Some(grown.records.len() - 1)] {
        let mut gathering = Gathering::new(decision(), &log);
        let mut answered = Ok(());
        let mut asked = 0;
        while answered.is_ok() && asked < RECORDS_MAX {
            let name = gathering.wanted().unwrap().unwrap();
            let honest = (0..grown.records.len()).find(|place| names(*place).contains(&name));
            // Honest about the permit and what it names first, then not any more.
            let place = if asked < 3 { honest } else { wrong };
            let found = place.map(|place| grown.included(place));
            answered = gathering.answer(name, found);
            asked += 1;
        }
        assert_eq!(asked, 4, "{wrong:?}");
        assert!(
            matches!(answered, Err(SelectError::Missing(_))),
            "{wrong:?}"
        );
    }
}
