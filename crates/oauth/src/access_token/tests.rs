use aims_jose::HeaderError;
use aims_json::{Limits, parse};
use proptest::prelude::*;

use super::*;
use crate::act::Actor;
use crate::testing::{ISSUER, NOW, RESOURCE, claims_of, forge, key, trust};

const EXPECT: TokenExpect<'_> = TokenExpect {
    issuer: ISSUER,
    audience: RESOURCE,
    now: NOW,
};
const HEADER: &str = r#"{"typ":"at+jwt","alg":"EdDSA","kid":"k"}"#;

fn common() -> TokenCommon {
    TokenCommon {
        issuer: ISSUER.to_owned(),
        client_id: "spiffe://aims.example/agent/notes".to_owned(),
        audience: RESOURCE.to_owned(),
        issued_at: NOW,
        expires_at: NOW.plus(Duration::from_mins(5)),
        token: Id::from_u128(1),
        jkt: Thumbprint::of(key(2).public()),
    }
}

fn instance() -> AccessToken {
    let actor = |sub: &str| Actor {
        sub: sub.to_owned(),
        iss: Some(ISSUER.to_owned()),
    };
    let details = br#"[{"type":"mcp_tool","actions":["notes.read"]}]"#;
    AccessToken::Instance(InstanceToken {
        common: common(),
        subject: Id::<Person>::from_u128(2).to_string(),
        act: Some(ActorChain::new(actor("b"), vec![actor("a")]).unwrap()),
        authorization_details: parse(details, &Limits::TOKEN).unwrap(),
        task: Id::from_u128(3),
        assurance: "confined".to_owned(),
        instance: Id::from_u128(4),
        chain: Chain::new(vec![
            Digest::from_bytes([1; 32]),
            Digest::from_bytes([2; 32]),
        ])
        .unwrap(),
        revision: Revision::new(77),
    })
}

fn person() -> AccessToken {
    AccessToken::Person(PersonToken {
        common: common(),
        person: Id::from_u128(2),
    })
}

fn verify(text: &str) -> Result<VerifiedAccessToken, AccessTokenError> {
    VerifiedAccessToken::verify(text, &trust(key(1).public()), &EXPECT)
}

/// The claims of a token with one text in them replaced, signed again.
fn changed(token: &AccessToken, from: &str, to: &str) -> Result<(), AccessTokenError> {
    let claims = claims_of(&token.create(&key(1), "k").unwrap());
    assert!(claims.contains(from), "{from} is not in {claims}");
    verify(&forge(HEADER, &claims.replacen(from, to, 1), &key(1))).map(|_| ())
}

#[test]
fn what_is_created_verifies() {
    for token in [instance(), person()] {
        let text = token.create(&key(1), "k").unwrap();
        assert_eq!(verify(&text).unwrap().into_inner(), token);
    }
}

