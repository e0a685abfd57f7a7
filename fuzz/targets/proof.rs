//! Proof files: one encoding each, and only that one is read.
#![no_main]

use aims_proof::ProofFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = ProofFile::parse(bytes) {
        assert_eq!(file.to_bytes().unwrap(), bytes);
    }
});
