//! Access tokens (RFC 9068): what a resource learns about who calls, and on whose behalf.

use std::ops::Deref;
use std::time::Duration;

use aims_crypto::{SignError, Signer};
use aims_jose::{
    ClaimError, Claims, Jws, JwsLimits, KeySource, ParseJwsError, SigningHeader, Thumbprint,
    VerifyError, sign, typ,
};
use aims_json::{Object, Value};
use aims_types::{Digest, Id, Instance, Person, Revision, Task, Timestamp, Token};

use crate::act::{ActError, ActorChain};
use crate::details::{AuthorizationDetailsError, check_authorization_details};
use crate::life::{Life, LifeError, not_before};

mod chain;

pub use chain::{CHAIN_LEN_MAX, Chain, ChainError};

/// Longest life of an access token.
pub const ACCESS_TOKEN_LIFE_MAX: Duration = Duration::from_mins(15);
/// The one scope there is: a person's, for the administration of AIMS.
pub const ADMIN_SCOPE: &str = "aims:admin";

const TASK: &str = "aims_task";
const INSTANCE: &str = "aims_instance";
const CHAIN: &str = "aims_chain";
const CHAIN_HASH: &str = "aims_chain_hash";
const REVISION: &str = "aims_rev";
const ASSURANCE: &str = "aims_assurance";
const DETAILS: &str = "authorization_details";
/// Claims that a person's token must not have: they would make it look like an instance's.
const INSTANCE_ONLY: [&str; 8] = [
    TASK, INSTANCE, CHAIN, CHAIN_HASH, REVISION, ASSURANCE, DETAILS, "act",
];

/// An access token.
#[expect(
    clippy::large_enum_variant,
    reason = "tokens are read one at a time, and nearly all are an instance's"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessToken {
    /// For an instance that works on a task.
    Instance(InstanceToken),
    /// For a person who administers AIMS.
    Person(PersonToken),
}

/// What both kinds have (RFC 9068 §2.2, RFC 9449 §6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCommon {
    /// The authorization server (`iss`).
    pub issuer: String,
    /// Who obtained the token (`client_id`).
    pub client_id: String,
    /// The one resource it is for (`aud`).
    pub audience: String,
    /// When it was issued (`iat`).
    pub issued_at: Timestamp,
    /// When it ends (`exp`).
    pub expires_at: Timestamp,
    /// Its id (`jti`).
    pub token: Id<Token>,
    /// The key that must prove possession (`cnf.jkt`).
    pub jkt: Thumbprint,
}

/// A token for an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceToken {
    /// What all tokens have.
    pub common: TokenCommon,
    /// On whose behalf (`sub`): the person or agent at the root of the chain.
    pub subject: String,
    /// Who acts (`act`), unless the subject itself does.
    pub act: Option<ActorChain>,
    /// The authority, as others understand it (RFC 9396 §9.1). AIMS decides on the grants.
    pub authorization_details: Value,
    /// The task.
    pub task: Id<Task>,
    /// The instance.
    pub instance: Id<Instance>,
    /// How strongly the evidence binds the instance to its identity, by name.
    pub assurance: String,
    /// The digests of the signed grants, root first.
    pub chain: Chain,
    /// The revision at which the token was minted: cut-offs at or after it end the token.
    pub revision: Revision,
}

/// A token for a person, with the scope [`ADMIN_SCOPE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonToken {
    /// What all tokens have.
    pub common: TokenCommon,
    /// The person (`sub`).
    pub person: Id<Person>,
}

/// An access token that was verified; only [`VerifiedAccessToken::verify`] makes one.
///
/// It is bound to a key: nobody may act on it before a proof of possession was checked, which
/// [`crate::authenticate`] does for both together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAccessToken(AccessToken);

