//! The log's sequencer as the sink of gateways' records.

use aims_audit::{Proven, Sequencer, Shipped, TakeError, Wanted};
use aims_links::ShippedRecord;
use aims_tlog::VerifierKey;
use aims_types::{Gateway, Id};
use async_trait::async_trait;

use crate::{RecordSink, RecordSinkError};

#[async_trait]
impl RecordSink for Sequencer {
    async fn take(
        &self,
        gateway: Id<Gateway>,
        records: Vec<ShippedRecord>,
    ) -> Result<u64, RecordSinkError> {
        let shipped = |one: ShippedRecord| Shipped {
            seq: one.seq,
            record: one.record,
            material: one.material,
        };
        let taken = Self::take(self, gateway, records.into_iter().map(shipped).collect()).await;
        taken.map_err(|error| match error {
            TakeError::Fold(error) => RecordSinkError::Unavailable(error.to_string()),
            error => RecordSinkError::Refused(error.to_string()),
        })
    }

    async fn head(&self, gateway: Id<Gateway>) -> Result<u64, RecordSinkError> {
        let head = self.head_of(gateway).await;
        head.map_err(|error| RecordSinkError::Unavailable(error.to_string()))
    }

    fn verifier_key(&self) -> Option<&VerifierKey> {
        Some(Self::verifier_key(self))
    }

    async fn prove(&self, wanted: Wanted) -> Result<Proven, RecordSinkError> {
        let proven = Self::prove(self, &wanted);
        proven.map_err(|error| RecordSinkError::Unavailable(error.to_string()))
    }
}
