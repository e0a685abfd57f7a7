//! The first connection of a process that joins.

use aims_crypto::sha256;
use aims_types::{Digest, Timestamp, TrustDomain};
use aims_x509::{Bundle, CaCertificate, ParseCaError, PeerId, VerifySvidError, verify_svid};
use rustls::CommonState;

/// The path of the server's SPIFFE ID.
pub const SERVER_PATH: &str = "server";

/// What a joining process was told of the server by its operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The SHA-256 digest of the authority's certificate.
    pub digest: Digest,
    /// The trust domain, if it is known already.
    pub trust_domain: Option<TrustDomain>,
}

/// What a pinned connection shows: the authority that was pinned, and the server it vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The pinned authority; its trust domain is the one that is joined.
    pub authority: CaCertificate,
    /// The server.
    pub server: PeerId,
}

/// Why a chain does not meet a pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The last certificate is another one.
    #[error("the digest of the server's authority is `{0}`, not the pinned one")]
    Digest(Digest),
    /// The pinned certificate is no authority's.
    #[error(transparent)]
    Authority(#[from] ParseCaError),
    /// The authority is of another trust domain than the expected one.
    #[error("the server's trust domain is `{0}`, not the expected one")]
    TrustDomain(TrustDomain),
    /// The chain authenticates nobody.
    #[error(transparent)]
    Svid(#[from] VerifySvidError),
    /// The peer is a member of the trust domain, but not its server.
    #[error("the peer is not the server of its trust domain")]
    NotServer,
}

impl Pin {
    /// Checks a chain, leaf first: its last certificate is the pinned one, an authority's, which
    /// vouches for the leaf as `spiffe://<trust domain>/server`.
    pub(crate) fn check<C: AsRef<[u8]>>(
        &self,
        chain: &[C],
        now: Timestamp,
    ) -> Result<Joined, PinError> {
        let Some(last) = chain.last() else {
            return Err(VerifySvidError::Length.into());
        };
        let digest = sha256(last.as_ref());
        if digest != self.digest {
            return Err(PinError::Digest(digest));
        }
        let authority = CaCertificate::from_der(last.as_ref())?;
        let domain = authority.trust_domain();
        if self
            .trust_domain
            .as_ref()
            .is_some_and(|expected| expected != domain)
        {
            return Err(PinError::TrustDomain(domain.clone()));
        }
        let bundle = Bundle::new(vec![authority.clone()]).map_err(|_| PinError::NotServer)?;
        let server = verify_svid(chain, &bundle, now)?;
        if domain.id(SERVER_PATH).ok().as_ref() != Some(server.spiffe_id()) {
            return Err(PinError::NotServer);
        }
        Ok(Joined { authority, server })
    }
}

/// What a connection shows whose handshake met `pin`. The chain is verified again, at `now`.
pub fn pinned_peer(
    connection: &CommonState,
    pin: &Pin,
    now: Timestamp,
) -> Result<Joined, PinError> {
    let chain = connection.peer_certificates();
    pin.check(
        chain
            .filter(|_| !connection.is_handshaking())
            .unwrap_or_default(),
        now,
    )
}
