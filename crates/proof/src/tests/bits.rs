//! Every bit of every byte, flipped.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;

use crate::testing::{World, verified};

/// Flips each bit of each byte whose place leaves `rest` when divided by `of`, and says what each
/// kind of refusal begins with, and how often.
fn refusals(bytes: &[u8], (rest, of): (usize, usize)) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut changed = bytes.to_vec();
    for place in (rest..bytes.len()).step_by(of) {
        for flip in (0..8).map(|bit| 1 << bit) {
            changed[place] ^= flip;
            match verified(&changed) {
                Ok(_) => panic!("{flip} in byte {place} passes: `{}`", around(bytes, place)),
                Err(error) => {
                    let said = error.to_string();
                    assert!(!said.is_empty());
                    let begin: String = said.chars().take_while(|c| !c.is_ascii_digit()).collect();
                    *found.entry(begin.chars().take(24).collect()).or_default() += 1;
                }
            }
            changed[place] ^= flip;
        }
    }
    found
}

fn around(bytes: &[u8], place: usize) -> String {
    let (from, to) = (place.saturating_sub(30), (place + 30).min(bytes.len()));
    String::from_utf8_lossy(&bytes[from..to]).into_owned()
}

#[test]
fn every_flipped_bit_of_every_byte_is_refused_and_says_what_failed() {
    let world = World::new();
    let mut proof = world.proof();
    let older = crate::testing::Grown::of(world.grown().records[..9].to_vec());
    proof.since = Some(world.grown().since(&older));
    let bytes = proof.to_bytes().unwrap();
    verified(&bytes).unwrap();
    let all: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for n in 0..threads {
            let (bytes, all) = (&bytes, &all);
            scope.spawn(move || {
                for (said, count) in refusals(bytes, (n, threads)) {
                    *all.lock().unwrap().entry(said).or_default() += count;
                }
            });
        }
    });
    let all = all.into_inner().unwrap();
    assert_eq!(all.values().sum::<usize>(), 8 * bytes.len());
    // Not all for one reason: the form, the checkpoint, the places, the material, the policy.
    assert!(all.len() > 8, "{all:#?}");
}

#[test]
fn what_is_left_out_or_added_anywhere_is_refused() {
    let bytes = World::new().bytes();
    for place in (0..bytes.len()).step_by(97) {
        let mut shorter = bytes.clone();
        shorter.remove(place);
        assert!(verified(&shorter).is_err(), "without byte {place}");
        for extra in [b' ', b'0', b'\n', b'"'] {
            let mut longer = bytes.clone();
            longer.insert(place, extra);
            assert!(verified(&longer).is_err(), "with a byte more at {place}");
        }
        assert!(verified(&bytes[..place]).is_err(), "cut at {place}");
    }
    assert!(verified(&[&bytes[..], b"\n"].concat()).is_err());
    assert!(verified(&[&bytes[..], &bytes[..]].concat()).is_err());
}
