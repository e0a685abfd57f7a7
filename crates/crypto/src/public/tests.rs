use proptest::prelude::*;

use super::*;
use crate::{Signer, SigningKey};

/// RFC 8032 §7.1, test 2.
const RFC8032_PUBLIC: &str = "Ed25519:PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw";

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16).unwrap()).collect();
    std::array::from_fn(|i| u8::try_from(digits[2 * i] * 16 + digits[2 * i + 1]).unwrap())
}

#[test]
fn ed25519_meets_rfc_8032_test_2() {
    let key: PublicKey = RFC8032_PUBLIC.parse().unwrap();
    let signature = Signature::from_bytes(hex(concat!(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    )));
    assert_eq!(key.verify(&[0x72], &signature), Ok(()));
    assert_eq!(key.verify(&[0x73], &signature), Err(BadSignature));
}

#[test]
fn es256_meets_rfc_7515_a_3() {
    let x = base64url::decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU").unwrap();
    let y = base64url::decode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0").unwrap();
    let key = PublicKey::from_bytes(Alg::Es256, &[&[4][..], &x, &y].concat()).unwrap();
    let message = concat!(
        "eyJhbGciOiJFUzI1NiJ9.",
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt",
        "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    );
    let signature = base64url::decode_array(concat!(
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA",
        "pmWQxfKTUJqPP3-Kg6NU1Q",
    ));
    let signature = Signature::from_bytes(signature.unwrap());
    assert_eq!(key.verify(message.as_bytes(), &signature), Ok(()));
}

#[test]
fn bytes_that_are_no_key_are_refused() {
    let key = SigningKey::generate(Alg::Es256).unwrap();
    let point = key.public().as_bytes();
    let mut off_curve = point.to_vec();
    off_curve[64] ^= 1;
    let mut compressed_tag = point.to_vec();
    compressed_tag[0] = 2;
    let compressed = &compressed_tag[..33];
    for bad in [
        &off_curve[..],
        &compressed_tag,
        compressed,
        &point[1..],
        &[0],
        &[],
    ] {
        assert_eq!(
            PublicKey::from_bytes(Alg::Es256, bad),
            Err(ParsePublicKeyError::Key)
        );
    }
    for bad in [&[7_u8; 31][..], &[7; 33], &[]] {
        assert_eq!(
            PublicKey::from_bytes(Alg::Ed25519, bad),
            Err(ParsePublicKeyError::Key)
        );
    }
}

#[test]
fn a_key_of_one_algorithm_refuses_the_signatures_of_the_other() {
    let es256 = SigningKey::generate(Alg::Es256).unwrap();
    let ed25519 = SigningKey::generate(Alg::Ed25519).unwrap();
    let signature = es256.sign(b"m").unwrap();
    assert_eq!(ed25519.public().verify(b"m", &signature), Err(BadSignature));
}

#[test]
fn keys_under_which_anyone_can_sign_are_refused() {
    // With the neutral element as `R` and zero as `S`, one message in eight verifies.
    let forged = [&with_ends(1, 0, 0)[..], &[0; 32]].concat();
    for mut key in SMALL_ORDER {
        let backend = UnparsedPublicKey::new(&ED25519, key);
        assert!(
            (0..=u8::MAX).any(|m| backend.verify(&[m], &forged).is_ok()),
            "{key:02x?}"
        );
        assert_eq!(
            PublicKey::from_bytes(Alg::Ed25519, &key),
            Err(ParsePublicKeyError::Key)
        );
        key[31] |= 0x80;
        assert_eq!(
            PublicKey::from_bytes(Alg::Ed25519, &key),
            Err(ParsePublicKeyError::Key)
        );
    }
}

#[test]
fn texts_that_are_no_key_are_refused() {
    for bad in [
        "",
        "ES256",
        "ES256:",
        "es256:AAAA",
        "Ed25519:PUAX",
        "RS256:AAAA",
        "Ed25519:=",
    ] {
        assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_random_bytes_verify(bytes in proptest::array::uniform32(any::<u8>()), message: Vec<u8>) {
        let key: PublicKey = RFC8032_PUBLIC.parse().unwrap();
        let signature = Signature::try_from(&[bytes, bytes].concat()[..]).unwrap();
        prop_assert_eq!(key.verify(&message, &signature), Err(BadSignature));
    }

    #[test]
    fn reading_a_key_never_panics(text in "(ES256|Ed25519):[A-Za-z0-9_-]{0,100}") {
        if let Ok(key) = text.parse::<PublicKey>() {
            prop_assert_eq!(key.to_string(), text);
        }
    }
}