#[test]
fn the_claims_have_the_names_of_the_standards() {
    let claims = claims_of(&instance().create(&key(1), "k").unwrap());
    for name in [
        "iss",
        "sub",
        "client_id",
        "aud",
        "iat",
        "exp",
        "jti",
        "cnf",
        "jkt",
        "act",
        "aims_task",
        "aims_instance",
        "aims_chain",
        "aims_chain_hash",
        "aims_rev",
        "authorization_details",
    ] {
        assert!(claims.contains(&format!(r#""{name}":"#)), "{name}");
    }
    let claims = claims_of(&person().create(&key(1), "k").unwrap());
    assert!(claims.contains(r#""scope":"aims:admin""#) && !claims.contains("aims_task"));
}

#[test]
fn a_token_is_for_one_issuer_audience_and_time() {
    let keys = trust(key(1).public());
    let text = instance().create(&key(1), "k").unwrap();
    let end = NOW.plus(Duration::from_mins(5));
    for (expect, why) in [
        (
            TokenExpect {
                issuer: "https://other.example",
                ..EXPECT
            },
            AccessTokenError::Issuer,
        ),
        (
            TokenExpect {
                audience: ISSUER,
                ..EXPECT
            },
            AccessTokenError::Audience,
        ),
        (
            TokenExpect {
                now: end.plus(crate::CLOCK_LEEWAY),
                ..EXPECT
            },
            LifeError::Expired.into(),
        ),
        (
            TokenExpect {
                now: NOW.minus(Duration::from_secs(6)),
                ..EXPECT
            },
            LifeError::NotYetValid.into(),
        ),
    ] {
        assert_eq!(VerifiedAccessToken::verify(&text, &keys, &expect), Err(why));
    }
}

#[test]
fn only_the_trusted_key_under_its_kid_and_typ_counts() {
    let claims = claims_of(&instance().create(&key(1), "k").unwrap());
    let header = |typ: &str, kid: &str| format!(r#"{{"typ":"{typ}","alg":"EdDSA"{kid}}}"#);
    for (header, signer, why) in [
        (header("at+jwt", r#","kid":"k""#), 2, VerifyError::Signature),
        (
            header("at+jwt", r#","kid":"l""#),
            1,
            VerifyError::UnknownKid,
        ),
        (header("at+jwt", ""), 1, VerifyError::NoKid),
        (
            header("JWT", r#","kid":"k""#),
            1,
            VerifyError::Typ {
                expected: typ::ACCESS_TOKEN,
            },
        ),
        (
            header("wit+jwt", r#","kid":"k""#),
            1,
            VerifyError::Typ {
                expected: typ::ACCESS_TOKEN,
            },
        ),
    ] {
        assert_eq!(
            verify(&forge(&header, &claims, &key(signer))),
            Err(why.into()),
            "{header}"
        );
    }
    let none = forge(
        r#"{"typ":"at+jwt","alg":"none","kid":"k"}"#,
        &claims,
        &key(1),
    );
    assert_eq!(
        verify(&none),
        Err(ParseJwsError::Header(HeaderError::Alg).into())
    );
}

#[test]
fn a_persons_token_and_an_instances_cannot_be_mixed() {
    use ClaimError::{Forbidden, Malformed, Missing};
    let scope = r#""scope":"aims:admin""#;
    let with = |rest: &str| format!("{scope},{rest}");
    for (token, from, to, why) in [
        (
            instance(),
            r#""iss""#,
            with(r#""iss""#),
            Forbidden(TASK).into(),
        ),
        (
            person(),
            scope,
            with(r#""aims_rev":1"#),
            Forbidden(REVISION).into(),
        ),
        (
            person(),
            scope,
            with(r#""act":{"sub":"x"}"#),
            Forbidden("act").into(),
        ),
        (
            person(),
            scope,
            with(r#""authorization_details":[]"#),
            Forbidden(DETAILS).into(),
        ),
        (
            person(),
            scope,
            r#""x":1"#.to_owned(),
            Missing(CHAIN).into(),
        ),
        (
            person(),
            scope,
            r#""scope":"aims:admin x""#.to_owned(),
            AccessTokenError::Scope,
        ),
        (
            person(),
            scope,
            r#""scope":["aims:admin"]"#.to_owned(),
            Malformed("scope").into(),
        ),
        (
            person(),
            r#""sub":"per_"#,
            r#""sub":"agt_"#.to_owned(),
            Malformed("sub").into(),
        ),
    ] {
        assert_eq!(changed(&token, from, &to), Err(why), "{from} -> {to}");
    }
}

#[test]
fn tokens_with_wrong_claims_are_refused() {
    use ClaimError::{Malformed, Missing};
    let too_long = LifeError::TooLong {
        max: ACCESS_TOKEN_LIFE_MAX,
    };
    for (from, to, why) in [
        (r#""iss":"#, r#""x":"#, Missing("iss").into()),
        (r#""client_id":"#, r#""x":"#, Missing("client_id").into()),
        (r#""jkt":"#, r#""x5t#S256":"#, Malformed("cnf").into()),
        (r#""cnf":"#, r#""x":"#, Missing("cnf").into()),
        (r#""jti":"tok_"#, r#""jti":"x"#, Malformed("jti").into()),
        (
            r#""aud":""#,
            r#""aud":["https://b"],"x":""#,
            AccessTokenError::Audience,
        ),
        (
            r#""exp":1800000300"#,
            r#""exp":1800000901"#,
            too_long.into(),
        ),
        (
            r#""exp":1800000300"#,
            r#""exp":1800000000"#,
            too_long.into(),
        ),
        (
            r#""exp":1800000300"#,
            r#""exp":1800000300,"nbf":1800000100"#,
            LifeError::NotYetValid.into(),
        ),
        (
            r#""aims_rev":77"#,
            r#""aims_rev":-1"#,
            Malformed(REVISION).into(),
        ),
        (r#""aims_rev":77"#, r#""x":77"#, Missing(REVISION).into()),
        (
            r#""type":"mcp_tool""#,
            r#""t":"mcp_tool""#,
            AuthorizationDetailsError::Type(0).into(),
        ),
        (r#""act":{"#, r#""act":7,"x":{"#, ActError::Malformed.into()),
    ] {
        assert_eq!(changed(&instance(), from, to), Err(why), "{from} -> {to}");
    }
}

#[test]
fn a_chain_that_does_not_match_its_hash_is_refused() {
    let one = Digest::from_bytes([1; 32]).to_string();
    let other = Digest::from_bytes([3; 32]).to_string();
    assert_eq!(
        changed(&instance(), &one, &other),
        Err(ChainError::Commitment.into())
    );
    let cut = changed(&instance(), &format!(r#""{one}","#), "");
    assert_eq!(cut, Err(ChainError::Commitment.into()));
    let chain = changed(&instance(), r#""aims_chain":["#, r#""aims_chain":[7,"#);
    assert_eq!(chain, Err(ChainError::Malformed.into()));
}

#[test]
fn tokens_that_would_be_refused_are_not_made() {
    let AccessToken::Instance(good) = instance() else {
        panic!("not an instance token")
    };
    let long = TokenCommon {
        expires_at: NOW.plus(ACCESS_TOKEN_LIFE_MAX * 2),
        ..common()
    };
    let long = AccessToken::Instance(InstanceToken {
        common: long,
        ..good.clone()
    });
    assert!(matches!(
        long.create(&key(1), "k"),
        Err(CreateAccessTokenError::CallerLife(_))
    ));
    let untyped = InstanceToken {
        authorization_details: Value::from(vec![]),
        ..good.clone()
    };
    let untyped = AccessToken::Instance(untyped).create(&key(1), "k");
    assert!(matches!(
        untyped,
        Err(CreateAccessTokenError::CallerDetails(_))
    ));
    let entry = Object::new().with("type", "x".repeat(JwsLimits::TOKEN.text));
    let details = Value::from(vec![Value::from(entry)]);
    let large = InstanceToken {
        authorization_details: details,
        ..good
    };
    let large = AccessToken::Instance(large).create(&key(1), "k");
    assert_eq!(large, Err(CreateAccessTokenError::CallerTooLong));
}

#[test]
fn another_implementation_accepts_the_token() {
    let text = instance().create(&key(1), "k").unwrap();
    let jwk = trust(key(1).public()).keys()[0].to_value();
    let x = jwk.get("x").and_then(Value::as_str).unwrap();
    let decoding = jsonwebtoken::DecodingKey::from_ed_components(x).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.set_audience(&[RESOURCE]);
    validation.set_issuer(&[ISSUER]);
    let token = jsonwebtoken::decode::<serde_json::Value>(&text, &decoding, &validation).unwrap();
    assert_eq!(token.header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(token.claims["act"]["act"]["sub"], "a");
    assert_eq!(token.claims["aims_rev"], 77);
}

proptest! {
    #[test]
    fn verifying_any_text_never_panics(
        text: String,
        claims in r#"\{("(iss|sub|aud|act|exp|scope|aims_chain)":("x"|[0-9]{1,3}|\[\]|\{\}),?){0,6}\}"#,
    ) {
        prop_assert!(verify(&text).is_err());
        prop_assert!(verify(&forge(HEADER, &claims, &key(1))).is_err());
    }
}
