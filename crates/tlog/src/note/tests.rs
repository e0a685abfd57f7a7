use std::sync::Arc;

use aims_crypto::{Alg, SigningKey};
use aims_types::Secret;
use proptest::prelude::*;

use super::*;

/// Names, key and note of the Go checksum database's own documentation.
const NEUMANN: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NEUMANN_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuG\
    UgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n\
    — EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2t\
    iOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
const GO_CHECKSUM_DATABASE: &str =
    "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

fn signer(seed: u8, name: &str) -> NoteSigner {
    NoteSigner::new(name.parse().unwrap(), key(seed)).unwrap()
}

fn witness(seed: u8, name: &str) -> NoteSigner {
    NoteSigner::witness(name.parse().unwrap(), key(seed)).unwrap()
}

fn key(seed: u8) -> Arc<SigningKey> {
    Arc::new(SigningKey::ed25519_from_seed(&Secret::new([seed; 32])).unwrap())
}

#[test]
fn the_note_and_keys_of_the_go_documentation_verify() {
    let neumann: VerifierKey = NEUMANN.parse().unwrap();
    let note: SignedNote = NEUMANN_NOTE.parse().unwrap();
    assert_eq!(note.to_string(), NEUMANN_NOTE);
    let verified = note.verify(&[&neumann]).unwrap();
    assert_eq!(
        verified,
        [VerifiedSignature {
            key: &neumann,
            at: None
        }]
    );
    let other: VerifierKey = GO_CHECKSUM_DATABASE.parse().unwrap();
    assert_eq!(other.to_string(), GO_CHECKSUM_DATABASE);
    assert_eq!(note.verify(&[&other]), Err(NoteVerifyError::NoKnownKey));
    let changed: SignedNote = NEUMANN_NOTE.replace("answer", "answers").parse().unwrap();
    let name = neumann.name().clone();
    assert_eq!(
        changed.verify(&[&neumann]),
        Err(NoteVerifyError::BadSignature { name })
    );
}

#[test]
fn a_witness_vouches_for_text_and_time() {
    let (log, witness) = (signer(1, "log.example"), witness(2, "witness.example"));
    let line = witness.sign("text\n", 1_700_000_000).unwrap();
    let note = log.sign("text\n", 0).unwrap();
    let note = note.with_signatures(line.signatures().to_vec()).unwrap();
    let keys = [log.verifier_key(), witness.verifier_key()];
    let again: SignedNote = note.to_string().parse().unwrap();
    let times: Vec<_> = again
        .verify(&keys)
        .unwrap()
        .iter()
        .map(|one| one.at)
        .collect();
    assert_eq!(times, [None, Some(1_700_000_000)]);

    let mut moved = note;
    *moved.signatures[1].bytes.first_mut().unwrap() ^= 1;
    let name = witness.verifier_key().name().clone();
    assert_eq!(
        moved.verify(&keys),
        Err(NoteVerifyError::BadSignature { name })
    );
    assert!(moved.verify(&[log.verifier_key()]).is_ok());
    let key = witness.verifier_key();
    assert_eq!(key.to_string().parse().as_ref(), Ok(key));
}

#[test]
fn a_key_must_match_by_name_and_id() {
    let note = signer(1, "a").sign("text\n", 0).unwrap();
    for other in [signer(1, "b"), signer(2, "a"), witness(1, "a")] {
        let found = note.verify(&[other.verifier_key()]);
        assert_eq!(found, Err(NoteVerifyError::NoKnownKey), "{other:?}");
    }
}

#[test]
fn texts_that_cannot_be_notes_are_not_signed() {
    let signer = signer(1, "a");
    for bad in ["", "no newline", "tab\t\n", "null\0\n"] {
        assert_eq!(signer.sign(bad, 0), Err(NoteSignError::Text), "{bad:?}");
    }
    let es256 = Arc::new(SigningKey::generate(Alg::Es256).unwrap());
    let found = NoteSigner::new("a".parse().unwrap(), es256).err();
    assert_eq!(found, Some(VerifierKeyError::Algorithm));
}

#[test]
fn malformed_notes_are_refused() {
    let good = signer(1, "a").sign("x\n", 0).unwrap().to_string();
    let line = good.strip_prefix("x\n\n").unwrap();
    let many = format!("x\n\n{}", line.repeat(SIGNATURES_MAX + 1));
    let odd = NoteParseError::Signature { line: 1 };
    for (note, error) in [
        (String::new(), NoteParseError::Form),
        ("x\n".to_owned(), NoteParseError::Form),
        (line.to_owned(), NoteParseError::Form),
        ("x\n\n".to_owned(), NoteParseError::Form),
        (good.trim_end().to_owned(), NoteParseError::Form),
        (format!("{good}\n"), NoteParseError::Form),
        (good.replace('x', "x\r"), NoteParseError::Control),
        (good.replace("— ", "- "), odd),
        (good.replace("— a", "— a "), odd),
        (good.replace("— a", "— a+b"), odd),
        (good.replace("— a ", "—  "), odd),
        ("x\n\n— a AAAAAA==\n".to_owned(), odd),
        ("x\n\n— a AAAAAAA\n".to_owned(), odd),
        (
            format!("{good}noise\n"),
            NoteParseError::Signature { line: 2 },
        ),
        (many, NoteParseError::TooManySignatures),
        ("x".repeat(NOTE_LEN_MAX + 1), NoteParseError::TooLong),
    ] {
        assert_eq!(note.parse::<SignedNote>().err(), Some(error), "{note:.60?}");
    }
}

#[test]
fn malformed_keys_are_refused() {
    for (text, error) in [
        (
            NEUMANN.replace("c74f20a3", "c74f20a4"),
            VerifierKeyError::Id,
        ),
        (
            NEUMANN.replace("c74f20a3", "C74F20A3"),
            VerifierKeyError::Id,
        ),
        (NEUMANN.replace("Peter", "Pete"), VerifierKeyError::Id),
        (NEUMANN.replace('+', "-"), VerifierKeyError::Form),
        (NEUMANN.replace("Peter", "Peter "), VerifierKeyError::Form),
        (NEUMANN.replace("+ARpc", "+AhpcA"), VerifierKeyError::Form),
        (
            NEUMANN.replace("+ARpc", "+AhpcAAAA"),
            VerifierKeyError::Algorithm,
        ),
        (
            NEUMANN.replace("+ARpc", "+ARpcAAAA"),
            VerifierKeyError::Algorithm,
        ),
        (
            format!("{}{NEUMANN}", "x".repeat(256)),
            VerifierKeyError::Form,
        ),
    ] {
        assert_eq!(text.parse::<VerifierKey>().err(), Some(error), "{text}");
    }
}

proptest! {
    #[test]
    fn whatever_parses_prints_as_it_was(
        note in "[a-c\n]{0,6}\n\n(— [a-z\n+]{0,3} [A-Za-z0-9+/]{8}[AQgw]={0,2}\n){0,3}",
    ) {
        if let Ok(parsed) = note.parse::<SignedNote>() {
            prop_assert_eq!(parsed.to_string(), note);
        }
    }
}
