//! The workload identity token (WIT) of an instance (draft-ietf-wimse-workload-creds, 2026-08).

use std::time::Duration;

use aims_crypto::{PublicKey, SignError, Signer};
use aims_jose::{
    ClaimError, Claims, Jwk, Jws, JwsAlg, JwsLimits, KeySource, ParseJwkError, ParseJwsError,
    SigningHeader, VerifyError, sign, typ,
};
use aims_json::{Object, Value};
use aims_types::{Id, Instance, SpiffeId, Timestamp, Token, TrustDomain};

use crate::life::{Life, LifeError, not_before};

/// Longest life of a workload identity token. The draft says "on the order of hours"; an agent's
/// usually lives 10 minutes.
pub const WORKLOAD_IDENTITY_LIFE_MAX: Duration = Duration::from_hours(1);
/// The claim that names the instance; private to AIMS.
const INSTANCE: &str = "aims_instance";

/// What a workload identity token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadIdentityClaims {
    /// Who issued it; for records, never to find keys.
    pub issuer: Option<String>,
    /// The identifier of the agent (`sub`).
    pub subject: SpiffeId,
    /// The instance that holds the key.
    pub instance: Id<Instance>,
    /// The key of the instance (`cnf.jwk`).
    pub key: PublicKey,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Its id, for records and revocation; never a replay key.
    pub token: Id<Token>,
}

/// A verified workload identity token. **Not a bearer token**: who presents it must prove
/// possession of [`WorkloadIdentityClaims::key`], under the algorithm [`Self::proof_alg`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadIdentity {
    claims: WorkloadIdentityClaims,
    proof_alg: JwsAlg,
}

/// Whose tokens are accepted, and when.
#[derive(Debug, Clone, Copy)]
pub struct WorkloadIdentityExpect<'a> {
    /// The trust domain that the keys belong to.
    pub trust_domain: &'a TrustDomain,
    /// Now.
    pub now: Timestamp,
}

