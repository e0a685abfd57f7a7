use aims_crypto::{Alg, Signer, SigningKey};
use aims_types::Secret;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use proptest::prelude::*;

use super::*;
use crate::{Jwk, JwsAlg, ParseJwkError, SigningHeader, sign};

const TYP: &str = typ::ACCESS_TOKEN;
const CLAIMS: &str = r#"{"sub":"alice","exp":4102444800}"#;

fn key(alg: Alg) -> SigningKey {
    SigningKey::generate(alg).unwrap()
}

/// A token with exactly this header, signed with `key`.
fn forge(header: &str, claims: &str, key: &SigningKey) -> String {
    let input = [header, claims]
        .map(|part| base64url::encode(part.as_bytes()))
        .join(".");
    let signature = key.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(signature.as_bytes()))
}

fn parsed(text: &str) -> Result<Jws, ParseJwsError> {
    Jws::parse(text, &JwsLimits::TOKEN)
}

#[test]
fn what_is_signed_verifies_for_the_right_key_and_typ_only() {
    for alg in [Alg::Es256, Alg::Ed25519] {
        let key = key(alg);
        let text = sign(&SigningHeader::new(TYP).kid("k"), CLAIMS.as_bytes(), &key).unwrap();
        let jws = parsed(&text).unwrap();
        let claims = jws.verify(key.public(), TYP).unwrap();
        assert_eq!(claims.text("sub"), Ok("alice"));
        assert_eq!(claims.header().kid.as_deref(), Some("k"));
        let other = self::key(alg);
        assert_eq!(jws.verify(other.public(), TYP), Err(VerifyError::Signature));
        let wrong = jws.verify(key.public(), typ::DPOP);
        assert_eq!(
            wrong,
            Err(VerifyError::Typ {
                expected: typ::DPOP
            })
        );
    }
}

#[test]
fn keys_are_found_by_kid_among_trusted_ones() {
    let key = key(Alg::Es256);
    let trusted = crate::Jwks::new(vec![Jwk::new(*key.public()).with_kid("k")]).unwrap();
    for (header, expected) in [
        (SigningHeader::new(TYP).kid("k"), Ok(())),
        (
            SigningHeader::new(TYP).kid("l"),
            Err(VerifyError::UnknownKid),
        ),
        (SigningHeader::new(TYP), Err(VerifyError::NoKid)),
    ] {
        let text = sign(&header, CLAIMS.as_bytes(), &key).unwrap();
        let verified = parsed(&text).unwrap().verify_by_kid(&trusted, TYP);
        assert_eq!(verified.map(|_| ()), expected);
    }
}

#[test]
fn an_embedded_key_counts_only_where_it_is_asked_for() {
    let key = key(Alg::Ed25519);
    let text = sign(
        &SigningHeader::new(TYP).embed_key(),
        CLAIMS.as_bytes(),
        &key,
    )
    .unwrap();
    let jws = parsed(&text).unwrap();
    assert_eq!(jws.verify(key.public(), TYP), Err(VerifyError::EmbeddedKey));
    assert_eq!(jws.verify_embedded(TYP).unwrap().1, *key.public());
    let plain = sign(&SigningHeader::new(TYP), CLAIMS.as_bytes(), &key).unwrap();
    let verified = parsed(&plain).unwrap().verify_embedded(TYP);
    assert_eq!(verified.err(), Some(VerifyError::NoEmbeddedKey));
}

