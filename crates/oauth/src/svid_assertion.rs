//! A JWT-SVID as client authentication (draft-ietf-oauth-spiffe-client-auth).

use aims_jose::{ClaimError, Jws, JwsLimits, KeySource, ParseJwsError, VerifyError, typ};
use aims_types::{Id, Instance, SpiffeId, Timestamp};

use crate::assertion::AssertionExpect;
use crate::life::{Life, LifeError, jti};

/// The claim that says which attested process a JWT-SVID was issued to. Only one for this server
/// has it: nobody else has any use for it.
pub const PROCESS_CLAIM: &str = "aims_process";

/// A JWT-SVID that is not verified; it says who it claims to be from.
#[derive(Debug, Clone)]
pub struct UnverifiedSvidAssertion {
    jws: Jws,
    subject: SpiffeId,
}

/// A workload that proved who it is, but for replay of `jti`: a JWT-SVID is worth as much to who
/// finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SvidAssertion {
    subject: SpiffeId,
    process: Id<Instance>,
    jti: String,
    expires_at: Timestamp,
}

/// Why a JWT-SVID is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SvidAssertionError {
    /// Not a well-formed JWT.
    #[error("the JWT-SVID is not a JWT: {0}")]
    Malformed(#[from] ParseJwsError),
    /// A claim is missing or malformed.
    #[error("the JWT-SVID: {0}")]
    Claim(#[from] ClaimError),
    /// SPIFFE JWT-SVID §2: no other header.
    #[error("the header of the JWT-SVID says more than `alg`, `typ` and `kid`")]
    Header,
    /// `typ`, `alg`, `kid` or the signature is wrong.
    #[error("the JWT-SVID: {0}")]
    Signature(#[from] VerifyError),
    /// The audience is our issuer identifier and nothing else.
    #[error("`aud` of the JWT-SVID must be the issuer identifier and nothing else")]
    Audience,
    /// Not valid now.
    #[error("the JWT-SVID: {0}")]
    Life(#[from] LifeError),
}

impl UnverifiedSvidAssertion {
    /// Reads the parameter `client_assertion`.
    pub fn parse(text: &str) -> Result<Self, SvidAssertionError> {
        let jws = Jws::parse(text, &JwsLimits::PROOF)?;
        let subject = jws.unverified_claims().parse("sub")?;
        Ok(Self { jws, subject })
    }

    /// Who it claims to be from.
    pub const fn claimed_subject(&self) -> &SpiffeId {
        &self.subject
    }

    /// The key that it claims to be signed with.
    pub fn claimed_kid(&self) -> Option<&str> {
        self.jws.unverified_header().kid.as_deref()
    }

    /// Verifies with the keys of the trust domain that the subject is of.
    pub fn verify(
        self,
        keys: &dyn KeySource,
        expect: &AssertionExpect<'_>,
    ) -> Result<SvidAssertion, SvidAssertionError> {
        if self.jws.unverified_header().others {
            return Err(SvidAssertionError::Header);
        }
        let claims = self.jws.verify_by_kid(keys, typ::JWT)?;
        if claims.sole_audience()? != expect.issuer {
            return Err(SvidAssertionError::Audience);
        }
        let life = Life::of(&claims)?;
        life.check_now(expect.now)?;
        Ok(SvidAssertion {
            process: claims.parse(PROCESS_CLAIM)?,
            jti: jti(&claims)?.to_owned(),
            expires_at: life.expires_at.plus(crate::CLOCK_LEEWAY),
            subject: self.subject,
        })
    }
}

impl SvidAssertion {
    /// Who it is.
    pub const fn subject(&self) -> &SpiffeId {
        &self.subject
    }

    /// The attested process that it was issued to.
    pub const fn process(&self) -> Id<Instance> {
        self.process
    }

    /// The identifier, to be refused when it comes again.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// Until when a replay would pass.
    pub const fn replayable_until(&self) -> Timestamp {
        self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use aims_crypto::{Alg, PublicKey, Signer, SigningKey};
    use aims_jose::{SigningHeader, sign};
    use proptest::prelude::*;

    use super::*;

    const ISSUER: &str = "https://aims.example";
    const NOW: Timestamp = Timestamp::from_unix_secs(1000);

    struct One(PublicKey);

    impl KeySource for One {
        fn key(&self, kid: &str) -> Option<PublicKey> {
            (kid == "k").then_some(self.0)
        }
    }

    fn good() -> String {
        let process = Id::<Instance>::from_u128(7);
        format!(
            r#"{{"aud":"{ISSUER}","exp":1300,"iat":1000,"jti":"j","sub":"spiffe://a.b/service/s","{PROCESS_CLAIM}":"{process}"}}"#
        )
    }

    fn verified(
        key: &SigningKey,
        (header, claims): (&SigningHeader, &str),
        now: Timestamp,
    ) -> Result<SvidAssertion, SvidAssertionError> {
        let text = sign(header, claims.as_bytes(), key).unwrap();
        let expect = AssertionExpect {
            issuer: ISSUER,
            now,
        };
        UnverifiedSvidAssertion::parse(&text)?.verify(&One(*key.public()), &expect)
    }

    #[test]
    fn a_jwt_svid_for_this_server_says_who_and_which_process() {
        let key = SigningKey::generate(Alg::Es256).unwrap();
        let header = SigningHeader::new(typ::JWT).kid("k");
        let found = verified(&key, (&header, &good()), NOW).unwrap();
        assert_eq!(found.subject().as_str(), "spiffe://a.b/service/s");
        assert_eq!(found.process(), Id::from_u128(7));
        assert_eq!(
            (found.jti(), found.replayable_until().unix_secs()),
            ("j", 1305)
        );
    }

    #[test]
    fn trap_15_every_other_audience_time_or_form_is_refused() {
        use SvidAssertionError::{Audience, Claim, Life};
        let key = SigningKey::generate(Alg::Es256).unwrap();
        let header = SigningHeader::new(typ::JWT).kid("k");
        let cases = [
            ("aud", r#""https://aims.example/token""#, Audience),
            ("aud", r#""spiffe://a.b/server""#, Audience),
            (
                "aud",
                r#"["https://aims.example","x"]"#,
                Claim(ClaimError::Malformed("aud")),
            ),
            ("exp", "995", Life(LifeError::Expired)),
            ("iat", "1006", Life(LifeError::NotYetValid)),
            (
                "sub",
                r#""https://a.b/service/s""#,
                Claim(ClaimError::Malformed("sub")),
            ),
            (
                PROCESS_CLAIM,
                r#""x""#,
                Claim(ClaimError::Malformed(PROCESS_CLAIM)),
            ),
            ("jti", r#""""#, Claim(ClaimError::Malformed("jti"))),
        ];
        for (name, value, why) in cases {
            let object = aims_json::parse(good().as_bytes(), &aims_json::Limits::TOKEN).unwrap();
            let mut object = object.as_object().unwrap().clone();
            object.remove(name);
            let gone = aims_json::Value::from(object.clone()).to_string();
            assert!(verified(&key, (&header, &gone), NOW).is_err(), "no {name}");
            let value = aims_json::parse(value.as_bytes(), &aims_json::Limits::TOKEN).unwrap();
            let other = aims_json::Value::from(object.with(name, value)).to_string();
            let found = verified(&key, (&header, &other), NOW);
            assert_eq!(found, Err(why), "{other}");
        }
    }

    #[test]
    fn trap_6_a_header_that_says_more_is_refused() {
        let key = SigningKey::generate(Alg::Es256).unwrap();
        for (header, why) in [
            (
                SigningHeader::new(typ::JWT).embed_key(),
                SvidAssertionError::Signature(VerifyError::NoKid),
            ),
            (
                SigningHeader::new(typ::JWT),
                SvidAssertionError::Signature(VerifyError::NoKid),
            ),
            (
                SigningHeader::new(typ::JWT).kid("other"),
                SvidAssertionError::Signature(VerifyError::UnknownKid),
            ),
            (
                SigningHeader::new(typ::CLIENT_AUTHENTICATION).kid("k"),
                SvidAssertionError::Signature(VerifyError::Typ { expected: typ::JWT }),
            ),
        ] {
            assert_eq!(verified(&key, (&header, &good()), NOW), Err(why));
        }
        // Its signature is right, and does not help.
        let encode = |text: &str| aims_crypto::base64url::encode(text.as_bytes());
        for more in [r#""cty":"JWT""#, r#""x":1"#] {
            let header = format!(r#"{{"alg":"ES256","kid":"k","typ":"JWT",{more}}}"#);
            let input = format!("{}.{}", encode(&header), encode(&good()));
            let signature = key.sign(input.as_bytes()).unwrap();
            let signature = aims_crypto::base64url::encode(signature.as_bytes());
            let text = format!("{input}.{signature}");
            let expect = AssertionExpect {
                issuer: ISSUER,
                now: NOW,
            };
            let parsed = UnverifiedSvidAssertion::parse(&text).unwrap();
            let found = parsed.verify(&One(*key.public()), &expect);
            assert_eq!(found, Err(SvidAssertionError::Header), "{more}");
        }
    }

    proptest! {
        #[test]
        fn reading_any_text_never_panics(text: String) {
            let _ = UnverifiedSvidAssertion::parse(&text);
        }
    }
}