/// Why a workload identity token was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreateWorkloadIdentityError {
    /// Its life is empty or too long.
    #[error(transparent)]
    CallerLife(#[from] LifeError),
    /// The key could not sign.
    #[error(transparent)]
    InternalSign(#[from] SignError),
}

/// Why a workload identity token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadIdentityError {
    /// Not a well-formed JWT.
    #[error("the workload identity token is not a JWT: {0}")]
    Malformed(#[from] ParseJwsError),
    /// A claim is missing, malformed or forbidden (`aud`, for it is no bearer token).
    #[error("the workload identity token: {0}")]
    Claim(#[from] ClaimError),
    /// `typ`, `alg`, `kid` or the signature is wrong.
    #[error("the workload identity token: {0}")]
    Signature(#[from] VerifyError),
    /// `sub` lies in another trust domain than the keys.
    #[error("the subject lies in another trust domain")]
    TrustDomain,
    /// `cnf.jwk` is not a public key of ours.
    #[error("the claim `cnf.jwk`: {0}")]
    Key(#[from] ParseJwkError),
    /// `cnf.jwk` does not say under which `alg` it is used.
    #[error("the claim `cnf.jwk` has no `alg`")]
    KeyAlg,
    /// Not valid now.
    #[error("the workload identity token: {0}")]
    Life(#[from] LifeError),
}

impl WorkloadIdentityClaims {
    /// Signs the token with the key `kid` of the trust domain.
    pub fn create(
        &self,
        signer: &dyn Signer,
        kid: &str,
    ) -> Result<String, CreateWorkloadIdentityError> {
        let life = Life {
            issued_at: self.issued_at,
            expires_at: self.expires_at,
        };
        life.check_length(WORKLOAD_IDENTITY_LIFE_MAX)?;
        let jwk = Jwk::new(self.key).with_alg().to_value();
        let mut claims = Object::new();
        if let Some(issuer) = &self.issuer {
            claims = claims.with("iss", issuer.as_str());
        }
        let claims = claims
            .with("sub", self.subject.as_str())
            .with("iat", self.issued_at.unix_secs())
            .with("exp", self.expires_at.unix_secs())
            .with("jti", self.token.to_string())
            .with("cnf", Object::new().with("jwk", jwk))
            .with(INSTANCE, self.instance.to_string());
        let header = SigningHeader::new(typ::WORKLOAD_IDENTITY).kid(kid);
        Ok(sign(
            &header,
            Value::from(claims).to_string().as_bytes(),
            signer,
        )?)
    }
}

impl WorkloadIdentity {
    /// Verifies a token with the keys of its trust domain, which the caller configured.
    pub fn verify(
        text: &str,
        keys: &dyn KeySource,
        expect: &WorkloadIdentityExpect<'_>,
    ) -> Result<Self, WorkloadIdentityError> {
        let jws = Jws::parse(text, &JwsLimits::TOKEN)?;
        let claims = jws.verify_by_kid(keys, typ::WORKLOAD_IDENTITY)?;
        claims.without(&["aud"])?;
        let subject: SpiffeId = claims.parse("sub")?;
        if subject.trust_domain() != *expect.trust_domain {
            return Err(WorkloadIdentityError::TrustDomain);
        }
        let life = Life::of(&claims)?;
        life.check_length(WORKLOAD_IDENTITY_LIFE_MAX)?;
        life.check_now(expect.now)?;
        if !not_before(&claims, expect.now)? {
            return Err(LifeError::NotYetValid.into());
        }
        let jwk = confirmation(&claims)?;
        Ok(Self {
            proof_alg: jwk.alg().ok_or(WorkloadIdentityError::KeyAlg)?,
            claims: WorkloadIdentityClaims {
                issuer: claims.optional_text("iss")?.map(str::to_owned),
                subject,
                instance: claims.parse(INSTANCE)?,
                key: *jwk.key(),
                issued_at: life.issued_at,
                expires_at: life.expires_at,
                token: claims.parse("jti")?,
            },
        })
    }

    /// What the token says.
    pub const fn claims(&self) -> &WorkloadIdentityClaims {
        &self.claims
    }

    /// The one `alg` that a proof of possession may name.
    pub const fn proof_alg(&self) -> JwsAlg {
        self.proof_alg
    }
}

fn confirmation(claims: &Claims) -> Result<Jwk, WorkloadIdentityError> {
    let jwk = claims
        .value("cnf")?
        .get("jwk")
        .ok_or(ClaimError::Malformed("cnf"))?;
    Ok(Jwk::parse(jwk)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{NOW, claims_of, forge, key, trust};

    fn sample() -> WorkloadIdentityClaims {
        WorkloadIdentityClaims {
            issuer: Some("https://aims.example".to_owned()),
            subject: "spiffe://aims.example/agent/notes".parse().unwrap(),
            instance: Id::from_u128(5),
            key: *key(2).public(),
            issued_at: NOW,
            expires_at: NOW.plus(Duration::from_mins(10)),
            token: Id::from_u128(6),
        }
    }

    fn verify(text: &str) -> Result<WorkloadIdentity, WorkloadIdentityError> {
        let trust_domain = "aims.example".parse().unwrap();
        let expect = WorkloadIdentityExpect {
            trust_domain: &trust_domain,
            now: NOW,
        };
        WorkloadIdentity::verify(text, &trust(key(1).public()), &expect)
    }

    fn changed(from: &str, to: &str) -> Result<WorkloadIdentity, WorkloadIdentityError> {
        let claims = claims_of(&sample().create(&key(1), "k").unwrap());
        assert!(claims.contains(from), "{from} is not in {claims}");
        let header = r#"{"typ":"wit+jwt","alg":"EdDSA","kid":"k"}"#;
        verify(&forge(header, &claims.replace(from, to), &key(1)))
    }

    #[test]
    fn what_is_created_verifies() {
        let identity = verify(&sample().create(&key(1), "k").unwrap()).unwrap();
        assert_eq!(identity.claims(), &sample());
        assert_eq!(identity.proof_alg(), JwsAlg::EdDsa);
    }

    #[test]
    fn trap_1_a_key_without_alg_is_refused() {
        assert_eq!(
            changed(r#","alg":"EdDSA""#, ""),
            Err(WorkloadIdentityError::KeyAlg)
        );
        let wrong = changed(r#""alg":"EdDSA""#, r#""alg":"ES256""#);
        assert_eq!(wrong, Err(WorkloadIdentityError::Key(ParseJwkError::Alg)));
    }

    #[test]
    fn trap_5_an_audience_is_refused() {
        let refused = changed(r#""iat":"#, r#""aud":"https://x","iat":"#);
        assert_eq!(refused, Err(ClaimError::Forbidden("aud").into()));
    }

    #[test]
    fn trap_3_keys_are_of_the_trust_domain_and_not_of_iss() {
        let other = changed("spiffe://aims.example/", "spiffe://other.example/");
        assert_eq!(other, Err(WorkloadIdentityError::TrustDomain));
        assert!(changed(r#""iss":"https://aims.example""#, r#""iss":"https://evil""#).is_ok());
        assert!(changed(r#""iss":"https://aims.example","#, "").is_ok());
        let unknown = verify(&sample().create(&key(1), "l").unwrap());
        assert_eq!(unknown, Err(VerifyError::UnknownKid.into()));
    }

    #[test]
    fn tokens_with_wrong_claims_are_refused() {
        let forbidden = |name| WorkloadIdentityError::Claim(ClaimError::Malformed(name));
        let subject = sample().subject;
        for (from, to, why) in [
            (subject.as_str(), "wimse://aims.example/x", forbidden("sub")),
            (INSTANCE, "other", ClaimError::Missing(INSTANCE).into()),
            (r#""jwk":"#, r#""kid":"#, forbidden("cnf")),
            (
                "1800000600",
                "1800003601",
                LifeError::TooLong {
                    max: WORKLOAD_IDENTITY_LIFE_MAX,
                }
                .into(),
            ),
            (
                "1800000600",
                "1800000000",
                LifeError::TooLong {
                    max: WORKLOAD_IDENTITY_LIFE_MAX,
                }
                .into(),
            ),
            ("1800000000", "1800000009", LifeError::NotYetValid.into()),
            (r#""jti":""#, r#""jti":"x"#, forbidden("jti")),
        ] {
            assert_eq!(changed(from, to), Err(why), "{from} -> {to}");
        }
        let long = WorkloadIdentityClaims {
            expires_at: NOW.plus(WORKLOAD_IDENTITY_LIFE_MAX * 2),
            ..sample()
        };
        assert!(long.create(&key(1), "k").is_err());
    }

    proptest! {
        #[test]
        fn verifying_any_text_never_panics(text: String, claims in r#"\{("(sub|exp|cnf|iat)":[0-9{}"]{0,4},?){0,4}\}"#) {
            prop_assert!(verify(&text).is_err());
            let header = r#"{"typ":"wit+jwt","alg":"EdDSA","kid":"k"}"#;
            prop_assert!(verify(&forge(header, &claims, &key(1))).is_err());
        }
    }
}
