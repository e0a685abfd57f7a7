//! Witnesses that an auditor asks for, and lines of others.

use std::sync::Arc;

use aims_crypto::{Alg, SigningKey};
use aims_tlog::{NoteSigner, SignedNote, VerifierKey};

use crate::testing::{World, log_key};
use crate::{Trust, Verified, VerifyError, verify};

const SEEN_AT: u64 = 1_795_307_460;

fn witness(name: &str) -> NoteSigner {
    let key = SigningKey::generate(Alg::Ed25519).unwrap();
    NoteSigner::witness(name.parse().unwrap(), Arc::new(key)).unwrap()
}

fn cosigned(note: &SignedNote, witness: &NoteSigner) -> SignedNote {
    let line = witness.sign(note.text(), SEEN_AT).unwrap();
    let lines = line.signatures().to_vec();
    note.clone().with_signatures(lines).unwrap()
}

/// The proof under a checkpoint, for an auditor who asks for these witnesses.
fn shown(
    world: &World,
    checkpoint: SignedNote,
    asked: &[&NoteSigner],
) -> Result<Verified, VerifyError> {
    let mut proof = world.proof();
    proof.checkpoint = checkpoint;
    let keys: Vec<VerifierKey> = asked.iter().map(|one| one.verifier_key().clone()).collect();
    let trust = Trust {
        log: &log_key(),
        witnesses: &keys,
        kept: None,
    };
    verify(&proof.to_bytes().unwrap(), &trust)
}

#[test]
fn a_witness_that_is_asked_for_has_to_have_seen_the_checkpoint() {
    let (world, w) = (World::new(), witness("w.example"));
    let note = world.grown().checkpoint;
    let good = shown(&world, cosigned(&note, &w), &[&w]).unwrap();
    let said = ("w.example".to_owned(), SEEN_AT);
    assert_eq!(good.log.witnesses, [said]);

    let missing = shown(&world, note.clone(), &[&w]).unwrap_err();
    assert!(matches!(missing, VerifyError::NotWitnessed(name) if name.as_str() == "w.example"));
    // A line that nobody asked to be checked could be changed without notice.
    let unknown = shown(&world, cosigned(&note, &w), &[]).unwrap_err();
    assert!(matches!(unknown, VerifyError::UnknownSignature { .. }));
    let twice = shown(&world, cosigned(&cosigned(&note, &w), &w), &[&w]).unwrap_err();
    assert!(matches!(twice, VerifyError::UnknownSignature { .. }));
}

#[test]
fn a_key_stands_for_itself_and_not_for_another_of_the_same_name() {
    let world = World::new();
    let note = world.grown().checkpoint;
    let (one, other) = (witness("w.example"), witness("w.example"));
    let missing = shown(&world, cosigned(&note, &one), &[&one, &other]).unwrap_err();
    assert!(matches!(missing, VerifyError::NotWitnessed(_)));
    shown(
        &world,
        cosigned(&cosigned(&note, &one), &other),
        &[&one, &other],
    )
    .unwrap();
}

#[test]
fn a_witness_of_another_tree_is_not_believed() {
    let (world, w) = (World::new(), witness("w.example"));
    let note = world.grown().checkpoint;
    let grown = world.grown();
    let mut records = grown.records;
    records.pop();
    let smaller = crate::testing::Grown::of(records).checkpoint;
    let line = cosigned(&smaller, &w).signatures()[1].clone();
    let forged = note.with_signatures([line]).unwrap();
    let wrong = shown(&world, forged, &[&w]).unwrap_err();
    assert!(matches!(wrong, VerifyError::Checkpoint { .. }), "{wrong}");
}
