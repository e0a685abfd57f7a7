//! Signed assertions: a client that authenticates, a person who asks for a token (RFC 7523).

use std::time::Duration;

use aims_crypto::{PublicKey, SignError, Signer};
use aims_jose::{
    ClaimError, Claims, Jws, JwsLimits, ParseJwsError, SigningHeader, VerifyError, sign, typ,
};
use aims_json::{Object, Value};
use aims_types::{Id, Person, Timestamp};

use crate::life::{Life, LifeError, jti, not_before};

/// Longest life of an assertion.
pub const ASSERTION_LIFE_MAX: Duration = Duration::from_mins(1);

/// What an assertion says, apart from who says it.
#[derive(Debug, Clone, Copy)]
pub struct AssertionClaims<'a> {
    /// The issuer identifier of the authorization server: the sole audience (rfc7523bis §3).
    pub audience: &'a str,
    /// The id of the key, if the server knows several.
    pub kid: Option<&'a str>,
    /// An identifier that was never used before.
    pub jti: &'a str,
    /// Now; the assertion lives for [`ASSERTION_LIFE_MAX`].
    pub now: Timestamp,
}

/// What an assertion must be for.
#[derive(Debug, Clone, Copy)]
pub struct AssertionExpect<'a> {
    /// Our issuer identifier. The URL of the token endpoint is not accepted in its place: it
    /// would let another server use what was meant for it (rfc7523bis §4).
    pub issuer: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// A client assertion that is not verified; it says whose key to verify it with.
#[derive(Debug, Clone)]
pub struct UnverifiedClientAssertion(Unverified);

/// A client that proved who it is (RFC 7523 §2.2), but for replay of `jti`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAssertion(Checked);

/// A person's grant that is not verified; it says whose key to verify it with.
#[derive(Debug, Clone)]
pub struct UnverifiedPersonGrant {
    inner: Unverified,
    person: Id<Person>,
}

/// A person who proved who they are (RFC 7523 §2.1), but for replay of `jti`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonGrant {
    inner: Checked,
    person: Id<Person>,
}

