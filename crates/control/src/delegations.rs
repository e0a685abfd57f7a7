//! Delegations: an instance hands on a part of its authority to an agent that starts beside it.

mod delegate;
mod error;
mod refused;
mod request;

pub(crate) use delegate::delegate;
pub(crate) use refused::refused;
pub use request::{DELEGATION_AGE_SECS_MAX, DELEGATION_LEN_MAX};
