use proptest::prelude::*;

use super::*;
use crate::testing::{ISSUER, NOW, forge, key};

const EXPECT: AssertionExpect<'_> = AssertionExpect {
    issuer: ISSUER,
    now: NOW,
};
const CLAIMS: AssertionClaims<'_> = AssertionClaims {
    audience: ISSUER,
    kid: Some("k"),
    jti: "j1",
    now: NOW,
};
const CLIENT: &str = "spiffe://aims.example/node/n1";

fn client(claims: &str) -> Result<ClientAssertion, AssertionError> {
    let text = forge(
        r#"{"typ":"client-authentication+jwt","alg":"EdDSA"}"#,
        claims,
        &key(1),
    );
    UnverifiedClientAssertion::parse(&text)?.verify(key(1).public(), &EXPECT)
}

#[test]
fn a_client_proves_who_it_is() {
    let text = ClientAssertion::create(&key(1), CLIENT, &CLAIMS).unwrap();
    let unverified = UnverifiedClientAssertion::parse(&text).unwrap();
    assert_eq!(unverified.claimed_client_id(), CLIENT);
    assert_eq!(unverified.claimed_kid(), Some("k"));
    let client = unverified.verify(key(1).public(), &EXPECT).unwrap();
    assert_eq!((client.client_id(), client.jti()), (CLIENT, "j1"));
    assert_eq!(
        unverified.verify(key(2).public(), &EXPECT),
        Err(AssertionError::Signature(VerifyError::Signature))
    );
}

#[test]
fn a_person_proves_who_they_are() {
    let person = Id::from_u128(7);
    let text = PersonGrant::create(&key(1), person, &CLAIMS).unwrap();
    let unverified = UnverifiedPersonGrant::parse(&text).unwrap();
    assert_eq!(unverified.claimed_person(), person);
    assert_eq!(
        unverified
            .verify(key(1).public(), &EXPECT)
            .unwrap()
            .person(),
        person
    );
    let agent = ClientAssertion::create(&key(1), "agt_x", &CLAIMS).unwrap();
    assert!(matches!(
        UnverifiedPersonGrant::parse(&agent),
        Err(AssertionError::Claim(ClaimError::Malformed("sub")))
    ));
}

#[test]
fn an_assertion_of_one_kind_is_not_one_of_the_other() {
    let person = Id::<Person>::from_u128(7);
    let grant = PersonGrant::create(&key(1), person, &CLAIMS).unwrap();
    let as_client = UnverifiedClientAssertion::parse(&grant).unwrap();
    assert!(matches!(
        as_client.verify(key(1).public(), &EXPECT),
        Err(AssertionError::Signature(VerifyError::Typ { .. }))
    ));
    let client = ClientAssertion::create(&key(1), &person.to_string(), &CLAIMS).unwrap();
    let as_person = UnverifiedPersonGrant::parse(&client).unwrap();
    assert!(matches!(
        as_person.verify(key(1).public(), &EXPECT),
        Err(AssertionError::Signature(VerifyError::Typ { .. }))
    ));
}

#[test]
fn trap_15_the_token_endpoint_is_not_the_audience() {
    for (aud, expected) in [
        (r#""https://aims.example""#, Ok(())),
        (r#"["https://aims.example"]"#, Ok(())),
        (
            r#""https://aims.example/token""#,
            Err(AssertionError::Audience),
        ),
        (r#""https://aims.example/""#, Err(AssertionError::Audience)),
        (r#""https://AIMS.example""#, Err(AssertionError::Audience)),
        (
            r#"["https://aims.example","https://other.example"]"#,
            Err(AssertionError::Claim(ClaimError::Malformed("aud"))),
        ),
    ] {
        let claims = format!(
            r#"{{"iss":"c","sub":"c","aud":{aud},"jti":"j","iat":1800000000,"exp":1800000060}}"#
        );
        assert_eq!(client(&claims).map(|_| ()), expected, "{aud}");
    }
}

#[test]
fn assertions_with_wrong_claims_are_refused() {
    use ClaimError::{Malformed, Missing};
    let aud = format!(r#""aud":"{ISSUER}""#);
    let times = r#""iat":1800000000,"exp":1800000060"#;
    let too_long = LifeError::TooLong {
        max: ASSERTION_LIFE_MAX,
    };
    for (claims, why) in [
        (
            format!(r#"{{"iss":"c",{aud},"jti":"j",{times}}}"#),
            Missing("sub").into(),
        ),
        (
            format!(r#"{{"sub":"c",{aud},"jti":"j",{times}}}"#),
            Missing("iss").into(),
        ),
        (
            format!(r#"{{"iss":"d","sub":"c",{aud},"jti":"j",{times}}}"#),
            AssertionError::Subject,
        ),
        (
            format!(r#"{{"iss":"c","sub":"c","jti":"j",{times}}}"#),
            Missing("aud").into(),
        ),
        (
            format!(r#"{{"iss":"c","sub":"c",{aud},{times}}}"#),
            Missing("jti").into(),
        ),
        (
            format!(r#"{{"iss":"c","sub":"c",{aud},"jti":5,{times}}}"#),
            Malformed("jti").into(),
        ),
        (
            format!(r#"{{"iss":"c","sub":"c",{aud},"jti":"j","iat":1800000000}}"#),
            Missing("exp").into(),
        ),
        (
            format!(r#"{{"iss":"c","sub":"c",{aud},"jti":"j","exp":1800000060}}"#),
            Missing("iat").into(),
        ),
        (
            format!(r#"{{"iss":"c","sub":"c",{aud},"jti":"j","iat":1800000000,"exp":1800000061}}"#),
            too_long.into(),
        ),
        (
            format!(r#"{{"iss":"c","sub":"c",{aud},"jti":"j","iat":1799999930,"exp":1799999990}}"#),
            LifeError::Expired.into(),
        ),
        (
            format!(r#"{{"iss":"c","sub":"c",{aud},"jti":"j","iat":1800000006,"exp":1800000060}}"#),
            LifeError::NotYetValid.into(),
        ),
        (
            format!(r#"{{"iss":"c","sub":"c",{aud},"jti":"j",{times},"nbf":1800000006}}"#),
            LifeError::NotYetValid.into(),
        ),
    ] {
        assert_eq!(client(&claims), Err(why), "{claims}");
    }
}

#[test]
fn an_assertion_can_be_replayed_no_longer_than_it_is_remembered() {
    let text = ClientAssertion::create(&key(1), CLIENT, &CLAIMS).unwrap();
    let unverified = UnverifiedClientAssertion::parse(&text).unwrap();
    let until = unverified
        .verify(key(1).public(), &EXPECT)
        .unwrap()
        .replayable_until();
    let late = AssertionExpect {
        issuer: ISSUER,
        now: until,
    };
    assert!(unverified.verify(key(1).public(), &late).is_err());
}

proptest! {
    #[test]
    fn reading_any_text_never_panics(text: String) {
        let _ = UnverifiedClientAssertion::parse(&text);
        let _ = UnverifiedPersonGrant::parse(&text);
    }
}
