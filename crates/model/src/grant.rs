//! Grants: one hop of authority as signed claims, a person's consent to the first hop, and an
//! instance's request for each further one.
//!
//! A grant is the internal truth about authority. The server signs it with its grant key (JWS,
//! `typ` [`GRANT_TYP`]); the root grant carries the person's consent, signed with the person's own
//! key (`typ` [`CONSENT_TYP`]); a grant below it carries the request of the instance that delegates
//! (`typ` [`DELEGATION_TYP`]), signed with the key that its workload identity token binds. All
//! claim sets are canonical JSON, so that a digest names them.

use aims_authority::Authority;
use aims_crypto::sha256;
use aims_json::{Limits, Object, Value};
use aims_types::{
    Delegation, Digest, Id, Name, Person, Revision, SpiffeId, Timestamp, TrustDomain,
};

use crate::Text;

/// `typ` of a grant's JWS.
pub const GRANT_TYP: &str = "aims-grant+jwt";
/// `typ` of a consent's JWS.
pub const CONSENT_TYP: &str = "aims-consent+jwt";
/// `typ` of the JWS by which an instance delegates.
pub const DELEGATION_TYP: &str = "aims-delegation+jwt";
/// Most hops from the root to a leaf.
pub const CHAIN_LEN_MAX: usize = 8;
/// Longest life of a task, and so of any grant, in seconds: one day.
pub const GRANT_TTL_SECS_MAX: u64 = 24 * 60 * 60;

/// One hop of authority.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// Identity of the hop.
    pub id: Id<Delegation>,
    /// The trust domain that issued it.
    pub issuer: TrustDomain,
    /// The task it serves.
    pub task: Id<aims_types::Task>,
    /// The task's purpose, in words.
    pub purpose: Text,
    /// Who gives the authority.
    pub delegator: Delegator,
    /// Which agent receives it.
    pub delegate: Id<aims_types::Agent>,
    /// The receiving agent's identifier.
    pub delegate_spiffe_id: SpiffeId,
    /// The ids of all hops above, root first.
    pub ancestors: Vec<Id<Delegation>>,
    /// Digest of the parent grant's JWS; absent at the root.
    pub parent: Option<Digest>,
    /// What may be done.
    pub authority: Authority,
    /// The revision at which it was minted.
    pub revision: Revision,
    /// From when it is valid.
    pub issued_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Who gives authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delegator {
    /// A person; `consent` is their signed consent (compact JWS).
    Person {
        /// Who.
        id: Id<Person>,
        /// Their name.
        name: Name,
        /// The consent they signed.
        consent: String,
    },
    /// An agent that hands on a part of what it has.
    Agent {
        /// Which; the delegate of the hop above.
        id: Id<aims_types::Agent>,
        /// Its identifier.
        spiffe_id: SpiffeId,
        /// The instance that asked.
        instance: Id<aims_types::Instance>,
        /// What it asked for: a [`DelegationRequest`] that its key signed (compact JWS).
        request: String,
        /// The workload identity token that binds that key to it (compact JWS).
        wit: String,
    },
}

/// What an instance signs when it delegates: exactly what it hands on, and to whom.
#[derive(Debug, Clone, PartialEq)]
pub struct DelegationRequest {
    /// The instance that delegates.
    pub instance: Id<aims_types::Instance>,
    /// The trust domain that may use it.
    pub audience: TrustDomain,
    /// Unique; a request is used once.
    pub jti: String,
    /// When it was made.
    pub issued_at: Timestamp,
    /// Digest of the grant that it hands on a part of.
    pub parent: Digest,
    /// Which agent is to act.
    pub agent: Name,
    /// What for.
    pub purpose: Text,
    /// Until when.
    pub deadline: Timestamp,
    /// What it may do.
    pub authority: Authority,
}

/// What a person signs when they start a task: exactly what they let happen.
#[derive(Debug, Clone, PartialEq)]
pub struct Consent {
    /// Who consents.
    pub person: Id<Person>,
    /// The trust domain that may use it.
    pub audience: TrustDomain,
    /// Unique; a consent is used once.
    pub jti: String,
    /// When it was given.
    pub issued_at: Timestamp,
    /// Which agent is to act.
    pub agent: Name,
    /// What for.
    pub purpose: Text,
    /// Until when.
    pub deadline: Timestamp,
    /// What it may do.
    pub authority: Authority,
}

/// Why claims are not a grant or a consent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not canonical JSON, or over a limit.
    #[error("the claims are not canonical JSON: {0}")]
    Encoding(String),
    /// A member is missing, unknown or of the wrong form.
    #[error("the claim `{0}` is missing or malformed")]
    Claim(&'static str),
    /// The authority in it can't be read.
    #[error("the authority can't be read: {0}")]
    Authority(String),
}

