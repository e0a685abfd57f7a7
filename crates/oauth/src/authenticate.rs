//! An access token and the proof of its key, checked together (RFC 9449 §7.1).

use aims_jose::KeySource;
use aims_types::Timestamp;

use crate::access_token::{AccessToken, AccessTokenError, TokenExpect, VerifiedAccessToken};
use crate::challenge::ChallengeError;
use crate::dpop::{DpopError, Expect, PROOF_WINDOW, Proof, VerifiedProof};
use crate::replay::{ReplayError, UseOnce};
use crate::uri::HttpUri;

/// What a request presents. Holds a token, hence no `Debug`.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The values of all `Authorization` headers.
    pub authorization: &'a [&'a str],
    /// The values of all `DPoP` headers.
    pub dpop: &'a [&'a str],
    /// The method.
    pub method: &'a str,
    /// The URI by our configuration, never by the `Host` header.
    pub uri: &'a HttpUri,
}

/// A caller whose token was verified and who holds its key. Only [`authenticate`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    token: VerifiedAccessToken,
    proof: VerifiedProof,
}

/// Why a caller is not authenticated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PresentationError {
    /// There is no token.
    #[error("the request has no access token")]
    NoToken,
    /// More than one `Authorization` or `DPoP` header (RFC 9449 §4.3, check 1).
    #[error("the request has more than one header `{0}`")]
    Repeated(&'static str),
    /// A token that is bound to a key came as a bearer token (RFC 9449 §7.1), or in some other
    /// scheme.
    #[error("the scheme of `Authorization` must be `DPoP`")]
    Scheme,
    /// There is no proof.
    #[error("the request has no header `DPoP`")]
    NoProof,
    /// The token is refused.
    #[error(transparent)]
    Token(#[from] AccessTokenError),
    /// The proof is refused.
    #[error(transparent)]
    Proof(#[from] DpopError),
    /// The proof was used before.
    #[error("the proof: {0}")]
    Replay(#[from] ReplayError),
}

/// Verifies the token, then the proof against the token's key and text, then takes note of the
/// proof.
pub fn authenticate(
    presented: &Presented<'_>,
    keys: &dyn KeySource,
    expect: &TokenExpect<'_>,
    cache: &dyn UseOnce,
) -> Result<Authenticated, PresentationError> {
    let (token, proof) = verify(presented, keys, expect)?;
    proof.use_once(cache, expect.now)?;
    Ok(Authenticated { token, proof })
}

/// Checks the proof of a request without an access token, such as one to the token endpoint
/// (RFC 9449 §5): exactly one header, a proof as expected, never used before.
pub fn prove_possession(
    dpop: &[&str],
    expect: &Expect<'_>,
    cache: &dyn UseOnce,
) -> Result<VerifiedProof, PresentationError> {
    let proof = sole(dpop, "DPoP")?.ok_or(PresentationError::NoProof)?;
    let proof = Proof::verify(proof, expect)?;
    proof.use_once(cache, expect.now)?;
    Ok(proof)
}

impl Authenticated {
    /// The token.
    pub fn token(&self) -> &AccessToken {
        &self.token
    }

    /// The proof.
    pub const fn proof(&self) -> &VerifiedProof {
        &self.proof
    }

    /// When the token ends.
    pub fn expires_at(&self) -> Timestamp {
        self.token.common().expires_at
    }
}

impl PresentationError {
    /// The error to answer with (RFC 6750 §3.1, RFC 9449 §7.1); `None` where no credentials were
    /// sent, for then no error is named.
    pub const fn challenge_error(&self) -> Option<ChallengeError> {
        match self {
            Self::NoToken => None,
            Self::Repeated(_) => Some(ChallengeError::InvalidRequest),
            Self::Scheme | Self::Token(_) => Some(ChallengeError::InvalidToken),
            Self::NoProof | Self::Proof(_) | Self::Replay(_) => {
                Some(ChallengeError::InvalidDpopProof)
            }
        }
    }
}

fn verify(
    presented: &Presented<'_>,
    keys: &dyn KeySource,
    expect: &TokenExpect<'_>,
) -> Result<(VerifiedAccessToken, VerifiedProof), PresentationError> {
    let authorization = sole(presented.authorization, "Authorization")?;
    let authorization = authorization.ok_or(PresentationError::NoToken)?;
    let proof = sole(presented.dpop, "DPoP")?;
    // RFC 9110 §11.1: the scheme is case-insensitive; §11.4: one space before the credentials.
    let text = match authorization.split_once(' ') {
        Some((scheme, text)) if scheme.eq_ignore_ascii_case("DPoP") => text.trim_matches(' '),
        _ => return Err(PresentationError::Scheme),
    };
    let proof = proof.ok_or(PresentationError::NoProof)?;
    let token = VerifiedAccessToken::verify(text, keys, expect)?;
    let proof = Proof::verify(
        proof,
        &Expect {
            htm: presented.method,
            htu: presented.uri,
            now: expect.now,
            access_token: Some(text),
            jkt: Some(token.common().jkt),
            window: PROOF_WINDOW,
        },
    )?;
    Ok((token, proof))
}

fn sole<'a>(values: &[&'a str], name: &'static str) -> Result<Option<&'a str>, PresentationError> {
    match values {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(PresentationError::Repeated(name)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use aims_crypto::Signer;
    use aims_jose::Thumbprint;
    use aims_types::Id;

    use super::*;
    use crate::ReplayCache;
    use crate::access_token::{PersonToken, TokenCommon};
    use crate::testing::{ISSUER, NOW, RESOURCE, key, trust};

    const EXPECT: TokenExpect<'_> = TokenExpect {
        issuer: ISSUER,
        audience: RESOURCE,
        now: NOW,
    };

    fn token() -> String {
        let common = TokenCommon {
            issuer: ISSUER.to_owned(),
            client_id: "c".to_owned(),
            audience: RESOURCE.to_owned(),
            issued_at: NOW,
            expires_at: NOW.plus(Duration::from_mins(5)),
            token: Id::from_u128(1),
            jkt: Thumbprint::of(key(2).public()),
        };
        let token = AccessToken::Person(PersonToken {
            common,
            person: Id::from_u128(2),
        });
        token.create(&key(1), "k").unwrap()
    }

    fn proof(seed: u8, token: &str, jti: &str) -> String {
        let htu = HttpUri::parse(RESOURCE).unwrap();
        let proof = Proof {
            htm: "POST",
            htu: &htu,
            iat: NOW,
            jti,
            access_token: Some(token),
        };
        proof.create(&key(seed)).unwrap()
    }

    fn try_with(authorization: &[&str], dpop: &[&str]) -> Result<(), PresentationError> {
        let uri = HttpUri::parse(RESOURCE).unwrap();
        let presented = Presented {
            authorization,
            dpop,
            method: "POST",
            uri: &uri,
        };
        let cache = Mutex::new(ReplayCache::new(8));
        authenticate(&presented, &trust(key(1).public()), &EXPECT, &cache).map(|_| ())
    }

    #[test]
    fn trap_22_a_token_counts_with_a_proof_of_its_key_only() {
        let token = token();
        let (dpop, bearer) = (format!("DPoP {token}"), format!("Bearer {token}"));
        let (good, other) = (proof(2, &token, "a"), proof(3, &token, "a"));
        let elsewhere = proof(2, "another token", "a");
        for (authorization, proofs, expected) in [
            (vec![dpop.as_str()], vec![good.as_str()], Ok(())),
            (vec![&dpop.replace("DPoP", "dpop")], vec![&good], Ok(())),
            (vec![], vec![&good], Err(PresentationError::NoToken)),
            (vec![&dpop], vec![], Err(PresentationError::NoProof)),
            (vec![&dpop], vec![&other], Err(DpopError::Key.into())),
            (
                vec![&dpop],
                vec![&elsewhere],
                Err(DpopError::AccessToken.into()),
            ),
            (
                vec![&dpop, &dpop],
                vec![&good],
                Err(PresentationError::Repeated("Authorization")),
            ),
            (
                vec![&dpop],
                vec![&good, &good],
                Err(PresentationError::Repeated("DPoP")),
            ),
            // Trap 22: a bound token as a bearer token, with or without a proof.
            (vec![&bearer], vec![&good], Err(PresentationError::Scheme)),
            (vec![&bearer], vec![], Err(PresentationError::Scheme)),
            (vec![&token], vec![&good], Err(PresentationError::Scheme)),
        ] {
            assert_eq!(try_with(&authorization, &proofs), expected);
        }
    }

    #[test]
    fn a_proof_counts_once() {
        let token = token();
        let (authorization, proof) = (format!("DPoP {token}"), proof(2, &token, "a"));
        let uri = HttpUri::parse(RESOURCE).unwrap();
        let presented = Presented {
            authorization: &[&authorization],
            dpop: &[&proof],
            method: "POST",
            uri: &uri,
        };
        let keys = trust(key(1).public());
        let cache = Mutex::new(ReplayCache::new(8));
        assert!(authenticate(&presented, &keys, &EXPECT, &cache).is_ok());
        let again = authenticate(&presented, &keys, &EXPECT, &cache);
        assert_eq!(again, Err(PresentationError::Replay(ReplayError::Replayed)));
    }

    #[test]
    fn at_the_token_endpoint_one_proof_counts_once() {
        let uri = HttpUri::parse(RESOURCE).unwrap();
        let expect = Expect {
            htm: "POST",
            htu: &uri,
            now: NOW,
            access_token: None,
            jkt: None,
            window: PROOF_WINDOW,
        };
        let cache = Mutex::new(ReplayCache::new(8));
        let proof = proof(2, "t", "a");
        let prove = |headers: &[&str]| prove_possession(headers, &expect, &cache).map(|_| ());
        assert_eq!(prove(&[]), Err(PresentationError::NoProof));
        assert_eq!(
            prove(&[&proof, &proof]),
            Err(PresentationError::Repeated("DPoP"))
        );
        assert_eq!(prove(&[&proof]), Ok(()));
        assert_eq!(
            prove(&[&proof]),
            Err(PresentationError::Replay(ReplayError::Replayed))
        );
    }
}
