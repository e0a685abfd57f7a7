//! A log is checked one bundle after the other: nothing slips through where one ends.

use super::*;

/// Full bundles, and a few entries more.
const SIZE: usize = 2 * TILE_WIDTH as usize + 3;

/// A log with denials up to [`SIZE`].
fn long() -> Vec<Vec<u8>> {
    let mut events = gateway_events();
    let denials = SIZE - server_events().len() - events.len();
    events.extend((0..).map(|n| denial(n + 1000)).take(denials));
    let mut all = records(Source::Server, &server_events());
    all.extend(records(Source::Gateway(gateway()), &events));
    assert_eq!(all.len(), SIZE);
    all
}

/// The last and the first entries of neighbouring bundles, and those beside them.
fn borders() -> impl Iterator<Item = usize> {
    let width = usize::from(TILE_WIDTH);
    [width, 2 * width]
        .into_iter()
        .flat_map(|border| border - 2..border + 2)
}

/// The index at which the chain is found to be broken.
fn broken(all: &[Vec<u8>]) -> usize {
    match problem(check(&Log::of(all))) {
        (index, Problem::Chain { .. }) => usize::try_from(index).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// What is done to the entries of two neighbouring bundles.
type Change = fn(&mut Vec<Entry>, &mut Vec<Entry>);

#[test]
fn a_record_dropped_moved_doubled_or_rewritten_at_a_border_is_found_in_a_log_signed_again() {
    let all = long();
    check(&Log::of(&all)).unwrap();
    for place in borders() {
        let mut dropped = all.clone();
        dropped.remove(place);
        assert_eq!(broken(&dropped), place, "dropped");
        let mut doubled = all.clone();
        doubled.insert(place, all[place].clone());
        assert_eq!(broken(&doubled), place + 1, "doubled");
        let mut swapped = all.clone();
        swapped.swap(place, place + 1);
        assert_eq!(broken(&swapped), place, "swapped");
        // Under its own number and predecessor, so that only the next record shows it.
        let mut rewritten = all.clone();
        let record = Record::decode(&all[place]).unwrap();
        let bytes = denial(7).encode(record.source, record.seq, record.prev);
        rewritten[place] = bytes.unwrap();
        assert_eq!(broken(&rewritten), place + 1, "rewritten");
    }
}

#[test]
fn a_whole_bundle_dropped_moved_or_doubled_is_found_in_a_log_signed_again() {
    let (all, width) = (long(), usize::from(TILE_WIDTH));
    let bundles: Vec<Vec<Vec<u8>>> = all.chunks(width).map(<[_]>::to_vec).collect();
    for (order, at) in [
        (&[0, 2][..], width),
        (&[0, 2, 1], width),
        (&[0, 1, 1, 2], 2 * width),
        (&[1, 2], 0),
    ] {
        let records: Vec<Vec<u8>> = order.iter().flat_map(|n| bundles[*n].clone()).collect();
        assert_eq!(broken(&records), at, "{order:?}");
    }
}

#[test]
fn entries_moved_over_a_border_of_the_signed_files_are_found() {
    let good = Log::of(&long());
    let path = |index| TilePath::in_tree(Kind::Entries, index, SIZE as u64).unwrap();
    for border in [1, 2] {
        let (left, right) = (path(border - 1), path(border));
        let read = |path| decode_bundle(&good.files[path]).unwrap();
        let changes: [Change; 4] = [
            |left, right| right.insert(0, left.pop().unwrap()),
            |left, right| left.push(right.remove(0)),
            |left, right| std::mem::swap(left.last_mut().unwrap(), &mut right[0]),
            std::mem::swap,
        ];
        for (n, change) in changes.iter().enumerate() {
            let (mut one, mut other) = (read(&left), read(&right));
            change(&mut one, &mut other);
            let mut log = Log::of(&long());
            log.files.insert(left, aims_tlog::encode_bundle(&one));
            log.files.insert(right, aims_tlog::encode_bundle(&other));
            let checked = check(&log);
            assert!(
                matches!(checked, Err(CheckError::Tree(_))),
                "{border}, change {n}"
            );
        }
    }
}
