//! What a control plane is made of.

use std::sync::Arc;

use aims_audit::{Proven, Wanted};
use aims_keys::KeyStore;
use aims_lease::Terms;
use aims_links::ShippedRecord;
use aims_store::Store;
use aims_tlog::VerifierKey;
use aims_types::{Clock, Entropy, Gateway, Id};
use async_trait::async_trait;

/// Everything that the use cases reach outside of themselves.
#[derive(Clone)]
pub struct Parts {
    /// Durable state.
    pub store: Arc<dyn Store>,
    /// Private keys.
    pub keys: Arc<KeyStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Which boot of this host it is, in which `clock` counts boot time:
    /// [`aims_types::ambient::boot_id`].
    pub boot: String,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where records of gateways go; [`NoLog`] until there is a log.
    pub records: Arc<dyn RecordSink>,
    /// What the operator configured.
    pub config: Config,
}

/// What the operator configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The issuer of tokens, which is also the base of the admin API's `htu`: `https://aims.local`.
    pub issuer: String,
    /// The resource (audience) of the gateways' endpoints: `https://gateway.aims.local`.
    pub resource: String,
    /// How long a kill waits at most for a node or gateway that does not answer.
    pub lease: Terms,
    /// How long what is issued to services lives.
    pub services: crate::ServiceTerms,
}

/// Takes over the records of gateways into the log.
#[async_trait]
pub trait RecordSink: Send + Sync {
    /// Takes over records in order; returns the last number that is in the log now.
    async fn take(
        &self,
        gateway: Id<Gateway>,
        records: Vec<ShippedRecord>,
    ) -> Result<u64, RecordSinkError>;

    /// The last number of the gateway's records that is in the log.
    async fn head(&self, gateway: Id<Gateway>) -> Result<u64, RecordSinkError>;

    /// The key that verifies the log's checkpoints; none before there is a log.
    fn verifier_key(&self) -> Option<&VerifierKey>;

    /// Proves places in the tree of a checkpoint.
    async fn prove(&self, wanted: Wanted) -> Result<Proven, RecordSinkError>;
}

/// Why records were not taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordSinkError {
    /// The log can't be written now; the records stay with the gateway.
    #[error("the log is not available: {0}")]
    Unavailable(String),
    /// The records are not what the log can take: malformed, foreign, or with a gap.
    #[error("the records are refused: {0}")]
    Refused(String),
}

/// The sink before there is a log: initialisation makes the log's key. It refuses everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLog;

#[async_trait]
impl RecordSink for NoLog {
    async fn take(
        &self,
        _gateway: Id<Gateway>,
        _records: Vec<ShippedRecord>,
    ) -> Result<u64, RecordSinkError> {
        Err(no_log())
    }

    async fn head(&self, _gateway: Id<Gateway>) -> Result<u64, RecordSinkError> {
        Err(no_log())
    }

    fn verifier_key(&self) -> Option<&VerifierKey> {
        None
    }

    async fn prove(&self, _wanted: Wanted) -> Result<Proven, RecordSinkError> {
        Err(no_log())
    }
}

fn no_log() -> RecordSinkError {
    RecordSinkError::Unavailable("no log is open".to_owned())
}