/// Why an assertion is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// Not a well-formed JWT.
    #[error("the assertion is not a JWT: {0}")]
    Malformed(#[from] ParseJwsError),
    /// A claim is missing or malformed (RFC 7523 §3).
    #[error("the assertion: {0}")]
    Claim(#[from] ClaimError),
    /// `typ`, `alg` or the signature is wrong.
    #[error("the assertion: {0}")]
    Signature(#[from] VerifyError),
    /// RFC 7523 §3, items 1 and 2: who asks speaks for itself.
    #[error("`iss` and `sub` of the assertion differ")]
    Subject,
    /// rfc7523bis §3: the audience is our issuer identifier and nothing else.
    #[error("`aud` of the assertion must be the issuer identifier and nothing else")]
    Audience,
    /// Not valid now.
    #[error("the assertion: {0}")]
    Life(#[from] LifeError),
}

#[derive(Debug, Clone)]
struct Unverified {
    jws: Jws,
    subject: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Checked {
    subject: String,
    jti: String,
    expires_at: Timestamp,
}

impl UnverifiedClientAssertion {
    /// Reads the parameter `client_assertion`.
    pub fn parse(text: &str) -> Result<Self, AssertionError> {
        Unverified::parse(text).map(Self)
    }

    /// The client that this assertion claims to be from.
    pub fn claimed_client_id(&self) -> &str {
        &self.0.subject
    }

    /// The key that this assertion claims to be signed with.
    pub fn claimed_kid(&self) -> Option<&str> {
        self.0.jws.unverified_header().kid.as_deref()
    }

    /// Verifies with a key of the claimed client.
    pub fn verify(
        &self,
        key: &PublicKey,
        expect: &AssertionExpect<'_>,
    ) -> Result<ClientAssertion, AssertionError> {
        self.0
            .verify(key, typ::CLIENT_AUTHENTICATION, expect)
            .map(ClientAssertion)
    }

    /// Verifies an assertion that a public library may have written: without its type, which
    /// rfc7523bis §4 lets a server accept, since the audience is the issuer identifier alone. The
    /// key has to be enrolled for client authentication and nothing else.
    pub fn verify_of_library(
        &self,
        key: &PublicKey,
        expect: &AssertionExpect<'_>,
    ) -> Result<ClientAssertion, AssertionError> {
        let jws = &self.0.jws;
        let claims = jws.verify_of_library(key, typ::CLIENT_AUTHENTICATION)?;
        check(&claims, expect).map(ClientAssertion)
    }
}

impl ClientAssertion {
    /// Makes the parameter `client_assertion` for `client_id`.
    pub fn create(
        signer: &dyn Signer,
        client_id: &str,
        claims: &AssertionClaims<'_>,
    ) -> Result<String, SignError> {
        create(typ::CLIENT_AUTHENTICATION, signer, client_id, claims)
    }

    /// The client.
    pub fn client_id(&self) -> &str {
        &self.0.subject
    }

    /// The identifier, to be refused when it comes again.
    pub fn jti(&self) -> &str {
        &self.0.jti
    }

    /// Until when a replay would pass.
    pub const fn replayable_until(&self) -> Timestamp {
        self.0.expires_at
    }
}

impl UnverifiedPersonGrant {
    /// Reads the parameter `assertion` of a `jwt-bearer` grant.
    pub fn parse(text: &str) -> Result<Self, AssertionError> {
        let inner = Unverified::parse(text)?;
        let person = inner.jws.unverified_claims().parse("sub")?;
        Ok(Self { inner, person })
    }

    /// The person that this grant claims to be from.
    pub const fn claimed_person(&self) -> Id<Person> {
        self.person
    }

    /// The key that this grant claims to be signed with.
    pub fn claimed_kid(&self) -> Option<&str> {
        self.inner.jws.unverified_header().kid.as_deref()
    }

    /// Verifies with a key of the claimed person.
    pub fn verify(
        &self,
        key: &PublicKey,
        expect: &AssertionExpect<'_>,
    ) -> Result<PersonGrant, AssertionError> {
        let inner = self.inner.verify(key, typ::AUTHORIZATION_GRANT, expect)?;
        Ok(PersonGrant {
            inner,
            person: self.person,
        })
    }
}

impl PersonGrant {
    /// Makes the parameter `assertion` for `person`.
    pub fn create(
        signer: &dyn Signer,
        person: Id<Person>,
        claims: &AssertionClaims<'_>,
    ) -> Result<String, SignError> {
        create(
            typ::AUTHORIZATION_GRANT,
            signer,
            &person.to_string(),
            claims,
        )
    }

    /// The person.
    pub const fn person(&self) -> Id<Person> {
        self.person
    }

    /// The identifier, to be refused when it comes again.
    pub fn jti(&self) -> &str {
        &self.inner.jti
    }

    /// Until when a replay would pass.
    pub const fn replayable_until(&self) -> Timestamp {
        self.inner.expires_at
    }
}

impl Unverified {
    fn parse(text: &str) -> Result<Self, AssertionError> {
        let jws = Jws::parse(text, &JwsLimits::PROOF)?;
        let subject = jws.unverified_claims().text("sub")?.to_owned();
        Ok(Self { jws, subject })
    }

    fn verify(
        &self,
        key: &PublicKey,
        typ: &'static str,
        expect: &AssertionExpect<'_>,
    ) -> Result<Checked, AssertionError> {
        check(&*self.jws.verify(key, typ)?, expect)
    }
}

fn check(claims: &Claims, expect: &AssertionExpect<'_>) -> Result<Checked, AssertionError> {
    let subject = claims.text("sub")?;
    if claims.text("iss")? != subject {
        return Err(AssertionError::Subject);
    }
    if claims.sole_audience()? != expect.issuer {
        return Err(AssertionError::Audience);
    }
    let life = Life::of(claims)?;
    life.check_length(ASSERTION_LIFE_MAX)?;
    life.check_now(expect.now)?;
    if !not_before(claims, expect.now)? {
        return Err(LifeError::NotYetValid.into());
    }
    Ok(Checked {
        subject: subject.to_owned(),
        jti: jti(claims)?.to_owned(),
        expires_at: life.expires_at.plus(crate::CLOCK_LEEWAY),
    })
}

fn create(
    typ: &'static str,
    signer: &dyn Signer,
    subject: &str,
    claims: &AssertionClaims<'_>,
) -> Result<String, SignError> {
    let header = SigningHeader::new(typ);
    let header = match claims.kid {
        Some(kid) => header.kid(kid),
        None => header,
    };
    let object = Object::new()
        .with("iss", subject)
        .with("sub", subject)
        .with("aud", claims.audience)
        .with("jti", claims.jti)
        .with("iat", claims.now.unix_secs())
        .with("exp", claims.now.plus(ASSERTION_LIFE_MAX).unix_secs());
    sign(&header, Value::from(object).to_string().as_bytes(), signer)
}

#[cfg(test)]
mod tests;
