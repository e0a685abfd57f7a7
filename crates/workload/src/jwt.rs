//! Validating a JWT-SVID of the trust domain (SPIFFE JWT-SVID §4, Workload API §6.3).

use std::collections::BTreeMap;

use aims_jose::{ClaimError, Claims, Jws, JwsLimits, ParseJwsError, VerifyError, typ};
use aims_json::Value;
use aims_types::{SpiffeId, Timestamp};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};

use crate::bundle::Bundle;

/// Why a token is not a JWT-SVID for this audience.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidJwt {
    #[error(transparent)]
    Parse(#[from] ParseJwsError),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error("the token is of another trust domain, whose bundle is not known")]
    TrustDomain,
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("the header says more than `alg`, `typ` and `kid`")]
    Header,
    #[error("the token has ended")]
    Expired,
    #[error("the token is for another audience")]
    Audience,
}

/// The identity that a token proves to `audience`, with all its claims.
pub(crate) fn validate(
    token: &str,
    audience: &str,
    (bundle, now): (&Bundle, Timestamp),
) -> Result<(SpiffeId, Struct), InvalidJwt> {
    let jws = Jws::parse(token, &JwsLimits::TOKEN)?;
    let subject: SpiffeId = jws.unverified_claims().parse("sub")?;
    // A bundle vouches for its own trust domain only.
    if subject.trust_domain() != bundle.trust_domain {
        return Err(InvalidJwt::TrustDomain);
    }
    // SPIFFE JWT-SVID §2: no other header.
    if jws.unverified_header().others {
        return Err(InvalidJwt::Header);
    }
    let claims = jws.verify_by_kid(&bundle.keys, typ::JWT)?;
    if claims.time("exp")? <= now {
        return Err(InvalidJwt::Expired);
    }
    if !is_for(&claims, audience)? {
        return Err(InvalidJwt::Audience);
    }
    Ok((subject, structure(claims.object().iter())))
}

/// Whether `aud` has this value (RFC 7519 §4.1.3).
fn is_for(claims: &Claims, audience: &str) -> Result<bool, ClaimError> {
    let value = claims.value("aud")?;
    Ok(match value.as_array() {
        Some(all) => all.iter().any(|one| one.as_str() == Some(audience)),
        None => value.as_str() == Some(audience),
    })
}

fn structure<'a>(members: impl Iterator<Item = (&'a str, &'a Value)>) -> Struct {
    let fields: BTreeMap<_, _> = members
        .map(|(name, value)| (name.to_owned(), wire(value)))
        .collect();
    Struct { fields }
}

fn wire(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(*truth),
        // The protocol has no other number.
        Value::Number(number) => Kind::NumberValue(number.to_string().parse().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(all) => Kind::ListValue(ListValue {
            values: all.iter().map(wire).collect(),
        }),
        Value::Object(object) => Kind::StructValue(structure(object.iter())),
    };
    prost_types::Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use aims_crypto::{Alg, Signer, SigningKey};
    use aims_jose::{Jwk, Jwks, SigningHeader, sign};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_secs(1000);

    fn bundle(key: &SigningKey) -> Bundle {
        Bundle {
            trust_domain: "aims.local".parse().unwrap(),
            x509: Vec::new(),
            jwks: Vec::new(),
            keys: Jwks::new(vec![Jwk::new(*key.public()).with_kid("k")]).unwrap(),
        }
    }

    fn signed(claims: &str, (typ, name): (&'static str, &str), key: &SigningKey) -> String {
        sign(&SigningHeader::new(typ).kid(name), claims.as_bytes(), key).unwrap()
    }

    #[test]
    fn what_the_standard_says_is_valid_and_comes_with_its_claims() {
        let key = SigningKey::generate(Alg::Es256).unwrap();
        for aud in [r#""bank""#, r#"["bank"]"#, r#"["shop","bank"]"#] {
            let said = format!(
                r#"{{"aud":{aud},"exp":1001,"sub":"spiffe://aims.local/service/a","n":{{"x":[1,null]}}}}"#
            );
            let token = signed(&said, (typ::JWT, "k"), &key);
            let (id, claims) = validate(&token, "bank", (&bundle(&key), NOW)).unwrap();
            assert_eq!(id.as_str(), "spiffe://aims.local/service/a");
            assert!(claims.fields.contains_key("n") && claims.fields.contains_key("aud"));
        }
    }

    #[test]
    fn trap_6_a_header_that_says_more_is_refused() {
        let key = SigningKey::generate(Alg::Es256).unwrap();
        let encode = |text: &str| aims_crypto::base64url::encode(text.as_bytes());
        let claims = r#"{"aud":["bank"],"exp":1001,"sub":"spiffe://aims.local/service/a"}"#;
        for (more, good) in [("", true), (r#","cty":"JWT""#, false), (r#","x":1"#, false)] {
            let header = format!(r#"{{"alg":"ES256","kid":"k","typ":"JWT"{more}}}"#);
            let input = format!("{}.{}", encode(&header), encode(claims));
            let signature = key.sign(input.as_bytes()).unwrap();
            let token = format!(
                "{input}.{}",
                aims_crypto::base64url::encode(signature.as_bytes())
            );
            let found = validate(&token, "bank", (&bundle(&key), NOW));
            assert_eq!(found.is_ok(), good, "{more}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        const GOOD: &str = r#"{"aud":["bank"],"exp":1001,"sub":"spiffe://aims.local/service/a"}"#;
        let (key, other) = (
            SigningKey::generate(Alg::Es256).unwrap(),
            SigningKey::generate(Alg::Es256).unwrap(),
        );
        let with = |claims: &str| signed(claims, (typ::JWT, "k"), &key);
        let good = with(GOOD);
        let (unsigned, _) = good.rsplit_once('.').unwrap();
        let cases = [
            ("another signer", signed(GOOD, (typ::JWT, "k"), &other)),
            ("an unknown key", signed(GOOD, (typ::JWT, "x"), &key)),
            (
                "another kind",
                signed(GOOD, (typ::WORKLOAD_IDENTITY, "k"), &key),
            ),
            ("no signature", format!("{unsigned}.")),
            ("ended", with(&GOOD.replace("1001", "1000"))),
            ("endless", with(&GOOD.replace(r#""exp":1001,"#, ""))),
            ("another audience", with(&GOOD.replace("bank", "shop"))),
            ("no audience", with(&GOOD.replace(r#""aud":["bank"],"#, ""))),
            (
                "another domain",
                with(&GOOD.replace("aims.local", "other.example")),
            ),
            ("no identity", with(&GOOD.replace("spiffe://", "https://"))),
            ("no text", "bank".to_owned()),
        ];
        for (why, token) in cases {
            let refused = validate(&token, "bank", (&bundle(&key), NOW));
            assert!(refused.is_err(), "{why}");
        }
        validate(&good, "bank", (&bundle(&key), NOW)).unwrap();
    }
}