impl Grant {
    /// The canonical claims, to be signed.
    pub fn to_claims(&self) -> Result<Vec<u8>, GrantError> {
        let ancestors = self
            .ancestors
            .iter()
            .map(|id| Value::from(id.to_string()))
            .collect();
        let delegator = self.delegator.to_object();
        let delegate = Object::new()
            .with("id", self.delegate.to_string())
            .with("spiffe_id", self.delegate_spiffe_id.as_str());
        let claims = Object::new()
            .with("iss", self.issuer.as_str())
            .with("jti", self.id.to_string())
            .with("iat", self.issued_at.unix_millis())
            .with("exp", self.expires_at.unix_millis())
            .with("task", self.task.to_string())
            .with("purpose", self.purpose.as_str())
            .with("delegator", delegator)
            .with("delegate", delegate)
            .with("ancestors", Value::Array(ancestors))
            .with(
                "parent",
                self.parent
                    .map_or(Value::Null, |d| Value::from(d.to_string())),
            )
            .with("authority", self.authority.to_value())
            .with("rev", self.revision.number());
        encode(claims)
    }

    /// Reads canonical claims; anything unknown or missing is refused.
    pub fn from_claims(bytes: &[u8]) -> Result<Self, GrantError> {
        let mut claims = Claims::read(bytes)?;
        let mut delegator = claims.object("delegator")?;
        let mut delegate = claims.object("delegate")?;
        let grant = Self {
            id: claims.parsed("jti")?,
            issuer: claims.parsed("iss")?,
            task: claims.parsed("task")?,
            purpose: claims.parsed("purpose")?,
            delegator: Delegator::take(&mut delegator)?,
            delegate: delegate.parsed("id")?,
            delegate_spiffe_id: delegate.parsed("spiffe_id")?,
            ancestors: claims.ancestors()?,
            parent: claims.optional_digest("parent")?,
            authority: claims.authority()?,
            revision: Revision::new(claims.number("rev")?),
            issued_at: Timestamp::from_unix_millis(claims.number("iat")?),
            expires_at: Timestamp::from_unix_millis(claims.number("exp")?),
        };
        delegator.finish("delegator")?;
        delegate.finish("delegate")?;
        claims.finish("unknown member")?;
        Ok(grant)
    }
}

impl Delegator {
    fn to_object(&self) -> Object {
        match self {
            Self::Person { id, name, consent } => Object::new()
                .with("type", "person")
                .with("id", id.to_string())
                .with("name", name.as_str())
                .with("consent", consent.as_str()),
            Self::Agent {
                id,
                spiffe_id,
                instance,
                request,
                wit,
            } => Object::new()
                .with("type", "agent")
                .with("id", id.to_string())
                .with("spiffe_id", spiffe_id.as_str())
                .with("instance", instance.to_string())
                .with("request", request.as_str())
                .with("wit", wit.as_str()),
        }
    }

    fn take(claims: &mut Claims) -> Result<Self, GrantError> {
        match claims.text("type")?.as_str() {
            "person" => Ok(Self::Person {
                id: claims.parsed("id")?,
                name: claims.parsed("name")?,
                consent: claims.text("consent")?,
            }),
            "agent" => Ok(Self::Agent {
                id: claims.parsed("id")?,
                spiffe_id: claims.parsed("spiffe_id")?,
                instance: claims.parsed("instance")?,
                request: claims.text("request")?,
                wit: claims.text("wit")?,
            }),
            _ => Err(GrantError::Claim("delegator")),
        }
    }
}

impl DelegationRequest {
    /// The canonical claims, to be signed with the instance's key.
    pub fn to_claims(&self) -> Result<Vec<u8>, GrantError> {
        let claims = Object::new()
            .with("iss", self.instance.to_string())
            .with("aud", self.audience.as_str())
            .with("jti", self.jti.as_str())
            .with("iat", self.issued_at.unix_millis())
            .with("parent", self.parent.to_string())
            .with("agent", self.agent.as_str())
            .with("purpose", self.purpose.as_str())
            .with("deadline", self.deadline.unix_millis())
            .with("authority", self.authority.to_value());
        encode(claims)
    }

