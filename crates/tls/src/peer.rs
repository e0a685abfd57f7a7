//! Whom a peer must be, and who it is.

use std::fmt;
use std::sync::Arc;

use aims_types::{SpiffeId, Timestamp};
use aims_x509::{Bundle, PeerId, VerifySvidError, verify_svid};
use rustls::CommonState;

/// Whom a client expects to find. The names of hosts say nothing of identity: a client knows
/// beforehand which SPIFFE ID it wants (draft-ietf-wimse-mutual-tls §4).
#[derive(Clone)]
pub enum Expected {
    /// Exactly this one.
    Id(SpiffeId),
    /// Any one for which the function says yes.
    Matching(Arc<dyn Fn(&SpiffeId) -> bool + Send + Sync>),
}

/// Why a peer is not who it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Its certificate authenticates nobody.
    #[error(transparent)]
    Svid(#[from] VerifySvidError),
    /// It is somebody else.
    #[error("the peer is `{0}`, which is not expected here")]
    Unexpected(SpiffeId),
}

impl Expected {
    /// Whether `spiffe_id` is expected.
    pub fn is_met_by(&self, spiffe_id: &SpiffeId) -> bool {
        match self {
            Self::Id(expected) => expected == spiffe_id,
            Self::Matching(expects) => expects(spiffe_id),
        }
    }

    /// Verifies a chain, leaf first, and that its holder is expected.
    pub(crate) fn check<C: AsRef<[u8]>>(
        &self,
        chain: &[C],
        bundle: &Bundle,
        now: Timestamp,
    ) -> Result<PeerId, PeerError> {
        let peer = verify_svid(chain, bundle, now)?;
        if self.is_met_by(peer.spiffe_id()) {
            Ok(peer)
        } else {
            Err(PeerError::Unexpected(peer.spiffe_id().clone()))
        }
    }
}

impl From<SpiffeId> for Expected {
    fn from(spiffe_id: SpiffeId) -> Self {
        Self::Id(spiffe_id)
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(spiffe_id) => write!(f, "Id({spiffe_id})"),
            Self::Matching(_) => f.write_str("Matching(..)"),
        }
    }
}

/// Who is at the other end of a connection (of either side) whose handshake is complete: nobody,
/// if the peer showed no certificate. The chain is verified again, at `now`.
pub fn peer(
    connection: &CommonState,
    bundle: &Bundle,
    now: Timestamp,
) -> Result<Option<PeerId>, VerifySvidError> {
    match connection.peer_certificates() {
        Some(chain) if !connection.is_handshaking() => verify_svid(chain, bundle, now).map(Some),
        _ => Ok(None),
    }
}