#[test]
fn an_embedded_key_is_used_under_its_own_alg_name_only() {
    let key = key(Alg::Ed25519);
    let jwk = Jwk::new(*key.public()).with_alg().to_value();
    for (name, accepted) in [("EdDSA", true), ("Ed25519", false)] {
        let text = forge(
            &format!(r#"{{"typ":"at+jwt","alg":"{name}","jwk":{jwk}}}"#),
            CLAIMS,
            &key,
        );
        assert_eq!(
            parsed(&text).unwrap().verify_embedded(TYP).is_ok(),
            accepted,
            "{name}"
        );
    }
}

#[test]
fn the_key_decides_the_algorithm() {
    let ed25519 = key(Alg::Ed25519);
    for (name, expected) in [
        ("EdDSA", Ok(())),
        ("Ed25519", Ok(())),
        ("ES256", Err(VerifyError::Alg)),
    ] {
        let text = forge(
            &format!(r#"{{"typ":"at+jwt","alg":"{name}"}}"#),
            CLAIMS,
            &ed25519,
        );
        let verified = parsed(&text).unwrap().verify(ed25519.public(), TYP);
        assert_eq!(verified.map(|_| ()), expected, "{name}");
    }
}

#[test]
fn headers_that_must_not_be_there_are_refused() {
    use HeaderError::{Alg as BadAlg, Malformed, NotObject, Refused};
    let key = key(Alg::Es256);
    let private = r#""jwk":{"kty":"OKP","crv":"Ed25519","x":"","d":"AA"}"#;
    let long_kid = format!(r#""kid":"{}""#, "k".repeat(crate::KID_LEN_MAX + 1));
    for (rest, why) in [
        (r#""crit":["exp"],"exp":1"#, Refused("crit")),
        (r#""crit":[]"#, Refused("crit")),
        (r#""jku":"https://evil.example/keys""#, Refused("jku")),
        (r#""x5u":"https://evil.example/cert""#, Refused("x5u")),
        (r#""x5c":[]"#, Refused("x5c")),
        (r#""b64":false"#, Refused("b64")),
        (r#""enc":"A128GCM""#, Refused("enc")),
        (private, HeaderError::Jwk(ParseJwkError::PrivateMember("d"))),
        (r#""jwk":"x""#, HeaderError::Jwk(ParseJwkError::NotObject)),
        (long_kid.as_str(), Malformed("kid")),
        (r#""kid":"""#, Malformed("kid")),
        (r#""kid":7"#, Malformed("kid")),
    ] {
        let text = forge(
            &format!(r#"{{"alg":"ES256","typ":"at+jwt",{rest}}}"#),
            CLAIMS,
            &key,
        );
        assert_eq!(
            parsed(&text).err(),
            Some(ParseJwsError::Header(why)),
            "{rest}"
        );
    }
    for (header, why) in [
        ("[]", NotObject),
        ("{}", BadAlg),
        (r#"{"alg":"none"}"#, BadAlg),
        (r#"{"alg":"NONE"}"#, BadAlg),
        (r#"{"alg":"HS256"}"#, BadAlg),
        (r#"{"alg":["ES256"]}"#, BadAlg),
        (r#"{"alg":"ES256","typ":5}"#, Malformed("typ")),
    ] {
        let text = forge(header, CLAIMS, &key);
        assert_eq!(
            parsed(&text).err(),
            Some(ParseJwsError::Header(why)),
            "{header}"
        );
    }
}

#[test]
fn trap_38_duplicate_members_are_refused() {
    let key = key(Alg::Es256);
    let header = r#"{"alg":"ES256","typ":"at+jwt"}"#;
    for (header, claims, part) in [
        (r#"{"alg":"none","alg":"ES256"}"#, CLAIMS, "header"),
        (r#"{"alg":"ES256","\u0061lg":"ES256"}"#, CLAIMS, "header"),
        (header, r#"{"sub":"alice","sub":"root"}"#, "claims"),
        (header, r#"{"act":{"sub":"a","sub":"b"}}"#, "claims"),
    ] {
        match parsed(&forge(header, claims, &key)) {
            Err(ParseJwsError::Json { part: found, .. }) => assert_eq!(found, part),
            other => panic!("{header} {claims}: {other:?}"),
        }
    }
}

#[test]
fn texts_of_another_form_are_refused() {
    use ParseJwsError::{Base64, ClaimsNotObject, Parts, SignatureLength, TooLong};
    let key = key(Alg::Ed25519);
    let good = sign(&SigningHeader::new(TYP), CLAIMS.as_bytes(), &key).unwrap();
    let (input, signature) = good.rsplit_once('.').unwrap();
    let (header, claims) = input.split_once('.').unwrap();
    // The last character of 64 bytes in base64url carries two bits; the next letter sets others.
    let stray = char::from(signature.as_bytes()[85] + 1);
    let (cut, _) = signature.split_at(85);
    let (short, _) = signature.split_at(84);
    for (text, why) in [
        (String::new(), Parts),
        (header.to_owned(), Parts),
        (input.to_owned(), Parts),
        (format!("{good}."), Parts),
        (format!("{good}.{signature}"), Parts),
        (format!(".{good}"), Parts),
        (format!("{good}="), Base64("signature")),
        (format!("{good}\n"), Base64("signature")),
        (format!("{input}.{cut}{stray}"), Base64("signature")),
        (format!("{header}=.{claims}.{signature}"), Base64("header")),
        (format!("{input}."), SignatureLength),
        (format!("{input}.{short}"), SignatureLength),
        (
            format!("{header}.{}.{signature}", base64url::encode(b"[]")),
            ClaimsNotObject,
        ),
        (
            "a".repeat(JwsLimits::TOKEN.text + 1),
            TooLong {
                max: JwsLimits::TOKEN.text,
            },
        ),
    ] {
        assert_eq!(parsed(&text).err(), Some(why), "{text}");
    }
}

#[test]
fn a_mac_under_the_public_key_is_no_signature() {
    // The classic confusion: HS256 with the bytes of the public key as the secret.
    let key = key(Alg::Es256);
    let header = jsonwebtoken::Header::new(Algorithm::HS256);
    let secret = EncodingKey::from_secret(key.public().as_bytes());
    let claims: serde_json::Value = serde_json::from_str(CLAIMS).unwrap();
    let text = jsonwebtoken::encode(&header, &claims, &secret).unwrap();
    assert_eq!(
        parsed(&text).err(),
        Some(ParseJwsError::Header(HeaderError::Alg))
    );
}

#[test]
fn another_implementation_verifies_ours() {
    for (alg, theirs) in [
        (Alg::Es256, Algorithm::ES256),
        (Alg::Ed25519, Algorithm::EdDSA),
    ] {
        let key = key(alg);
        let text = sign(&SigningHeader::new(TYP), CLAIMS.as_bytes(), &key).unwrap();
        let (x, y) = crate::thumbprint::coordinates(key.public());
        let decoding = match alg {
            Alg::Es256 => DecodingKey::from_ec_components(&x, &y),
            Alg::Ed25519 => DecodingKey::from_ed_components(&x),
        };
        let mut validation = Validation::new(theirs);
        validation.validate_aud = false;
        let token =
            jsonwebtoken::decode::<serde_json::Value>(&text, &decoding.unwrap(), &validation);
        assert_eq!(token.unwrap().claims["sub"], "alice");
    }
}

#[test]
fn we_verify_those_of_another_implementation() {
    for (alg, theirs) in [
        (Alg::Es256, Algorithm::ES256),
        (Alg::Ed25519, Algorithm::EdDSA),
    ] {
        let key = key(alg);
        let pkcs8 = key.to_pkcs8().unwrap();
        let encoding = match alg {
            Alg::Es256 => EncodingKey::from_ec_der(pkcs8.expose()),
            Alg::Ed25519 => EncodingKey::from_ed_der(pkcs8.expose()),
        };
        let mut header = jsonwebtoken::Header::new(theirs);
        header.typ = Some("application/at+jwt".to_owned());
        let claims: serde_json::Value = serde_json::from_str(CLAIMS).unwrap();
        let text = jsonwebtoken::encode(&header, &claims, &encoding).unwrap();
        let verified = parsed(&text).unwrap().verify(key.public(), TYP).unwrap();
        assert_eq!(verified.text("sub"), Ok("alice"));
    }
}

#[test]
fn the_vectors_of_the_wimse_drafts_verify() {
    let ec = concat!(
        r#"{"kty":"EC","crv":"P-256","x":"kXqnA2Op7hgd4zRMbw0iFcc_hDxUxhojxOFVGjE2gks","#,
        r#""y":"n__VndPMR021-59UAs0b9qDTFT-EZtT6xSNs_xFskLo","kid":"June 5"}"#,
    );
    let ed = r#"{"kty":"OKP","crv":"Ed25519","x":"1CXXvflN_LVVsIsYXsUvB03JmlGWeCHqQVuouCF92bg"}"#;
    let jwk = |text: &str| Jwk::parse(&parse(text.as_bytes(), &Limits::TOKEN).unwrap()).unwrap();
    let wit = concat!(
        "eyJhbGciOiJFUzI1NiIsImtpZCI6Ikp1bmUgNSIsInR5cCI6IndpdCtqd3QifQ.",
        "eyJjbmYiOnsiandrIjp7ImFsZyI6IkVkRFNBIiwiY3J2IjoiRWQyNTUxOSIsImt0eSI6Ik9LUCIsIngiOiIxQ1hY",
        "dmZsTl9MVlZzSXNZWHNVdkIwM0ptbEdXZUNIcVFWdW91Q0Y5MmJnIn19LCJleHAiOjE3NDU1MTI1MTAsImlhdCI6",
        "MTc0NTUwODkxMCwianRpIjoieC1fMUNUTDJjY2EzQ1NFNGN3Yl9sIiwic3ViIjoid2ltc2U6Ly9leGFtcGxlLmNv",
        "bS9zcGVjaWZpYy13b3JrbG9hZCJ9.",
        "6KraSQUxWdl9dxFQ3Fj6dPY0Vi88OkwFwZpAIOhLeq6AbXAnLLQgOp8U9UDGcBuYF3KiNv6oKQD1ZWAzrMZOJw",
    );
    let wpt = concat!(
        "eyJhbGciOiJFZERTQSIsInR5cCI6IndwdCtqd3QifQ.",
        "eyJhdGgiOiJDTDR3amZwUm1OZi1iZFlJYllMblY5ZDVyTUFSR3dLWUUxMHdVd3pDMGpJIiwiYXVkIjoiaHR0cHM6",
        "Ly93b3JrbG9hZC5leGFtcGxlLmNvbS9wYXRoIiwiZXhwIjoxNzQ1NTEwMDE2LCJqdGkiOiJfX2J3YzRFU0MzYWNj",
        "MkxUQzEtX3giLCJ3dGgiOiJBYVlVZkMzNEQxZGkyRnhRTHBpSUpKN1NnOFZaNm84T0Nkd1NmOUlUb0xnIn0.",
        "PI7d9AcYhLoEgPgbJvcM132lkBKnM1NXU-5hZUzVTIyj2dRJaTLFs6e5NYv5gg6AqcV7NvkYCwfgMgWasWQzCA",
    );
    let issuer = crate::Jwks::new(vec![jwk(ec)]).unwrap();
    let verified = parsed(wit)
        .unwrap()
        .verify_by_kid(&issuer, typ::WORKLOAD_IDENTITY)
        .unwrap();
    let confirmed = verified
        .value("cnf")
        .unwrap()
        .get("jwk")
        .map(Jwk::parse)
        .unwrap()
        .unwrap();
    assert_eq!(confirmed.key(), jwk(ed).key());
    assert_eq!(confirmed.alg(), Some(JwsAlg::EdDsa));
    assert!(
        parsed(wpt)
            .unwrap()
            .verify(confirmed.key(), "wpt+jwt")
            .is_ok()
    );
}

#[test]
fn trap_35_debug_output_holds_no_token() {
    let text = sign(
        &SigningHeader::new(TYP),
        CLAIMS.as_bytes(),
        &key(Alg::Ed25519),
    )
    .unwrap();
    let debug = format!("{:?}", parsed(&text).unwrap());
    for part in text.split('.').skip(1) {
        assert!(!debug.contains(part));
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text: String) {
        let _ = parsed(&text);
    }

    #[test]
    fn parsing_parts_never_panics(
        header in r#"\{("(alg|typ|kid|jwk|crit)":("(ES256|EdDSA|none|at\+jwt)"|\{\}|1),?){0,4}\}"#,
        claims in r#"\{("[a-z]{1,3}":[0-9]{1,3},?){0,4}\}"#,
        signature in proptest::collection::vec(any::<u8>(), 60..68),
    ) {
        let part = |bytes: &[u8]| base64url::encode(bytes);
        let text = format!(
            "{}.{}.{}", part(header.as_bytes()), part(claims.as_bytes()), part(&signature),
        );
        if let Ok(jws) = parsed(&text) {
            let key = SigningKey::ed25519_from_seed(&Secret::new([1; 32])).unwrap();
            prop_assert!(jws.verify(key.public(), TYP).is_err());
            prop_assert!(jws.verify_embedded(TYP).is_err());
        }
    }

    #[test]
    fn a_changed_character_never_verifies(at: prop::sample::Index, with in "[A-Za-z0-9_.-]") {
        let key = SigningKey::ed25519_from_seed(&Secret::new([1; 32])).unwrap();
        let good = sign(&SigningHeader::new(TYP), CLAIMS.as_bytes(), &key).unwrap();
        let at = at.index(good.len());
        let bad: String = good
            .char_indices()
            .map(|(i, c)| if i == at { with.chars().next().unwrap() } else { c })
            .collect();
        prop_assume!(bad != good);
        if let Ok(jws) = parsed(&bad) {
            prop_assert!(jws.verify(key.public(), TYP).is_err());
        }
    }
}
