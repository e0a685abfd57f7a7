//! What may be used once, in the store: assertions, proofs and consents outlast a restart.

use std::sync::atomic::{AtomicU64, Ordering};

use aims_crypto::sha256;
use aims_oauth::dpop::VerifiedProof;
use aims_store::{Error, ReplayKind, Txn};
use aims_types::{Digest, Timestamp};

use crate::ControlPlane;

/// The latest instant at which used values were forgotten, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Forgotten(AtomicU64);

impl ControlPlane {
    /// Takes note of a value until `until`; `false` if it was used before, or may have been: a
    /// clock that went forward made the store forget, and going back brings nothing back.
    pub(crate) async fn use_once(
        &self,
        txn: &mut dyn Txn,
        (kind, value): (ReplayKind, &Digest),
        (now, until): (Timestamp, Timestamp),
    ) -> Result<bool, Error> {
        let latest = self
            .forgotten()
            .0
            .fetch_max(now.unix_millis(), Ordering::AcqRel);
        if until < Timestamp::from_unix_millis(latest) {
            return Ok(false);
        }
        txn.replay_insert(kind, value, now, until).await
    }

    /// Takes note of a proof; `false` if it was used before (RFC 9449 §11.1).
    pub(crate) async fn proof_is_new(
        &self,
        txn: &mut dyn Txn,
        proof: &VerifiedProof,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let value = sha256(format!("{} {}", proof.jkt(), proof.jti()).as_bytes());
        let times = (now, proof.replayable_until());
        self.use_once(txn, (ReplayKind::DpopProof, &value), times)
            .await
    }
}
