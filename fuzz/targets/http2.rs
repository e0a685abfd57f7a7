//! Streams of HTTP/2 frames: however they are cut, what goes on is as long as what came and differs
//! from it in nothing but characters of an authority.
#![no_main]

#[path = "../../crates/workload/src/authority.rs"]
#[allow(dead_code)]
mod authority;

use authority::Incoming;
use libfuzzer_sys::fuzz_target;

fn through<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut incoming, mut all) = (Incoming::default(), Vec::new());
    for piece in pieces {
        incoming.arrived(piece);
        all.extend(incoming.take(7));
    }
    incoming.ended();
    all.extend(incoming.take(usize::MAX));
    all
}

fuzz_target!(|bytes: &[u8]| {
    let whole = through(std::iter::once(bytes));
    assert_eq!(whole, through(bytes.chunks(1)));
    assert_eq!(whole, through(bytes.chunks(23)));
    assert_eq!(whole.len(), bytes.len());
    for (before, after) in bytes.iter().zip(&whole) {
        assert!(before == after || *after == b'-');
    }
    // A second pass finds nothing more to do.
    assert_eq!(through(std::iter::once(whole.as_slice())), whole);
});