/// Which tokens are accepted, and when.
#[derive(Debug, Clone, Copy)]
pub struct TokenExpect<'a> {
    /// The authorization server that we trust.
    pub issuer: &'a str,
    /// What we are to it.
    pub audience: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// Why an access token was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateAccessTokenError {
    /// Its life is empty or too long.
    #[error(transparent)]
    CallerLife(#[from] LifeError),
    /// The authority does not have the form of RFC 9396.
    #[error(transparent)]
    CallerDetails(#[from] AuthorizationDetailsError),
    /// The token is too long to be accepted.
    #[error("the token is longer than {} bytes; the authority is too large", JwsLimits::TOKEN.text)]
    CallerTooLong,
    /// The key could not sign.
    #[error(transparent)]
    InternalSign(#[from] SignError),
}

/// Why an access token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessTokenError {
    /// Not a well-formed JWT.
    #[error("the access token is not a JWT: {0}")]
    Malformed(#[from] ParseJwsError),
    /// A claim is missing, malformed or forbidden.
    #[error("the access token: {0}")]
    Claim(#[from] ClaimError),
    /// `typ`, `alg`, `kid` or the signature is wrong (RFC 9068 §4).
    #[error("the access token: {0}")]
    Signature(#[from] VerifyError),
    /// From another authorization server (RFC 9068 §4).
    #[error("the access token is from another issuer")]
    Issuer,
    /// For another resource (RFC 9068 §4).
    #[error("the access token is for another audience")]
    Audience,
    /// Not valid now.
    #[error("the access token: {0}")]
    Life(#[from] LifeError),
    /// The actors are malformed or too many.
    #[error(transparent)]
    Act(#[from] ActError),
    /// The chain is malformed or does not match its hash.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The authority does not have the form of RFC 9396.
    #[error(transparent)]
    Details(#[from] AuthorizationDetailsError),
    /// A scope that we never issue.
    #[error("the access token has a scope that is not `{ADMIN_SCOPE}`")]
    Scope,
}

impl AccessToken {
    /// What both kinds have.
    pub const fn common(&self) -> &TokenCommon {
        match self {
            Self::Instance(token) => &token.common,
            Self::Person(token) => &token.common,
        }
    }

    /// Signs the token with the key `kid` (RFC 9068 §2).
    pub fn create(&self, signer: &dyn Signer, kid: &str) -> Result<String, CreateAccessTokenError> {
        let common = self.common();
        let life = Life {
            issued_at: common.issued_at,
            expires_at: common.expires_at,
        };
        life.check_length(ACCESS_TOKEN_LIFE_MAX)?;
        let claims = match self {
            Self::Instance(token) => {
                check_authorization_details(&token.authorization_details)?;
                token.claims()
            }
            Self::Person(token) => token
                .common
                .claims(&token.person.to_string())
                .with("scope", ADMIN_SCOPE),
        };
        let header = SigningHeader::new(typ::ACCESS_TOKEN).kid(kid);
        let text = sign(&header, Value::from(claims).to_string().as_bytes(), signer)?;
        if text.len() > JwsLimits::TOKEN.text {
            return Err(CreateAccessTokenError::CallerTooLong);
        }
        Ok(text)
    }

    fn read(claims: &Claims) -> Result<Self, AccessTokenError> {
        let common = TokenCommon::read(claims)?;
        match claims.optional_text("scope")? {
            None => InstanceToken::read(common, claims).map(Self::Instance),
            Some(ADMIN_SCOPE) => {
                claims.without(&INSTANCE_ONLY)?;
                Ok(Self::Person(PersonToken {
                    common,
                    person: claims.parse("sub")?,
                }))
            }
            Some(_) => Err(AccessTokenError::Scope),
        }
    }
}

impl VerifiedAccessToken {
    /// Verifies a token as RFC 9068 §4 says, with the keys of our authorization server.
    pub fn verify(
        text: &str,
        keys: &dyn KeySource,
        expect: &TokenExpect<'_>,
    ) -> Result<Self, AccessTokenError> {
        let jws = Jws::parse(text, &JwsLimits::TOKEN)?;
        let claims = jws.verify_by_kid(keys, typ::ACCESS_TOKEN)?;
        let token = AccessToken::read(&claims)?;
        let common = token.common();
        if common.issuer != expect.issuer {
            return Err(AccessTokenError::Issuer);
        }
        if common.audience != expect.audience {
            return Err(AccessTokenError::Audience);
        }
        let life = Life {
            issued_at: common.issued_at,
            expires_at: common.expires_at,
        };
        life.check_length(ACCESS_TOKEN_LIFE_MAX)?;
        life.check_now(expect.now)?;
        if !not_before(&claims, expect.now)? {
            return Err(LifeError::NotYetValid.into());
        }
        Ok(Self(token))
    }

    /// Gives up the proof and keeps the token.
    pub fn into_inner(self) -> AccessToken {
        self.0
    }
}

impl Deref for VerifiedAccessToken {
    type Target = AccessToken;

    fn deref(&self) -> &AccessToken {
        &self.0
    }
}

impl TokenCommon {
    fn claims(&self, subject: &str) -> Object {
        Object::new()
            .with("iss", self.issuer.as_str())
            .with("sub", subject)
            .with("client_id", self.client_id.as_str())
            .with("aud", self.audience.as_str())
            .with("iat", self.issued_at.unix_secs())
            .with("exp", self.expires_at.unix_secs())
            .with("jti", self.token.to_string())
            .with("cnf", Object::new().with("jkt", self.jkt.to_string()))
    }

    fn read(claims: &Claims) -> Result<Self, AccessTokenError> {
        let life = Life::of(claims)?;
        let jkt = claims.value("cnf")?.get("jkt").and_then(Value::as_str);
        let jkt = jkt
            .and_then(|text| text.parse().ok())
            .ok_or(ClaimError::Malformed("cnf"))?;
        Ok(Self {
            issuer: claims.text("iss")?.to_owned(),
            client_id: claims.text("client_id")?.to_owned(),
            audience: claims.sole_audience()?.to_owned(),
            issued_at: life.issued_at,
            expires_at: life.expires_at,
            token: claims.parse("jti")?,
            jkt,
        })
    }
}

impl InstanceToken {
    fn claims(&self) -> Object {
        let mut claims = self.common.claims(&self.subject);
        if let Some(act) = &self.act {
            claims = claims.with("act", act.to_value());
        }
        claims
            .with(DETAILS, self.authorization_details.clone())
            .with(TASK, self.task.to_string())
            .with(INSTANCE, self.instance.to_string())
            .with(CHAIN, self.chain.to_value())
            .with(CHAIN_HASH, self.chain.commitment().to_string())
            .with(REVISION, self.revision.number())
            .with(ASSURANCE, self.assurance.as_str())
    }

    fn read(common: TokenCommon, claims: &Claims) -> Result<Self, AccessTokenError> {
        let chain = Chain::parse(claims.value(CHAIN)?)?;
        if claims.parse::<Digest>(CHAIN_HASH)? != chain.commitment() {
            return Err(ChainError::Commitment.into());
        }
        let details = claims.value(DETAILS)?;
        check_authorization_details(details)?;
        Ok(Self {
            common,
            subject: claims.text("sub")?.to_owned(),
            act: claims.get("act").map(ActorChain::parse).transpose()?,
            authorization_details: details.clone(),
            task: claims.parse(TASK)?,
            instance: claims.parse(INSTANCE)?,
            assurance: claims.text(ASSURANCE)?.to_owned(),
            chain,
            revision: Revision::new(claims.number(REVISION)?),
        })
    }
}

#[cfg(test)]
mod tests;
