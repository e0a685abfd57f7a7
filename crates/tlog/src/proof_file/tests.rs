use std::collections::BTreeMap;
use std::sync::Arc;

use aims_crypto::SigningKey;
use aims_types::Secret;

use super::*;
use crate::{Entry, NoteSigner, TileHashes, Tree, prove_inclusion};

fn log(seed: u8) -> NoteSigner {
    let key = SigningKey::ed25519_from_seed(&Secret::new([seed; 32])).unwrap();
    NoteSigner::new("log.example/1".parse().unwrap(), Arc::new(key)).unwrap()
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn proof(index: u64, size: u64) -> TlogProof {
    let entries = (0..size).map(|index| Entry::new(entry(index)).unwrap());
    let growth = Tree::empty().append(entries).unwrap();
    let files: BTreeMap<_, _> = growth.files.into_iter().collect();
    let root = growth.tree.root();
    let checkpoint = Checkpoint {
        origin: "log.example/1".parse().unwrap(),
        size,
        root,
    };
    let note = checkpoint.sign(&log(1)).unwrap();
    let hashes = prove_inclusion(&TileHashes::new(&files, size), index, size).unwrap();
    TlogProof::new(index, hashes, note).unwrap()
}

#[test]
fn a_proof_convinces_whoever_has_the_entry_and_the_log_s_key() {
    for (index, size) in [(0, 1), (0, 2), (77, 300), (299, 300)] {
        let proof = proof(index, size);
        let again: TlogProof = proof.to_string().parse().unwrap();
        assert_eq!(again, proof);
        let key = log(1);
        let verified = again
            .verify(&entry(index), key.verifier_key(), &[])
            .unwrap();
        assert_eq!(verified.checkpoint().size, size);
        let found = again.verify(b"another entry", key.verifier_key(), &[]);
        assert_eq!(found, Err(TlogProofError::Inclusion(ProofError::Root)));
        assert!(matches!(
            again.verify(&entry(index), log(2).verifier_key(), &[]),
            Err(TlogProofError::Checkpoint(_))
        ));
    }
}

#[test]
fn the_text_is_that_of_the_specification() {
    let proof = proof(1, 3).with_extra(b"extra data".to_vec()).unwrap();
    let text = proof.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "c2sp.org/tlog-proof@v1",
            "extra ZXh0cmEgZGF0YQ==",
            "index 1"
        ]
    );
    assert_eq!(
        [lines[5], lines[6], lines[7], lines[9]],
        ["", "log.example/1", "3", ""]
    );
    assert_eq!(lines.len(), 11);
    assert!(lines[10].starts_with("— log.example/1 "));
    assert!(text.ends_with('\n'));
    let parsed: TlogProof = text.parse().unwrap();
    assert_eq!(parsed.extra(), Some(b"extra data".as_slice()));
}

#[test]
fn malformed_proofs_are_refused() {
    let good = proof(1, 3).to_string();
    let (head, tail) = good.split_once("\n\n").unwrap();
    let hash = head.lines().last().unwrap();
    let many = format!(
        "{head}\n{}\n{tail}",
        format!("{hash}\n").repeat(PROOF_LEN_MAX)
    );
    for (text, error) in [
        (String::new(), TlogProofParseError::NoCheckpoint),
        (head.to_owned(), TlogProofParseError::NoCheckpoint),
        (good.replace("@v1", "@v2"), TlogProofParseError::Header),
        (format!("\n{good}"), TlogProofParseError::Header),
        (
            good.replace("index", "extra !\nindex"),
            TlogProofParseError::Extra,
        ),
        (
            good.replace("index", "extra A\nindex"),
            TlogProofParseError::Extra,
        ),
        (
            good.replace("index 1", "index 01"),
            TlogProofParseError::Index,
        ),
        (good.replace("index 1\n", ""), TlogProofParseError::Index),
        (
            good.replace("index", "extra \nextra \nindex"),
            TlogProofParseError::Index,
        ),
        (
            good.replace(hash, "AAAA"),
            TlogProofParseError::Hash { line: 2 },
        ),
        (many, TlogProofParseError::TooManyHashes),
        (
            format!("{head}\n\n"),
            TlogProofParseError::Checkpoint(NoteParseError::Form),
        ),
        (
            "x".repeat(TLOG_PROOF_LEN_MAX + 1),
            TlogProofParseError::TooLong,
        ),
    ] {
        assert_eq!(text.parse::<TlogProof>().err(), Some(error), "{text:.80}");
    }
}

#[test]
fn oversized_parts_make_no_proof() {
    let good = proof(0, 1);
    let extra = vec![0; EXTRA_LEN_MAX + 1];
    assert_eq!(
        good.clone().with_extra(extra),
        Err(TlogProofParseError::Extra)
    );
    let hashes = vec![leaf_hash(b""); PROOF_LEN_MAX + 1];
    let found = TlogProof::new(0, hashes, good.checkpoint().clone());
    assert_eq!(found, Err(TlogProofParseError::TooManyHashes));
    let largest = good.with_extra(vec![0; EXTRA_LEN_MAX]).unwrap();
    assert_eq!(largest.to_string().parse(), Ok(largest));
}
