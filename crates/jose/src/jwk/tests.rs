use aims_crypto::{Signer, SigningKey};
use aims_json::{Limits, parse};
use aims_types::Secret;

use super::*;

fn read(text: &str) -> Result<Jwk, ParseJwkError> {
    Jwk::parse(&parse(text.as_bytes(), &Limits::TOKEN).unwrap())
}

const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const EC_X: &str = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs";
const EC_Y: &str = "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA";

#[test]
fn keys_round_trip() {
    let ed25519 = SigningKey::ed25519_from_seed(&Secret::new([3; 32])).unwrap();
    let es256 = SigningKey::generate(Alg::Es256).unwrap();
    for key in [ed25519.public(), es256.public()] {
        for jwk in [Jwk::new(*key), Jwk::new(*key).with_kid("k1").with_alg()] {
            assert_eq!(Jwk::parse(&jwk.to_value()), Ok(jwk));
        }
    }
}

#[test]
fn trap_22_a_private_key_is_refused() {
    for member in PRIVATE_MEMBERS {
        let text = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","{member}":"AA"}}"#);
        assert_eq!(read(&text), Err(ParseJwkError::PrivateMember(member)));
    }
}

#[test]
fn values_that_are_no_public_key_of_ours_are_refused() {
    use ParseJwkError::{Alg, Member, NotObject, Point, Unsupported, Use};
    let okp = |rest: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519"{rest}}}"#);
    let good = format!(r#","x":"{X}""#);
    let long_kid = "k".repeat(KID_LEN_MAX + 1);
    let table = [
        ("[]".to_owned(), NotObject),
        ("{}".to_owned(), Member("kty")),
        (r#"{"kty":7}"#.to_owned(), Member("kty")),
        (
            r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(),
            Unsupported,
        ),
        (r#"{"kty":"oct"}"#.to_owned(), Unsupported),
        (
            r#"{"kty":"EC","crv":"P-384","x":"","y":""}"#.to_owned(),
            Unsupported,
        ),
        (
            r#"{"kty":"OKP","crv":"X25519","x":""}"#.to_owned(),
            Unsupported,
        ),
        (
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_X}"}}"#),
            Member("y"),
        ),
        (
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"{EC_X}"}}"#),
            Point,
        ),
        (okp(""), Member("x")),
        (okp(r#","x":"AAAA""#), Member("x")),
        (okp(&format!(r#","x":"{X}=""#)), Member("x")),
        (okp(&format!(r#"{good},"alg":"ES256""#)), Alg),
        (okp(&format!(r#"{good},"alg":"none""#)), Alg),
        (okp(&format!(r#"{good},"alg":5"#)), Alg),
        (okp(&format!(r#"{good},"use":"enc""#)), Use),
        (okp(&format!(r#"{good},"kid":5"#)), Member("kid")),
        (okp(&format!(r#"{good},"kid":"{long_kid}""#)), Member("kid")),
    ];
    for (text, why) in table {
        assert_eq!(read(&text), Err(why), "{text}");
    }
    let good = format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"{EC_Y}","ext":true}}"#);
    assert!(read(&good).is_ok());
}
