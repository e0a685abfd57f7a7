//! Folding, taking, races, crashes.

mod kept;
mod others;

use aims_json::Object;
use aims_model::{Event, EventKind};
use aims_store::Store;
use aims_types::{Gateway, Id};
use proptest::prelude::*;

use super::*;
use crate::testing::{
    Bench, denial, event, gateway, gateway_events, records, server_events, shipped, signer,
};

/// A name, what is shipped, and whether the error is the right one.
type Case = (&'static str, Vec<Shipped>, fn(&TakeError) -> bool);

fn note(n: u64) -> Event {
    event(EventKind::PolicyActivated, n, Object::new().with("n", n))
}

fn denials(count: u64) -> Vec<Event> {
    (0..count).map(|n| denial(u128::from(n) + 1000)).collect()
}

#[tokio::test]
async fn the_outbox_becomes_a_log_that_checks() {
    let bench = Bench::new().await;
    let sequencer = bench.sequencer().await;
    assert_eq!(
        sequencer.fold().await.unwrap(),
        None,
        "nothing happened yet"
    );
    bench.commit(server_events()).await;
    let head = sequencer.fold().await.unwrap().unwrap();
    assert_eq!(
        sequencer.fold().await.unwrap(),
        Some(head.clone()),
        "nothing new"
    );
    let report = bench.check().await;
    assert_eq!((report.size, report.root), (head.size, head.root));
    assert_eq!(report.sources[&Source::Server].records, head.size);
    assert_eq!(
        (report.claimed.grants_verified, report.claimed.keys.len()),
        (1, 3)
    );
}

#[tokio::test]
async fn a_backlog_of_any_length_is_folded_before_what_a_gateway_ships() {
    let bench = Bench::new().await;
    let sequencer = bench.sequencer().await;
    let backlog = u64::from(FOLD_LEN_MAX) + 5;
    let mut events: Vec<Event> = (0..backlog).map(note).collect();
    events.extend(server_events());
    bench.commit(events).await;
    let taken = sequencer
        .take(gateway(), shipped(gateway(), &gateway_events()))
        .await
        .unwrap();
    assert_eq!(taken, 4);
    let report = bench.check().await;
    assert_eq!(
        (
            report.claimed.permits_verified,
            report.claimed.open_intents.len()
        ),
        (2, 1)
    );
}

#[tokio::test]
async fn a_gateways_records_are_taken_once_however_often_they_are_shipped() {
    let bench = Bench::new().await;
    let sequencer = bench.sequencer().await;
    bench.commit(server_events()).await;
    let all = shipped(gateway(), &gateway_events());
    assert_eq!(
        sequencer.take(gateway(), all[..2].to_vec()).await.unwrap(),
        2
    );
    assert_eq!(
        sequencer.take(gateway(), all[..1].to_vec()).await.unwrap(),
        2
    );
    assert_eq!(
        sequencer.take(gateway(), all[1..].to_vec()).await.unwrap(),
        4
    );
    assert_eq!(sequencer.take(gateway(), all.clone()).await.unwrap(), 4);
    assert_eq!(sequencer.take(gateway(), Vec::new()).await.unwrap(), 4);
    assert_eq!(sequencer.head_of(gateway()).await.unwrap(), 4);
    let report = bench.check().await;
    assert_eq!(report.sources[&Source::Gateway(gateway())].records, 4);
}

#[tokio::test]
async fn records_that_do_not_continue_the_chain_are_refused_and_nothing_is_taken() {
    let bench = Bench::new().await;
    let sequencer = bench.sequencer().await;
    bench.commit(server_events()).await;
    sequencer
        .take(gateway(), shipped(gateway(), &denials(2)))
        .await
        .unwrap();
    let good = shipped(gateway(), &denials(5));
    let changed = |from: usize, change: &dyn Fn(&mut Vec<Event>)| {
        let mut events = denials(5);
        change(&mut events);
        shipped(gateway(), &events)[from..].to_vec()
    };
    let other: Id<Gateway> = Id::from_u128(78);
    let mut renumbered = good[2..].to_vec();
    renumbered[0].seq = 4;
    let mut cut = good[2..].to_vec();
    cut[0].record.pop();
    let enrols = |events: &mut Vec<Event>| events[3] = server_events()[1].clone();
    let cases: [Case; 9] = [
        ("gap", good[3..].to_vec(), |e| {
            matches!(e, TakeError::Broken { seq: 4 })
        }),
        ("gap within", vec![good[2].clone(), good[4].clone()], |e| {
            matches!(e, TakeError::Broken { seq: 5 })
        }),
        (
            "rewritten before",
            changed(2, &|events| events[1] = denial(7)),
            |e| matches!(e, TakeError::Broken { seq: 3 }),
        ),
        (
            "rewritten and replayed",
            changed(0, &|events| events[0] = denial(7)),
            |e| matches!(e, TakeError::Broken { seq: 2 }),
        ),
        ("order", vec![good[3].clone(), good[2].clone()], |e| {
            matches!(e, TakeError::Broken { seq: 3 })
        }),
        ("foreign", shipped(other, &denials(5))[2..].to_vec(), |e| {
            matches!(e, TakeError::Foreign { seq: 3 })
        }),
        ("number", renumbered, |e| {
            matches!(e, TakeError::Foreign { seq: 4 })
        }),
        ("not canonical", cut, |e| {
            matches!(e, TakeError::Malformed { seq: 3, .. })
        }),
        ("not its kind", changed(2, &enrols), |e| {
            matches!(e, TakeError::Kind { seq: 4, .. })
        }),
    ];
    for (name, batch, expected) in cases {
        let error = sequencer.take(gateway(), batch).await.unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
        assert_eq!(sequencer.head_of(gateway()).await.unwrap(), 2, "{name}");
    }
    assert_eq!(sequencer.take(gateway(), good).await.unwrap(), 5);
    bench.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_sequencers_keep_one_tree_and_lose_and_double_nothing() {
    let bench = Bench::new().await;
    bench.commit(server_events()).await;
    let sequencers = [bench.sequencer().await, bench.sequencer().await];
    let all = shipped(gateway(), &denials(40));
    let ship = async |sequencer: &Sequencer| {
        for upto in 1..=all.len() {
            sequencer
                .take(gateway(), all[..upto].to_vec())
                .await
                .unwrap();
        }
    };
    let fold = async |sequencer: &Sequencer| {
        for n in 0..40 {
            bench.commit(vec![note(n)]).await;
            sequencer.fold().await.unwrap();
        }
    };
    let [one, two] = &sequencers;
    tokio::join!(ship(one), ship(two), fold(one), fold(two));
    one.fold().await.unwrap();
    let report = bench.check().await;
    assert_eq!(report.sources[&Source::Gateway(gateway())].records, 40);
    let server = u64::try_from(server_events().len()).unwrap() + 80;
    assert_eq!(report.sources[&Source::Server].records, server);
    assert_eq!(report.size, server + 40);
}

#[tokio::test]
async fn tiles_that_no_checkpoint_promised_are_written_anew_after_a_crash() {
    let bench = Bench::new().await;
    let sequencer = bench.sequencer().await;
    bench.commit(server_events()).await;
    sequencer.fold().await.unwrap();
    let before = bench.checkpoint().await;
    // What a process leaves that dies between its tiles and its commit: more entries, other ones.
    let lost = records(Source::Gateway(gateway()), &denials(400));
    let lost = lost.into_iter().map(|record| Entry::new(record).unwrap());
    let growth = sequencer.tree.lock().await.append(lost).unwrap();
    bench.tiles().write_all(&growth.files).unwrap();
    drop(sequencer);

    let sequencer = bench.sequencer().await;
    assert_eq!(bench.checkpoint().await, before);
    bench.check().await;
    bench.commit((0..300).map(note).collect()).await;
    sequencer.fold().await.unwrap();
    let report = bench.check().await;
    assert_eq!(report.sources.len(), 1);
    let checkpoint = bench.checkpoint().await;
    let key = signer().verifier_key().clone();
    crate::check_extends(&bench.tiles(), &before, &checkpoint, &key).unwrap();
}

#[tokio::test]
async fn a_restarted_sequencer_goes_on_where_the_log_ended() {
    let bench = Bench::new().await;
    bench.commit(server_events()).await;
    for round in 0..3_usize {
        let sequencer = bench.sequencer().await;
        let upto = (round + 1) * 150;
        let all = shipped(gateway(), &denials(450));
        sequencer
            .take(gateway(), all[round * 150..upto].to_vec())
            .await
            .unwrap();
    }
    let report = bench.check().await;
    assert_eq!(report.sources[&Source::Gateway(gateway())].records, 450);
}

#[tokio::test]
async fn a_log_whose_tiles_were_lost_or_changed_is_not_opened() {
    let bench = Bench::new().await;
    bench.commit(server_events()).await;
    bench.sequencer().await.fold().await.unwrap();
    let open = async || {
        let store = Arc::clone(&bench.store) as Arc<dyn Store>;
        Sequencer::open(store, signer(), bench.tiles(), bench.vault.clone())
            .await
            .map(drop)
    };
    let kept = bench.dir.path().join("kept");
    std::fs::rename(bench.dir.path().join("tiles"), &kept).unwrap();
    assert!(matches!(open().await, Err(OpenError::Tiles(_))));
    std::fs::rename(&kept, bench.dir.path().join("tiles")).unwrap();
    open().await.unwrap();
    let other = crate::testing::Log::of_events(&[note(1)], &[]);
    let size = server_events().len();
    let file = bench.dir.path().join(format!("tiles/tile/0/000.p/{size}"));
    let bytes = other.files.values().next().unwrap().repeat(size);
    std::fs::write(&file, &bytes[..size * 32]).unwrap();
    assert!(matches!(open().await, Err(OpenError::Tiles(_))));
}

#[test]
fn every_kind_has_somebody_who_may_write_it() {
    for kind in EventKind::ALL {
        let sources = [Source::Server, Source::Gateway(gateway())];
        assert!(
            sources
                .iter()
                .any(|source| aims_proof::may_write(*source, *kind)),
            "{kind}"
        );
    }
}

/// What a random stream does.
#[derive(Debug, Clone)]
enum Step {
    Commit(u8),
    Fold,
    Ship(u8),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0_u8..20).prop_map(Step::Commit),
        Just(Step::Fold),
        (0_u8..20).prop_map(Step::Ship),
        Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_stream_of_records_folds_and_checks(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new().await;
            bench.commit(server_events()).await;
            let all = shipped(gateway(), &denials(512));
            let mut sequencer = bench.sequencer().await;
            let (mut written, mut sent) = (server_events().len(), 0);
            for step in steps {
                match step {
                    Step::Commit(count) => {
                        bench.commit((0..u64::from(count)).map(note).collect()).await;
                        written += usize::from(count);
                    }
                    Step::Fold => drop(sequencer.fold().await.unwrap()),
                    Step::Ship(count) => {
                        // Some that were sent before, too.
                        let from = sent - sent.min(usize::from(count) / 2);
                        sent += usize::from(count);
                        sequencer.take(gateway(), all[from..sent].to_vec()).await.unwrap();
                    }
                    Step::Restart => sequencer = bench.sequencer().await,
                }
            }
            sequencer.fold().await.unwrap();
            let report = bench.check().await;
            assert_eq!(report.size, u64::try_from(written + sent).unwrap());
        });
    }
}
