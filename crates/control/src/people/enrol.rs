//! Enrolling a person with a key.

use aims_model::{KeyOwner, KeyPurpose, Person, Role};
use aims_types::Cx;

use crate::access::{AccessError, Operator};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::identity::{self, IdentityError, Kind};
use crate::init::key_enrolled;
use crate::keyring::{BadKey, enrolled, parse_jwk};
use crate::people::enrolled_event;
use crate::recording::Attempt;
use crate::{Committed, ControlPlane, Fault};

/// A person to be enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolPerson {
    /// Their name, unique for ever.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Their public key, as a JWK.
    pub jwk: String,
}

/// Why a person was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolPersonError {
    /// Who asks may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The name is not theirs alone.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The key can't be used.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The key is or was enrolled.
    #[error("the key is or was enrolled for somebody; make a new one")]
    KeyTaken,
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(EnrolPersonError);

impl Refused for EnrolPersonError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Identity(error) => error.code(),
            Self::Key(_) => "bad_key",
            Self::KeyTaken => "key_taken",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Enrols a person with their key. Operators only.
    pub async fn person_enrol(
        &self,
        cx: &Cx,
        request: EnrolPerson,
    ) -> Result<Committed<Person>, EnrolPersonError> {
        let (cx, attempt) = (cx.clone(), Attempt::new("person_enrol", &request.name));
        self.to_the_end(|plane| async move {
            let done = enrol(&plane, &cx, request).await;
            plane.recorded(&cx, attempt, done).await
        })
        .await
    }
}

async fn enrol(
    plane: &ControlPlane,
    cx: &Cx,
    request: EnrolPerson,
) -> Result<Committed<Person>, EnrolPersonError> {
    let mut txn = plane.store().begin().await?;
    let revision = txn.revision_next().await?;
    Operator::admit(cx, txn.as_mut()).await?;
    let public = parse_jwk(&request.jwk)?;
    let person = Person {
        id: cx.id()?,
        name: identity::own_name(txn.as_mut(), Kind::Person, &request.name).await?,
        role: request.role,
        enrolled_at: cx.now,
        removed_at: None,
    };
    let key = enrolled(
        &public,
        KeyPurpose::Person,
        KeyOwner::Person(person.id),
        cx.now,
    );
    if txn.key(&key.kid).await?.is_some() {
        return Err(EnrolPersonError::KeyTaken);
    }
    txn.person_insert(&person).await?;
    txn.key_insert(&key).await?;
    txn.commit(vec![enrolled_event(cx, &person), key_enrolled(cx, &key)])
        .await?;
    Ok(plane.published(person, revision).await)
}
