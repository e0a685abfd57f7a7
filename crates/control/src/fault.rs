//! Faults of the server itself, and what every operation's error says about itself.

use aims_crypto::SignError;
use aims_types::EntropyError;

/// A fault of the server: nothing was decided about the request, and nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The store did not answer or holds something unreadable.
    #[error(transparent)]
    Store(#[from] aims_store::Error),
    /// There was no randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A credential could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A secret could not be sealed.
    #[error(transparent)]
    Seal(#[from] aims_crypto::SealError),
    /// What is stored does not fit together.
    #[error("the state is inconsistent: {0}")]
    Inconsistent(String),
    /// The operation was torn down before it ended.
    #[error("the operation was aborted")]
    Aborted,
}

/// What every operation's error says about itself, to records and to transports.
pub trait Refused: std::error::Error {
    /// Stable code for programs: `name_taken`, `not_owner`, …
    fn code(&self) -> &'static str;

    /// Whether the fault is the server's: then nothing was decided about the request.
    fn is_internal(&self) -> bool {
        self.code() == INTERNAL
    }
}

/// The code of every fault of the server.
pub(crate) const INTERNAL: &str = "internal";

/// Lets `?` turn each kind of fault into the arm `Internal` of an operation's error.
macro_rules! internal_arm {
    ($($error:ty),* $(,)?) => {$(
        impl From<aims_store::Error> for $error {
            fn from(error: aims_store::Error) -> Self {
                Self::Internal(error.into())
            }
        }
        impl From<aims_types::EntropyError> for $error {
            fn from(error: aims_types::EntropyError) -> Self {
                Self::Internal(error.into())
            }
        }
        impl From<aims_crypto::SignError> for $error {
            fn from(error: aims_crypto::SignError) -> Self {
                Self::Internal(error.into())
            }
        }
    )*};
}
pub(crate) use internal_arm;
