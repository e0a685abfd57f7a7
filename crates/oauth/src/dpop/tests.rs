use std::sync::Mutex;

use aims_crypto::{Alg, SigningKey};
use aims_jose::{HeaderError, Jwk, ParseJwkError};
use proptest::prelude::*;

use super::*;
use crate::ReplayCache;
use crate::testing::{NOW, RESOURCE, forge, key};

const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const ATH: &str = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo";
const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
const HEADER: &str = concat!(
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0",
    "VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10",
    "NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.",
);

fn uri(text: &str) -> HttpUri {
    HttpUri::parse(text).unwrap()
}

fn expect<'a>(htm: &'a str, htu: &'a HttpUri, now: Timestamp) -> Expect<'a> {
    Expect {
        htm,
        htu,
        now,
        access_token: None,
        jkt: None,
        window: PROOF_WINDOW,
    }
}

fn proof(access_token: Option<&str>) -> String {
    let htu = uri(RESOURCE);
    let proof = Proof {
        htm: "POST",
        htu: &htu,
        iat: NOW,
        jti: "j1",
        access_token,
    };
    proof.create(&key(1)).unwrap()
}

/// A proof with exactly these claims.
fn with_claims(claims: &str) -> String {
    let jwk = Jwk::new(*key(1).public()).to_value();
    forge(
        &format!(r#"{{"typ":"dpop+jwt","alg":"EdDSA","jwk":{jwk}}}"#),
        claims,
        &key(1),
    )
}

#[test]
fn the_proof_of_rfc_9449_figure_2_verifies() {
    let text = [
        HEADER,
        "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4",
        "YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.",
        "2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
    ]
    .concat();
    let htu = uri("https://server.example.com/token");
    let now = Timestamp::from_unix_secs(1_562_262_616);
    let verified = Proof::verify(&text, &expect("POST", &htu, now)).unwrap();
    assert_eq!(verified.jkt().to_string(), JKT);
    assert_eq!(verified.jti(), "-BwC3ESc6acc2lTc");
    assert_eq!(verified.iat(), now);
}

#[test]
fn the_proof_of_rfc_9449_figure_12_is_bound_to_its_token() {
    let text = [
        HEADER,
        "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5l",
        "eGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJa",
        "M0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.",
        "2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
    ]
    .concat();
    assert_eq!(ath(TOKEN), ATH);
    let htu = uri("https://resource.example.org/protectedresource");
    let now = Timestamp::from_unix_secs(1_562_262_618);
    let expect = expect("GET", &htu, now);
    let bound = Expect {
        access_token: Some(TOKEN),
        jkt: Some(JKT.parse().unwrap()),
        ..expect
    };
    assert!(Proof::verify(&text, &bound).is_ok());
    let other = Expect {
        access_token: Some("another"),
        ..expect
    };
    assert_eq!(Proof::verify(&text, &other), Err(DpopError::AccessToken));
}

#[test]
fn a_proof_is_for_one_method_uri_token_and_key() {
    let (htu, other_uri) = (uri(RESOURCE), uri("https://gateway.example/other"));
    let good = Expect {
        access_token: Some("t"),
        jkt: Some(Thumbprint::of(key(1).public())),
        ..expect("POST", &htu, NOW)
    };
    let text = proof(Some("t"));
    assert!(Proof::verify(&text, &good).is_ok());
    let other_key = Some(Thumbprint::of(key(2).public()));
    for (wrong, why) in [
        (Expect { htm: "GET", ..good }, DpopError::Method),
        (
            Expect {
                htm: "post",
                ..good
            },
            DpopError::Method,
        ),
        (
            Expect {
                htu: &other_uri,
                ..good
            },
            DpopError::Uri,
        ),
        (
            Expect {
                access_token: Some("u"),
                ..good
            },
            DpopError::AccessToken,
        ),
        (
            Expect {
                jkt: other_key,
                ..good
            },
            DpopError::Key,
        ),
    ] {
        assert_eq!(Proof::verify(&text, &wrong), Err(why));
    }
    assert_eq!(
        Proof::verify(&proof(None), &good),
        Err(DpopError::AccessToken)
    );
}

#[test]
fn a_proof_is_fresh_for_its_window_and_the_skew_of_clocks() {
    let htu = uri(RESOURCE);
    let text = proof(None);
    let limit = PROOF_WINDOW + PROOF_SKEW;
    for (now, expected) in [
        (NOW.minus(PROOF_SKEW), Ok(())),
        (
            NOW.minus(PROOF_SKEW + Duration::from_millis(1)),
            Err(DpopError::FromFuture),
        ),
        (NOW.plus(limit).minus(Duration::from_millis(1)), Ok(())),
        (NOW.plus(limit), Err(DpopError::TooOld)),
    ] {
        let verified = Proof::verify(&text, &expect("POST", &htu, now));
        assert_eq!(verified.map(|_| ()), expected);
    }
}

#[test]
fn trap_22_a_proof_with_a_private_key_is_refused() {
    let header = r#"{"typ":"dpop+jwt","alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"AA"}}"#;
    let text = forge(header, "{}", &key(1));
    let htu = uri(RESOURCE);
    let why = HeaderError::Jwk(ParseJwkError::PrivateMember("d"));
    let expected = DpopError::Malformed(ParseJwsError::Header(why));
    assert_eq!(
        Proof::verify(&text, &expect("POST", &htu, NOW)),
        Err(expected)
    );
}

#[test]
fn proofs_with_wrong_headers_are_refused() {
    let htu = uri(RESOURCE);
    let claims = format!(r#"{{"jti":"a","htm":"POST","htu":"{RESOURCE}","iat":1800000000}}"#);
    let jwk = Jwk::new(*key(1).public()).to_value();
    let other = Jwk::new(*key(2).public()).to_value();
    let ec = Jwk::new(*SigningKey::generate(Alg::Es256).unwrap().public()).to_value();
    for (header, why) in [
        (
            format!(r#"{{"alg":"EdDSA","jwk":{jwk}}}"#),
            VerifyError::Typ {
                expected: typ::DPOP,
            },
        ),
        (
            format!(r#"{{"typ":"JWT","alg":"EdDSA","jwk":{jwk}}}"#),
            VerifyError::Typ {
                expected: typ::DPOP,
            },
        ),
        (
            r#"{"typ":"dpop+jwt","alg":"EdDSA"}"#.to_owned(),
            VerifyError::NoEmbeddedKey,
        ),
        (
            format!(r#"{{"typ":"dpop+jwt","alg":"EdDSA","jwk":{other}}}"#),
            VerifyError::Signature,
        ),
        (
            format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{ec}}}"#),
            VerifyError::Signature,
        ),
        (
            format!(r#"{{"typ":"dpop+jwt","alg":"EdDSA","jwk":{ec}}}"#),
            VerifyError::Alg,
        ),
    ] {
        let text = forge(&header, &claims, &key(1));
        let verified = Proof::verify(&text, &expect("POST", &htu, NOW));
        assert_eq!(verified, Err(DpopError::Signature(why)), "{header}");
    }
    assert!(Proof::verify(&with_claims(&claims), &expect("POST", &htu, NOW)).is_ok());
}

#[test]
fn proofs_with_wrong_claims_are_refused() {
    use ClaimError::{Malformed, Missing};
    let htu = uri(RESOURCE);
    let rest = format!(r#""htu":"{RESOURCE}","iat":1800000000"#);
    let long = "j".repeat(life::JTI_LEN_MAX + 1);
    for (claims, why) in [
        (
            format!(r#"{{"htm":"POST",{rest}}}"#),
            DpopError::Claim(Missing("jti")),
        ),
        (
            format!(r#"{{"jti":7,"htm":"POST",{rest}}}"#),
            DpopError::Claim(Malformed("jti")),
        ),
        (
            format!(r#"{{"jti":"a b","htm":"POST",{rest}}}"#),
            DpopError::Claim(Malformed("jti")),
        ),
        (
            format!(r#"{{"jti":"{long}","htm":"POST",{rest}}}"#),
            DpopError::Claim(Malformed("jti")),
        ),
        (
            format!(r#"{{"jti":"a",{rest}}}"#),
            DpopError::Claim(Missing("htm")),
        ),
        (
            format!(r#"{{"jti":"a","htm":["POST"],{rest}}}"#),
            DpopError::Claim(Malformed("htm")),
        ),
        (
            r#"{"jti":"a","htm":"POST","iat":1800000000}"#.into(),
            DpopError::Claim(Missing("htu")),
        ),
        (
            r#"{"jti":"a","htm":"POST","htu":"/mcp","iat":1800000000}"#.into(),
            DpopError::UriForm(HttpUriError::Malformed),
        ),
        (
            format!(r#"{{"jti":"a","htm":"POST","htu":"{RESOURCE}?a=b","iat":1800000000}}"#),
            DpopError::UriForm(HttpUriError::QueryOrFragment),
        ),
        (
            format!(r#"{{"jti":"a","htm":"POST","htu":"{RESOURCE}"}}"#),
            DpopError::Claim(Missing("iat")),
        ),
        (
            format!(r#"{{"jti":"a","htm":"POST","htu":"{RESOURCE}","iat":"1800000000"}}"#),
            DpopError::Claim(Malformed("iat")),
        ),
    ] {
        let verified = Proof::verify(&with_claims(&claims), &expect("POST", &htu, NOW));
        assert_eq!(verified, Err(why), "{claims}");
    }
}

#[test]
fn a_proof_is_used_once() {
    let htu = uri(RESOURCE);
    let verified = Proof::verify(&proof(None), &expect("POST", &htu, NOW)).unwrap();
    let cache = Mutex::new(ReplayCache::new(8));
    assert_eq!(verified.use_once(&cache, NOW), Ok(()));
    assert_eq!(verified.use_once(&cache, NOW), Err(ReplayError::Replayed));
    // While the proof would still pass as fresh, the cache remembers it.
    let last = verified.replayable_until().minus(Duration::from_millis(1));
    assert_eq!(verified.use_once(&cache, last), Err(ReplayError::Replayed));
}

proptest! {
    #[test]
    fn verifying_any_text_never_panics(text: String, claims in r#"\{("[a-z]{3}":"?[0-9a-z]{0,9}"?,?){0,5}\}"#) {
        let htu = uri(RESOURCE);
        prop_assert!(Proof::verify(&text, &expect("POST", &htu, NOW)).is_err());
        prop_assert!(Proof::verify(&with_claims(&claims), &expect("POST", &htu, NOW)).is_err());
    }
}
