//! Who sends an admin request: a person with a token and the proof of its key.

use aims_model::{EnrolledKey, KeyOwner, KeyPurpose};
use aims_oauth::dpop::{DpopError, Expect, PROOF_WINDOW, Proof};
use aims_oauth::{AccessToken, AccessTokenError, HttpUri, HttpUriError, TokenExpect};
use aims_oauth::{PersonToken, VerifiedAccessToken};
use aims_store::Reader;
use aims_types::{Actor, Cx};

use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::tokens::TrustedKeys;
use crate::{ControlPlane, Fault};

/// Why a request is not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthnError {
    /// The token is refused (RFC 9068 §4).
    #[error(transparent)]
    Token(#[from] AccessTokenError),
    /// The token is an instance's: no instance administers anything.
    #[error("the token is not a person's; log in with an enrolled key")]
    NotAPerson,
    /// The request's target is not a URI.
    #[error("the target of the request: {0}")]
    Target(#[from] HttpUriError),
    /// The proof is refused (RFC 9449 §4.3).
    #[error(transparent)]
    Proof(#[from] DpopError),
    /// The proof was used before (RFC 9449 §11.1).
    #[error("the proof was used before; make a new one for each request")]
    ProofReplayed,
    /// The person was removed, or their key retired, since the token was issued.
    #[error("the person or the key is not enrolled any more; ask an operator")]
    NotEnrolled,
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(AuthnError);

impl Refused for AuthnError {
    fn code(&self) -> &'static str {
        match self {
            Self::Token(_) | Self::NotAPerson | Self::NotEnrolled => "invalid_token",
            Self::Target(_) => "bad_target",
            Self::Proof(_) | Self::ProofReplayed => "invalid_dpop_proof",
            Self::Internal(_) => INTERNAL,
        }
    }
}

impl ControlPlane {
    /// Authenticates a person's request by its access token and DPoP proof; `path` starts with a
    /// slash and stands below the issuer. Gives the context of the request.
    pub async fn authenticate(
        &self,
        token: &str,
        proof: &str,
        method: &str,
        path: &str,
    ) -> Result<Cx, AuthnError> {
        let now = self.parts().clock.now();
        let issuer = self.parts().config.issuer.as_str();
        let htu = HttpUri::of_request(&format!("{issuer}{path}"))?;
        // Who proves nothing takes no lock: only a good proof is written down.
        let keys = {
            let mut reader = self.store().read().await?;
            TrustedKeys::load(reader.as_mut(), KeyPurpose::Token, now).await?
        };
        let expect = TokenExpect {
            issuer,
            audience: issuer,
            now,
        };
        let verified = VerifiedAccessToken::verify(token, &keys, &expect)?;
        let AccessToken::Person(person) = verified.into_inner() else {
            return Err(AuthnError::NotAPerson);
        };
        let expect = Expect {
            htm: method,
            htu: &htu,
            now,
            access_token: Some(token),
            jkt: Some(person.common.jkt),
            window: PROOF_WINDOW,
        };
        let proof = Proof::verify(proof, &expect)?;
        let mut txn = self.store().begin().await?;
        check_enrolled(txn.as_mut(), &person).await?;
        if !self.proof_is_new(txn.as_mut(), &proof, now).await? {
            return Err(AuthnError::ProofReplayed);
        }
        txn.commit(Vec::new()).await?;
        let cx = self.cx(Actor::Person(person.person))?;
        Ok(Cx { now, ..cx })
    }
}

async fn check_enrolled(reader: &mut dyn Reader, token: &PersonToken) -> Result<(), AuthnError> {
    let person = reader.person(token.person).await?;
    let key = reader.key(&token.common.jkt.to_string()).await?;
    let theirs = |key: &EnrolledKey| {
        key.purpose == KeyPurpose::Person
            && key.owner == KeyOwner::Person(token.person)
            && key.retired_at.is_none()
    };
    let person_is_there = person.is_some_and(|person| person.removed_at.is_none());
    if person_is_there && key.as_ref().is_some_and(theirs) {
        Ok(())
    } else {
        Err(AuthnError::NotEnrolled)
    }
}