    /// Reads canonical claims; anything unknown or missing is refused.
    pub fn from_claims(bytes: &[u8]) -> Result<Self, GrantError> {
        let mut claims = Claims::read(bytes)?;
        let request = Self {
            instance: claims.parsed("iss")?,
            audience: claims.parsed("aud")?,
            jti: claims.text("jti")?,
            issued_at: Timestamp::from_unix_millis(claims.number("iat")?),
            parent: claims.parsed("parent")?,
            agent: claims.parsed("agent")?,
            purpose: claims.parsed("purpose")?,
            deadline: Timestamp::from_unix_millis(claims.number("deadline")?),
            authority: claims.authority()?,
        };
        claims.finish("unknown member")?;
        Ok(request)
    }
}

impl Consent {
    /// The canonical claims, to be signed by the person.
    pub fn to_claims(&self) -> Result<Vec<u8>, GrantError> {
        let claims = Object::new()
            .with("iss", self.person.to_string())
            .with("aud", self.audience.as_str())
            .with("jti", self.jti.as_str())
            .with("iat", self.issued_at.unix_millis())
            .with("agent", self.agent.as_str())
            .with("purpose", self.purpose.as_str())
            .with("deadline", self.deadline.unix_millis())
            .with("authority", self.authority.to_value());
        encode(claims)
    }

    /// Reads canonical claims; anything unknown or missing is refused.
    pub fn from_claims(bytes: &[u8]) -> Result<Self, GrantError> {
        let mut claims = Claims::read(bytes)?;
        let consent = Self {
            person: claims.parsed("iss")?,
            audience: claims.parsed("aud")?,
            jti: claims.text("jti")?,
            issued_at: Timestamp::from_unix_millis(claims.number("iat")?),
            agent: claims.parsed("agent")?,
            purpose: claims.parsed("purpose")?,
            deadline: Timestamp::from_unix_millis(claims.number("deadline")?),
            authority: claims.authority()?,
        };
        claims.finish("unknown member")?;
        Ok(consent)
    }
}

/// The digest that names a signed grant: SHA-256 of its compact JWS.
pub fn grant_digest(jws: &str) -> Digest {
    sha256(jws.as_bytes())
}

fn encode(claims: Object) -> Result<Vec<u8>, GrantError> {
    aims_json::to_canonical(&Value::Object(claims))
        .map_err(|error| GrantError::Encoding(error.to_string()))
}

/// Members that are taken out one by one, so that what is left over is unknown.
struct Claims(Object);

impl Claims {
    fn read(bytes: &[u8]) -> Result<Self, GrantError> {
        match aims_json::parse_canonical(bytes, &Limits::TOKEN) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            Ok(_) => Err(GrantError::Encoding("not an object".to_owned())),
            Err(error) => Err(GrantError::Encoding(error.to_string())),
        }
    }

    fn take(&mut self, name: &'static str) -> Result<Value, GrantError> {
        self.0.remove(name).ok_or(GrantError::Claim(name))
    }

    fn object(&mut self, name: &'static str) -> Result<Self, GrantError> {
        match self.take(name)? {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(GrantError::Claim(name)),
        }
    }

    fn text(&mut self, name: &'static str) -> Result<String, GrantError> {
        match self.take(name)? {
            Value::String(text) => Ok(text),
            _ => Err(GrantError::Claim(name)),
        }
    }

    fn parsed<T: std::str::FromStr>(&mut self, name: &'static str) -> Result<T, GrantError> {
        self.text(name)?
            .parse()
            .map_err(|_| GrantError::Claim(name))
    }

    fn number(&mut self, name: &'static str) -> Result<u64, GrantError> {
        self.take(name)?.as_u64().ok_or(GrantError::Claim(name))
    }

    fn optional_digest(&mut self, name: &'static str) -> Result<Option<Digest>, GrantError> {
        match self.take(name)? {
            Value::Null => Ok(None),
            Value::String(text) => text.parse().map(Some).map_err(|_| GrantError::Claim(name)),
            _ => Err(GrantError::Claim(name)),
        }
    }

    fn ancestors(&mut self) -> Result<Vec<Id<Delegation>>, GrantError> {
        const NAME: &str = "ancestors";
        let Value::Array(items) = self.take(NAME)? else {
            return Err(GrantError::Claim(NAME));
        };
        if items.len() >= CHAIN_LEN_MAX {
            return Err(GrantError::Claim(NAME));
        }
        let parse = |item: &Value| item.as_str().and_then(|text| text.parse().ok());
        items
            .iter()
            .map(|item| parse(item).ok_or(GrantError::Claim(NAME)))
            .collect()
    }

    fn authority(&mut self) -> Result<Authority, GrantError> {
        let value = self.take("authority")?;
        Authority::from_value(&value).map_err(|error| GrantError::Authority(error.to_string()))
    }

    fn finish(self, name: &'static str) -> Result<(), GrantError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(GrantError::Claim(name))
        }
    }
}
